//! Files as people have them become the model that they describe, however their makers wrote them down:
//! cases from the field, each with its right value.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "support/gguf.rs"]
mod gguf;
#[path = "support/rewritten.rs"]
mod rewritten;
#[path = "../../engine/tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use gguf::{BF16, F32, Gguf, Tensor, of_f32, of_text, of_u32};
use potluck_importer::{Options, import, import_folder};
use potluck_model::chat::{Conversation, LocalTime};
use potluck_model::package::Manifest;
use rewritten::rewrite;
use safetensors::Dtype;
use serde_json::{Value, json};
use support::{source_folder, source_json};
use tempfile::TempDir;

/// A copy of the built-in model's folder, changed.
fn folder(name: &str, changes: &Value) -> (TempDir, PathBuf) {
    let whole = tempfile::tempdir().unwrap();
    let source = whole.path().join("changed");
    fs::create_dir(&source).unwrap();
    for file in [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors",
    ] {
        fs::copy(source_folder().join(file), source.join(file)).unwrap();
    }
    let mut json = source_json(name);
    for (field, value) in changes.as_object().unwrap() {
        json[field] = value.clone();
    }
    fs::write(source.join(name), json.to_string()).unwrap();
    (whole, source)
}

fn manifest(whole: &Path, source: &Path) -> Manifest {
    let data = whole.join("data");
    import_folder(source, &data).unwrap();
    Manifest::from_bytes(&fs::read(data.join("models/changed.json")).unwrap()).unwrap()
}

fn imported(name: &str, changes: &Value) -> Manifest {
    let (whole, source) = folder(name, changes);
    manifest(whole.path(), &source)
}

fn unchanged() -> Manifest {
    imported("config.json", &json!({}))
}

/// A GGUF file's manifest, or the words with which it is refused.
fn of_gguf(gguf: &Gguf) -> Result<Manifest, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    fs::write(&path, gguf.to_bytes()).unwrap();
    import(&path, folder.path(), &Options::default(), &mut |_| ()).map_err(|e| e.to_string())?;
    Ok(Manifest::from_bytes(&fs::read(folder.path().join("models/tiny.json")).unwrap()).unwrap())
}

/// F08: both spellings, as transformers writes them after any load and save.
#[test]
fn both_spellings_of_a_rope_are_one() {
    let plain = imported(
        "config.json",
        &json!({"rope_scaling": {"type": "default", "rope_type": "default"}}),
    );
    assert_eq!(plain.tables, unchanged().tables);
    let scaled = |both: Value| imported("config.json", &json!({ "rope_scaling": both })).tables;
    let numbers = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192});
    let mut both = numbers.clone();
    both["type"] = json!("llama3");
    assert_eq!(scaled(both), scaled(numbers));
}

/// F06: makers change one place that names the end, and forget the others.
#[test]
fn all_places_that_name_an_end_count() {
    let (whole, source) = folder("config.json", &json!({"eos_token_id": 0}));
    fs::write(source.join("generation_config.json"), json!({"eos_token_id": 0}).to_string())
        .unwrap();
    assert_eq!(
        manifest(whole.path(), &source).end_tokens,
        [0, 2],
        "the tokenizer's own end is there"
    );
    // What the template puts behind an answer, where nothing else names it.
    let (whole, source) = folder("config.json", &json!({"eos_token_id": 0}));
    fs::write(source.join("generation_config.json"), json!({"eos_token_id": 0}).to_string())
        .unwrap();
    let mut tokenizer = source_json("tokenizer_config.json");
    tokenizer["eos_token"] = json!("<|endoftext|>");
    fs::write(source.join("tokenizer_config.json"), tokenizer.to_string()).unwrap();
    assert_eq!(manifest(whole.path(), &source).end_tokens, [0, 2]);
}

/// F10: an answer ends where the model ends it.
#[test]
fn no_limit_is_made_up() {
    let (whole, source) = folder("config.json", &json!({}));
    fs::write(source.join("generation_config.json"), json!({"eos_token_id": 2}).to_string())
        .unwrap();
    let manifest = manifest(whole.path(), &source);
    assert_eq!(manifest.defaults.max_tokens, manifest.config.max_positions);
}

