//! What comes back of a call: rows, logits or tokens, each where the submission put it. Which
//! buffers results come back in is `read_back`'s.

use std::ops::Range;

use super::sampling::{self, HEAVIEST_WORDS, RESULT_WORDS};
use super::{Gpu, GpuError, read_back};
use crate::sampler::{Logits, coefficient, sample};
use crate::step::{Output, OutputRequest};
use potluck_protocol::sampling::Sampling;

/// A call that the device computes, for [`Gpu::collect`].
#[derive(Debug)]
pub struct Submitted {
    pub(super) staging: wgpu::Buffer,
    pub(super) index: wgpu::SubmissionIndex,
    pub(super) answers: Vec<Answer>,
    /// `i32` values that come back.
    pub(super) words: usize,
}

/// Where a session's answer lies among the words that come back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) session: u128,
    pub(super) position: u32,
    /// The position behind the session's last row.
    pub(super) end: u32,
    /// The session's first row in the call.
    pub(super) first_row: u32,
    pub(super) words: Range<usize>,
    pub(super) want: Option<OutputRequest>,
}

impl Answer {
    /// Offset in the buffer that is mapped, in bytes.
    pub(super) fn offset(&self) -> u64 {
        self.words.start as u64 * 4
    }

    /// How many rows the session has in the call.
    pub(super) fn rows(&self) -> u32 {
        self.end - self.position
    }
}

/// Words that come back of what is wanted of `rows` rows of a session, `[rows, width]`.
pub(super) fn answer_words(
    want: Option<&OutputRequest>,
    rows: usize,
    width: usize,
    vocab: usize,
) -> usize {
    match want {
        None => rows * width,
        Some(OutputRequest::Nothing) => 0,
        // The exponent comes along behind the logits.
        Some(OutputRequest::Logits) => vocab + 1,
        // If a sample needs more than the heaviest tokens, the head computes its logits again.
        Some(OutputRequest::Token(sampling)) if coefficient(sampling).is_some() => {
            RESULT_WORDS + HEAVIEST_WORDS + width
        }
        Some(OutputRequest::Token(_)) => RESULT_WORDS,
    }
}

impl Gpu {
    /// What a call computed, session for session: rows, logits, tokens or nothing.
    ///
    /// Natively this blocks the calling thread while the device computes.
    ///
    /// # Errors
    /// If the device fails; the call's sessions then hold what they held before their positions.
    pub async fn collect(&mut self, submitted: Submitted) -> Result<Vec<Output>, GpuError> {
        let Submitted { staging, index, answers, words } = submitted;
        let result = read_back::read(&self.device.handle, &staging, words.max(1), index).await;
        // Why the device failed says more than that the map did.
        self.device.check()?;
        let words = result?;
        self.staging.put_back(staging);
        let mut outputs = Vec::with_capacity(answers.len());
        for answer in &answers {
            let words = &words[answer.words.clone()];
            outputs.push(match answer.want {
                None => Output::Hidden(words.to_vec()),
                Some(OutputRequest::Nothing) => Output::None,
                Some(OutputRequest::Logits) => Output::Logits(self.logits(words)),
                Some(OutputRequest::Token(sampling)) => {
                    Output::Token(self.token(words, &sampling, answer.end).await?)
                }
            });
        }
        for Answer { session, position, end, .. } in answers {
            if let Some(session) =
                self.sessions.get_mut(&session).filter(|session| session.held == position)
            {
                session.held = end;
            }
        }
        Ok(outputs)
    }

    /// From a row's logits and its norm's exponent.
    pub(super) fn logits(&self, words: &[i32]) -> Logits {
        let (exponent, values) = words.split_last().unwrap_or((&0, &[]));
        let head_exponent = self.head.as_ref().map_or(0, |head| head.exponent);
        Logits { values: values.to_vec(), exponent: exponent + head_exponent }
    }

    /// The token at `position`, from a row's results and, unless it is greedy, its heaviest tokens
    /// and the row itself.
    async fn token(
        &mut self,
        words: &[i32],
        sampling: &Sampling,
        position: u32,
    ) -> Result<u32, GpuError> {
        let (results, rest) = words.split_at(RESULT_WORDS);
        if coefficient(sampling).is_none() {
            return Ok(sampling::largest(results));
        }
        let (heaviest, row) = rest.split_at(HEAVIEST_WORDS);
        match sampling::sample_heaviest(results, heaviest, sampling, position) {
            Some(token) => Ok(token),
            None => Ok(sample(&self.head(row).await?, sampling, position)),
        }
    }
}
