//! What of a call's rows depends on where its texts lie: which rows a row sees, for every window that the
//! layers have, and by how much its queries and keys turn.
//!
//! Written once a call, from the lengths of its texts. Kernels need not know then which text a row is
//! of, nor where in it.

use super::kernels::EncoderKernels;
use crate::encoder::seen;
use crate::gpu::matrix::{count, uniform};
use crate::gpu::model::{Buffers, activation};
use crate::gpu::uniforms;
use bytemuck::Zeroable as _;
use potluck_model::package::{LayerKind, Rotation};

/// Which rows each row sees.
#[derive(Debug)]
pub(super) struct Views {
    views: Vec<View>,
}

/// For the layers of one window, or of none.
#[derive(Debug)]
struct View {
    window: Option<u32>,
    /// `[rows]`: the first row that a row sees, and how many.
    rows: wgpu::Buffer,
    attention: wgpu::BindGroup,
}

impl Views {
    /// For layers of these windows, and calls of at most `rows` rows.
    pub(super) fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        kernels: &EncoderKernels,
        buffers: &Buffers,
        (windows, rows): (impl Iterator<Item = Option<u32>>, u32),
    ) -> Self {
        let mut views: Vec<View> = Vec::new();
        let scoring = uniform(device, queue, "scoring", &uniforms::Scoring::zeroed());
        for window in windows {
            if views.iter().any(|view| view.window == window) {
                continue;
            }
            let seen = activation(device, "seen rows", u64::from(rows) * 8);
            let attention = [
                &buffers.shape,
                &seen,
                &buffers.queries,
                &buffers.query_exponents,
                &buffers.exp2,
                &buffers.head_outputs,
                &buffers.head_exponents,
                &scoring,
            ];
            let attention = kernels.attention.bind(device, &attention);
            views.push(View { window, rows: seen, attention });
        }
        Self { views }
    }

    /// What attention binds in a layer of this window.
    pub(super) fn attention(&self, window: Option<u32>) -> Option<&wgpu::BindGroup> {
        Some(&self.views.iter().find(|view| view.window == window)?.attention)
    }

    /// For texts of these lengths, one after the other.
    pub(super) fn write(&self, queue: &wgpu::Queue, lengths: &[usize]) {
        for View { window, rows, .. } in &self.views {
            let mut spans: Vec<[u32; 2]> = Vec::new();
            for length in lengths {
                let start = spans.len();
                spans.extend((0..*length).map(|place| {
                    let seen = seen(*window, place, *length);
                    [count(start + seen.start), count(seen.len())]
                }));
            }
            queue.write_buffer(rows, 0, bytemuck::cast_slice(&spans));
        }
    }
}

/// By how much rows turn, for every rotation.
#[derive(Debug)]
pub(super) struct Turns {
    /// `[rows, head_dim / 2]` each, cosine in the low half of a word, sine in the high one.
    turns: Vec<wgpu::Buffer>,
}

impl Turns {
    /// For calls of at most `rows` rows, of heads with so many pairs.
    pub(super) fn new(device: &wgpu::Device, rotations: usize, rows: u32, pairs: u32) -> Self {
        let turns = || activation(device, "turns", u64::from(rows) * u64::from(pairs) * 4);
        Self { turns: (0..rotations).map(|_| turns()).collect() }
    }

    /// Those of a layer's kind; none where nothing turns.
    pub(super) fn of(&self, kind: LayerKind) -> Option<&wgpu::Buffer> {
        self.turns.get(kind.rotation? as usize)
    }

    /// For texts of these lengths, one after the other.
    pub(super) fn write(
        &self,
        queue: &wgpu::Queue,
        rotations: &[Rotation],
        (lengths, pairs): (&[usize], usize),
    ) {
        for (buffer, Rotation { cos, sin }) in self.turns.iter().zip(rotations) {
            let words = lengths.iter().flat_map(|length| {
                let turns = cos.iter().zip(sin).take(length * pairs);
                turns.map(|(cos, sin)| {
                    u32::from(cos.cast_unsigned()) | u32::from(sin.cast_unsigned()) << 16
                })
            });
            let words: Vec<u32> = words.collect();
            queue.write_buffer(buffer, 0, bytemuck::cast_slice(&words));
        }
    }
}
