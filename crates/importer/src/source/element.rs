//! How numbers are stored, and how they become `f32`.
//!
//! Formats of blocks are those of ggml, each read from its definition (`ggml-common.h`,
//! `ggml-quants.c`); `q` are integers, `d` and `m` are F16 scales.
//!
//! | format | values | bytes | value |
//! |---|---|---|---|
//! | `Q8_0` | 32 | 34 | `d q`, `q: i8` |
//! | `Q4_0` | 32 | 18 | `d (q - 8)`, 4 bits; low nibbles are the first half |
//! | `Q4_K` | 256 | 144 | `d s q - m t`, 4 bits; scale `s` and minimum `t` of 6 bits for every 32 |
//! | `Q6_K` | 256 | 210 | `d s (q - 32)`, 6 bits as 4 and 2; scale `s: i8` for every 16 |

/// A format of stored numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(non_camel_case_types, reason = "the formats' own names")]
pub(super) enum Element {
    F32,
    F16,
    BF16,
    Q8_0,
    Q4_0,
    Q4_K,
    Q6_K,
}

/// Values of a block of the older formats.
const BLOCK: usize = 32;
/// Values of a block of the newer ones.
const SUPER_BLOCK: usize = 256;

impl Element {
    /// Values a block; a row is cut at blocks only.
    pub(super) fn block(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q8_0 | Self::Q4_0 => BLOCK,
            Self::Q4_K | Self::Q6_K => SUPER_BLOCK,
        }
    }

    /// Bytes a block.
    pub(super) fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q8_0 => 2 + BLOCK,
            Self::Q4_0 => 2 + BLOCK / 2,
            Self::Q4_K => 4 + 12 + SUPER_BLOCK / 2,
            Self::Q6_K => SUPER_BLOCK / 2 + SUPER_BLOCK / 4 + SUPER_BLOCK / 16 + 2,
        }
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
        for block in blocks {
            match self {
                Self::F32 => {
                    values.push(f32::from_le_bytes([block[0], block[1], block[2], block[3]]))
                }
                Self::F16 => values.push(f16(block)),
                Self::BF16 => values.push(half::bf16::from_le_bytes([block[0], block[1]]).to_f32()),
                Self::Q8_0 => {
                    let scale = f16(block);
                    values.extend(block[2..].iter().map(|q| scale * f32::from(q.cast_signed())));
                }
                Self::Q4_0 => q4_0(block, &mut values),
                Self::Q4_K => q4_k(block, &mut values),
                Self::Q6_K => q6_k(block, &mut values),
            }
        }
        values
    }
}

