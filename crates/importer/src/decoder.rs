//! A decoder's files, read matrix by matrix, to its blobs and its manifest.

use std::path::{Path, PathBuf};

use potluck_model::chat::ChatFormat;
use potluck_model::package::{
    Bias, BlobHash, BlobRef, Defaults, FORMAT, Gain, LayerKind, LayerWeights, Linear,
    MAX_POSITIONS, Manifest, Mlp, MlpWeights, ModelConfig, NormKind, Router, UngatedWeights,
};
use potluck_model::tokenizer::Tokenizer;
use potluck_protocol::NUMERICS_VERSION;

use crate::error::ImportError;
use crate::fold::{self, Fold};
use crate::install::{install, make_folder, put_blob};
use crate::source::{QkNorm, Shape, Source};
use crate::{CHUNK_VALUES, Options, Progress, chat, ends, model_name, quantise};

/// Imports a folder or GGUF file into `destination`, as `models/<name>.json`; returns its id.
pub(crate) fn import(
    source: &Path,
    destination: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<BlobHash, ImportError> {
    let source = Source::open(source)?;
    let name = model_name(options, &source.name)?;
    let fold = Fold::of(&source.shape)?;
    let config = model_config(&source.shape, &fold, options)?;
    config.check()?;
    let tokenizer = Tokenizer::from_bytes(&source.tokenizer)?;
    let chat = chat::format(&source.chat)?;
    let end_tokens = ends::tokens(&source, &tokenizer, &chat)?;
    drop(tokenizer);
    let needed = tensors_needed(&config, &source.shape);
    for (name, shape) in &needed {
        source.expect(name, shape)?;
    }
    // One that is left out would be missed by nobody, and heard in every answer.
    if let Some(name) = source.other_than(needed.iter().map(|(name, _)| name.as_str())) {
        let name: String = name.chars().take(200).collect();
        let what = format!(
            "tensor {name}, which architecture {:?} does not have",
            source.shape.architecture
        );
        let supported = "files whose tensors are all computed with".to_owned();
        return Err(ImportError::Unsupported { what, supported });
    }
    let mut import = Import { source, config, fold, blobs: destination.join("blobs"), progress };
    make_folder(&import.blobs)?;
    make_folder(&destination.join("models"))?;
    let manifest = import.run(name, chat, end_tokens)?;
    let bytes = manifest.to_bytes()?;
    Manifest::from_bytes(&bytes)?;
    install(destination, "models", &manifest.name, &bytes)
}

fn model_config(shape: &Shape, fold: &Fold, options: &Options) -> Result<ModelConfig, ImportError> {
    let eps = quantise::eps(shape.eps, shape.d_model);
    // A longer context is cut: the arithmetic's sums hold no more.
    let max_positions = shape.max_positions.min(options.context).min(MAX_POSITIONS);
    // A window of the whole context is none.
    let within = |kind: &LayerKind| LayerKind {
        window: kind.window.filter(|window| *window < max_positions),
        ..*kind
    };
    let kinds: Vec<LayerKind> = shape.kinds.iter().map(within).collect();
    let is_plain = kinds.iter().all(|kind| *kind == LayerKind::PLAIN);
    let row_eps = |heads: u32| quantise::eps(shape.eps, heads.saturating_mul(shape.head_dim));
    let cap = |cap: Option<f64>| cap.map(quantise::soft_cap).transpose();
    Ok(ModelConfig {
        layers: shape.layers,
        d_model: shape.d_model,
        d_ff: shape.d_ff,
        heads: shape.heads,
        kv_heads: shape.kv_heads,
        head_dim: shape.head_dim,
        vocab: shape.vocab,
        max_positions,
        // Known once the embedding was read.
        residual_fraction_bits: quantise::MAX_FRACTION_BITS,
        qk_scale: fold.qk_scale,
        eps_mantissa: eps.mantissa,
        eps_exponent: eps.exponent,
        weight_bits: options.weight_bits,
        qkv_bias: shape.biases.qkv,
        qk_norm: (shape.qk_norm == QkNorm::Heads).then(|| quantise::eps(shape.eps, shape.head_dim)),
        layer_kinds: if is_plain { Vec::new() } else { kinds },
        rotations: u32::try_from(shape.rotations.len()).unwrap_or(u32::MAX),
        qk_row_norm: (shape.qk_norm == QkNorm::Rows)
            .then(|| [shape.heads, shape.kv_heads].map(row_eps)),
        norms: shape.norms,
        output_bias: shape.biases.output,
        mlp_bias: shape.biases.mlp,
        mlp_limit: shape.mlp_limit.map(quantise::mlp_limit).transpose()?,
        // Scores are base-2 logarithms.
        attention_cap: cap(shape.attention_cap.map(|cap| cap * core::f64::consts::LOG2_E))?,
        logit_cap: cap(shape.logit_cap)?,
        sinks: shape.sinks,
        experts: shape.experts,
        norm: shape.norm,
        ungated: shape.ungated,
    })
}

/// Names and shapes of all tensors that will be read: what is missing is missed now, not after an
/// hour of work.
fn tensors_needed(config: &ModelConfig, shape: &Shape) -> Vec<(String, Vec<usize>)> {
    let (vocab, d_model) = (config.vocab as usize, config.d_model as usize);
    let [up, down] = config.mlp_shapes();
    let mut needed = vec![("model.embed_tokens.weight".to_owned(), vec![vocab, d_model])];
    let norm_parts = norm_parts(config);
    needed.extend(norm_parts.iter().map(|part| (format!("model.norm.{part}"), vec![d_model])));
    if !shape.tied {
        needed.push(("lm_head.weight".to_owned(), vec![vocab, d_model]));
    }
    let names = shape.norm_names();
    for index in 0..config.layers {
        let mut need = |part: &str, shape: &[usize]| {
            needed.push((format!("model.layers.{index}.{part}"), shape.to_vec()));
        };
        for norm in names.before.into_iter().chain(names.after).flatten() {
            norm_parts.iter().for_each(|part| need(&format!("{norm}.{part}"), &[d_model]));
        }
        let shapes = config.attention_shapes();
        for (at, (part, (rows, columns))) in MATRICES.iter().zip(shapes).enumerate() {
            need(&format!("self_attn.{part}.weight"), &[rows, columns]);
            if has_bias(config, at) {
                need(&format!("self_attn.{part}.bias"), &[rows]);
            }
        }
        let mut need_mlp = |parent: &str, parts: &[&str], shapes: &[(usize, usize)]| {
            for (part, (rows, columns)) in parts.iter().zip(shapes) {
                need(&format!("{parent}.{part}.weight"), &[*rows, *columns]);
                if config.mlp_bias {
                    need(&format!("{parent}.{part}.bias"), &[*rows]);
                }
            }
        };
        let experts = config.experts_of(index);
        match (config.experts, config.expert_shapes()) {
            (Some(shape), Some(shapes)) if experts > 0 => {
                let (rows, columns) = (shape.count as usize, d_model);
                for expert in 0..experts {
                    need_mlp(&expert_name(expert), &MLP_MATRICES, &shapes);
                }
                need(&format!("{ROUTER}.weight"), &[rows, columns]);
                if shape.router_bias {
                    need(&format!("{ROUTER}.bias"), &[rows]);
                }
                if shape.shared > 0 {
                    need(SHARED_GATE, &[1, columns]);
                }
            }
            _ if config.ungated => need_mlp(DENSE, UNGATED, &[up, down]),
            _ => need_mlp(DENSE, &MLP_MATRICES, &[up, up, down]),
        }
        if config.sinks {
            need(SINKS, &[config.heads as usize]);
        }
        if let Some(widths) = qk_norm_widths(config) {
            for (norm, width) in ["q_norm", "k_norm"].into_iter().zip(widths) {
                need(&format!("self_attn.{norm}.weight"), &[width]);
            }
        }
    }
    needed
}

/// What a norm of residual rows has in a file.
fn norm_parts(config: &ModelConfig) -> &'static [&'static str] {
    match config.norm {
        NormKind::Rms => &["weight"],
        NormKind::Layer => &["weight", "bias"],
    }
}

