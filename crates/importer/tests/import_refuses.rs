//! What this build cannot compute is refused by name, with what it could do instead, and installs
//! no model.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "support/rewritten.rs"]
mod rewritten;
#[path = "../../engine/tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::PathBuf;

use potluck_importer::{ImportError, import_folder};
use potluck_model::package::Manifest;
use rewritten::rewrite;
use safetensors::Dtype;
use serde_json::{Value, json};
use support::{source_folder, source_json};
use tempfile::TempDir;

/// A copy of the built-in model's folder, to be spoilt.
struct Folder {
    whole: TempDir,
    source: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let whole = tempfile::tempdir().unwrap();
        let source = whole.path().join("spoilt");
        fs::create_dir(&source).unwrap();
        for name in [
            "config.json",
            "generation_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "model.safetensors",
        ] {
            fs::copy(source_folder().join(name), source.join(name)).unwrap();
        }
        Self { whole, source }
    }

    /// With fields of a JSON file replaced.
    fn with(name: &str, changes: &Value) -> Self {
        let folder = Self::new();
        let mut json = source_json(name);
        for (field, value) in changes.as_object().unwrap() {
            json[field] = value.clone();
        }
        fs::write(folder.source.join(name), json.to_string()).unwrap();
        folder
    }

    /// The error's words; no model may have been installed.
    fn refusal(&self) -> (ImportError, String) {
        let data = self.whole.path().join("data");
        let error = import_folder(&self.source, &data).unwrap_err();
        let models = fs::read_dir(data.join("models")).map_or(0, Iterator::count);
        assert_eq!(models, 0, "a refused model was installed");
        let words = error.to_string();
        (error, words)
    }
}

#[test]
fn what_the_arithmetic_does_not_cover_is_named() {
    let rope = json!({"rope_theta": 10_000.0, "rope_type": "yarn", "mrope_section": [1, 2]});
    for (changes, named) in [
        (json!({"architectures": ["GemmaForCausalLM"]}), "architecture \"GemmaForCausalLM\""),
        (json!({"architectures": []}), "architecture"),
        (json!({"hidden_act": "relu"}), "activation relu"),
        (json!({"rope_scaling": {"type": "linear"}}), "linear RoPE that leaves out one"),
        (json!({"rope_scaling": {"type": "ntk", "factor": 2.0}}), "rope_type ntk"),
        (
            json!({"rope_scaling": {"rope_type": "llama3", "factor": 2.0}}),
            "leaves out one of its numbers",
        ),
        (json!({"rope_parameters": rope}), "mrope_section"),
        (json!({"rope_scaling": {"type": "yarn", "factor": 0.5}}), "yarn RoPE with factor 0.5"),
        (json!({"rope_theta": 0.0}), "rope_theta 0"),
        (json!({"partial_rotary_factor": 0.5}), "partial_rotary_factor"),
        (json!({"architectures": ["Qwen2ForCausalLM"], "mlp_bias": true}), "biases"),
        (json!({"layer_types": ["full_attention", "linear_attention"]}), "linear_attention"),
        (
            json!({"architectures": ["GraniteForCausalLM"], "residual_multiplier": 0}),
            "a scale or cap of 0",
        ),
        (json!({"num_attention_heads": 0}), "heads"),
        (json!({"head_dim": 512}), "a head of width 512"),
        (json!({"rms_norm_eps": -1.0}), "rms_norm_eps"),
        (json!({"quantization_config": {"bits": 4}}), "quantized"),
        (
            json!({"rope_scaling": {"type": "linear", "rope_type": "llama3"}}),
            "two types at once (llama3 and linear)",
        ),
        (json!({"rope_scaling": {"factor": 4.0}}), "rope_type none"),
        (json!({"logit_scale": 0.0625}), "logit_scale 0.0625"),
        (json!({"embedding_multiplier": 12}), "embedding_multiplier 12"),
        (json!({"num_local_experts": 8}), "num_local_experts 8"),
        (json!({"eos_token_id": 2048}), "end token 2048"),
    ] {
        let (error, words) = Folder::with("config.json", &changes).refusal();
        assert!(matches!(error, ImportError::Unsupported { .. }), "{changes}: {error:?}");
        assert!(words.contains(named) && words.contains("supported: "), "{changes}: {words}");
    }
}

#[test]
fn a_chat_template_that_cannot_be_used_says_why() {
    for (template, named) in [
        ("{{ messages", "syntax error"),
        ("Hello!", "does not show the question"),
        ("{{ raise_exception('tools only') }}", "tools only"),
    ] {
        let (_, words) =
            Folder::with("tokenizer_config.json", &json!({"chat_template": template})).refusal();
        assert!(words.contains("chat template") && words.contains(named), "{words}");
    }
}

#[test]
fn a_model_without_an_end_is_refused() {
    let folder = Folder::with("config.json", &json!({"eos_token_id": null}));
    fs::remove_file(folder.source.join("generation_config.json")).unwrap();
    // Neither the tokenizer's own end nor the template's.
    fs::remove_file(folder.source.join("tokenizer_config.json")).unwrap();
    assert!(folder.refusal().1.contains("end token"));
}

