//! Writes GGUF files, well-formed and otherwise, straight from the format's specification.
#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part")]

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::support::{source_folder, source_json};

/// A file to be.
#[derive(Clone, Default)]
pub struct Gguf {
    pub version: Option<u32>,
    pub metadata: Vec<(String, Vec<u8>)>,
    pub tensors: Vec<Tensor>,
    /// Bytes cut off at the end.
    pub cut: usize,
}

/// A tensor to be.
#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    /// Innermost first.
    pub sizes: Vec<u64>,
    pub kind: u32,
    pub bytes: Vec<u8>,
    /// In place of the true one.
    pub offset: Option<u64>,
}

pub const F32: u32 = 0;
pub const F16: u32 = 1;
pub const Q8_0: u32 = 8;
pub const BF16: u32 = 30;
pub const MXFP4: u32 = 39;

fn text(text: &str) -> Vec<u8> {
    [(text.len() as u64).to_le_bytes().as_slice(), text.as_bytes()].concat()
}

/// Values with their kinds in front.
pub fn of_u32(value: u32) -> Vec<u8> {
    [4_u32.to_le_bytes(), value.to_le_bytes()].concat()
}

pub fn of_f32(value: f32) -> Vec<u8> {
    [6_u32.to_le_bytes(), value.to_le_bytes()].concat()
}

pub fn of_bool(value: bool) -> Vec<u8> {
    [7_u32.to_le_bytes().as_slice(), &[u8::from(value)]].concat()
}

pub fn of_bools(values: &[bool]) -> Vec<u8> {
    let mut bytes = [9_u32.to_le_bytes(), 7_u32.to_le_bytes()].concat();
    bytes.extend((values.len() as u64).to_le_bytes());
    bytes.extend(values.iter().map(|value| u8::from(*value)));
    bytes
}

pub fn of_text(value: &str) -> Vec<u8> {
    [8_u32.to_le_bytes().as_slice(), &text(value)].concat()
}

pub fn of_texts(values: &[String]) -> Vec<u8> {
    let mut bytes = [9_u32.to_le_bytes(), 8_u32.to_le_bytes()].concat();
    bytes.extend((values.len() as u64).to_le_bytes());
    bytes.extend(values.iter().flat_map(|value| text(value)));
    bytes
}

