//! Which of the bit-equal kernels of Linear an adapter runs fastest. A start-up measures it in at
//! most [`TUNE_LIMIT`], on random numbers, and the caller may keep the answer: it holds for as long
//! as the adapter and the version of its [`Tuning`](super::Tuning) do. A kernel that differs from
//! the specification on this adapter is out of the race. Everything else about a GPU stays as it
//! is, whatever wins. Nothing else in `gpu` reads a clock.

use std::time::Duration;

use web_time::Instant;

use super::device::{Device, Part};
use super::linear_kernels::LinearKernels;
use super::matrix::{Destination, Matrix, MatrixBuffers, storage, uniform};
use super::model::activation;
use super::variants::{Arithmetic, Gemm, Variants};
use super::{GpuError, read_back, uniforms};
use crate::kernels::linear;
use potluck_model::package::Linear;
use potluck_model::synthetic::{self, Random};

/// Measuring stops here and the best so far is taken: a visitor waits for it.
pub const TUNE_LIMIT: Duration = Duration::from_millis(200);

/// A measurement as long as this is precise enough.
const LONG_ENOUGH: Duration = Duration::from_millis(3);

/// Rows of the measurements of many.
const MANY_ROWS: u32 = 64;

/// Sizes, `[outputs, inputs]`: one that a software adapter computes in milliseconds, and one that a
/// real GPU is busy with.
const SMALL: (usize, usize) = (256, 256);
const LARGE: (usize, usize) = (2048, 1024);

/// Splits that a matrix of few outputs is measured with, and for how many invocations they speak if
/// they are fastest: for no more than it has outputs, for a small GPU, for a large one (an H200
/// runs 270,000 at once).
const SPREADS: [(u32, u32); 3] = [(1, 0), (4, 1 << 14), (16, 1 << 17)];

/// Finds the fastest kernels.
///
/// # Errors
/// If the device fails, or no kernel computes rightly on it.
pub(super) async fn tune(device: &mut Device) -> Result<Variants, GpuError> {
    let begun = Instant::now();
    let late = || begun.elapsed() > TUNE_LIMIT;
    let (weights, row) = numbers(SMALL);
    let expected = linear::reference(&weights, &row);
    let small = Problem::new(device, &weights, &row).await?;
    let mut large = None;
    let mut best: Option<(f64, Variants)> = None;
    // A software adapter takes its time to compile: what suits it best comes first.
    for gemm in [Gemm::Block4x4, Gemm::Tiled64x64, Gemm::Rows4] {
        for arithmetic in [Arithmetic::Fma, Arithmetic::Dot] {
            if best.is_some() && late() {
                break;
            }
            // To a software adapter a dispatch is a call, and arithmetic is dear (SwiftShader
            // decodes 1.2 times faster unfused).
            let fused = !device.info.is_software;
            let kernels = Variants {
                arithmetic,
                gemm,
                busy_invocations: 0,
                fused,
                shaders: device.best_shaders(),
            };
            let linear_kernels = device.allocate(Part::Kernels, |device, _| {
                LinearKernels::to_measure(device, kernels, &[1])
            })?;
            device.await_allocations(|_| {}).await?;
            if !small.is_right(device, &linear_kernels, &expected).await? {
                continue;
            }
            if best.is_none()
                && small.seconds(device, &linear_kernels, MANY_ROWS).await?
                    < LONG_ENOUGH.as_secs_f64()
            {
                let (weights, row) = numbers(LARGE);
                large = Some(Problem::new(device, &weights, &row).await?);
            }
            // All are measured on what suits the first. An answer is as many steps of one row as
            // its question had rows, roughly.
            let problem = large.as_ref().unwrap_or(&small);
            let seconds = problem.seconds(device, &linear_kernels, MANY_ROWS).await?
                + f64::from(MANY_ROWS) * problem.seconds(device, &linear_kernels, 1).await?;
            if best.is_none_or(|(least, _)| seconds < least) {
                best = Some((seconds, kernels));
            }
        }
    }
    let wrong = || GpuError::Refused { reason: "no kernel computes rightly".to_owned() };
    let (_, mut kernels) = best.ok_or_else(wrong)?;
    let mut least = f64::INFINITY;
    for (splits, busy_invocations) in SPREADS {
        if late() {
            break;
        }
        let linear_kernels = device.allocate(Part::Kernels, |device, _| {
            LinearKernels::to_measure(device, kernels, &[splits])
        })?;
        device.await_allocations(|_| {}).await?;
        if !small.is_right(device, &linear_kernels, &expected).await? {
            continue;
        }
        let seconds = small.seconds(device, &linear_kernels, 1).await?;
        if seconds < least {
            (least, kernels.busy_invocations) = (seconds, busy_invocations);
        }
    }
    Ok(kernels)
}

/// A random matrix and a row of mantissas for it.
fn numbers((rows, columns): (usize, usize)) -> (Linear, Vec<i32>) {
    let mut random = Random::new(1);
    let weights = synthetic::linear(&mut random, rows, columns, 0);
    let row = (0..columns).map(|_| random.within(-16_383, 16_383)).collect();
    (weights, row)
}

/// A matrix on the device, and the same row many times to multiply it with.
struct Problem {
    /// On the device, reading what each arithmetic wants.
    fma: Matrix,
    dot: Matrix,
    forward: wgpu::Buffer,
    outputs: wgpu::Buffer,
}

