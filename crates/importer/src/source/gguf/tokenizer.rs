//! The vocabulary inside a GGUF file, as the `tokenizer.json` it was made from.
//!
//! Two families: `gpt2`, byte-level BPE with merges, cut up by a pattern that the file names
//! (`tokenizer.ggml.pre`); and `llama`, a `SentencePiece` vocabulary with scores, whose merges
//! follow from the scores: of all pairs of tokens that make a token, the one with the highest score
//! is merged first.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::super::llama_tokenizer::blanks;
use super::metadata::Metadata;
use crate::error::ImportError;

/// A token's kind, as ggml counts them.
const UNKNOWN: u32 = 2;
const CONTROL: u32 = 3;
const USER_DEFINED: u32 = 4;
const UNUSED: u32 = 5;
/// What `SentencePiece` writes for a space.
pub(super) const SPACE: &str = "\u{2581}";
/// How Llama 3 cuts text up.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen 2: digits one by one.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// GPT-4o's, which Phi-4-mini has: words also end where small letters do, but for what is left out.
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Mistral's, since Nemo: words also end where small letters do.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A vocabulary as the file has it.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    model: String,
    pre: String,
    pub(super) tokens: Vec<String>,
    kinds: Vec<u32>,
    scores: Vec<f64>,
    merges: Vec<String>,
    add_space_prefix: bool,
    /// Whether tokens that are no text swallow the blanks behind them.
    swallows_blanks: bool,
}

/// Phi-3's that do not; which ones do is in no file, and llama.cpp knows it too.
const SWALLOW_NOTHING: [&str; 3] = ["<unk>", "<s>", "<|endoftext|>"];

impl Vocabulary {
    pub(super) fn read(metadata: &Metadata, architecture: &str) -> Result<Self, ImportError> {
        let tokens = metadata.texts("tokenizer.ggml.tokens").unwrap_or_default().to_vec();
        if tokens.is_empty() {
            return Err(ImportError::Weights(
                "the file has no vocabulary (tokenizer.ggml.tokens)".to_owned(),
            ));
        }
        let numbers = |key: &str| metadata.numbers(key).unwrap_or_default().to_vec();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "kinds are 1 to 6; a float saturates"
        )]
        let kinds: Vec<u32> =
            numbers("tokenizer.ggml.token_type").iter().map(|kind| *kind as u32).collect();
        let scores = numbers("tokenizer.ggml.scores");
        for (key, length) in [("token_type", kinds.len()), ("scores", scores.len())] {
            if length != 0 && length != tokens.len() {
                let words = format!(
                    "tokenizer.ggml.{key} has {length} entries for {} tokens",
                    tokens.len()
                );
                return Err(ImportError::Weights(words));
            }
        }
        let model = metadata.text("tokenizer.ggml.model").unwrap_or_default().to_owned();
        Ok(Self {
            swallows_blanks: architecture == "phi3" && model == "llama",
            model,
            pre: metadata.text("tokenizer.ggml.pre").unwrap_or("default").to_owned(),
            tokens,
            kinds,
            scores,
            merges: metadata.texts("tokenizer.ggml.merges").unwrap_or_default().to_vec(),
            add_space_prefix: metadata.bool("tokenizer.ggml.add_space_prefix").unwrap_or(true),
        })
    }

    /// Whether a token was put in for a purpose: it steers the model, or at least is never taken apart.
    pub(super) fn is_added(&self, id: u32) -> bool {
        matches!(self.kinds.get(id as usize), Some(&(CONTROL | USER_DEFINED)))
    }

    /// Whether a token steers the model.
    pub(super) fn is_control(&self, id: usize) -> bool {
        self.kinds.get(id) == Some(&CONTROL)
    }

    /// Whether a token only fills the vocabulary up.
    pub(super) fn is_unused(&self, id: usize) -> bool {
        self.kinds.get(id) == Some(&UNUSED)
    }

    /// The token of what has none.
    pub(super) fn unknown(&self) -> Option<usize> {
        self.kinds.iter().position(|kind| *kind == UNKNOWN)
    }

    /// A token's score; 0 where the file has none.
    pub(super) fn score(&self, id: usize) -> f64 {
        self.scores.get(id).copied().unwrap_or_default()
    }
}

