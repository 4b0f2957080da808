//! An encoder in `f64`, straight from the definition: what the integers are measured against.

use std::path::Path;

use potluck_importer::ImportError;
use potluck_importer::encoder::{EncoderSource, MATRICES, UP};
use potluck_model::encoder::{Family, Pair, Pooling, layer_shapes};
use potluck_model::package::{LayerKind, ModelConfig};

use crate::decoder::{Rows, activated, add, products, softmax};

/// An encoder's files, all of them in memory.
#[derive(Debug)]
pub struct FloatEncoder {
    source: EncoderSource,
    words: Vec<f32>,
    /// What is added to words, `[rows, d_model]`.
    positions: Option<Vec<f32>>,
    norm: Norm,
    layers: Vec<Layer>,
    /// Where norms are before.
    last_norm: Option<Norm>,
    head: Option<Head>,
}

#[derive(Debug)]
struct Layer {
    kind: LayerKind,
    matrices: Vec<Matrix>,
    gate: Option<Matrix>,
    attention_norm: Option<Norm>,
    output_norm: Norm,
}

/// What makes a score.
#[derive(Debug)]
struct Head {
    dense: Matrix,
    norm: Option<Norm>,
    out: Matrix,
}

/// Weights, and a bias where there is one.
#[derive(Debug)]
struct Matrix {
    weights: Vec<f32>,
    columns: usize,
    bias: Option<Vec<f32>>,
}

/// Gain, and a bias where there is one.
type Norm = (Vec<f32>, Option<Vec<f32>>);

