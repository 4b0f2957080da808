//! A matrix of Linear on the device: interleaved so that neighbouring invocations read neighbouring
//! words, and cut into pieces of whole output rows so that none outgrows a binding. Several
//! projections of the same input lie in one matrix. Does not compute: that is
//! `kernels/linear.wgsl`.

use std::ops::Range;

use super::compiled::bind;
use super::linear_kernels::LinearKernels;
use super::uniforms;
use potluck_model::package::{GROUP, Linear};

/// Where the results of a matrix go.
#[derive(Debug, Clone, Copy)]
pub(super) enum Destination {
    /// Stored; the reader knows the exponents.
    Stored,
    /// Added to the residual stream.
    Residual {
        /// Weight exponent + 22.
        exponent: i32,
        /// Fraction bits of the residual stream.
        fraction_bits: i32,
    },
}

/// The buffers that a matrix reads and writes besides its weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct MatrixBuffers<'a> {
    pub(super) forward: &'a wgpu::Buffer,
    /// `[MAX_ROWS, inputs]`, as the arithmetic wants it.
    pub(super) block: &'a wgpu::Buffer,
    /// `[MAX_ROWS]`.
    pub(super) exponents: &'a wgpu::Buffer,
    /// `[MAX_ROWS, outputs of all parts]`.
    pub(super) outputs: &'a wgpu::Buffer,
    /// Of the matrix that attention's outputs go through.
    pub(super) heads: Option<HeadsInput<'a>>,
}

/// What such a matrix reads a single row from.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadsInput<'a> {
    pub(super) layout: &'a wgpu::BindGroupLayout,
    /// The `Model`.
    pub(super) shape: &'a wgpu::Buffer,
    /// `[MAX_ROWS, heads, head_dim]`.
    pub(super) head_outputs: &'a wgpu::Buffer,
    /// `[MAX_ROWS, heads]`.
    pub(super) head_exponents: &'a wgpu::Buffer,
}

/// A matrix on the device.
#[derive(Debug)]
pub(super) struct Matrix {
    pieces: Vec<Piece>,
}

#[derive(Debug)]
struct Piece {
    bind_group: wgpu::BindGroup,
    /// Where a single row comes from attention's heads.
    heads: Option<wgpu::BindGroup>,
    out_rows: u32,
}

/// Bytes of weights that are interleaved and written at a time: what a browser's worker, whose
/// memory never shrinks, holds twice.
pub(super) const UPLOAD_BYTES: usize = 4 << 20;

