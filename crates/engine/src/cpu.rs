//! Layers and head on the CPU: the specification's kernels in order, with the matrices on the
//! fastest exact path.

mod mlp;
pub(crate) mod rows;

use core::ops::Range;

use crate::kernels::attention::{self, Scores};
use crate::kernels::block::{rescale, soft_cap};
use crate::kernels::linear::{CpuPath, Matrices};
use crate::kernels::rope::Heads;
use crate::kv_cache::LayerCache;
use crate::sampler::Logits;
use crate::threads;
use potluck_model::package::{
    Bias, Gain, LayerKind, LayerWeights, Linear, Mlp as MlpPart, ModelConfig, SoftCap, Tables,
};

pub use mlp::{Mlp, Ungated};

/// A layer's weights, packed for one path.
#[derive(Debug)]
pub struct Layer {
    path: CpuPath,
    attention_norm: Option<Gain>,
    mlp_norm: Option<Gain>,
    attention_post_norm: Option<Gain>,
    mlp_post_norm: Option<Gain>,
    qkv: Matrices,
    qkv_bias: Option<[Bias; 3]>,
    qk_norm: Option<[Gain; 2]>,
    qk_row_norm: Option<[Gain; 2]>,
    sinks: Option<Bias>,
    o: Matrices,
    output_bias: Option<Bias>,
    mlp: FeedForward,
}

/// What comes after attention.
#[derive(Debug)]
enum FeedForward {
    Dense(Mlp),
    Ungated(Ungated),
    Routed(mlp::Router),
}

impl Layer {
    /// Packs a layer's weights.
    #[must_use]
    pub fn new(path: CpuPath, weights: LayerWeights) -> Self {
        let LayerWeights {
            attention_norm,
            mlp_norm,
            attention_post_norm,
            mlp_post_norm,
            q,
            k,
            v,
            o,
            mlp,
            qkv_bias,
            qk_norm,
            qk_row_norm,
            output_bias,
            sinks,
        } = weights;
        Self {
            path,
            attention_norm,
            mlp_norm,
            attention_post_norm,
            mlp_post_norm,
            qkv: Matrices::new(path, vec![q, k, v]),
            qkv_bias,
            qk_norm,
            qk_row_norm,
            sinks,
            o: Matrices::new(path, vec![o]),
            output_bias,
            mlp: match mlp {
                MlpPart::Dense(weights) => FeedForward::Dense(Mlp::new(path, *weights)),
                MlpPart::Ungated(weights) => FeedForward::Ungated(Ungated::new(path, *weights)),
                MlpPart::Routed(router) => FeedForward::Routed(mlp::Router::new(path, *router)),
            },
        }
    }

