//! Matrices of four bits of floating point, with a power of two for every 32, as gpt-oss's makers and
//! llama.cpp store them.
#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part")]

use potluck_model::synthetic::Random;

/// What four bits stand for, without their sign.
const MAGNITUDES: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
/// Numbers of a block.
const BLOCK: usize = 32;

/// `[rows, columns]`.
pub struct Fours {
    columns: usize,
    codes: Vec<u8>,
    scales: Vec<u8>,
}

impl Fours {
    /// Random ones, below 3.
    pub fn new(random: &mut Random, rows: usize, columns: usize) -> Self {
        let mut draw = |low, high| u8::try_from(random.within(low, high)).unwrap();
        let codes = (0..rows * columns).map(|_| draw(0, 15)).collect();
        Self {
            columns,
            codes,
            scales: (0..rows * columns / BLOCK).map(|_| draw(121, 126)).collect(),
        }
    }

    pub fn value(&self, at: usize) -> f32 {
        let magnitude = MAGNITUDES[usize::from(self.codes[at] & 7)];
        let value = magnitude * (f32::from(self.scales[at / BLOCK]) - 127.0).exp2();
        if self.codes[at] > 7 { -value } else { value }
    }

    /// Llama.cpp's `MXFP4`: a byte holds two numbers that are sixteen apart.
    pub fn as_ggml(&self) -> Vec<u8> {
        let blocks = self.codes.chunks_exact(BLOCK).zip(&self.scales);
        let block = |(codes, scale): (&[u8], &u8)| {
            let (low, high) = codes.split_at(BLOCK / 2);
            let pairs = low.iter().zip(high).map(|(low, high)| low | high << 4);
            std::iter::once(*scale).chain(pairs).collect::<Vec<u8>>()
        };
        blocks.flat_map(block).collect()
    }

    /// Rows of several in turns, two neighbours a byte; and their scales.
    pub fn packed(all: &[Self]) -> (Vec<u8>, Vec<u8>) {
        let columns = all[0].columns;
        let rows = all[0].codes.len() / columns;
        let (mut blocks, mut scales) = (Vec::new(), Vec::new());
        for (row, own) in (0..rows).flat_map(|row| all.iter().map(move |own| (row, own))) {
            let codes = &own.codes[row * columns..][..columns];
            blocks.extend(codes.chunks_exact(2).map(|pair| pair[0] | pair[1] << 4));
            let in_row = columns / BLOCK;
            scales.extend(&own.scales[row * in_row..][..in_row]);
        }
        (blocks, scales)
    }
}
