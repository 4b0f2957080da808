//! Which experts a token goes through, and what each counts (`docs/numerics.md`, "Experts"): two rows
//! `[scores]`, the router's products, to as many routes as experts are used.
//!
//! Experts that are shared come last, all with the weight that a logistic function makes of their score: a
//! softmax of it and 0.

use potluck_model::package::{Bias, Experts, Tables};

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
/// A score is the sum of the products of the router's two matrices, each with an exponent, and of its
/// bias.
#[must_use]
pub fn reference(
    experts: Experts,
    tables: &Tables,
    products: [(&[i32], i32); 2],
    bias: Option<&Bias>,
) -> Vec<Route> {
    let [(first, first_exponent), (second, second_exponent)] = products;
    let mut scores: Vec<i32> = first
        .iter()
        .zip(second)
        .map(|(first, second)| {
            let first = rescale(*first, first_exponent + SCORE_BITS);
            first.wrapping_add(rescale(*second, second_exponent + SCORE_BITS))
        })
        .collect();
    for (score, bias) in scores.iter_mut().zip(bias.iter().flat_map(|bias| &bias.mantissas)) {
        *score = score.wrapping_add(*bias);
    }
    let own = scores.split_off(scores.len().min(experts.count as usize));
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
    let chosen = order.iter().take(experts.used as usize).map(route);
    let weight = own.first().map_or(0, |score| shared_weight(tables, *score));
    let shared = experts.count..experts.all();
    chosen.chain(shared.map(|expert| Route { expert: expert as usize, weight })).collect()
}

/// The logistic function of a score, in Q16.
fn shared_weight(tables: &Tables, score: i32) -> u32 {
    let part = |below: i32| exp2_neg(tables, below.cast_unsigned());
    let (own, other) = (part(score.max(0).wrapping_sub(score)), part(score.max(0)));
    (own << WEIGHT_BITS) / (own + other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{numbers, tables};
    use potluck_model::package::EXP2;
    use potluck_model::synthetic::{Random, config};

    fn experts(count: u32, used: u32) -> Experts {
        Experts { count, used, d_ff: 32, renormalised: true, router_bias: false, shared: 0 }
    }

    #[test]
    fn shared_experts_have_the_logistic_function_of_their_score() {
        let tables = tables(&config(1, 32, 32, (1, 1, 32), 32, 1));
        let shared = Experts { shared: 2, ..experts(3, 1) };
        for score in [i32::MIN, -20 << 16, -70_000, -1, 0, 1, 70_000, 20 << 16, i32::MAX] {
            let routes = reference(shared, &tables, [(&[1, 3, 2, score], -16), (&[0; 4], 0)], None);
            assert_eq!(routes[0], Route { expert: 1, weight: 65_536 });
            let own = 1.0 / (1.0 + (-f64::from(score) / 65_536.0).exp2());
            for (route, expert) in routes[1..].iter().zip([3, 4]) {
                let got = f64::from(route.weight) / 65_536.0;
                assert!(route.expert == expert && (got - own).abs() < 1e-4, "{route:?} for {own}");
            }
            assert_eq!(routes.len(), 3);
        }
    }

    #[test]
    fn a_bias_is_part_of_the_score() {
        let tables = tables(&config(1, 32, 32, (1, 1, 32), 32, 1));
        let bias = Bias { mantissas: vec![0, 0, 3 << 16, 1 << 16], exponent: -16 };
        let routes =
            reference(experts(4, 2), &tables, [(&[2, 1, 0, 0], 0), (&[0; 4], 0)], Some(&bias));
        // Scores of 2, 1, 3 and 1: of the third and the first the weights are two thirds and one.
        let got: Vec<_> = routes.iter().map(|route| (route.expert, route.weight)).collect();
        assert_eq!(got, [(2, 43_690), (0, 21_845)]);
    }

    #[test]
    fn the_highest_scores_are_chosen_and_weighed_as_a_softmax_does() {
        let tables = tables(&config(1, 32, 32, (1, 1, 32), 32, 1));
        assert_eq!(tables.exp2, EXP2);
        let mut random = Random::new(3);
        for renormalised in [false, true] {
            let experts = Experts { renormalised, ..experts(64, 8) };
            let (first, second) = (numbers(&mut random, 64, 20), numbers(&mut random, 64, 20));
            let routes = reference(experts, &tables, [(&first, -18), (&second, -25)], None);
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
        let experts = experts(6, 3);
        let first = [5, 9, 9, 7, 9, 9];
        let chosen = |second: [i32; 6]| {
            let routes = reference(experts, &tables, [(&first, 0), (&second, 0)], None);
            routes.into_iter().map(|route| (route.expert, route.weight)).collect::<Vec<_>>()
        };
        assert_eq!(chosen([0; 6]), [(1, 21_845), (2, 21_845), (4, 21_845)]);
        // One that is far above the others counts alone.
        assert_eq!(chosen([0, 0, 0, 0, 0, 40]), [(5, 65_536), (1, 0), (2, 0)]);
        // Scores at both ends of what there is.
        let far =
            [(&[i32::MIN, i32::MAX, 0, 0, 0, 0][..], 20), (&[i32::MIN, i32::MAX, 0, 0, 0, 0], 20)];
        assert_eq!(reference(experts, &tables, far, None)[0], Route { expert: 1, weight: 65_536 });
    }
}
