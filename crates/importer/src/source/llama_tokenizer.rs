//! Llama's tokenizer as `transformers` 5 makes it: from the vocabulary and the merges of
//! `tokenizer.json` alone, whatever that file says of blanks. A blank is put in front of a piece that
//! does not begin with one; many files would put two.

use serde_json::{Value, json};

use crate::error::ImportError;

/// What `SentencePiece` writes for a blank.
const BLANK: &str = "\u{2581}";
/// Classes that are made so.
const CLASSES: [&str; 2] = ["LlamaTokenizer", "LlamaTokenizerFast"];

/// What `tokenizer_config.json` says of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Llama {
    /// A blank in front of every piece, not of the first only.
    pub(super) legacy: bool,
    /// None at all, if false.
    pub(super) add_prefix_space: bool,
}

/// Whether a tokenizer of this class is made so.
pub(super) fn is_one(class: Option<&str>) -> bool {
    class.is_some_and(|class| CLASSES.contains(&class))
}

/// `tokenizer.json` with the blanks of the class, if it is a `SentencePiece` vocabulary; any other one is
/// left as it is.
pub(super) fn as_loaded(tokenizer: Vec<u8>, llama: Llama) -> Result<Vec<u8>, ImportError> {
    let failed = |source| ImportError::Json { path: "tokenizer.json".into(), source };
    let mut json: Value = serde_json::from_slice(&tokenizer).map_err(failed)?;
    if json["model"]["byte_fallback"] != true {
        return Ok(tokenizer);
    }
    let scheme = match llama {
        Llama { add_prefix_space: false, .. } => "never",
        Llama { legacy: true, .. } => "always",
        Llama { legacy: false, .. } => "first",
    };
    json["normalizer"] = Value::Null;
    json["pre_tokenizer"] = blanks(scheme);
    serde_json::to_vec(&json).map_err(failed)
}

/// Blanks as `SentencePiece` writes them, one of them put in front by `scheme`; pieces stay whole.
pub(super) fn blanks(scheme: &str) -> Value {
    json!({"type": "Metaspace", "replacement": BLANK, "prepend_scheme": scheme, "split": false})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sentence_piece_vocabularies_are_changed() {
        let llama = Llama { legacy: true, add_prefix_space: true };
        let plain = br#"{"model":{"type":"BPE"},"normalizer":null}"#.to_vec();
        assert_eq!(as_loaded(plain.clone(), llama).unwrap(), plain);
        let file = br#"{"model":{"byte_fallback":true},"normalizer":{"type":"Prepend"}}"#.to_vec();
        for (llama, scheme) in [
            (llama, "always"),
            (Llama { legacy: false, ..llama }, "first"),
            (Llama { add_prefix_space: false, ..llama }, "never"),
        ] {
            let got: Value =
                serde_json::from_slice(&as_loaded(file.clone(), llama).unwrap()).unwrap();
            assert_eq!(got["normalizer"], Value::Null);
            assert_eq!(got["pre_tokenizer"]["prepend_scheme"], scheme);
        }
        assert!(as_loaded(b"{".to_vec(), llama).is_err());
    }
}
