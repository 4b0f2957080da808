//! A shape as a GGUF file of random `Q8_0` weights, for peers that read nothing else.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use potluck_model::synthetic::Random;
use serde_json::Value;

use crate::shapes::Shape;

/// ggml's numbers for the types used here.
const F32: u32 = 0;
const Q8_0: u32 = 8;
/// Tensors start at multiples of this.
const ALIGNMENT: u64 = 32;
/// Weights a block, and its bytes: an F16 scale and a byte each.
const BLOCK: usize = 32;
const BLOCK_BYTES: usize = 34;

/// Writes the file, unless it is there already; its words are those of the tokenizer in
/// `tokenizer`.
///
/// # Errors
/// If the tokenizer cannot be read or the file not written.
pub fn write(shape: &Shape, tokenizer: &Path, path: &Path) -> anyhow::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let tokenizer: Value = serde_json::from_slice(&fs::read(tokenizer)?)?;
    // Aside and renamed: half a file would be taken for a whole one the next time.
    let aside = path.with_extension("part");
    let mut out = BufWriter::new(File::create(&aside)?);
    let metadata = metadata(shape, &tokenizer);
    let tensors = tensors(shape);
    out.write_all(b"GGUF")?;
    out.write_all(&3_u32.to_le_bytes())?;
    out.write_all(&(tensors.len() as u64).to_le_bytes())?;
    out.write_all(&(metadata.len() as u64).to_le_bytes())?;
    let mut written = 24;
    for (key, value) in &metadata {
        written += put(&mut out, &[text(key), value.clone()].concat())?;
    }
    let mut offset = 0;
    for tensor in &tensors {
        written += put(&mut out, &tensor.listed(offset))?;
        offset += tensor.bytes().next_multiple_of(ALIGNMENT);
    }
    pad(&mut out, written)?;
    let mut random = Random::new(1);
    for tensor in &tensors {
        tensor.write(&mut out, &mut random)?;
        pad(&mut out, tensor.bytes())?;
    }
    out.flush()?;
    fs::rename(&aside, path)?;
    Ok(())
}

/// One tensor; without rows it is a norm.
struct Tensor {
    name: String,
    rows: Option<usize>,
    columns: usize,
}

impl Tensor {
    fn bytes(&self) -> u64 {
        match self.rows {
            Some(rows) => (rows * self.columns / BLOCK * BLOCK_BYTES) as u64,
            None => self.columns as u64 * 4,
        }
    }

