//! What a model's files say, whatever kind of files they are: a Hugging Face folder or one GGUF
//! file.

mod element;
mod experts;
mod file;
pub(crate) mod folder;
mod gguf;
pub(crate) mod json;
mod llama_tokenizer;
mod neutral;
mod safetensors;
mod shape;
mod tensors;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use potluck_model::chat::ChatFormat;
use potluck_model::package::MAX_LAYERS;
use potluck_model::tokenizer::Tokenizer;
use potluck_protocol::sampling::{
    MAX_REPETITION_PENALTY_MILLI, MAX_TEMPERATURE_MILLI, MIN_REPETITION_PENALTY_MILLI,
    MIN_TEMPERATURE_MILLI, NO_REPETITION_PENALTY_MILLI,
};

use crate::error::ImportError;

pub use gguf::gguf_parts;
pub(crate) use gguf::{encoder_from_gguf, encoder_in_gguf};
pub(crate) use safetensors::open as open_safetensors;
pub(crate) use shape::shared_experts;
pub use shape::{Activation, Biases, NormNames, QUICK_GELU_SLOPE, QkNorm, Rotation, Scales, Shape};
pub(crate) use tensors::Tensors;

/// An opened model: everything small is read, its tensors wait in their files.
#[derive(Debug)]
pub struct Source {
    /// Of the folder or file.
    pub(crate) name: String,
    pub(crate) license: String,
    /// The decoder's.
    pub shape: Shape,
    /// A `tokenizer.json`.
    pub(crate) tokenizer: Vec<u8>,
    pub(crate) chat: Chat,
    pub(crate) end_tokens: Vec<u32>,
    pub(crate) generation: Generation,
    tensors: Tensors,
}

/// Tensors that the shape was made of.
const READ_WITH_SHAPE: [&str; 3] =
    ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"];

/// How the model is talked to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chat {
    /// In Jinja.
    pub(crate) template: Option<String>,
    pub(crate) specials: Specials,
}

/// Tokens that templates name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Specials {
    pub(crate) bos: String,
    pub(crate) eos: String,
}

/// How its makers sample tokens from it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Generation {
    pub(crate) do_sample: bool,
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) top_k: Option<u32>,
    pub(crate) repetition_penalty: Option<f64>,
    pub(crate) max_new_tokens: Option<u32>,
}

impl Generation {
    /// Thousandths; 0 is greedy. What makers write beyond what a step may carry becomes the nearest
    /// value that it may.
    pub(crate) fn temperature_milli(&self) -> u32 {
        if self.do_sample {
            thousandths(self.temperature.unwrap_or(1.0))
                .clamp(MIN_TEMPERATURE_MILLI, MAX_TEMPERATURE_MILLI)
        } else {
            0
        }
    }

    /// Thousandths; the nearest value that a step may carry.
    pub(crate) fn repetition_penalty_milli(&self) -> u32 {
        let penalty = self.repetition_penalty.filter(|penalty| *penalty > 0.0);
        penalty.map_or(NO_REPETITION_PENALTY_MILLI, |penalty| {
            thousandths(penalty).clamp(MIN_REPETITION_PENALTY_MILLI, MAX_REPETITION_PENALTY_MILLI)
        })
    }

    /// Thousandths.
    pub(crate) fn top_p_milli(&self) -> u32 {
        thousandths(self.top_p.unwrap_or(1.0)).clamp(1, 1000)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped by the callers"
)]
fn thousandths(value: f64) -> u32 {
    libm::round(value * 1000.0) as u32
}

