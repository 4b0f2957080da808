//! The package: a manifest and the blobs it names, each addressed by BLAKE3.
//!
//! A model is imported into this form once; from then on every node holds exactly the same bytes. A
//! blob has no header: its planes, in fixed order, each padded to 16 bytes, all little endian, have
//! sizes that follow from the manifest's [`ModelConfig`], so a blob of any other length is refused
//! before it is looked at.
//!
//! | blob | planes |
//! |---|---|
//! | tables | `exp2 u16 [257]`, `sigmoid u16 [2049]`, `rsqrt u16 [768]`, for each rotation `cos i16`, `sin i16` `[max_positions, head_dim / 2]`, the last norm's gain; with a cap `softcap u16 [1025]` |
//! | embedding | one [`Linear`] `[vocab, d_model]` |
//! | layer | two gains (or four, where there are norms after too); q, k, v, o, gate, up, down as [`Linear`]; with `qkv_bias` three biases; with `qk_norm` two gains of a head's width; with `qk_row_norm` two of all heads' width; with `output_bias` one bias; with `mlp_bias` three; of a layer with experts, in place of gate, up, down and their biases, the two [`Linear`]s `[experts, d_model]` of eight bits whose sum is the router, and with `router_bias` one bias of a value an expert (with `shared` experts the router has one row more); with `sinks` one of a value a head |
//! | expert | gate, up, down as [`Linear`]; with `mlp_bias` three biases |
//! | head | one [`Linear`] `[vocab, d_model]`; the embedding's very blob where they are tied |
//!
//! An encoder's package is of the same kind, with a manifest of its own
//! ([`crate::encoder::EncoderManifest`]).
//!
//! A `Linear` is `weights i8 [out, in]` (a layer's with `weight_bits` 4: `u8 [out, in / 32, 16]`,
//! byte `j` of a group holding `w + 8` of places `j`, low, and `j + 16`, high),
//! `group_scales u8 [out, in / 32]`, `row_multipliers u16 [out]`, `exponent i32`; a gain is
//! `mantissas i16 [width]`, `exponent i32`; a bias `mantissas i32 [out]`, `exponent i32`.

pub(crate) mod blob;
pub(crate) mod check;
pub(crate) mod config;
mod exp2;
mod layer;
pub(crate) mod manifest;
mod name;
pub(crate) mod planes;
pub(crate) mod tables;

pub use blob::{BlobError, verify_blob};
pub use check::{
    ARCHITECTURES, FORMAT, MAX_MANIFEST_BYTES, MAX_NAME_BYTES, ManifestError, is_name,
};
pub use config::{
    Eps, Experts, LIMIT_BITS, LayerKind, MAX_CAP_EXPONENT, MAX_D_FF, MAX_D_MODEL, MAX_EXPERTS,
    MAX_EXPERTS_USED, MAX_HEAD_DIM, MAX_HEADS, MAX_ROTATIONS, MAX_VOCAB, ModelConfig, NormKind,
    NormPlaces, SoftCap,
};
pub use exp2::EXP2;
pub use layer::{LayerWeights, Mlp, MlpWeights, Router, UngatedWeights};
pub use manifest::{Defaults, MAX_END_TOKENS, MAX_TOKENIZER_BYTES, Manifest};
pub use name::{BlobHash, BlobRef, BlobRole, ParseHashError};
pub use planes::{Bias, Gain, Linear, SCORE_EXPONENT};
pub use potluck_protocol::codec::{MAX_LAYERS, MAX_POSITIONS};
pub use tables::{EncoderTables, Rotation, Tables};

/// Weights a group, which share one integer scale.
pub const GROUP: usize = 32;
/// Entries of the `2^-x` table.
pub const EXP2_ENTRIES: usize = 257;
/// Entries of the logistic table.
pub const SIGMOID_ENTRIES: usize = 2049;
/// Entries of the reciprocal square root table.
pub const RSQRT_ENTRIES: usize = 768;
/// Entries of the table of soft caps.
pub const SOFTCAP_ENTRIES: usize = 1025;