/// As `tokenizer.json`.
pub(super) fn to_json(vocabulary: &Vocabulary) -> Result<Vec<u8>, ImportError> {
    let json = match vocabulary.model.as_str() {
        "gpt2" => byte_level(vocabulary)?,
        "llama" => sentence_piece(vocabulary),
        other => return Err(unsupported("tokenizer model", other, "gpt2, llama")),
    };
    serde_json::to_vec(&json)
        .map_err(|source| ImportError::Json { path: "tokenizer.json".into(), source })
}

fn byte_level(vocabulary: &Vocabulary) -> Result<Value, ImportError> {
    let bytes = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
    let split = |pattern: &str| {
        let split = json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        json!({"type": "Sequence", "pretokenizers": [split, bytes(false)]})
    };
    let (normalizer, pre_tokenizer) = match vocabulary.pre.as_str() {
        "default" | "gpt-2" => (Value::Null, bytes(true)),
        // GPT-4's pattern (`dbrx`: OLMo 2, Phi-4) is Llama 3's.
        "llama-bpe" | "llama3" | "llama-v3" | "smaug-bpe" | "dbrx" => (Value::Null, split(LLAMA3)),
        "gpt-4o" => (Value::Null, split(GPT4O)),
        "modern-bert" => (json!({"type": "NFC"}), bytes(true)),
        // Llama.cpp's own name for a distilled Qwen 2.
        "qwen2" | "deepseek-r1-qwen" => (json!({"type": "NFC"}), split(QWEN2)),
        "tekken" => (Value::Null, split(TEKKEN)),
        // `refact`: StarCoder's, which Granite 3 has.
        "smollm" | "refact" | "starcoder" => {
            let digits = json!({"type": "Digits", "individual_digits": true});
            (Value::Null, json!({"type": "Sequence", "pretokenizers": [digits, bytes(true)]}))
        }
        other => {
            return Err(unsupported(
                "tokenizer",
                other,
                "default, gpt-2, llama-bpe, smaug-bpe, dbrx, gpt-4o, qwen2, deepseek-r1-qwen, tekken, smollm, refact, starcoder",
            ));
        }
    };
    let whole_words_first = ["llama-bpe", "llama3", "llama-v3", "smaug-bpe", "tekken"];
    let ignore_merges = whole_words_first.contains(&vocabulary.pre.as_str());
    let model = json!({
        "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
        "fuse_unk": false, "byte_fallback": false, "ignore_merges": ignore_merges,
        "vocab": ids(vocabulary), "merges": vocabulary.merges,
    });
    Ok(whole(vocabulary, normalizer, pre_tokenizer, bytes(true), model))
}

fn sentence_piece(vocabulary: &Vocabulary) -> Value {
    // A blank in front of every piece, as llama.cpp puts it.
    let pre_tokenizer = blanks(if vocabulary.add_space_prefix { "always" } else { "never" });
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if vocabulary.add_space_prefix {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let unknown = vocabulary
        .kinds
        .iter()
        .position(|kind| *kind == UNKNOWN)
        .and_then(|id| vocabulary.tokens.get(id));
    let model = json!({
        "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null, "end_of_word_suffix": null,
        "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
        "vocab": ids(vocabulary), "merges": merges_of_scores(vocabulary),
    });
    whole(
        vocabulary,
        Value::Null,
        pre_tokenizer,
        json!({"type": "Sequence", "decoders": decoders}),
        model,
    )
}

/// Pairs `a b` whose joining is a token, the token of the highest score first.
fn merges_of_scores(vocabulary: &Vocabulary) -> Vec<String> {
    let ids: HashMap<&str, usize> =
        vocabulary.tokens.iter().enumerate().map(|(id, text)| (text.as_str(), id)).collect();
    let mut merges = Vec::new();
    for (id, token) in vocabulary.tokens.iter().enumerate() {
        // A space would end the first half in the list of merges; `SentencePiece` has none.
        if token.contains(' ') {
            continue;
        }
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(a), Some(b)) = (ids.get(left), ids.get(right)) {
                let score = vocabulary.scores.get(id).copied().unwrap_or(0.0);
                merges.push((score, *a, *b, format!("{left} {right}")));
            }
        }
    }
    merges.sort_by(|x, y| y.0.total_cmp(&x.0).then((x.1, x.2).cmp(&(y.1, y.2))));
    merges.into_iter().map(|(_, _, _, merge)| merge).collect()
}