pub fn of_i32s(values: &[i32]) -> Vec<u8> {
    let mut bytes = [9_u32.to_le_bytes(), 5_u32.to_le_bytes()].concat();
    bytes.extend((values.len() as u64).to_le_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

pub fn of_f32s(values: &[f32]) -> Vec<u8> {
    let mut bytes = [9_u32.to_le_bytes(), 6_u32.to_le_bytes()].concat();
    bytes.extend((values.len() as u64).to_le_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

pub fn of_u8s(values: &[u8]) -> Vec<u8> {
    let mut bytes = [9_u32.to_le_bytes(), 0_u32.to_le_bytes()].concat();
    bytes.extend((values.len() as u64).to_le_bytes());
    bytes.extend(values);
    bytes
}

impl Gguf {
    /// The built-in model with its numbers as `kind`, as llama.cpp's converter would write it.
    pub fn tiny(kind: u32) -> Self {
        let config = source_json("config.json");
        let number = |field: &str| u32::try_from(config[field].as_u64().unwrap()).unwrap();
        let mut gguf = Self::default();
        gguf.set("general.architecture", of_text("llama"));
        gguf.set("general.license", of_text("mit"));
        for (key, field) in [
            ("block_count", "num_hidden_layers"),
            ("embedding_length", "hidden_size"),
            ("feed_forward_length", "intermediate_size"),
            ("context_length", "max_position_embeddings"),
            ("attention.head_count", "num_attention_heads"),
            ("attention.head_count_kv", "num_key_value_heads"),
            ("rope.dimension_count", "head_dim"),
        ] {
            gguf.set(&format!("llama.{key}"), of_u32(number(field)));
        }
        #[expect(clippy::cast_possible_truncation, reason = "as the converter writes them")]
        let float = |field: &str| config[field].as_f64().unwrap() as f32;
        gguf.set("llama.attention.layer_norm_rms_epsilon", of_f32(float("rms_norm_eps")));
        gguf.set("llama.rope.freq_base", of_f32(float("rope_theta")));
        gguf.vocabulary();
        let bytes = std::fs::read(source_folder().join("model.safetensors")).unwrap();
        let weights = SafeTensors::deserialize(&bytes).unwrap();
        // In one order, so that a test's third tensor is always the same.
        let mut tensors = weights.tensors();
        tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (name, tensor) in tensors {
            assert_eq!(tensor.dtype(), Dtype::BF16);
            let values = tensor
                .data()
                .chunks_exact(2)
                .map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32());
            let mut values: Vec<f32> = values.collect();
            let heads = [("q_proj", "num_attention_heads"), ("k_proj", "num_key_value_heads")];
            if let Some((_, heads)) = heads.iter().find(|(part, _)| name.contains(part)) {
                values = interleaved(&values, tensor.shape()[1], number(heads) as usize);
            }
            // Norms stay in F32, as llama.cpp keeps them.
            let kind = if tensor.shape().len() == 1 { F32 } else { kind };
            let sizes = tensor.shape().iter().rev().map(|size| *size as u64).collect();
            let (name, bytes) = (ggml_name(&name), encoded(&values, kind));
            gguf.tensors.push(Tensor { name, sizes, kind, bytes, offset: None });
        }
        gguf
    }

    /// The built-in model's vocabulary.
    pub fn vocabulary(&mut self) {
        self.vocabulary_with(&[]);
    }

    /// The same with more control tokens behind.
    pub fn vocabulary_with(&mut self, more: &[&str]) {
        let tokenizer = source_json("tokenizer.json");
        let vocab = tokenizer["model"]["vocab"].as_object().unwrap();
        let mut tokens = vec![String::new(); vocab.len()];
        for (token, id) in vocab {
            tokens[usize::try_from(id.as_u64().unwrap()).unwrap()].clone_from(token);
        }
        let mut kinds = vec![1; tokens.len()];
        for added in tokenizer["added_tokens"].as_array().unwrap() {
            kinds[usize::try_from(added["id"].as_u64().unwrap()).unwrap()] = 3;
        }
        tokens.extend(more.iter().map(|token| (*token).to_owned()));
        kinds.resize(tokens.len(), 3);
        let merges = tokenizer["model"]["merges"].as_array().unwrap().iter();
        let merge =
            |pair: &Value| format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
        let merges: Vec<String> = merges.map(merge).collect();
        self.set("tokenizer.ggml.model", of_text("gpt2"));
        self.set("tokenizer.ggml.pre", of_text("smollm"));
        self.set("tokenizer.ggml.tokens", of_texts(&tokens));
        self.set("tokenizer.ggml.token_type", of_i32s(&kinds));
        self.set("tokenizer.ggml.merges", of_texts(&merges));
        self.set("tokenizer.ggml.bos_token_id", of_u32(0));
        self.set("tokenizer.ggml.eos_token_id", of_u32(2));
        let template =
            source_json("tokenizer_config.json")["chat_template"].as_str().unwrap().to_owned();
        self.set("tokenizer.chat_template", of_text(&template));
    }

    /// Sets an entry, or another value for it.
    pub fn set(&mut self, key: &str, value: Vec<u8>) {
        self.metadata.retain(|(known, _)| known != key);
        self.metadata.push((key.to_owned(), value));
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.unwrap_or(3).to_le_bytes());
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            bytes.extend(text(key));
            bytes.extend(value);
        }
        let mut offset = 0;
        for tensor in &self.tensors {
            bytes.extend(text(&tensor.name));
            bytes.extend(u32::try_from(tensor.sizes.len()).unwrap().to_le_bytes());
            bytes.extend(tensor.sizes.iter().flat_map(|size| size.to_le_bytes()));
            bytes.extend(tensor.kind.to_le_bytes());
            bytes.extend(tensor.offset.unwrap_or(offset).to_le_bytes());
            offset += (tensor.bytes.len() as u64).next_multiple_of(32);
        }
        for tensor in &self.tensors {
            bytes.resize(bytes.len().next_multiple_of(32), 0);
            bytes.extend(&tensor.bytes);
        }
        bytes.truncate(bytes.len() - self.cut);
        bytes
    }
}

/// Rows of every head with its two halves taking turns.
pub fn interleaved(values: &[f32], columns: usize, heads: usize) -> Vec<f32> {
    let rows: Vec<&[f32]> = values.chunks_exact(columns).collect();
    let head = rows.len() / heads;
    let order = |row: usize| row / head * head + row % head / 2 + row % 2 * (head / 2);
    (0..rows.len()).flat_map(|row| rows[order(row)]).copied().collect()
}

fn encoded(values: &[f32], kind: u32) -> Vec<u8> {
    match kind {
        F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        F16 => values.iter().flat_map(|value| half::f16::from_f32(*value).to_le_bytes()).collect(),
        BF16 => {
            values.iter().flat_map(|value| half::bf16::from_f32(*value).to_le_bytes()).collect()
        }
        Q8_0 => values.chunks_exact(32).flat_map(eight_bits).collect(),
        other => panic!("this writer does not know kind {other}"),
    }
}

fn eight_bits(group: &[f32]) -> Vec<u8> {
    let scale = group.iter().fold(0.0_f32, |max, value| max.max(value.abs())) / 127.0;
    let mut bytes = half::f16::from_f32(scale).to_le_bytes().to_vec();
    #[expect(clippy::cast_possible_truncation, reason = "within 127")]
    bytes.extend(
        group.iter().map(|value| ((value / scale.max(1e-30)).round() as i8).cast_unsigned()),
    );
    bytes
}

fn ggml_name(name: &str) -> String {
    let name = name.replace("model.layers.", "blk.").replace("model.embed_tokens", "token_embd");
    let name = name
        .replace("input_layernorm", "attn_norm")
        .replace("post_attention_layernorm", "ffn_norm");
    let name = name
        .replace("self_attn.o_proj", "attn_output")
        .replace("self_attn.", "attn_")
        .replace("mlp.", "ffn_");
    name.replace("model.norm", "output_norm").replace("_proj", "")
}
