//! An encoder in a GGUF file: its keys, and its vocabulary as the `tokenizer.json` that it was made from.

use std::path::Path;

use data_encoding::BASE64;
use potluck_model::encoder::{Family, Pooling};
use potluck_model::package::{LayerKind, MAX_LAYERS};
use serde_json::{Value, json};

use super::metadata::Metadata;
use super::shape::decimal;
use super::tokenizer::{self, Vocabulary};
use super::{Part, files, header, headers, tensors};
use crate::encoder::{Around, Description, Opened, activation, modern_kind};
use crate::error::ImportError;
use crate::rope;
use crate::source::Activation;
use crate::source::tensors::Tensors;

/// Keys that are used, and those that are for other programs only.
const KNOWN: [&str; 14] = [
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.layer_norm_epsilon",
    "attention.causal",
    "pooling_type",
    "classifier.output_labels",
    "vocab_size",
    "tensor_data_layout",
    // Of those whose layers turn.
    "rope.freq_base",
    "rope.scaling.type",
    "attention.head_count_kv",
];
/// Of `ModernBERT` alone, whose files call its norms' eps after another norm.
const MODERN: [&str; 5] = [
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "rope.freq_base_swa",
    "hidden_activation",
];
/// How llama.cpp counts poolings.
const MEAN: u32 = 1;
const CLS: u32 = 2;
/// How fast pairs turn where a file does not say.
const DEFAULT_THETA: f64 = 10_000.0;
/// Every so many layers of `ModernBERT` one that sees all, where a file does not say.
const GLOBAL_EVERY: u32 = 3;

fn unsupported<T>(what: String, supported: &str) -> Result<T, ImportError> {
    Err(ImportError::Unsupported { what, supported: supported.to_owned() })
}

/// Whether a file is an encoder's, if it is a GGUF file at all.
pub(crate) fn is_one(path: &Path) -> bool {
    let metadata = files(path).and_then(|files| match files.first() {
        Some(first) => Ok(header(first)?.0),
        None => Ok(Metadata::default()),
    });
    metadata.is_ok_and(|metadata| family(&metadata).is_some())
}

fn family(metadata: &Metadata) -> Option<Family> {
    Family::named(metadata.text("general.architecture")?)
}

/// Opens a file.
pub(crate) fn open(path: &Path) -> Result<Opened, ImportError> {
    let (metadata, parts) = headers(files(path)?)?;
    let Some(family) = family(&metadata) else {
        return unsupported("this file's architecture".to_owned(), "that of an encoder");
    };
    let tensors = checked(&metadata, parts, family)?;
    let scores = tensors.has("score.out.weight");
    let description = description(&metadata, family, scores, &tensors)?;
    let (tokenizer, around) = tokenizer(&metadata, family)?;
    Ok(Opened {
        name: super::parts::model_name(path),
        license: metadata.text("general.license").unwrap_or("unknown").chars().take(200).collect(),
        description,
        tokenizer,
        around,
        tensors,
    })
}

/// The tensors, if every key is known.
fn checked(metadata: &Metadata, parts: Vec<Part>, family: Family) -> Result<Tensors, ImportError> {
    let architecture = family.name();
    for key in metadata.keys_of(architecture) {
        let is_own = family == Family::Modern && MODERN.contains(&key);
        if !KNOWN.contains(&key) && !is_own {
            let key: String = key.chars().take(64).collect();
            return unsupported(
                format!("the key {architecture}.{key}"),
                "keys that change nothing",
            );
        }
    }
    tensors(parts, metadata, architecture)
}

