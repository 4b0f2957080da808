//! The package of an encoder, a model that turns a text into one vector, or scores how well a text
//! answers a question: BERT and its family (`MiniLM`, BGE, E5), Nomic, `ModernBERT`.
//!
//! | blob | planes |
//! |---|---|
//! | tables | `exp2`, the function that gates in the place of the logistic one, `rsqrt`; where queries and keys turn, `cos` and `sin` of each rotation; where a score needs `tanh`, `softcap` |
//! | embedding | words as [`Linear`] `[vocab, d_model]`; where there are any, rows of positions and kinds of text as another; a norm; of `ModernBERT` the last norm |
//! | layer | q, k, v, o, up, down, where the MLP is gated gate, each a [`Linear`] and, of BERT, its bias; two norms, but of `ModernBERT`'s first layer one |
//! | head, of those that score | two [`Linear`]s `[d_model, d_model]` and `[1, d_model]`, each but `ModernBERT`'s first with its bias; of `ModernBERT` a norm |
//!
//! A norm is a gain and, but for `ModernBERT`, a bias. Weights of layers have twelve bits, which cost
//! no more to multiply than eight, and those of the embedding eight. The embedding of the one kind of
//! text that vectors are asked for (token type 0) is part of BERT's positions, and Nomic's only row;
//! an encoder that scores pairs of two kinds has all positions once more with the other one.
//!
//! [`Linear`]: crate::package::Linear

mod blobs;
mod family;
mod manifest;
mod pair;
mod synthetic;

pub use blobs::{
    Biased, EncoderEmbedding, EncoderLayer, LAYER_BITS, Norm, ScoreHead, layer_shapes, no_bias,
};
pub use family::Family;
pub use manifest::{EncoderManifest, Pooling, Scoring};
pub use pair::Pair;
pub use synthetic::SyntheticEncoder;
