//! Every family of encoders, written as a small random model: the definition in `f64` gives the vectors
//! and scores of Hugging Face `transformers`, and what is imported computes what the definition does.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "../../importer/tests/support/encoders.rs"]
mod encoders;

use std::borrow::Cow;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use encoders::{Case, cases, text};
use potluck_engine::encoder::Encoder;
use potluck_engine::kernels::linear::CpuPath;
use potluck_importer::{Options, import};
use potluck_model::encoder::{EncoderManifest, Pair};
use potluck_reference::encoder::FloatEncoder;
use potluck_reference::self_test::self_test;
use tempfile::TempDir;

/// Between a number of `transformers` and the definition's, both in `f64`.
const MOST_GOLDEN_ERROR: f64 = 2e-6;
/// Tokens of each golden text.
const LENGTHS: [usize; 3] = [1, 12, 47];

fn pair(tokens: &[u32]) -> Pair {
    Pair { tokens: tokens.to_vec(), second: tokens.len().min(5) }
}

#[test]
fn the_definitions_give_the_vectors_of_hugging_face() {
    for case in cases() {
        let float = FloatEncoder::open(&case.write().folder).unwrap();
        let mut worst = 0.0_f64;
        for (length, golden) in LENGTHS.into_iter().zip(&case.golden) {
            let tokens = &text()[..length];
            let got = match case.scores() {
                true => vec![float.score(&pair(tokens)).unwrap()],
                false => float.encode(tokens)[..4].to_vec(),
            };
            assert_eq!(got.len(), golden.len(), "{}", case.name);
            for (got, golden) in got.iter().zip(golden) {
                worst = worst.max((got - golden).abs());
            }
        }
        println!("{}: off by {worst:.1e}", case.name);
        assert!(worst < MOST_GOLDEN_ERROR, "{}: off by {worst}", case.name);
    }
    assert_eq!(cases().len(), 8);
}

/// Imports a folder.
fn imported(folder: &Path) -> (TempDir, Arc<EncoderManifest>) {
    let data = tempfile::tempdir().unwrap();
    import(folder, data.path(), &Options::default(), &mut |_| ()).unwrap();
    let manifest = fs::read(data.path().join("encoders/random.json")).unwrap();
    (data, Arc::new(EncoderManifest::from_bytes(&manifest).unwrap()))
}

fn encoder(data: &Path, manifest: &Arc<EncoderManifest>) -> Encoder {
    let blobs = manifest.blobs();
    Encoder::new(CpuPath::detect(), Arc::clone(manifest), |role| {
        let (_, blob) = blobs.iter().find(|(known, _)| *known == role).unwrap();
        Cow::Owned(fs::read(data.join("blobs").join(blob.hash.to_string())).unwrap())
    })
    .unwrap()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn each_computes_what_its_definition_computes() {
    for case in cases() {
        let written = case.write();
        let (data, manifest) = imported(&written.folder);
        let (encoder, float) =
            (encoder(data.path(), &manifest), FloatEncoder::open(&written.folder).unwrap());
        assert_eq!(manifest.config.max_positions, 64, "{}", case.name);
        let (mut least, mut apart) = (1.0_f64, 0.0_f64);
        for length in 1..=text().len() {
            let tokens = &text()[..length];
            if case.scores() {
                let pair = pair(tokens);
                let score = encoder.score(std::slice::from_ref(&pair)).unwrap()[0].to_f64()[0];
                apart = apart.max((score - float.score(&pair).unwrap()).abs());
            } else {
                let vector = encoder.encode(&[tokens]).unwrap()[0].to_f64();
                least = least.min(cosine(&vector, &float.encode(tokens)));
            }
        }
        println!("{}: cosine at least {least:.6}, scores {apart:.5} apart at most", case.name);
        assert!(least > 0.9995, "{}: {least}", case.name);
        assert!(apart < 0.05, "{}: {apart}", case.name);
    }
}

#[test]
fn a_self_test_speaks_of_vectors_and_of_scores() {
    for case in cases() {
        let written = case.write();
        let (data, _) = imported(&written.folder);
        let report = self_test("random", &written.folder, data.path(), None).unwrap();
        println!("{}: {report}", case.name);
        let expected = match case.scores() {
            true => "self-test: scores of an answer and of another text",
            false => "self-test: 2 texts, cosine",
        };
        assert!(report.starts_with(expected), "{}: {report}", case.name);
        assert!(!report.contains("warning"), "{}: {report}", case.name);
    }
}

/// Nomic as its makers publish it and as `transformers` writes it is the same package.
#[test]
fn both_spellings_of_nomic_are_one() {
    let native = cases().into_iter().find(|case| case.is("nomic_bert")).unwrap();
    let mut published: Case = native.clone();
    published.config = serde_json::json!({
        "architectures": ["NomicBertModel"], "model_type": "nomic_bert", "vocab_size": 512, "n_embd": 64,
        "n_inner": 160, "n_layer": 4, "n_head": 4, "n_positions": 8192, "max_trained_positions": 64,
        "activation_function": "swiglu", "layer_norm_epsilon": 1e-12, "causal": false, "qkv_proj_bias": false,
        "mlp_fc1_bias": false, "mlp_fc2_bias": false, "prenorm": false, "rotary_emb_fraction": 1.0,
        "rotary_emb_base": 1000, "rotary_emb_interleaved": false, "rotary_emb_scale_base": null,
        "rotary_scaling_factor": null, "type_vocab_size": 2, "parallel_block": false, "use_rms_norm": false,
    });
    let tensors = native.tensors();
    let written = native.write();
    fs::write(written.folder.join("config.json"), published.config.to_string()).unwrap();
    let (_data, theirs) = imported(&written.folder);
    fs::write(written.folder.join("config.json"), native.config.to_string()).unwrap();
    // As `transformers` names the parts, and cuts the one that has three in it.
    let mut renamed = Vec::new();
    for (name, shape, values) in tensors {
        if name.ends_with("attn.Wqkv.weight") {
            let third = values.len() / 3;
            for (part, values) in ["q", "k", "v"].iter().zip(values.chunks_exact(third)) {
                let name = name.replace("attn.Wqkv", &format!("self_attn.{part}_proj"));
                renamed.push((name, vec![shape[0] / 3, shape[1]], values.to_vec()));
            }
            continue;
        }
        let name = name
            .replace("attn.out_proj", "self_attn.o_proj")
            .replace("fc11", "up_proj")
            .replace("fc12", "gate_proj")
            .replace("fc2", "down_proj")
            .replace("norm1", "post_attention_layernorm")
            .replace("norm2", "post_mlp_layernorm")
            .replace("emb_ln", "embeddings.LayerNorm");
        renamed.push((name.replace("encoder.layers", "layers"), shape, values));
    }
    encoders::write_weights(&written.folder, &renamed);
    let (_data, ours) = imported(&written.folder);
    assert_eq!(ours.to_bytes().unwrap(), theirs.to_bytes().unwrap());
}
