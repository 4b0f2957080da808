//! One GGUF file: metadata, a table of tensors, and their data.
//!
//! Read from its specification (ggml, `docs/gguf.md`), versions 2 and 3, little endian. Everything
//! that a header says about itself (counts, lengths, offsets) is compared with the file's real
//! length before memory is taken for it. Names become those of Hugging Face; rows of `llama`'s
//! queries and keys come back in the order in which they were before llama.cpp's converter
//! interleaved them.

use std::collections::BTreeMap;
use std::path::Path;

use super::element::Element;
use super::file::WeightsFile;
use super::gguf_tokenizer::{self, Vocabulary};
use super::tensors::{MAX_DIMENSIONS, MAX_NAME_BYTES, MAX_TENSORS, Stored, Tensors, tensor_error};
use super::{Chat, Generation, Shape, Source, Specials};
use crate::ImportError;
use crate::rope;

const MAGIC: &[u8] = b"GGUF";
/// Entries of metadata at most; real files have some dozens.
const MAX_ENTRIES: u64 = 4096;
/// Bytes of metadata and table at most: the largest vocabularies take about 10 MB.
const MAX_HEADER_BYTES: u64 = 256 << 20;
/// Bytes of a text at most; the longest are chat templates.
const MAX_TEXT_BYTES: u64 = 1 << 20;
/// Where tensors start, if the file does not say.
const DEFAULT_ALIGNMENT: u64 = 32;
/// Bytes that are read at once while the header is parsed.
const READ_AHEAD: u64 = 1 << 20;
/// Llama's own, where the file says nothing.
const DEFAULT_THETA: f64 = 10_000.0;
/// What ends an answer, whatever the file names as its end: llama.cpp stops at these too.
const ENDS_OF_TURN: [&str; 5] =
    ["<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>", "<|end|>"];

/// A value of the metadata.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Integer(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    Numbers(Vec<f64>),
}

/// The metadata by its keys.
#[derive(Debug, Default)]
pub(super) struct Metadata(BTreeMap<String, Value>);

/// A tensor as the file's table has it.
struct Listed {
    name: String,
    /// Innermost first.
    sizes: Vec<u64>,
    kind: u32,
    /// From the start of the data.
    offset: u64,
}

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
        tokenizer: gguf_tokenizer::to_json(&vocabulary)?,
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

