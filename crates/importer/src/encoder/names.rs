//! What each family calls the tensors that [`EncoderSource`](super::EncoderSource) asks for by BERT's
//! names.
//!
//! Beyond those there are `qkv` and `gate_up` of a layer, which are cut into their parts, its
//! `intermediate.gate`, `final_norm`, and `score.dense`, `score.norm`, `score.out` of a head.

use potluck_model::encoder::Family;

/// Parts of a layer as others call them.
const LAYER: [(&str, &str); 29] = [
    // Nomic, as its makers publish it; `fc12` goes through the activation.
    ("attn.Wqkv", "qkv"),
    ("attn.out_proj", "attention.output.dense"),
    ("norm1", "attention.output.LayerNorm"),
    ("norm2", "output.LayerNorm"),
    ("mlp.fc11", "intermediate.dense"),
    ("mlp.fc12", "intermediate.gate"),
    ("mlp.fc2", "output.dense"),
    // And as `transformers` has it.
    ("self_attn.q_proj", "attention.self.query"),
    ("self_attn.k_proj", "attention.self.key"),
    ("self_attn.v_proj", "attention.self.value"),
    ("self_attn.o_proj", "attention.output.dense"),
    ("post_attention_layernorm", "attention.output.LayerNorm"),
    ("post_mlp_layernorm", "output.LayerNorm"),
    ("mlp.up_proj", "intermediate.dense"),
    ("mlp.gate_proj", "intermediate.gate"),
    ("mlp.down_proj", "output.dense"),
    // ModernBERT.
    ("attn_norm", "attention.output.LayerNorm"),
    ("attn.Wo", "attention.output.dense"),
    ("mlp_norm", "output.LayerNorm"),
    ("mlp.Wi", "gate_up"),
    ("mlp.Wo", "output.dense"),
    // GGUF.
    ("attn_q", "attention.self.query"),
    ("attn_k", "attention.self.key"),
    ("attn_v", "attention.self.value"),
    ("attn_qkv", "qkv"),
    ("attn_output", "attention.output.dense"),
    ("attn_output_norm", "attention.output.LayerNorm"),
    ("layer_output_norm", "output.LayerNorm"),
    ("ffn_down", "output.dense"),
];

/// What a folder's tensor is called here; none if it is called so already. `scores` says whether the
/// model does.
pub(super) fn folder_name(family: Family, scores: bool, name: &str) -> Option<String> {
    let roots = ["bert.", "roberta.", "model."];
    let own = roots.iter().find_map(|root| name.strip_prefix(root)).unwrap_or(name);
    // How TensorFlow called a norm's two.
    let own = match own.strip_suffix(".gamma") {
        Some(norm) => format!("{norm}.weight"),
        None => own.strip_suffix(".beta").map_or(own.to_owned(), |norm| format!("{norm}.bias")),
    };
    let (part, kind) = own.rsplit_once('.')?;
    let whole = match (family, part) {
        (_, "emb_ln") => Some("embeddings.LayerNorm"),
        (Family::Modern, "embeddings.tok_embeddings") => Some("embeddings.word_embeddings"),
        (Family::Modern, "embeddings.norm") => Some("embeddings.LayerNorm"),
        (Family::Modern, "head.dense") if scores => Some("score.dense"),
        (Family::Modern, "head.norm") if scores => Some("score.norm"),
        (Family::Bert, "classifier.dense") if scores => Some("score.dense"),
        (Family::Bert, "classifier.out_proj") if scores => Some("score.out"),
        (_, "classifier") if scores => Some("score.out"),
        _ => None,
    };
    let renamed = match whole {
        Some(part) => format!("{part}.{kind}"),
        None => layer_name(&["encoder.layers.", "layers."], &own).unwrap_or(own),
    };
    (renamed != name).then_some(renamed)
}

