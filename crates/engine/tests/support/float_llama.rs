//! The same model in `f64`, straight from the definition of a Llama decoder: what the integers are measured against. Slow, simple and
//! nothing but a yardstick.

#![allow(unreachable_pub, reason = "a module of a test")]

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::support::{source_folder, source_json};

/// A decoder in floating point, fed token by token.
pub struct FloatLlama {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    theta: f64,
    eps: f64,
    embedding: Matrix,
    layers: Vec<FloatLayer>,
    norm: Vec<f64>,
}

struct FloatLayer {
    attention_norm: Vec<f64>,
    mlp_norm: Vec<f64>,
    q: Matrix,
    k: Matrix,
    v: Matrix,
    o: Matrix,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
}

/// Keys and values of every position, a list a layer.
#[derive(Default)]
pub struct FloatCache {
    layers: Vec<Vec<(Vec<f64>, Vec<f64>)>>,
}

struct Matrix {
    columns: usize,
    values: Vec<f64>,
}

impl Matrix {
    fn times(&self, x: &[f64]) -> Vec<f64> {
        self.values.chunks_exact(self.columns).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
    }
}

impl FloatLlama {
    /// The built-in model, its embedding tied to its head.
    pub fn tiny() -> Self {
        let config = source_json("config.json");
        let bytes = std::fs::read(source_folder().join("model.safetensors")).unwrap();
        let weights = SafeTensors::deserialize(&bytes).unwrap();
        let vector = |name: &str| {
            let tensor = weights.tensor(name).unwrap();
            assert_eq!(tensor.dtype(), Dtype::BF16);
            let values = tensor.data().chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f64());
            values.collect::<Vec<f64>>()
        };
        let matrix = |name: &str| Matrix { columns: weights.tensor(name).unwrap().shape()[1], values: vector(name) };
        let layers = (0..integer(&config, "num_hidden_layers"))
            .map(|layer| {
                let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
                FloatLayer {
                    attention_norm: vector(&name("input_layernorm")),
                    mlp_norm: vector(&name("post_attention_layernorm")),
                    q: matrix(&name("self_attn.q_proj")),
                    k: matrix(&name("self_attn.k_proj")),
                    v: matrix(&name("self_attn.v_proj")),
                    o: matrix(&name("self_attn.o_proj")),
                    gate: matrix(&name("mlp.gate_proj")),
                    up: matrix(&name("mlp.up_proj")),
                    down: matrix(&name("mlp.down_proj")),
                }
            })
            .collect();
        Self {
            heads: integer(&config, "num_attention_heads"),
            kv_heads: integer(&config, "num_key_value_heads"),
            head_dim: integer(&config, "head_dim"),
            theta: config["rope_theta"].as_f64().unwrap(),
            eps: config["rms_norm_eps"].as_f64().unwrap(),
            embedding: matrix("model.embed_tokens.weight"),
            layers,
            norm: vector("model.norm.weight"),
        }
    }

    /// The logits after `token`, which goes into the cache.
    pub fn step(&self, cache: &mut FloatCache, token: u32) -> Vec<f64> {
        cache.layers.resize_with(self.layers.len(), Vec::new);
        let width = self.embedding.columns;
        let mut x = self.embedding.values[token as usize * width..][..width].to_vec();
        for (layer, cache) in self.layers.iter().zip(&mut cache.layers) {
            let a = self.normed(&x, &layer.attention_norm);
            let (mut q, mut k) = (layer.q.times(&a), layer.k.times(&a));
            self.rotate(&mut q, cache.len());
            self.rotate(&mut k, cache.len());
            cache.push((k, layer.v.times(&a)));
            add(&mut x, &layer.o.times(&self.attend(&q, cache)));
            let a = self.normed(&x, &layer.mlp_norm);
            let gate = layer.gate.times(&a);
            let up = layer.up.times(&a);
            let h: Vec<f64> = gate.iter().zip(&up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
            add(&mut x, &layer.down.times(&h));
        }
        self.embedding.times(&self.normed(&x, &self.norm))
    }

    fn normed(&self, x: &[f64], gain: &[f64]) -> Vec<f64> {
        let square = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        let scale = 1.0 / (square + self.eps).sqrt();
        x.iter().zip(gain).map(|(x, gain)| x * scale * gain).collect()
    }

    fn rotate(&self, row: &mut [f64], position: usize) {
        let half = self.head_dim / 2;
        for head in row.chunks_exact_mut(self.head_dim) {
            for j in 0..half {
                let angle = position as f64 * self.theta.powf(-2.0 * j as f64 / self.head_dim as f64);
                let (a, b) = (head[j], head[j + half]);
                head[j] = a * angle.cos() - b * angle.sin();
                head[j + half] = b * angle.cos() + a * angle.sin();
            }
        }
    }

    fn attend(&self, q: &[f64], cache: &[(Vec<f64>, Vec<f64>)]) -> Vec<f64> {
        let mut row = Vec::new();
        for (head, query) in q.chunks_exact(self.head_dim).enumerate() {
            let at = head / (self.heads / self.kv_heads) * self.head_dim;
            let scores: Vec<f64> = cache
                .iter()
                .map(|(key, _)| {
                    let product: f64 = query.iter().zip(&key[at..]).map(|(q, k)| q * k).sum();
                    product / (self.head_dim as f64).sqrt()
                })
                .collect();
            let weights = softmax(&scores);
            row.extend(
                (0..self.head_dim)
                    .map(|j| weights.iter().zip(cache).map(|(weight, (_, value))| weight * value[at + j]).sum::<f64>()),
            );
        }
        row
    }
}

/// Probabilities of scores.
pub fn softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

fn add(x: &mut [f64], y: &[f64]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

fn integer(config: &Value, field: &str) -> usize {
    usize::try_from(config[field].as_u64().unwrap()).unwrap()
}
