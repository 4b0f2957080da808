//! A call: rows of one or several sessions over the same layers, in one submission.
//!
//! ```text
//! submit   check ─▶ make room in caches ─▶ write inputs ─▶ encode: layers, head ─▶ copy answers
//! collect  map
//! ```
//! One pass runs the layers over all rows at once, but for what meets a session's cache. The rows
//! that the head runs over are the first of the call when every session steps by one row; else they
//! are copied there, between two passes. Calls may be submitted before earlier ones are collected:
//! the device never waits for the host then. What comes back is `collect`'s; which rows belong
//! together is the engine's.

use std::ops::Range;

use super::collect::{Answer, Submitted, answer_words};
use super::compiled::PART_STRIDE;
use super::experts::Experts;
use super::head::Head;
use super::matrix::count;
use super::model::{HEAD_ROWS, Model};
use super::sampling::{HEAVIEST_WORDS, RESULT_WORDS};
use super::session::Caches;
use super::{Gpu, GpuError, Part, uniforms};
use crate::sampler::coefficient;
use crate::step::{MAX_ROWS, OutputRequest, SessionRows};

/// What a call computes, once its inputs are on their way to the device.
struct Plan {
    layers: Range<u32>,
    /// Rows of all sessions together.
    rows: u32,
    /// One for each session, in the order of their rows.
    answers: Vec<Answer>,
    /// `i32` values that come back.
    words: usize,
    /// Rows of the call that the head runs over.
    head_rows: Vec<u32>,
    /// What is made of each of those.
    wants: Vec<OutputRequest>,
}

impl Plan {
    /// Whether the head's rows are the first of the call, in their order.
    fn head_in_place(&self) -> bool {
        self.head_rows.iter().copied().eq(0..count(self.head_rows.len()))
    }

    /// The answers that the head makes, in the order of its rows.
    fn head_answers(&self) -> impl Iterator<Item = &Answer> {
        self.answers
            .iter()
            .filter(|answer| !matches!(answer.want, None | Some(OutputRequest::Nothing)))
    }
}

