//! One GGUF file: metadata, a table of tensors, and their data.
//!
//! Read from its specification (ggml, `docs/gguf.md`), versions 2 and 3, little endian. Everything
//! that a header says about itself (counts, lengths, offsets) is compared with the file's real
//! length before memory is taken for it. Names become those of Hugging Face; rows of queries
//! and keys of some architectures come back in the order in which they were before llama.cpp's converter
//! interleaved them.

mod encoder;
mod header;
mod keys;
mod metadata;
mod parts;
mod shape;
mod tokenizer;

use std::ops::Range;
use std::path::Path;

use potluck_model::encoder::Family;

use header::{Listed, header};
use metadata::Metadata;
use tokenizer::Vocabulary;

pub(crate) use encoder::{is_one as encoder_in_gguf, open as encoder_from_gguf};
pub use parts::gguf_parts;

use super::element::Element;
use super::file::WeightsFile;
use super::tensors::{Stored, Tensors, tensor_error};
use super::{Chat, Generation, Source, Specials};
use crate::encoder::gguf_name;
use crate::error::ImportError;

/// Where tensors start, if the file does not say.
const DEFAULT_ALIGNMENT: u64 = 32;
/// How llama.cpp samples unless told otherwise.
const DEFAULT_TEMPERATURE: f64 = 0.8;
const DEFAULT_TOP_P: f64 = 0.95;
const DEFAULT_TOP_K: u32 = 40;
/// What ends an answer, whatever the file names as its end: llama.cpp stops at these too.
const ENDS_OF_TURN: [&str; 6] =
    ["<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>", "<|end|>", "<end_of_turn>"];

/// Opens a file.
pub(super) fn open(path: &Path) -> Result<Source, ImportError> {
    read(files(path)?, parts::model_name(path))
}

/// A file, or all parts of one.
fn files(path: &Path) -> Result<Vec<WeightsFile>, ImportError> {
    let paths = parts::paths(path);
    if let Some(missing) = paths.iter().find(|part| !part.exists())
        && paths.len() > 1
    {
        return Err(ImportError::Weights(format!(
            "{} is one of {} parts, and {} is not beside it",
            path.display(),
            paths.len(),
            missing.display()
        )));
    }
    paths.iter().map(|part| WeightsFile::open(part)).collect()
}

/// One of a model's files, its header read.
struct Part {
    file: WeightsFile,
    listed: Vec<Listed>,
    /// Where tensors start.
    data: u64,
    alignment: u64,
}

/// Reads the headers of files that together are a model, and checks all of them. What the first says of
/// the model counts.
fn headers(files: Vec<WeightsFile>) -> Result<(Metadata, Vec<Part>), ImportError> {
    let mut first = None;
    let mut parts = Vec::with_capacity(files.len());
    for file in files {
        let (metadata, listed, header_bytes) = header(&file)?;
        let alignment = metadata.integer("general.alignment")?.map_or(DEFAULT_ALIGNMENT, u64::from);
        if !alignment.is_power_of_two() {
            let problem = format!("an alignment of {alignment}, which is no power of two");
            return Err(file.broken(&problem));
        }
        let data = header_bytes.next_multiple_of(alignment);
        parts.push(Part { file, listed, data, alignment });
        first.get_or_insert(metadata);
    }
    let metadata = first.unwrap_or_default();
    check_parts(&metadata, &parts)?;
    Ok((metadata, parts))
}

