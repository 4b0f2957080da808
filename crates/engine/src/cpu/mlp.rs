//! What comes after attention: an MLP, or the experts that a router chooses for a token.
//!
//! Rows that go through the same expert go through it together, so that its weights are read once a
//! step. What experts give is added one by one, each rounded to the residual stream's last place, so
//! that their order changes nothing.

use super::{Blocks, add_biases, residual_exponent, rows};
use crate::kernels::linear::{CpuPath, Matrices};
use crate::kernels::route::{self, Route};
use crate::threads;
use potluck_model::package::{
    Bias, Experts, MlpWeights, ModelConfig, Router as RouterWeights, Tables, UngatedWeights,
};

/// The weights of an MLP or of an expert, packed for one path.
#[derive(Debug)]
pub struct Mlp {
    gate_up: Matrices,
    gate_up_bias: Option<[Bias; 2]>,
    pub(super) down: Matrices,
    pub(super) down_bias: Option<Bias>,
}

impl Mlp {
    /// Packs weights.
    #[must_use]
    pub fn new(path: CpuPath, weights: MlpWeights) -> Self {
        let MlpWeights { gate, up, down, bias } = weights;
        let (gate_up_bias, down_bias) = match bias {
            Some([gate, up, down]) => (Some([gate, up]), Some(down)),
            None => (None, None),
        };
        Self {
            gate_up: Matrices::new(path, vec![gate, up]),
            gate_up_bias,
            down: Matrices::new(path, vec![down]),
            down_bias,
        }
    }

    /// The gate, activated, times up: `[tokens, d_ff]`.
    pub(super) fn gated(&self, (config, tables): (&ModelConfig, &Tables), a: &Blocks) -> Blocks {
        let tokens = a.exponents.len();
        let mut products = self.gate_up.multiply(&a.mantissas);
        let biases = self.gate_up_bias.as_ref();
        let exponents = add_biases(&self.gate_up, biases, &mut products, &a.exponents);
        let d_ff = products[0].len() / tokens.max(1);
        Blocks::new(&threads::map(tokens, 8 * d_ff, |token| {
            let [gate, up] = [0, 1].map(|matrix| {
                (&products[matrix][token * d_ff..][..d_ff], exponents[matrix][token])
            });
            match config.mlp_limit {
                Some(limit) => rows::limited(tables, limit, gate, up),
                None => rows::gated(tables, gate, up),
            }
        }))
    }
}

/// A router's weights, packed for one path.
#[derive(Debug)]
pub(super) struct Router {
    matrices: Matrices,
    bias: Option<Bias>,
}

impl Router {
    pub(super) fn new(path: CpuPath, weights: RouterWeights) -> Self {
        let RouterWeights { matrices, bias } = weights;
        Self { matrices: Matrices::new(path, Vec::from(matrices)), bias }
    }
}

/// The weights of an MLP without a gate, packed for one path.
#[derive(Debug)]
pub struct Ungated {
    up: Matrices,
    up_bias: Option<[Bias; 1]>,
    pub(super) down: Matrices,
    pub(super) down_bias: Option<Bias>,
}

impl Ungated {
    /// Packs weights.
    #[must_use]
    pub fn new(path: CpuPath, weights: UngatedWeights) -> Self {
        let UngatedWeights { up, down, bias } = weights;
        let (up_bias, down_bias) = match bias {
            Some([up, down]) => (Some([up]), Some(down)),
            None => (None, None),
        };
        let [up, down] = [up, down].map(|matrix| Matrices::new(path, vec![matrix]));
        Self { up, up_bias, down, down_bias }
    }

    /// Up, activated: `[tokens, d_ff]`.
    pub(super) fn activated(&self, tables: &Tables, a: &Blocks) -> Blocks {
        let tokens = a.exponents.len();
        let mut products = self.up.multiply(&a.mantissas);
        let [exponents] = add_biases(&self.up, self.up_bias.as_ref(), &mut products, &a.exponents);
        let d_ff = products[0].len() / tokens.max(1);
        Blocks::new(&threads::map(tokens, 8 * d_ff, |token| {
            rows::gelu(tables, &products[0][token * d_ff..][..d_ff], exponents[token])
        }))
    }
}

/// Takes rows through the experts that the router chooses for each of them; `a` is the MLP's input,
/// and `rows` the residual stream, `[tokens, d_model]`. All experts are there.
pub(super) fn add_experts(
    (config, shape, tables): (&ModelConfig, Experts, &Tables),
    router: &Router,
    experts: &[Option<Mlp>],
    a: &Blocks,
    rows: &mut [i32],
) {
    let width = config.d_model as usize;
    for (expert, tokens) in experts.iter().zip(chosen(shape, tables, router, a)) {
        let Some(expert) = expert.as_ref().filter(|_| !tokens.is_empty()) else { continue };
        let gated = expert.gated((config, tables), &a.of(tokens.iter().map(|(token, _)| *token)));
        let mut products = expert.down.multiply(&gated.mantissas);
        let outputs = products[0].chunks_exact_mut(width).zip(&gated.exponents);
        for ((y, e), (token, weight)) in outputs.zip(tokens) {
            let mut exponent = expert.down.output_exponent(0, *e);
            if let Some(bias) = &expert.down_bias {
                exponent = rows::add_bias(bias, y, exponent);
            }
            let x = &mut rows[token * width..][..width];
            rows::add_weighed(x, y, weight, exponent - residual_exponent(config));
        }
    }
}

/// Of every expert the tokens that go through it, with their weights.
fn chosen(shape: Experts, tables: &Tables, router: &Router, a: &Blocks) -> Vec<Vec<(usize, u32)>> {
    let count = shape.scores() as usize;
    let products = router.matrices.multiply(&a.mantissas);
    let routes = threads::map(a.exponents.len(), 16 * count, |token| {
        route::reference(
            shape,
            tables,
            [0, 1].map(|matrix| {
                let row: &[i32] = &products[matrix][token * count..][..count];
                (row, router.matrices.output_exponent(matrix, a.exponents[token]))
            }),
            router.bias.as_ref(),
        )
    });
    let mut tokens = vec![Vec::new(); shape.all() as usize];
    for (token, routes) in routes.into_iter().enumerate() {
        for Route { expert, weight } in routes {
            tokens[expert].push((token, weight));
        }
    }
    tokens
}
