//! The GGUF files that llama.cpp's converter makes of small random encoders: keys, names and layout as it
//! writes them (looked up by running it).
#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part")]

use crate::encoders::{
    CONTROLS, Case, VOCAB, byte_level_tokens, charsmap, merges, unigram_pieces, word_piece_tokens,
};
use crate::gguf::{
    F32, Gguf, Tensor, of_bool, of_f32, of_f32s, of_i32s, of_text, of_texts, of_u8s, of_u32,
};

/// A case as a file.
pub fn file(case: &Case) -> Gguf {
    let mut file = Gguf::default();
    let prefix = prefix(case);
    file.set("general.architecture", of_text(prefix));
    let number = |field: &str| u32::try_from(case.number(field)).unwrap();
    let mut set = |key: &str, value: Vec<u8>| file.set(&format!("{prefix}.{key}"), value);
    for (key, field) in [
        ("block_count", "num_hidden_layers"),
        ("embedding_length", "hidden_size"),
        ("feed_forward_length", "intermediate_size"),
        ("attention.head_count", "num_attention_heads"),
    ] {
        set(key, of_u32(number(field)));
    }
    // XLM-RoBERTa's without those that no token has.
    let first = if case.is("xlm-roberta") { 2 } else { 0 };
    set("context_length", of_u32(number("max_position_embeddings") - first));
    set("attention.causal", of_bool(false));
    if case.scores() {
        set("classifier.output_labels", of_texts(&["LABEL_0".to_owned()]));
    } else {
        set("pooling_type", of_u32(1));
    }
    #[expect(clippy::cast_possible_truncation, reason = "as the converter writes it")]
    let float = |field: &str| case.config[field].as_f64().unwrap() as f32;
    if case.is("modernbert") {
        set("attention.layer_norm_rms_epsilon", of_f32(float("norm_eps")));
        set("rope.freq_base", of_f32(float("global_rope_theta")));
        set("rope.freq_base_swa", of_f32(float("local_rope_theta")));
        set("attention.sliding_window", of_u32(number("local_attention")));
        set("attention.sliding_window_pattern", of_u32(number("global_attn_every_n_layers")));
        set("rope.scaling.type", of_text("none"));
        set("vocab_size", of_u32(number("vocab_size")));
        set("hidden_activation", of_text("gelu"));
    } else {
        set("attention.layer_norm_epsilon", of_f32(float("layer_norm_eps")));
    }
    if case.is("nomic_bert") {
        set("rope.freq_base", of_f32(1000.0));
    }
    vocabulary(&mut file, case);
    for (name, shape, values) in case.tensors() {
        let Some(renamed) = ggml_name(&name) else { continue };
        let values = if name.ends_with("position_embeddings.weight") {
            values[first as usize * shape[1]..].to_vec()
        } else {
            values
        };
        let rows = values.len() / shape[1..].iter().product::<usize>();
        let sizes = shape[1..].iter().rev().chain([&rows]).map(|size| *size as u64).collect();
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        file.tensors.push(Tensor { name: renamed, sizes, kind: F32, bytes, offset: None });
    }
    file
}

pub fn prefix(case: &Case) -> &'static str {
    match case.config["model_type"].as_str().unwrap() {
        "nomic_bert" => "nomic-bert",
        "modernbert" => "modern-bert",
        _ => "bert",
    }
}

/// Tokens that only fill the vocabulary up.
const UNUSED: i32 = 5;