fn description(
    metadata: &Metadata,
    family: Family,
    scores: bool,
    tensors: &Tensors,
) -> Result<Description, ImportError> {
    let key = |name: &str| format!("{}.{name}", family.name());
    let missing = |name: &str| ImportError::Weights(format!("the file does not say {}", key(name)));
    let needed = |name: &str| metadata.integer(&key(name))?.ok_or_else(|| missing(name));
    if metadata.bool(&key("attention.causal")) != Some(false) {
        return unsupported("an encoder whose tokens see only what is before".to_owned(), "all");
    }
    if metadata.text(&key("rope.scaling.type")).is_some_and(|kind| kind != "none") {
        return unsupported(key("rope.scaling.type"), "none in encoders");
    }
    let heads = needed("attention.head_count")?;
    if metadata.integer(&key("attention.head_count_kv"))?.is_some_and(|own| own != heads) {
        return unsupported(key("attention.head_count_kv"), "as many as heads");
    }
    let pooling = match (scores, metadata.integer(&key("pooling_type"))?) {
        (false, Some(MEAN)) => Pooling::Mean,
        (_, Some(CLS)) | (true, None) => Pooling::Cls,
        _ => return unsupported(format!("this {}", key("pooling_type")), "mean (1), cls (2)"),
    };
    // One of BERT's files has left out what it pools with, one of ModernBERT's does not say how.
    if scores && (family != Family::Bert || !tensors.has("score.dense.weight")) {
        let what = format!("a score from a GGUF file of this {}", family.name());
        return unsupported(what, "XLM-RoBERTa's; of others the folder");
    }
    let labels = metadata.texts(&key("classifier.output_labels")).map_or(1, <[String]>::len);
    if scores && labels != 1 {
        return unsupported(format!("a classifier of {labels} labels"), "one label, a score");
    }
    let eps = match family {
        Family::Modern => "attention.layer_norm_rms_epsilon",
        _ => "attention.layer_norm_epsilon",
    };
    let eps = metadata.float(&key(eps)).map(decimal).ok_or_else(|| missing(eps))?;
    let activation = match family {
        Family::Bert => Activation::Gelu,
        Family::Nomic => Activation::Silu,
        Family::Modern => {
            let named = metadata.text(&key("hidden_activation")).unwrap_or("gelu");
            activation(named, &[Activation::Gelu, Activation::Silu])?
        }
    };
    let rows = |name: &str| tensors.shape(name).and_then(|shape| shape.first().copied());
    let count = |rows: Option<usize>| u32::try_from(rows.unwrap_or(0)).unwrap_or(u32::MAX);
    let mut description = Description {
        family,
        layers: needed("block_count")?,
        d_model: needed("embedding_length")?,
        d_ff: needed("feed_forward_length")?,
        heads,
        vocab: count(rows("embeddings.word_embeddings.weight")),
        max_positions: needed("context_length")?,
        first_position: 0,
        known_kinds: count(rows("embeddings.token_type_embeddings.weight")),
        eps,
        activation,
        kinds: Vec::new(),
        rotations: Vec::new(),
        pooling,
        // No file says it: llama.cpp makes vectors one long unless told otherwise.
        normalised: !scores,
        scores,
    };
    if family.turns() {
        turning(metadata, &key, &mut description)?;
    }
    Ok(description)
}

/// How fast queries and keys turn, and how far layers see.
fn turning(
    metadata: &Metadata,
    key: &impl Fn(&str) -> String,
    description: &mut Description,
) -> Result<(), ImportError> {
    let head_dim = description.d_model / description.heads.max(1);
    let theta = metadata.float(&key("rope.freq_base")).unwrap_or(DEFAULT_THETA);
    let layers = 0..description.layers.min(MAX_LAYERS);
    if description.family == Family::Nomic {
        description.rotations = vec![rope::frequencies(theta, head_dim)?];
        description.kinds = layers.map(|_| LayerKind::PLAIN).collect();
        return Ok(());
    }
    let Some(window) = metadata.integer(&key("attention.sliding_window"))? else {
        let missing = format!("the file does not say {}", key("attention.sliding_window"));
        return Err(ImportError::Weights(missing));
    };
    let local = metadata.float(&key("rope.freq_base_swa")).unwrap_or(theta);
    let every = metadata.integer(&key("attention.sliding_window_pattern"))?;
    let every = every.unwrap_or(GLOBAL_EVERY).max(1);
    description.rotations =
        vec![rope::frequencies(theta, head_dim)?, rope::frequencies(local, head_dim)?];
    description.kinds =
        layers.map(|index| modern_kind(index.is_multiple_of(every), window / 2)).collect();
    Ok(())
}

/// The vocabulary as `tokenizer.json`, and what stands around texts.
fn tokenizer(metadata: &Metadata, family: Family) -> Result<(Vec<u8>, Around), ImportError> {
    let vocabulary = Vocabulary::read(metadata, family.name())?;
    let around = around(metadata, &vocabulary)?;
    let bytes = match metadata.text("tokenizer.ggml.model").unwrap_or_default() {
        "bert" => word_piece(metadata, &vocabulary, &around),
        "t5" => unigram(metadata, &vocabulary),
        // Of RoBERTa, which is not BERT's.
        "gpt2" if family == Family::Modern => {
            return Ok((tokenizer::to_json(&vocabulary)?, around));
        }
        other => {
            let other: String = other.chars().take(64).collect();
            return unsupported(
                format!("tokenizer model {other:?} of a {}", family.name()),
                "bert (WordPiece) and t5 (unigram), of modern-bert gpt2",
            );
        }
    };
    serde_json::to_vec(&bytes)
        .map(|bytes| (bytes, around))
        .map_err(|source| ImportError::Json { path: "tokenizer.json".into(), source })
}

