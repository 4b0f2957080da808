//! A GGUF file of each family of encoders, with keys, names and layout as llama.cpp's converter writes
//! them, becomes the encoder that its Hugging Face folder becomes, blob for blob, and cuts texts up as
//! that one does; what cannot be imported is refused by its name.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "support/encoder_gguf.rs"]
mod encoder_gguf;
#[path = "support/encoders.rs"]
mod encoders;
#[path = "support/gguf.rs"]
mod gguf;
#[path = "../../engine/tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;

use encoder_gguf::{file, prefix};
use encoders::{Case, TEXTS, cases};
use gguf::{Gguf, of_bool, of_f32, of_text, of_texts, of_u32};
use potluck_importer::{Options, import, judge};
use potluck_model::encoder::{EncoderManifest, Pair};
use potluck_model::tokenizer::{Tokenizer, TokenizerError};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Tokens, or why there are none.
type Cut<T> = Result<T, String>;

/// An encoder that was imported.
#[derive(Debug)]
struct Imported {
    manifest: EncoderManifest,
    data: TempDir,
}

impl Imported {
    fn from(path: &Path) -> Result<Self, String> {
        let data = tempfile::tempdir().unwrap();
        let id = import(path, data.path(), &Options::default(), &mut |_| ());
        id.map_err(|error| error.to_string())?;
        let manifest = fs::read(data.path().join("encoders/random.json")).unwrap();
        Ok(Self { manifest: EncoderManifest::from_bytes(&manifest).unwrap(), data })
    }

    fn file(file: &Gguf) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("random.gguf");
        fs::write(&path, file.to_bytes()).unwrap();
        Self::from(&path)
    }

    fn tokenizer_bytes(&self) -> Vec<u8> {
        let hash = self.manifest.tokenizer.hash.to_string();
        fs::read(self.data.path().join("blobs").join(hash)).unwrap()
    }

    /// Every text's tokens, and those of every two as a pair; or why there are none, as of letters that
    /// the vocabulary has not.
    fn tokens(&self) -> (Vec<Cut<Vec<u32>>>, Vec<Cut<Pair>>) {
        let tokenizer = Tokenizer::from_bytes(&self.tokenizer_bytes()).unwrap();
        let words = |error: TokenizerError| error.to_string();
        let text = |text| tokenizer.encode_text(&self.manifest, text).map_err(words);
        let pairs = TEXTS
            .windows(2)
            .map(|two| tokenizer.encode_pair(&self.manifest, two[0], two[1]).map_err(words));
        (TEXTS.map(text).to_vec(), pairs.collect())
    }
}

/// All that computes.
fn parts(imported: &Imported) -> impl PartialEq + std::fmt::Debug {
    let EncoderManifest {
        config,
        architecture,
        pooling,
        tables,
        embedding,
        layer_blobs,
        score,
        ..
    } = imported.manifest.clone();
    (config, architecture, pooling, tables, embedding, layer_blobs, score.map(|score| score.head))
}

/// Those whose files say all there is to know.
fn in_files() -> impl Iterator<Item = Case> {
    cases().into_iter().filter(|case| !case.scores() || case.is("xlm-roberta"))
}

#[test]
fn each_file_is_the_encoder_of_its_folder() {
    for case in in_files() {
        let folder = Imported::from(&case.write().folder).unwrap();
        let file = Imported::file(&file(&case)).unwrap_or_else(|it| panic!("{}: {it}", case.name));
        assert_eq!(parts(&file), parts(&folder), "{}", case.name);
        let tokens = file.tokens();
        assert_eq!(tokens, folder.tokens(), "{}", case.name);
        assert!(
            tokens.0.iter().filter(|text| text.is_ok()).count() >= 6,
            "{}: {tokens:?}",
            case.name
        );
        assert_eq!(file.manifest.prefix, folder.manifest.prefix, "{}", case.name);
        assert_eq!(file.manifest.suffix, folder.manifest.suffix, "{}", case.name);
        assert_eq!(file.manifest.score, folder.manifest.score, "{}", case.name);
        // What no file says: its vectors are one long, as llama.cpp makes them.
        assert_eq!(file.manifest.normalised, !case.scores(), "{}", case.name);
    }
    assert_eq!(in_files().count(), 5);
}