fn ids(vocabulary: &Vocabulary) -> Map<String, Value> {
    vocabulary.tokens.iter().enumerate().map(|(id, text)| (text.clone(), json!(id))).collect()
}

fn whole(
    vocabulary: &Vocabulary,
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
    model: Value,
) -> Value {
    let added: Vec<Value> = vocabulary
        .tokens
        .iter()
        .zip(&vocabulary.kinds)
        .enumerate()
        .filter(|(_, (_, kind))| matches!(**kind, CONTROL | USER_DEFINED))
        .map(|(id, (text, kind))| {
            let swallows = vocabulary.swallows_blanks && !SWALLOW_NOTHING.contains(&text.as_str());
            json!({"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": swallows, "normalized": false,
                   "special": *kind == CONTROL})
        })
        .collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer, "post_processor": null, "decoder": decoder, "model": model,
    })
}

fn unsupported(what: &str, got: &str, supported: &str) -> ImportError {
    let got: String = got.chars().take(64).collect();
    ImportError::Unsupported { what: format!("{what} {got:?}"), supported: supported.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_follow_from_scores() {
        let scored = [
            ("a", -1.0),
            ("b", -2.0),
            ("c", -3.0),
            ("ab", -5.0),
            ("bc", -4.0),
            ("abc", -6.0),
            ("d e", 0.0),
        ];
        let vocabulary = Vocabulary {
            tokens: scored.iter().map(|(text, _)| (*text).to_owned()).collect(),
            scores: scored.iter().map(|(_, score)| *score).collect(),
            ..Vocabulary::default()
        };
        // The best scored pair first; of two ways to the same token, the earlier tokens.
        assert_eq!(merges_of_scores(&vocabulary), ["b c", "a b", "a bc", "ab c"]);
    }

    #[test]
    fn a_sentence_piece_vocabulary_reads_and_speaks() {
        let kinds = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)];
        let bytes = (0..=255_u32).map(|byte| (format!("<0x{byte:02X}>"), 6));
        let pieces = ["\u{2581}", "h", "i", "\u{2581}h", "hi", "\u{2581}hi"]
            .map(|text| (text.to_owned(), 1));
        let all: Vec<(String, u32)> = kinds
            .map(|(text, kind)| (text.to_owned(), kind))
            .into_iter()
            .chain(bytes)
            .chain(pieces)
            .collect();
        let vocabulary = Vocabulary {
            model: "llama".to_owned(),
            scores: (0..all.len()).map(|id| -(id as f64)).collect(),
            kinds: all.iter().map(|(_, kind)| *kind).collect(),
            tokens: all.into_iter().map(|(text, _)| text).collect(),
            add_space_prefix: true,
            ..Vocabulary::default()
        };
        let tokenizer = tokenizers::Tokenizer::from_bytes(to_json(&vocabulary).unwrap()).unwrap();
        let encoding = tokenizer.encode_fast("hi hi\u{e9}", false).unwrap();
        // Two bytes of a letter that the vocabulary has not.
        assert_eq!(encoding.get_ids(), [264, 264, 3 + 0xc3, 3 + 0xa9]);
        assert_eq!(tokenizer.decode(encoding.get_ids(), true).unwrap(), "hi hi\u{e9}");
    }

    /// A vocabulary of single bytes that is cut up as a file of this name says.
    fn cut(pre: &str, text: &str) -> Vec<String> {
        let vocabulary =
            Vocabulary { model: "gpt2".to_owned(), pre: pre.to_owned(), ..Vocabulary::default() };
        let tokenizer = tokenizers::Tokenizer::from_bytes(to_json(&vocabulary).unwrap()).unwrap();
        let mut pieces = tokenizers::PreTokenizedString::from(text);
        let cutter = tokenizer.get_pre_tokenizer().unwrap();
        tokenizers::PreTokenizer::pre_tokenize(cutter, &mut pieces).unwrap();
        let (kind, offset) =
            (tokenizers::OffsetType::Byte, tokenizers::OffsetReferential::Original);
        let splits = pieces.get_splits(offset, kind);
        splits.into_iter().map(|(_, (start, end), _)| text[start..end].to_owned()).collect()
    }

    #[test]
    fn each_name_cuts_as_its_models_do() {
        let text = "HelloWorld's 12345\n\nx";
        let cut = |pre: &str| cut(pre, text).join("|");
        assert_eq!(cut("dbrx"), "HelloWorld|'s| |123|45|\n\n|x");
        assert_eq!(cut("smaug-bpe"), cut("dbrx"));
        assert_eq!(cut("gpt-4o"), "Hello|World's| |123|45|\n\n|x");
        assert_eq!(cut("refact"), "HelloWorld|'s| |1|2|3|4|5|\n|\n|x");
        assert_eq!(cut("smollm"), cut("refact"));
        assert_eq!(cut("starcoder"), cut("refact"));
    }

    /// A vocabulary with scores: bytes, some pieces, and what is put in.
    fn pieces(added: &[(&str, u32)], add_space_prefix: bool) -> Vocabulary {
        let bytes = (0..=255_u32).map(|byte| (format!("<0x{byte:02X}>"), 6));
        let added = added.iter().map(|(text, kind)| ((*text).to_owned(), *kind));
        let normal = ["\u{2581}", "a", "b", "\u{2581}a", "\u{2581}b"];
        let normal = normal.into_iter().map(|text| (text.to_owned(), 1));
        let all: Vec<(String, u32)> = added.chain(bytes).chain(normal).collect();
        Vocabulary {
            model: "llama".to_owned(),
            scores: (0..all.len()).map(|id| -(id as f64)).collect(),
            kinds: all.iter().map(|(_, kind)| *kind).collect(),
            tokens: all.into_iter().map(|(text, _)| text).collect(),
            add_space_prefix,
            ..Vocabulary::default()
        }
    }

    fn encoded(vocabulary: &Vocabulary, text: &str) -> Vec<String> {
        let tokenizer = tokenizers::Tokenizer::from_bytes(to_json(vocabulary).unwrap()).unwrap();
        let encoding = tokenizer.encode_fast(text, false).unwrap();
        encoding.get_ids().iter().map(|id| vocabulary.tokens[*id as usize].clone()).collect()
    }

    #[test]
    fn tokens_of_phi_3_swallow_the_blanks_behind_them() {
        let added = [
            ("<unk>", UNKNOWN),
            ("<s>", CONTROL),
            ("<|user|>", CONTROL),
            ("<|end|>", CONTROL),
            ("<|endoftext|>", CONTROL),
        ];
        let mut vocabulary = pieces(&added, true);
        let text = "<|user|>\n a<|end|>\n<|endoftext|>  b";
        assert!(encoded(&vocabulary, text).contains(&"<0x0A>".to_owned()));
        vocabulary.swallows_blanks = true;
        let blank = "\u{2581}";
        let (a, b) = (format!("{blank}a"), format!("{blank}b"));
        assert_eq!(
            encoded(&vocabulary, text),
            ["<|user|>", &a, "<|end|>", "<|endoftext|>", blank, &b]
        );
    }

    #[test]
    fn gemma_s_pieces_begin_without_a_blank() {
        // Llama.cpp's converter writes its runs of blanks, which are never taken apart, with blanks.
        let added = [("<bos>", CONTROL), ("  ", USER_DEFINED), ("\n", USER_DEFINED)];
        let vocabulary = pieces(&added, false);
        let (blank_a, text) = ("\u{2581}a", "a\n  b a");
        assert_eq!(encoded(&vocabulary, text), ["a", "\n", "  ", "b", blank_a]);
        let tokenizer = tokenizers::Tokenizer::from_bytes(to_json(&vocabulary).unwrap()).unwrap();
        let ids = tokenizer.encode_fast(text, false).unwrap().get_ids().to_vec();
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), text);
    }

    #[test]
    fn an_unknown_tokenizer_is_named() {
        for (model, pre, named) in
            [("bert", "", "tokenizer model \"bert\""), ("gpt2", "new", "tokenizer \"new\"")]
        {
            let vocabulary = Vocabulary {
                model: model.to_owned(),
                pre: pre.to_owned(),
                ..Vocabulary::default()
            };
            let words = to_json(&vocabulary).unwrap_err().to_string();
            assert!(words.contains(named) && words.contains("supported: "), "{words}");
        }
    }
}