    fn listed(&self, offset: u64) -> Vec<u8> {
        let mut bytes = text(&self.name);
        bytes.extend((1 + u32::from(self.rows.is_some())).to_le_bytes());
        bytes.extend((self.columns as u64).to_le_bytes());
        bytes.extend(self.rows.map(|rows| (rows as u64).to_le_bytes()).into_iter().flatten());
        bytes.extend(if self.rows.is_some() { Q8_0 } else { F32 }.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        bytes
    }

    fn write(&self, out: &mut impl Write, random: &mut Random) -> io::Result<()> {
        let Some(rows) = self.rows else {
            return (0..self.columns).try_for_each(|_| out.write_all(&1.0_f32.to_le_bytes()));
        };
        // The scale, as F16, that keeps activations of about one: an eighth of 2^-9.
        let scale = [0x00, 0x0c];
        for _ in 0..rows * self.columns / BLOCK {
            out.write_all(&scale)?;
            for _ in 0..BLOCK / 8 {
                // -128 is a value that no quantiser writes.
                let bytes =
                    random.bits().to_le_bytes().map(|byte| if byte == 128 { 0 } else { byte });
                out.write_all(&bytes)?;
            }
        }
        Ok(())
    }
}

fn tensors(shape: &Shape) -> Vec<Tensor> {
    let config = shape.config();
    let d_model = config.d_model as usize;
    let mut tensors = Vec::new();
    let mut add = |name: String, rows: Option<usize>, columns: usize| {
        tensors.push(Tensor { name, rows, columns })
    };
    add("token_embd.weight".to_owned(), Some(config.vocab as usize), d_model);
    add("output_norm.weight".to_owned(), None, d_model);
    let parts = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
    for layer in 0..config.layers {
        for norm in ["attn_norm", "ffn_norm"] {
            add(format!("blk.{layer}.{norm}.weight"), None, d_model);
        }
        if config.qk_norm.is_some() {
            for norm in ["attn_q_norm", "attn_k_norm"] {
                add(format!("blk.{layer}.{norm}.weight"), None, config.head_dim as usize);
            }
        }
        let [up, down] = config.mlp_shapes();
        let shapes = config.attention_shapes().into_iter().chain([up, up, down]);
        for (part, (rows, columns)) in parts.iter().zip(shapes) {
            add(format!("blk.{layer}.{part}.weight"), Some(rows), columns);
        }
    }
    tensors
}

fn metadata(shape: &Shape, tokenizer: &Value) -> Vec<(String, Vec<u8>)> {
    let config = shape.config();
    let architecture = if config.qk_norm.is_some() { "qwen3" } else { "llama" };
    let mut all = vec![("general.architecture".to_owned(), of_text(architecture))];
    for (key, value) in [
        ("block_count", config.layers),
        ("embedding_length", config.d_model),
        ("feed_forward_length", config.d_ff),
        ("context_length", config.max_positions),
        ("attention.head_count", config.heads),
        ("attention.head_count_kv", config.kv_heads),
        ("attention.key_length", config.head_dim),
        ("attention.value_length", config.head_dim),
        ("rope.dimension_count", config.head_dim),
        ("vocab_size", config.vocab),
    ] {
        all.push((
            format!("{architecture}.{key}"),
            [4_u32.to_le_bytes(), value.to_le_bytes()].concat(),
        ));
    }
    let eps = [6_u32.to_le_bytes(), 1e-5_f32.to_le_bytes()].concat();
    all.push((format!("{architecture}.attention.layer_norm_rms_epsilon"), eps));
    // The built-in vocabulary, and words that nobody says up to the shape's count.
    let mut tokens: Vec<String> = (0..config.vocab).map(|id| format!("[{id}]")).collect();
    for (token, id) in tokenizer["model"]["vocab"].as_object().into_iter().flatten() {
        let place = id.as_u64().and_then(|id| tokens.get_mut(usize::try_from(id).ok()?));
        if let Some(place) = place {
            token.clone_into(place);
        }
    }
    let pairs = tokenizer["model"]["merges"].as_array().into_iter().flatten();
    let words = |pair: &Value| {
        pair.as_array()
            .map(|pair| pair.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "))
    };
    let merges: Vec<String> = pairs.filter_map(words).collect();
    let kinds = vec![1_i32; tokens.len()];
    let mut list = |key: &str, value: Vec<u8>| all.push((format!("tokenizer.ggml.{key}"), value));
    list("model", of_text("gpt2"));
    list("pre", of_text("smollm"));
    list("tokens", of_texts(&tokens));
    list("token_type", array(5, kinds.len(), kinds.iter().flat_map(|kind| kind.to_le_bytes())));
    list("merges", of_texts(&merges));
    list("bos_token_id", [4_u32.to_le_bytes(), 1_u32.to_le_bytes()].concat());
    list("eos_token_id", [4_u32.to_le_bytes(), 2_u32.to_le_bytes()].concat());
    all
}

fn text(text: &str) -> Vec<u8> {
    [(text.len() as u64).to_le_bytes().as_slice(), text.as_bytes()].concat()
}

fn of_text(value: &str) -> Vec<u8> {
    [8_u32.to_le_bytes().as_slice(), &text(value)].concat()
}

fn of_texts(values: &[String]) -> Vec<u8> {
    array(8, values.len(), values.iter().flat_map(|value| text(value)))
}

fn array(kind: u32, count: usize, values: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut bytes = [9_u32.to_le_bytes(), kind.to_le_bytes()].concat();
    bytes.extend((count as u64).to_le_bytes());
    bytes.extend(values);
    bytes
}

fn put(out: &mut impl Write, bytes: &[u8]) -> io::Result<u64> {
    out.write_all(bytes)?;
    Ok(bytes.len() as u64)
}

fn pad(out: &mut impl Write, written: u64) -> io::Result<()> {
    let missing = written.next_multiple_of(ALIGNMENT) - written;
    (0..missing).try_for_each(|_| out.write_all(&[0]))
}
