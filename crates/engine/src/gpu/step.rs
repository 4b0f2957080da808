//! A call: rows of one or several sessions over the same layers, in one submission.
//!
//! ```text
//! submit   rows ─▶ one pass: layers, all rows at once but for what meets a session's cache ─▶ head, draw ─▶ copy what is wanted
//! collect  map
//! ```
//! The rows whose logits are wanted are the first of the call when every session steps by one row;
//! else they are copied there, between two passes. Calls may be submitted before earlier ones are
//! collected: the device never waits for the host then. Which buffers results come back in, one for
//! every call under way, is `read_back`'s; which rows belong together is the engine's.

use std::ops::Range;

use web_time::Instant;

use super::draw::{self, HEAD_ROWS, HEAVIEST_WORDS, RESULT_WORDS};
use super::matrix::count;
use super::pipelines::PART_STRIDE;
use super::session::Caches;
use super::{Gpu, GpuError, Part, read_back, uniforms};
use crate::engine::{MAX_ROWS, Output, Want};
use crate::sampler::{Logits, Sampling, sample};

/// Consecutive rows of a session.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// Whose.
    pub session: u128,
    /// Where the first row goes. Before the end of what the session holds: later rows are forgotten
    /// and their places overwritten.
    pub position: u32,
    /// `[rows, d_model]`, the residual stream.
    pub rows: &'a [i32],
    /// What is made of the last row with the head; none: the rows as the layers leave them.
    pub want: Option<Want>,
}

/// A call that the device computes, for [`Gpu::collect`].
#[derive(Debug)]
pub struct Submitted {
    staging: wgpu::Buffer,
    index: wgpu::SubmissionIndex,
    answers: Vec<Answer>,
    words: usize,
}

/// Where a run's answer lies among the words that come back.
#[derive(Debug)]
struct Answer {
    session: u128,
    position: u32,
    end: u32,
    words: Range<usize>,
    want: Option<Want>,
}

/// Words that come back of a row that is drawn from: a draw that takes more than the heaviest
/// tokens needs the row again.
fn drawn_words(sampling: &Sampling, width: usize) -> usize {
    match sampling.coefficient() {
        Some(_) => RESULT_WORDS + HEAVIEST_WORDS + width,
        None => RESULT_WORDS,
    }
}

