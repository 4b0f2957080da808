//! Small random models of architectures, each as a Hugging Face folder and as the GGUF file that
//! llama.cpp's converter makes of it.
#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part")]

use std::fs;
use std::path::Path;

use potluck_model::synthetic::Random;
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};

use crate::fours::Fours;
use crate::gguf::{F32, Gguf, MXFP4, Tensor, interleaved, of_bools, of_f32, of_text, of_u32};
use crate::support::source_folder;

/// One model in both forms.
#[derive(Clone)]
pub struct Model {
    pub name: &'static str,
    /// What its keys begin with.
    pub prefix: &'static str,
    pub file: Gguf,
    /// Keys of the file that say what nothing else says.
    pub telling: &'static [&'static str],
    pub config: Value,
    /// The folder's: name, shape and numbers.
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
    /// What a packed folder has in place of some of them, a byte each; those it leaves out.
    packed: Vec<(String, Vec<usize>, Vec<u8>)>,
    loose: Vec<String>,
}

/// How the converter changes a tensor.
#[derive(Clone, Copy)]
enum Change {
    None,
    /// Adds the 1 that Gemma's norms add.
    PlusOne,
    /// Lets the halves of so many heads take turns.
    Heads(usize),
}

/// Names in the folder and in the file, shape, change.
type Part = (&'static str, &'static str, Vec<usize>, Change);

/// What a model's configuration says of its sizes.
struct Sizes {
    d_model: usize,
    d_ff: usize,
    heads: usize,
    kv_heads: usize,
    head: usize,
    vocab: usize,
    layers: usize,
}

