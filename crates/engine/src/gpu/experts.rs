//! A layer's experts on the device: their matrices one behind the other, cut into pieces of whole
//! experts so that none outgrows a binding, and the dispatches that take rows through those that a
//! router chose. Experts arrive one by one, before their layer or after it.

use std::collections::BTreeSet;

use super::build::{BuildContext, LINEAR_EXPONENT};
use super::compiled::{CompiledKernel, run};
use super::kernels::{ADD_EXPERTS, GEMV_EXPERTS_DOT, GEMV_EXPERTS_FMA, ROUTE, SILU_MUL_EXPERTS};
use super::linear_kernels::{LANES, LinearKernels, SplitK};
use super::matrix::{
    CHUNK, Destination, Matrix, UPLOAD_BYTES, count, empty, interleave_scales, interleave_weights,
    storage, uniform,
};
use super::model::activation;
use super::pipelines::Pipelines;
use super::uniforms;
use potluck_model::package::{
    Experts as Shape, GROUP, Linear, MlpWeights, ModelConfig, Router as RouterWeights,
};

/// What models with experts run besides, and what passes through it.
#[derive(Debug)]
pub(super) struct ExpertSet {
    shape: Shape,
    route: CompiledKernel,
    /// By rising splits.
    gemv: Vec<SplitK>,
    silu_mul: CompiledKernel,
    add: CompiledKernel,
    /// `[rows, active]`: expert and weight.
    routes: wgpu::Buffer,
    /// `[rows, active, widest output]`.
    products: wgpu::Buffer,
    /// `[rows, active, d_ff]`, as Linear's arithmetic wants it.
    block: wgpu::Buffer,
    /// Of the block's rows, `[rows, active]`.
    exponents: wgpu::Buffer,
}

impl ExpertSet {
    /// For calls of `rows` rows.
    pub(super) fn new(
        device: &wgpu::Device,
        pipelines: &Pipelines,
        config: &ModelConfig,
        shape: Shape,
        rows: usize,
    ) -> Self {
        let compiler = pipelines.linear.compiler(device);
        let gemv = pipelines.linear.arithmetic().of(&GEMV_EXPERTS_FMA, &GEMV_EXPERTS_DOT);
        let pairs = |label, width: u64| {
            activation(device, label, rows as u64 * u64::from(shape.active()) * width * 4)
        };
        Self {
            shape,
            route: compiler.compile(&ROUTE),
            gemv: pipelines.linear.splits(device, gemv),
            silu_mul: compiler.compile(&SILU_MUL_EXPERTS),
            add: compiler.compile(&ADD_EXPERTS),
            routes: pairs("routes", 2),
            products: pairs("experts' products", widest_output(config, shape)),
            block: pairs("experts' block", u64::from(shape.d_ff)),
            exponents: pairs("experts' exponents", 1),
        }
    }
}

/// Outputs of an expert's gate and up together, or of its down, whichever are more.
pub(super) fn widest_output(config: &ModelConfig, shape: Shape) -> u64 {
    u64::from(2 * shape.d_ff).max(u64::from(config.d_model))
}

/// A layer's router, ready to run.
#[derive(Debug)]
pub(super) struct Router {
    matrix: Matrix,
    route: wgpu::BindGroup,
}

impl Router {
    pub(super) fn new(context: BuildContext<'_>, set: &ExpertSet, weights: &RouterWeights) -> Self {
        let BuildContext { device, queue, model, .. } = context;
        let RouterWeights { matrices: [first, second], bias } = weights;
        let Shape { count, used, renormalised, .. } = set.shape;
        let routing = uniforms::Routing {
            experts: count,
            used,
            renormalised: u32::from(renormalised),
            first_exponent: first.exponent + LINEAR_EXPONENT,
            second_exponent: second.exponent + LINEAR_EXPONENT,
            biased: u32::from(bias.is_some()),
            scores: set.shape.scores(),
            always: set.shape.shared,
        };
        let buffers = &model.buffers;
        // A binding must have something in it, read or not.
        let biases = bias.as_ref().map_or(&[0][..], |bias| &bias.mantissas);
        Self {
            matrix: context.matrix(
                &[first, second],
                Destination::Stored,
                context.normed(&buffers.projected),
            ),
            route: set.route.bind(
                device,
                &[
                    &uniform(device, queue, "routing", &routing),
                    &buffers.projected,
                    &buffers.norm_exponents,
                    &buffers.exp2,
                    &set.routes,
                    &storage(device, queue, "router's biases", bytemuck::cast_slice(biases)),
                ],
            ),
        }
    }

