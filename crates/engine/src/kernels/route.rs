//! Which experts a token goes through, and what each counts (`docs/numerics.md`, "Experts"): two rows
//! `[experts]`, the router's products, to as many routes as experts are used.

use potluck_model::package::{Experts, Tables};

use super::block::{exp2_neg, rescale};

/// Fraction bits of scores: as those of attention, base-2 logarithms.
const SCORE_BITS: i32 = 16;
/// Fraction bits of a route's weight.
pub const WEIGHT_BITS: u32 = 16;

/// An expert of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which.
    pub expert: usize,
    /// What its output is multiplied by, in Q16: 0 to 2^16.
    pub weight: u32,
}

/// Chooses the experts of the highest scores, of equal ones that of the lower number, and weighs them.
/// A score is the sum of the products of the router's two matrices, each with an exponent.
#[must_use]
pub fn reference(experts: Experts, tables: &Tables, products: [(&[i32], i32); 2]) -> Vec<Route> {
    let [(first, first_exponent), (second, second_exponent)] = products;
    let scores: Vec<i32> = first
        .iter()
        .zip(second)
        .map(|(first, second)| {
            let first = rescale(*first, first_exponent + SCORE_BITS);
            first.wrapping_add(rescale(*second, second_exponent + SCORE_BITS))
        })
        .collect();
    let mut order: Vec<usize> = (0..scores.len()).collect();
    // Stable: of equal scores the lower number stays first.
    order.sort_by_key(|expert| core::cmp::Reverse(scores[*expert]));
    let largest = order.first().map_or(0, |expert| scores[*expert]);
    let part =
        |expert: &usize| exp2_neg(tables, largest.wrapping_sub(scores[*expert]).cast_unsigned());
    let weighed = if experts.renormalised { experts.used as usize } else { order.len() };
    let total: u32 = order.iter().take(weighed).map(part).sum();
    let route = |expert: &usize| Route {
        expert: *expert,
        weight: (part(expert) << WEIGHT_BITS) / total.max(1),
    };
    order.iter().take(experts.used as usize).map(route).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{numbers, tables};
    use potluck_model::package::EXP2;
    use potluck_model::synthetic::{Random, config};

    #[test]
    fn the_highest_scores_are_chosen_and_weighed_as_a_softmax_does() {
        let tables = tables(&config(1, 32, 32, (1, 1, 32), 32, 1));
        assert_eq!(tables.exp2, EXP2);
        let mut random = Random::new(3);
        for renormalised in [false, true] {
            let experts = Experts { count: 64, used: 8, d_ff: 32, renormalised };
            let (first, second) = (numbers(&mut random, 64, 20), numbers(&mut random, 64, 20));
            let routes = reference(experts, &tables, [(&first, -18), (&second, -25)]);
            let scores: Vec<f64> = first
                .iter()
                .zip(&second)
                .map(|(a, b)| f64::from(*a) * 2_f64.powi(-18) + f64::from(*b) * 2_f64.powi(-25))
                .collect();
            let mut sorted = scores.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let weighed = if renormalised { 8 } else { 64 };
            let total: f64 = sorted[..weighed].iter().map(|score| score.exp2()).sum();
            assert_eq!(routes.len(), 8);
            for (route, score) in routes.iter().zip(&sorted) {
                assert!((scores[route.expert] - score).abs() < 1e-4, "{route:?} for {score}");
                let weight = score.exp2() / total;
                let got = f64::from(route.weight) / 65_536.0;
                assert!((got - weight).abs() < weight * 2e-3 + 1e-4, "{got} for {weight}");
            }
        }
    }

    #[test]
    fn of_equal_scores_the_lower_number_is_chosen() {
        let tables = tables(&config(1, 32, 32, (1, 1, 32), 32, 1));
        let experts = Experts { count: 6, used: 3, d_ff: 32, renormalised: true };
        let first = [5, 9, 9, 7, 9, 9];
        let chosen = |second: [i32; 6]| {
            let routes = reference(experts, &tables, [(&first, 0), (&second, 0)]);
            routes.into_iter().map(|route| (route.expert, route.weight)).collect::<Vec<_>>()
        };
        assert_eq!(chosen([0; 6]), [(1, 21_845), (2, 21_845), (4, 21_845)]);
        // One that is far above the others counts alone.
        assert_eq!(chosen([0, 0, 0, 0, 0, 40]), [(5, 65_536), (1, 0), (2, 0)]);
        // Scores at both ends of what there is.
        let far =
            [(&[i32::MIN, i32::MAX, 0, 0, 0, 0][..], 20), (&[i32::MIN, i32::MAX, 0, 0, 0, 0], 20)];
        assert_eq!(reference(experts, &tables, far)[0], Route { expert: 1, weight: 65_536 });
    }
}
