//! Keys and values of one session in one layer.
//!
//! Grows in steps as positions come, so a short answer in a long context does not pay for the whole
//! context; of a layer that sees a window only, what no row will see again is forgotten.

use crate::kernels::rope::Heads;

/// The cache of one layer; see [`crate::kernels::attention`] for the shapes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerCache {
    /// Position of the first entry; those before it are forgotten.
    pub first: usize,
    /// `[positions, kv_heads, head_dim]`.
    pub keys: Vec<i16>,
    /// `[positions, kv_heads]`.
    pub key_exponents: Vec<i32>,
    /// `[positions, kv_heads, head_dim]`.
    pub values: Vec<i16>,
    /// `[positions, kv_heads]`.
    pub value_exponents: Vec<i32>,
}

/// Entries that are forgotten together at least.
const WORTH_MOVING: usize = 64;

impl LayerCache {
    /// Appends one position.
    pub fn push(&mut self, keys: &Heads, values: &Heads) {
        self.keys.extend(keys.mantissas.iter().map(|value| narrow(*value)));
        self.key_exponents.extend(&keys.exponents);
        self.values.extend(values.mantissas.iter().map(|value| narrow(*value)));
        self.value_exponents.extend(&values.exponents);
    }

    /// Forgets what is before `position`, once that is as much again as what stays, or at least so many
    /// entries that moving the rest is worth it.
    pub fn forget_before(&mut self, position: usize, kv_heads: usize, head_dim: usize) {
        let gone = position.saturating_sub(self.first);
        let held = self.key_exponents.len() / kv_heads;
        if gone < WORTH_MOVING.max(held / 2) || gone > held {
            return;
        }
        self.first = position;
        self.keys.drain(..gone * kv_heads * head_dim);
        self.values.drain(..gone * kv_heads * head_dim);
        self.key_exponents.drain(..gone * kv_heads);
        self.value_exponents.drain(..gone * kv_heads);
    }

    /// Keeps what is before `position` only.
    pub fn truncate(&mut self, position: usize, kv_heads: usize, head_dim: usize) {
        let positions = position.saturating_sub(self.first);
        self.keys.truncate(positions * kv_heads * head_dim);
        self.values.truncate(positions * kv_heads * head_dim);
        self.key_exponents.truncate(positions * kv_heads);
        self.value_exponents.truncate(positions * kv_heads);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a block's mantissas have 15 bits")]
fn narrow(value: i32) -> i16 {
    value as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(first: i32) -> Heads {
        Heads { mantissas: (first..first + 6).collect(), exponents: vec![-first, first] }
    }

    #[test]
    fn what_is_forgotten_is_missed_by_nobody() {
        let mut cache = LayerCache::default();
        for at in 0..200 {
            cache.push(&heads(at), &heads(-at));
        }
        let whole = cache.clone();
        // Too little to be worth it.
        cache.forget_before(20, 2, 3);
        assert_eq!(cache, whole);
        cache.forget_before(150, 2, 3);
        assert_eq!((cache.first, cache.keys.len()), (150, 50 * 6));
        assert_eq!(cache.keys, whole.keys[150 * 6..]);
        assert_eq!(cache.value_exponents, whole.value_exponents[150 * 2..]);
        cache.truncate(160, 2, 3);
        assert_eq!(cache.keys, whole.keys[150 * 6..160 * 6]);
        cache.push(&heads(160), &heads(-160));
        assert_eq!(cache.values, whole.values[150 * 6..161 * 6]);
    }

    #[test]
    fn a_truncated_cache_is_as_if_it_had_never_been_longer() {
        let mut cache = LayerCache::default();
        cache.push(&heads(1), &heads(100));
        let short = cache.clone();
        cache.push(&heads(-16_383), &heads(16_370));
        assert_eq!(cache.keys[6..], [-16_383, -16_382, -16_381, -16_380, -16_379, -16_378]);
        assert_eq!(cache.value_exponents, [-100, 100, -16_370, 16_370]);
        cache.truncate(2, 2, 3);
        assert_ne!(cache, short);
        cache.truncate(1, 2, 3);
        assert_eq!(cache, short);
        cache.truncate(0, 2, 3);
        assert_eq!(cache, LayerCache::default());
    }
}