impl Metadata {
    /// A count; a value of another kind, or outside of `u32`, is refused.
    pub(super) fn integer(&self, key: &str) -> Result<Option<u32>, ImportError> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Value::Integer(value)) if u32::try_from(*value).is_ok() => {
                Ok(u32::try_from(*value).ok())
            }
            Some(_) => Err(ImportError::Weights(format!("{key} is not a count"))),
        }
    }

    pub(super) fn float(&self, key: &str) -> Option<f64> {
        match self.0.get(key)? {
            Value::Float(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn bool(&self, key: &str) -> Option<bool> {
        match self.0.get(key)? {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.0.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn texts(&self, key: &str) -> Option<&[String]> {
        match self.0.get(key)? {
            Value::Texts(texts) => Some(texts),
            _ => None,
        }
    }

    pub(super) fn numbers(&self, key: &str) -> Option<&[f64]> {
        match self.0.get(key)? {
            Value::Numbers(numbers) => Some(numbers),
            _ => None,
        }
    }
}

/// Metadata, table, and the length of both.
fn header(file: &WeightsFile) -> Result<(Metadata, Vec<Listed>, u64), ImportError> {
    let mut bytes = Bytes { file, at: 0, start: 0, buffer: Vec::new() };
    if bytes.take(4)? != MAGIC {
        return Err(file.broken("this is no GGUF file"));
    }
    let version = bytes.u32()?;
    if !(2..=3).contains(&version) {
        return Err(file.broken(&format!("GGUF version {version}; 2 and 3 are read")));
    }
    let (tensors, entries) = (bytes.u64()?, bytes.u64()?);
    if tensors > MAX_TENSORS as u64 || entries > MAX_ENTRIES {
        let limits = format!("at most {MAX_TENSORS} and {MAX_ENTRIES} are read");
        return Err(
            file.broken(&format!("{tensors} tensors and {entries} entries of metadata, {limits}"))
        );
    }
    let mut metadata = Metadata::default();
    for _ in 0..entries {
        let key = bytes.text(MAX_NAME_BYTES as u64)?;
        let kind = bytes.u32()?;
        let value = bytes.value(kind)?;
        if metadata.0.insert(key.clone(), value).is_some() {
            return Err(file.broken(&format!("{key:?} is there twice")));
        }
    }
    let mut listed = Vec::new();
    for _ in 0..tensors {
        let name = bytes.text(MAX_NAME_BYTES as u64)?;
        let dimensions = bytes.u32()?;
        if dimensions as usize > MAX_DIMENSIONS {
            return Err(tensor_error(
                &name,
                &format!("{dimensions} dimensions, at most {MAX_DIMENSIONS} are read"),
            ));
        }
        let sizes = (0..dimensions).map(|_| bytes.u64()).collect::<Result<Vec<_>, _>>()?;
        listed.push(Listed { name, sizes, kind: bytes.u32()?, offset: bytes.u64()? });
    }
    Ok((metadata, listed, bytes.at))
}

/// A place in the header.
struct Bytes<'a> {
    file: &'a WeightsFile,
    at: u64,
    /// Where `buffer` starts.
    start: u64,
    buffer: Vec<u8>,
}

impl Bytes<'_> {
    fn take(&mut self, length: u64) -> Result<&[u8], ImportError> {
        let end = self.at.saturating_add(length);
        if end > self.file.size_bytes() || end > MAX_HEADER_BYTES {
            let (at, size) = (self.at, self.file.size_bytes());
            let limit =
                format!("the file has {size}, and a header of at most {MAX_HEADER_BYTES} is read");
            return Err(self
                .file
                .broken(&format!("the header wants {length} bytes at {at}; {limit}")));
        }
        if end > self.start + self.buffer.len() as u64 {
            let length = length.max(READ_AHEAD).min(self.file.size_bytes() - self.at);
            self.buffer =
                self.file.read_at(self.at, usize::try_from(length).unwrap_or(usize::MAX))?;
            self.start = self.at;
        }
        let from = usize::try_from(self.at - self.start).unwrap_or(usize::MAX);
        let to = usize::try_from(end - self.start).unwrap_or(usize::MAX);
        self.at = end;
        Ok(&self.buffer[from..to])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ImportError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, ImportError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, ImportError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn text(&mut self, limit: u64) -> Result<String, ImportError> {
        let length = self.u64()?;
        if length > limit {
            return Err(self
                .file
                .broken(&format!("a text of {length} bytes, at most {limit} are read")));
        }
        let at = self.at;
        let bytes = self.take(length)?.to_vec();
        String::from_utf8(bytes)
            .map_err(|_| self.file.broken(&format!("the text at {at} is not UTF-8")))
    }

    fn value(&mut self, kind: u32) -> Result<Value, ImportError> {
        if kind != 9 {
            return self.scalar(kind);
        }
        let (kind, count) = (self.u32()?, self.u64()?);
        if kind == 8 {
            let texts = (0..count).map(|_| self.text(MAX_TEXT_BYTES)).collect::<Result<_, _>>()?;
            return Ok(Value::Texts(texts));
        }
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.push(match self.scalar(kind)? {
                Value::Integer(value) => value as f64,
                Value::Float(value) => value,
                Value::Bool(value) => f64::from(u8::from(value)),
                _ => return Err(self.file.broken("an array within an array")),
            });
        }
        Ok(Value::Numbers(numbers))
    }

    fn scalar(&mut self, kind: u32) -> Result<Value, ImportError> {
        Ok(match kind {
            0 => Value::Integer(u8::from_le_bytes(self.array()?).into()),
            1 => Value::Integer(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Integer(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Integer(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Integer(self.u32()?.into()),
            5 => Value::Integer(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array()?).into()),
            7 => Value::Bool(self.array::<1>()? != [0]),
            8 => Value::Text(self.text(MAX_TEXT_BYTES)?),
            10 => Value::Integer(i64::try_from(self.u64()?).unwrap_or(i64::MAX)),
            11 => Value::Integer(i64::from_le_bytes(self.array()?)),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            other => {
                return Err(self.file.broken(&format!("metadata of the unknown kind {other}")));
            }
        })
    }
}