    /// Chooses for the first `rows` rows of the block.
    pub(super) fn encode(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        pipelines: &Pipelines,
        set: &ExpertSet,
        rows: u32,
    ) {
        self.matrix.encode(pass, &pipelines.linear, rows);
        run(pass, &set.route.pipeline, &self.route, (rows, 1));
    }
}

/// A layer's experts, as far as they have arrived.
#[derive(Debug)]
pub(super) struct Experts {
    gate_up: Matrices,
    /// `[experts]` of gate, up and their biases.
    gate_up_exponents: wgpu::Buffer,
    /// `[experts, 2, d_ff]`, or anything.
    gate_up_biases: wgpu::Buffer,
    silu_mul: wgpu::BindGroup,
    down: Matrices,
    /// `[experts]` of down and its bias.
    down_exponents: wgpu::Buffer,
    /// `[experts, d_model]`, or anything.
    down_biases: wgpu::Buffer,
    add: wgpu::BindGroup,
    held: BTreeSet<u32>,
}

impl Experts {
    /// Room for all of a layer's.
    pub(super) fn new(context: BuildContext<'_>, set: &ExpertSet) -> Self {
        let BuildContext { device, queue, model, .. } = context;
        let (experts, used) = (set.shape.all(), set.shape.active());
        let d_ff = set.shape.d_ff;
        let (config, buffers) = (&model.config, &model.buffers);
        let biased = u32::from(config.mlp_bias);
        let storage = |label, words: u32| {
            let size_bytes = words as usize * experts as usize * 4;
            empty(device, label, size_bytes, wgpu::BufferUsages::STORAGE)
        };
        // A binding must have something in it, read or not.
        let biases = |label, width: u32| storage(label, (biased * width).max(4));
        let gate_up_exponents = storage("experts' gates and ups", 4);
        let down_exponents = storage("experts' downs", 2);
        let gate_up_biases = biases("experts' gate and up biases", 2 * d_ff);
        let down_biases = biases("experts' down biases", config.d_model);
        let limit = config.mlp_limit.unwrap_or(0).cast_signed();
        let gate_up = uniforms::ExpertGateUp { d_ff, used, biased, limit };
        let add = uniforms::AddExperts {
            d_model: config.d_model,
            used,
            residual_fraction_bits: config.residual_fraction_bits.cast_signed(),
            biased,
        };
        let silu_mul = set.silu_mul.bind(
            device,
            &[
                &uniform(device, queue, "experts' gate and up", &gate_up),
                &set.routes,
                &set.products,
                &buffers.norm_exponents,
                &buffers.sigmoid,
                &set.block,
                &set.exponents,
                &gate_up_biases,
                &gate_up_exponents,
            ],
        );
        let add = set.add.bind(
            device,
            &[
                &uniform(device, queue, "add experts", &add),
                &set.routes,
                &buffers.rows,
                &set.products,
                &set.exponents,
                &down_exponents,
                &down_biases,
            ],
        );
        let (inner, outer) = (d_ff as usize, config.d_model as usize);
        Self {
            gate_up: Matrices::new(context, set, (2 * inner, outer), (used, &buffers.block)),
            gate_up_exponents,
            gate_up_biases,
            silu_mul,
            down: Matrices::new(context, set, (outer, inner), (1, &set.block)),
            down_exponents,
            down_biases,
            add,
            held: BTreeSet::new(),
        }
    }

    /// Takes in one of them; an earlier copy is replaced.
    pub(super) fn load(&mut self, queue: &wgpu::Queue, index: u32, weights: &MlpWeights) {
        let MlpWeights { gate, up, down, bias } = weights;
        let exponent = |matrix: &Linear| matrix.exponent + LINEAR_EXPONENT;
        let bias_exponents =
            bias.as_ref().map_or([0; 3], |biases| biases.each_ref().map(|bias| bias.exponent));
        let [gate_bias, up_bias, down_bias] = bias_exponents;
        let write = |buffer: &wgpu::Buffer, values: &[i32]| {
            let offset = u64::from(index) * size_of_val(values) as u64;
            queue.write_buffer(buffer, offset, bytemuck::cast_slice(values));
        };
        write(&self.gate_up_exponents, &[exponent(gate), exponent(up), gate_bias, up_bias]);
        write(&self.down_exponents, &[exponent(down), down_bias]);
        if let Some([gate, up, down]) = bias {
            write(&self.gate_up_biases, &[&gate.mantissas[..], &up.mantissas].concat());
            write(&self.down_biases, &down.mantissas);
        }
        self.gate_up.load(queue, index, &[gate, up]);
        self.down.load(queue, index, &[down]);
        self.held.insert(index);
    }

    /// Forgets one of them. Its place is kept.
    pub(super) fn unload(&mut self, index: u32) {
        self.held.remove(&index);
    }

