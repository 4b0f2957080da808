//! A GGUF file of each architecture, with keys, names and layout as llama.cpp's converter writes them,
//! becomes the model that its Hugging Face folder becomes, blob for blob. What the converter writes was
//! looked up by running it on such folders; llama.cpp gave their files the logits of `transformers`.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "support/architecture.rs"]
mod architecture;
#[path = "support/fours.rs"]
mod fours;
#[path = "support/gguf.rs"]
mod gguf;
#[path = "../../engine/tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use architecture::{Model, models};
use gguf::{of_bool, of_bools, of_f32, of_text, of_u32};
use potluck_importer::{Options, import};
use potluck_model::package::Manifest;
use support::Imported;
use tempfile::TempDir;

/// What a file or a folder becomes, or the words with which it is refused.
fn imported_from(path: &Path, folder: TempDir) -> Result<Imported, String> {
    let id = import(path, folder.path(), &Options::default(), &mut |_| ());
    let id = id.map_err(|error| error.to_string())?;
    let manifest = fs::read(folder.path().join("models/random.json")).unwrap();
    Ok(Imported { folder, id, manifest: Arc::new(Manifest::from_bytes(&manifest).unwrap()) })
}

fn imported(model: &Model) -> Result<Imported, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("random.gguf");
    fs::write(&path, model.file.to_bytes()).unwrap();
    imported_from(&path, folder)
}

fn imported_folder(model: &Model) -> Imported {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("random");
    fs::create_dir(&path).unwrap();
    model.write(&path);
    imported_from(&path, folder).unwrap_or_else(|words| panic!("{}: {words}", model.name))
}

#[test]
fn each_is_the_model_of_its_folder() {
    for model in models() {
        let folder = imported_folder(&model);
        let file = imported(&model).unwrap_or_else(|words| panic!("{}: {words}", model.name));
        let (got, expected) = (&file.manifest, &folder.manifest);
        assert_eq!(got.config, expected.config, "{}", model.name);
        assert_eq!(got.tables, expected.tables, "{}: tables", model.name);
        assert_eq!(got.layer_blobs, expected.layer_blobs, "{}: layers", model.name);
        assert_eq!(got.expert_blobs, expected.expert_blobs, "{}: experts", model.name);
        assert_eq!(got.architecture, expected.architecture, "{}", model.name);
        let ends = |it: &Imported| (it.manifest.embedding, it.manifest.head);
        assert_eq!(ends(&file), ends(&folder), "{}: embedding and head", model.name);
    }
}

/// All that computes.
fn parts(model: &Imported) -> impl PartialEq + std::fmt::Debug {
    let Manifest { config, embedding, head, tables, layer_blobs, .. } = &*model.manifest;
    (config.clone(), *embedding, *head, *tables, layer_blobs.clone())
}

/// Without one of its own keys, a file is another model or none.
#[test]
fn each_key_counts() {
    for model in models() {
        let whole = imported(&model).unwrap_or_else(|words| panic!("{}: {words}", model.name));
        for key in model.telling {
            let mut without = model.clone();
            without.file.metadata.retain(|(name, _)| name != key);
            assert_eq!(without.file.metadata.len() + 1, model.file.metadata.len(), "{key}");
            if let Ok(other) = imported(&without) {
                assert_ne!(parts(&other), parts(&whole), "{}: {key}", model.name);
            }
        }
    }
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    for model in models() {
        let prefix = model.prefix;
        // What other norms add.
        let eps = match prefix {
            "starcoder2" => "attention.layer_norm_rms_epsilon",
            _ => "attention.layer_norm_epsilon",
        };
        for (key, value, named) in [
            ("attention.temperature_scale", of_f32(0.5), "attention.temperature_scale"),
            (eps, of_f32(1e-5), eps),
            ("expert_count", of_u32(9), "experts"),
            ("rope.scaling.type", of_text("other"), "rope scaling \"other\""),
            ("rope.scale_linear", of_f32(4.0), "rope.scale_linear"),
        ] {
            let mut changed = model.clone();
            changed.file.set(&format!("{prefix}.{key}"), value);
            let words = imported(&changed).err().unwrap_or_default();
            assert!(words.contains(named), "{}: {named:?}: {words:?}", model.name);
        }
        let mut more = model.clone();
        let mut tensor = more.file.tensors[1].clone();
        tensor.name = "blk.0.attn_other.weight".to_owned();
        more.file.tensors.push(tensor);
        let words = imported(&more).err().unwrap_or_default();
        assert!(words.contains("blk.0.attn_other.weight"), "{}: {words:?}", model.name);
    }
}

#[test]
fn what_only_one_architecture_says_is_refused_too() {
    let named = |name: &str| models().into_iter().find(|model| model.name == name).unwrap();
    let mut granite = named("Granite 3");
    granite.file.set("granite.rope.scaling.finetuned", of_bool(false));
    let mut olmo = named("OLMo 3");
    olmo.file.set("olmo2.rope.freq_base_swa", of_f32(10_000.0));
    let mut stretched = named("OLMo 3");
    stretched.file.set("olmo2.rope.scaling.yarn_attn_factor", of_f32(1.5));
    let mut short = named("OLMo 3");
    short.file.set("olmo2.attention.sliding_window_pattern", of_bools(&[true, false]));
    let mut phi = named("Phi-3 with LongRoPE");
    phi.file.tensors.retain(|tensor| tensor.name != "rope_factors_long.weight");
    for (model, named) in [
        (granite, "without RoPE"),
        (olmo, "olmo2.rope.freq_base_swa"),
        (stretched, "yarn_attn_factor of 1.5"),
        (short, "2 entries for 4 layers"),
        (phi, "LongRoPE factors"),
    ] {
        let words = imported(&model).err().unwrap_or_default();
        assert!(words.contains(named), "{named:?}: {words:?}");
    }
}

#[test]
fn files_of_starcoder2_have_its_window_which_they_do_not_say() {
    let mut model = models().into_iter().find(|model| model.name == "StarCoder2").unwrap();
    model.file.set("starcoder2.context_length", of_u32(8192));
    let windows = |model: &Model| -> Vec<Option<u32>> {
        let config = imported(model).unwrap().manifest.config.clone();
        config.layer_kinds.iter().map(|kind| kind.window).collect()
    };
    assert_eq!(windows(&model), [Some(4096); 4]);
    model.file.set("starcoder2.attention.sliding_window", of_u32(100));
    assert_eq!(windows(&model), [Some(100); 4]);
}

#[test]
fn early_phi_3_files_have_their_window() {
    let mut phi = models().into_iter().find(|model| model.name == "Phi-3").unwrap();
    phi.file.metadata.retain(|(key, _)| key != "phi3.attention.sliding_window");
    let windows = |model: &Model| -> Vec<Option<u32>> {
        let config = imported(model).unwrap().manifest.config.clone();
        config.layer_kinds.iter().map(|kind| kind.window).collect()
    };
    assert_eq!(windows(&phi), []);
    phi.file.set("phi3.context_length", of_u32(4096));
    assert_eq!(windows(&phi), [Some(2047); 4]);
}