    /// Takes rows of the residual stream through the layer, which is of this kind, in place: `rows` is
    /// `[tokens, d_model]`, those of every run one after the other.
    ///
    /// All rows go through a matrix together, so that its weights are read once a step and not once
    /// a token or session. `experts` are the layer's, where it has them: all of them.
    pub fn forward(
        &self,
        (config, kind): (&ModelConfig, LayerKind),
        tables: &Tables,
        experts: &[Option<Mlp>],
        runs: &mut [Run<'_>],
        rows: &mut [i32],
    ) {
        let (width, head_dim) = (config.d_model as usize, config.head_dim as usize);
        let tokens = rows.len() / width;

        let a = normalise(config, tables, self.attention_norm.as_ref(), rows);
        let mut products = self.qkv.multiply(&a.mantissas);
        let exponents = add_biases(&self.qkv, self.qkv_bias.as_ref(), &mut products, &a.exponents);
        let rotation = kind.rotation.and_then(|index| tables.rotations.get(index as usize));
        let places: Vec<Place> =
            (0..).zip(&*runs).flat_map(|(index, run)| run.places(index)).collect();
        let heads = threads::map(tokens, 8 * (config.q_width() + config.kv_width()), |token| {
            let [mut q, mut k, v] = [0, 1, 2].map(|matrix| {
                let width = products[matrix].len() / tokens;
                let row = &products[matrix][token * width..][..width];
                let exponent = exponents[matrix][token];
                if matrix == 2 {
                    return rows::split(row, exponent, head_dim);
                }
                match (config.qk_norm, &self.qk_norm, config.qk_row_norm, &self.qk_row_norm) {
                    (Some(eps), Some(gains), ..) => {
                        rows::normalise_heads(eps, tables, &gains[matrix], row, exponent)
                    }
                    (_, _, Some(eps), Some(gains)) => {
                        let (eps, gain) = (eps[matrix], &gains[matrix]);
                        rows::normalise_row(eps, tables, gain, (row, exponent), head_dim)
                    }
                    _ => rows::split(row, exponent, head_dim),
                }
            });
            if let Some(rotation) = rotation {
                rows::rotate(rotation, places[token].position, head_dim, &mut q);
                rows::rotate(rotation, places[token].position, head_dim, &mut k);
            }
            rows::scale_queries(config, &mut q);
            (q, k, v)
        });
        for ((_, k, v), place) in heads.iter().zip(&places) {
            runs[place.run].cache.push(k, v);
        }
        let a = self.attend((config, kind), tables, &heads, runs, &places);
        let (bias, norm) = (self.output_bias.as_ref(), self.attention_post_norm.as_ref());
        add((config, tables), &self.o, (bias, norm), &a, rows);

        let a = normalise(config, tables, self.mlp_norm.as_ref(), rows);
        match (&self.mlp, config.experts) {
            (FeedForward::Dense(mlp), _) => {
                let (bias, norm) = (mlp.down_bias.as_ref(), self.mlp_post_norm.as_ref());
                let a = mlp.gated((config, tables), &a);
                add((config, tables), &mlp.down, (bias, norm), &a, rows);
            }
            (FeedForward::Ungated(mlp), _) => {
                let (bias, norm) = (mlp.down_bias.as_ref(), self.mlp_post_norm.as_ref());
                let a = mlp.activated(tables, &a);
                add((config, tables), &mlp.down, (bias, norm), &a, rows);
            }
            (FeedForward::Routed(router), Some(shape)) => {
                mlp::add_experts((config, shape, tables), router, experts, &a, rows);
            }
            // A config that is checked has experts where a layer has a router.
            (FeedForward::Routed(_), None) => {}
        }
    }

    /// Attention of every token, whose keys and values are in its run's cache.
    fn attend(
        &self,
        (config, kind): (&ModelConfig, LayerKind),
        tables: &Tables,
        tokens: &[(Heads, Heads, Heads)],
        runs: &[Run<'_>],
        places: &[Place],
    ) -> Blocks {
        let cache = |place: &Place| &*runs[place.run].cache;
        let seen = |place: &Place| place.seen(kind.window);
        let scoring = Scores { cap: config.attention_cap, sinks: self.sinks.as_ref() };
        if self.path == CpuPath::Scalar {
            let attend = |((queries, _, _), place): (&(Heads, Heads, Heads), &Place)| {
                attention::reference(config, tables, queries, cache(place), seen(place), scoring)
            };
            return Blocks::new(&tokens.iter().zip(places).map(attend).collect::<Vec<_>>());
        }
        let (heads, head_dim) = (config.heads as usize, config.head_dim as usize);
        let cost = 4 * places.iter().map(|place| seen(place).len()).max().unwrap_or(0) * head_dim;
        let parts = threads::map(tokens.len() * heads, cost, |part| {
            let (token, head) = (part / heads, part % heads);
            let place = &places[token];
            let queries = &tokens[token].0;
            rows::attend_head(config, tables, queries, cache(place), (seen(place), head), scoring)
        });
        Blocks::joined(&parts, heads, head_dim)
    }
}

/// Consecutive rows of one session.
#[derive(Debug)]
pub struct Run<'a> {
    /// What the session has of the layer; the rows are appended.
    pub cache: &'a mut LayerCache,
    /// Of the first row.
    pub position: u32,
    /// How many.
    pub rows: usize,
}

/// Where a row belongs.
#[derive(Debug)]
struct Place {
    run: usize,
    position: u32,
}

impl Run<'_> {
    fn places(&self, run: usize) -> impl Iterator<Item = Place> + use<> {
        (self.position..).take(self.rows).map(move |position| Place { run, position })
    }
}

impl Place {
    /// Positions that the row sees: its own, and those before it that are in the window.
    fn seen(&self, window: Option<u32>) -> Range<usize> {
        let end = self.position as usize + 1;
        let first = window.map_or(0, |window| end.saturating_sub(window as usize));
        first..end
    }
}

/// The head's weights, packed for one path.
#[derive(Debug)]
pub struct Head {
    norm: Gain,
    output: Matrices,
}

impl Head {
    /// Packs the output matrix; `norm` comes before it.
    #[must_use]
    pub fn new(path: CpuPath, norm: Gain, output: Linear) -> Self {
        Self { norm, output: Matrices::new(path, vec![output]) }
    }

    /// Logits of residual rows, `[rows, d_model]`, each row's on their own.
    #[must_use]
    pub fn logits(&self, config: &ModelConfig, tables: &Tables, rows: &[i32]) -> Vec<Logits> {
        let a = normalise(config, tables, Some(&self.norm), rows);
        let values = self.output.multiply(&a.mantissas).concat();
        let rows = values.chunks_exact(config.vocab as usize).zip(&a.exponents);
        rows.map(|(values, e)| {
            let (values, exponent) = (values.to_vec(), self.output.output_exponent(0, *e));
            match config.logit_cap {
                Some(cap) => bounded(tables, cap, values, exponent),
                None => Logits { values, exponent },
            }
        })
        .collect()
    }
}

