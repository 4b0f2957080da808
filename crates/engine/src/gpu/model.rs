//! What the device holds for a model whoever asks: its shape, its tables, and the buffers that one
//! call's activations pass through (calls run one after another, so all sessions and layers share
//! them). Holds no weights and no cache.

use super::compiled::PART_STRIDE;
use super::experts::{ExpertSet, widest_output};
use super::matrix::{storage, uniform};
use super::pipelines::Pipelines;
use super::{GpuError, uniforms};
use crate::step::{MAX_ROWS, MAX_SESSIONS, MAX_WANTED};
use bytemuck::Zeroable as _;
use potluck_model::package::{Bias, LayerKind, ModelConfig, SoftCap, Tables};

/// The most elements of a head that the kernels keep in workgroup memory (`MAX_PAIRS`,
/// `MAX_HEAD_DIM` there).
const MAX_HEAD_DIM: u32 = 256;

/// Rows that the head runs over in one call, at most.
pub(super) const HEAD_ROWS: usize = MAX_WANTED;

/// Shape, tables and activations.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) config: ModelConfig,
    pub(super) buffers: Buffers,
    /// Of a model with experts.
    pub(super) experts: Option<ExpertSet>,
    /// Group 0 of `merge_heads`, the same for every layer.
    pub(super) merge_heads: wgpu::BindGroup,
    /// `SOFTCAP`, `[1025]` and three more; zeros where nothing is capped.
    softcap: [[u32; 4]; 257],
}

impl Model {
    /// What becomes of a layer's scores besides their softmax.
    pub(super) fn scoring(&self, kind: LayerKind, sinks: Option<&Bias>) -> uniforms::Scoring {
        let mut scoring = self.capped(self.config.attention_cap);
        scoring.window = kind.window.unwrap_or(0);
        if let Some(sinks) = sinks {
            scoring.has_sinks = 1;
            let words = scoring.sinks.as_flattened_mut().iter_mut();
            words.zip(&sinks.mantissas).for_each(|(word, sink)| *word = *sink);
        }
        scoring
    }

    /// A cap, or none, and nothing else.
    pub(super) fn capped(&self, cap: Option<SoftCap>) -> uniforms::Scoring {
        uniforms::Scoring {
            inverse: cap.map_or(0, |cap| cap.inverse),
            exponent: cap.map_or(0, |cap| cap.exponent),
            softcap: self.softcap,
            ..uniforms::Scoring::zeroed()
        }
    }
}

/// Everything that layers and the head bind.
#[derive(Debug)]
pub(super) struct Buffers {
    /// The `Forward` of the call, then those of the sessions in it, [`PART_STRIDE`] bytes apart.
    pub(super) forward: wgpu::Buffer,
    /// The `Model`.
    pub(super) shape: wgpu::Buffer,
    /// `EXP2`, `[257]`, and three more that fill its last vector.
    pub(super) exp2: wgpu::Buffer,
    /// `SIGMOID`, `[2049]`.
    pub(super) sigmoid: wgpu::Buffer,
    /// `RSQRT`, `[768]`.
    pub(super) rsqrt: wgpu::Buffer,
    /// `COS` and `SIN` side by side, `[rotations, max_positions, head_dim / 2]`.
    pub(super) rotation: wgpu::Buffer,
    /// The residual stream, `[rows, d_model]`.
    pub(super) rows: wgpu::Buffer,
    /// The block that the next Linear reads, as its arithmetic wants it: at most four bytes a
    /// mantissa, `[rows, widest input]`.
    pub(super) block: wgpu::Buffer,
    /// Exponents of the block that a norm made, `[rows]`.
    pub(super) norm_exponents: wgpu::Buffer,
    /// Exponents of the block that `merge_heads` or `silu_mul` made, `[rows]`: they need the norm's
    /// at the same time.
    pub(super) inner_exponents: wgpu::Buffer,
    /// Queries, keys and values, or gate and up, `[rows, widest of both]`.
    pub(super) projected: wgpu::Buffer,
    /// Exponents of query, key and value heads, `[rows, heads + 2 * kv_heads]`, where biases or
    /// norms give them one each.
    pub(super) projected_exponents: wgpu::Buffer,
    /// `[rows, heads, head_dim]`.
    pub(super) queries: wgpu::Buffer,
    /// `[rows, heads]`.
    pub(super) query_exponents: wgpu::Buffer,
    /// `[rows, heads, head_dim]`.
    pub(super) head_outputs: wgpu::Buffer,
    /// `[rows, heads]`.
    pub(super) head_exponents: wgpu::Buffer,
}

