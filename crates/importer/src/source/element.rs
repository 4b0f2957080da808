//! How numbers are stored, and how they become `f32`.

mod blocks;

/// A format of stored numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(non_camel_case_types, reason = "the formats' own names")]
pub(super) enum Element {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    Q8_K,
    IQ4_NL,
    IQ4_XS,
    MXFP4,
    /// Those of `MXFP4` with their powers of two elsewhere, and neighbours in the same byte.
    FP4,
    /// Plain bytes.
    U8,
}

/// Values of a block of the older formats.
const BLOCK: usize = 32;
/// Values of a block of the newer ones.
const SUPER_BLOCK: usize = 256;

/// All formats by ggml's numbers, with values and bytes a block.
const GGML: [(u32, Element, usize, usize); 17] = [
    (0, Element::F32, 1, 4),
    (1, Element::F16, 1, 2),
    (2, Element::Q4_0, BLOCK, 18),
    (3, Element::Q4_1, BLOCK, 20),
    (6, Element::Q5_0, BLOCK, 22),
    (7, Element::Q5_1, BLOCK, 24),
    (8, Element::Q8_0, BLOCK, 34),
    (10, Element::Q2_K, SUPER_BLOCK, 84),
    (11, Element::Q3_K, SUPER_BLOCK, 110),
    (12, Element::Q4_K, SUPER_BLOCK, 144),
    (13, Element::Q5_K, SUPER_BLOCK, 176),
    (14, Element::Q6_K, SUPER_BLOCK, 210),
    (15, Element::Q8_K, SUPER_BLOCK, 292),
    (20, Element::IQ4_NL, BLOCK, 18),
    (23, Element::IQ4_XS, SUPER_BLOCK, 136),
    (30, Element::BF16, 1, 2),
    (39, Element::MXFP4, BLOCK, 17),
];

impl Element {
    /// The format that ggml calls by this number.
    pub(super) fn of_ggml(kind: u32) -> Option<Self> {
        GGML.iter().find(|known| known.0 == kind).map(|known| known.1)
    }

    /// The names of all formats.
    pub(super) fn names() -> String {
        let names: Vec<String> = GGML.iter().map(|known| format!("{:?}", known.1)).collect();
        names.join(", ")
    }

    fn sizes(self) -> (usize, usize) {
        if self == Self::FP4 {
            return (BLOCK, BLOCK / 2);
        }
        let known = GGML.iter().find(|known| known.1 == self);
        known.map_or((1, 1), |(_, _, values, bytes)| (*values, *bytes))
    }

    /// Values a block; a row is cut at blocks only.
    pub(super) fn block(self) -> usize {
        self.sizes().0
    }

    /// Bytes a block.
    pub(super) fn block_bytes(self) -> usize {
        self.sizes().1
    }

    /// Bytes of `count` values; none if they are no whole blocks, or too many.
    pub(super) fn bytes_of(self, count: usize) -> Option<usize> {
        let whole = count.is_multiple_of(self.block());
        whole.then(|| (count / self.block()).checked_mul(self.block_bytes())).flatten()
    }

