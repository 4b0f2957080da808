//! What a gated delta rule (Qwen3-Next, Qwen 3.5 and 3.6) would lose in exact integers, over 4,000
//! positions: measured before it is built (`docs/numerics.md`, "Gated `DeltaNet`").
//!
//! ```text
//! S = g S,  S += beta k (v - S^T k)^T,  o = S^T q        S [keys, values], one a head
//! ```
//! The state is kept in `i32` with [`STATE_BITS`] fraction bits, keys and queries as mantissas of 14 bits,
//! decay in Q16, strength in Q15, as blocks and weights are elsewhere; sums over keys would take two words
//! on a GPU, as those of Linear do. Both sides are given the same rounded inputs: only the recurrence is
//! compared.
#![cfg(not(target_arch = "wasm32"))]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "small numbers of a measurement"
)]

use potluck_model::synthetic::Random;

const POSITIONS: usize = 4000;
const KEYS: usize = 64;
const VALUES: usize = 64;
/// Fraction bits of the state.
const STATE_BITS: u32 = 16;
/// Of keys and queries.
const KEY_BITS: u32 = 14;
/// Of how strongly a position is written.
const STRENGTH_BITS: u32 = 15;
/// Of what is kept from one position to the next.
const DECAY_BITS: u32 = 16;

/// `x / 2^by`, rounded half up.
fn shifted(x: i64, by: u32) -> i64 {
    (x + (1 << (by - 1))) >> by
}

/// A unit vector in fixed point.
fn unit(random: &mut Random) -> Vec<i64> {
    let raw: Vec<f64> = (0..KEYS).map(|_| normal(random)).collect();
    let length = raw.iter().map(|x| x * x).sum::<f64>().sqrt();
    raw.iter().map(|x| (x / length * f64::from(1 << KEY_BITS)).round() as i64).collect()
}

/// Nearly normal.
fn normal(random: &mut Random) -> f64 {
    f64::from((0..4).map(|_| random.within(-1000, 1000)).sum::<i32>()) / 1155.0
}

/// The error of every position, as a part of the output's length, and the bits of the largest value of
/// the state. `decay` is drawn between the two.
fn measure(seed: u64, (slowest, fastest): (f64, f64)) -> (Vec<f64>, u32) {
    let mut random = Random::new(seed);
    let mut float = vec![[0.0; VALUES]; KEYS];
    let mut exact = vec![[0_i64; VALUES]; KEYS];
    let (mut errors, mut largest) = (Vec::new(), 0);
    let one = |bits: u32| f64::from(1 << bits);
    for _ in 0..POSITIONS {
        let (k, q) = (unit(&mut random), unit(&mut random));
        let v: Vec<i64> =
            (0..VALUES).map(|_| (normal(&mut random) * one(STATE_BITS)).round() as i64).collect();
        let part = f64::from(random.within(0, 1000)) / 1000.0;
        let decay = ((slowest + (fastest - slowest) * part) * one(DECAY_BITS)).round() as i64;
        let strength = i64::from(random.within(1 << (STRENGTH_BITS - 3), 1 << STRENGTH_BITS));

        let (key, query) =
            (|i: usize| k[i] as f64 / one(KEY_BITS), |i: usize| q[i] as f64 / one(KEY_BITS));
        let mut difference = 0.0;
        let mut length = 0.0;
        for j in 0..VALUES {
            for row in &mut float {
                row[j] *= decay as f64 / one(DECAY_BITS);
            }
            let held: f64 = float.iter().enumerate().map(|(i, row)| row[j] * key(i)).sum();
            let change =
                strength as f64 / one(STRENGTH_BITS) * (v[j] as f64 / one(STATE_BITS) - held);
            for (i, row) in float.iter_mut().enumerate() {
                row[j] += key(i) * change;
            }
            let output: f64 = float.iter().enumerate().map(|(i, row)| row[j] * query(i)).sum();

            for row in &mut exact {
                row[j] = shifted(row[j] * decay, DECAY_BITS);
            }
            let held = shifted(exact.iter().zip(&k).map(|(row, k)| row[j] * k).sum(), KEY_BITS);
            let change = shifted((v[j] - held) * strength, STRENGTH_BITS);
            for (row, k) in exact.iter_mut().zip(&k) {
                row[j] += shifted(k * change, KEY_BITS);
                largest = largest.max(row[j].unsigned_abs());
            }
            let got = shifted(exact.iter().zip(&q).map(|(row, q)| row[j] * q).sum(), KEY_BITS);
            difference += (got as f64 / one(STATE_BITS) - output).powi(2);
            length += output.powi(2);
        }
        errors.push((difference / length).sqrt());
    }
    (errors, u64::BITS - largest.leading_zeros())
}

#[test]
fn the_delta_rule_in_integers_does_not_drift() {
    for (name, seed, decay) in
        [("forgets", 1, (0.9, 0.999)), ("keeps", 2, (0.9999, 1.0)), ("keeps all", 3, (1.0, 1.0))]
    {
        let (errors, bits) = measure(seed, decay);
        let mean = |errors: &[f64]| errors.iter().sum::<f64>() / errors.len() as f64;
        let (first, last) = (mean(&errors[100..600]), mean(&errors[POSITIONS - 500..]));
        let worst = errors.iter().copied().fold(0.0, f64::max);
        println!(
            "{name}: {first:.1e} at first, {last:.1e} at last, {worst:.1e} at worst, {bits} bits"
        );
        // What it forgets, it forgets with its rounding: an error does not add up.
        assert!(last < 1.5 * first, "{name}: {first} to {last}");
        assert!(worst < 1e-3, "{name}: {worst}");
        assert!(bits <= 20, "{name}: {bits} bits of 31");
    }
}
