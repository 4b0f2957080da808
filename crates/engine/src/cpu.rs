//! Layers and head on the CPU: the specification's kernels in order, with the matrices on the fastest exact path.

use crate::kernels::block::rescale;
use crate::kernels::linear::{CpuPath, linear, output_exponent};
use crate::kernels::{attention, mlp, rms_norm, rope};
use crate::kv_cache::LayerCache;
use crate::package::{HeadWeights, LayerWeights, Linear, ModelConfig, Tables};
use crate::sampler::Logits;

/// Runs one layer over rows of the residual stream, in place: `rows` is `[tokens, d_model]`, the first at `position`.
///
/// All rows go through a matrix together, so that its weights are read once a step and not once a token.
pub fn layer(
    path: CpuPath,
    config: &ModelConfig,
    tables: &Tables,
    weights: &LayerWeights,
    cache: &mut LayerCache,
    position: u32,
    rows: &mut [i32],
) {
    let attend = if path == CpuPath::Scalar { attention::reference } else { attention::in_words };
    let (width, head_dim) = (config.d_model as usize, config.head_dim as usize);
    let (q_width, kv_width, d_ff) = (config.q_width(), config.kv_width(), config.d_ff as usize);

    let a =
        Blocks::new(rows.chunks_exact(width).map(|x| rms_norm::reference(config, tables, &weights.attention_norm, x)));
    let [q, k, v] = [&weights.q, &weights.k, &weights.v].map(|matrix| linear(path, matrix, &a.mantissas));
    let tokens = q.chunks_exact(q_width).zip(k.chunks_exact(kv_width)).zip(v.chunks_exact(kv_width));
    let a = Blocks::new((position..).zip(tokens.zip(&a.exponents)).map(|(place, (((q, k), v), e))| {
        let [mut q, mut k, v] = [(&weights.q, q), (&weights.k, k), (&weights.v, v)]
            .map(|(matrix, row)| rope::split(row, output_exponent(matrix, *e), head_dim));
        rope::rotate(tables, place, head_dim, &mut q);
        rope::rotate(tables, place, head_dim, &mut k);
        rope::scale_queries(config, &mut q);
        cache.push(&k, &v);
        attend(config, tables, &q, cache, place as usize + 1)
    }));
    add(path, config, &weights.o, &a, rows);

    let a = Blocks::new(rows.chunks_exact(width).map(|x| rms_norm::reference(config, tables, &weights.mlp_norm, x)));
    let [gate, up] = [&weights.gate, &weights.up].map(|matrix| linear(path, matrix, &a.mantissas));
    let tokens = gate.chunks_exact(d_ff).zip(up.chunks_exact(d_ff));
    let a = Blocks::new(tokens.zip(&a.exponents).map(|((gate, up), e)| {
        let gate = (gate, output_exponent(&weights.gate, *e));
        mlp::reference(tables, gate, (up, output_exponent(&weights.up, *e)))
    }));
    add(path, config, &weights.down, &a, rows);
}

/// Logits of one residual row.
#[must_use]
pub fn head(path: CpuPath, config: &ModelConfig, tables: &Tables, weights: &HeadWeights, row: &[i32]) -> Logits {
    let (a, e) = rms_norm::reference(config, tables, &weights.norm, row);
    Logits { values: linear(path, &weights.output, &a), exponent: output_exponent(&weights.output, e) }
}

/// `x += rescale(W a, exponent + F)` for every token.
fn add(path: CpuPath, config: &ModelConfig, matrix: &Linear, a: &Blocks, rows: &mut [i32]) {
    let fraction_bits = config.residual_fraction_bits.cast_signed();
    let y = linear(path, matrix, &a.mantissas);
    let tokens = rows.chunks_exact_mut(matrix.rows).zip(y.chunks_exact(matrix.rows));
    for ((x, y), e) in tokens.zip(&a.exponents) {
        let shift = output_exponent(matrix, *e) + fraction_bits;
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