    /// The values of whole blocks; a rest that is no block is left out.
    pub(super) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        let blocks = bytes.chunks_exact(self.block_bytes());
        let mut values = Vec::with_capacity(blocks.len() * self.block());
        let decode = match self {
            Self::F32 => |block: &[u8], values: &mut Vec<f32>| values.push(blocks::f32(block)),
            Self::F16 => |block: &[u8], values: &mut Vec<f32>| values.push(blocks::f16(block)),
            Self::BF16 => |block: &[u8], values: &mut Vec<f32>| {
                values.push(half::bf16::from_le_bytes([block[0], block[1]]).to_f32());
            },
            Self::Q4_0 => blocks::q4_0,
            Self::Q4_1 => blocks::q4_1,
            Self::Q5_0 => blocks::q5_0,
            Self::Q5_1 => blocks::q5_1,
            Self::Q8_0 => blocks::q8_0,
            Self::Q2_K => blocks::q2_k,
            Self::Q3_K => blocks::q3_k,
            Self::Q4_K => blocks::q4_k,
            Self::Q5_K => blocks::q5_k,
            Self::Q6_K => blocks::q6_k,
            Self::Q8_K => blocks::q8_k,
            Self::IQ4_NL => blocks::iq4_nl,
            Self::IQ4_XS => blocks::iq4_xs,
            Self::MXFP4 => blocks::mxfp4,
            Self::FP4 => blocks::fp4,
            Self::U8 => |block: &[u8], values: &mut Vec<f32>| values.push(f32::from(block[0])),
        };
        for block in blocks {
            decode(block, &mut values);
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block of `bytes` with its F16 scales set, and its values.
    fn decoded(element: Element, mut block: Vec<u8>, scales: &[(usize, f32)]) -> Vec<f32> {
        for (at, scale) in scales {
            block[*at..*at + 2].copy_from_slice(&half::f16::from_f32(*scale).to_le_bytes());
        }
        assert_eq!(block.len(), element.block_bytes());
        element.decode(&block)
    }

    #[test]
    fn plain_numbers_are_themselves() {
        assert_eq!(Element::F32.decode(&1.5_f32.to_le_bytes()), [1.5]);
        assert_eq!(Element::F16.decode(&half::f16::from_f32(-0.25).to_le_bytes()), [-0.25]);
        assert_eq!(Element::BF16.decode(&half::bf16::from_f32(3.0).to_le_bytes()), [3.0]);
        // A rest that is no number is left out.
        assert_eq!(Element::F32.decode(&[0; 7]), [0.0]);
    }

    #[test]
    fn eight_bits_are_scaled() {
        let mut block = vec![0_u8; 34];
        block[2] = 127;
        block[33] = 128;
        let values = decoded(Element::Q8_0, block, &[(0, 0.5)]);
        assert_eq!((values[0], values[1], values[31]), (63.5, 0.0, -64.0));
    }

    #[test]
    fn low_nibbles_are_the_first_half() {
        let mut block = vec![0x88_u8; 18];
        block[2] = 0xf0;
        let values = decoded(Element::Q4_0, block, &[(0, 2.0)]);
        assert_eq!(
            (values.len(), values[0], values[16], values[1], values[17]),
            (32, -16.0, 14.0, 0.0, 0.0)
        );
    }

    /// Blocks of random bytes, and their values by the reference, Python's `gguf` (`quants.dequantize`).
    #[test]
    fn blocks_have_the_values_of_the_reference() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("element/blocks.json")).unwrap();
        let vectors = vectors.as_object().unwrap();
        assert_eq!(vectors.len(), 13);
        for (name, vector) in vectors {
            let bytes = |field: &str| {
                let text = vector[field].as_str().unwrap().as_bytes();
                let digit =
                    |digit: u8| u8::try_from(char::from(digit).to_digit(16).unwrap()).unwrap();
                let byte = |pair: &[u8]| digit(pair[0]) * 16 + digit(pair[1]);
                text.chunks_exact(2).map(byte).collect::<Vec<u8>>()
            };
            let kind = u32::try_from(vector["kind"].as_u64().unwrap()).unwrap();
            let element = Element::of_ggml(kind).unwrap();
            assert_eq!(format!("{element:?}"), *name);
            let got = element.decode(&bytes("blocks"));
            let wanted = Element::F32.decode(&bytes("values"));
            assert_eq!(got.len(), wanted.len(), "{name}");
            for (index, (got, wanted)) in got.iter().zip(&wanted).enumerate() {
                // The reference multiplies in another order here and there.
                let far = (got - wanted).abs() > 2e-6 * wanted.abs();
                assert!(!far, "{name}, value {index}: {got} for {wanted}");
            }
        }
    }

    /// A format that the reference reads but does not store: a scale in `f32`, and bytes.
    #[test]
    fn eight_bits_of_a_super_block_are_scaled() {
        let mut block = vec![0_u8; 292];
        block[..4].copy_from_slice(&0.5_f32.to_le_bytes());
        (block[4], block[259]) = (2, 255);
        let values = Element::Q8_K.decode(&block);
        assert_eq!((values.len(), values[0], values[1], values[255]), (256, 1.0, 0.0, -0.5));
    }

    /// As `transformers` unpacks them (`convert_moe_packed_tensors`): the low nibble first.
    #[test]
    fn neighbours_of_four_bits_share_a_byte() {
        let mut block = vec![0_u8; 16];
        (block[0], block[1], block[15]) = (0x21, 0xf7, 0x9c);
        let values = Element::FP4.decode(&block);
        assert_eq!((values.len(), Element::FP4.bytes_of(64)), (32, Some(32)));
        assert_eq!(values[..5], [0.5, 1.0, 6.0, -6.0, 0.0]);
        assert_eq!(values[30..], [-2.0, -0.5]);
    }

    #[test]
    fn sizes_are_whole_blocks() {
        assert_eq!(Element::Q4_K.bytes_of(512), Some(288));
        assert_eq!(Element::Q4_K.bytes_of(500), None);
        assert_eq!(Element::F32.bytes_of(usize::MAX), None);
    }
}
