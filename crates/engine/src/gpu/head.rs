//! The end of a model on the device: the final norm, the output matrix, and what samples from its
//! logits. Everything bound here is made once, when the weights arrive.

use super::build::{Block, BuildContext, LINEAR_EXPONENT};
use super::compiled::run;
use super::matrix::{Destination, Matrix, MatrixBuffers, count, uniform};
use super::model::{HEAD_ROWS, activation};
use super::pipelines::Pipelines;
use super::sampling::TokenSampler;
use super::uniforms;
use crate::step::OutputRequest;
use potluck_model::package::{Gain, Linear};

/// The final norm, the output matrix and what samples from its logits, ready to run.
#[derive(Debug)]
pub(super) struct Head {
    norm: Block,
    output: Matrix,
    /// The `Forward` of its rows.
    forward: wgpu::Buffer,
    /// `[HEAD_ROWS, vocab]`.
    pub(super) logits: wgpu::Buffer,
    /// Where the model bounds its logits.
    cap: Option<wgpu::BindGroup>,
    pub(super) sampler: TokenSampler,
    /// `[HEAD_ROWS, d_model]`: rows on their way to the front of the residual stream.
    pub(super) picked: wgpu::Buffer,
    /// To be added to the exponent of the norm's block.
    pub(super) exponent: i32,
}

impl Head {
    pub(super) fn new(context: BuildContext<'_>, norm: &Gain, output: &Linear) -> Self {
        let BuildContext { device, queue, model, pipelines, .. } = context;
        let buffers = &model.buffers;
        let rows =
            |label, width: u32| activation(device, label, HEAD_ROWS as u64 * u64::from(width) * 4);
        let logits = rows("logits", model.config.vocab);
        let forward = uniform(
            device,
            queue,
            "head's rows",
            &uniforms::Forward { position: 0, rows: 0, first_row: 0 },
        );
        let matrix_buffers = MatrixBuffers {
            forward: &forward,
            block: &buffers.block,
            exponents: &buffers.norm_exponents,
            outputs: &logits,
            heads: None,
        };
        let exponent = output.exponent + LINEAR_EXPONENT;
        let cap = model.config.logit_cap.map(|cap| {
            let shape = uniforms::CapLogits { vocab: model.config.vocab, exponent };
            pipelines.cap_logits.bind(
                device,
                &[
                    &uniform(device, queue, "logits", &shape),
                    &uniform(device, queue, "scoring", &model.capped(Some(cap))),
                    &logits,
                    &buffers.norm_exponents,
                ],
            )
        });
        Self {
            cap,
            norm: context.norm(norm),
            output: context.matrix(&[output], Destination::Stored, matrix_buffers),
            sampler: TokenSampler::new(context, &logits, exponent),
            picked: rows("picked rows", model.config.d_model),
            forward,
            logits,
            exponent,
        }
    }

    /// Says what is wanted of each of the residual stream's first rows. To be called before the
    /// submission.
    pub(super) fn write(&self, queue: &wgpu::Queue, wants: &[OutputRequest]) {
        let forward = uniforms::Forward { position: 0, rows: count(wants.len()), first_row: 0 };
        queue.write_buffer(&self.forward, 0, bytemuck::bytes_of(&forward));
        if wants.iter().any(|want| matches!(want, OutputRequest::Token(_))) {
            self.sampler.write(queue, wants);
        }
    }

    /// Runs the head over those rows.
    pub(super) fn encode(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        pipelines: &Pipelines,
        wants: &[OutputRequest],
    ) {
        let rows = count(wants.len());
        self.norm.encode(pass, pipelines, rows);
        self.output.encode(pass, &pipelines.linear, rows);
        if let Some(cap) = &self.cap {
            run(pass, &pipelines.cap_logits.pipeline, cap, (rows, 1));
        }
        self.sampler.encode(pass, pipelines, wants);
    }
}