/// The very tokenizer of the folder: what llama.cpp does to its words is undone.
#[test]
fn a_file_s_word_piece_is_its_folder_s() {
    let case = cases().remove(0);
    let file = Imported::file(&file(&case)).unwrap();
    let json: Value = serde_json::from_slice(&file.tokenizer_bytes()).unwrap();
    assert_eq!(json, case.tokenizer());
    let texts = [0, 2, 7].map(|at| file.tokens().0[at].clone().unwrap());
    let word = |word: &str| {
        let tokens = encoders::word_piece_tokens();
        u32::try_from(tokens.iter().position(|token| token == word).unwrap()).unwrap()
    };
    assert_eq!(texts[0], [2, word("a"), word("fox"), word("and"), word("a"), word("lantern"), 3]);
    let cafe = [word("cafe"), word("n"), word("##a"), word("##i"), word("##v"), word("##e")];
    assert_eq!(texts[1][1..7], cafe);
    assert_eq!(texts[2], [2, 3]);
}

#[test]
fn each_key_counts() {
    for case in in_files() {
        let whole = file(&case);
        let imported = Imported::file(&whole).unwrap();
        let telling: &[&str] = match prefix(&case) {
            "modern-bert" => &["rope.freq_base", "rope.freq_base_swa", "attention.sliding_window"],
            "nomic-bert" => &["rope.freq_base"],
            _ => &[],
        };
        let always = ["block_count", "context_length", "attention.head_count", "attention.causal"];
        for key in telling.iter().chain(&always) {
            let mut without = whole.clone();
            let key = format!("{}.{key}", prefix(&case));
            without.metadata.retain(|(name, _)| *name != key);
            assert_eq!(without.metadata.len() + 1, whole.metadata.len(), "{key}");
            if let Ok(other) = Imported::file(&without) {
                assert_ne!(parts(&other), parts(&imported), "{}: {key}", case.name);
            }
        }
        let mut first = whole.clone();
        if !case.scores() {
            first.set(&format!("{}.pooling_type", prefix(&case)), of_u32(2));
            assert_ne!(parts(&Imported::file(&first).unwrap()), parts(&imported), "{}", case.name);
        }
        for (key, value, named) in [
            ("pooling_type", of_u32(3), "pooling_type"),
            ("attention.causal", of_bool(true), "see only what is before"),
            ("rope.scaling.type", of_text("yarn"), "rope.scaling.type"),
            ("attention.max_alibi_bias", of_f32(8.0), "attention.max_alibi_bias"),
            ("attention.head_count_kv", of_u32(2), "head_count_kv"),
        ] {
            let mut changed = whole.clone();
            changed.set(&format!("{}.{key}", prefix(&case)), value);
            let words = Imported::file(&changed).unwrap_err();
            assert!(words.contains(named), "{}: {named:?}: {words:?}", case.name);
        }
        let mut more = whole.clone();
        let mut tensor = more.tensors[0].clone();
        tensor.name = "blk.0.attn_sinks.weight".to_owned();
        more.tensors.push(tensor);
        let words = Imported::file(&more).unwrap_err();
        assert!(words.contains("blk.0.attn_sinks.weight"), "{}: {words:?}", case.name);
    }
}

#[test]
fn files_that_leave_out_what_scores_are_refused() {
    for case in cases().into_iter().filter(|case| case.scores() && !case.is("xlm-roberta")) {
        let words = Imported::file(&file(&case)).unwrap_err();
        assert!(words.contains("a score from a GGUF file"), "{}: {words}", case.name);
    }
    let scores = in_files().find(Case::scores).unwrap();
    let mut three = file(&scores);
    let labels = ["a", "b", "c"].map(str::to_owned);
    three.set("bert.classifier.output_labels", of_texts(&labels));
    let words = Imported::file(&three).unwrap_err();
    assert!(words.contains("a classifier of 3 labels"), "{words}");
    let mut roberta = file(&cases()[0]);
    roberta.set("tokenizer.ggml.model", of_text("gpt2"));
    let words = Imported::file(&roberta).unwrap_err();
    assert!(words.contains("tokenizer model \"gpt2\""), "{words}");
}