/// Reads a decoder.
pub(super) fn read(files: Vec<WeightsFile>, name: String) -> Result<Source, ImportError> {
    let (metadata, parts) = headers(files)?;
    let architecture = metadata.text("general.architecture").unwrap_or_default();
    let known = shape::KNOWN;
    let Some(architecture) = known.into_iter().find(|known| *known == architecture) else {
        let what = format!("architecture {:?}", architecture.chars().take(64).collect::<String>());
        return Err(ImportError::Unsupported {
            what,
            supported: format!("{} in GGUF files", known.join(", ")),
        });
    };
    let mut tensors = tensors(parts, &metadata, architecture)?;
    let shape = shape::shape(&metadata, architecture, &tensors)?;
    super::unfuse(&mut tensors, &shape)?;
    let vocabulary = Vocabulary::read(&metadata, architecture)?;
    let token = |key: &str| -> Result<Option<u32>, ImportError> {
        let id = metadata.integer(&format!("tokenizer.ggml.{key}_token_id"))?;
        Ok(id.filter(|id| vocabulary.tokens.get(*id as usize).is_some()))
    };
    let (bos, eos) = (token("bos")?, token("eos")?);
    let mut end_tokens: Vec<u32> = eos.into_iter().chain(token("eot")?).collect();
    end_tokens.extend((0..).zip(&vocabulary.tokens).filter_map(|(id, text)| {
        (vocabulary.is_added(id) && ENDS_OF_TURN.contains(&text.as_str())).then_some(id)
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
        generation: generation(&metadata)?,
        tensors,
    })
}

/// How its makers sample from it; where they do not say, as llama.cpp does.
fn generation(metadata: &Metadata) -> Result<Generation, ImportError> {
    let hint = |key: &str| metadata.number(&format!("general.sampling.{key}"));
    let temperature = hint("temp").unwrap_or(DEFAULT_TEMPERATURE);
    Ok(Generation {
        do_sample: temperature > 0.0,
        temperature: Some(temperature),
        top_p: hint("top_p").or(Some(DEFAULT_TOP_P)),
        top_k: metadata.integer("general.sampling.top_k")?.or(Some(DEFAULT_TOP_K)),
        // Over the whole text, not its last tokens; over none of them is no penalty.
        repetition_penalty: hint("penalty_repeat").filter(|_| hint("penalty_last_n") != Some(0.0)),
        max_new_tokens: None,
    })
}

/// Whether these are all the parts that the first one speaks of, and hold as many tensors as it says.
fn check_parts(metadata: &Metadata, parts: &[Part]) -> Result<(), ImportError> {
    let count = metadata.integer("split.count")?.unwrap_or(1) as usize;
    if count > 1 && count != parts.len() {
        return Err(ImportError::Weights(format!(
            "the file says that it is one of {count} parts; put them all into one folder under the names \
             NAME-00001-of-{count:05}.gguf and so on, and name the first"
        )));
    }
    let listed: usize = parts.iter().map(|part| part.listed.len()).sum();
    match metadata.integer("split.tensors.count")? {
        Some(count) if count as usize != listed => Err(ImportError::Weights(format!(
            "the parts hold {listed} tensors together, the first says {count}"
        ))),
        _ => Ok(()),
    }
}

fn tensors(
    parts: Vec<Part>,
    metadata: &Metadata,
    architecture: &str,
) -> Result<Tensors, ImportError> {
    let heads =
        metadata.integer(&format!("{architecture}.attention.head_count"))?.unwrap_or(0) as usize;
    let kv_heads = metadata
        .integer(&format!("{architecture}.attention.head_count_kv"))?
        .map_or(heads, |h| h as usize);
    let (files, tables): (Vec<WeightsFile>, Vec<_>) = parts
        .into_iter()
        .map(|Part { file, listed, data, alignment }| (file, (listed, data, alignment)))
        .unzip();
    let ends: Vec<u64> = files.iter().map(WeightsFile::size_bytes).collect();
    let interleaved = shape::INTERLEAVED.contains(&architecture);
    let mut tensors = Tensors::new(files);
    for (index, (listed, data, alignment)) in tables.iter().enumerate() {
        let mut ranges = Vec::with_capacity(listed.len());
        for tensor in listed {
            let heads = match tensor.name.rsplit_once('.').map(|(name, _)| name) {
                Some(name) if interleaved && name.ends_with(".attn_q") => Some(heads),
                Some(name) if interleaved && name.ends_with(".attn_k") => Some(kv_heads),
                _ => None,
            };
            let (start, stored) = place(tensor, heads, index, (*data, *alignment, ends[index]))?;
            ranges.push((start, &tensor.name));
            tensors.add(hugging_face_name(&tensor.name, architecture), stored)?;
        }
        ranges.sort_unstable_by_key(|(range, _)| (range.start, range.end));
        if let Some(pair) = ranges.windows(2).find(|pair| pair[1].0.start < pair[0].0.end) {
            return Err(tensor_error(pair[1].1, &format!("lies on top of {}", pair[0].1)));
        }
    }
    Ok(tensors)
}

/// Where a tensor's bytes are, checked. `heads` are those that llama.cpp stores interleaved; the last
/// three numbers are where data starts, what it is aligned to, and where the file ends.
fn place(
    tensor: &Listed,
    heads: Option<usize>,
    file: usize,
    (data, alignment, end_of_file): (u64, u64, u64),
) -> Result<(Range<u64>, Stored), ImportError> {
    let problem = |problem: &str| tensor_error(&tensor.name, problem);
    let element = element(tensor.kind).map_err(|what| problem(&what))?;
    let sizes = tensor.sizes.iter().rev();
    let shape: Vec<usize> =
        sizes.map(|size| usize::try_from(*size).unwrap_or(usize::MAX)).collect();
    let rows = shape.first().copied().unwrap_or(0);
    if heads.is_some_and(|heads| heads == 0 || rows == 0 || !rows.is_multiple_of(2 * heads)) {
        return Err(problem(&format!("{rows} rows are no whole heads")));
    }
    let offset =
        data.checked_add(tensor.offset).filter(|_| tensor.offset.is_multiple_of(alignment));
    let offset = offset.ok_or_else(|| {
        problem(&format!("starts at {}, not at a multiple of {alignment}", tensor.offset))
    })?;
    let stored = Stored {
        file,
        offset,
        shape,
        element,
        interleaved_heads: heads,
        among: None,
        scales: None,
    };
    let size = stored.size_bytes().ok_or_else(|| problem("has a shape that no file can hold"))?;
    let end = offset.checked_add(size).filter(|end| *end <= end_of_file);
    let end = end.ok_or_else(|| {
        problem(&format!("{size} bytes at {offset} are wanted, the file has {end_of_file}"))
    })?;
    Ok((offset..end, stored))
}

fn element(kind: u32) -> Result<Element, String> {
    Element::of_ggml(kind).ok_or_else(|| {
        format!("ggml type {kind} is not supported; supported: {}", Element::names())
    })
}

/// What Hugging Face calls a tensor; names that it has no name for stay.
fn hugging_face_name(name: &str, architecture: &str) -> String {
    if let Some(family) = Family::named(architecture) {
        return gguf_name(family, name);
    }
    let whole = match name {
        "token_embd.weight" => "model.embed_tokens.weight",
        "output_norm.weight" => "model.norm.weight",
        "output_norm.bias" => "model.norm.bias",
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
        "ffn_norm" if architecture.starts_with("gemma") => "pre_feedforward_layernorm",
        "ffn_norm" => "post_attention_layernorm",
        "post_attention_norm" => "post_attention_layernorm",
        "post_ffw_norm" => "post_feedforward_layernorm",
        "attn_qkv" => "self_attn.qkv_proj",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "attn_q_norm" => "self_attn.q_norm",
        "attn_k_norm" => "self_attn.k_norm",
        "attn_sinks" if architecture == "gpt-oss" && kind == "weight" => {
            return format!("model.layers.{layer}.self_attn.sinks");
        }
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" if architecture == "phi3" => "mlp.gate_up_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        "ffn_gate_inp" => "mlp.gate",
        "ffn_gate_exps" => "mlp.experts.gate_proj",
        "ffn_up_exps" => "mlp.experts.up_proj",
        "ffn_down_exps" => "mlp.experts.down_proj",
        "ffn_gate_inp_shexp" => "mlp.shared_expert_gate",
        "ffn_gate_shexp" => "mlp.shared_expert.gate_proj",
        "ffn_up_shexp" => "mlp.shared_expert.up_proj",
        "ffn_down_shexp" => "mlp.shared_expert.down_proj",
        _ => return name.to_owned(),
    };
    format!("model.layers.{layer}.{part}.{kind}")
}