impl Problem {
    async fn new(device: &mut Device, weights: &Linear, row: &[i32]) -> Result<Self, GpuError> {
        let problem = device.allocate(Part::Kernels, |device, queue| {
            let outputs =
                activation(device, "tuned outputs", u64::from(MANY_ROWS) * weights.rows as u64 * 4);
            let forward = uniform(
                device,
                queue,
                "forward",
                &uniforms::Forward { position: 0, rows: 0, first_row: 0 },
            );
            let exponents = storage(device, queue, "exponents", &[0; 4]);
            let layout = LinearKernels::layout(device);
            let matrix = |arithmetic| {
                let rows = pack(arithmetic, row).repeat(MANY_ROWS as usize);
                let block = storage(device, queue, "block", bytemuck::cast_slice(&rows));
                let buffers = MatrixBuffers {
                    forward: &forward,
                    block: &block,
                    exponents: &exponents,
                    outputs: &outputs,
                    heads: None,
                };
                Matrix::new(
                    device,
                    queue,
                    &layout,
                    usize::MAX,
                    &[weights],
                    Destination::Stored,
                    buffers,
                )
            };
            let (fma, dot) = (matrix(Arithmetic::Fma), matrix(Arithmetic::Dot));
            Self { fma, dot, forward, outputs }
        })?;
        device.await_allocations(|_| {}).await?;
        Ok(problem)
    }

    /// Whether every row of every kernel is as the specification has it.
    async fn is_right(
        &self,
        device: &mut Device,
        linear_kernels: &LinearKernels,
        expected: &[i32],
    ) -> Result<bool, GpuError> {
        for rows in [1, MANY_ROWS] {
            let got =
                self.run(device, linear_kernels, (rows, 1), rows as usize * expected.len()).await?;
            if got.chunks_exact(expected.len()).any(|row| row != expected) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Seconds of one multiplication of `rows` rows, when it is not the first.
    async fn seconds(
        &self,
        device: &mut Device,
        linear_kernels: &LinearKernels,
        rows: u32,
    ) -> Result<f64, GpuError> {
        let once = self.time(device, linear_kernels, rows, 1).await?;
        // Waiting for the device takes its time too; many in one submission hide it.
        let repeats = (LONG_ENOUGH.as_secs_f64() / once.max(1e-6)).clamp(1.0, 64.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 64")]
        let repeats = repeats as u32;
        if repeats == 1 {
            return Ok(once);
        }
        Ok(self.time(device, linear_kernels, rows, repeats).await? / f64::from(repeats))
    }

    async fn time(
        &self,
        device: &mut Device,
        linear_kernels: &LinearKernels,
        rows: u32,
        repeats: u32,
    ) -> Result<f64, GpuError> {
        let begun = Instant::now();
        self.run(device, linear_kernels, (rows, repeats), 1).await?;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Multiplies `rows` rows, `repeats` times, in one submission, and reads the first `values`
    /// outputs.
    async fn run(
        &self,
        device: &mut Device,
        linear_kernels: &LinearKernels,
        (rows, repeats): (u32, u32),
        values: usize,
    ) -> Result<Vec<i32>, GpuError> {
        let forward = uniforms::Forward { position: 0, rows, first_row: 0 };
        device.queue.write_buffer(&self.forward, 0, bytemuck::bytes_of(&forward));
        let mut encoder =
            device.handle.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            let matrix = linear_kernels.arithmetic().of(&self.fma, &self.dot);
            for _ in 0..repeats {
                matrix.encode(&mut pass, linear_kernels, rows);
            }
        }
        let size_bytes = values as u64 * 4;
        let staging = read_back::staging(&device.handle, size_bytes);
        encoder.copy_buffer_to_buffer(&self.outputs, 0, &staging, 0, size_bytes);
        let index = device.queue.submit([encoder.finish()]);
        let read = read_back::read(&device.handle, &staging, values, index).await;
        // Why the device failed says more than that the map did.
        device.check()?;
        read
    }
}

/// Mantissas as `store_quad` of the kernels before Linear writes them.
fn pack(arithmetic: Arithmetic, mantissas: &[i32]) -> Vec<u32> {
    match arithmetic {
        Arithmetic::Fma => {
            mantissas.iter().map(|mantissa| exact_f32(*mantissa).to_bits()).collect()
        }
        Arithmetic::Dot => mantissas
            .chunks_exact(4)
            .flat_map(|four| {
                let word = |byte: fn(i32) -> u8| {
                    four.iter()
                        .rev()
                        .fold(0, |word, mantissa| word << 8 | u32::from(byte(*mantissa)))
                };
                [
                    word(|mantissa| (mantissa >> 7).to_le_bytes()[0]),
                    word(|mantissa| (mantissa & 127).to_le_bytes()[0]),
                ]
            })
            .collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a mantissa has 15 bits")]
fn exact_f32(mantissa: i32) -> f32 {
    mantissa as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_mantissas_are_f32_or_two_planes_of_four_bytes() {
        let mantissas = [-16_383, -1, 129, 16_383];
        let floats: Vec<f32> =
            pack(Arithmetic::Fma, &mantissas).into_iter().map(f32::from_bits).collect();
        assert_eq!(floats, [-16_383.0, -1.0, 129.0, 16_383.0]);
        let planes = pack(Arithmetic::Dot, &mantissas);
        let bytes: Vec<[u8; 4]> = planes.iter().map(|word| word.to_le_bytes()).collect();
        for (at, mantissa) in mantissas.into_iter().enumerate() {
            assert_eq!(
                i32::from(bytes[0][at].cast_signed()) * 128 + i32::from(bytes[1][at]),
                mantissa
            );
        }
    }
}
