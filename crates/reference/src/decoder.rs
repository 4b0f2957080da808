//! The same files as a decoder in `f64`, straight from the definition: what the integers are
//! measured against.
//!
//! Slow and simple. A whole text goes through one layer after the other, and each matrix is read
//! from its file as it is needed, the head too, so that a model larger than memory can be measured.

use std::path::Path;

use potluck_importer::source::{Activation, QUICK_GELU_SLOPE, QkNorm, Rotation, Shape, Source};
use potluck_importer::{CHUNK_VALUES, DEFAULT_CONTEXT, ImportError};
use potluck_model::package::{Experts, NormKind};
use rayon::prelude::*;

/// A model's files, opened to be computed in floats.
#[derive(Debug)]
pub struct FloatModel {
    source: Source,
    /// Positions, by which some models choose how fast they turn.
    context: u32,
}

/// Multiply-accumulates that a thread should have before another is woken.
const WORTH_A_THREAD: usize = 20_000;

/// Rows of a text, one a token.
pub(crate) type Rows = Vec<Vec<f64>>;

impl FloatModel {
    /// Opens a folder or a GGUF file.
    ///
    /// # Errors
    /// If it is not a model that can be imported.
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        let source = Source::open(path)?;
        let context = source.shape.max_positions.min(DEFAULT_CONTEXT);
        Ok(Self { source, context })
    }

    /// The same model in a context of so many positions.
    #[must_use]
    pub fn with_context(self, context: u32) -> Self {
        Self { context, ..self }
    }

    /// How many layers there are.
    #[must_use]
    pub fn layers(&self) -> u32 {
        self.source.shape.layers
    }

    /// The rows before the head, `[tokens, d_model]`, of a text read from its first token on.
    ///
    /// # Errors
    /// If the files cannot be read, or a token is none of the vocabulary's.
    pub fn hidden(&self, tokens: &[u32]) -> Result<Rows, ImportError> {
        let mut x = self.embedded(tokens)?;
        for layer in 0..self.layers() {
            self.layer(layer, &mut x)?;
        }
        self.last_normed(&x)
    }

    /// The rows before the first layer.
    pub(crate) fn embedded(&self, tokens: &[u32]) -> Result<Rows, ImportError> {
        let Shape { vocab, d_model, .. } = self.source.shape;
        let embedding = |token: &u32| {
            let at = *token as usize;
            let row = self.source.rows(
                "model.embed_tokens.weight",
                &[vocab as usize, d_model as usize],
                at..at + 1,
            )?;
            let scale = self.source.shape.scales.embedding;
            Ok::<_, ImportError>(
                row.into_iter().map(|x| f64::from(x) * scale).collect::<Vec<f64>>(),
            )
        };
        tokens.iter().map(embedding).collect()
    }

    /// What the head is given, of the rows behind the last layer.
    pub(crate) fn last_normed(&self, x: &Rows) -> Result<Rows, ImportError> {
        self.normed(x, "model.norm")
    }

    /// The scores of all tokens after some of [`Self::hidden`]'s rows, `[rows, vocab]`. The head is
    /// read from its file each time: many rows at once are cheaper, and need room for their scores.
    ///
    /// # Errors
    /// If the files cannot be read.
    pub fn logits(&self, rows: &[Vec<f64>]) -> Result<Rows, ImportError> {
        let shape = &self.source.shape;
        let name = if shape.tied { "model.embed_tokens.weight" } else { "lm_head.weight" };
        let mut all = self.times(name, (shape.vocab as usize, shape.d_model as usize), rows)?;
        let scored = |x: &mut f64| *x = capped(*x * shape.scales.logit, shape.logit_cap);
        all.iter_mut().flatten().for_each(scored);
        Ok(all)
    }

    /// The residual rows of a text through one layer.
    pub(crate) fn layer(&self, index: u32, x: &mut Rows) -> Result<(), ImportError> {
        let (names, residual) = (self.source.shape.norm_names(), self.source.shape.scales.residual);
        let name = |part: &str| format!("model.layers.{index}.{part}");
        for part in 0..2 {
            let a = match names.before {
                Some(before) => self.normed(x, &name(before[part]))?,
                None => x.clone(),
            };
            let mut out = if part == 0 { self.attention(index, &a)? } else { self.mlp(index, &a)? };
            if let Some(after) = names.after {
                out = self.normed(&out, &name(after[part]))?;
            }
            out.iter_mut().flatten().for_each(|out| *out *= residual);
            x.iter_mut().zip(&out).for_each(|(x, out)| add(x, out));
        }
        Ok(())
    }

    fn attention(&self, index: u32, a: &Rows) -> Result<Rows, ImportError> {
        let shape = &self.source.shape;
        let kind = shape.kind(index);
        let name = |part: &str| format!("model.layers.{index}.self_attn.{part}");
        let width = |heads: u32| (heads * shape.head_dim) as usize;
        let d_model = shape.d_model as usize;
        let projected = |part: &str, heads: u32| {
            let matrix = (width(heads), d_model);
            self.projected(&name(&format!("{part}_proj")), matrix, shape.biases.qkv, a)
        };
        let (mut q, mut k) = (projected("q", shape.heads)?, projected("k", shape.kv_heads)?);
        let v = projected("v", shape.kv_heads)?;
        for (rows, part, heads) in [(&mut q, "q", shape.heads), (&mut k, "k", shape.kv_heads)] {
            let normed = match shape.qk_norm {
                QkNorm::None => None,
                QkNorm::Heads => Some(shape.head_dim as usize),
                QkNorm::Rows => Some(width(heads)),
            };
            if let Some(normed) = normed {
                let gain = self.gain(&name(&format!("{part}_norm.weight")), normed)?;
                for values in rows.iter_mut().flat_map(|row| row.chunks_exact_mut(normed)) {
                    norm(values, &gain, shape.eps);
                }
            }
            if let Some(rotation) = kind.rotation {
                for (position, row) in rows.iter_mut().enumerate() {
                    self.rotate(row, position, &shape.rotations[rotation as usize]);
                }
            }
        }
        let sinks = match shape.sinks {
            true => Some(self.vector(&name("sinks"), shape.heads as usize)?),
            false => None,
        };
        let attended: Rows = (0..a.len())
            .into_par_iter()
            .map(|at| {
                let seen = kind.window.map_or(at + 1, |window| window as usize);
                let first = (at + 1).saturating_sub(seen);
                self.attend(&q[at], &k[first..=at], &v[first..=at], sinks.as_deref())
            })
            .collect();
        let matrix = (d_model, width(shape.heads));
        self.projected(&name("o_proj"), matrix, shape.biases.output, &attended)
    }

    fn mlp(&self, index: u32, a: &Rows) -> Result<Rows, ImportError> {
        let shape = &self.source.shape;
        let parent = format!("model.layers.{index}.mlp");
        match shape.experts.filter(|_| shape.kind(index).experts) {
            Some(experts) => self.experts(&parent, experts, a),
            None if shape.ungated => self.ungated_mlp(&parent, a),
            None => self.mlp_of(&parent, shape.d_ff, a),
        }
    }

    /// What the experts give that the router chooses for each row.
    fn experts(&self, parent: &str, experts: Experts, a: &Rows) -> Result<Rows, ImportError> {
        let Experts { count, used, d_ff, renormalised, router_bias, shared } = experts;
        let d_model = self.source.shape.d_model as usize;
        let matrix = (count as usize, d_model);
        let scores = self.projected(&format!("{parent}.gate"), matrix, router_bias, a)?;
        let mut sums = vec![vec![0.0; d_model]; a.len()];
        let mut chosen = vec![Vec::new(); experts.all() as usize];
        for (row, scores) in scores.iter().enumerate() {
            let weights = softmax(scores);
            let mut order: Vec<usize> = (0..weights.len()).collect();
            order.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]));
            order.truncate(used as usize);
            let total: f64 = order.iter().map(|expert| weights[*expert]).sum();
            for expert in order {
                let weight = weights[expert] / if renormalised { total } else { 1.0 };
                chosen[expert].push((row, weight));
            }
        }
        if shared > 0 {
            let gate = format!("{parent}.shared_expert_gate.weight");
            for (row, score) in self.times(&gate, (1, d_model), a)?.into_iter().enumerate() {
                let weight = 1.0 / (1.0 + (-score[0]).exp());
                chosen[count as usize..].iter_mut().for_each(|rows| rows.push((row, weight)));
            }
        }
        for (expert, rows) in chosen.iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            let own: Rows = rows.iter().map(|(row, _)| a[*row].clone()).collect();
            let out = self.mlp_of(&format!("{parent}.experts.{expert}"), d_ff, &own)?;
            for ((row, weight), out) in rows.iter().zip(out) {
                sums[*row].iter_mut().zip(out).for_each(|(sum, out)| *sum += weight * out);
            }
        }
        Ok(sums)
    }

    /// An MLP without a gate.
    fn ungated_mlp(&self, parent: &str, a: &Rows) -> Result<Rows, ImportError> {
        let shape = &self.source.shape;
        let (d_model, d_ff) = (shape.d_model as usize, shape.d_ff as usize);
        let (name, biased) = (|part: &str| format!("{parent}.{part}_proj"), shape.biases.mlp);
        let mut up = self.projected(&name("up"), (d_ff, d_model), biased, a)?;
        up.iter_mut().flatten().for_each(|up| *up = activated(*up, shape.activation));
        self.projected(&name("down"), (d_model, d_ff), biased, &up)
    }

    /// An MLP, or one expert.
    fn mlp_of(&self, parent: &str, d_ff: u32, a: &Rows) -> Result<Rows, ImportError> {
        let shape = &self.source.shape;
        let (d_model, d_ff, biased) = (shape.d_model as usize, d_ff as usize, shape.biases.mlp);
        let name = |part: &str| format!("{parent}.{part}_proj");
        let mut gate = self.projected(&name("gate"), (d_ff, d_model), biased, a)?;
        let up = self.projected(&name("up"), (d_ff, d_model), biased, a)?;
        for (gate, up) in gate.iter_mut().flatten().zip(up.iter().flatten()) {
            let (mut held, mut up) = (*gate, *up);
            if let Some(limit) = shape.mlp_limit {
                (held, up) = (held.min(limit), up.clamp(-limit, limit) + 1.0);
            }
            *gate = activated(held, shape.activation) * up;
        }
        self.projected(&name("down"), (d_model, d_ff), biased, &gate)
    }

    /// A matrix of a file times every row, and its bias.
    fn projected(
        &self,
        name: &str,
        shape: (usize, usize),
        biased: bool,
        x: &Rows,
    ) -> Result<Rows, ImportError> {
        let mut rows = self.times(&format!("{name}.weight"), shape, x)?;
        if biased {
            let bias = self.vector(&format!("{name}.bias"), shape.0)?;
            rows.iter_mut().for_each(|row| add(row, &bias));
        }
        Ok(rows)
    }

    /// What a norm multiplies by.
    fn gain(&self, name: &str, width: usize) -> Result<Vec<f64>, ImportError> {
        let offset = self.source.shape.gain_offset;
        Ok(self.vector(name, width)?.into_iter().map(|gain| gain + offset).collect())
    }

    fn vector(&self, name: &str, width: usize) -> Result<Vec<f64>, ImportError> {
        Ok(self.source.rows(name, &[width], 0..width)?.into_iter().map(f64::from).collect())
    }

    fn normed(&self, rows: &Rows, name: &str) -> Result<Rows, ImportError> {
        let (width, eps) = (self.source.shape.d_model as usize, self.source.shape.eps);
        let gain = self.gain(&format!("{name}.weight"), width)?;
        let mut rows = rows.clone();
        if self.source.shape.norm == NormKind::Layer {
            let bias = self.vector(&format!("{name}.bias"), width)?;
            for row in &mut rows {
                let mean = row.iter().sum::<f64>() / width as f64;
                row.iter_mut().for_each(|x| *x -= mean);
                norm(row, &gain, eps);
                add(row, &bias);
            }
            return Ok(rows);
        }
        rows.iter_mut().for_each(|row| norm(row, &gain, eps));
        Ok(rows)
    }

    /// A matrix of a file times every row.
    fn times(
        &self,
        name: &str,
        (rows, columns): (usize, usize),
        x: &[Vec<f64>],
    ) -> Result<Rows, ImportError> {
        let mut out = vec![Vec::with_capacity(rows); x.len()];
        let step = (CHUNK_VALUES / columns.max(1)).max(1);
        for start in (0..rows).step_by(step) {
            let weights =
                self.source.rows(name, &[rows, columns], start..(start + step).min(rows))?;
            for products in products(&weights, columns, x) {
                out.iter_mut().zip(products).for_each(|(out, product)| out.push(product));
            }
        }
        Ok(out)
    }

    fn rotate(&self, row: &mut [f64], position: usize, rotation: &Rotation) {
        let frequencies = rotation.frequencies(self.context);
        // Of a head that turns in part, the first dimensions do.
        let half = frequencies.len();
        for head in row.chunks_exact_mut(self.source.shape.head_dim as usize) {
            for (j, frequency) in frequencies.iter().enumerate() {
                let (sin, cos) = (position as f64 * frequency).sin_cos();
                let (sin, cos) = (sin * rotation.scale, cos * rotation.scale);
                let (a, b) = (head[j], head[j + half]);
                head[j] = a * cos - b * sin;
                head[j + half] = b * cos + a * sin;
            }
        }
    }

    fn attend(
        &self,
        q: &[f64],
        keys: &[Vec<f64>],
        values: &[Vec<f64>],
        sinks: Option<&[f64]>,
    ) -> Vec<f64> {
        let Shape { heads, kv_heads, head_dim, scales, attention_cap, .. } = self.source.shape;
        let width = head_dim as usize;
        let mut row = Vec::with_capacity(q.len());
        for (head, query) in q.chunks_exact(width).enumerate() {
            let at = head / (heads / kv_heads) as usize * width;
            let score = |key: &Vec<f64>| {
                let product: f64 = query.iter().zip(&key[at..]).map(|(q, k)| q * k).sum();
                capped(product * scales.score, attention_cap)
            };
            // A sink is a score without a value.
            let sink = sinks.map(|sinks| sinks[head]);
            let weights = softmax(&keys.iter().map(score).chain(sink).collect::<Vec<f64>>());
            let mut sum = vec![0.0; width];
            for (weight, value) in weights.iter().zip(values) {
                sum.iter_mut().zip(&value[at..]).for_each(|(sum, value)| *sum += weight * value);
            }
            row.extend(sum);
        }
        row
    }
}

