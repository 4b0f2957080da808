//! An encoder's files, opened: its shape, how rows become a vector or a score, what stands around a text,
//! and its tensors, by BERT's names whatever the family calls them.

use std::collections::BTreeSet;
use std::path::Path;

use potluck_model::encoder::{Family, LAYER_BITS, Pooling, layer_shapes};
use potluck_model::package::{
    LayerKind, MAX_LAYERS, MAX_POSITIONS, ModelConfig, NormKind, NormPlaces,
};

use super::{Around, folder};
use crate::error::ImportError;
use crate::quantise;
use crate::source::{Activation, Tensors, encoder_from_gguf};

/// Largest value of the residual: rows are normalised, or real models are known for single channels of
/// some dozens.
const LARGEST_RESIDUAL: f64 = 2048.0;
/// Beginnings of tensors that have no part in a vector or a score: heads that guess words, and what BERT
/// pools with where nobody scores.
const NEUTRAL: [&str; 7] =
    ["pooler.", "cls.", "lm_head.", "head.", "decoder.", "classifier.", "embeddings.position_ids"];
/// The end of the names of tables that follow from the configuration.
const FOLLOWS: &str = ".inv_freq";

/// What small files say of an encoder.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    pub(crate) family: Family,
    pub(crate) layers: u32,
    pub(crate) d_model: u32,
    pub(crate) d_ff: u32,
    pub(crate) heads: u32,
    pub(crate) vocab: u32,
    pub(crate) max_positions: u32,
    /// Rows of the table of positions before the one of the first token.
    pub(crate) first_position: u32,
    /// Kinds of text (token types) that the embedding knows.
    pub(crate) known_kinds: u32,
    pub(crate) eps: f64,
    pub(crate) activation: Activation,
    /// Of every layer, where they turn.
    pub(crate) kinds: Vec<LayerKind>,
    /// Radians a position of every pair, of each rotation.
    pub(crate) rotations: Vec<Vec<f64>>,
    pub(crate) pooling: Pooling,
    pub(crate) normalised: bool,
    /// Whether it scores pairs.
    pub(crate) scores: bool,
}

/// Small files read, and tensors found.
pub(crate) struct Opened {
    pub(crate) name: String,
    pub(crate) license: String,
    pub(crate) description: Description,
    pub(crate) tokenizer: Vec<u8>,
    pub(crate) around: Around,
    pub(crate) tensors: Tensors,
}

/// An opened folder or file.
#[derive(Debug)]
pub struct EncoderSource {
    pub(super) name: String,
    pub(super) license: String,
    /// Whose layers it has.
    pub family: Family,
    /// Shapes and scales.
    pub config: ModelConfig,
    /// Added to the variance of every norm.
    pub eps: f64,
    /// What the MLP, or its gate, goes through.
    pub activation: Activation,
    /// Radians a position of every pair, of each rotation.
    pub rotations: Vec<Vec<f64>>,
    /// What becomes of the rows.
    pub pooling: Pooling,
    /// Whether vectors have length one.
    pub normalised: bool,
    /// Kinds of text (token types) that it tells apart where it scores pairs; else 1.
    pub kinds: u32,
    scores: bool,
    first_position: u32,
    pub(super) around: Around,
    pub(super) tokenizer: Vec<u8>,
    pub(super) tensors: Tensors,
}

/// The tensors of a layer: matrices in the order of
/// [`EncoderLayer::matrices`](potluck_model::encoder::EncoderLayer::matrices).
pub const MATRICES: [&str; 6] = [
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
];
/// Of them, the one whose shape a gate has.
pub const UP: usize = 4;