/// Before a byte of weights is fetched.
#[test]
fn a_folder_is_judged_by_its_small_files() {
    let cases = cases();
    let of = |family: &str, scores: bool| {
        cases.iter().find(|case| case.is(family) && case.scores() == scores).unwrap()
    };
    for (case, field, value, named) in [
        (of("bert", false), "hidden_act", json!("relu"), "activation \"relu\""),
        (of("bert", false), "position_embedding_type", json!("relative_key"), "kind of positions"),
        (of("bert", false), "is_decoder", json!(true), "is_decoder"),
        (of("bert", true), "id2label", json!({"0": "a", "1": "b"}), "a classifier of 2 labels"),
        (of("nomic_bert", false), "moe_every_n_layers", json!(2), "moe_every_n_layers"),
        (of("nomic_bert", false), "qkv_proj_bias", json!(true), "qkv_proj_bias"),
        (of("nomic_bert", false), "rotary_emb_interleaved", json!(true), "rotary_emb_interleaved"),
        (
            of("nomic_bert", false),
            "rope_parameters",
            json!({"rope_type": "dynamic"}),
            "rope_parameters",
        ),
        (of("nomic_bert", false), "hidden_act", json!("gelu"), "activation \"gelu\""),
        (of("modernbert", false), "norm_bias", json!(true), "norm_bias"),
        (of("modernbert", false), "attention_bias", json!(true), "attention_bias"),
        (of("modernbert", true), "classifier_activation", json!("silu"), "classifier_activation"),
        (of("modernbert", true), "classifier_pooling", json!("max"), "classifier_pooling"),
        (of("modernbert", true), "hidden_activation", json!("silu"), "gated by silu"),
    ] {
        judge(&case.write().folder).unwrap();
        let mut other = case.clone();
        other.config[field] = value;
        let written = other.write();
        fs::remove_file(written.folder.join("model.safetensors")).unwrap();
        let words = judge(&written.folder).unwrap_err().to_string();
        assert!(words.contains(named), "{}: {named:?}: {words}", case.name);
    }
    let written = of("bert", false).write();
    let modules = json!([{"type": "sentence_transformers.models.Dense"}]);
    fs::write(written.folder.join("modules.json"), modules.to_string()).unwrap();
    let words = judge(&written.folder).unwrap_err().to_string();
    assert!(words.contains("sentence_transformers.models.Dense"), "{words}");
}

#[test]
fn every_tensor_of_a_folder_is_used_or_named() {
    for case in cases() {
        let written = case.write();
        let mut tensors = case.tensors();
        tensors.push(("encoder.layer.0.attention.sinks.weight".to_owned(), vec![1, 1], vec![0.0]));
        encoders::write_weights(&written.folder, &tensors);
        let words = Imported::from(&written.folder).unwrap_err();
        assert!(words.contains("encoder.layer.0.attention.sinks"), "{}: {words}", case.name);
        // A head that guesses words has no part in a vector.
        let last = tensors.len() - 1;
        tensors[last].0 = "cls.predictions.bias".to_owned();
        encoders::write_weights(&written.folder, &tensors);
        Imported::from(&written.folder).unwrap();
    }
}

/// Of `ModernBERT` every part of its configuration tells.
#[test]
fn thetas_windows_and_patterns_count() {
    let modern = cases().into_iter().find(|case| case.is("modernbert")).unwrap();
    let plain = Imported::from(&modern.write().folder).unwrap();
    let windows: Vec<Option<u32>> =
        plain.manifest.config.layer_kinds.iter().map(|kind| kind.window).collect();
    assert_eq!(windows, [None, Some(5), Some(5), None]);
    for (field, value) in [
        ("local_attention", json!(16)),
        ("global_attn_every_n_layers", json!(2)),
        ("global_rope_theta", json!(5000.0)),
        ("local_rope_theta", Value::Null),
        ("hidden_activation", json!("silu")),
        ("norm_eps", json!(1e-3)),
    ] {
        let mut other = modern.clone();
        other.config[field] = value;
        let other = Imported::from(&other.write().folder).unwrap();
        assert_ne!(parts(&other), parts(&plain), "{field}");
    }
    // As `transformers` 5 writes the same.
    let mut newer = modern.clone();
    let config = newer.config.as_object_mut().unwrap();
    config.retain(|field, _| !field.ends_with("rope_theta") && !field.starts_with("global_attn"));
    let full = json!({"rope_type": "default", "rope_theta": 160_000.0});
    let local = json!({"rope_type": "default", "rope_theta": 100.0});
    newer.config["rope_parameters"] = json!({"full_attention": full, "sliding_attention": local});
    let [full, local] = ["full_attention", "sliding_attention"];
    newer.config["layer_types"] = json!([full, local, local, full]);
    assert_eq!(parts(&Imported::from(&newer.write().folder).unwrap()), parts(&plain));
}
