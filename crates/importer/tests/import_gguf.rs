//! A GGUF file becomes the model that its Hugging Face folder becomes; broken and hostile ones are
//! refused by name, and install nothing.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "support/gguf.rs"]
mod gguf;
#[path = "../../engine/tests/support/mod.rs"]
mod support;

use std::fs;
use std::sync::Arc;

use gguf::{BF16, F16, F32, Gguf, Q8_0, of_i32s, of_text, of_u32};
use potluck_engine::engine::BackendChoice;
use potluck_importer::{Options, Progress, import};
use potluck_model::chat::{Conversation, LocalTime};
use potluck_model::package::{BlobHash, LayerKind, Manifest};
use support::{Imported, logits, source_json, tokens};
use tempfile::TempDir;

fn imported(gguf: &Gguf, options: &Options) -> (Imported, Vec<Progress>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    fs::write(&path, gguf.to_bytes()).unwrap();
    let mut steps = Vec::new();
    let id = import(&path, folder.path(), options, &mut |step| steps.push(step)).unwrap();
    let name = options.name.as_deref().unwrap_or("tiny");
    let manifest = fs::read(folder.path().join(format!("models/{name}.json"))).unwrap();
    (Imported { folder, id, manifest: Arc::new(Manifest::from_bytes(&manifest).unwrap()) }, steps)
}

#[test]
fn it_is_the_model_of_the_folder() {
    let folder = Imported::tiny();
    for kind in [F32, BF16] {
        let (model, steps) = imported(&Gguf::tiny(kind), &Options::default());
        let (got, expected) = (&model.manifest, &folder.manifest);
        assert_eq!(got.config, expected.config);
        assert_eq!(
            (got.embedding, got.head, got.tables),
            (expected.embedding, expected.head, expected.tables)
        );
        assert_eq!(got.layer_blobs, expected.layer_blobs);
        assert_eq!(got.chat, expected.chat);
        assert_eq!((got.name.as_str(), got.license.as_str()), ("tiny", "mit"));
        assert!(got.end_tokens.contains(&2));
        for text in [
            "Tell me a story about 12 foxes.",
            "Zo\u{eb} said:  \"hi\"\n\n<|im_end|>?",
            "\u{1f98a}",
        ] {
            let encode = |model: &Imported| {
                let asked = Conversation::question(text);
                let (tokenizer, now) = (model.tokenizer(), LocalTime::default());
                tokenizer.encode_chat(&model.manifest.chat, &asked, now).map_err(|e| e.to_string())
            };
            assert_eq!(encode(&model), encode(&folder), "{text}");
        }
        let last = steps.last().unwrap();
        assert_eq!(last.read_bytes, last.total_bytes);
        assert!(steps.windows(2).all(|pair| pair[0].read_bytes <= pair[1].read_bytes));
    }
}

#[test]
fn rounded_files_still_speak_like_the_model() {
    let case = &source_json("golden.json")["cases"][0];
    for kind in [F16, Q8_0] {
        let (model, _) = imported(&Gguf::tiny(kind), &Options::default());
        let scores = logits(&mut model.whole(BackendChoice::Cpu), 0, &tokens(&case["ids"]));
        let best = (0..).zip(&scores.values).max_by_key(|(_, value)| **value).unwrap().0;
        assert_eq!(u64::from(best as u32), case["top5"][0]["id"].as_u64().unwrap(), "kind {kind}");
    }
}

#[test]
fn bits_context_and_name_are_as_asked_for() {
    let options = Options { weight_bits: 4, context: 100, name: Some("half-as-big".to_owned()) };
    let (model, _) = imported(&Gguf::tiny(BF16), &options);
    let config = &model.manifest.config;
    assert_eq!(
        (config.weight_bits, config.max_positions, model.manifest.name.as_str()),
        (4, 100, "half-as-big")
    );
    let eight = Imported::tiny().manifest.layer_blobs[0].size_bytes;
    assert!(model.manifest.layer_blobs[0].size_bytes * 10 < eight * 6);
    // It runs, and the first token of an answer is among the best five still.
    let case = &source_json("golden.json")["cases"][0];
    let scores = logits(&mut model.whole(BackendChoice::Cpu), 0, &tokens(&case["ids"]));
    let best = u64::from((0_u32..).zip(&scores.values).max_by_key(|(_, value)| **value).unwrap().0);
    assert!(
        case["top5"].as_array().unwrap().iter().any(|top| top["id"].as_u64() == Some(best)),
        "{best}"
    );
}

#[test]
fn a_window_is_each_layer_s() {
    let mut gguf = Gguf::tiny(BF16);
    gguf.set("llama.attention.sliding_window", of_u32(64));
    let config = imported(&gguf, &Options::default()).0.manifest.config.clone();
    let windowed = LayerKind { window: Some(64), ..LayerKind::PLAIN };
    assert_eq!(config.layer_kinds, vec![windowed; config.layers as usize]);
    assert_eq!(config.max_positions, Imported::tiny().manifest.config.max_positions);
    // One of the whole context is none.
    let context = Options { context: 64, ..Options::default() };
    assert!(imported(&gguf, &context).0.manifest.config.layer_kinds.is_empty());
}