/// For every row of `weights`, its products with all of `x`.
pub(crate) fn products(weights: &[f32], columns: usize, x: &[Vec<f64>]) -> Vec<Vec<f64>> {
    weights
        .par_chunks_exact(columns)
        .with_min_len(WORTH_A_THREAD.div_ceil(columns * x.len().max(1)))
        .map(|weights| x.iter().map(|x| dot(weights, x)).collect())
        .collect()
}

/// In eight sums, which the processor can add side by side.
fn dot(weights: &[f32], x: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    for (weights, x) in weights.chunks(8).zip(x.chunks(8)) {
        for (sum, (weight, x)) in sums.iter_mut().zip(weights.iter().zip(x)) {
            *sum += f64::from(*weight) * x;
        }
    }
    sums.iter().sum()
}

/// Near to `cap` and not past it.
fn capped(x: f64, cap: Option<f64>) -> f64 {
    cap.map_or(x, |cap| cap * (x / cap).tanh())
}

pub(crate) fn activated(x: f64, activation: Activation) -> f64 {
    match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::GeluTanh => {
            let root = (2.0 / core::f64::consts::PI).sqrt();
            0.5 * x * (1.0 + (root * (x + 0.044_715 * x * x * x)).tanh())
        }
        Activation::QuickGelu => x / (1.0 + (-QUICK_GELU_SLOPE * x).exp()),
        Activation::Gelu => 0.5 * x * libm::erfc(-x / core::f64::consts::SQRT_2),
    }
}

fn norm(row: &mut [f64], gain: &[f64], eps: f64) {
    let square = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
    let scale = 1.0 / (square + eps).sqrt();
    row.iter_mut().zip(gain).for_each(|(x, gain)| *x *= scale * gain);
}

/// Probabilities of scores.
pub(crate) fn softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

pub(crate) fn add(x: &mut [f64], y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}
