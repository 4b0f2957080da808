//! A Hugging Face folder: `config.json`, its neighbours, and safetensors.

mod config;
mod layers;
mod rope;

use std::fs;
use std::path::Path;

use config::Config;
use serde::Deserialize;

use super::json::{json, optional_json, read};
use super::llama_tokenizer::{self, Llama};
use super::{Chat, Generation, Shape, Source, Specials, safetensors};
use crate::error::ImportError;

/// Lines of a model card in which its licence is looked for.
const CARD_LINES: usize = 60;

/// `generation_config.json`, as far as it matters.
#[derive(Debug, Default, Deserialize)]
struct GenerationConfig {
    eos_token_id: Option<Tokens>,
    #[serde(default)]
    do_sample: bool,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<u32>,
    repetition_penalty: Option<f64>,
    max_new_tokens: Option<u32>,
}

/// `tokenizer_config.json`, as far as it matters.
#[derive(Debug, Default, Deserialize)]
struct TokenizerConfig {
    chat_template: Option<Templates>,
    bos_token: Option<Special>,
    eos_token: Option<Special>,
    tokenizer_class: Option<String>,
    legacy: Option<bool>,
    add_prefix_space: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Several(Vec<NamedTemplate>),
}

#[derive(Debug, Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Special {
    Text(String),
    Described { content: String },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Tokens {
    One(u32),
    Several(Vec<u32>),
}

impl Tokens {
    fn list(self) -> Vec<u32> {
        match self {
            Self::One(token) => vec![token],
            Self::Several(tokens) => tokens,
        }
    }
}

/// Opens a folder.
pub(super) fn open(folder: &Path) -> Result<Source, ImportError> {
    let config: Config = json(&folder.join("config.json"))?;
    let mut shape = config.shape()?;
    let mut tensors = safetensors::open(folder)?;
    super::unfuse(&mut tensors, &shape)?;
    // A file without a head uses the embedding as one, unless it says otherwise; StarCoder2's does too
    // where it has one and does not say.
    let own = shape.architecture == "starcoder2" || !tensors.has("lm_head.weight");
    shape.tied = config.tie_word_embeddings.unwrap_or(own);
    let generation: GenerationConfig = optional_json(&folder.join("generation_config.json"))?;
    let (tokenizer, chat) = tokenizer(folder)?;
    Ok(Source {
        name: folder_name(folder)?,
        license: license(folder)?,
        shape,
        tokenizer,
        chat,
        end_tokens: [generation.eos_token_id, config.eos_token_id]
            .into_iter()
            .flatten()
            .flat_map(Tokens::list)
            .collect(),
        generation: Generation {
            do_sample: generation.do_sample,
            temperature: generation.temperature,
            top_p: generation.top_p,
            top_k: generation.top_k,
            repetition_penalty: generation.repetition_penalty,
            max_new_tokens: generation.max_new_tokens,
        },
        tensors,
    })
}

/// What a folder's configuration says of its model.
pub(super) fn shape(folder: &Path) -> Result<Shape, ImportError> {
    let config: Config = json(&folder.join("config.json"))?;
    config.shape()
}

/// A folder's tokenizer, and how its model is talked to.
pub(super) fn tokenizer(folder: &Path) -> Result<(Vec<u8>, Chat), ImportError> {
    let config: TokenizerConfig = optional_json(&folder.join("tokenizer_config.json"))?;
    let mut tokenizer = read(&folder.join("tokenizer.json"))?;
    if llama_tokenizer::is_one(config.tokenizer_class.as_deref()) {
        let llama = Llama {
            legacy: config.legacy.unwrap_or(false),
            add_prefix_space: config.add_prefix_space.unwrap_or(true),
        };
        tokenizer = llama_tokenizer::as_loaded(tokenizer, llama)?;
    }
    let jinja = folder.join("chat_template.jinja");
    let template = if jinja.exists() {
        Some(String::from_utf8_lossy(&read(&jinja)?).into_owned())
    } else {
        config.chat_template.and_then(Templates::usual)
    };
    let specials = Specials { bos: text(config.bos_token), eos: text(config.eos_token) };
    Ok((tokenizer, Chat { template, specials }))
}

impl Templates {
    /// The one that chats; others are for tools or retrieval.
    fn usual(self) -> Option<String> {
        match self {
            Self::One(template) => Some(template),
            Self::Several(all) => {
                all.into_iter().find(|named| named.name == "default").map(|named| named.template)
            }
        }
    }
}

fn text(special: Option<Special>) -> String {
    match special {
        Some(Special::Text(text) | Special::Described { content: text }) => text,
        None => String::new(),
    }
}

/// The folder's own name, until the caller has a better one.
pub(crate) fn folder_name(folder: &Path) -> Result<String, ImportError> {
    let failed = |source| ImportError::File { path: folder.to_owned(), source };
    let full = fs::canonicalize(folder).map_err(failed)?;
    Ok(full.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default())
}

/// The card's `license:` line.
pub(crate) fn license(folder: &Path) -> Result<String, ImportError> {
    let card = folder.join("README.md");
    let card = if card.exists() { read(&card)? } else { Vec::new() };
    let card = String::from_utf8_lossy(&card);
    let line = card.lines().take(CARD_LINES).find_map(|line| line.strip_prefix("license:"));
    let text = line.map(|text| text.trim().trim_matches(['[', ']']).chars().take(200).collect());
    Ok(text.unwrap_or_else(|| "unknown".to_owned()))
}