impl Gpu {
    /// Runs rows of sessions, at most one run of each and all over the same layers, through those
    /// and the head.
    ///
    /// # Errors
    /// If a run does not fit its session, runs do not belong together or are too many rows, a part
    /// was unloaded, or the device fails. After a failure every session holds what it held before
    /// its `position`.
    pub async fn submit(&mut self, runs: &[Run<'_>]) -> Result<Submitted, GpuError> {
        self.settle().await?;
        let layers = self.check(runs)?;
        let begun = Instant::now();
        let mut encoder =
            self.device.handle.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let model = self.model.as_ref().ok_or(GpuError::NoModel)?;
        let (config, buffers) = (&model.config, &model.buffers);
        let width = config.d_model as usize;
        let rows_of = |run: &Run<'_>| count(run.rows.len() / width);

        for run in runs {
            let session = self
                .sessions
                .get_mut(&run.session)
                .ok_or(GpuError::UnknownSession { id: run.session })?;
            session.held = run.position;
            let end = run.position + rows_of(run);
            if end > session.caches.capacity {
                let (pipelines, count) = (&self.pipelines, session.layers.len());
                let bigger =
                    self.device.allocate(Part::LongerCache(run.session), |device, _| {
                        Caches::new(device, pipelines, config, count, end)
                    })?;
                // A browser answers only now whether there was room; before it is known the old
                // caches must live.
                self.device.settle(|_| {}).await?;
                bigger.copy_from(&session.caches, &mut encoder);
                session.caches = bigger;
            }
        }

        let queue = &self.device.queue;
        let row_bytes = width as u64 * 4;
        let mut parts = vec![0; (runs.len() + 1) * PART_STRIDE as usize];
        let mut write_part = |at: usize, forward: uniforms::Forward| {
            let bytes = bytemuck::bytes_of(&forward);
            parts[at * PART_STRIDE as usize..][..bytes.len()].copy_from_slice(bytes);
        };
        let mut row_count = 0;
        // Rows that the head runs over.
        let (mut picked, mut wants) = (Vec::new(), Vec::new());
        let mut answers = Vec::with_capacity(runs.len());
        let mut words = 0;
        for (at, run) in runs.iter().enumerate() {
            let (position, rows) = (run.position, rows_of(run));
            write_part(at + 1, uniforms::Forward { position, rows, first_row: row_count });
            queue.write_buffer(
                &buffers.rows,
                u64::from(row_count) * row_bytes,
                bytemuck::cast_slice(run.rows),
            );
            row_count += rows;
            let size = match run.want {
                None => run.rows.len(),
                Some(Want::Nothing) => 0,
                Some(Want::Logits) => config.vocab as usize + 1,
                Some(Want::Token(sampling)) => drawn_words(&sampling, width),
            };
            if let Some(want @ (Want::Logits | Want::Token(_))) = run.want {
                picked.push(row_count - 1);
                wants.push(want);
            }
            let (session, end) = (run.session, position + rows);
            answers.push(Answer {
                session,
                position,
                end,
                words: words..words + size,
                want: run.want,
            });
            words += size;
        }
        write_part(0, uniforms::Forward { position: 0, rows: row_count, first_row: 0 });
        queue.write_buffer(&buffers.forward, 0, &parts);
        let head = self.head.as_ref().filter(|_| !picked.is_empty());
        if let Some(head) = head {
            head.write(queue, &wants);
        }

        let in_place = picked.iter().copied().eq(0..count(picked.len()));
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            let caches: Vec<_> =
                runs.iter().filter_map(|run| self.sessions.get(&run.session)).collect();
            for (at, index) in layers.enumerate() {
                let Some(layer) = self.layers.get(&index) else { continue };
                let parts = caches
                    .iter()
                    .zip(runs)
                    .map(|(session, run)| (session.caches.at(at), rows_of(run)));
                layer.encode(&mut pass, &self.pipelines, model, parts, row_count);
            }
            if let Some(head) = head.filter(|_| in_place) {
                head.encode(&mut pass, &self.pipelines, &wants);
            }
        }
        let staging = self.staging.take(&self.device.handle, (words as u64 * 4).max(4));
        if words == 0 {
            // What is mapped says that the device is done.
            encoder.copy_buffer_to_buffer(&buffers.rows, 0, &staging, 0, 4);
        }
        let mut first_row = 0;
        for (run, answer) in runs.iter().zip(&answers) {
            if run.want.is_none() {
                let from = u64::from(first_row) * row_bytes;
                encoder.copy_buffer_to_buffer(
                    &buffers.rows,
                    from,
                    &staging,
                    answer.at(),
                    run.rows.len() as u64 * 4,
                );
            }
            first_row += rows_of(run);
        }
        if let Some(head) = head {
            if !in_place {
                for (at, row) in (0..).zip(&picked) {
                    let from = u64::from(*row) * row_bytes;
                    encoder.copy_buffer_to_buffer(
                        &buffers.rows,
                        from,
                        &head.picked,
                        at * row_bytes,
                        row_bytes,
                    );
                }
                let picked_bytes = picked.len() as u64 * row_bytes;
                encoder.copy_buffer_to_buffer(&head.picked, 0, &buffers.rows, 0, picked_bytes);
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                head.encode(&mut pass, &self.pipelines, &wants);
            }
            let wanted =
                answers.iter().filter(|answer| !matches!(answer.want, None | Some(Want::Nothing)));
            for (row, answer) in (0..).zip(wanted) {
                let mut to = answer.at();
                let mut copy = |from: &wgpu::Buffer, words: usize| {
                    let bytes = words as u64 * 4;
                    encoder.copy_buffer_to_buffer(from, row * bytes, &staging, to, bytes);
                    to += bytes;
                };
                match answer.want {
                    Some(Want::Logits) => {
                        copy(&head.logits, config.vocab as usize);
                        copy(&buffers.norm_exponents, 1);
                    }
                    Some(Want::Token(sampling)) => {
                        copy(&head.drawer.results, RESULT_WORDS);
                        if sampling.coefficient().is_some() {
                            copy(&head.drawer.heaviest, HEAVIEST_WORDS);
                            copy(&buffers.rows, width);
                        }
                    }
                    Some(Want::Nothing) | None => {}
                }
            }
        }
        let index = queue.submit([encoder.finish()]);
        self.handing_over = begun.elapsed();
        Ok(Submitted { staging, index, answers, words })
    }

