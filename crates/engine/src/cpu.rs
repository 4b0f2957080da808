//! Layers and head on the CPU: the specification's kernels in order, with the matrices on the
//! fastest exact path.

pub(crate) mod rows;

use crate::kernels::attention;
use crate::kernels::linear::{CpuPath, Matrices};
use crate::kernels::rope::Heads;
use crate::kv_cache::LayerCache;
use crate::sampler::Logits;
use crate::threads;
use potluck_model::package::{Bias, Gain, LayerWeights, Linear, ModelConfig, Tables};

/// A layer's weights, packed for one path.
#[derive(Debug)]
pub struct Layer {
    path: CpuPath,
    attention_norm: Gain,
    mlp_norm: Gain,
    qkv: Matrices,
    qkv_bias: Option<[Bias; 3]>,
    qk_norm: Option<[Gain; 2]>,
    o: Matrices,
    gate_up: Matrices,
    down: Matrices,
}

impl Layer {
    /// Packs a layer's weights.
    #[must_use]
    pub fn new(path: CpuPath, weights: LayerWeights) -> Self {
        let LayerWeights {
            attention_norm,
            mlp_norm,
            q,
            k,
            v,
            o,
            gate,
            up,
            down,
            qkv_bias,
            qk_norm,
        } = weights;
        Self {
            path,
            attention_norm,
            mlp_norm,
            qkv: Matrices::new(path, vec![q, k, v]),
            qkv_bias,
            qk_norm,
            o: Matrices::new(path, vec![o]),
            gate_up: Matrices::new(path, vec![gate, up]),
            down: Matrices::new(path, vec![down]),
        }
    }

