//! Layers and head on the CPU: the specification's kernels in order, with the matrices on the fastest exact path.

use crate::kernels::block::rescale;
use crate::kernels::linear::{CpuPath, Matrices};
use crate::kernels::{attention, mlp, rms_norm, rope};
use crate::kv_cache::LayerCache;
use crate::package::{Gain, HeadWeights, LayerWeights, ModelConfig, Tables};
use crate::sampler::Logits;

/// A layer's weights, packed for one path.
#[derive(Debug)]
pub struct Layer {
    path: CpuPath,
    attention_norm: Gain,
    mlp_norm: Gain,
    qkv: Matrices,
    o: Matrices,
    gate_up: Matrices,
    down: Matrices,
}

impl Layer {
    /// Packs a layer's weights.
    #[must_use]
    pub fn new(path: CpuPath, weights: LayerWeights) -> Self {
        let LayerWeights { attention_norm, mlp_norm, q, k, v, o, gate, up, down } = weights;
        Self {
            path,
            attention_norm,
            mlp_norm,
            qkv: Matrices::new(path, vec![q, k, v]),
            o: Matrices::new(path, vec![o]),
            gate_up: Matrices::new(path, vec![gate, up]),
            down: Matrices::new(path, vec![down]),
        }
    }

    /// Takes rows of the residual stream through the layer, in place: `rows` is `[tokens, d_model]`, the first at `position`.
    ///
    /// All rows go through a matrix together, so that its weights are read once a step and not once a token.
    pub fn forward(
        &self,
        config: &ModelConfig,
        tables: &Tables,
        cache: &mut LayerCache,
        position: u32,
        rows: &mut [i32],
    ) {
        let attend = if self.path == CpuPath::Scalar { attention::reference } else { attention::in_words };
        let (width, head_dim) = (config.d_model as usize, config.head_dim as usize);
        let (q_width, kv_width, d_ff) = (config.q_width(), config.kv_width(), config.d_ff as usize);

        let a = normalise(config, tables, &self.attention_norm, rows);
        let products = self.qkv.multiply(&a.mantissas);
        let token = |matrix: usize, width: usize, token: usize| {
            let exponent = self.qkv.output_exponent(matrix, a.exponents[token]);
            rope::split(&products[matrix][token * width..][..width], exponent, head_dim)
        };
        let a = Blocks::new((position..).zip(0..rows.len() / width).map(|(place, index)| {
            let (mut q, mut k, v) = (token(0, q_width, index), token(1, kv_width, index), token(2, kv_width, index));
            rope::rotate(tables, place, head_dim, &mut q);
            rope::rotate(tables, place, head_dim, &mut k);
            rope::scale_queries(config, &mut q);
            cache.push(&k, &v);
            attend(config, tables, &q, cache, place as usize + 1)
        }));
        add(config, &self.o, &a, rows);

        let a = normalise(config, tables, &self.mlp_norm, rows);
        let products = self.gate_up.multiply(&a.mantissas);
        let tokens = products[0].chunks_exact(d_ff).zip(products[1].chunks_exact(d_ff));
        let a = Blocks::new(tokens.zip(&a.exponents).map(|((gate, up), e)| {
            let exponents = [0, 1].map(|matrix| self.gate_up.output_exponent(matrix, *e));
            mlp::reference(tables, (gate, exponents[0]), (up, exponents[1]))
        }));
        add(config, &self.down, &a, rows);
    }
}

/// The head's weights, packed for one path.
#[derive(Debug)]
pub struct Head {
    norm: Gain,
    output: Matrices,
}

impl Head {
    /// Packs the head's weights.
    #[must_use]
    pub fn new(path: CpuPath, weights: HeadWeights) -> Self {
        Self { norm: weights.norm, output: Matrices::new(path, vec![weights.output]) }
    }

    /// Logits of one residual row.
    #[must_use]
    pub fn logits(&self, config: &ModelConfig, tables: &Tables, row: &[i32]) -> Logits {
        let (a, e) = rms_norm::reference(config, tables, &self.norm, row);
        Logits { values: self.output.multiply(&a).concat(), exponent: self.output.output_exponent(0, e) }
    }
}

fn normalise(config: &ModelConfig, tables: &Tables, gain: &Gain, rows: &[i32]) -> Blocks {
    Blocks::new(rows.chunks_exact(config.d_model as usize).map(|x| rms_norm::reference(config, tables, gain, x)))
}

/// `x += rescale(W a, exponent + F)` for every token.
fn add(config: &ModelConfig, matrix: &Matrices, a: &Blocks, rows: &mut [i32]) {
    let fraction_bits = config.residual_fraction_bits.cast_signed();
    let width = config.d_model as usize;
    let products = matrix.multiply(&a.mantissas);
    let tokens = rows.chunks_exact_mut(width).zip(products[0].chunks_exact(width));
    for ((x, y), e) in tokens.zip(&a.exponents) {
        let shift = matrix.output_exponent(0, *e) + fraction_bits;
        for (x, y) in x.iter_mut().zip(y) {
            *x = x.wrapping_add(rescale(*y, shift));
        }
    }
}

/// One block a token.
struct Blocks {
    /// `[tokens, width]`.
    mantissas: Vec<i32>,
    /// `[tokens]`.
    exponents: Vec<i32>,
}

impl Blocks {
    fn new(tokens: impl Iterator<Item = (Vec<i32>, i32)>) -> Self {
        let mut blocks = Self { mantissas: Vec::new(), exponents: Vec::new() };
        for (mantissas, exponent) in tokens {
            blocks.mantissas.extend(mantissas);
            blocks.exponents.push(exponent);
        }
        blocks
    }
}