/// F16, F17: marks of training, and the asker's date.
#[test]
fn templates_as_makers_write_them_are_taken() {
    for (template, text) in [
        (
            "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.role }}:{{ m.content }}{% endif %}{% endfor %}",
            "user:hi",
        ),
        ("{{ strftime_now('%d %b %Y %H:%M') }} {{ messages[0].content }}", "01 Jan 1970 00:00 hi"),
    ] {
        let chat = imported("tokenizer_config.json", &json!({ "chat_template": template })).chat;
        assert_eq!(chat.text(&Conversation::question("hi"), LocalTime(0)).unwrap(), text);
    }
}

/// F27, F3b: names without their first part, and tensors that nothing asks for.
#[test]
fn tensors_are_found_under_either_name_and_tables_are_let_be() {
    let (whole, source) = folder("config.json", &json!({}));
    let more = [
        ("layers.0.self_attn.rotary_emb.inv_freq".to_owned(), Dtype::F32, vec![16], vec![0; 64]),
        ("position_ids".to_owned(), Dtype::I64, vec![1, 4], vec![0; 32]),
        ("unused".to_owned(), Dtype::F32, vec![0, 1 << 40], Vec::new()),
    ];
    rewrite(&source, |name| name.strip_prefix("model.").unwrap_or(name).to_owned(), &more);
    let (got, expected) = (manifest(whole.path(), &source), unchanged());
    assert_eq!(got.layer_blobs, expected.layer_blobs);
    assert_eq!((got.embedding, got.head), (expected.embedding, expected.head));
}

/// A file that does not say whether its head is the embedding shows it.
#[test]
fn tied_heads_are_found_out() {
    let mut config = source_json("config.json");
    config.as_object_mut().unwrap().remove("tie_word_embeddings");
    let (whole, source) = folder("config.json", &json!({}));
    fs::write(source.join("config.json"), config.to_string()).unwrap();
    assert_eq!(manifest(whole.path(), &source).head, unchanged().head);
}

/// F11, F21: what a file says and this arithmetic has not is never left out.
#[test]
fn nothing_of_a_gguf_file_is_left_out() {
    let changed = |change: &dyn Fn(&mut Gguf)| {
        let mut gguf = Gguf::tiny(BF16);
        change(&mut gguf);
        of_gguf(&gguf)
    };
    let bias = |g: &mut Gguf| {
        let bytes = 5.0_f32.to_le_bytes().repeat(192);
        g.tensors.push(Tensor {
            name: "blk.0.attn_q.bias".to_owned(),
            sizes: vec![192],
            kind: F32,
            bytes,
            offset: None,
        });
    };
    // Computed with where every matrix has its own; one alone is none of the model's.
    assert!(changed(&bias).unwrap_err().contains("proj.bias"));
    for (key, value, named) in [
        ("llama.rope.scale_linear", of_f32(4.0), "rope.scale_linear"),
        ("llama.rope.scaling.factor", of_f32(4.0), "rope.scaling.factor"),
        ("llama.logit_scale", of_f32(0.5), "logit_scale"),
        ("llama.attention.clamp_kqv", of_f32(8.0), "attention.clamp_kqv"),
    ] {
        let words = changed(&|g| g.set(key, value.clone())).unwrap_err();
        assert!(words.contains(named), "{key}: {words}");
    }
    let plain = of_gguf(&Gguf::tiny(BF16)).unwrap();
    let harmless = changed(&|g| {
        g.set("llama.rope.scaling.type", of_text("linear"));
        g.set("llama.rope.scaling.factor", of_f32(1.0));
    });
    assert_eq!(harmless.unwrap().tables, plain.tables);
}