fn f16(bytes: &[u8]) -> f32 {
    half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

fn q4_0(block: &[u8], values: &mut Vec<f32>) {
    let (scale, nibbles) = (f16(block), &block[2..]);
    let value = |q: u8| scale * (f32::from(q) - 8.0);
    values.extend(nibbles.iter().map(|byte| value(byte & 15)));
    values.extend(nibbles.iter().map(|byte| value(byte >> 4)));
}

fn q4_k(block: &[u8], values: &mut Vec<f32>) {
    let (scale, minimum) = (f16(block), f16(&block[2..]));
    let (packed, nibbles) = block[4..].split_at(12);
    for (pair, nibbles) in nibbles.chunks_exact(32).enumerate() {
        for (high, part) in [(false, 2 * pair), (true, 2 * pair + 1)] {
            let (s, t) = six_bits(packed, part);
            let (step, shift) = (scale * f32::from(s), minimum * f32::from(t));
            let q = |byte: &u8| if high { byte >> 4 } else { byte & 15 };
            values.extend(nibbles.iter().map(|byte| step * f32::from(q(byte)) - shift));
        }
    }
}

/// Scale and minimum of one of eight parts: the first four are the low six bits of a byte each, the
/// others four bits and two taken from above.
fn six_bits(packed: &[u8], part: usize) -> (u8, u8) {
    if part < 4 {
        return (packed[part] & 63, packed[part + 4] & 63);
    }
    let low = packed[part + 4];
    ((low & 15) | (packed[part - 4] >> 6 << 4), (low >> 4) | (packed[part] >> 6 << 4))
}

fn q6_k(block: &[u8], values: &mut Vec<f32>) {
    let (low, rest) = block.split_at(SUPER_BLOCK / 2);
    let (high, rest) = rest.split_at(SUPER_BLOCK / 4);
    let (scales, scale) = rest.split_at(SUPER_BLOCK / 16);
    let scale = f16(scale);
    let halves = low.chunks_exact(64).zip(high.chunks_exact(32)).zip(scales.chunks_exact(8));
    for ((low, high), scales) in halves {
        for quarter in 0..4 {
            for at in 0..32 {
                let nibbles = low[quarter % 2 * 32 + at];
                let four = if quarter < 2 { nibbles & 15 } else { nibbles >> 4 };
                let q = four | ((high[at] >> (2 * quarter)) & 3) << 4;
                let step = scale * f32::from(scales[quarter * 2 + at / 16].cast_signed());
                values.push(step * (f32::from(q) - 32.0));
            }
        }
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

    /// Against the format written down a second time, as a formula for value `i` (ggml's
    /// `get_scale_min_k4` and `dequantize_row_q4_K`).
    #[test]
    fn four_bits_with_scales_and_minimums() {
        let bytes: Vec<u8> = (0..144_u32).map(|i| (i * 37 + 11).to_le_bytes()[0]).collect();
        let (d, m) = (0.5_f32, 0.25_f32);
        let values = decoded(Element::Q4_K, bytes.clone(), &[(0, d), (2, m)]);
        let packed = &bytes[4..16];
        for (i, value) in values.iter().enumerate() {
            let part = i / 32;
            let (s, t) = if part < 4 {
                (packed[part] & 63, packed[part + 4] & 63)
            } else {
                (
                    (packed[part + 4] & 15) + (packed[part - 4] >> 6) * 16,
                    (packed[part + 4] >> 4) + (packed[part] >> 6) * 16,
                )
            };
            let byte = bytes[16 + i / 64 * 32 + i % 32];
            let q = if i % 64 < 32 { byte % 16 } else { byte / 16 };
            let expected = d * f32::from(s) * f32::from(q) - m * f32::from(t);
            assert!((value - expected).abs() < 1e-3, "value {i}: {value} for {expected}");
        }
        assert_eq!(values.len(), 256);
    }

    /// As above, of `dequantize_row_q6_K`.
    #[test]
    fn six_bits_with_sixteen_scales() {
        let bytes: Vec<u8> = (0..210_u32).map(|i| (i * 59 + 7).to_le_bytes()[0]).collect();
        let values = decoded(Element::Q6_K, bytes.clone(), &[(208, 0.125)]);
        for (i, value) in values.iter().enumerate() {
            let (half, quarter, l) = (i / 128, i % 128 / 32, i % 32);
            let low = bytes[half * 64 + quarter % 2 * 32 + l] >> (quarter / 2 * 4) & 15;
            let high = bytes[128 + half * 32 + l] >> (quarter * 2) & 3;
            let scale = bytes[192 + half * 8 + quarter * 2 + l / 16].cast_signed();
            let expected = 0.125 * f32::from(scale) * (f32::from(low + high * 16) - 32.0);
            assert!((value - expected).abs() < 1e-3, "value {i}: {value} for {expected}");
        }
        assert_eq!(values.len(), 256);
    }

    #[test]
    fn sizes_are_whole_blocks() {
        assert_eq!(Element::Q4_K.bytes_of(512), Some(288));
        assert_eq!(Element::Q4_K.bytes_of(500), None);
        assert_eq!(Element::F32.bytes_of(usize::MAX), None);
    }
}