/// The words with which bytes are refused.
fn refusal(bytes: &[u8]) -> String {
    let folder: TempDir = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    fs::write(&path, bytes).unwrap();
    let imported: Result<BlobHash, _> =
        import(&path, folder.path(), &Options::default(), &mut |_| ());
    assert_eq!(
        fs::read_dir(folder.path().join("models")).map_or(0, Iterator::count),
        0,
        "something was installed"
    );
    imported.unwrap_err().to_string()
}

#[test]
fn broken_files_are_refused_by_name() {
    let changed = |change: fn(&mut Gguf)| {
        let mut gguf = Gguf::tiny(BF16);
        change(&mut gguf);
        gguf.to_bytes()
    };
    let huge = u64::MAX / 2;
    for (bytes, named) in [
        (b"GGML and so on".to_vec(), "no GGUF file"),
        (Vec::new(), "the file has 0"),
        (changed(|g| g.version = Some(1)), "GGUF version 1"),
        (changed(|g| g.cut = 40), "are wanted, the file has"),
        (changed(|g| g.set("general.architecture", of_text("mamba"))), "architecture \"mamba\""),
        (
            changed(|g| g.set("llama.block_count", of_text("six"))),
            "llama.block_count is not a count",
        ),
        (
            changed(|g| g.set("llama.block_count", of_u32(7))),
            "model.layers.6.input_layernorm.weight: missing",
        ),
        (changed(|g| g.set("llama.expert_count", of_u32(8))), "llama.expert_used_count"),
        (changed(|g| g.set("llama.rope.scaling.type", of_text("yarn"))), "rope scaling \"yarn\""),
        (changed(|g| g.set("llama.attention.value_length", of_u32(16))), "attention.value_length"),
        (changed(|g| g.set("general.alignment", of_u32(33))), "no power of two"),
        (changed(|g| g.set("tokenizer.ggml.model", of_text("bert"))), "tokenizer model \"bert\""),
        (
            changed(|g| g.set("tokenizer.ggml.token_type", of_i32s(&[1]))),
            "1 entries for 2048 tokens",
        ),
        (
            changed(|g| g.metadata.push(("general.architecture".to_owned(), of_text("llama")))),
            "is there twice",
        ),
        (changed(|g| g.tensors[0].kind = 99), "ggml type 99 is not supported"),
        (changed(|g| g.tensors[3].offset = Some(1)), "not at a multiple of 32"),
        (changed(|g| g.tensors[3].offset = Some(u64::MAX - 31)), "starts at"),
        (changed(|g| g.tensors[3].offset = Some(0)), "lies on top of"),
        (changed(|g| g.tensors.push(g.tensors[0].clone())), "is there twice"),
        (
            changed(|g| g.tensors[0].sizes = vec![huge_size(), huge_size()]),
            "a shape that no file can hold",
        ),
        (changed(|g| g.tensors[0].sizes = vec![1; 9]), "9 dimensions"),
        // Found by fuzzing: rows without end that take no room.
        (changed(|g| g.tensors[1].sizes = vec![0, 1 << 50]), "holds nothing"),
        (
            changed(|g| g.set("llama.attention.key_length", of_u32(u32::MAX))),
            "the heads' width 4294967295",
        ),
        (changed(|g| g.tensors[0].name = "x".repeat(10_000)), "a text of 10000 bytes"),
        (
            changed(|g| {
                let norm = g.tensors.iter_mut().find(|t| t.kind == F32).unwrap();
                norm.bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
            }),
            "not a number",
        ),
        // Counts and lengths that no memory holds.
        (
            [b"GGUF".as_slice(), &3_u32.to_le_bytes(), &huge.to_le_bytes(), &0_u64.to_le_bytes()]
                .concat(),
            "tensors and",
        ),
        (
            [
                b"GGUF".as_slice(),
                &3_u32.to_le_bytes(),
                &0_u64.to_le_bytes(),
                &1_u64.to_le_bytes(),
                &huge.to_le_bytes(),
            ]
            .concat(),
            "a text of",
        ),
        (
            changed(|g| {
                let array = [9_u32.to_le_bytes(), 4_u32.to_le_bytes()].concat();
                g.set("big", [array, (u64::MAX / 8).to_le_bytes().to_vec()].concat());
            }),
            "",
        ),
    ] {
        let words = refusal(&bytes);
        assert!(words.contains(named), "{named:?}: {words}");
    }
}

fn huge_size() -> u64 {
    u64::MAX / 3
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = Gguf::tiny(Q8_0).to_bytes();
    // Every part of the header, and some of the data.
    let cuts = (0..2000).step_by(13).chain((2000..bytes.len()).step_by(150_001));
    for cut in cuts {
        refusal(&bytes[..cut]);
    }
}
