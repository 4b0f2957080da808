//! Sampling tokens where the logits are: the device finds the largest logit and the heaviest
//! tokens, the host samples from those (`kernels/sample.wgsl`). A vocabulary of 150,000 tokens is
//! 600 KB of logits; what comes back is 32 bytes, or 8 KB where it is not the largest that is
//! taken.

use super::build::BuildContext;
use super::compiled::run;
use super::matrix::{count, uniform};
use super::model::{HEAD_ROWS, activation};
use super::pipelines::Pipelines;
use super::uniforms;
use crate::sampler::{self, Candidate, Candidates, HEAVIEST};
use crate::step::OutputRequest;
use potluck_protocol::sampling::Sampling;

/// Words of a row's results (`RESULTS` in the kernel), then of its heaviest tokens.
pub(super) const RESULT_WORDS: usize = 8;
pub(super) const HEAVIEST_WORDS: usize = 2 * HEAVIEST;
/// Workgroups of a row.
const PARTS: u32 = 64;
/// Classes of weights.
const CLASSES: u64 = 864;
/// The coefficient of a row whose largest logit is taken: `log2(e) / temperature` is far below it.
const GREEDY: u32 = u32::MAX;

/// The kernels that tokens are sampled with, bound to a head's logits.
#[derive(Debug)]
pub(super) struct TokenSampler {
    largest: wgpu::BindGroup,
    weigh: wgpu::BindGroup,
    gather: wgpu::BindGroup,
    coefficients: wgpu::Buffer,
    /// `[HEAD_ROWS, RESULT_WORDS]`.
    pub(super) results: wgpu::Buffer,
    /// `[HEAD_ROWS, HEAVIEST_WORDS]`.
    pub(super) heaviest: wgpu::Buffer,
}

impl TokenSampler {
    /// Of `logits`, `[HEAD_ROWS, vocab]`; `exponent` is the output matrix's.
    pub(super) fn new(context: BuildContext<'_>, logits: &wgpu::Buffer, exponent: i32) -> Self {
        let BuildContext { device, queue, pipelines, model, .. } = context;
        let buffer = |label, words: u64| activation(device, label, HEAD_ROWS as u64 * words * 4);
        let sample = uniform(
            device,
            queue,
            "sample",
            &uniforms::Sample { vocab: model.config.vocab, exponent },
        );
        let tops = buffer("tops", u64::from(PARTS) * 2);
        let classes = buffer("classes", CLASSES);
        let coefficients = buffer("coefficients", 1);
        let results = buffer("results", RESULT_WORDS as u64);
        let heaviest = buffer("heaviest", HEAVIEST_WORDS as u64);
        let buffers = &model.buffers;
        let (exponents, exp2) = (&buffers.norm_exponents, &buffers.exp2);
        let weigh = [&sample, logits, &tops, &classes, &results, exponents, exp2, &coefficients];
        let gather =
            [&sample, logits, &heaviest, &classes, &results, exponents, exp2, &coefficients];
        Self {
            largest: pipelines.largest.bind(device, &weigh[..5]),
            weigh: pipelines.weigh.bind(device, &weigh),
            gather: pipelines.gather.bind(device, &gather),
            coefficients,
            results,
            heaviest,
        }
    }

    /// Writes how every row is sampled; a row of which no token is wanted counts as greedy. To be
    /// called before the submission.
    pub(super) fn write(&self, queue: &wgpu::Queue, wants: &[OutputRequest]) {
        let coefficients: Vec<u32> =
            wants.iter().map(|want| coefficient(want).unwrap_or(GREEDY)).collect();
        queue.write_buffer(&self.coefficients, 0, bytemuck::cast_slice(&coefficients));
    }

    /// Samples from the first rows, as far as a token is wanted of any of them.
    pub(super) fn encode(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        pipelines: &Pipelines,
        wants: &[OutputRequest],
    ) {
        let parts = (PARTS, count(wants.len()));
        if wants.iter().any(|want| matches!(want, OutputRequest::Token(_))) {
            run(pass, &pipelines.largest.pipeline, &self.largest, parts);
            run(pass, &pipelines.weigh.pipeline, &self.weigh, parts);
        }
        if wants.iter().any(|want| coefficient(want).is_some()) {
            run(pass, &pipelines.gather.pipeline, &self.gather, parts);
        }
    }
}

/// What distances between logits are multiplied with, unless no token is wanted or one that takes
/// the largest.
fn coefficient(want: &OutputRequest) -> Option<u32> {
    match want {
        OutputRequest::Token(sampling) => sampler::coefficient(sampling),
        OutputRequest::Nothing | OutputRequest::Logits => None,
    }
}

/// The first of the largest logits, from a row's results.
pub(super) fn largest(results: &[i32]) -> u32 {
    results[0].cast_unsigned()
}

/// The token at `position`, from a row's results and heaviest tokens; none if sampling needs more
/// of the vocabulary than those.
pub(super) fn sample_heaviest(
    results: &[i32],
    heaviest: &[i32],
    sampling: &Sampling,
    position: u32,
) -> Option<u32> {
    let word = |at: usize| results[at].cast_unsigned();
    let total = u64::from(word(3)) + (u64::from(word(4)) << 11) + (u64::from(word(5)) << 22);
    let pairs = heaviest.as_chunks::<2>().0.iter().take(word(2) as usize);
    let mut heaviest: Vec<Candidate> = pairs
        .map(|pair| pair.map(i32::cast_unsigned))
        .map(|[weight, token]| Candidate { weight, token })
        .collect();
    (Candidates { heaviest: &mut heaviest, total }).sample(sampling, position)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::kernels::KERNELS;

    #[test]
    fn sizes_are_those_of_the_kernel() {
        let kernel = KERNELS.iter().find(|kernel| kernel.source.file == "sample.wgsl").unwrap();
        let sizes = [("PARTS", PARTS), ("RESULTS", 8), ("HEAVIEST", 1024), ("CLASSES", 864)];
        for (name, size) in sizes {
            assert!(
                kernel.source.text.contains(&format!("const {name} = {size}u;")),
                "{name} {size}"
            );
        }
        assert_eq!((RESULT_WORDS, HEAVIEST, CLASSES), (8, 1024, 864));
    }
}