/// Logits under a cap, which leaves them with 16 fraction bits.
fn bounded(tables: &Tables, cap: SoftCap, mut values: Vec<i32>, exponent: i32) -> Logits {
    for value in &mut values {
        *value = soft_cap(tables, cap, rescale(*value, exponent + 16));
    }
    Logits { values, exponent: -16 }
}

/// Adds the biases of matrices that have the same inputs, where there are any; returns the
/// exponents, `[matrices][tokens]`.
fn add_biases<const N: usize>(
    matrices: &Matrices,
    biases: Option<&[Bias; N]>,
    products: &mut [Vec<i32>],
    input_exponents: &[i32],
) -> [Vec<i32>; N] {
    core::array::from_fn(|matrix| {
        let width = products[matrix].len() / input_exponents.len();
        let tokens = products[matrix].chunks_exact_mut(width).zip(input_exponents);
        let exponents = tokens.map(|(row, e)| {
            let exponent = matrices.output_exponent(matrix, *e);
            biases.map_or(exponent, |biases| rows::add_bias(&biases[matrix], row, exponent))
        });
        exponents.collect()
    })
}

fn residual_exponent(config: &ModelConfig) -> i32 {
    -config.residual_fraction_bits.cast_signed()
}

/// Blocks of residual rows: normalised, or as they are where there is no norm.
fn normalise(config: &ModelConfig, tables: &Tables, gain: Option<&Gain>, rows: &[i32]) -> Blocks {
    let (width, exponent) = (config.d_model as usize, residual_exponent(config));
    Blocks::new(&threads::map(rows.len() / width, 4 * width, |token| {
        let row = &rows[token * width..][..width];
        if let Some(gain) = gain {
            let eps = config.eps();
            return match &gain.bias {
                Some(bias) => rows::layer_norm_block(eps, tables, (gain, bias), row, exponent),
                None => rows::normalise(eps, tables, gain, row, exponent),
            };
        }
        let mut block = row.to_vec();
        let n = rows::fit(&mut block);
        (block, exponent + n)
    }))
}

/// `x += rescale(y, exponent + F)` for every token, with `y = W a`, its bias added and then normalised
/// where there is that.
fn add(
    (config, tables): (&ModelConfig, &Tables),
    matrix: &Matrices,
    (bias, norm): (Option<&Bias>, Option<&Gain>),
    a: &Blocks,
    rows: &mut [i32],
) {
    let width = config.d_model as usize;
    let mut products = matrix.multiply(&a.mantissas);
    let tokens = rows.chunks_exact_mut(width).zip(products[0].chunks_exact_mut(width));
    for ((x, y), e) in tokens.zip(&a.exponents) {
        let mut exponent = matrix.output_exponent(0, *e);
        if let Some(bias) = bias {
            exponent = rows::add_bias(bias, y, exponent);
        }
        if let Some(gain) = norm {
            let (normed, e) = rows::normalise_wide(config.eps(), tables, gain, y, exponent);
            y.copy_from_slice(&normed);
            exponent = e;
        }
        rows::add(x, y, exponent - residual_exponent(config));
    }
}

/// One block a token.
#[derive(Debug)]
pub(crate) struct Blocks {
    /// `[tokens, width]`.
    pub(crate) mantissas: Vec<i32>,
    /// `[tokens]`.
    pub(crate) exponents: Vec<i32>,
}

impl Blocks {
    /// Of tokens that have heads of their own exponents, `[tokens * heads]`.
    pub(crate) fn joined(parts: &[(Vec<i32>, i32)], heads: usize, head_dim: usize) -> Self {
        let joined = parts.chunks_exact(heads).map(|parts| {
            let (rows, exponents): (Vec<&[i32]>, Vec<i32>) =
                parts.iter().map(|(row, e)| (&row[..], *e)).unzip();
            rows::join(rows.concat(), &exponents, head_dim)
        });
        Self::new(&joined.collect::<Vec<_>>())
    }

    /// Those of some tokens.
    pub(crate) fn of(&self, tokens: impl Iterator<Item = usize> + Clone) -> Self {
        let width = self.mantissas.len() / self.exponents.len().max(1);
        let rows = tokens.clone().flat_map(|token| &self.mantissas[token * width..][..width]);
        let exponents = tokens.clone().map(|token| self.exponents[token]).collect();
        Self { mantissas: rows.copied().collect(), exponents }
    }

    pub(crate) fn new(tokens: &[(Vec<i32>, i32)]) -> Self {
        let exponents = tokens.iter().map(|(_, exponent)| *exponent).collect();
        let mantissas: Vec<&[i32]> = tokens.iter().map(|(mantissas, _)| &mantissas[..]).collect();
        Self { mantissas: mantissas.concat(), exponents }
    }
}