/// Whether one of [`MATRICES`] has a bias.
fn has_bias(config: &ModelConfig, at: usize) -> bool {
    match at {
        0..3 => config.qkv_bias,
        _ => config.output_bias,
    }
}

/// Over how many values queries and keys are normalised.
fn qk_norm_widths(config: &ModelConfig) -> Option<[usize; 2]> {
    let [(q, _), (k, _), ..] = config.attention_shapes();
    let head = config.head_dim as usize;
    config.qk_norm.map(|_| [head, head]).or(config.qk_row_norm.map(|_| [q, k]))
}

/// Attention's matrices, those of [`ModelConfig::attention_shapes`].
const MATRICES: [&str; 4] = ["q_proj", "k_proj", "v_proj", "o_proj"];
/// Those of an MLP or an expert.
const MLP_MATRICES: [&str; 3] = ["gate_proj", "up_proj", "down_proj"];
/// Those of an MLP without a gate.
const UNGATED: &[&str] = MLP_MATRICES.split_at(1).1;
/// Whose they are in a layer without experts.
const DENSE: &str = "mlp";
/// What chooses experts.
const ROUTER: &str = "mlp.gate";
/// What weighs shared experts.
const SHARED_GATE: &str = "mlp.shared_expert_gate.weight";
/// What heads give to nothing.
const SINKS: &str = "self_attn.sinks";