    /// How many are there.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes the first `rows` rows of the block through those that were chosen, into the residual
    /// stream.
    pub(super) fn encode(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        pipelines: &Pipelines,
        set: &ExpertSet,
        rows: u32,
    ) {
        let pairs = rows * set.shape.active();
        self.gate_up.encode(pass, &pipelines.linear, set, pairs);
        run(pass, &set.silu_mul.pipeline, &self.silu_mul, (pairs, 1));
        self.down.encode(pass, &pipelines.linear, set, pairs);
        run(pass, &set.add.pipeline, &self.add, (rows, 1));
    }
}

/// One matrix of every expert: gate and up, or down.
#[derive(Debug)]
struct Matrices {
    /// `(out, in)` of each.
    shape: (usize, usize),
    experts_a_piece: u32,
    pieces: Vec<Piece>,
}

/// Those of some experts.
#[derive(Debug)]
struct Piece {
    bind_group: wgpu::BindGroup,
    weights: wgpu::Buffer,
    group_scales: wgpu::Buffer,
    row_multipliers: wgpu::Buffer,
}

impl Matrices {
    fn new(
        context: BuildContext<'_>,
        set: &ExpertSet,
        shape: (usize, usize),
        (pairs_a_input, input): (u32, &wgpu::Buffer),
    ) -> Self {
        let BuildContext { device, queue, piece_bytes, .. } = context;
        let (out_rows, inputs) = shape;
        let experts_a_piece = count((piece_bytes / (out_rows * inputs)).max(1));
        let layout = &set.gemv[0].kernel;
        let all = set.shape.all();
        let piece = |first: u32| {
            let experts = experts_a_piece.min(all - first);
            let storage = |label, bytes: usize| {
                let size_bytes = bytes * experts as usize;
                empty(device, label, size_bytes, wgpu::BufferUsages::STORAGE)
            };
            let weights = storage("experts' weights", out_rows * inputs);
            let group_scales = storage("experts' group scales", scale_bytes(shape));
            let row_multipliers = storage("experts' row multipliers", out_rows * 4);
            let matrices = uniforms::ExpertMatrices {
                groups: count(inputs / GROUP),
                out_rows: count(out_rows),
                first_expert: first,
                experts,
                pairs_a_input,
            };
            let bind_group = layout.bind(
                device,
                &[
                    &uniform(device, queue, "experts' matrices", &matrices),
                    &set.routes,
                    input,
                    &weights,
                    &group_scales,
                    &row_multipliers,
                    &set.products,
                ],
            );
            Piece { bind_group, weights, group_scales, row_multipliers }
        };
        let firsts = (0..all).step_by(experts_a_piece as usize);
        Self { shape, experts_a_piece, pieces: firsts.map(piece).collect() }
    }

    fn load(&self, queue: &wgpu::Queue, index: u32, parts: &[&Linear]) {
        let (out_rows, inputs) = self.shape;
        let Some(piece) = self.pieces.get((index / self.experts_a_piece) as usize) else { return };
        let at = u64::from(index % self.experts_a_piece);
        let start = at * (out_rows * inputs) as u64;
        let chunks_at_once = (UPLOAD_BYTES / (CHUNK * out_rows)).max(1);
        for first in (0..inputs / CHUNK).step_by(chunks_at_once) {
            let chunks = first..(inputs / CHUNK).min(first + chunks_at_once);
            let bytes = interleave_weights(parts, 0..out_rows, chunks);
            let offset = start + (first * CHUNK * out_rows) as u64;
            queue.write_buffer(&piece.weights, offset, &bytes);
            // The queue keeps a copy of what was written until the next submission.
            queue.submit([]);
        }
        let scales = interleave_scales(inputs, parts, 0..out_rows);
        let offset = at * scale_bytes(self.shape) as u64;
        queue.write_buffer(&piece.group_scales, offset, &scales.group_scales);
        let multipliers = bytemuck::cast_slice(&scales.row_multipliers);
        queue.write_buffer(&piece.row_multipliers, at * (out_rows * 4) as u64, multipliers);
    }

    fn encode(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        kernels: &LinearKernels,
        set: &ExpertSet,
        pairs: u32,
    ) {
        let out_rows = count(self.shape.0);
        let Some(SplitK { splits, kernel }) = kernels.busy(&set.gemv, out_rows * pairs) else {
            return;
        };
        for piece in &self.pieces {
            let workgroups = (out_rows.div_ceil(LANES / splits), pairs);
            run(pass, &kernel.pipeline, &piece.bind_group, workgroups);
        }
    }
}

/// Bytes of an expert's group scales, in the order of `kernels/experts.wgsl`.
fn scale_bytes((out_rows, inputs): (usize, usize)) -> usize {
    (inputs / GROUP).div_ceil(4) * out_rows * 4
}
