//! Keys and values of one session in one layer.
//!
//! Grows in steps as positions come, so a short answer in a long context does not pay for the whole context.

use crate::kernels::rope::Heads;

/// The cache of one layer; see [`crate::kernels::attention`] for the shapes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerCache {
    /// `[positions, kv_heads, head_dim]`.
    pub keys: Vec<i16>,
    /// `[positions, kv_heads]`.
    pub key_exponents: Vec<i32>,
    /// `[positions, kv_heads, head_dim]`.
    pub values: Vec<i16>,
    /// `[positions, kv_heads]`.
    pub value_exponents: Vec<i32>,
}

impl LayerCache {
    /// Appends one position.
    pub fn push(&mut self, keys: &Heads, values: &Heads) {
        self.keys.extend(keys.mantissas.iter().map(|value| narrow(*value)));
        self.key_exponents.extend(&keys.exponents);
        self.values.extend(values.mantissas.iter().map(|value| narrow(*value)));
        self.value_exponents.extend(&values.exponents);
    }

    /// Keeps the first `positions` only.
    pub fn truncate(&mut self, positions: usize, kv_heads: usize, head_dim: usize) {
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
