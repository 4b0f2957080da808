//! `silu(gate) * up` into a block (`docs/numerics.md`, "MLP"): two `[d_ff]` rows with exponents to one block.

use crate::package::Tables;

use super::block::{fit, rescale, sigmoid};

/// Multiplies the gate's SiLU with `up`.
#[must_use]
pub fn reference(tables: &Tables, gate: (&[i32], i32), up: (&[i32], i32)) -> (Vec<i32>, i32) {
    let ((gate, gate_exponent), (up, up_exponent)) = (gate, up);
    let (mut gate_block, mut up_block) = (gate.to_vec(), up.to_vec());
    let (gate_fit, up_fit) = (fit(&mut gate_block), fit(&mut up_block));
    let mut row: Vec<i32> = gate
        .iter()
        .zip(gate_block.iter().zip(&up_block))
        .map(|(gate, (gm, um))| {
            let s = sigmoid(tables, rescale(*gate, gate_exponent + 12).clamp(-(1 << 20), 1 << 20));
            ((gm * s) >> 15) * um
        })
        .collect();
    let n = fit(&mut row);
    (row, gate_exponent + gate_fit + up_exponent + up_fit + n)
}
