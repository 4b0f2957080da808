//! Every supported architecture, written as a small random model: what is imported computes what
//! the definition computes in `f64`, alone and in splits, with eight bits and with four.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "../../engine/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use futures::executor::block_on;
use potluck_engine::engine::BackendChoice;
use potluck_importer::Options;
use potluck_model::synthetic::Random;
use potluck_reference::decoder::FloatModel;
use potluck_reference::quality::{Quality, measure};
use potluck_reference::self_test::self_test;
use safetensors::{Dtype, tensor::TensorView};
use serde::Deserialize;
use serde_json::{Value, json};
use support::{Imported, source_folder};
use tempfile::TempDir;

const VOCAB: usize = 2048;
/// Tokens that are read, and one more that is asked for.
const TEXT: usize = 48;
/// Between logits of Hugging Face in `f32` and the definition in `f64`, as a part of the largest.
const MOST_GOLDEN_ERROR: f64 = 1e-4;

/// A folder with a model of one architecture in it.
struct Written {
    _whole: TempDir,
    folder: PathBuf,
}

/// One model, by its `config.json`.
#[derive(Deserialize)]
struct Case {
    name: String,
    config: Value,
    golden: Vec<Golden>,
}

/// The three most likely tokens after a position, with their logits.
#[derive(Deserialize)]
struct Golden {
    position: usize,
    top: Vec<(usize, f64)>,
}

#[derive(Deserialize)]
struct Cases {
    /// How the golden logits were made.
    #[serde(rename = "made")]
    _made: String,
    cases: Vec<Case>,
}

fn cases() -> Vec<Case> {
    let cases: Cases = serde_json::from_str(include_str!("architectures.json")).unwrap();
    cases.cases
}

impl Case {
    fn number(&self, field: &str) -> usize {
        usize::try_from(self.config[field].as_u64().unwrap()).unwrap()
    }

    fn is_set(&self, field: &str) -> bool {
        self.config[field].as_bool() == Some(true)
    }
}

impl Written {
    fn new(case: &Case, shards: usize) -> Self {
        let whole = tempfile::tempdir().unwrap();
        let folder = whole.path().join("random");
        fs::create_dir(&folder).unwrap();
        for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
            fs::copy(source_folder().join(name), folder.join(name)).unwrap();
        }
        fs::write(folder.join("config.json"), case.config.to_string()).unwrap();
        write_weights(&folder, &tensors(case), shards);
        Self { _whole: whole, folder }
    }
}

/// Names, shapes and bytes of a case's tensors. Each is drawn by its name (FNV-1a), so that whoever draws
/// them in another order draws the same.
fn tensors(case: &Case) -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut add = |name: String, shape: &[usize], middle: f32, spread: f32| {
        let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut random = Random::new(seed);
        let count: usize = shape.iter().product();
        // Nearly normal, as weights are.
        let mut one = || (0..4).map(|_| random.within(-1000, 1000)).sum::<i32>() as f32 / 1155.0;
        let bytes = (0..count).flat_map(|_| (middle + spread * one()).to_le_bytes()).collect();
        all.insert(name, (shape.to_vec(), bytes));
    };
    let architecture = case.config["architectures"][0].as_str().unwrap();
    let is = |name: &str| architecture.starts_with(name);
    let (d_model, d_ff, head) =
        (case.number("hidden_size"), case.number("intermediate_size"), case.number("head_dim"));
    let q = case.number("num_attention_heads") * head;
    let kv = case.number("num_key_value_heads") * head;
    // Gemma adds 1 to its gains.
    let middle = if is("Gemma") { 0.0 } else { 1.0 };
    add("model.embed_tokens.weight".to_owned(), &[VOCAB, d_model], 0.0, 0.5);
    add("model.norm.weight".to_owned(), &[d_model], middle, 0.2);
    if !case.is_set("tie_word_embeddings") {
        add("lm_head.weight".to_owned(), &[VOCAB, d_model], 0.0, 0.5);
    }
    let norms: &[&str] = match () {
        () if is("Gemma") => &[
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        ],
        () if is("Olmo") => &["post_attention_layernorm", "post_feedforward_layernorm"],
        () => &["input_layernorm", "post_attention_layernorm"],
    };
    let (down, o) = (("mlp.down_proj", d_model, d_ff), ("self_attn.o_proj", d_model, q));
    let matrices = if is("Phi3") {
        let qkv = ("self_attn.qkv_proj", q + 2 * kv, d_model);
        vec![qkv, o, ("mlp.gate_up_proj", 2 * d_ff, d_model), down]
    } else {
        let [q, k, v] = [("q_proj", q), ("k_proj", kv), ("v_proj", kv)];
        let attention = [q, k, v].map(|(part, rows)| match part {
            "q_proj" => ("self_attn.q_proj", rows, d_model),
            "k_proj" => ("self_attn.k_proj", rows, d_model),
            _ => ("self_attn.v_proj", rows, d_model),
        });
        let mlp = [("mlp.gate_proj", d_ff, d_model), ("mlp.up_proj", d_ff, d_model), down];
        attention.into_iter().chain([o]).chain(mlp).collect()
    };
    let qk_norms = match () {
        () if is("Qwen3") || is("Gemma3") => Some([head, head]),
        () if is("Olmo") => Some([q, kv]),
        () => None,
    };
    for layer in 0..case.number("num_hidden_layers") {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        for norm in norms {
            add(name(&format!("{norm}.weight")), &[d_model], middle, 0.2);
        }
        for (part, rows, columns) in &matrices {
            let spread = 1.0 / (*columns as f32).sqrt();
            add(name(&format!("{part}.weight")), &[*rows, *columns], 0.0, spread);
            let has_bias = match *part {
                part if part.starts_with("mlp") => case.is_set("mlp_bias"),
                "self_attn.o_proj" => case.is_set("attention_bias"),
                _ => case.is_set("attention_bias") || is("Qwen2"),
            };
            if has_bias {
                add(name(&format!("{part}.bias")), &[*rows], 0.0, 0.5);
            }
        }
        for (norm, width) in ["q_norm", "k_norm"].into_iter().zip(qk_norms.into_iter().flatten()) {
            add(name(&format!("self_attn.{norm}.weight")), &[width], middle, 0.2);
        }
    }
    all
}