fn around(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<Around, ImportError> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let token = |names: &[&str], spelled: &str| -> Result<Option<u32>, ImportError> {
        for name in names {
            if let Some(id) = metadata.integer(&key(&format!("{name}_token_id")))? {
                return Ok(Some(id));
            }
        }
        let found = vocabulary.tokens.iter().position(|token| token == spelled);
        Ok(found.and_then(|id| u32::try_from(id).ok()))
    };
    let first = token(&["cls", "bos"], "[CLS]")?;
    let last = token(&["eos", "seperator"], "[SEP]")?;
    let second = token(&["seperator", "eos"], "[SEP]")?;
    let adds = |name: &str| metadata.bool(&key(name));
    let prefix = first.filter(|_| adds("add_bos_token") != Some(false));
    let suffix = last.filter(|_| adds("add_eos_token") != Some(false));
    let between = second.filter(|_| adds("add_sep_token") == Some(true));
    Ok(Around {
        prefix: prefix.into_iter().collect(),
        suffix: suffix.into_iter().collect(),
        middle: suffix.into_iter().chain(between).collect(),
        two_kinds: false,
    })
}

/// BERT's. Llama.cpp writes the beginnings of words with a blank in front, and what goes on with a word
/// without the `##` that it had.
fn word_piece(metadata: &Metadata, vocabulary: &Vocabulary, around: &Around) -> Value {
    let token = |id: usize, text: &str| match text.strip_prefix(tokenizer::SPACE) {
        _ if vocabulary.is_control(id) => text.to_owned(),
        Some(word) => word.to_owned(),
        None => format!("##{text}"),
    };
    let tokens: Vec<String> =
        vocabulary.tokens.iter().enumerate().map(|(id, text)| token(id, text)).collect();
    let switch = |name: &str| metadata.bool(&format!("tokenizer.ggml.normalizer.{name}"));
    let named =
        |id: Option<&u32>| id.and_then(|id| tokens.get(*id as usize).cloned()).unwrap_or_default();
    let (first, last) = (named(around.prefix.first()), named(around.suffix.first()));
    let unknown = metadata.integer("tokenizer.ggml.unknown_token_id").ok().flatten();
    let unknown = match unknown {
        Some(id) => named(Some(&id)),
        None => "[UNK]".to_owned(),
    };
    let special = |name: &str, kind: u32| json!({"SpecialToken": {"id": name, "type_id": kind}});
    let text = |name: &str, kind: u32| json!({"Sequence": {"id": name, "type_id": kind}});
    let ids = |name: &str, ids: &[u32]| json!({"id": name, "ids": ids, "tokens": [name]});
    let mut specials = serde_json::Map::new();
    specials.insert(first.clone(), ids(&first, &around.prefix));
    specials.insert(last.clone(), ids(&last, &around.suffix));
    let vocab: serde_json::Map<String, Value> =
        tokens.iter().enumerate().map(|(id, text)| (text.clone(), json!(id))).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added(vocabulary),
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": switch("strip_accents"), "lowercase": switch("lowercase").unwrap_or(true),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [special(&first, 0), text("A", 0), special(&last, 0)],
            "pair": [special(&first, 0), text("A", 0), special(&last, 0), text("B", 1), special(&last, 1)],
            "special_tokens": specials,
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab,
        },
    })
}

/// XLM-RoBERTa's: `SentencePiece`'s unigrams, each with its score. What fills the vocabulary up to the
/// embedding's rows is left out: the least score of all is what letters without a piece are weighed by.
fn unigram(metadata: &Metadata, vocabulary: &Vocabulary) -> Value {
    let used = (0..vocabulary.tokens.len()).rev().find(|id| !vocabulary.is_unused(*id));
    let used = used.map_or(0, |last| last + 1);
    let pieces: Vec<Value> =
        (0..used).map(|id| json!([vocabulary.tokens[id], vocabulary.score(id)])).collect();
    let charsmap = metadata.numbers("tokenizer.ggml.precompiled_charsmap").unwrap_or_default();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bytes, as the file has them; a float saturates"
    )]
    let charsmap: Vec<u8> = charsmap.iter().map(|byte| *byte as u8).collect();
    let normalizer = match charsmap.is_empty() {
        true => Value::Null,
        false => json!({"type": "Precompiled", "precompiled_charsmap": BASE64.encode(&charsmap)}),
    };
    let has_blank = metadata.bool("tokenizer.ggml.add_space_prefix").unwrap_or(true);
    let scheme = if has_blank { "always" } else { "never" };
    let blanks = json!({"type": "Metaspace", "replacement": tokenizer::SPACE, "prepend_scheme": scheme, "split": true});
    let words = json!({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, blanks]});
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added(vocabulary),
        "normalizer": normalizer,
        "pre_tokenizer": words,
        "post_processor": null,
        "decoder": blanks,
        "model": {
            "type": "Unigram", "unk_id": vocabulary.unknown(), "vocab": pieces, "byte_fallback": false,
        },
    })
}

/// Control tokens, and the unknown one, which tokenizers of this kind list among them.
fn added(vocabulary: &Vocabulary) -> Vec<Value> {
    let is_one = |id: &usize| vocabulary.is_control(*id) || Some(*id) == vocabulary.unknown();
    let token = |id: usize| {
        json!({"id": id, "content": vocabulary.tokens[id], "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": false, "special": true})
    };
    (0..vocabulary.tokens.len()).filter(is_one).map(token).collect()
}