#[test]
fn shapes_outside_the_limits_are_refused_before_weights_are_read() {
    for (changes, named) in [
        (json!({"num_hidden_layers": 257}), "layers is 257"),
        (json!({"hidden_size": 16_416}), "d_model is 16416"),
        (json!({"hidden_size": 200}), "d_model is 200, not a multiple of 32"),
        (json!({"intermediate_size": 500}), "d_ff is 500"),
        (json!({"num_key_value_heads": 4}), "6 heads, 4 kv heads"),
        (json!({"num_key_value_heads": 0}), "kv_heads is 0"),
        (json!({"vocab_size": 1}), "vocab is 1"),
    ] {
        let folder = Folder::with("config.json", &changes);
        let (error, words) = folder.refusal();
        assert!(matches!(error, ImportError::Manifest(_)), "{changes}: {error:?}");
        assert!(words.contains(named), "{changes}: {words}");
        assert!(!folder.whole.path().join("data").exists(), "something was written");
    }
}

#[test]
fn missing_and_broken_files_are_named() {
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let folder = Folder::new();
        fs::remove_file(folder.source.join(name)).unwrap();
        let (error, words) = folder.refusal();
        assert!(matches!(error, ImportError::File { .. }) && words.contains(name), "{words}");
    }
    for name in ["config.json", "generation_config.json", "tokenizer_config.json"] {
        let folder = Folder::new();
        fs::write(folder.source.join(name), "{").unwrap();
        let (error, words) = folder.refusal();
        assert!(matches!(error, ImportError::Json { .. }) && words.contains(name), "{words}");
    }
    for broken in ["{", r#"{"model": {"type": "Unheard"}}"#] {
        let folder = Folder::new();
        fs::write(folder.source.join("tokenizer.json"), broken).unwrap();
        assert!(folder.refusal().1.contains("tokenizer cannot be read"));
    }
    let folder = Folder::new();
    fs::write(folder.source.join("model.safetensors"), [255; 100]).unwrap();
    assert!(matches!(folder.refusal().0, ImportError::Weights(_)));
    for (index, named) in [
        ("{}", "weight_map"),
        (r#"{"weight_map": {}}"#, "0 shards"),
        (r#"{"weight_map": {"a": "../a.safetensors"}}"#, "is not a shard's name"),
        (r#"{"weight_map": {"a": "a.safetensors"}}"#, "a.safetensors"),
    ] {
        let folder = Folder::new();
        fs::remove_file(folder.source.join("model.safetensors")).unwrap();
        fs::write(folder.source.join("model.safetensors.index.json"), index).unwrap();
        let words = folder.refusal().1;
        assert!(words.contains(named), "{words}");
    }
}

#[test]
fn tensors_that_are_missing_or_of_another_shape_are_named() {
    let (_, words) = Folder::with("config.json", &json!({"num_hidden_layers": 7})).refusal();
    assert!(words.contains("model.layers.6.input_layernorm.weight: missing"), "{words}");
    let (_, words) = Folder::with("config.json", &json!({"vocab_size": 2047})).refusal();
    assert!(words.contains("[2048, 192], expected [2047, 192]"), "{words}");
    let (_, words) = Folder::with("config.json", &json!({"tie_word_embeddings": false})).refusal();
    assert!(words.contains("lm_head.weight: missing"), "{words}");
}

#[test]
fn a_tensor_that_would_be_left_out_is_named() {
    let bias = vec![0_u8; 192 * 4];
    let more = [("model.layers.0.self_attn.q_proj.bias".to_owned(), Dtype::F32, vec![192], bias)];
    let folder = Folder::new();
    rewrite(&folder.source, |name| name.to_owned(), &more);
    let (_, words) = folder.refusal();
    assert!(words.contains("model.layers.0.self_attn.q_proj.bias"), "{words}");
}

#[test]
fn numbers_that_are_none_are_refused() {
    let folder = Folder::new();
    let path = folder.source.join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    // The last value becomes an infinity of BF16.
    bytes[end - 2..].copy_from_slice(&[0x80, 0x7f]);
    fs::write(&path, bytes).unwrap();
    let (_, words) = folder.refusal();
    assert!(words.contains("not a number"), "{words}");
}

#[test]
fn a_folder_whose_name_cannot_be_a_model_s_is_refused() {
    let folder = Folder::new();
    let renamed = folder.whole.path().join("a name");
    fs::rename(&folder.source, &renamed).unwrap();
    let error = import_folder(&renamed, &folder.whole.path().join("data")).unwrap_err();
    assert!(error.to_string().contains("a name"), "{error}");
}

#[test]
fn temperatures_that_no_step_may_carry_become_the_nearest_that_may() {
    for (temperature, milli) in [(0.001, 50), (0.049, 50), (0.05, 50), (5.0, 5000), (70.0, 5000)] {
        let folder = Folder::with("generation_config.json", &json!({"temperature": temperature}));
        let data = folder.whole.path().join("data");
        import_folder(&folder.source, &data).unwrap();
        let manifest = fs::read(data.join("models/spoilt.json")).unwrap();
        let defaults = Manifest::from_bytes(&manifest).unwrap().defaults;
        assert_eq!(defaults.temperature_milli, milli, "{temperature}");
        assert!(defaults.sampling(1).is_valid(), "{temperature}");
    }
}