/// A text of tokens drawn at random.
fn text() -> Vec<u32> {
    let mut random = Random::new(5);
    let last = i32::try_from(VOCAB - 1).unwrap();
    (0..TEXT).map(|_| random.within(0, last).unsigned_abs()).collect()
}

fn write_weights(
    folder: &std::path::Path,
    tensors: &BTreeMap<String, (Vec<usize>, Vec<u8>)>,
    shards: usize,
) {
    let mut map = BTreeMap::new();
    for shard in 0..shards {
        let file = if shards == 1 {
            "model.safetensors".to_owned()
        } else {
            format!("model-{shard}-of-{shards}.safetensors")
        };
        let views = tensors.iter().enumerate().filter(|(at, _)| at % shards == shard).map(
            |(_, (name, (shape, bytes)))| {
                map.insert(name.clone(), file.clone());
                (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
            },
        );
        let views: Vec<_> = views.collect();
        fs::write(folder.join(&file), safetensors::serialize(views, None).unwrap()).unwrap();
    }
    if shards > 1 {
        let index = json!({"metadata": {}, "weight_map": map});
        fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
    }
}

fn quality(model: &Imported, float: &FloatModel, choice: BackendChoice) -> Quality {
    let layers = model.manifest.config.layers;
    let texts = [text()];
    block_on(measure(&mut model.unopened(choice), layers, float, &texts, &mut |_| ())).unwrap()
}

#[test]
fn the_definitions_give_the_logits_of_hugging_face() {
    for case in cases() {
        let written = Written::new(&case, 1);
        let float = FloatModel::open(&written.folder).unwrap();
        let hidden = float.hidden(&text()[..TEXT - 1]).unwrap();
        let mut worst = 0.0_f64;
        for Golden { position, top } in &case.golden {
            let scores = float.logits(&hidden[*position..=*position]).unwrap().remove(0);
            for (token, logit) in top {
                worst = worst.max((scores[*token] - logit).abs() / top[0].1.abs());
            }
            assert!(scores.iter().all(|score| *score < top[0].1 + 1e-3), "{}", case.name);
        }
        println!("{}: off by {worst:.1e}", case.name);
        assert!(worst < MOST_GOLDEN_ERROR, "{}: off by {worst}", case.name);
        assert!(case.golden.len() == 4, "{}", case.name);
    }
}

#[test]
fn each_computes_what_its_definition_computes() {
    for case in cases() {
        let written = Written::new(&case, 1);
        let model = Imported::from(&written.folder, &Options::default());
        let float = FloatModel::open(&written.folder).unwrap();
        let quality = quality(&model, &float, BackendChoice::Cpu);
        println!("{}\n{quality}\n", case.name);
        // Random models are harsher than trained ones: nothing averages out. A missing bias or norm
        // gives 0.9 and less.
        assert!(quality.least_cosine > 0.999, "{}: {quality}", case.name);
        assert_eq!(quality.saturated, 0);
        assert_eq!(model.manifest.config.max_positions, 128, "{}", case.name);
    }
}

#[test]
fn a_self_test_says_of_random_weights_that_they_know_nothing_and_does_not_warn() {
    for case in cases() {
        let written = Written::new(&case, 1);
        for weight_bits in [8, 4] {
            let model =
                Imported::from(&written.folder, &Options { weight_bits, ..Options::default() });
            let report =
                self_test(&model.manifest.name, &written.folder, model.folder.path(), None)
                    .unwrap();
            println!("{}, {weight_bits} bits\n{report}\n", case.name);
            assert!(
                report.contains("note: random does not know this text"),
                "{}: {report}",
                case.name
            );
            assert!(!report.contains("warning"), "{}: {report}", case.name);
        }
    }
}

#[test]
fn four_bits_are_coarser_and_half_as_large() {
    for case in cases() {
        let written = Written::new(&case, 1);
        let model =
            Imported::from(&written.folder, &Options { weight_bits: 4, ..Options::default() });
        let float = FloatModel::open(&written.folder).unwrap();
        let quality = quality(&model, &float, BackendChoice::Cpu);
        println!("{}\n{quality}\n", case.name);
        // Swapped halves or places give nearly 0.
        assert!(quality.least_cosine > 0.85, "{}: {quality}", case.name);
        let eight =
            Imported::from(&written.folder, &Options::default()).manifest.layer_blobs[0].size_bytes;
        assert!(model.manifest.layer_blobs[0].size_bytes * 10 < eight * 6, "{}", case.name);
    }
}

#[test]
fn shards_are_the_model_that_one_file_is() {
    let case = &cases()[0];
    let whole = Imported::from(&Written::new(case, 1).folder, &Options::default());
    let cut = Imported::from(&Written::new(case, 3).folder, &Options::default());
    assert_eq!(whole.id, cut.id);
}