impl Buffers {
    /// With activations for `rows` rows, a multiple of what a kernel takes at a time.
    pub(super) fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        config: &ModelConfig,
        tables: &Tables,
        rows: usize,
    ) -> Self {
        let sizes = Sizes::new(config);
        let shape = uniforms::Model {
            d_model: config.d_model,
            d_ff: config.d_ff,
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            qk_scale: config.qk_scale,
            residual_fraction_bits: config.residual_fraction_bits.cast_signed(),
            eps_mantissa: config.eps_mantissa,
            eps_exponent: config.eps_exponent,
        };
        let turns = tables.rotations.iter().flat_map(|turn| turn.cos.iter().zip(&turn.sin));
        let rotation: Vec<u32> = turns
            .map(|(cos, sin)| u32::from(cos.cast_unsigned()) | u32::from(sin.cast_unsigned()) << 16)
            .collect();
        let mut exp2 = uniforms::Exp2 { entries: [[0; 4]; 65] };
        for (word, entry) in exp2.entries.as_flattened_mut().iter_mut().zip(&tables.exp2) {
            *word = u32::from(*entry);
        }
        let table = |label, entries: &[u16]| {
            let words: Vec<u32> = entries.iter().map(|&entry| u32::from(entry)).collect();
            storage(device, queue, label, bytemuck::cast_slice(&words))
        };
        let activations = |label, width: u64| activation(device, label, rows as u64 * width * 4);
        Self {
            forward: device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("forward"),
                size: (1 + MAX_SESSIONS as u64) * u64::from(PART_STRIDE),
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            }),
            shape: uniform(device, queue, "model", &shape),
            exp2: uniform(device, queue, "exp2", &exp2),
            sigmoid: table("sigmoid", &tables.sigmoid),
            rsqrt: table("rsqrt", &tables.rsqrt),
            // A binding must have something in it, read or not.
            rotation: if rotation.is_empty() {
                storage(device, queue, "rotation", &[0; 4])
            } else {
                storage(device, queue, "rotation", bytemuck::cast_slice(&rotation))
            },
            rows: activations("rows", u64::from(config.d_model)),
            block: activations("block", sizes.widest_input),
            norm_exponents: activations("norm exponents", 1),
            inner_exponents: activations("inner exponents", 1),
            projected: activations("projected", sizes.widest_projection),
            projected_exponents: activations(
                "projected exponents",
                u64::from(config.heads + 2 * config.kv_heads),
            ),
            queries: activations("queries", sizes.query_width),
            query_exponents: activations("query exponents", u64::from(config.heads)),
            head_outputs: activations("head outputs", sizes.query_width),
            head_exponents: activations("head exponents", u64::from(config.heads)),
        }
    }
}

impl Model {
    pub(super) fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        pipelines: &Pipelines,
        config: &ModelConfig,
        tables: &Tables,
    ) -> Self {
        let buffers = Buffers::new(device, queue, config, tables, MAX_ROWS);
        let mut softcap = [[0; 4]; 257];
        for (word, entry) in softcap.as_flattened_mut().iter_mut().zip(&tables.softcap) {
            *word = u32::from(*entry);
        }
        let merge_heads = pipelines.merge_heads.bind(
            device,
            &[
                &buffers.shape,
                &buffers.head_outputs,
                &buffers.head_exponents,
                &buffers.block,
                &buffers.inner_exponents,
            ],
        );
        let experts =
            config.experts.map(|shape| ExpertSet::new(device, pipelines, config, shape, MAX_ROWS));
        Self { config: config.clone(), buffers, experts, merge_heads, softcap }
    }
}

/// Widths that buffers are made for.
struct Sizes {
    query_width: u64,
    widest_input: u64,
    widest_projection: u64,
    /// Of a row: of all its experts.
    expert_products: u64,
    /// Bytes of an expert's gate and up.
    expert_matrix: u64,
}

impl Sizes {
    fn new(config: &ModelConfig) -> Self {
        let [d_model, d_ff, heads, kv_heads, head_dim] =
            [config.d_model, config.d_ff, config.heads, config.kv_heads, config.head_dim]
                .map(u64::from);
        let query_width = heads * head_dim;
        let shape = config.experts;
        let scores = shape.map_or(0, |it| u64::from(it.scores()));
        Self {
            query_width,
            widest_input: d_model.max(query_width).max(d_ff),
            widest_projection: (query_width + 2 * kv_heads * head_dim)
                .max(2 * d_ff)
                .max(d_model)
                .max(2 * scores),
            expert_products: shape
                .map_or(0, |it| u64::from(it.active()) * widest_output(config, it)),
            expert_matrix: shape.map_or(0, |it| 2 * u64::from(it.d_ff) * d_model),
        }
    }
}

/// Fails if the adapter or the kernels are too small for this model and calls of so many rows,
/// naming what is.
pub(super) fn check_limits(
    config: &ModelConfig,
    rows: usize,
    limits: &wgpu::Limits,
) -> Result<(), GpuError> {
    let sizes = Sizes::new(config);
    let buffer = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
    let [max_positions, kv_heads, head_dim, rotations] =
        [config.max_positions, config.kv_heads, config.head_dim, config.rotations].map(u64::from);
    let rows = rows as u64;
    let needs = [
        ("a head's width", head_dim, u64::from(MAX_HEAD_DIM)),
        ("the rotation table", rotations * max_positions * head_dim / 2 * 4, buffer),
        ("a layer's key cache", max_positions * kv_heads * head_dim * 2, buffer),
        ("a call's block", rows * sizes.widest_input * 4, buffer),
        ("a call's projections", rows * sizes.widest_projection * 4, buffer),
        ("the experts' products", rows * sizes.expert_products * 4, buffer),
        ("an expert's matrix", sizes.expert_matrix, buffer),
        ("the logits", HEAD_ROWS as u64 * u64::from(config.vocab) * 4, buffer),
        ("storage buffers of a kernel", 8, u64::from(limits.max_storage_buffers_per_shader_stage)),
        (
            "invocations of a workgroup",
            256,
            u64::from(limits.max_compute_invocations_per_workgroup),
        ),
        ("invocations along x", 256, u64::from(limits.max_compute_workgroup_size_x)),
    ];
    match needs.into_iter().find(|&(_, needed, allowed)| needed > allowed) {
        Some((what, needed, allowed)) => Err(GpuError::Limit { what, needed, allowed }),
        None => Ok(()),
    }
}

/// A buffer that kernels write, that calls fill and that results are copied from. The device zeroes
/// it.
pub(super) fn activation(device: &wgpu::Device, label: &str, size_bytes: u64) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: size_bytes,
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}