    /// What a call computed, run for run: rows, logits, tokens or nothing.
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
                Some(Want::Nothing) => Output::None,
                Some(Want::Logits) => Output::Logits(self.logits(words)),
                Some(Want::Token(sampling)) => {
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

    /// From a row's results and, unless it is greedy, its heaviest tokens and the row itself.
    async fn token(
        &mut self,
        words: &[i32],
        sampling: &Sampling,
        place: u32,
    ) -> Result<u32, GpuError> {
        let (results, rest) = words.split_at(RESULT_WORDS);
        if sampling.coefficient().is_none() {
            return Ok(draw::largest(results));
        }
        let (heaviest, row) = rest.split_at(HEAVIEST_WORDS);
        match draw::drawn(results, heaviest, sampling, place) {
            Some(token) => Ok(token),
            None => Ok(sample(&self.head(row).await?, sampling, place)),
        }
    }

    /// The layers that all runs go through.
    fn check(&self, runs: &[Run<'_>]) -> Result<Range<u32>, GpuError> {
        let config = &self.model.as_ref().ok_or(GpuError::NoModel)?.config;
        let width = config.d_model as usize;
        let mut layers = None;
        let (mut row_count, mut picked) = (0, 0);
        for (at, run) in runs.iter().enumerate() {
            let id = run.session;
            let session = self.sessions.get(&id).ok_or(GpuError::UnknownSession { id })?;
            let rows = run.rows.len() / width;
            row_count += rows;
            if rows == 0 || row_count > MAX_ROWS || !run.rows.len().is_multiple_of(width) {
                let expected =
                    rows.clamp(1, (MAX_ROWS + rows).saturating_sub(row_count).max(1)) * width;
                return Err(GpuError::Shape { what: "hidden rows", expected, got: run.rows.len() });
            }
            let end = run.position.saturating_add(count(rows));
            if run.position > session.held || end > config.max_positions {
                let (position, held, max_positions) =
                    (run.position, session.held, config.max_positions);
                return Err(GpuError::Position { position, rows, held, max_positions });
            }
            let together = layers.get_or_insert(session.layers.clone()) == &session.layers;
            if !together || runs[..at].iter().any(|earlier| earlier.session == id) {
                return Err(GpuError::Apart { id });
            }
            picked += usize::from(matches!(run.want, Some(Want::Logits | Want::Token(_))));
        }
        if picked > HEAD_ROWS {
            return Err(GpuError::Shape {
                what: "the head's rows",
                expected: HEAD_ROWS * width,
                got: picked * width,
            });
        }
        if picked > 0 && self.head.is_none() {
            return Err(GpuError::HeadMissing);
        }
        let layers =
            layers.ok_or(GpuError::Shape { what: "hidden rows", expected: width, got: 0 })?;
        match layers.clone().find(|index| !self.layers.contains_key(index)) {
            Some(index) => Err(GpuError::LayerMissing { index }),
            None => Ok(layers),
        }
    }
}

impl Answer {
    /// In the buffer that is mapped, bytes.
    fn at(&self) -> u64 {
        self.words.start as u64 * 4
    }
}