impl Model {
    /// From what its configuration and its file say beside what all of these say.
    fn new(
        (name, prefix): (&'static str, &'static str),
        changes: Value,
        keys: Vec<(&str, Vec<u8>)>,
        telling: &'static [&'static str],
    ) -> Self {
        let mut config = json!({
            "vocab_size": 2048, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "hidden_act": "silu",
            "max_position_embeddings": 128, "rms_norm_eps": 1e-6, "rope_theta": 10_000.0,
            "tie_word_embeddings": true,
        });
        for (field, value) in changes.as_object().unwrap() {
            config[field] = value.clone();
        }
        let mut model = Self {
            name,
            prefix,
            file: Gguf::default(),
            telling,
            config,
            tensors: Vec::new(),
            packed: Vec::new(),
            loose: Vec::new(),
        };
        model.describe(keys);
        model.draw();
        model
    }

    /// With tensors drawn anew by its configuration.
    pub fn redrawn(mut self) -> Self {
        self.file.tensors.clear();
        (self.tensors, self.packed, self.loose) = (Vec::new(), Vec::new(), Vec::new());
        self.draw();
        self
    }

    fn sizes(&self) -> Sizes {
        let number = |field: &str| usize::try_from(self.config[field].as_u64().unwrap()).unwrap();
        Sizes {
            d_model: number("hidden_size"),
            d_ff: number("intermediate_size"),
            heads: number("num_attention_heads"),
            kv_heads: number("num_key_value_heads"),
            head: number("head_dim"),
            vocab: number("vocab_size"),
            layers: number("num_hidden_layers"),
        }
    }

    /// The file's keys.
    fn describe(&mut self, keys: Vec<(&str, Vec<u8>)>) {
        let Self { config, file, prefix, .. } = self;
        file.set("general.architecture", of_text(prefix));
        for (key, field) in [
            ("block_count", "num_hidden_layers"),
            ("context_length", "max_position_embeddings"),
            ("embedding_length", "hidden_size"),
            ("feed_forward_length", "intermediate_size"),
            ("attention.head_count", "num_attention_heads"),
            ("attention.head_count_kv", "num_key_value_heads"),
        ] {
            let number = u32::try_from(config[field].as_u64().unwrap()).unwrap();
            file.set(&format!("{prefix}.{key}"), of_u32(number));
        }
        #[expect(clippy::cast_possible_truncation, reason = "as the converter writes it")]
        let eps = config["rms_norm_eps"].as_f64().unwrap() as f32;
        let key = match *prefix {
            "starcoder2" => "attention.layer_norm_epsilon",
            _ => "attention.layer_norm_rms_epsilon",
        };
        file.set(&format!("{prefix}.{key}"), of_f32(eps));
        for (key, value) in keys {
            file.set(&format!("{prefix}.{key}"), value);
        }
        file.vocabulary();
    }

    /// The tensors, in both forms.
    fn draw(&mut self) {
        let sizes = self.sizes();
        let Sizes { d_model, vocab, .. } = sizes;
        let gain = if self.prefix.starts_with("gemma") { Change::PlusOne } else { Change::None };
        let embedding = vec![vocab, d_model];
        let mut random = Random::new(11);
        self.add(&mut random, "model.embed_tokens", "token_embd", &embedding, Change::None);
        self.add(&mut random, "model.norm", "output_norm", &[d_model], gain);
        if self.prefix == "starcoder2" {
            let (folder, file) = ("model.norm.bias", "output_norm.bias");
            self.add(&mut random, folder, file, &[d_model], Change::None);
        }
        if self.config["tie_word_embeddings"] != true {
            self.add(&mut random, "lm_head", "output", &embedding, Change::None);
        }
        let parts = self.parts(&sizes, gain);
        for layer in 0..sizes.layers {
            for (folder, file, shape, change) in &parts {
                let folder = format!("model.layers.{layer}.{folder}");
                self.add(&mut random, &folder, &format!("blk.{layer}.{file}"), shape, *change);
            }
        }
        for layer in 0..sizes.layers {
            if self.prefix == "gpt-oss" {
                self.draw_gpt_oss(&mut random, layer, &sizes);
            } else {
                self.draw_experts(&mut random, layer, d_model);
            }
        }
        if let Some(scaling) = self.config["rope_scaling"].as_object().cloned() {
            for (field, name) in [("long_factor", "long"), ("short_factor", "short")] {
                let Some(factors) = scaling.get(field).and_then(Value::as_array) else { continue };
                #[expect(clippy::cast_possible_truncation, reason = "as the converter writes them")]
                let factors: Vec<f32> =
                    factors.iter().map(|factor| factor.as_f64().unwrap() as f32).collect();
                let name = format!("rope_factors_{name}.weight");
                self.file.tensors.push(tensor(name, &[factors.len()], &factors));
            }
        }
    }

    /// How many experts a layer has, and how wide they are.
    fn experts(&self) -> Option<(usize, usize)> {
        let number =
            |field: &str| self.config[field].as_u64().map(|it| usize::try_from(it).unwrap());
        let count = number("num_local_experts").or_else(|| number("num_experts"))?;
        let d_ff = number("moe_intermediate_size").or_else(|| number("intermediate_size"));
        Some((count, d_ff.unwrap()))
    }

    /// A layer's router and experts: tensors of their own in the folder, one of each kind in the file.
    fn draw_experts(&mut self, random: &mut Random, layer: usize, d_model: usize) {
        let Some((count, d_ff)) = self.experts() else { return };
        let is_mixtral = self.name == "Mixtral";
        let parent = if is_mixtral { "block_sparse_moe" } else { "mlp" };
        let parent = format!("model.layers.{layer}.{parent}");
        let router = format!("blk.{layer}.ffn_gate_inp");
        self.add(random, &format!("{parent}.gate"), &router, &[count, d_model], Change::None);
        if let Some(width) = self.config["shared_expert_intermediate_size"].as_u64() {
            let width = usize::try_from(width).unwrap();
            for (own, file, shape) in [
                ("_gate", "gate_inp_shexp", [1, d_model]),
                (".gate_proj", "gate_shexp", [width, d_model]),
                (".up_proj", "up_shexp", [width, d_model]),
                (".down_proj", "down_shexp", [d_model, width]),
            ] {
                let (own, file) =
                    (format!("{parent}.shared_expert{own}"), format!("blk.{layer}.ffn_{file}"));
                self.add(random, &own, &file, &shape, Change::None);
            }
        }
        for (part, own, file, shape) in [
            ("gate_proj", "w1", "ffn_gate_exps", [d_ff, d_model]),
            ("up_proj", "w3", "ffn_up_exps", [d_ff, d_model]),
            ("down_proj", "w2", "ffn_down_exps", [d_model, d_ff]),
        ] {
            let stacked = [count, shape[0], shape[1]];
            let part = if is_mixtral { own } else { part };
            self.add(random, "all", &format!("blk.{layer}.{file}"), &stacked, Change::None);
            let (_, _, values) = self.tensors.pop().unwrap();
            for (expert, values) in values.chunks_exact(shape[0] * shape[1]).enumerate() {
                let name = format!("{parent}.experts.{expert}.{part}.weight");
                self.tensors.push((name, shape.to_vec(), values.to_vec()));
            }
        }
    }

    /// A layer's sinks, router and experts: gate and up take turns in the folder's tensors, and every number
    /// is one of four bits.
    fn draw_gpt_oss(&mut self, random: &mut Random, layer: usize, sizes: &Sizes) {
        let Some((count, d_ff)) = self.experts() else { return };
        let Sizes { d_model, heads, .. } = *sizes;
        let folder = |part: &str| format!("model.layers.{layer}.{part}");
        let file = |part: &str| format!("blk.{layer}.{part}");
        let none = Change::None;
        self.add(random, &folder("self_attn.sinks"), &file("attn_sinks"), &[heads], none);
        let (router, gate_inp) = (folder("mlp.router"), file("ffn_gate_inp"));
        self.add(random, &router, &gate_inp, &[count, d_model], none);
        let (router, gate_inp) = (router + ".bias", gate_inp + ".bias");
        self.add(random, &router, &gate_inp, &[count], none);
        for (whole, parts, [outputs, inputs]) in [
            ("gate_up_proj", &["gate", "up"][..], [d_ff, d_model]),
            ("down_proj", &["down"], [d_model, d_ff]),
        ] {
            let whole = folder(&format!("mlp.experts.{whole}"));
            let all: Vec<Fours> =
                parts.iter().map(|_| Fours::new(random, count * outputs, inputs)).collect();
            let mut biases = Vec::new();
            for (part, own) in parts.iter().zip(&all) {
                let bias = file(&format!("ffn_{part}_exps.bias"));
                self.add(random, "all.bias", &bias, &[count, outputs], none);
                biases.extend(self.tensors.pop().map(|(_, _, values)| values));
                self.file.tensors.push(Tensor {
                    name: file(&format!("ffn_{part}_exps.weight")),
                    sizes: [inputs, outputs, count].map(|size| size as u64).to_vec(),
                    kind: MXFP4,
                    bytes: own.as_ggml(),
                    offset: None,
                });
            }
            let (turns, rows) = (parts.len(), parts.len() * outputs);
            let bias = (0..count * rows).map(|at| biases[at % turns][at / turns]).collect();
            self.tensors.push((format!("{whole}_bias"), vec![count, rows], bias));
            // `[experts, inputs, outputs]`.
            let value = |at: usize| {
                let (expert, input, output) = (at / (inputs * rows), at / rows % inputs, at % rows);
                let row = expert * outputs + output / turns;
                all[output % turns].value(row * inputs + input)
            };
            let values = (0..count * inputs * rows).map(value).collect();
            self.tensors.push((whole.clone(), vec![count, inputs, rows], values));
            let (blocks, scales) = Fours::packed(&all);
            let shape = [count, rows, inputs / 32];
            self.packed.push((format!("{whole}_blocks"), [&shape[..], &[16]].concat(), blocks));
            self.packed.push((format!("{whole}_scales"), shape.to_vec(), scales));
            self.loose.push(whole);
        }
    }

    /// Those of a layer; names without `.weight`, but with `.bias`.
    fn parts(&self, sizes: &Sizes, gain: Change) -> Vec<Part> {
        let Sizes { d_model, d_ff, heads, kv_heads, head, .. } = *sizes;
        let (q, kv) = (heads * head, kv_heads * head);
        let norms: &[(&str, &str)] = match self.prefix {
            "gemma2" | "gemma3" => &[
                ("input_layernorm", "attn_norm"),
                ("post_attention_layernorm", "post_attention_norm"),
                ("pre_feedforward_layernorm", "ffn_norm"),
                ("post_feedforward_layernorm", "post_ffw_norm"),
            ],
            "olmo2" => &[
                ("post_attention_layernorm", "post_attention_norm"),
                ("post_feedforward_layernorm", "post_ffw_norm"),
            ],
            "gpt-oss" => &[
                ("input_layernorm", "attn_norm"),
                ("post_attention_layernorm", "post_attention_norm"),
            ],
            _ => &[("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm")],
        };
        let norms = norms.iter().map(|(folder, file)| (*folder, *file, vec![d_model], gain));
        let mut parts: Vec<Part> = norms.collect();
        let interleaves = matches!(self.prefix, "granite" | "smollm3" | "llama");
        let turning = |heads| if interleaves { Change::Heads(heads) } else { Change::None };
        let plain = Change::None;
        parts.push(("self_attn.o_proj", "attn_output", vec![d_model, q], plain));
        if self.prefix == "starcoder2" {
            return parts.into_iter().chain(starcoder2_parts(sizes)).collect();
        }
        if self.experts().is_none() {
            parts.push(("mlp.down_proj", "ffn_down", vec![d_model, d_ff], plain));
        }
        if self.prefix == "phi3" {
            parts.push(("self_attn.qkv_proj", "attn_qkv", vec![q + 2 * kv, d_model], plain));
            parts.push(("mlp.gate_up_proj", "ffn_up", vec![2 * d_ff, d_model], plain));
        } else {
            parts.push(("self_attn.q_proj", "attn_q", vec![q, d_model], turning(heads)));
            parts.push(("self_attn.k_proj", "attn_k", vec![kv, d_model], turning(kv_heads)));
            parts.push(("self_attn.v_proj", "attn_v", vec![kv, d_model], plain));
            if self.experts().is_none() {
                parts.push(("mlp.gate_proj", "ffn_gate", vec![d_ff, d_model], plain));
                parts.push(("mlp.up_proj", "ffn_up", vec![d_ff, d_model], plain));
            }
        }
        if self.prefix == "qwen2moe" {
            parts.push(("self_attn.q_proj.bias", "attn_q.bias", vec![q], plain));
            parts.push(("self_attn.k_proj.bias", "attn_k.bias", vec![kv], plain));
            parts.push(("self_attn.v_proj.bias", "attn_v.bias", vec![kv], plain));
        }
        if self.config["attention_bias"] == true {
            parts.push(("self_attn.q_proj.bias", "attn_q.bias", vec![q], turning(heads)));
            parts.push(("self_attn.k_proj.bias", "attn_k.bias", vec![kv], turning(kv_heads)));
            parts.push(("self_attn.v_proj.bias", "attn_v.bias", vec![kv], plain));
            parts.push(("self_attn.o_proj.bias", "attn_output.bias", vec![d_model], plain));
        }
        let widths = match self.prefix {
            "gemma3" | "qwen3moe" => Some((head, head)),
            "olmo2" | "olmoe" => Some((q, kv)),
            _ => None,
        };
        if let Some((queries, keys)) = widths {
            parts.push(("self_attn.q_norm", "attn_q_norm", vec![queries], gain));
            parts.push(("self_attn.k_norm", "attn_k_norm", vec![keys], gain));
        }
        parts
    }

    fn add(&mut self, random: &mut Random, folder: &str, file: &str, shape: &[usize], by: Change) {
        let count: usize = shape.iter().product();
        let middle =
            if folder.ends_with("norm") && !matches!(by, Change::PlusOne) { 1.0 } else { 0.0 };
        // Multiples of 1/4096: adding 1 to them rounds nothing.
        let mut one = || middle + random.within(-1000, 1000) as f32 / 4096.0;
        let values: Vec<f32> = (0..count).map(|_| one()).collect();
        let changed = match by {
            Change::None => values.clone(),
            Change::PlusOne => values.iter().map(|value| value + 1.0).collect(),
            Change::Heads(heads) => interleaved(&values, shape.get(1).copied().unwrap_or(1), heads),
        };
        let whole = |name: &str| {
            let is_whole = name.ends_with(".bias") || name.ends_with(".sinks");
            if is_whole { name.to_owned() } else { format!("{name}.weight") }
        };
        self.file.tensors.push(tensor(whole(file), shape, &changed));
        self.tensors.push((whole(folder), shape.to_vec(), values));
    }

    /// Writes the folder.
    pub fn write(&self, folder: &Path) {
        self.write_as(folder, false);
    }

    /// Writes the folder with what can be packed packed.
    pub fn write_packed(&self, folder: &Path) {
        self.write_as(folder, true);
    }

    fn write_as(&self, folder: &Path, is_packed: bool) {
        for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
            fs::copy(source_folder().join(name), folder.join(name)).unwrap();
        }
        let mut config = self.config.clone();
        if is_packed {
            config["quantization_config"] = json!({"quant_method": "mxfp4"});
        }
        fs::write(folder.join("config.json"), config.to_string()).unwrap();
        let kept =
            self.tensors.iter().filter(|(name, ..)| !is_packed || !self.loose.contains(name));
        let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = kept
            .map(|(name, shape, values)| {
                (name, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            })
            .collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            (name.as_str(), TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap())
        });
        let packed = self.packed.iter().filter(|_| is_packed).map(|(name, shape, bytes)| {
            (name.as_str(), TensorView::new(Dtype::U8, shape.clone(), bytes).unwrap())
        });
        let views = views.chain(packed);
        fs::write(folder.join("model.safetensors"), safetensors::serialize(views, None).unwrap())
            .unwrap();
    }
}