/// What a GGUF file's tensor is called here.
pub(crate) fn gguf_name(family: Family, name: &str) -> String {
    let Some((part, kind)) = name.rsplit_once('.') else { return name.to_owned() };
    let whole = match part {
        "token_embd" => "embeddings.word_embeddings",
        "position_embd" => "embeddings.position_embeddings",
        "token_types" => "embeddings.token_type_embeddings",
        "token_embd_norm" => "embeddings.LayerNorm",
        "output_norm" => "final_norm",
        "cls" => "score.dense",
        "cls.norm" => "score.norm",
        "cls.output" => "score.out",
        _ => "",
    };
    if !whole.is_empty() {
        return format!("{whole}.{kind}");
    }
    let own = match (family, part.rsplit_once('.')) {
        (Family::Modern, Some((layer, "ffn_up"))) => format!("{layer}.mlp.Wi.{kind}"),
        (_, Some((layer, "ffn_up"))) => format!("{layer}.mlp.fc11.{kind}"),
        (_, Some((layer, "ffn_gate"))) => format!("{layer}.mlp.fc12.{kind}"),
        (Family::Modern, Some((layer, "ffn_norm"))) => format!("{layer}.mlp_norm.{kind}"),
        _ => name.to_owned(),
    };
    layer_name(&["blk."], &own).unwrap_or(own)
}

/// The name of a layer's tensor, behind one of these.
fn layer_name(before: &[&str], name: &str) -> Option<String> {
    let rest = before.iter().find_map(|before| name.strip_prefix(before))?;
    let (layer, part) = rest.split_once('.')?;
    let (part, kind) = part.rsplit_once('.')?;
    let (_, named) = LAYER.iter().find(|(theirs, _)| *theirs == part)?;
    Some(format!("encoder.layer.{layer}.{named}.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_s_names_become_one() {
        for (family, scores, theirs, ours) in [
            (
                Family::Bert,
                false,
                "bert.encoder.layer.0.output.dense.bias",
                "encoder.layer.0.output.dense.bias",
            ),
            (Family::Bert, false, "embeddings.LayerNorm.gamma", "embeddings.LayerNorm.weight"),
            (Family::Bert, true, "classifier.weight", "score.out.weight"),
            (Family::Bert, true, "classifier.dense.bias", "score.dense.bias"),
            (
                Family::Nomic,
                false,
                "encoder.layers.3.mlp.fc12.weight",
                "encoder.layer.3.intermediate.gate.weight",
            ),
            (
                Family::Nomic,
                false,
                "layers.3.mlp.gate_proj.weight",
                "encoder.layer.3.intermediate.gate.weight",
            ),
            (
                Family::Modern,
                true,
                "model.layers.1.mlp.Wi.weight",
                "encoder.layer.1.gate_up.weight",
            ),
            (Family::Modern, true, "head.norm.weight", "score.norm.weight"),
        ] {
            assert_eq!(folder_name(family, scores, theirs).as_deref(), Some(ours));
        }
        // Of a model that makes vectors a classifier is none of ours.
        assert_eq!(folder_name(Family::Bert, false, "classifier.weight"), None);
        for (family, theirs, ours) in [
            (Family::Bert, "token_types.weight", "embeddings.token_type_embeddings.weight"),
            (Family::Bert, "blk.2.ffn_up.bias", "encoder.layer.2.intermediate.dense.bias"),
            (Family::Nomic, "blk.2.ffn_gate.weight", "encoder.layer.2.intermediate.gate.weight"),
            (Family::Modern, "blk.2.ffn_up.weight", "encoder.layer.2.gate_up.weight"),
            (Family::Modern, "blk.2.ffn_norm.weight", "encoder.layer.2.output.LayerNorm.weight"),
            (Family::Modern, "output_norm.weight", "final_norm.weight"),
            (Family::Bert, "blk.2.ffn_norm.weight", "blk.2.ffn_norm.weight"),
        ] {
            assert_eq!(gguf_name(family, theirs), ours);
        }
    }
}
