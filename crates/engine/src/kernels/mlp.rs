//! `silu(gate) * up` into a block (`docs/numerics.md`, "MLP"): two `[d_ff]` rows with exponents to
//! one block.

use potluck_model::package::Tables;

use super::block::{fit, rescale, sigmoid};

/// Multiplies the gate's SiLU with `up`.
#[must_use]
#[inline(always)]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{numbers, tables, value};
    use potluck_model::synthetic::{Random, config};

    #[test]
    fn it_is_silu_of_the_gate_times_up() {
        let tables = tables(&config(1, 32, 32, (1, 1, 32), 32, 1));
        let mut random = Random::new(5);
        for (bits, exponent) in [(20, -17), (26, -26), (12, -3), (28, -24)] {
            let (gate, up) = (numbers(&mut random, 96, bits), numbers(&mut random, 96, 22));
            let (row, e) = reference(&tables, (&gate, exponent), (&up, -20));
            let largest = row.iter().map(|m| m.abs()).max().unwrap();
            for ((gate, up), m) in gate.iter().zip(&up).zip(&row) {
                let (g, u) = (value(*gate, exponent), value(*up, -20));
                let error = value(*m, e) - g / (1.0 + (-g).exp()) * u;
                assert!(error.abs() <= value(largest, e) * 5e-4, "silu({g}) * {u}");
            }
        }
        assert_eq!(reference(&tables, (&[0; 32], 0), (&[5; 32], 0)).0, [0; 32]);
    }
}
