//! The same folder becomes the same bytes, wherever and however often it is imported, and what it
//! becomes reads back; another format of the same numbers is the same model.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "../../engine/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use potluck_importer::import_folder;
use potluck_model::package::{
    BlobHash, BlobRole, LayerWeights, Linear, Manifest, MlpWeights, Tables, verify_blob,
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use support::{Imported, source_folder, source_json};

#[test]
fn the_built_in_model_has_the_pinned_name() {
    let pinned: serde_json::Value =
        serde_json::from_str(include_str!("../../engine/tests/golden_exact.json")).unwrap();
    assert_eq!(Imported::tiny().id.to_string(), pinned["model"]);
}

#[test]
fn two_imports_write_the_same_files() {
    let (first, second) = (Imported::tiny(), Imported::tiny());
    let files = |model: &Imported| {
        let folder = |name: &str| fs::read_dir(model.folder.path().join(name)).unwrap();
        let files = folder("blobs").chain(folder("models")).map(|entry| entry.unwrap().path());
        files
            .map(|path| (path.file_name().unwrap().to_owned(), fs::read(path).unwrap()))
            .collect::<BTreeMap<_, _>>()
    };
    let files = [files(&first), files(&second)];
    assert!(files[0] == files[1], "two imports differ");
    // Tables, tokenizer, embedding, which is the head too, six layers, the manifest as a blob, the
    // manifest by its name.
    assert_eq!(files[0].len(), 11, "and nothing else is left behind: {:?}", files[0].keys());
    // Importing over it changes nothing.
    assert_eq!(import_folder(&source_folder(), first.folder.path()).unwrap(), second.id);
}

#[test]
fn every_blob_is_what_its_name_says_and_reads_back() {
    let model = Imported::tiny();
    let (manifest, config) = (&model.manifest, &model.manifest.config);
    let stored = model.blob(model.id);
    assert_eq!(Manifest::from_bytes(&stored).unwrap(), **manifest);
    assert_eq!(BlobHash(*blake3::hash(&stored).as_bytes()), model.id);
    let blobs = manifest.blobs_for(0..config.layers);
    assert_eq!(blobs.len(), 9);
    for (role, blob) in blobs {
        let bytes = model.blob(blob.hash);
        verify_blob(&blob, &bytes).unwrap();
        assert_eq!(bytes.len() as u64, config.blob_bytes(role));
        let again = match role {
            BlobRole::Tables => Tables::from_bytes(config, &bytes).unwrap().to_bytes(),
            BlobRole::Layer(index) => {
                LayerWeights::from_bytes(config, index, &bytes).unwrap().to_bytes(8)
            }
            BlobRole::Expert(layer, index) => {
                MlpWeights::expert_from_bytes(config, (layer, index), &bytes).unwrap().to_bytes(8)
            }
            BlobRole::Embedding | BlobRole::Head => {
                Linear::vocabulary_from_bytes(config, role, &bytes).unwrap().to_bytes()
            }
        };
        assert!(again == bytes, "{role} does not read back");
    }
    assert_eq!(
        manifest.head, manifest.embedding,
        "the two are tied, so they are stored and fetched once"
    );
}

#[test]
fn the_manifest_says_what_the_folder_says() {
    let model = Imported::tiny();
    let (manifest, config) = (&model.manifest, &model.manifest.config);
    let source = source_json("config.json");
    for (field, got) in [
        ("num_hidden_layers", config.layers),
        ("hidden_size", config.d_model),
        ("intermediate_size", config.d_ff),
        ("num_attention_heads", config.heads),
        ("num_key_value_heads", config.kv_heads),
        ("head_dim", config.head_dim),
        ("vocab_size", config.vocab),
        ("max_position_embeddings", config.max_positions),
        ("eos_token_id", manifest.end_tokens[0]),
    ] {
        assert_eq!(source[field], got, "{field}");
    }
    assert_eq!(
        (manifest.name.as_str(), manifest.license.as_str()),
        ("potluck-tiny", "mit, apache-2.0")
    );
    assert_eq!(config.residual_fraction_bits, 14);
    // log2(e) / sqrt(32) * 2^15, and 1e-5 * 192 = 0.00192 as a mantissa of 24 bits.
    assert_eq!(config.qk_scale, 8357);
    let eps = f64::from(config.eps_mantissa) * f64::from(config.eps_exponent).exp2();
    assert!((eps / 0.00192 - 1.0).abs() < 1e-6, "{eps}");
    let defaults = &manifest.defaults;
    assert_eq!(
        (defaults.temperature_milli, defaults.top_p_milli, defaults.top_k, defaults.max_tokens),
        (700, 950, 0, 240)
    );
}

#[test]
fn weights_stored_as_f32_or_f16_give_the_same_blobs() {
    // BF16 is the upper half of F32; the numbers of layer 0's norms are exact in F16 too.
    let pinned = Imported::tiny();
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("potluck-tiny");
    fs::create_dir(&source).unwrap();
    for entry in fs::read_dir(source_folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, source.join(path.file_name().unwrap())).unwrap();
        }
    }
    restore(&source.join("model.safetensors"));
    let id = import_folder(&source, &folder.path().join("data")).unwrap();
    assert_eq!(id, pinned.id);
}

/// Writes every tensor anew, norms as F16 where that is exact, everything else as F32.
fn restore(path: &Path) {
    let bytes = fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut kinds = [0, 0];
    let stored: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = tensors
        .tensors()
        .into_iter()
        .map(|(name, tensor)| {
            let values: Vec<f32> = tensor
                .data()
                .chunks_exact(2)
                .map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32())
                .collect();
            let exact = values.iter().all(|value| half::f16::from_f32(*value).to_f32() == *value);
            kinds[usize::from(exact)] += 1;
            let data = if exact {
                values.iter().flat_map(|value| half::f16::from_f32(*value).to_le_bytes()).collect()
            } else {
                values.iter().flat_map(|value| value.to_le_bytes()).collect()
            };
            (name, if exact { Dtype::F16 } else { Dtype::F32 }, tensor.shape().to_vec(), data)
        })
        .collect();
    assert!(kinds[0] > 0 && kinds[1] > 0, "both kinds are there: {kinds:?}");
    let views = stored.iter().map(|(name, dtype, shape, data)| {
        (name.clone(), TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}
