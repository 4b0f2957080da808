//! Blocks of the quantised formats of ggml, each read from its definition (`ggml-common.h`,
//! `ggml-quants.c`); `q` are integers, `d` and `m` scales in F16 where nothing else is said.
//!
//! | format | values | bytes | value |
//! |---|---|---|---|
//! | `Q4_0` | 32 | 18 | `d (q - 8)`, 4 bits; low nibbles are the first half |
//! | `Q4_1` | 32 | 20 | `d q + m`, 4 bits |
//! | `Q5_0`, `Q5_1` | 32 | 22, 24 | the same with a fifth bit, `d (q - 16)` and `d q + m` |
//! | `Q8_0` | 32 | 34 | `d q`, `q: i8` |
//! | `Q2_K` | 256 | 84 | `d s q - m t`, 2 bits; scale `s` and minimum `t` of 4 bits for every 16 |
//! | `Q3_K` | 256 | 110 | `d (s - 32) (q - 4)`, 3 bits as 2 and 1; scale `s` of 6 bits for every 16 |
//! | `Q4_K` | 256 | 144 | `d s q - m t`, 4 bits; scale `s` and minimum `t` of 6 bits for every 32 |
//! | `Q5_K` | 256 | 176 | the same with a fifth bit |
//! | `Q6_K` | 256 | 210 | `d s (q - 32)`, 6 bits as 4 and 2; scale `s: i8` for every 16 |
//! | `Q8_K` | 256 | 292 | `d q`, `q: i8`, `d` in F32; sums that are for products only |
//! | `IQ4_NL` | 32 | 18 | `d` times one of sixteen values, 4 bits |
//! | `IQ4_XS` | 256 | 136 | the same with a scale of 6 bits for every 32, `s - 32` |
//! | `MXFP4` | 32 | 17 | a power of two times one of sixteen values, 4 bits |
//! | `FP4` | 32 | 16 | the same without the power of two, in files of gpt-oss's makers; a byte holds two neighbours |

use super::{BLOCK, SUPER_BLOCK};

/// The values of `IQ4_NL` and `IQ4_XS`.
const UNEVEN: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/// Twice the values of four bits of floating point: 1 of sign, 2 of exponent, 1 of fraction.
const DOUBLED_FP4: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

pub(super) fn f32(bytes: &[u8]) -> f32 {
    f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

pub(super) fn f16(bytes: &[u8]) -> f32 {
    half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

/// Four bits of every byte, the low ones first.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    bytes.iter().map(|byte| byte & 15).chain(bytes.iter().map(|byte| byte >> 4))
}

/// The same with a fifth bit from `bits`.
fn five_bits<'a>(bits: &[u8], low: &'a [u8]) -> impl Iterator<Item = u8> + 'a {
    let bits = u32::from_le_bytes([bits[0], bits[1], bits[2], bits[3]]);
    nibbles(low).zip(0..BLOCK).map(move |(four, at)| four | (u8::from(bits >> at & 1 == 1) << 4))
}

pub(super) fn q4_0(block: &[u8], values: &mut Vec<f32>) {
    let scale = f16(block);
    values.extend(nibbles(&block[2..]).map(|q| scale * (f32::from(q) - 8.0)));
}

pub(super) fn q4_1(block: &[u8], values: &mut Vec<f32>) {
    let (scale, least) = (f16(block), f16(&block[2..]));
    values.extend(nibbles(&block[4..]).map(|q| scale * f32::from(q) + least));
}

pub(super) fn q5_0(block: &[u8], values: &mut Vec<f32>) {
    let scale = f16(block);
    let all = five_bits(&block[2..], &block[6..]);
    values.extend(all.map(|q| scale * (f32::from(q) - 16.0)));
}

pub(super) fn q5_1(block: &[u8], values: &mut Vec<f32>) {
    let (scale, least) = (f16(block), f16(&block[2..]));
    let all = five_bits(&block[4..], &block[8..]);
    values.extend(all.map(|q| scale * f32::from(q) + least));
}

pub(super) fn q8_0(block: &[u8], values: &mut Vec<f32>) {
    let scale = f16(block);
    values.extend(block[2..].iter().map(|q| scale * f32::from(q.cast_signed())));
}

pub(super) fn q8_k(block: &[u8], values: &mut Vec<f32>) {
    let scale = f32(block);
    values.extend(block[4..4 + SUPER_BLOCK].iter().map(|q| scale * f32::from(q.cast_signed())));
}

