//! What stands around a text, and between two: from the end of a `tokenizer.json`.

use serde_json::Value;

use crate::error::ImportError;

/// Tokens that are put around texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Around {
    /// Before a text, or a question.
    pub(crate) prefix: Vec<u32>,
    /// After it.
    pub(crate) suffix: Vec<u32>,
    /// Between a question and a text.
    pub(crate) middle: Vec<u32>,
    /// Whether a text after a question is of another kind (token type 1).
    pub(crate) two_kinds: bool,
}

impl Around {
    /// As a tokenizer's post-processor puts them.
    pub(super) fn of(post: &Value) -> Result<Self, ImportError> {
        let known = || ImportError::Unsupported {
            what: "this tokenizer's way to put tokens around a text".to_owned(),
            supported: "TemplateProcessing, BertProcessing and RobertaProcessing".to_owned(),
        };
        let token = |name: &str| id(&post[name][1]).ok_or_else(known);
        match post["type"].as_str() {
            Some("TemplateProcessing") => Self::template(post).ok_or_else(known),
            Some("BertProcessing") => {
                let (prefix, suffix) = (vec![token("cls")?], vec![token("sep")?]);
                Ok(Self { prefix, middle: suffix.clone(), suffix, two_kinds: true })
            }
            Some("RobertaProcessing") => {
                let (prefix, suffix) = (vec![token("cls")?], vec![token("sep")?]);
                Ok(Self { prefix, middle: suffix.repeat(2), suffix, two_kinds: false })
            }
            Some("Sequence") => {
                let all = post["processors"].as_array().ok_or_else(known)?;
                let one = all.iter().find(|it| it["type"] != "ByteLevel").ok_or_else(known)?;
                if one["type"] == "Sequence" { Err(known()) } else { Self::of(one) }
            }
            _ => Err(known()),
        }
    }

    fn template(post: &Value) -> Option<Self> {
        let ids = |piece: &Value| -> Option<Vec<u32>> {
            let name = piece["SpecialToken"]["id"].as_str()?;
            Some(post["special_tokens"][name]["ids"].as_array()?.iter().filter_map(id).collect())
        };
        let mut around = Self::default();
        let mut is_behind = false;
        for piece in post["single"].as_array()? {
            if piece.get("Sequence").is_some() {
                is_behind = true;
                continue;
            }
            let side = if is_behind { &mut around.suffix } else { &mut around.prefix };
            side.extend(ids(piece)?);
        }
        // Only who scores pairs needs one.
        let mut between = false;
        for piece in post["pair"].as_array().into_iter().flatten() {
            match piece["Sequence"]["id"].as_str() {
                Some("A") => between = true,
                Some(_) => {
                    around.two_kinds = piece["Sequence"]["type_id"] == 1;
                    between = false;
                }
                None if between => around.middle.extend(ids(piece)?),
                None => (),
            }
        }
        Some(around)
    }
}

fn id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_processor_says_what_stands_where() {
        let special = |id: &str, kind: u32| json!({"SpecialToken": {"id": id, "type_id": kind}});
        let text = |id: &str, kind: u32| json!({"Sequence": {"id": id, "type_id": kind}});
        let tokens = json!({"[CLS]": {"ids": [101]}, "[SEP]": {"ids": [102]}});
        let template = json!({"type": "TemplateProcessing", "special_tokens": tokens,
            "single": [special("[CLS]", 0), text("A", 0), special("[SEP]", 0)],
            "pair": [special("[CLS]", 0), text("A", 0), special("[SEP]", 0), text("B", 1), special("[SEP]", 1)]});
        let expected =
            Around { prefix: vec![101], suffix: vec![102], middle: vec![102], two_kinds: true };
        assert_eq!(Around::of(&template).unwrap(), expected);
        let bert = json!({"type": "BertProcessing", "cls": ["[CLS]", 101], "sep": ["[SEP]", 102]});
        assert_eq!(Around::of(&bert).unwrap(), expected);
        let sequence = json!({"type": "Sequence", "processors": [{"type": "ByteLevel"}, bert]});
        assert_eq!(Around::of(&sequence).unwrap(), expected);
        let roberta = json!({"type": "RobertaProcessing", "cls": ["<s>", 0], "sep": ["</s>", 2]});
        let around = Around::of(&roberta).unwrap();
        assert_eq!((around.middle, around.two_kinds), (vec![2, 2], false));
        for broken in [json!(null), json!({"type": "Other"}), json!({"type": "BertProcessing"})] {
            assert!(Around::of(&broken).is_err(), "{broken}");
        }
    }
}
