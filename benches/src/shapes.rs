//! Shapes of models that people use. A token's cost depends on the shape alone, so random weights
//! measure it as well as real ones.

use potluck_model::package::{Eps, ModelConfig};
use potluck_model::synthetic;

/// A model's shape.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Its name in tables and on the command line.
    pub name: &'static str,
    /// Layers, width, MLP width.
    depth: (u32, u32, u32),
    /// Query heads, key and value heads, width of a head.
    heads: (u32, u32, u32),
    vocab: u32,
    /// Whether query and key heads are normalised.
    qk_norm: bool,
}

/// Positions that a benchmark may use; more only make the tables larger.
const POSITIONS: u32 = 2048;

/// Every shape, the smallest first.
pub const SHAPES: [Shape; 3] = [
    Shape {
        name: "SmolLM2-135M",
        depth: (30, 576, 1536),
        heads: (9, 3, 64),
        vocab: 49_152,
        qk_norm: false,
    },
    Shape {
        name: "Qwen3-0.6B",
        depth: (28, 1024, 3072),
        heads: (16, 8, 128),
        vocab: 151_936,
        qk_norm: true,
    },
    Shape {
        name: "Llama-3.2-1B",
        depth: (16, 2048, 8192),
        heads: (32, 8, 64),
        vocab: 128_256,
        qk_norm: false,
    },
];

impl Shape {
    /// The shape of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        SHAPES.into_iter().find(|shape| shape.name == name)
    }

    /// As the engine wants it.
    #[must_use]
    pub fn config(&self) -> ModelConfig {
        let (layers, d_model, d_ff) = self.depth;
        let config = synthetic::config(layers, d_model, d_ff, self.heads, self.vocab, POSITIONS);
        let eps = Eps { mantissa: config.eps_mantissa, exponent: config.eps_exponent };
        ModelConfig { qk_norm: self.qk_norm.then_some(eps), ..config }
    }
}
