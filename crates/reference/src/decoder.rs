//! The same files as a decoder in `f64`, straight from the definition: what the integers are
//! measured against.
//!
//! Slow and simple. A whole text goes through one layer after the other, and each matrix is read
//! from its file as it is needed, so that a model larger than memory can be measured too; only the
//! head stays.

use std::path::Path;

use potluck_importer::source::{Shape, Source};
use potluck_importer::{CHUNK_VALUES, ImportError};
use rayon::prelude::*;

/// A model's files, opened to be computed in floats.
#[derive(Debug)]
pub struct FloatModel {
    source: Source,
    /// `[vocab, d_model]`.
    head: Vec<f32>,
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
        let (vocab, d_model) = (source.shape.vocab as usize, source.shape.d_model as usize);
        let name = if source.shape.tied { "model.embed_tokens.weight" } else { "lm_head.weight" };
        let head = source.rows(name, &[vocab, d_model], 0..vocab)?;
        Ok(Self { source, head })
    }

    /// The rows before the head, `[tokens, d_model]`, of a text read from its first token on.
    ///
    /// # Errors
    /// If the files cannot be read, or a token is none of the vocabulary's.
    pub fn hidden(&self, tokens: &[u32]) -> Result<Rows, ImportError> {
        let Shape { vocab, d_model, layers, .. } = self.source.shape;
        let embedding = |token: &u32| {
            let at = *token as usize;
            let row = self.source.rows(
                "model.embed_tokens.weight",
                &[vocab as usize, d_model as usize],
                at..at + 1,
            )?;
            Ok::<_, ImportError>(row.into_iter().map(f64::from).collect::<Vec<f64>>())
        };
        let mut x = tokens.iter().map(embedding).collect::<Result<Rows, _>>()?;
        for layer in 0..layers {
            self.layer(layer, &mut x)?;
        }
        self.normed(&x, "model.norm.weight")
    }

    /// The scores of all tokens after one of [`Self::hidden`]'s rows, `[vocab]`.
    #[must_use]
    pub fn logits(&self, row: &[f64]) -> Vec<f64> {
        products(&self.head, row.len(), &[row.to_vec()]).concat()
    }

    fn layer(&self, index: u32, x: &mut Rows) -> Result<(), ImportError> {
        let shape = &self.source.shape;
        let name = |part: &str| format!("model.layers.{index}.{part}");
        let width = |heads: u32| (heads * shape.head_dim) as usize;
        let (d_model, d_ff) = (shape.d_model as usize, shape.d_ff as usize);
        let a = self.normed(x, &name("input_layernorm.weight"))?;
        let projected = |part: &str, heads: u32| {
            let mut rows = self.times(
                &name(&format!("self_attn.{part}_proj.weight")),
                (width(heads), d_model),
                &a,
            )?;
            if shape.qkv_bias() {
                let bias =
                    self.vector(&name(&format!("self_attn.{part}_proj.bias")), width(heads))?;
                rows.iter_mut().for_each(|row| add(row, &bias));
            }
            Ok::<_, ImportError>(rows)
        };
        let (mut q, mut k) = (projected("q", shape.heads)?, projected("k", shape.kv_heads)?);
        let v = projected("v", shape.kv_heads)?;
        for (rows, part) in [(&mut q, "q"), (&mut k, "k")] {
            if shape.qk_norm() {
                let gain = self.vector(
                    &name(&format!("self_attn.{part}_norm.weight")),
                    shape.head_dim as usize,
                )?;
                for head in rows.iter_mut().flat_map(|row| row.chunks_exact_mut(gain.len())) {
                    norm(head, &gain, shape.eps);
                }
            }
            for (position, row) in rows.iter_mut().enumerate() {
                self.rotate(row, position);
            }
        }
        let attended: Rows = (0..x.len())
            .into_par_iter()
            .map(|at| self.attend(&q[at], &k[..=at], &v[..=at]))
            .collect();
        let out =
            self.times(&name("self_attn.o_proj.weight"), (d_model, width(shape.heads)), &attended)?;
        x.iter_mut().zip(&out).for_each(|(x, out)| add(x, out));
        let a = self.normed(x, &name("post_attention_layernorm.weight"))?;
        let mut gate = self.times(&name("mlp.gate_proj.weight"), (d_ff, d_model), &a)?;
        let up = self.times(&name("mlp.up_proj.weight"), (d_ff, d_model), &a)?;
        for (gate, up) in gate.iter_mut().flatten().zip(up.iter().flatten()) {
            *gate = *gate / (1.0 + (-*gate).exp()) * up;
        }
        let down = self.times(&name("mlp.down_proj.weight"), (d_model, d_ff), &gate)?;
        x.iter_mut().zip(&down).for_each(|(x, down)| add(x, down));
        Ok(())
    }

    fn vector(&self, name: &str, width: usize) -> Result<Vec<f64>, ImportError> {
        Ok(self.source.rows(name, &[width], 0..width)?.into_iter().map(f64::from).collect())
    }

    fn normed(&self, rows: &Rows, gain: &str) -> Result<Rows, ImportError> {
        let gain = self.vector(gain, self.source.shape.d_model as usize)?;
        let mut rows = rows.clone();
        rows.iter_mut().for_each(|row| norm(row, &gain, self.source.shape.eps));
        Ok(rows)
    }

    /// A matrix of a file times every row.
    fn times(
        &self,
        name: &str,
        (rows, columns): (usize, usize),
        x: &Rows,
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

    fn rotate(&self, row: &mut [f64], position: usize) {
        let half = self.source.shape.frequencies.len();
        for head in row.chunks_exact_mut(2 * half) {
            for (j, frequency) in self.source.shape.frequencies.iter().enumerate() {
                let (sin, cos) = (position as f64 * frequency).sin_cos();
                let (a, b) = (head[j], head[j + half]);
                head[j] = a * cos - b * sin;
                head[j + half] = b * cos + a * sin;
            }
        }
    }

    fn attend(&self, q: &[f64], keys: &[Vec<f64>], values: &[Vec<f64>]) -> Vec<f64> {
        let Shape { heads, kv_heads, head_dim, .. } = self.source.shape;
        let width = head_dim as usize;
        let mut row = Vec::with_capacity(q.len());
        for (head, query) in q.chunks_exact(width).enumerate() {
            let at = head / (heads / kv_heads) as usize * width;
            let score = |key: &Vec<f64>| {
                let product: f64 = query.iter().zip(&key[at..]).map(|(q, k)| q * k).sum();
                product / f64::from(head_dim).sqrt()
            };
            let weights = softmax(&keys.iter().map(score).collect::<Vec<f64>>());
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
