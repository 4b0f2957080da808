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

/// The least cosine in eight bits and in four of a model with experts, where a token that likes two nearly
/// as well goes through another one than in floats: in any arithmetic but theirs. A missing part gives
/// less.
const LEAST_ROUTED: [f64; 2] = [0.9, 0.6];

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

    /// Whether it has experts.
    fn is_routed(&self) -> bool {
        self.count().is_some_and(|count| self.config["num_experts_per_tok"] != *count)
    }

    /// Experts of a layer.
    fn count(&self) -> Option<&Value> {
        ["num_local_experts", "num_experts"].into_iter().find_map(|key| self.config.get(key))
    }

    /// The same through all of its experts: nothing is chosen, and the rest shows.
    fn with_all_experts(mut self) -> Option<Self> {
        self.config["num_experts_per_tok"] = self.count()?.clone();
        self.name += " with all its experts";
        Some(self)
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
    let has_norm_bias = is("Starcoder2") || is("StableLm");
    if has_norm_bias {
        add("model.norm.bias".to_owned(), &[d_model], 0.0, 0.5);
    }
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
        () if is("Olmo2") || is("Olmo3") => {
            &["post_attention_layernorm", "post_feedforward_layernorm"]
        }
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
        let mlp = match is("Starcoder2") {
            true => vec![("mlp.c_fc", d_ff, d_model), ("mlp.c_proj", d_model, d_ff)],
            false => vec![("mlp.gate_proj", d_ff, d_model), ("mlp.up_proj", d_ff, d_model), down],
        };
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
            if has_norm_bias {
                add(name(&format!("{norm}.bias")), &[d_model], 0.0, 0.5);
            }
        }
        let is_sparse = ["Mixtral", "Qwen2Moe", "Qwen3Moe", "Olmoe"].into_iter().any(is)
            && !case.config["mlp_only_layers"]
                .as_array()
                .is_some_and(|it| it.contains(&json!(layer)));
        if is_sparse {
            let (parent, parts) = if is("Mixtral") {
                ("block_sparse_moe", ["w1", "w3", "w2"])
            } else {
                ("mlp", ["gate_proj", "up_proj", "down_proj"])
            };
            let count = if is("Mixtral") { "num_local_experts" } else { "num_experts" };
            let count = case.number(count);
            let expert_ff = case.config["moe_intermediate_size"].as_u64();
            let expert_ff = expert_ff.map_or(d_ff, |width| usize::try_from(width).unwrap());
            let spread = 2.0 / (d_model as f32).sqrt();
            add(name(&format!("{parent}.gate.weight")), &[count, d_model], 0.0, spread);
            let shapes = [[expert_ff, d_model], [expert_ff, d_model], [d_model, expert_ff]];
            for (expert, (part, shape)) in
                (0..count).flat_map(|expert| parts.iter().zip(shapes).map(move |it| (expert, it)))
            {
                let name = name(&format!("{parent}.experts.{expert}.{part}.weight"));
                add(name, &shape, 0.0, 1.0 / (shape[1] as f32).sqrt());
            }
        }
        if is("GptOss") {
            let count = case.number("num_local_experts");
            let part = |part: &str| name(&format!("mlp.{part}"));
            let spread = |columns: usize| 1.0 / (columns as f32).sqrt();
            add(name("self_attn.sinks"), &[case.number("num_attention_heads")], 0.0, 2.0);
            add(part("router.weight"), &[count, d_model], 0.0, 2.0 * spread(d_model));
            add(part("router.bias"), &[count], 0.0, 0.5);
            let shape = [count, d_model, 2 * d_ff];
            add(part("experts.gate_up_proj"), &shape, 0.0, spread(d_model));
            // Such that some of the gates and ups are past the limit.
            add(part("experts.gate_up_proj_bias"), &[count, 2 * d_ff], 0.0, 4.0);
            add(part("experts.down_proj"), &[count, d_ff, d_model], 0.0, 0.0625 * spread(d_ff));
            add(part("experts.down_proj_bias"), &[count, d_model], 0.0, 0.5);
        }
        if is("Qwen2Moe") && is_sparse {
            let width = case.number("shared_expert_intermediate_size");
            let spread = |columns: usize| 1.0 / (columns as f32).sqrt();
            let part = |part: &str| name(&format!("mlp.shared_expert{part}.weight"));
            add(part("_gate"), &[1, d_model], 0.0, 2.0 * spread(d_model));
            add(part(".gate_proj"), &[width, d_model], 0.0, spread(d_model));
            add(part(".up_proj"), &[width, d_model], 0.0, spread(d_model));
            add(part(".down_proj"), &[d_model, width], 0.0, spread(width));
        }
        let is_sparse = is_sparse || is("GptOss");
        let is_there = |part: &str| !is_sparse || !part.starts_with("mlp");
        for (part, rows, columns) in matrices.iter().filter(|(part, ..)| is_there(part)) {
            let spread = 1.0 / (*columns as f32).sqrt();
            add(name(&format!("{part}.weight")), &[*rows, *columns], 0.0, spread);
            let has_bias = match *part {
                _ if is("Starcoder2") => case.is_set("use_bias"),
                part if part.starts_with("mlp") => case.is_set("mlp_bias"),
                "self_attn.q_proj" | "self_attn.k_proj" | "self_attn.v_proj" if is("StableLm") => {
                    case.is_set("use_qkv_bias")
                }
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
    let all_experts = cases().into_iter().filter_map(Case::with_all_experts);
    for case in cases().into_iter().chain(all_experts) {
        let written = Written::new(&case, 1);
        let model = Imported::from(&written.folder, &Options::default());
        let float = FloatModel::open(&written.folder).unwrap();
        let quality = quality(&model, &float, BackendChoice::Cpu);
        println!("{}\n{quality}\n", case.name);
        // Random models are harsher than trained ones: nothing averages out. A missing bias or norm
        // gives 0.9 and less.
        let least = if case.is_routed() { LEAST_ROUTED[0] } else { 0.999 };
        assert!(quality.least_cosine > least, "{}: {quality}", case.name);
        assert!(quality.agreement > 0.85, "{}: {quality}", case.name);
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
        let least = if case.is_routed() { LEAST_ROUTED[1] } else { 0.85 };
        assert!(quality.least_cosine > least, "{}: {quality}", case.name);
        let eight =
            Imported::from(&written.folder, &Options::default()).manifest.layer_blobs[0].size_bytes;
        // A router keeps its bits.
        let most = if model.manifest.expert_blobs.is_empty() { 6 } else { 7 };
        assert!(model.manifest.layer_blobs[0].size_bytes * 10 < eight * most, "{}", case.name);
    }
}

#[test]
fn shards_are_the_model_that_one_file_is() {
    let case = &cases()[0];
    let whole = Imported::from(&Written::new(case, 1).folder, &Options::default());
    let cut = Imported::from(&Written::new(case, 3).folder, &Options::default());
    assert_eq!(whole.id, cut.id);
}
