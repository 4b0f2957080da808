//! One GGUF file: metadata, a table of tensors, and their data.
//!
//! Read from its specification (ggml, `docs/gguf.md`), versions 2 and 3, little endian. Everything
//! that a header says about itself (counts, lengths, offsets) is compared with the file's real
//! length before memory is taken for it. Names become those of Hugging Face; rows of `llama`'s
//! queries and keys come back in the order in which they were before llama.cpp's converter
//! interleaved them.

mod header;
mod metadata;
mod tokenizer;

use std::path::Path;

use header::{Listed, header};
use metadata::Metadata;
use tokenizer::Vocabulary;

use super::element::Element;
use super::file::WeightsFile;
use super::tensors::{Stored, Tensors, tensor_error};
use super::{Chat, Generation, Shape, Source, Specials};
use crate::error::ImportError;
use crate::rope;

/// Where tensors start, if the file does not say.
const DEFAULT_ALIGNMENT: u64 = 32;
/// Llama's own, where the file says nothing.
const DEFAULT_THETA: f64 = 10_000.0;
/// What ends an answer, whatever the file names as its end: llama.cpp stops at these too.
const ENDS_OF_TURN: [&str; 5] =
    ["<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>", "<|end|>"];

/// Opens a file.
pub(super) fn open(path: &Path) -> Result<Source, ImportError> {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    read(WeightsFile::open(path)?, name)
}

/// Reads a file's header and checks all of it.
pub(super) fn read(file: WeightsFile, name: String) -> Result<Source, ImportError> {
    let (metadata, listed, header_bytes) = header(&file)?;
    let alignment = metadata.integer("general.alignment")?.map_or(DEFAULT_ALIGNMENT, u64::from);
    if !alignment.is_power_of_two() {
        return Err(file.broken(&format!("an alignment of {alignment}, which is no power of two")));
    }
    let data = header_bytes.next_multiple_of(alignment);
    let architecture = metadata.text("general.architecture").unwrap_or_default();
    let known = ["llama", "qwen2", "qwen3"];
    let Some(architecture) = known.into_iter().find(|known| *known == architecture) else {
        let what = format!("architecture {:?}", architecture.chars().take(64).collect::<String>());
        return Err(ImportError::Unsupported {
            what,
            supported: format!("{} in GGUF files", known.join(", ")),
        });
    };
    let tensors = tensors(file, &listed, data, alignment, &metadata, architecture)?;
    let shape = shape(&metadata, architecture, &tensors)?;
    let vocabulary = Vocabulary::read(&metadata)?;
    let token = |key: &str| -> Result<Option<u32>, ImportError> {
        let id = metadata.integer(&format!("tokenizer.ggml.{key}_token_id"))?;
        Ok(id.filter(|id| vocabulary.tokens.get(*id as usize).is_some()))
    };
    let (bos, eos) = (token("bos")?, token("eos")?);
    let mut end_tokens: Vec<u32> = eos.into_iter().chain(token("eot")?).collect();
    end_tokens.extend((0..).zip(&vocabulary.tokens).filter_map(|(id, text)| {
        (vocabulary.is_control(id) && ENDS_OF_TURN.contains(&text.as_str())).then_some(id)
    }));
    end_tokens.sort_unstable();
    end_tokens.dedup();
    let text = |id: Option<u32>| {
        id.and_then(|id| vocabulary.tokens.get(id as usize)).cloned().unwrap_or_default()
    };
    let specials = Specials { bos: text(bos), eos: text(eos) };
    Ok(Source {
        name,
        license: metadata.text("general.license").unwrap_or("unknown").chars().take(200).collect(),
        shape,
        tokenizer: tokenizer::to_json(&vocabulary)?,
        chat: Chat {
            template: metadata.text("tokenizer.chat_template").map(str::to_owned),
            specials,
        },
        end_tokens,
        generation: Generation::default(),
        tensors,
    })
}

fn shape(
    metadata: &Metadata,
    architecture: &'static str,
    tensors: &Tensors,
) -> Result<Shape, ImportError> {
    let key = |name: &str| format!("{architecture}.{name}");
    let needed = |name: &str| {
        metadata
            .integer(&key(name))?
            .ok_or_else(|| ImportError::Weights(format!("the file does not say {}", key(name))))
    };
    let unsupported = |what: String, supported: &str| {
        Err(ImportError::Unsupported { what, supported: supported.to_owned() })
    };
    if metadata.integer(&key("expert_count"))?.unwrap_or(0) > 0 {
        return unsupported("a mixture of experts".to_owned(), "one MLP a layer");
    }
    if let Some(scaling) =
        metadata.text(&key("rope.scaling.type")).filter(|scaling| *scaling != "none")
    {
        return unsupported(format!("rope scaling {scaling:?}"), "plain RoPE, and Llama 3's");
    }
    let (heads, d_model) = (needed("attention.head_count")?, needed("embedding_length")?);
    if heads == 0 {
        return unsupported("a model without heads".to_owned(), "at least one attention head");
    }
    let head_dim = metadata.integer(&key("attention.key_length"))?.unwrap_or(d_model / heads);
    for same in ["attention.value_length", "rope.dimension_count"] {
        if metadata.integer(&key(same))?.is_some_and(|width| width != head_dim) {
            return unsupported(
                format!("{} other than the heads' width {head_dim}", key(same)),
                "heads that are rotated whole",
            );
        }
    }
    let theta = metadata.float(&key("rope.freq_base")).unwrap_or(DEFAULT_THETA);
    let mut frequencies = rope::frequencies(theta, head_dim)?;
    if let Some(factors) = tensors.shape("rope_freqs.weight").map(<[usize]>::to_vec) {
        let factors = tensors.rows(
            "rope_freqs.weight",
            &factors,
            0..factors.first().copied().unwrap_or(0),
        )?;
        frequencies = rope::divided(frequencies, &factors)?;
    }
    let rows = tensors
        .shape("model.embed_tokens.weight")
        .and_then(|shape| shape.first().copied())
        .unwrap_or(0);
    Ok(Shape {
        architecture,
        layers: needed("block_count")?,
        d_model,
        d_ff: needed("feed_forward_length")?,
        heads,
        kv_heads: metadata.integer(&key("attention.head_count_kv"))?.unwrap_or(heads),
        head_dim,
        vocab: u32::try_from(rows).unwrap_or(u32::MAX),
        max_positions: needed("context_length")?.min(
            metadata
                .integer(&key("attention.sliding_window"))?
                .filter(|w| *w > 0)
                .unwrap_or(u32::MAX),
        ),
        eps: metadata.float(&key("attention.layer_norm_rms_epsilon")).unwrap_or(1e-5),
        frequencies,
        tied: !tensors.has("lm_head.weight"),
    })
}