impl FloatEncoder {
    /// Opens a folder or a GGUF file.
    ///
    /// # Errors
    /// If it is not an encoder's.
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        let source = EncoderSource::open(path)?;
        let config = source.config.clone();
        let (family, width) = (source.family, config.d_model as usize);
        let bias = |there: bool, name: &str, rows: usize| {
            there.then(|| source.tensor(&format!("{name}.bias"), &[rows])).transpose()
        };
        let norm = |name: &str| {
            let gain = source.tensor(&format!("{name}.weight"), &[width])?;
            Ok::<_, ImportError>((gain, bias(family.norm_biases(), name, width)?))
        };
        let matrix = |name: &str, (rows, columns): (usize, usize), is_biased: bool| {
            let weights = source.tensor(&format!("{name}.weight"), &[rows, columns])?;
            Ok::<_, ImportError>(Matrix { weights, columns, bias: bias(is_biased, name, rows)? })
        };
        let shapes = layer_shapes(&config);
        let layer = |index: u32| {
            let name = |part: &str| format!("encoder.layer.{index}.{part}");
            let matrices = MATRICES.iter().zip(shapes);
            let matrices =
                matrices.map(|(part, shape)| matrix(&name(part), shape, family.biases()));
            let gate = || matrix(&name("intermediate.gate"), shapes[UP], family.biases());
            let attention_norm = || norm(&name("attention.output.LayerNorm"));
            Ok::<_, ImportError>(Layer {
                kind: config.layer_kind(index),
                matrices: matrices.collect::<Result<_, ImportError>>()?,
                gate: family.gated().then(gate).transpose()?,
                attention_norm: source
                    .has_attention_norm(index)
                    .then(attention_norm)
                    .transpose()?,
                output_norm: norm(&name("output.LayerNorm"))?,
            })
        };
        let head = || {
            Ok::<_, ImportError>(Head {
                dense: matrix("score.dense", (width, width), family.biases())?,
                norm: family.norms_before().then(|| norm("score.norm")).transpose()?,
                out: matrix("score.out", (1, width), true)?,
            })
        };
        let words = "embeddings.word_embeddings.weight";
        Ok(Self {
            words: source.tensor(words, &[config.vocab as usize, width])?,
            positions: source.positions()?,
            norm: norm("embeddings.LayerNorm")?,
            layers: (0..config.layers).map(layer).collect::<Result<_, _>>()?,
            last_norm: family.norms_before().then(|| norm("final_norm")).transpose()?,
            head: source.scores().then(head).transpose()?,
            source,
        })
    }

    /// The vector of a text, given with the tokens around it.
    #[must_use]
    pub fn encode(&self, tokens: &[u32]) -> Vec<f64> {
        let mut vector = self.pooled(tokens, tokens.len());
        if self.source.normalised {
            let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
            vector.iter_mut().for_each(|value| *value /= length);
        }
        vector
    }

    /// The score of a pair; none if it makes vectors.
    #[must_use]
    pub fn score(&self, pair: &Pair) -> Option<f64> {
        let Head { dense, norm, out } = self.head.as_ref()?;
        let mut rows = dense.times(&vec![self.pooled(&pair.tokens, pair.second)]);
        match norm {
            Some(norm) => {
                let activation = self.source.activation;
                rows.iter_mut().flatten().for_each(|x| *x = activated(*x, activation));
                self.normalise(&mut rows, norm);
            }
            None => rows.iter_mut().flatten().for_each(|x| *x = x.tanh()),
        }
        out.times(&rows).first()?.first().copied()
    }

    /// The pooled row of a text, from `second` on of another kind.
    fn pooled(&self, tokens: &[u32], second: usize) -> Vec<f64> {
        let width = self.source.config.d_model as usize;
        let mut x: Rows = tokens.iter().map(|token| self.word(*token)).collect();
        for (position, row) in x.iter_mut().enumerate() {
            if let Some(positions) = &self.positions {
                let is_second = self.source.kinds > 1 && position >= second;
                let kind = usize::from(is_second) * self.source.config.max_positions as usize;
                let at = if self.source.family == Family::Bert { kind + position } else { 0 };
                let added = &positions[at * width..][..width];
                row.iter_mut().zip(added).for_each(|(x, added)| *x += f64::from(*added));
            }
        }
        self.normalise(&mut x, &self.norm);
        for layer in &self.layers {
            self.forward(layer, &mut x);
        }
        if let Some(norm) = &self.last_norm {
            self.normalise(&mut x, norm);
        }
        match self.source.pooling {
            Pooling::Cls => x.swap_remove(0),
            Pooling::Mean => (0..width)
                .map(|at| x.iter().map(|row| row[at]).sum::<f64>() / x.len() as f64)
                .collect(),
        }
    }

    fn word(&self, token: u32) -> Vec<f64> {
        let width = self.source.config.d_model as usize;
        let word = &self.words[token as usize * width..][..width];
        word.iter().map(|value| f64::from(*value)).collect()
    }

    fn forward(&self, layer: &Layer, x: &mut Rows) {
        let before = self.source.family.norms_before();
        let normed = |x: &Rows, norm: Option<&Norm>| {
            let mut rows = x.clone();
            if let Some(norm) = norm.filter(|_| before) {
                self.normalise(&mut rows, norm);
            }
            rows
        };
        let [q, k, v, o, up, down] = &layer.matrices[..] else { return };
        let a = normed(x, layer.attention_norm.as_ref());
        let [mut q, mut k, v] = [q, k, v].map(|matrix| matrix.times(&a));
        if self.source.family.turns() {
            self.turn(layer.kind, &mut q);
            self.turn(layer.kind, &mut k);
        }
        add_rows(x, &o.times(&self.attended(layer.kind, &q, &k, &v)));
        if let Some(norm) = layer.attention_norm.as_ref().filter(|_| !before) {
            self.normalise(x, norm);
        }
        let a = normed(x, Some(&layer.output_norm));
        let mut inner = up.times(&a);
        let activation = self.source.activation;
        match &layer.gate {
            Some(gate) => {
                for (up, gate) in inner.iter_mut().flatten().zip(gate.times(&a).iter().flatten()) {
                    *up *= activated(*gate, activation);
                }
            }
            None => inner.iter_mut().flatten().for_each(|x| *x = activated(*x, activation)),
        }
        add_rows(x, &down.times(&inner));
        if !before {
            self.normalise(x, &layer.output_norm);
        }
    }

    /// What every token's heads see of the others: all, or those fewer than a window's positions away.
    fn attended(&self, kind: LayerKind, q: &Rows, k: &Rows, v: &Rows) -> Rows {
        let ModelConfig { heads, head_dim, .. } = self.source.config;
        let reach = kind.window.map_or(usize::MAX, |window| window as usize);
        let mut attended = vec![vec![0.0; q.first().map_or(0, Vec::len)]; q.len()];
        for head in 0..heads as usize {
            let part = head * head_dim as usize..(head + 1) * head_dim as usize;
            for (place, (q, out)) in q.iter().zip(&mut attended).enumerate() {
                let seen: Vec<usize> =
                    (0..k.len()).filter(|other| place.abs_diff(*other) < reach).collect();
                let score = |other: &usize| {
                    let pairs = q[part.clone()].iter().zip(&k[*other][part.clone()]);
                    pairs.map(|(q, k)| q * k).sum::<f64>() / f64::from(head_dim).sqrt()
                };
                let weights = softmax(&seen.iter().map(score).collect::<Vec<f64>>());
                for (weight, other) in weights.iter().zip(&seen) {
                    let values = out[part.clone()].iter_mut().zip(&v[*other][part.clone()]);
                    values.for_each(|(out, v)| *out += weight * v);
                }
            }
        }
        attended
    }

    /// Turns the heads of rows by their positions.
    fn turn(&self, kind: LayerKind, rows: &mut Rows) {
        let rotation = kind.rotation.and_then(|at| self.source.rotations.get(at as usize));
        let Some(frequencies) = rotation else { return };
        for (position, row) in rows.iter_mut().enumerate() {
            for head in row.chunks_exact_mut(2 * frequencies.len()) {
                let (low, high) = head.split_at_mut(frequencies.len());
                for ((a, b), frequency) in low.iter_mut().zip(high).zip(frequencies) {
                    let (sin, cos) = (position as f64 * frequency).sin_cos();
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
        }
    }

    fn normalise(&self, rows: &mut Rows, (gain, bias): &Norm) {
        for row in rows {
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            let square =
                row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / row.len() as f64;
            let root = (square + self.source.eps).sqrt();
            for (at, (x, gain)) in row.iter_mut().zip(gain).enumerate() {
                let bias = bias.as_ref().map_or(0.0, |bias| f64::from(bias[at]));
                *x = (*x - mean) / root * f64::from(*gain) + bias;
            }
        }
    }
}

impl Matrix {
    /// Times every row, with its bias.
    fn times(&self, x: &Rows) -> Rows {
        let outputs = self.weights.len() / self.columns;
        let mut rows = vec![Vec::with_capacity(outputs); x.len()];
        for (at, products) in products(&self.weights, self.columns, x).iter().enumerate() {
            let bias = self.bias.as_ref().map_or(0.0, |bias| f64::from(bias[at]));
            rows.iter_mut().zip(products).for_each(|(row, product)| row.push(product + bias));
        }
        rows
    }
}

fn add_rows(x: &mut Rows, y: &Rows) {
    x.iter_mut().zip(y).for_each(|(x, y)| add(x, y));
}