    /// Takes rows of the residual stream through the layer, in place: `rows` is
    /// `[tokens, d_model]`, those of every run one after the other.
    ///
    /// All rows go through a matrix together, so that its weights are read once a step and not once
    /// a token or session.
    pub fn forward(
        &self,
        config: &ModelConfig,
        tables: &Tables,
        runs: &mut [Run<'_>],
        rows: &mut [i32],
    ) {
        let (width, head_dim, d_ff) =
            (config.d_model as usize, config.head_dim as usize, config.d_ff as usize);
        let tokens = rows.len() / width;

        let a = normalise(config, tables, &self.attention_norm, rows);
        let mut products = self.qkv.multiply(&a.mantissas);
        let exponents = self.add_biases(&mut products, &a.exponents);
        let places: Vec<Place> =
            (0..).zip(&*runs).flat_map(|(index, run)| run.places(index)).collect();
        let heads = threads::map(tokens, 8 * (config.q_width() + config.kv_width()), |token| {
            let [mut q, mut k, v] = [0, 1, 2].map(|matrix| {
                let width = products[matrix].len() / tokens;
                let row = &products[matrix][token * width..][..width];
                let exponent = exponents[matrix][token];
                match (config.qk_norm, &self.qk_norm) {
                    (Some(eps), Some(gains)) if matrix < 2 => {
                        rows::normalise_heads(eps, tables, &gains[matrix], row, exponent)
                    }
                    _ => rows::split(row, exponent, head_dim),
                }
            });
            rows::rotate(tables, places[token].position, head_dim, &mut q);
            rows::rotate(tables, places[token].position, head_dim, &mut k);
            rows::scale_queries(config, &mut q);
            (q, k, v)
        });
        for ((_, k, v), place) in heads.iter().zip(&places) {
            runs[place.run].cache.push(k, v);
        }
        let a = self.attend(config, tables, &heads, runs, &places);
        add(config, &self.o, &a, rows);

        let a = normalise(config, tables, &self.mlp_norm, rows);
        let products = self.gate_up.multiply(&a.mantissas);
        let a = Blocks::new(&threads::map(tokens, 8 * d_ff, |token| {
            let [gate, up] = [0, 1].map(|matrix| {
                let exponent = self.gate_up.output_exponent(matrix, a.exponents[token]);
                (&products[matrix][token * d_ff..][..d_ff], exponent)
            });
            rows::gated(tables, gate, up)
        }));
        add(config, &self.down, &a, rows);
    }

    /// Adds the biases of query, key and value, where there are any; returns the exponents,
    /// `[3][tokens]`.
    fn add_biases(&self, products: &mut [Vec<i32>], input_exponents: &[i32]) -> [Vec<i32>; 3] {
        [0, 1, 2].map(|matrix| {
            let width = products[matrix].len() / input_exponents.len();
            let tokens = products[matrix].chunks_exact_mut(width).zip(input_exponents);
            let exponents = tokens.map(|(row, e)| {
                let exponent = self.qkv.output_exponent(matrix, *e);
                self.qkv_bias
                    .as_ref()
                    .map_or(exponent, |biases| rows::add_bias(&biases[matrix], row, exponent))
            });
            exponents.collect()
        })
    }

    /// Attention of every token, whose keys and values are in its run's cache.
    fn attend(
        &self,
        config: &ModelConfig,
        tables: &Tables,
        tokens: &[(Heads, Heads, Heads)],
        runs: &[Run<'_>],
        places: &[Place],
    ) -> Blocks {
        let cache = |place: &Place| &*runs[place.run].cache;
        if self.path == CpuPath::Scalar {
            let attend = |((queries, _, _), place): (&(Heads, Heads, Heads), &Place)| {
                attention::reference(config, tables, queries, cache(place), place.seen())
            };
            return Blocks::new(&tokens.iter().zip(places).map(attend).collect::<Vec<_>>());
        }
        let (heads, head_dim) = (config.heads as usize, config.head_dim as usize);
        let cost = 4 * places.iter().map(Place::seen).max().unwrap_or(0) * head_dim;
        let parts = threads::map(tokens.len() * heads, cost, |part| {
            let (token, head) = (part / heads, part % heads);
            let place = &places[token];
            rows::attend_head(config, tables, &tokens[token].0, cache(place), place.seen(), head)
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
    /// Positions that the row sees: its own and all before.
    fn seen(&self) -> usize {
        self.position as usize + 1
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
        let a = normalise(config, tables, &self.norm, rows);
        let values = self.output.multiply(&a.mantissas).concat();
        let rows = values.chunks_exact(config.vocab as usize).zip(&a.exponents);
        rows.map(|(values, e)| Logits {
            values: values.to_vec(),
            exponent: self.output.output_exponent(0, *e),
        })
        .collect()
    }
}

fn residual_exponent(config: &ModelConfig) -> i32 {
    -config.residual_fraction_bits.cast_signed()
}

fn normalise(config: &ModelConfig, tables: &Tables, gain: &Gain, rows: &[i32]) -> Blocks {
    let width = config.d_model as usize;
    Blocks::new(&threads::map(rows.len() / width, 4 * width, |token| {
        rows::normalise(
            config.eps(),
            tables,
            gain,
            &rows[token * width..][..width],
            residual_exponent(config),
        )
    }))
}

/// `x += rescale(W a, exponent + F)` for every token.
fn add(config: &ModelConfig, matrix: &Matrices, a: &Blocks, rows: &mut [i32]) {
    let width = config.d_model as usize;
    let products = matrix.multiply(&a.mantissas);
    let tokens = rows.chunks_exact_mut(width).zip(products[0].chunks_exact(width));
    for ((x, y), e) in tokens.zip(&a.exponents) {
        rows::add(x, y, matrix.output_exponent(0, *e) - residual_exponent(config));
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

    pub(crate) fn new(tokens: &[(Vec<i32>, i32)]) -> Self {
        let exponents = tokens.iter().map(|(_, exponent)| *exponent).collect();
        let mantissas: Vec<&[i32]> = tokens.iter().map(|(mantissas, _)| &mantissas[..]).collect();
        Self { mantissas: mantissas.concat(), exponents }
    }
}
