//! What only gpt-oss has: experts that are packed, and answers of several messages (the harmony
//! format).
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
use std::path::{Path, PathBuf};

use architecture::{Model, models};
use gguf::{of_text, of_u32};
use potluck_importer::{Options, import};
use potluck_model::chat::{Conversation, LocalTime};
use potluck_model::package::Manifest;
use serde_json::{Value, json};
use support::source_json;
use tempfile::TempDir;

fn gpt_oss() -> Model {
    models().into_iter().find(|model| model.name == "gpt-oss").unwrap()
}

/// What a folder or a file named `random` becomes, or the words with which it is refused.
fn imported(source: &Path) -> Result<Manifest, String> {
    let data = tempfile::tempdir().unwrap();
    import(source, data.path(), &Options::default(), &mut |_| ()).map_err(|it| it.to_string())?;
    Ok(Manifest::from_bytes(&fs::read(data.path().join("models/random.json")).unwrap()).unwrap())
}

fn folder() -> (TempDir, PathBuf) {
    let whole = tempfile::tempdir().unwrap();
    let folder = whole.path().join("random");
    fs::create_dir(&folder).unwrap();
    (whole, folder)
}

#[test]
fn packed_experts_are_the_loose_ones() {
    let model = gpt_oss();
    let [(_loose, loose), (_packed, packed)] = [folder(), folder()];
    model.write(&loose);
    model.write_packed(&packed);
    let length = |folder: &Path| fs::metadata(folder.join("model.safetensors")).unwrap().len();
    assert!(length(&packed) * 2 < length(&loose));
    let (loose, packed) = (imported(&loose).unwrap(), imported(&packed).unwrap());
    assert_eq!(packed.expert_blobs.len(), 4);
    assert_eq!(packed, loose);
    assert_eq!((packed.config.mlp_limit, packed.config.sinks), (Some(7 << 26), true));
    assert!(packed.config.experts.unwrap().router_bias);
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    for (changes, named) in [
        (json!({"quantization_config": {"quant_method": "fp8"}}), "quantized"),
        (json!({"swiglu_alpha": 1.5}), "swiglu_alpha 1.5"),
        (json!({"swiglu_limit": 20.0}), "swiglu_limit 20"),
        (json!({"rope_scaling": null}), "does not say how it turns"),
        (json!({"num_local_experts": 5}), "gate_up_proj_bias: shape [6, 192], expected [5, 192]"),
    ] {
        let mut model = gpt_oss();
        for (field, value) in changes.as_object().unwrap() {
            model.config[field] = value.clone();
        }
        let (_whole, folder) = folder();
        model.write(&folder);
        let words = imported(&folder).unwrap_err();
        assert!(words.contains(named), "{changes}: {words}");
    }
}

const CONTROLS: [&str; 6] =
    ["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>"];
/// Ids of the last two.
const ENDS: [u32; 2] = [2052, 2053];
/// As gpt-oss's, without tools and the system's words.
const TEMPLATE: &str = "\
{%- for message in messages -%}
{%- if message.role == 'assistant' -%}
{{- '<|start|>assistant<|channel|>final<|message|>' + message.content -}}
{%- if loop.last and not add_generation_prompt -%}{{- '<|return|>' -}}{%- else -%}{{- '<|end|>' -}}{%- endif -%}
{%- else -%}
{{- '<|start|>' + message.role + '<|message|>' + message.content + '<|end|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start|>assistant' -}}{%- endif -%}";

/// An answer thinks in a message of its own, which must not end it.
#[test]
fn an_answer_ends_behind_its_last_message() {
    let mut model = gpt_oss();
    let (whole, folder) = folder();
    let mut tokenizer = source_json("tokenizer.json");
    let added = tokenizer["added_tokens"].as_array_mut().unwrap();
    let like = added[0].clone();
    for (token, id) in CONTROLS.into_iter().zip(2048..) {
        let mut one = like.clone();
        (one["id"], one["content"]) = (json!(id), json!(token));
        added.push(one);
    }
    // Rows for them.
    model.config["vocab_size"] = json!(2080);
    let mut model = model.redrawn();
    model.write(&folder);
    let write = |name: &str, json: &Value| fs::write(folder.join(name), json.to_string()).unwrap();
    write("tokenizer.json", &tokenizer);
    write("generation_config.json", &json!({"eos_token_id": [ENDS[0], 0, ENDS[1]]}));
    let mut config = source_json("tokenizer_config.json");
    (config["eos_token"], config["chat_template"]) = (json!("<|return|>"), json!(TEMPLATE));
    write("tokenizer_config.json", &config);
    let of_folder = imported(&folder).unwrap();
    assert_eq!(of_folder.end_tokens, [0, ENDS[0], ENDS[1]]);
    let text = of_folder.chat.text(&Conversation::question("Hello"), LocalTime(0)).unwrap();
    assert_eq!(text, "<|start|>user<|message|>Hello<|end|><|start|>assistant");

    model.file.vocabulary_with(&CONTROLS);
    model.file.set("tokenizer.ggml.eos_token_id", of_u32(ENDS[0]));
    model.file.set("tokenizer.chat_template", of_text(TEMPLATE));
    let path = whole.path().join("random.gguf");
    fs::write(&path, model.file.to_bytes()).unwrap();
    // The first two are ones that llama.cpp stops at whatever a file names, as it does at `<|end|>` elsewhere.
    assert_eq!(imported(&path).unwrap().end_tokens, [0, 2, ENDS[0], ENDS[1]]);
}
