//! The package of an encoder, a model that turns a text into one vector: BERT and its family
//! (`MiniLM`, BGE, E5).
//!
//! | blob | planes |
//! |---|---|
//! | tables | `exp2`, the normal distribution function in the place of the logistic one, `rsqrt` |
//! | embedding | words and positions as [`Linear`] `[vocab, d_model]`, `[max_positions, d_model]`; a norm |
//! | layer | q, k, v, o, up, down, each a [`Linear`] and its bias; two norms |
//!
//! A norm is a gain and a bias. Weights of layers have twelve bits, which cost no more to multiply
//! than eight, and those of the embedding eight. The embedding of the one kind of text that is ever
//! asked for (token type 0) is part of the positions.
//!
//! [`Linear`]: crate::package::Linear

mod blobs;
mod manifest;
mod synthetic;

pub use blobs::{Biased, EncoderEmbedding, EncoderLayer, LAYER_BITS, Norm, layer_shapes};
pub use manifest::{EncoderManifest, Pooling};
pub use synthetic::SyntheticEncoder;