impl Matrix {
    /// Uploads `parts`, of equally many columns and bits, one below the other. `piece_bytes` bounds
    /// a piece's weights.
    pub(super) fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        layout: &wgpu::BindGroupLayout,
        piece_bytes: usize,
        parts: &[&Linear],
        destination: Destination,
        buffers: MatrixBuffers<'_>,
    ) -> Self {
        let inputs = parts.first().map_or(GROUP, |part| part.columns);
        let outputs: usize = parts.iter().map(|part| part.rows).sum();
        let is_w12 = parts.iter().any(|part| part.lower_bits.is_some());
        let row_bytes = if is_w12 { 2 * inputs } else { inputs };
        let rows_a_piece = (piece_bytes / row_bytes).max(1);
        let mut pieces = Vec::new();
        for first in (0..outputs).step_by(rows_a_piece) {
            let range = first..outputs.min(first + rows_a_piece);
            let planes = interleave_scales(inputs, parts, range.clone());
            let out_rows = count(planes.row_multipliers.len());
            let (exponent, residual_fraction_bits, add_to_residual) = match destination {
                Destination::Stored => (0, 0, 0),
                Destination::Residual { exponent, fraction_bits } => (exponent, fraction_bits, 1),
            };
            let linear = uniforms::Linear {
                groups: count(inputs / GROUP),
                out_rows,
                first_out: count(first),
                out_stride: count(outputs),
                exponent,
                residual_fraction_bits,
                add_to_residual,
            };
            let size_bytes = row_bytes * range.len();
            let weights = empty(device, "weights", size_bytes, wgpu::BufferUsages::STORAGE);
            let chunks_at_once = (UPLOAD_BYTES / (CHUNK * range.len())).max(1);
            for first in (0..row_bytes / CHUNK).step_by(chunks_at_once) {
                let chunks = first..(row_bytes / CHUNK).min(first + chunks_at_once);
                let bytes = interleave_weights(parts, range.clone(), chunks);
                queue.write_buffer(&weights, (first * CHUNK * range.len()) as u64, &bytes);
                // The queue keeps a copy of what was written until the next submission.
                queue.submit([]);
            }
            let bindings = [
                buffers.forward,
                &uniform(device, queue, "linear", &linear),
                buffers.block,
                buffers.exponents,
                &weights,
                &storage(device, queue, "group scales", &planes.group_scales),
                &storage(
                    device,
                    queue,
                    "row multipliers",
                    bytemuck::cast_slice(&planes.row_multipliers),
                ),
                buffers.outputs,
            ];
            let heads = buffers.heads.map(|heads| {
                let [_, linear, _, _, rest @ ..] = bindings;
                let from = [heads.shape, linear, heads.head_outputs, heads.head_exponents];
                bind(device, "gemv heads", heads.layout, &[], &[&from[..], &rest].concat())
            });
            let bind_group = if is_w12 {
                // Never added to the residual stream, for which alone the exponents are.
                let [forward, linear, block, _, rest @ ..] = bindings;
                bind(device, "w12", layout, &[], &[&[forward, linear, block][..], &rest].concat())
            } else {
                bind(device, "linear", layout, &[], &bindings)
            };
            pieces.push(Piece { bind_group, heads, out_rows });
        }
        Self { pieces }
    }

    /// Multiplies `rows` rows.
    pub(super) fn encode(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        kernels: &LinearKernels,
        rows: u32,
    ) {
        for piece in &self.pieces {
            kernels.encode(pass, &piece.bind_group, piece.out_rows, rows);
        }
    }

    /// What each piece binds, and how many outputs it has.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (&wgpu::BindGroup, u32)> {
        self.pieces.iter().map(|piece| (&piece.bind_group, piece.out_rows))
    }

    /// Multiplies the one row that attention left in heads.
    pub(super) fn encode_heads(&self, pass: &mut wgpu::ComputePass<'_>, kernels: &LinearKernels) {
        for piece in &self.pieces {
            if let Some(heads) = &piece.heads {
                kernels.encode_heads(pass, heads, piece.out_rows);
            }
        }
    }
}

/// Bytes of weights of one row that lie side by side: 16 weights of eight bits, or eight of twelve,
/// an `i16` each.
pub(super) const CHUNK: usize = 16;

/// Weights of `chunks` of the rows `range`, in the order of `kernels/linear.wgsl` and
/// `kernels/linear_w12.wgsl`: `[chunks, rows]` of 16 bytes.
pub(super) fn interleave_weights(
    parts: &[&Linear],
    range: Range<usize>,
    chunks: Range<usize>,
) -> Vec<u8> {
    let rows = range.len();
    let mut interleaved = vec![0; chunks.len() * rows * CHUNK];
    let all_rows =
        parts.iter().flat_map(|part| (0..part.rows).map(move |row| (part, row * part.columns)));
    for (row, (part, start)) in all_rows.skip(range.start).take(rows).enumerate() {
        for (at, chunk) in chunks.clone().enumerate() {
            let to = &mut interleaved[(at * rows + row) * CHUNK..][..CHUNK];
            if part.lower_bits.is_some() {
                let first = start + chunk * (CHUNK / 2);
                for (to, at) in to.as_chunks_mut::<2>().0.iter_mut().zip(first..) {
                    let [low, high, ..] = part.weight(at).to_le_bytes();
                    *to = [low, high];
                }
            } else {
                to.copy_from_slice(bytemuck::cast_slice(
                    &part.weights[start + chunk * CHUNK..][..CHUNK],
                ));
            }
        }
    }
    interleaved
}

