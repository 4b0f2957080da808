//! Layers and head on the CPU: the specification's kernels in order, with the matrices on the fastest exact path.

use crate::kernels::block::rescale;
use crate::kernels::linear::{CpuPath, linear, output_exponent};
use crate::kernels::{attention, mlp, rms_norm, rope};
use crate::kv_cache::LayerCache;
use crate::package::{HeadWeights, LayerWeights, Linear, ModelConfig, Tables};
use crate::sampler::Logits;

/// Runs one layer over rows of the residual stream, in place: `rows` is `[tokens, d_model]`, the first at `position`.
pub fn layer(
    path: CpuPath,
    config: &ModelConfig,
    tables: &Tables,
    weights: &LayerWeights,
    cache: &mut LayerCache,
    position: u32,
    rows: &mut [i32],
) {
    let width = config.d_model as usize;
    let head_dim = config.head_dim as usize;
    let mut place = position;
    for x in rows.chunks_exact_mut(width) {
        let (a, e) = rms_norm::reference(config, tables, &weights.attention_norm, x);
        let project = |matrix: &Linear| rope::split(&linear(path, matrix, &a), output_exponent(matrix, e), head_dim);
        let (mut q, mut k, v) = (project(&weights.q), project(&weights.k), project(&weights.v));
        rope::rotate(tables, place, head_dim, &mut q);
        rope::rotate(tables, place, head_dim, &mut k);
        rope::scale_queries(config, &mut q);
        cache.push(&k, &v);
        place += 1;
        let (a, e) = attention::reference(config, tables, &q, cache, place as usize);
        add(path, config, &weights.o, &a, e, x);

        let (a, e) = rms_norm::reference(config, tables, &weights.mlp_norm, x);
        let gate = linear(path, &weights.gate, &a);
        let up = linear(path, &weights.up, &a);
        let (a, e) =
            mlp::reference(tables, (&gate, output_exponent(&weights.gate, e)), (&up, output_exponent(&weights.up, e)));
        add(path, config, &weights.down, &a, e, x);
    }
}

/// Logits of one residual row.
#[must_use]
pub fn head(path: CpuPath, config: &ModelConfig, tables: &Tables, weights: &HeadWeights, row: &[i32]) -> Logits {
    let (a, e) = rms_norm::reference(config, tables, &weights.norm, row);
    Logits { values: linear(path, &weights.output, &a), exponent: output_exponent(&weights.output, e) }
}

/// `x += rescale(W a, exponent + F)`.
fn add(path: CpuPath, config: &ModelConfig, matrix: &Linear, a: &[i32], e: i32, x: &mut [i32]) {
    let shift = output_exponent(matrix, e) + config.residual_fraction_bits.cast_signed();
    for (x, y) in x.iter_mut().zip(linear(path, matrix, a)) {
        *x = x.wrapping_add(rescale(y, shift));
    }
}
