//! `silu(gate) * up` into a block (`docs/numerics.md`, "MLP"): two `[d_ff]` rows with exponents to
//! one block.
//!
//! [`limited`] is gpt-oss's form of it: `silu(min(gate, limit)) * (clamp(up, -limit, limit) + 1)`.

use potluck_model::package::{LIMIT_BITS, Tables};

use super::block::{fit, mul_shift, rescale, sigmoid};

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

/// What is held by a limit has this exponent.
const LIMIT_EXPONENT: i32 = -LIMIT_BITS.cast_signed();

/// Multiplies the SiLU of the gate, which is held below `limit`, with 1 more than `up`, which is held
/// within it; `limit` has [`LIMIT_BITS`] fraction bits.
#[must_use]
#[inline(always)]
pub fn limited(
    tables: &Tables,
    limit: u32,
    gate: (&[i32], i32),
    up: (&[i32], i32),
) -> (Vec<i32>, i32) {
    let ((gate, gate_exponent), (up, up_exponent)) = (gate, up);
    let limit = limit.cast_signed();
    let activated = |gate: &i32| {
        let gate = rescale(*gate, gate_exponent - LIMIT_EXPONENT).min(limit);
        // A logistic function is at most 1 in Q15.
        mul_shift(gate, sigmoid(tables, rescale(gate, LIMIT_EXPONENT + 12)).cast_unsigned(), 15)
    };
    let one_more = |up: &i32| {
        rescale(*up, up_exponent - LIMIT_EXPONENT).clamp(-limit, limit) + (1 << LIMIT_BITS)
    };
    let mut row: Vec<i32> = gate.iter().map(activated).collect();
    let mut up: Vec<i32> = up.iter().map(one_more).collect();
    let (gate_fit, up_fit) = (fit(&mut row), fit(&mut up));
    row.iter_mut().zip(&up).for_each(|(gate, up)| *gate *= up);
    let n = fit(&mut row);
    (row, 2 * LIMIT_EXPONENT + gate_fit + up_fit + n)
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

    #[test]
    fn a_limit_holds_gate_and_up() {
        let tables = tables(&config(1, 32, 32, (1, 1, 32), 32, 1));
        let mut random = Random::new(6);
        let limit = 7 << LIMIT_BITS;
        for (bits, exponent) in [(20, -17), (26, -26), (12, -3), (30, -32), (28, 0), (31, -40)] {
            let (gate, up) = (numbers(&mut random, 96, bits), numbers(&mut random, 96, bits));
            let (row, e) = limited(&tables, limit, (&gate, exponent), (&up, exponent));
            let largest = row.iter().map(|m| m.abs()).max().unwrap();
            for ((gate, up), m) in gate.iter().zip(&up).zip(&row) {
                let (g, u) =
                    (value(*gate, exponent).min(7.0), value(*up, exponent).clamp(-7.0, 7.0));
                let error = value(*m, e) - g / (1.0 + (-g).exp()) * (u + 1.0);
                assert!(error.abs() <= value(largest, e) * 5e-4, "{g} and {u} off by {error}");
            }
        }
        // The ends of what there is: all of the gate or nothing, of up eight or minus six.
        let ends = [i32::MAX, i32::MIN, 0, i32::MAX];
        let (row, e) = limited(&tables, limit, (&ends, 0), (&[i32::MAX, 5, 5, i32::MIN], 0));
        let real: Vec<f64> = row.iter().map(|m| value(*m, e)).collect();
        assert!((real[0] - 56.0).abs() < 0.1 && (real[3] + 42.0).abs() < 0.1, "{real:?}");
        assert_eq!((row[1], row[2]), (0, 0));
    }
}