/// The scales of a piece in the order of `kernels/linear.wgsl`.
pub(super) struct Scales {
    /// `[ceil(groups / 4), rows]` of 4 bytes.
    pub(super) group_scales: Vec<u8>,
    /// `[rows]`.
    pub(super) row_multipliers: Vec<u32>,
}

pub(super) fn interleave_scales(inputs: usize, parts: &[&Linear], range: Range<usize>) -> Scales {
    let rows = range.len();
    let groups = inputs / GROUP;
    let mut planes = Scales {
        group_scales: vec![0; groups.div_ceil(4) * rows * 4],
        row_multipliers: Vec::with_capacity(rows),
    };
    let all_rows = parts
        .iter()
        .flat_map(|part| part.group_scales.chunks_exact(groups).zip(&part.row_multipliers));
    for (row, (scales, multiplier)) in all_rows.skip(range.start).take(rows).enumerate() {
        for (word, four) in scales.chunks(4).enumerate() {
            let at = (word * rows + row) * 4;
            planes.group_scales[at..at + four.len()].copy_from_slice(four);
        }
        planes.row_multipliers.push(u32::from(*multiplier));
    }
    planes
}

/// A storage buffer that holds `bytes` (a multiple of four of them) and is only read.
pub(super) fn storage(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    label: &str,
    bytes: &[u8],
) -> wgpu::Buffer {
    filled(device, queue, label, bytes, wgpu::BufferUsages::STORAGE)
}

/// A uniform buffer that holds one struct.
pub(super) fn uniform<T: bytemuck::Pod>(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    label: &str,
    value: &T,
) -> wgpu::Buffer {
    filled(device, queue, label, bytemuck::bytes_of(value), wgpu::BufferUsages::UNIFORM)
}

fn filled(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    label: &str,
    bytes: &[u8],
    usage: wgpu::BufferUsages,
) -> wgpu::Buffer {
    let buffer = empty(device, label, bytes.len(), usage);
    queue.write_buffer(&buffer, 0, bytes);
    buffer
}

pub(super) fn empty(
    device: &wgpu::Device,
    label: &str,
    size_bytes: usize,
    usage: wgpu::BufferUsages,
) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: size_bytes as u64,
        usage: usage | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

/// A count of the model, all of which the manifest bounds far below `u32::MAX`.
pub(super) fn count(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two parts of 2 and 3 rows, 160 inputs (5 groups: the last scale word is half empty), cut
    /// across the parts' seam.
    #[test]
    fn interleaving_puts_every_weight_where_the_kernel_looks() {
        let inputs = 160;
        let weight = |row: usize, k: usize| i8::try_from((row * 31 + k * 7) % 255).unwrap_or(-1);
        let scale = |row: usize, group: usize| u8::try_from(1 + row * 10 + group).unwrap();
        let part = |rows: std::ops::Range<usize>| Linear {
            rows: rows.len(),
            columns: inputs,
            weights: rows
                .clone()
                .flat_map(|row| (0..inputs).map(move |k| weight(row, k)))
                .collect(),
            lower_bits: None,
            group_scales: rows
                .clone()
                .flat_map(|row| (0..5).map(move |group| scale(row, group)))
                .collect(),
            row_multipliers: rows.map(|row| u16::try_from(100 + row).unwrap()).collect(),
            exponent: 0,
        };
        let (upper, lower) = (part(0..2), part(2..5));
        let parts = [&upper, &lower];
        let scales = interleave_scales(inputs, &parts, 1..4);
        assert_eq!(scales.row_multipliers, [101, 102, 103]);
        // Ten chunks a row, in slices of four, four and two.
        let weights =
            [0..4, 4..8, 8..10].map(|chunks| interleave_weights(&parts, 1..4, chunks)).concat();
        for row in 0..3 {
            for k in 0..inputs {
                let byte = weights[(k / 16 * 3 + row) * 16 + k % 16];
                assert_eq!(byte.cast_signed(), weight(row + 1, k), "row {row}, input {k}");
            }
            for group in 0..5 {
                assert_eq!(
                    scales.group_scales[(group / 4 * 3 + row) * 4 + group % 4],
                    scale(row + 1, group)
                );
            }
        }
    }
}