/// Those that a layer of `StarCoder2` has besides its norms' gains and the output projection.
fn starcoder2_parts(sizes: &Sizes) -> Vec<Part> {
    let Sizes { d_model, d_ff, heads, kv_heads, head, .. } = *sizes;
    let (q, kv) = (heads * head, kv_heads * head);
    let parts = [
        ("self_attn.q_proj", "attn_q", vec![q, d_model]),
        ("self_attn.k_proj", "attn_k", vec![kv, d_model]),
        ("self_attn.v_proj", "attn_v", vec![kv, d_model]),
        ("mlp.c_fc", "ffn_up", vec![d_ff, d_model]),
        ("mlp.c_proj", "ffn_down", vec![d_model, d_ff]),
        ("input_layernorm.bias", "attn_norm.bias", vec![d_model]),
        ("post_attention_layernorm.bias", "ffn_norm.bias", vec![d_model]),
        ("self_attn.q_proj.bias", "attn_q.bias", vec![q]),
        ("self_attn.k_proj.bias", "attn_k.bias", vec![kv]),
        ("self_attn.v_proj.bias", "attn_v.bias", vec![kv]),
        ("self_attn.o_proj.bias", "attn_output.bias", vec![d_model]),
        ("mlp.c_fc.bias", "ffn_up.bias", vec![d_ff]),
        ("mlp.c_proj.bias", "ffn_down.bias", vec![d_model]),
    ];
    parts.into_iter().map(|(folder, file, shape)| (folder, file, shape, Change::None)).collect()
}