pub(super) fn q2_k(block: &[u8], values: &mut Vec<f32>) {
    let (scales, rest) = block.split_at(SUPER_BLOCK / 16);
    let (packed, rest) = rest.split_at(SUPER_BLOCK / 4);
    let (scale, minimum) = (f16(rest), f16(&rest[2..]));
    for (index, part) in scales.iter().enumerate() {
        let (step, shift) = (scale * f32::from(part & 15), minimum * f32::from(part >> 4));
        values.extend(two_bits(packed, index).map(|q| step * f32::from(q) - shift));
    }
}

/// The sixteen values of one of sixteen parts: eight parts lie in the same 32 bytes, two bits each.
fn two_bits(packed: &[u8], part: usize) -> impl Iterator<Item = u8> + '_ {
    let bytes = &packed[part / 8 * 32 + part % 2 * 16..][..16];
    bytes.iter().map(move |byte| byte >> (part % 8 / 2 * 2) & 3)
}

pub(super) fn q3_k(block: &[u8], values: &mut Vec<f32>) {
    let (high, rest) = block.split_at(SUPER_BLOCK / 8);
    let (packed, rest) = rest.split_at(SUPER_BLOCK / 4);
    let (scales, scale) = rest.split_at(12);
    let scale = f16(scale);
    for part in 0..SUPER_BLOCK / 16 {
        let four = if part < 8 { scales[part] & 15 } else { scales[part - 8] >> 4 };
        let two = scales[8 + part % 4] >> (part / 4 * 2) & 3;
        let step = scale * (f32::from(four | two << 4) - 32.0);
        let high = high[part % 2 * 16..][..16].iter().map(|byte| byte >> (part / 2) & 1);
        let all = two_bits(packed, part).zip(high).map(|(low, high)| low | high << 2);
        values.extend(all.map(|q| step * (f32::from(q) - 4.0)));
    }
}

pub(super) fn q4_k(block: &[u8], values: &mut Vec<f32>) {
    let (scale, minimum) = (f16(block), f16(&block[2..]));
    let (packed, low) = block[4..].split_at(12);
    for (pair, low) in low.chunks_exact(BLOCK).enumerate() {
        for half in 0..2 {
            let (s, t) = six_bits(packed, 2 * pair + half);
            let (step, shift) = (scale * f32::from(s), minimum * f32::from(t));
            values.extend(low.iter().map(|byte| step * f32::from(byte >> (4 * half) & 15) - shift));
        }
    }
}

pub(super) fn q5_k(block: &[u8], values: &mut Vec<f32>) {
    let (scale, minimum) = (f16(block), f16(&block[2..]));
    let (packed, rest) = block[4..].split_at(12);
    let (high, low) = rest.split_at(BLOCK);
    for (pair, low) in low.chunks_exact(BLOCK).enumerate() {
        for half in 0..2 {
            let part = 2 * pair + half;
            let (s, t) = six_bits(packed, part);
            let (step, shift) = (scale * f32::from(s), minimum * f32::from(t));
            let all = low.iter().zip(high);
            let all = all.map(|(low, high)| low >> (4 * half) & 15 | (high >> part & 1) << 4);
            values.extend(all.map(|q| step * f32::from(q) - shift));
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

pub(super) fn q6_k(block: &[u8], values: &mut Vec<f32>) {
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

pub(super) fn iq4_nl(block: &[u8], values: &mut Vec<f32>) {
    let scale = f16(block);
    values.extend(nibbles(&block[2..]).map(|q| scale * f32::from(UNEVEN[usize::from(q)])));
}

pub(super) fn iq4_xs(block: &[u8], values: &mut Vec<f32>) {
    let scale = f16(block);
    let high = u16::from_le_bytes([block[2], block[3]]);
    let (low, packed) = block[4..].split_at(4);
    for (part, packed) in packed.chunks_exact(BLOCK / 2).enumerate() {
        let four = low[part / 2] >> (part % 2 * 4) & 15;
        let two = (high >> (2 * part) & 3) as u8;
        let step = scale * (f32::from(four | two << 4) - 32.0);
        values.extend(nibbles(packed).map(|q| step * f32::from(UNEVEN[usize::from(q)])));
    }
}

pub(super) fn mxfp4(block: &[u8], values: &mut Vec<f32>) {
    // Half of the power of two, as the values are doubled.
    let half = libm::ldexpf(1.0, i32::from(block[0]) - 128);
    values.extend(nibbles(&block[1..]).map(|q| half * f32::from(DOUBLED_FP4[usize::from(q)])));
}

pub(super) fn fp4(block: &[u8], values: &mut Vec<f32>) {
    let value = |q: u8| f32::from(DOUBLED_FP4[usize::from(q)]) / 2.0;
    values.extend(block.iter().flat_map(|byte| [value(byte & 15), value(byte >> 4)]));
}