impl Source {
    /// Opens a folder, or a file that ends in `.gguf`.
    ///
    /// # Errors
    /// If a file is missing, unreadable or unsupported.
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        let source = if path.is_dir() { folder::open(path)? } else { gguf::open(path)? };
        if !(source.shape.eps.is_finite() && (0.0..=1.0).contains(&source.shape.eps)) {
            let what = format!("rms_norm_eps or norm_epsilon {}", source.shape.eps);
            return Err(ImportError::Unsupported { what, supported: "0 to 1".to_owned() });
        }
        let Scales { score, embedding, residual, logit } = source.shape.scales;
        let caps = [source.shape.attention_cap, source.shape.logit_cap];
        let factors =
            [score, embedding, residual, logit].into_iter().chain(caps.into_iter().flatten());
        // A factor may become part of a gain, and is divided by where the head is tied.
        for factor in factors {
            if !(1e-6..=1e6).contains(&factor) {
                let what = format!("a scale or cap of {factor}");
                let supported = "a millionth to a million".to_owned();
                return Err(ImportError::Unsupported { what, supported });
            }
        }
        Ok(source)
    }

    /// Rows of a tensor as `f32`, row-major; `shape` is what it must have.
    ///
    /// # Errors
    /// If it is missing, of another shape, or holds what is no number.
    pub fn rows(
        &self,
        name: &str,
        shape: &[usize],
        rows: Range<usize>,
    ) -> Result<Vec<f32>, ImportError> {
        self.tensors.rows(name, shape, rows)
    }

    /// Whether a tensor is there, in this shape.
    pub(crate) fn expect(&self, name: &str, shape: &[usize]) -> Result<(), ImportError> {
        self.tensors.rows(name, shape, 0..0).map(|_| ())
    }

    /// A tensor that is none of `used` and would change what the model says, if there is one.
    pub(crate) fn other_than<'a>(&self, used: impl Iterator<Item = &'a str>) -> Option<&str> {
        let mut used: BTreeSet<&str> = used.chain(READ_WITH_SHAPE).collect();
        // What says again what the embedding says.
        if self.shape.tied {
            used.insert("lm_head.weight");
        }
        let tables: Vec<String> = (0..self.shape.layers)
            .map(|layer| format!("model.layers.{layer}.self_attn.rotary_emb.inv_freq"))
            .collect();
        used.extend(tables.iter().map(String::as_str));
        self.tensors.other_than(&used)
    }

    /// Bytes of tensors read so far, and of all.
    pub(crate) fn progress(&self) -> (u64, u64) {
        self.tensors.progress()
    }
}

/// Gives the parts of what some models keep in one tensor the names that they have elsewhere.
fn unfuse(tensors: &mut Tensors, shape: &Shape) -> Result<(), ImportError> {
    if shape.experts.is_some() {
        return experts::unstack(tensors, shape);
    }
    if shape.ungated {
        return tensors.rename(|name| {
            let (layer, part) = name.split_once(".mlp.c_")?;
            let (part, kind) = part.split_once('.')?;
            let part = if part == "fc" { "up_proj" } else { "down_proj" };
            Some(format!("{layer}.mlp.{part}.{kind}"))
        });
    }
    if shape.architecture != "phi3" {
        return Ok(());
    }
    let width = |heads: u32| heads as usize * shape.head_dim as usize;
    let (q, kv, ff) = (width(shape.heads), width(shape.kv_heads), shape.d_ff as usize);
    for layer in 0..shape.layers.min(MAX_LAYERS) {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        let parts = [("q", q), ("k", kv), ("v", kv)]
            .map(|(part, rows)| (name(&format!("self_attn.{part}_proj")), rows));
        tensors.split(&name("self_attn.qkv_proj"), &parts)?;
        let parts = ["gate", "up"].map(|part| (name(&format!("mlp.{part}_proj")), ff));
        tensors.split(&name("mlp.gate_up_proj"), &parts)?;
    }
    Ok(())
}

/// Judges a folder by its small files, before its weights are fetched: whether they describe a model that
/// can be imported.
///
/// # Errors
/// What cannot be imported, by name.
pub fn judge(folder: &Path) -> Result<(), ImportError> {
    if crate::encoder::is_encoder(folder) {
        return crate::encoder::judge(folder);
    }
    folder::shape(folder)?;
    let (tokenizer, chat) = folder::tokenizer(folder)?;
    Tokenizer::from_bytes(&tokenizer)?;
    crate::chat::format(&chat).map(drop)
}

/// A folder's `tokenizer.json` as it will be in the package, and how the model is talked to; for tests
/// with real tokenizers, whose models are not at hand.
///
/// # Errors
/// If a file is missing or unreadable.
#[doc(hidden)]
pub fn read_tokenizer(folder: &Path) -> Result<(Vec<u8>, ChatFormat), ImportError> {
    let (tokenizer, chat) = folder::tokenizer(folder)?;
    Ok((tokenizer, crate::chat::format(&chat)?))
}

/// Reads every tensor of the bytes of a GGUF file, for fuzzing: whatever the bytes are, this ends
/// without a panic.
///
/// # Errors
/// If they are not one.
#[doc(hidden)]
pub fn read_gguf(bytes: Vec<u8>) -> Result<(), ImportError> {
    let source =
        gguf::read(vec![file::WeightsFile::from_bytes("fuzzed.gguf", bytes)], "fuzzed".to_owned())?;
    source.tensors.read_all()
}

/// Reads every tensor of the bytes of a safetensors file, for fuzzing.
///
/// # Errors
/// If they are not one.
#[doc(hidden)]
pub fn read_safetensors(bytes: Vec<u8>) -> Result<(), ImportError> {
    safetensors::read(vec![file::WeightsFile::from_bytes("fuzzed.safetensors", bytes)])?.read_all()
}