impl EncoderSource {
    /// Opens a folder, or a file that ends in `.gguf`.
    ///
    /// # Errors
    /// If it is not that of an encoder that can be imported.
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        let opened = if path.is_dir() { folder::open(path)? } else { encoder_from_gguf(path)? };
        Self::new(opened)
    }

    fn new(opened: Opened) -> Result<Self, ImportError> {
        let Opened { name, license, description, tokenizer, around, tensors } = opened;
        let unsupported = |what: &str, supported: &str| {
            let (what, supported) = (what.to_owned(), supported.to_owned());
            Err(ImportError::Unsupported { what, supported })
        };
        if description.heads == 0 || !(0.0..=1.0).contains(&description.eps) {
            return unsupported("no heads, or such a layer_norm_eps", "at least one head; 0 to 1");
        }
        if description.known_kinds == 0 && description.family != Family::Modern {
            return unsupported("a BERT without token types", "at least one type");
        }
        let two_kinds = description.scores && around.two_kinds && description.known_kinds > 1;
        let source = Self {
            name,
            license,
            family: description.family,
            config: config(&description),
            eps: description.eps,
            activation: description.activation,
            pooling: description.pooling,
            normalised: description.normalised,
            kinds: if two_kinds && description.family == Family::Bert { 2 } else { 1 },
            scores: description.scores,
            first_position: description.first_position,
            rotations: description.rotations.clone(),
            around,
            tokenizer,
            tensors: unfused(tensors, &description)?,
        };
        source.check_tensors()?;
        Ok(source)
    }

    /// Whether it scores pairs, in place of making vectors.
    #[must_use]
    pub fn scores(&self) -> bool {
        self.scores
    }

    /// Whether a layer normalises attention: all but the first one do, where norms are before.
    #[must_use]
    pub fn has_attention_norm(&self, index: u32) -> bool {
        !self.family.norms_before() || index > 0
    }

    /// A tensor as numbers, or its first rows: models are not obliged to use all that their files hold.
    ///
    /// # Errors
    /// If it is missing, or has another shape.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ImportError> {
        self.tensors.first_rows(name, shape)
    }

    /// What is added to words: of BERT positions with the embedding of token type 0 added, and once more
    /// with that of type 1 where kinds of text are told apart; of Nomic token type 0 alone; of others none.
    ///
    /// # Errors
    /// If a tensor is missing, or has another shape.
    pub fn positions(&self) -> Result<Option<Vec<f32>>, ImportError> {
        let width = self.config.d_model as usize;
        let types = || {
            self.tensor("embeddings.token_type_embeddings.weight", &[self.kinds as usize, width])
        };
        match self.family {
            Family::Modern => return Ok(None),
            Family::Nomic => return types().map(Some),
            Family::Bert => (),
        }
        let (first, count) = (self.first_position as usize, self.config.max_positions as usize);
        let name = "embeddings.position_embeddings.weight";
        let rows = self.tensor(name, &[first + count, width])?;
        let rows = &rows[first * width..];
        let mut all = Vec::with_capacity(rows.len() * self.kinds as usize);
        for kind in types()?.chunks_exact(width) {
            for row in rows.chunks_exact(width) {
                all.extend(row.iter().zip(kind).map(|(position, kind)| position + kind));
            }
        }
        Ok(Some(all))
    }

    /// Whether every tensor is computed with, or has no part in what comes out.
    fn check_tensors(&self) -> Result<(), ImportError> {
        let used = self.used();
        let is_known = |name: &str| {
            used.contains(name)
                || name.ends_with(FOLLOWS)
                || NEUTRAL.iter().any(|beginning| name.starts_with(beginning))
        };
        let Some(name) = self.tensors.names().find(|name| !is_known(name)) else { return Ok(()) };
        let (name, problem) = (name.to_owned(), "is not known to this encoder".to_owned());
        Err(ImportError::Tensor { name, problem })
    }

    /// Names of the tensors that are computed with.
    fn used(&self) -> BTreeSet<String> {
        let mut parts = vec!["embeddings.word_embeddings".to_owned()];
        parts.push("embeddings.LayerNorm".to_owned());
        if self.family == Family::Bert {
            parts.push("embeddings.position_embeddings".to_owned());
        }
        if self.family != Family::Modern {
            parts.push("embeddings.token_type_embeddings".to_owned());
        }
        for index in 0..self.config.layers.min(MAX_LAYERS) {
            let mut of_layer = |part: &str| parts.push(format!("encoder.layer.{index}.{part}"));
            MATRICES.iter().for_each(|part| of_layer(part));
            of_layer("output.LayerNorm");
            if self.has_attention_norm(index) {
                of_layer("attention.output.LayerNorm");
            }
            if self.family.gated() {
                of_layer("intermediate.gate");
            }
        }
        if self.family.norms_before() {
            parts.push("final_norm".to_owned());
        }
        if self.scores {
            parts.extend(["score.dense", "score.norm", "score.out"].map(str::to_owned));
        }
        let biased = |part: &str| {
            let is_norm = part.ends_with("Norm") || part.ends_with("norm");
            let is_table = part.ends_with("embeddings");
            match is_norm {
                true => self.family.norm_biases(),
                false => part == "score.out" || (self.family.biases() && !is_table),
            }
        };
        parts
            .iter()
            .flat_map(|part| {
                let bias = biased(part).then(|| format!("{part}.bias"));
                [Some(format!("{part}.weight")), bias].into_iter().flatten()
            })
            .collect()
    }
}

/// Shapes and scales as the arithmetic has them.
fn config(description: &Description) -> ModelConfig {
    let head_dim = description.d_model / description.heads;
    let eps = quantise::eps(description.eps, description.d_model);
    ModelConfig {
        layers: description.layers,
        d_model: description.d_model,
        d_ff: description.d_ff,
        heads: description.heads,
        kv_heads: description.heads,
        head_dim,
        vocab: description.vocab,
        max_positions: description.max_positions.min(MAX_POSITIONS),
        residual_fraction_bits: quantise::fraction_bits_below(LARGEST_RESIDUAL),
        qk_scale: quantise::qk_scale(head_dim),
        eps_mantissa: eps.mantissa,
        eps_exponent: eps.exponent,
        weight_bits: LAYER_BITS,
        qkv_bias: description.family.biases(),
        qk_norm: None,
        layer_kinds: description.kinds.clone(),
        rotations: u32::try_from(description.rotations.len()).unwrap_or(u32::MAX).max(1),
        qk_row_norm: None,
        norms: NormPlaces::Before,
        output_bias: false,
        mlp_bias: false,
        mlp_limit: None,
        attention_cap: None,
        logit_cap: None,
        sinks: false,
        experts: None,
        norm: NormKind::Rms,
        ungated: false,
    }
}

/// Gives the parts of what some families keep in one tensor the names that they have elsewhere.
fn unfused(mut tensors: Tensors, description: &Description) -> Result<Tensors, ImportError> {
    let shapes = layer_shapes(&config(description));
    for index in 0..description.layers.min(MAX_LAYERS) {
        for kind in ["weight", "bias"] {
            let name = |part: &str| format!("encoder.layer.{index}.{part}.{kind}");
            let parts = [0, 1, 2].map(|at| (name(MATRICES[at]), shapes[at].0));
            tensors.split(&name("qkv"), &parts)?;
            let parts = ["intermediate.gate", MATRICES[UP]].map(|part| (name(part), shapes[UP].0));
            tensors.split(&name("gate_up"), &parts)?;
        }
    }
    Ok(tensors)
}
