//! What an import does to weights so that the arithmetic need not know of it: factors go into
//! embeddings, projections and gains, and the dimensions of heads that turn in part change places.

use potluck_model::package::NormPlaces;

use crate::error::ImportError;
use crate::quantise;
use crate::source::{QkNorm, Rotation, Scales, Shape};

/// Factors and places of one model.
#[derive(Debug)]
pub(crate) struct Fold {
    /// `round(log2(e) * scale * 2^15)`, where the scale is the score's over `2^query_exponent`.
    pub(crate) qk_scale: u32,
    /// Goes into the exponent of the query projection and its bias, or of the queries' norm.
    pub(crate) query_exponent: i32,
    /// Of the embedding.
    pub(crate) embedding: f64,
    /// Of the last norm's gain.
    pub(crate) last_gain: f64,
    /// Of the output and down projections, and their biases.
    pub(crate) output: f64,
    /// Of the gains of norms after.
    pub(crate) after: f64,
    /// Which dimension of a head comes first, second, and so on; none: as they are.
    pub(crate) order: Option<Vec<usize>>,
}

impl Fold {
    pub(crate) fn of(shape: &Shape) -> Result<Self, ImportError> {
        let Scales { score, embedding, residual, logit } = shape.scales;
        let (qk_scale, query_exponent) = if score == Scales::plain(shape.head_dim).score {
            (quantise::qk_scale(shape.head_dim), 0)
        } else {
            quantise::qk_scale_and_exponent(score)
        };
        // The head of a tied model is the embedding, its factor with it.
        let tied = if shape.tied { embedding } else { 1.0 };
        let (output, after) = match shape.norms {
            NormPlaces::Before => (residual, 1.0),
            NormPlaces::After | NormPlaces::Both => (1.0, residual),
        };
        let half = shape.head_dim as usize / 2;
        let turning = shape.rotations.first().map_or(half, |it| it.frequencies(0).len());
        let order = (turning < half).then(|| order(shape.head_dim as usize, turning));
        Ok(Self {
            qk_scale,
            query_exponent,
            embedding,
            last_gain: logit / tied,
            output,
            after,
            order,
        })
    }

    /// The exponents of the queries' projection and of their norm.
    pub(crate) fn query_exponents(&self, norm: QkNorm) -> (i32, i32) {
        match norm {
            QkNorm::None => (self.query_exponent, 0),
            QkNorm::Heads | QkNorm::Rows => (0, self.query_exponent),
        }
    }
}

/// The pairs of a head `(j, j + turning)` that turn become the first of the pairs `(j, j + half)`; the
/// other dimensions fill the places left in their order.
fn order(head_dim: usize, turning: usize) -> Vec<usize> {
    let half = head_dim / 2;
    let mut rest = 2 * turning..head_dim;
    (0..head_dim)
        .map(|at| match (at % half < turning, at < half) {
            (true, true) => at,
            (true, false) => at - half + turning,
            (false, _) => rest.next().unwrap_or_default(),
        })
        .collect()
}

/// Radians a position of every pair in a context of so many positions, those that do not turn as 0.
pub(crate) fn angles(rotation: &Rotation, head_dim: u32, context: u32) -> Vec<f64> {
    let mut frequencies = rotation.frequencies(context).to_vec();
    frequencies.resize(head_dim as usize / 2, 0.0);
    frequencies
}

/// Rows of whole heads, or the values of a vector, with the dimensions of each head in another order.
pub(crate) fn reordered(values: &[f32], columns: usize, order: &[usize]) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for head in values.chunks_exact(order.len() * columns) {
        for from in order {
            out.extend_from_slice(&head[from * columns..][..columns]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_that_turn_come_first_and_nothing_is_lost() {
        // Of eight dimensions the first four turn, as pairs (0, 2) and (1, 3).
        assert_eq!(order(8, 2), [0, 1, 4, 5, 2, 3, 6, 7]);
        assert_eq!(order(8, 1), [0, 2, 3, 4, 1, 5, 6, 7]);
        let rows: Vec<f32> = (0..16).map(|it| it as f32).collect();
        assert_eq!(
            reordered(&rows, 2, &[1, 0]),
            [2., 3., 0., 1., 6., 7., 4., 5., 10., 11., 8., 9., 14., 15., 12., 13.]
        );
    }
}