fn tensor(name: String, shape: &[usize], values: &[f32]) -> Tensor {
    let sizes = shape.iter().rev().map(|size| *size as u64).collect();
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Tensor { name, sizes, kind: F32, bytes, offset: None }
}

/// One of each. Configurations are such as a file can say: its reader knows Gemma's pattern of windows and
/// SmolLM3's of layers that do not turn, and Gemma's scale of scores by the number of layers.
#[expect(clippy::too_many_lines, reason = "a table")]
pub fn models() -> Vec<Model> {
    let gemma = |changes: Value| {
        let mut config =
            json!({"hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 16});
        for (field, value) in changes.as_object().unwrap() {
            config[field] = value.clone();
        }
        config
    };
    let wide =
        || vec![("attention.key_length", of_u32(16)), ("attention.value_length", of_u32(16))];
    let with = |keys: Vec<(&'static str, Vec<u8>)>| [wide(), keys].concat();
    vec![
        Model::new(
            ("Gemma 2", "gemma2"),
            gemma(json!({"architectures": ["Gemma2ForCausalLM"], "sliding_window": 8,
                "attn_logit_softcapping": 5.0, "final_logit_softcapping": 10.0})),
            with(vec![
                ("attn_logit_softcapping", of_f32(5.0)),
                ("final_logit_softcapping", of_f32(10.0)),
                ("attention.sliding_window", of_u32(8)),
            ]),
            &[
                "gemma2.attn_logit_softcapping",
                "gemma2.final_logit_softcapping",
                "gemma2.attention.sliding_window",
            ],
        ),
        // The first converters wrote neither caps nor window. Its size is the largest's, by layers.
        Model::new(
            ("Gemma 2 27B, an early file", "gemma2"),
            gemma(json!({"architectures": ["Gemma2ForCausalLM"], "sliding_window": 4096,
                "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
                "num_hidden_layers": 46, "hidden_size": 96, "intermediate_size": 32, "head_dim": 32,
                "query_pre_attn_scalar": 24, "max_position_embeddings": 8192})),
            vec![("attention.key_length", of_u32(32)), ("attention.value_length", of_u32(32))],
            &["gemma2.attention.key_length"],
        ),
        Model::new(
            ("Gemma 3", "gemma3"),
            gemma(json!({"architectures": ["Gemma3ForCausalLM"], "sliding_window": 8,
                "sliding_window_pattern": 6, "num_hidden_layers": 7, "rope_theta": 1_000_000.0,
                "rope_local_base_freq": 100.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0}})),
            with(vec![
                ("attention.sliding_window", of_u32(8)),
                ("rope.freq_base", of_f32(1_000_000.0)),
                ("rope.freq_base_swa", of_f32(100.0)),
                ("rope.scaling.type", of_text("linear")),
                ("rope.scaling.factor", of_f32(8.0)),
            ]),
            &[
                "gemma3.attention.sliding_window",
                "gemma3.rope.freq_base",
                "gemma3.rope.freq_base_swa",
                "gemma3.rope.scaling.type",
                "gemma3.rope.scaling.factor",
            ],
        ),
        Model::new(
            ("Gemma 3 27B, an early file", "gemma3"),
            gemma(json!({"architectures": ["Gemma3ForCausalLM"], "sliding_window": 8,
                "num_hidden_layers": 62, "hidden_size": 96, "intermediate_size": 32, "head_dim": 32,
                "query_pre_attn_scalar": 24, "rope_theta": 1_000_000.0})),
            vec![
                ("attention.key_length", of_u32(32)),
                ("attention.value_length", of_u32(32)),
                ("attention.sliding_window", of_u32(8)),
                ("rope.freq_base", of_f32(1_000_000.0)),
            ],
            &[],
        ),
        Model::new(
            ("Phi-3", "phi3"),
            json!({"architectures": ["Phi3ForCausalLM"], "sliding_window": 24, "tie_word_embeddings": false,
                "original_max_position_embeddings": 128}),
            vec![
                ("attention.sliding_window", of_u32(24)),
                ("rope.dimension_count", of_u32(16)),
                ("rope.freq_base", of_f32(10_000.0)),
                ("rope.scaling.original_context_length", of_u32(128)),
            ],
            &["phi3.attention.sliding_window"],
        ),
        Model::new(
            ("Phi-3 with LongRoPE", "phi3"),
            json!({"architectures": ["Phi3ForCausalLM"], "partial_rotary_factor": 0.75,
                "original_max_position_embeddings": 32,
                "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.0, 1.1, 1.2, 1.3, 1.4],
                    "long_factor": [1.0, 1.5, 2.0, 3.0, 5.0, 8.0]}}),
            vec![
                ("attention.sliding_window", of_u32(0)),
                ("rope.dimension_count", of_u32(12)),
                ("rope.freq_base", of_f32(10_000.0)),
                ("rope.scaling.original_context_length", of_u32(32)),
                ("rope.scaling.attn_factor", of_f32(1.183_216)),
            ],
            &[
                "phi3.rope.dimension_count",
                "phi3.rope.scaling.original_context_length",
                "phi3.rope.scaling.attn_factor",
            ],
        ),
        Model::new(
            ("Granite 3", "granite"),
            json!({"architectures": ["GraniteForCausalLM"], "embedding_multiplier": 12.0,
                "logits_scaling": 6.0, "residual_multiplier": 0.22, "attention_multiplier": 0.5,
                "attention_bias": true}),
            vec![
                ("vocab_size", of_u32(2048)),
                ("rope.dimension_count", of_u32(16)),
                ("rope.freq_base", of_f32(10_000.0)),
                ("attention.scale", of_f32(0.5)),
                ("embedding_scale", of_f32(12.0)),
                ("residual_scale", of_f32(0.22)),
                ("logit_scale", of_f32(6.0)),
            ],
            &[
                "granite.attention.scale",
                "granite.embedding_scale",
                "granite.residual_scale",
                "granite.logit_scale",
            ],
        ),
        Model::new(
            ("OLMo 2", "olmo2"),
            json!({"architectures": ["Olmo2ForCausalLM"], "tie_word_embeddings": false, "rope_theta": 500_000.0}),
            with(vec![("rope.freq_base", of_f32(500_000.0))]),
            &["olmo2.rope.freq_base"],
        ),
        Model::new(
            ("OLMo 3", "olmo2"),
            json!({"architectures": ["Olmo3ForCausalLM"], "tie_word_embeddings": false, "rope_theta": 500_000.0,
                "sliding_window": 8, "layer_types":
                    ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
                "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "beta_fast": 32, "beta_slow": 1,
                    "original_max_position_embeddings": 32, "attention_factor": 1.138_629_436_111_989}}),
            with(vec![
                ("attention.sliding_window", of_u32(8)),
                ("attention.sliding_window_pattern", of_bools(&[true, false, true, false])),
                ("rope.freq_base", of_f32(500_000.0)),
                ("rope.freq_base_swa", of_f32(500_000.0)),
                ("rope.scaling.type", of_text("yarn")),
                ("rope.scaling.factor", of_f32(4.0)),
                ("rope.scaling.original_context_length", of_u32(32)),
                ("rope.scaling.yarn_attn_factor", of_f32(1.138_629_4)),
                ("rope.scaling.yarn_beta_fast", of_f32(32.0)),
                ("rope.scaling.yarn_beta_slow", of_f32(1.0)),
            ]),
            &[
                "olmo2.attention.sliding_window",
                "olmo2.attention.sliding_window_pattern",
                "olmo2.rope.scaling.type",
                "olmo2.rope.scaling.factor",
                "olmo2.rope.scaling.original_context_length",
            ],
        ),
        Model::new(
            ("SmolLM3", "smollm3"),
            json!({"architectures": ["SmolLM3ForCausalLM"], "no_rope_layers": [1, 1, 1, 0],
                "rope_theta": 2_000_000.0}),
            with(vec![
                ("vocab_size", of_u32(2048)),
                ("rope.dimension_count", of_u32(16)),
                ("rope.freq_base", of_f32(2_000_000.0)),
            ]),
            &["smollm3.rope.freq_base"],
        ),
        Model::new(
            ("Mixtral", "llama"),
            json!({"architectures": ["MixtralForCausalLM"], "num_local_experts": 6,
                "num_experts_per_tok": 2, "sliding_window": null, "tie_word_embeddings": false}),
            vec![
                ("vocab_size", of_u32(2048)),
                ("rope.dimension_count", of_u32(16)),
                ("rope.freq_base", of_f32(10_000.0)),
                ("expert_count", of_u32(6)),
                ("expert_used_count", of_u32(2)),
            ],
            &["llama.expert_count", "llama.expert_used_count"],
        ),
        Model::new(
            ("Qwen 3 MoE", "qwen3moe"),
            json!({"architectures": ["Qwen3MoeForCausalLM"], "num_experts": 8, "num_experts_per_tok": 3,
                "moe_intermediate_size": 64, "norm_topk_prob": true, "decoder_sparse_step": 1,
                "mlp_only_layers": []}),
            with(vec![
                ("rope.freq_base", of_f32(10_000.0)),
                ("expert_count", of_u32(8)),
                ("expert_used_count", of_u32(3)),
                ("expert_feed_forward_length", of_u32(64)),
            ]),
            &[
                "qwen3moe.expert_count",
                "qwen3moe.expert_used_count",
                "qwen3moe.expert_feed_forward_length",
            ],
        ),
        Model::new(
            ("OLMoE", "olmoe"),
            json!({"architectures": ["OlmoeForCausalLM"], "num_experts": 5, "num_experts_per_tok": 2,
                "norm_topk_prob": false, "rms_norm_eps": 1e-5, "tie_word_embeddings": false}),
            with(vec![
                ("rope.freq_base", of_f32(10_000.0)),
                ("expert_count", of_u32(5)),
                ("expert_used_count", of_u32(2)),
            ]),
            &["olmoe.expert_count", "olmoe.expert_used_count"],
        ),
        Model::new(
            ("Qwen 2 MoE", "qwen2moe"),
            json!({"architectures": ["Qwen2MoeForCausalLM"], "num_experts": 5, "num_experts_per_tok": 2,
                "moe_intermediate_size": 64, "shared_expert_intermediate_size": 192,
                "norm_topk_prob": false, "use_sliding_window": false, "tie_word_embeddings": false}),
            with(vec![
                ("rope.freq_base", of_f32(10_000.0)),
                ("expert_count", of_u32(5)),
                ("expert_used_count", of_u32(2)),
                ("expert_feed_forward_length", of_u32(64)),
                ("expert_shared_feed_forward_length", of_u32(192)),
            ]),
            &[
                "qwen2moe.expert_count",
                "qwen2moe.expert_used_count",
                "qwen2moe.expert_feed_forward_length",
                "qwen2moe.expert_shared_feed_forward_length",
            ],
        ),
        Model::new(
            ("gpt-oss", "gpt-oss"),
            json!({"architectures": ["GptOssForCausalLM"], "num_local_experts": 6,
                "num_experts_per_tok": 2, "rms_norm_eps": 1e-5, "attention_bias": true,
                "tie_word_embeddings": false, "sliding_window": 8, "swiglu_limit": 7.0,
                "rope_theta": 150_000.0, "rope_scaling": {"rope_type": "yarn", "factor": 4.0,
                    "beta_fast": 32.0, "beta_slow": 1.0, "truncate": false,
                    "original_max_position_embeddings": 32}}),
            with(vec![
                ("rope.scaling.type", of_text("yarn")),
                ("rope.scaling.factor", of_f32(4.0)),
                ("rope.scaling.original_context_length", of_u32(32)),
                ("rope.scaling.yarn_beta_fast", of_f32(32.0)),
                ("rope.scaling.yarn_beta_slow", of_f32(1.0)),
                ("rope.freq_base", of_f32(150_000.0)),
                ("expert_count", of_u32(6)),
                ("expert_used_count", of_u32(2)),
                ("attention.sliding_window", of_u32(8)),
                ("expert_feed_forward_length", of_u32(96)),
            ]),
            &[
                "gpt-oss.attention.sliding_window",
                "gpt-oss.rope.freq_base",
                "gpt-oss.rope.scaling.type",
                "gpt-oss.rope.scaling.factor",
                "gpt-oss.rope.scaling.original_context_length",
                "gpt-oss.expert_count",
                "gpt-oss.expert_used_count",
                "gpt-oss.expert_feed_forward_length",
            ],
        ),
        Model::new(
            ("StarCoder2", "starcoder2"),
            json!({"architectures": ["Starcoder2ForCausalLM"], "hidden_act": "gelu_pytorch_tanh",
                "norm_epsilon": 1e-6, "use_bias": true, "sliding_window": 4096, "rope_theta": 100_000.0}),
            with(vec![("rope.freq_base", of_f32(100_000.0))]),
            &["starcoder2.attention.layer_norm_epsilon", "starcoder2.rope.freq_base"],
        ),
    ]
}