fn expert_name(expert: u32) -> String {
    format!("mlp.experts.{expert}")
}

/// What becomes of a matrix, beside integers.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// Of every value.
    scale: f64,
    /// A power of two.
    exponent: i32,
    /// Whether the dimensions of its heads change places.
    turned: bool,
}

/// Nothing.
const AS_IT_IS: Change = Change { scale: 1.0, exponent: 0, turned: false };

/// An import under way.
struct Import<'a> {
    source: Source,
    config: ModelConfig,
    fold: Fold,
    blobs: PathBuf,
    progress: &'a mut dyn FnMut(Progress),
}

impl Import<'_> {
    fn run(
        &mut self,
        name: String,
        chat: ChatFormat,
        end_tokens: Vec<u32>,
    ) -> Result<Manifest, ImportError> {
        let (vocab, d_model) = (self.config.vocab as usize, self.config.d_model as usize);
        let (bits, scale) = (quantise::VOCABULARY_BITS, self.fold.embedding);
        let (embedding, largest) = self.linear(
            "model.embed_tokens.weight",
            (vocab, d_model),
            bits,
            Change { scale, ..AS_IT_IS },
        )?;
        self.config.residual_fraction_bits = quantise::residual_fraction_bits(largest);
        let embedding = self.put(&embedding.to_bytes())?;
        let last_norm = self.norm("model.norm", self.fold.last_gain)?;
        let ModelConfig { head_dim, max_positions, .. } = self.config;
        let shape = &self.source.shape;
        let angles = |rotation| fold::angles(rotation, head_dim, max_positions);
        let rotations: Vec<_> =
            shape.rotations.iter().map(|rotation| (angles(rotation), rotation.scale)).collect();
        let tables = quantise::tables(&self.config, &rotations, shape.activation, last_norm);
        let tables = self.put(&tables.to_bytes())?;
        let tokenizer = self.put(&self.source.tokenizer)?;
        let (mut layer_blobs, mut expert_blobs) = (Vec::new(), Vec::new());
        let bits = self.config.weight_bits;
        for index in 0..self.config.layers {
            let layer = self.layer(index)?;
            layer_blobs.push(self.put(&layer.to_bytes(bits))?);
            let mut experts = Vec::new();
            for expert in 0..self.config.experts_of(index) {
                let parent = format!("model.layers.{index}.{}", expert_name(expert));
                let shapes = self.config.expert_shapes().unwrap_or_default();
                let expert = self.mlp(&parent, shapes)?;
                experts.push(self.put(&expert.to_bytes(bits))?);
            }
            expert_blobs.push(experts);
        }
        if expert_blobs.iter().all(Vec::is_empty) {
            expert_blobs.clear();
        }
        let head = if self.source.shape.tied {
            embedding
        } else {
            let shape = (vocab, d_model);
            let (head, _) =
                self.linear("lm_head.weight", shape, quantise::VOCABULARY_BITS, AS_IT_IS)?;
            self.put(&head.to_bytes())?
        };
        let generation = &self.source.generation;
        Ok(Manifest {
            format: FORMAT,
            numerics: u32::from(NUMERICS_VERSION),
            name,
            architecture: self.source.shape.architecture.to_owned(),
            license: self.source.license.clone(),
            config: self.config.clone(),
            tables,
            tokenizer,
            embedding,
            layer_blobs,
            expert_blobs,
            head,
            chat,
            end_tokens,
            defaults: Defaults {
                temperature_milli: generation.temperature_milli(),
                top_p_milli: generation.top_p_milli(),
                top_k: generation.top_k.unwrap_or(0),
                repetition_penalty_milli: generation.repetition_penalty_milli(),
                // An answer ends where the model ends it; where its makers set no limit, the context is one.
                max_tokens: generation
                    .max_new_tokens
                    .unwrap_or(max_positions)
                    .clamp(1, max_positions),
            },
        })
    }

    fn layer(&mut self, index: u32) -> Result<LayerWeights, ImportError> {
        let (shapes, weight_bits) = (self.config.attention_shapes(), self.config.weight_bits);
        let (names, after) = (self.source.shape.norm_names(), self.fold.after);
        let (projection, norm) = self.fold.query_exponents(self.source.shape.qk_norm);
        let output = Change { scale: self.fold.output, ..AS_IT_IS };
        let turned = Change { turned: true, ..AS_IT_IS };
        let changes = [Change { exponent: projection, ..turned }, turned, AS_IT_IS, output];
        let name = |part: &str| format!("model.layers.{index}.{part}");
        let mut matrix = |at: usize| {
            let name = name(&format!("self_attn.{}.weight", MATRICES[at]));
            Ok::<_, ImportError>(self.linear(&name, shapes[at], weight_bits, changes[at])?.0)
        };
        let [q, k, v, o] = [matrix(0)?, matrix(1)?, matrix(2)?, matrix(3)?];
        let experts = self.config.experts.filter(|_| self.config.experts_of(index) > 0);
        let mlp = match experts {
            Some(experts) => {
                let (rows, columns) = (experts.count as usize, self.config.d_model as usize);
                let part = |part: &str| name(&format!("{ROUTER}.{part}"));
                let mut values = self.source.rows(&part("weight"), &[rows, columns], 0..rows)?;
                if experts.shared > 0 {
                    values.extend(self.source.rows(&name(SHARED_GATE), &[1, columns], 0..1)?);
                }
                // Scores are base-2 logarithms.
                scale(&mut values, core::f64::consts::LOG2_E);
                let matrices = quantise::twice(&values, columns);
                let bias =
                    experts.router_bias.then(|| self.scores(&part("bias"), rows)).transpose()?;
                Mlp::Routed(Box::new(Router { matrices, bias }))
            }
            None if self.config.ungated => Mlp::Ungated(Box::new(self.ungated_mlp(&name(DENSE))?)),
            None => {
                let [up, down] = self.config.mlp_shapes();
                Mlp::Dense(Box::new(self.mlp(&name(DENSE), [up, up, down])?))
            }
        };
        let mut gains = |names: Option<[&str; 2]>, scale: f64| {
            let mut gain = |part: &str| self.norm(&name(part), scale);
            Ok::<_, ImportError>(match names {
                Some([attention, mlp]) => (Some(gain(attention)?), Some(gain(mlp)?)),
                None => (None, None),
            })
        };
        let (attention_norm, mlp_norm) = gains(names.before, 1.0)?;
        let (attention_post_norm, mlp_post_norm) = gains(names.after, after)?;
        let ModelConfig { qkv_bias, output_bias, .. } = self.config;
        let mut bias = |at: usize| {
            let part = name(&format!("self_attn.{}.bias", MATRICES[at]));
            self.bias(&part, shapes[at].0, changes[at])
        };
        let qkv_bias = if qkv_bias { Some([bias(0)?, bias(1)?, bias(2)?]) } else { None };
        let output_bias = if output_bias { Some(bias(3)?) } else { None };
        let qk_norms = match qk_norm_widths(&self.config) {
            Some([q, k]) => {
                let mut queries = self.head_gain(&name("self_attn.q_norm.weight"), q)?;
                queries.exponent += norm;
                Some([queries, self.head_gain(&name("self_attn.k_norm.weight"), k)?])
            }
            None => None,
        };
        let sinks = match self.config.sinks {
            true => Some(self.scores(&name(SINKS), self.config.heads as usize)?),
            false => None,
        };
        let is_row = self.config.qk_row_norm.is_some();
        let (qk_norm, qk_row_norm) = if is_row { (None, qk_norms) } else { (qk_norms, None) };
        Ok(LayerWeights {
            attention_norm,
            mlp_norm,
            attention_post_norm,
            mlp_post_norm,
            q,
            k,
            v,
            o,
            mlp,
            qkv_bias,
            qk_norm,
            qk_row_norm,
            output_bias,
            sinks,
        })
    }

    /// An MLP or an expert: the matrices of `parent`.
    fn mlp(
        &mut self,
        parent: &str,
        shapes: [(usize, usize); 3],
    ) -> Result<MlpWeights, ImportError> {
        let output = Change { scale: self.fold.output, ..AS_IT_IS };
        let (bits, changes) = (self.config.weight_bits, [AS_IT_IS, AS_IT_IS, output]);
        let mut matrix = |at: usize| {
            let name = format!("{parent}.{}.weight", MLP_MATRICES[at]);
            Ok::<_, ImportError>(self.linear(&name, shapes[at], bits, changes[at])?.0)
        };
        let [gate, up, down] = [matrix(0)?, matrix(1)?, matrix(2)?];
        let has_bias = self.config.mlp_bias;
        let mut bias = |at: usize| {
            let name = format!("{parent}.{}.bias", MLP_MATRICES[at]);
            self.bias(&name, shapes[at].0, changes[at])
        };
        let bias = if has_bias { Some([bias(0)?, bias(1)?, bias(2)?]) } else { None };
        Ok(MlpWeights { gate, up, down, bias })
    }

    /// An MLP without a gate.
    fn ungated_mlp(&mut self, parent: &str) -> Result<UngatedWeights, ImportError> {
        let output = Change { scale: self.fold.output, ..AS_IT_IS };
        let (bits, shapes) = (self.config.weight_bits, self.config.mlp_shapes());
        let mut part = |at: usize, change: Change| {
            let name = format!("{parent}.{}", UNGATED[at]);
            let matrix = self.linear(&format!("{name}.weight"), shapes[at], bits, change)?.0;
            let has_bias = self.config.mlp_bias;
            let mut bias = || self.bias(&format!("{name}.bias"), shapes[at].0, change);
            Ok::<_, ImportError>((matrix, has_bias.then(&mut bias).transpose()?))
        };
        let [(up, up_bias), (down, down_bias)] = [part(0, AS_IT_IS)?, part(1, output)?];
        Ok(UngatedWeights { up, down, bias: up_bias.zip(down_bias).map(<[Bias; 2]>::from) })
    }

    fn linear(
        &mut self,
        name: &str,
        shape: (usize, usize),
        bits: u32,
        change: Change,
    ) -> Result<(Linear, f64), ImportError> {
        let (rows, columns) = shape;
        let mut quantiser = quantise::Quantiser::new(rows, columns, bits);
        let order = self.fold.order.clone().filter(|_| change.turned);
        // Whole heads at once, where their rows change places.
        let head = order.as_ref().map_or(1, Vec::len);
        let step = (CHUNK_VALUES / columns.max(1)).max(1).next_multiple_of(head);
        for start in (0..rows).step_by(step) {
            let end = (start + step).min(rows);
            let mut values = self.source.rows(name, &[rows, columns], start..end)?;
            if let Some(order) = &order {
                values = fold::reordered(&values, columns, order);
            }
            scale(&mut values, change.scale);
            quantiser.push(&values);
            self.report();
        }
        let (mut linear, largest) = quantiser.finish();
        linear.exponent += change.exponent;
        Ok((linear, largest))
    }

    fn bias(&mut self, name: &str, width: usize, change: Change) -> Result<Bias, ImportError> {
        let mut values = self.vector(name, width)?;
        if let Some(order) = self.fold.order.as_ref().filter(|_| change.turned) {
            values = fold::reordered(&values, 1, order);
        }
        scale(&mut values, change.scale);
        let mut bias = quantise::bias(&values);
        bias.exponent += change.exponent;
        Ok(bias)
    }

    /// Sinks or a router's biases.
    fn scores(&mut self, name: &str, count: usize) -> Result<Bias, ImportError> {
        Ok(quantise::scores(&self.vector(name, count)?))
    }

    fn gain(&mut self, name: &str, width: usize, scale: f64) -> Result<Gain, ImportError> {
        let values = self.vector(name, width)?;
        let offset = self.source.shape.gain_offset;
        let gains: Vec<f64> =
            values.iter().map(|value| (f64::from(*value) + offset) * scale).collect();
        Ok(quantise::gain_of(&gains))
    }

    /// A norm of residual rows.
    fn norm(&mut self, name: &str, scale: f64) -> Result<Gain, ImportError> {
        let width = self.config.d_model as usize;
        let mut gain = self.gain(&format!("{name}.weight"), width, scale)?;
        if self.config.norm == NormKind::Layer {
            let change = Change { scale, ..AS_IT_IS };
            gain.bias = Some(self.bias(&format!("{name}.bias"), width, change)?);
        }
        Ok(gain)
    }

    /// Of queries or keys, whose dimensions may change places.
    fn head_gain(&mut self, name: &str, width: usize) -> Result<Gain, ImportError> {
        let mut gain = self.gain(name, width, 1.0)?;
        if let Some(order) = &self.fold.order {
            let heads = gain.mantissas.chunks_exact(order.len());
            gain.mantissas = heads.flat_map(|head| order.iter().map(|from| head[*from])).collect();
        }
        Ok(gain)
    }

    fn vector(&mut self, name: &str, width: usize) -> Result<Vec<f32>, ImportError> {
        let values = self.source.rows(name, &[width], 0..width)?;
        self.report();
        Ok(values)
    }

    fn report(&mut self) {
        let (read_bytes, total_bytes) = self.source.progress();
        (self.progress)(Progress { read_bytes, total_bytes });
    }

    fn put(&self, bytes: &[u8]) -> Result<BlobRef, ImportError> {
        put_blob(&self.blobs, bytes)
    }
}

/// In `f64`, rounded once.
#[expect(clippy::cast_possible_truncation, reason = "a float of fewer digits is what is wanted")]
fn scale(values: &mut [f32], scale: f64) {
    if scale != 1.0 {
        values.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
    }
}
