//! What makes a score of a text's pooled row, the same on every device: it happens once a text, on the
//! processor (`docs/numerics.md`, "Encoders", "Score").

use potluck_model::encoder::{Norm, ScoreHead};
use potluck_model::package::{Bias, Eps, SoftCap, Tables};

use super::Embedding;
use crate::cpu::rows;
use crate::kernels::block::{rescale, soft_cap};
use crate::kernels::linear::{CpuPath, Matrices};

/// `tanh` as a bound of one: `1 * tanh(x / 1)`.
const TANH: SoftCap = SoftCap { inverse: 1 << 16, exponent: 0 };

/// A head, packed for one path.
#[derive(Debug)]
pub(super) struct Head {
    dense: Matrices,
    dense_bias: Bias,
    norm: Option<Norm>,
    out: Matrices,
    out_bias: Bias,
}

impl Head {
    pub(super) fn new(path: CpuPath, head: ScoreHead) -> Self {
        let ScoreHead { dense, norm, out } = head;
        Self {
            dense: Matrices::of_twelve_bits(path, vec![dense.weights]),
            dense_bias: dense.bias,
            norm,
            out: Matrices::of_twelve_bits(path, vec![out.weights]),
            out_bias: out.bias,
        }
    }

    /// The score of a row: `[d_model] -> [1]`. Where a norm follows, the activation is GELU, else `tanh`.
    pub(super) fn score(
        &self,
        eps: Eps,
        tables: &Tables,
        row: Vec<i32>,
        exponent: i32,
    ) -> Embedding {
        let (block, exponent) = fitted(row, exponent);
        let (row, exponent) = multiplied(&self.dense, &self.dense_bias, &block, exponent);
        let (block, exponent) = if let Some(Norm { gain, bias }) = &self.norm {
            let (activated, exponent) = rows::gelu(tables, &row, exponent);
            rows::layer_norm_block(eps, tables, (gain, bias), &activated, exponent)
        } else {
            let bounded = row.iter().map(|x| soft_cap(tables, TANH, rescale(*x, exponent + 16)));
            fitted(bounded.collect(), -16)
        };
        let (mantissas, exponent) = multiplied(&self.out, &self.out_bias, &block, exponent);
        Embedding { mantissas, exponent }
    }
}

fn fitted(mut row: Vec<i32>, exponent: i32) -> (Vec<i32>, i32) {
    let n = rows::fit(&mut row);
    (row, exponent + n)
}

fn multiplied(matrix: &Matrices, bias: &Bias, block: &[i32], exponent: i32) -> (Vec<i32>, i32) {
    let mut row = matrix.multiply(block).concat();
    let exponent = rows::add_bias(bias, &mut row, matrix.output_exponent(0, exponent));
    (row, exponent)
}