/// F13: what a file says of sampling holds; where it says nothing, nothing is drawn greedily.
#[test]
fn a_gguf_file_is_sampled_as_its_makers_do() {
    let plain = of_gguf(&Gguf::tiny(BF16)).unwrap().defaults;
    assert_eq!((plain.temperature_milli, plain.top_p_milli, plain.top_k), (800, 950, 40));
    let mut gguf = Gguf::tiny(BF16);
    gguf.set("general.sampling.temp", of_f32(0.6));
    gguf.set("general.sampling.top_k", of_u32(20));
    gguf.set("general.sampling.penalty_repeat", of_f32(1.05));
    let hinted = of_gguf(&gguf).unwrap().defaults;
    assert_eq!((plain.repetition_penalty_milli, hinted.repetition_penalty_milli), (1000, 1050));
    gguf.set("general.sampling.penalty_last_n", of_u32(0));
    assert_eq!(of_gguf(&gguf).unwrap().defaults.repetition_penalty_milli, 1000);
    assert_eq!((hinted.temperature_milli, hinted.top_p_milli, hinted.top_k), (600, 950, 20));
}

/// F13: the makers' penalty is honoured, one beyond what a step may carry as the nearest that it may; one
/// of 1 is none, and the package is the same.
#[test]
fn a_penalty_of_the_makers_is_honoured() {
    let hinted = |penalty: Value| {
        imported("generation_config.json", &json!({ "repetition_penalty": penalty }))
    };
    for (penalty, milli) in
        [(json!(1.1), 1100), (json!(1.05), 1050), (json!(7), 2000), (json!(0.1), 500)]
    {
        assert_eq!(hinted(penalty.clone()).defaults.repetition_penalty_milli, milli, "{penalty}");
    }
    let none = hinted(json!(1.0));
    assert_eq!(none.to_bytes().unwrap(), unchanged().to_bytes().unwrap());
}

/// F09: a name for Qwen 2's pattern.
#[test]
fn other_names_for_a_pattern_are_known() {
    for pre in ["deepseek-r1-qwen", "tekken", "smaug-bpe"] {
        let mut gguf = Gguf::tiny(BF16);
        gguf.set("tokenizer.ggml.pre", of_text(pre));
        of_gguf(&gguf).unwrap();
    }
}

/// F18: a model in parts is read whole, whichever part is named; a part alone is no model.
#[test]
fn a_model_in_parts_is_read_whole() {
    let whole = Gguf::tiny(BF16);
    let (mut first, mut second) = (whole.clone(), Gguf::default());
    second.tensors = first.tensors.split_off(20);
    let count = u32::try_from(whole.tensors.len()).unwrap();
    for (number, part) in [(0, &mut first), (1, &mut second)] {
        part.set("split.no", of_u32(number));
        part.set("split.count", of_u32(2));
        part.set("split.tensors.count", of_u32(count));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |number: u32| folder.path().join(format!("tiny-0000{number}-of-00002.gguf"));
    let add = |path: &Path| {
        import(path, folder.path(), &Options::default(), &mut |_| ()).map_err(|e| e.to_string())
    };
    fs::write(path(1), first.to_bytes()).unwrap();
    let words = add(&path(1)).unwrap_err();
    assert!(
        words.contains("one of 2 parts") && words.contains("tiny-00002-of-00002.gguf"),
        "{words}"
    );
    fs::write(path(2), second.to_bytes()).unwrap();
    add(&path(2)).unwrap();
    let got =
        Manifest::from_bytes(&fs::read(folder.path().join("models/tiny.json")).unwrap()).unwrap();
    assert_eq!(got.layer_blobs, of_gguf(&whole).unwrap().layer_blobs);
    // Under another name, the file itself says that it is not all.
    let renamed = folder.path().join("part.gguf");
    fs::write(&renamed, first.to_bytes()).unwrap();
    let words = add(&renamed).unwrap_err();
    assert!(words.contains("one of 2 parts") && words.contains("-00001-of-00002.gguf"), "{words}");
}

#[test]
fn a_file_of_the_other_endianness_is_named() {
    let mut gguf = Gguf::tiny(BF16);
    gguf.version = Some(3_u32.swap_bytes());
    assert!(of_gguf(&gguf).unwrap_err().contains("big-endian"));
}
