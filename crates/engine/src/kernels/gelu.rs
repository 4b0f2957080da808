//! `GELU(x) = x * Phi(x)` into a block (`docs/numerics.md`, "GELU"): a `[d_ff]` row with its
//! exponent to one block. Between the matrices of encoders' MLPs, and of decoders' without a gate.

use potluck_model::package::Tables;

use super::block::{fit, rescale, sigmoid};

/// Gates a row by the normal distribution, which `tables` have where others have the logistic
/// function.
#[must_use]
#[inline(always)]
pub fn reference(tables: &Tables, x: &[i32], exponent: i32) -> (Vec<i32>, i32) {
    let mut block = x.to_vec();
    let n = fit(&mut block);
    let gate = |x: &i32| sigmoid(tables, rescale(*x, exponent + 12).clamp(-(1 << 20), 1 << 20));
    let mut row: Vec<i32> = x.iter().zip(&block).map(|(x, m)| m * gate(x)).collect();
    let n2 = fit(&mut row);
    (row, exponent + n + n2 - 15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{numbers, tables, value};
    use potluck_model::synthetic::{Random, config};

    #[test]
    fn it_is_the_row_times_its_gate() {
        // With the logistic function for a gate, which the tables of a test have.
        let tables = tables(&config(1, 32, 32, (1, 1, 32), 32, 1));
        let mut random = Random::new(7);
        for (bits, exponent) in [(20, -17), (26, -26), (12, -3), (28, -24)] {
            let x = numbers(&mut random, 96, bits);
            let (row, e) = reference(&tables, &x, exponent);
            let largest = row.iter().map(|m| m.abs()).max().unwrap();
            for (x, m) in x.iter().zip(&row) {
                let real = value(*x, exponent);
                let expected = real / (1.0 + (-real).exp());
                assert!(
                    (value(*m, e) - expected).abs()
                        <= value(largest, e) * 2e-4 + expected.abs() * 1e-3,
                    "{real}"
                );
            }
        }
    }
}