fn tensors(
    file: WeightsFile,
    listed: &[Listed],
    data: u64,
    alignment: u64,
    metadata: &Metadata,
    architecture: &str,
) -> Result<Tensors, ImportError> {
    let heads =
        metadata.integer(&format!("{architecture}.attention.head_count"))?.unwrap_or(0) as usize;
    let kv_heads = metadata
        .integer(&format!("{architecture}.attention.head_count_kv"))?
        .map_or(heads, |h| h as usize);
    let end_of_file = file.size_bytes();
    let mut tensors = Tensors::new(vec![file]);
    let mut ranges = Vec::with_capacity(listed.len());
    for tensor in listed {
        let problem = |problem: &str| tensor_error(&tensor.name, problem);
        let element = element(tensor.kind).map_err(|what| problem(&what))?;
        let shape: Vec<usize> = tensor
            .sizes
            .iter()
            .rev()
            .map(|size| usize::try_from(*size).unwrap_or(usize::MAX))
            .collect();
        let name = hugging_face_name(&tensor.name);
        let interleaved = match name.rsplit_once(".self_attn.") {
            Some((_, "q_proj.weight")) if architecture == "llama" => Some(heads),
            Some((_, "k_proj.weight")) if architecture == "llama" => Some(kv_heads),
            _ => None,
        };
        let rows = shape.first().copied().unwrap_or(0);
        if interleaved
            .is_some_and(|heads| heads == 0 || rows == 0 || !rows.is_multiple_of(2 * heads))
        {
            return Err(problem(&format!("{rows} rows are no whole heads")));
        }
        let offset =
            data.checked_add(tensor.offset).filter(|_| tensor.offset.is_multiple_of(alignment));
        let offset = offset.ok_or_else(|| {
            problem(&format!("starts at {}, not at a multiple of {alignment}", tensor.offset))
        })?;
        let stored = Stored { file: 0, offset, shape, element, interleaved_heads: interleaved };
        let size =
            stored.size_bytes().ok_or_else(|| problem("has a shape that no file can hold"))?;
        let end = offset.checked_add(size).filter(|end| *end <= end_of_file);
        let end = end.ok_or_else(|| {
            problem(&format!("{size} bytes at {offset} are wanted, the file has {end_of_file}"))
        })?;
        ranges.push((offset, end, &tensor.name));
        tensors.add(name, stored)?;
    }
    ranges.sort_unstable();
    if let Some(pair) = ranges.windows(2).find(|pair| pair[1].0 < pair[0].1) {
        return Err(tensor_error(pair[1].2, &format!("lies on top of {}", pair[0].2)));
    }
    Ok(tensors)
}

fn element(kind: u32) -> Result<Element, String> {
    match kind {
        0 => Ok(Element::F32),
        1 => Ok(Element::F16),
        2 => Ok(Element::Q4_0),
        8 => Ok(Element::Q8_0),
        12 => Ok(Element::Q4_K),
        14 => Ok(Element::Q6_K),
        30 => Ok(Element::BF16),
        other => Err(format!(
            "ggml type {other} is not supported; supported: F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q6_K"
        )),
    }
}

/// What Hugging Face calls a tensor; names that it has no name for stay.
fn hugging_face_name(name: &str) -> String {
    let whole = match name {
        "token_embd.weight" => "model.embed_tokens.weight",
        "output_norm.weight" => "model.norm.weight",
        "output.weight" => "lm_head.weight",
        _ => "",
    };
    if !whole.is_empty() {
        return whole.to_owned();
    }
    let parts = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
    let Some((layer, (part, kind))) =
        parts.and_then(|(layer, rest)| Some((layer, rest.rsplit_once('.')?)))
    else {
        return name.to_owned();
    };
    let part = match part {
        "attn_norm" => "input_layernorm",
        "ffn_norm" => "post_attention_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "attn_q_norm" => "self_attn.q_norm",
        "attn_k_norm" => "self_attn.k_norm",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return name.to_owned(),
    };
    format!("model.layers.{layer}.{part}.{kind}")
}
