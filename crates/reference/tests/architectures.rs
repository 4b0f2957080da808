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
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};
use support::{Imported, source_folder};
use tempfile::TempDir;

const D_MODEL: usize = 64;
const D_FF: usize = 160;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const LAYERS: usize = 3;
const VOCAB: usize = 2048;

/// A folder with a model of one architecture in it.
struct Written {
    _whole: TempDir,
    folder: PathBuf,
}

/// What makes the architectures differ.
struct Case {
    name: &'static str,
    head_dim: usize,
    tied: bool,
    bias: bool,
    norms: bool,
    more: Value,
}

const fn case(name: &'static str) -> Case {
    Case { name, head_dim: 16, tied: true, bias: false, norms: false, more: Value::Null }
}

fn cases() -> Vec<Case> {
    let llama3 = json!({"rope_theta": 500_000.0, "rope_scaling": {"rope_type": "llama3", "factor": 32.0,
        "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}});
    vec![
        Case { tied: false, ..case("LlamaForCausalLM") },
        Case { more: llama3, ..case("LlamaForCausalLM") },
        Case { tied: false, more: json!({"sliding_window": 4096}), ..case("MistralForCausalLM") },
        Case {
            bias: true,
            more: json!({"sliding_window": 8, "use_sliding_window": false}),
            ..case("Qwen2ForCausalLM")
        },
        // Heads wider than the model's share, as in Qwen 3.
        Case {
            head_dim: 32,
            norms: true,
            more: json!({"sliding_window": null}),
            ..case("Qwen3ForCausalLM")
        },
    ]
}

impl Written {
    fn new(case: &Case, shards: usize) -> Self {
        let whole = tempfile::tempdir().unwrap();
        let folder = whole.path().join("random");
        fs::create_dir(&folder).unwrap();
        for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
            fs::copy(source_folder().join(name), folder.join(name)).unwrap();
        }
        let mut config = json!({
            "architectures": [case.name], "vocab_size": VOCAB, "hidden_size": D_MODEL, "intermediate_size": D_FF,
            "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": case.head_dim,
            "hidden_act": "silu", "max_position_embeddings": 128, "rms_norm_eps": 1e-6, "rope_theta": 10_000.0,
            "tie_word_embeddings": case.tied,
        });
        for (field, value) in case.more.as_object().into_iter().flatten() {
            config[field] = value.clone();
        }
        fs::write(folder.join("config.json"), config.to_string()).unwrap();
        write_weights(&folder, &tensors(case), shards);
        Self { _whole: whole, folder }
    }
}

fn tensors(case: &Case) -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
    let mut random = Random::new(case.name.len() as u64);
    let mut all = BTreeMap::new();
    let mut add = |name: String, shape: &[usize], middle: f32, spread: f32| {
        let count: usize = shape.iter().product();
        // Nearly normal, as weights are.
        let mut one = || (0..4).map(|_| random.within(-1000, 1000)).sum::<i32>() as f32 / 1155.0;
        let bytes = (0..count).flat_map(|_| (middle + spread * one()).to_le_bytes()).collect();
        all.insert(name, (shape.to_vec(), bytes));
    };
    let root = |width: usize| 1.0 / (width as f32).sqrt();
    add("model.embed_tokens.weight".to_owned(), &[VOCAB, D_MODEL], 0.0, 0.5);
    add("model.norm.weight".to_owned(), &[D_MODEL], 1.0, 0.2);
    if !case.tied {
        add("lm_head.weight".to_owned(), &[VOCAB, D_MODEL], 0.0, 0.5);
    }
    let (q, kv) = (HEADS * case.head_dim, KV_HEADS * case.head_dim);
    for layer in 0..LAYERS {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            add(name(&format!("{norm}.weight")), &[D_MODEL], 1.0, 0.2);
        }
        for (part, rows, columns) in [
            ("self_attn.q_proj", q, D_MODEL),
            ("self_attn.k_proj", kv, D_MODEL),
            ("self_attn.v_proj", kv, D_MODEL),
            ("self_attn.o_proj", D_MODEL, q),
            ("mlp.gate_proj", D_FF, D_MODEL),
            ("mlp.up_proj", D_FF, D_MODEL),
            ("mlp.down_proj", D_MODEL, D_FF),
        ] {
            add(name(&format!("{part}.weight")), &[rows, columns], 0.0, root(columns));
            if case.bias && part.contains("self_attn") && !part.contains("o_proj") {
                add(name(&format!("{part}.bias")), &[rows], 0.0, 1.5);
            }
        }
        if case.norms {
            for norm in ["q_norm", "k_norm"] {
                add(name(&format!("self_attn.{norm}.weight")), &[case.head_dim], 1.0, 0.2);
            }
        }
    }
    all
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
    let mut random = Random::new(5);
    let vocab = i32::try_from(VOCAB).unwrap();
    let texts =
        vec![(0..48).map(|_| random.within(0, vocab).unsigned_abs()).collect::<Vec<u32>>(); 1];
    block_on(measure(&mut model.unopened(choice), 3, float, &texts, &mut |_| ())).unwrap()
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