fn vocabulary(file: &mut Gguf, case: &Case) {
    let mut set = |key: &str, value: Vec<u8>| file.set(&format!("tokenizer.ggml.{key}"), value);
    set("add_bos_token", of_bool(true));
    set("add_eos_token", of_bool(true));
    let ids = |set: &mut dyn FnMut(&str, Vec<u8>), all: [(&str, u32); 4]| {
        for (name, id) in all {
            set(&format!("{name}_token_id"), of_u32(id));
        }
    };
    if case.is("xlm-roberta") {
        let pieces = unigram_pieces();
        let mut kinds = vec![1; pieces.len()];
        kinds[..4].copy_from_slice(&[3, 3, 3, 2]);
        let mut tokens: Vec<String> = pieces.iter().map(|(piece, _)| piece.clone()).collect();
        #[expect(clippy::cast_possible_truncation, reason = "as the converter writes them")]
        let mut scores: Vec<f32> = pieces.iter().map(|(_, score)| *score as f32).collect();
        for at in tokens.len()..VOCAB {
            tokens.push(format!("[PAD{at}]"));
            scores.push(-10_000.0);
            kinds.push(UNUSED);
        }
        set("model", of_text("t5"));
        set("pre", of_text("default"));
        set("tokens", of_texts(&tokens));
        set("scores", of_f32s(&scores));
        set("token_type", of_i32s(&kinds));
        set("add_space_prefix", of_bool(true));
        set("token_type_count", of_u32(1));
        set("remove_extra_whitespaces", of_bool(false));
        set("precompiled_charsmap", of_u8s(&charsmap()));
        ids(&mut set, [("bos", 0), ("eos", 2), ("unknown", 3), ("seperator", 2)]);
        set("add_sep_token", of_bool(true));
        return;
    }
    let (model, pre, tokens) = match case.is("modernbert") {
        true => ("gpt2", "modern-bert", byte_level_tokens()),
        false => ("bert", "bert-bge", word_piece_tokens()),
    };
    let phantom = |token: &String| match token.strip_prefix("##") {
        _ if model == "gpt2" || CONTROLS.contains(&token.as_str()) => token.clone(),
        Some(rest) => rest.to_owned(),
        None => format!("\u{2581}{token}"),
    };
    let kind = |token: &String| match token.as_str() {
        control if CONTROLS.contains(&control) => 3,
        "  " => 4,
        _ => 1,
    };
    set("model", of_text(model));
    set("pre", of_text(pre));
    set("tokens", of_texts(&tokens.iter().map(phantom).collect::<Vec<_>>()));
    set("token_type", of_i32s(&tokens.iter().map(kind).collect::<Vec<_>>()));
    ids(&mut set, [("bos", 2), ("eos", 3), ("unknown", 1), ("seperator", 3)]);
    set("add_sep_token", of_bool(false));
    if model == "gpt2" {
        let merges: Vec<String> = merges().iter().map(|pair| pair.join(" ")).collect();
        set("merges", of_texts(&merges));
    } else {
        set("token_type_count", of_u32(2));
        set("normalizer.lowercase", of_bool(true));
    }
}

/// What the converter calls a tensor; none if it leaves it out.
fn ggml_name(name: &str) -> Option<String> {
    let roots = ["bert.", "roberta.", "model."];
    let name = roots.iter().find_map(|root| name.strip_prefix(root)).unwrap_or(name);
    if name.starts_with("pooler.") {
        return None;
    }
    let own = [
        ("embeddings.word_embeddings", "token_embd"),
        ("embeddings.tok_embeddings", "token_embd"),
        ("embeddings.position_embeddings", "position_embd"),
        ("embeddings.token_type_embeddings", "token_types"),
        ("embeddings.LayerNorm", "token_embd_norm"),
        ("embeddings.norm", "token_embd_norm"),
        ("emb_ln", "token_embd_norm"),
        ("final_norm", "output_norm"),
        ("encoder.layers.", "blk."),
        ("encoder.layer.", "blk."),
        ("layers.", "blk."),
        ("attention.self.query", "attn_q"),
        ("attention.self.key", "attn_k"),
        ("attention.self.value", "attn_v"),
        ("attention.output.dense", "attn_output"),
        ("attention.output.LayerNorm", "attn_output_norm"),
        ("intermediate.dense", "ffn_up"),
        ("output.dense", "ffn_down"),
        ("output.LayerNorm", "layer_output_norm"),
        ("attn.Wqkv", "attn_qkv"),
        ("attn.out_proj", "attn_output"),
        ("attn.Wo", "attn_output"),
        ("norm1", "attn_output_norm"),
        ("norm2", "layer_output_norm"),
        ("mlp.fc11", "ffn_up"),
        ("mlp.fc12", "ffn_gate"),
        ("mlp.fc2", "ffn_down"),
        ("mlp.Wi", "ffn_up"),
        ("mlp.Wo", "ffn_down"),
        ("mlp_norm", "ffn_norm"),
        ("classifier.dense", "cls"),
        ("classifier.out_proj", "cls.output"),
        ("classifier", "cls.output"),
        ("head.dense", "cls"),
        ("head.norm", "cls.norm"),
    ];
    let renamed = own.iter().fold(name.to_owned(), |name, (theirs, ours)| {
        // A layer's `attention.output.dense` ends with another one's name.
        if name.contains("attn_") && theirs.starts_with("output.") {
            name
        } else {
            name.replace(theirs, ours)
        }
    });
    Some(renamed)
}