impl Gpu {
    /// Runs rows of sessions through layers and head: at most one entry for each session, and all
    /// over the same layers.
    ///
    /// # Errors
    /// If an entry does not fit its session, the entries do not belong together or are too many
    /// rows, a part was unloaded, or the device fails. After a failure every session holds what it
    /// held before its `position`.
    pub async fn submit(&mut self, inputs: &[SessionRows<'_>]) -> Result<Submitted, GpuError> {
        self.await_allocations().await?;
        let layers = self.check(inputs)?;
        let mut encoder =
            self.device.handle.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        self.make_room(inputs, &mut encoder).await?;
        let model = self.model.as_ref().ok_or(GpuError::NoModel)?;
        let plan = self.write_inputs(model, layers, inputs);
        let staging = self.staging.take(&self.device.handle, (plan.words as u64 * 4).max(4));
        self.encode_layers(model, &plan, &mut encoder);
        copy_hidden(model, &plan, &mut encoder, &staging);
        if let Some(head) = self.head.as_ref().filter(|_| !plan.wants.is_empty()) {
            self.encode_head(model, head, &plan, &mut encoder);
            copy_head_answers(model, head, &plan, &mut encoder, &staging);
        }
        let index = self.device.queue.submit([encoder.finish()]);
        Ok(Submitted { staging, index, answers: plan.answers, words: plan.words })
    }

    /// The layers that all of them go through.
    fn check(&self, inputs: &[SessionRows<'_>]) -> Result<Range<u32>, GpuError> {
        let config = &self.model.as_ref().ok_or(GpuError::NoModel)?.config;
        let width = config.d_model as usize;
        let mut layers = None;
        let (mut row_count, mut picked) = (0, 0);
        for (at, input) in inputs.iter().enumerate() {
            let id = input.session;
            let session = self.sessions.get(&id).ok_or(GpuError::UnknownSession { id })?;
            let rows = input.rows.len() / width;
            row_count += rows;
            if rows == 0 || row_count > MAX_ROWS || !input.rows.len().is_multiple_of(width) {
                let expected =
                    rows.clamp(1, (MAX_ROWS + rows).saturating_sub(row_count).max(1)) * width;
                return Err(GpuError::Shape {
                    what: "hidden rows",
                    expected,
                    got: input.rows.len(),
                });
            }
            let end = input.position.saturating_add(count(rows));
            if input.position > session.held || end > config.max_positions {
                let (position, held, max_positions) =
                    (input.position, session.held, config.max_positions);
                return Err(GpuError::Position { position, rows, held, max_positions });
            }
            let together = layers.get_or_insert(session.layers.clone()) == &session.layers;
            if !together || inputs[..at].iter().any(|earlier| earlier.session == id) {
                return Err(GpuError::Apart { id });
            }
            picked += usize::from(matches!(
                input.want,
                Some(OutputRequest::Logits | OutputRequest::Token(_))
            ));
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
        let is_missing = |index: &u32| {
            let held = self.experts.get(index).map_or(0, Experts::held);
            !self.layers.contains_key(index) || held < config.experts_of(*index) as usize
        };
        match layers.clone().find(is_missing) {
            Some(index) => Err(GpuError::LayerMissing { index }),
            None => Ok(layers),
        }
    }

    /// Forgets what sessions hold behind the rows that come, and gives those that outgrow their
    /// caches longer ones, into which `encoder` copies the old.
    async fn make_room(
        &mut self,
        inputs: &[SessionRows<'_>],
        encoder: &mut wgpu::CommandEncoder,
    ) -> Result<(), GpuError> {
        let config = self.model.as_ref().ok_or(GpuError::NoModel)?.config.clone();
        for input in inputs {
            let session = self
                .sessions
                .get_mut(&input.session)
                .ok_or(GpuError::UnknownSession { id: input.session })?;
            session.held = input.position;
            let end = input.position + count(input.rows.len() / config.d_model as usize);
            if end <= session.caches.capacity {
                continue;
            }
            let (pipelines, layers) = (&self.pipelines, session.layers.clone());
            let longer = self.device.allocate(Part::LongerCache(input.session), |device, _| {
                Caches::new(device, pipelines, &config, layers, end)
            })?;
            // A browser answers only now whether there was room; before it is known the old caches
            // must live.
            self.device.await_allocations(|_| {}).await?;
            longer.copy_from(&session.caches, encoder);
            session.caches = longer;
        }
        Ok(())
    }

    /// Writes rows, their `Forward`s and what is wanted of them, and says where everything lies.
    fn write_inputs(&self, model: &Model, layers: Range<u32>, inputs: &[SessionRows<'_>]) -> Plan {
        let (config, buffers, queue) = (&model.config, &model.buffers, &self.device.queue);
        let (width, vocab) = (config.d_model as usize, config.vocab as usize);
        let mut plan = Plan {
            layers,
            rows: 0,
            answers: Vec::with_capacity(inputs.len()),
            words: 0,
            head_rows: Vec::new(),
            wants: Vec::new(),
        };
        // The `Forward` of the call, and behind it those of its sessions.
        let mut forwards = vec![0; (inputs.len() + 1) * PART_STRIDE as usize];
        let mut write_forward = |at: usize, forward: uniforms::Forward| {
            let bytes = bytemuck::bytes_of(&forward);
            forwards[at * PART_STRIDE as usize..][..bytes.len()].copy_from_slice(bytes);
        };
        for (at, input) in inputs.iter().enumerate() {
            let (position, first_row) = (input.position, plan.rows);
            let rows = count(input.rows.len() / width);
            write_forward(at + 1, uniforms::Forward { position, rows, first_row });
            let offset = u64::from(first_row) * row_bytes(model);
            queue.write_buffer(&buffers.rows, offset, bytemuck::cast_slice(input.rows));
            plan.rows += rows;
            if let Some(want @ (OutputRequest::Logits | OutputRequest::Token(_))) = input.want {
                plan.head_rows.push(plan.rows - 1);
                plan.wants.push(want);
            }
            let words = answer_words(input.want.as_ref(), rows as usize, width, vocab);
            plan.answers.push(Answer {
                session: input.session,
                position,
                end: position + rows,
                first_row,
                words: plan.words..plan.words + words,
                want: input.want,
            });
            plan.words += words;
        }
        write_forward(0, uniforms::Forward { position: 0, rows: plan.rows, first_row: 0 });
        queue.write_buffer(&buffers.forward, 0, &forwards);
        if let Some(head) = self.head.as_ref().filter(|_| !plan.wants.is_empty()) {
            head.write(queue, &plan.wants);
        }
        plan
    }

    /// Runs the layers over all rows, and behind them the head where its rows lie in place: one
    /// pass.
    fn encode_layers(&self, model: &Model, plan: &Plan, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for (at, index) in plan.layers.clone().enumerate() {
            let Some(layer) = self.layers.get(&index) else { continue };
            let parts = plan.answers.iter().filter_map(|answer| {
                let session = self.sessions.get(&answer.session)?;
                Some((session.caches.at(at), answer.rows()))
            });
            let experts = self.experts.get(&index);
            layer.encode(&mut pass, &self.pipelines, model, experts, parts, plan.rows);
        }
        if let Some(head) = self.head.as_ref()
            && !plan.wants.is_empty()
            && plan.head_in_place()
        {
            head.encode(&mut pass, &self.pipelines, &plan.wants);
        }
    }

    /// Copies the head's rows to the front of the residual stream and runs the head over them,
    /// unless they lay there and [`Self::encode_layers`] did.
    fn encode_head(
        &self,
        model: &Model,
        head: &Head,
        plan: &Plan,
        encoder: &mut wgpu::CommandEncoder,
    ) {
        if plan.head_in_place() {
            return;
        }
        let (rows, row_bytes) = (&model.buffers.rows, row_bytes(model));
        for (to, row) in (0..).zip(&plan.head_rows) {
            let from = u64::from(*row) * row_bytes;
            encoder.copy_buffer_to_buffer(rows, from, &head.picked, to * row_bytes, row_bytes);
        }
        let size_bytes = plan.head_rows.len() as u64 * row_bytes;
        encoder.copy_buffer_to_buffer(&head.picked, 0, rows, 0, size_bytes);
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        head.encode(&mut pass, &self.pipelines, &plan.wants);
    }
}

/// Copies the rows that are wanted as the layers leave them.
fn copy_hidden(
    model: &Model,
    plan: &Plan,
    encoder: &mut wgpu::CommandEncoder,
    staging: &wgpu::Buffer,
) {
    let rows = &model.buffers.rows;
    if plan.words == 0 {
        // That something can be mapped tells that the device is done.
        encoder.copy_buffer_to_buffer(rows, 0, staging, 0, 4);
    }
    for answer in plan.answers.iter().filter(|answer| answer.want.is_none()) {
        let from = u64::from(answer.first_row) * row_bytes(model);
        let size_bytes = answer.words.len() as u64 * 4;
        encoder.copy_buffer_to_buffer(rows, from, staging, answer.offset(), size_bytes);
    }
}

/// Copies what the head made of its rows: logits, or what a token is chosen from.
fn copy_head_answers(
    model: &Model,
    head: &Head,
    plan: &Plan,
    encoder: &mut wgpu::CommandEncoder,
    staging: &wgpu::Buffer,
) {
    let (config, buffers) = (&model.config, &model.buffers);
    for (row, answer) in (0..).zip(plan.head_answers()) {
        let mut to = answer.offset();
        let mut copy = |from: &wgpu::Buffer, words: usize| {
            let size_bytes = words as u64 * 4;
            encoder.copy_buffer_to_buffer(from, row * size_bytes, staging, to, size_bytes);
            to += size_bytes;
        };
        match answer.want {
            Some(OutputRequest::Logits) => {
                copy(&head.logits, config.vocab as usize);
                copy(&buffers.norm_exponents, 1);
            }
            Some(OutputRequest::Token(sampling)) => {
                copy(&head.sampler.results, RESULT_WORDS);
                if coefficient(&sampling).is_some() {
                    copy(&head.sampler.heaviest, HEAVIEST_WORDS);
                    copy(&buffers.rows, config.d_model as usize);
                }
            }
            Some(OutputRequest::Nothing) | None => {}
        }
    }
}

/// Bytes of a row of the residual stream.
fn row_bytes(model: &Model) -> u64 {
    u64::from(model.config.d_model) * 4
}
