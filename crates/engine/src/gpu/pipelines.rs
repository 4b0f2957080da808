//! The kernels as the host sees them: which file, which entry point, which bindings; and their
//! compiled pipelines.
//!
//! Every `.wgsl` file is complete WGSL as it stands: the few lines of block arithmetic are repeated
//! in each rather than pasted in, so that editors and naga can read them; `tests/wgsl_valid.rs`
//! proves that the repetitions and [`KERNELS`] agree.

/// How a kernel uses a binding. Bindings of a group are numbered from 0 without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A struct of [`super::uniforms`].
    Uniform,
    /// The `Forward` of one session in a call, at an offset that every dispatch sets.
    Part,
    /// A storage buffer that is only read.
    Read,
    /// A storage buffer that is written.
    Write,
}

use Access::{Part, Read, Uniform, Write};

use std::num::NonZeroU64;

use super::tune::{Arithmetic, Many, Shaders, Variants};

/// A file's text without comments and indentation, which a visitor would download for nothing (5 KB
/// with Brotli).
macro_rules! wgsl {
    ($file:literal) => {{
        const TEXT: &str = include_str!(concat!("../kernels/", $file));
        const LENGTH: usize = bare(TEXT, &mut [0; TEXT.len()]);
        const BARE: [u8; LENGTH] = {
            let mut bytes = [0; LENGTH];
            bare(TEXT, &mut bytes);
            bytes
        };
        match core::str::from_utf8(&BARE) {
            Ok(text) => text,
            Err(_) => panic!("comments are cut at whole characters"),
        }
    }};
}

/// Writes the text without comments and indentation, line for line, and gives its length. WGSL has
/// no strings that `//` could be in.
const fn bare(text: &str, to: &mut [u8]) -> usize {
    let text = text.as_bytes();
    let (mut at, mut length) = (0, 0);
    let (mut line_begins, mut in_comment) = (true, false);
    while at < text.len() {
        if text[at] == b'\n' {
            (line_begins, in_comment) = (true, false);
        } else {
            line_begins = line_begins && text[at] == b' ';
            in_comment =
                in_comment || (text[at] == b'/' && at + 1 < text.len() && text[at + 1] == b'/');
        }
        if text[at] == b'\n' || !(line_begins || in_comment) {
            to[length] = text[at];
            length += 1;
        }
        at += 1;
    }
    length
}

/// One entry point of one `.wgsl` file.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    /// The file's name under `src/kernels`.
    pub file: &'static str,
    /// The file's text.
    pub source: &'static str,
    /// The compute entry point.
    pub entry_point: &'static str,
    /// Invocations of a workgroup.
    pub workgroup_size: u32,
    /// Whether it can have fewer (`INVOCATIONS`).
    pub resizable: bool,
    /// Whether all invocations reach its reductions, so that [`with_subgroups`] has something to
    /// do.
    pub reduces: bool,
    /// Bindings of group 0: what is the same for every session.
    pub bindings: &'static [Access],
    /// Bindings of group 1: a session's KV cache; empty if the kernel does not see it.
    pub cache_bindings: &'static [Access],
}

const RMS_NORM: Kernel = Kernel {
    file: "rms_norm.wgsl",
    source: wgsl!("rms_norm.wgsl"),
    entry_point: "rms_norm",
    workgroup_size: 256,
    resizable: true,
    reduces: true,
    bindings: &[Uniform, Uniform, Read, Read, Read, Write, Write],
    cache_bindings: &[],
};
const ONE_FMA: Kernel = Kernel {
    file: "linear.wgsl",
    source: wgsl!("linear.wgsl"),
    entry_point: "one_fma",
    workgroup_size: 64,
    resizable: false,
    reduces: false,
    bindings: &[Uniform, Uniform, Read, Read, Read, Read, Read, Write],
    cache_bindings: &[],
};
const ONE_DOT: Kernel = Kernel { entry_point: "one_dot", ..ONE_FMA };
const FOUR_FMA: Kernel = Kernel { entry_point: "four_fma", ..ONE_FMA };
const FOUR_DOT: Kernel = Kernel { entry_point: "four_dot", ..ONE_FMA };
const BLOCK_FMA: Kernel = Kernel { entry_point: "block_fma", ..ONE_FMA };
const BLOCK_DOT: Kernel = Kernel { entry_point: "block_dot", ..ONE_FMA };
const TILE_FMA: Kernel = Kernel { entry_point: "tile_fma", workgroup_size: 256, ..ONE_FMA };
const TILE_DOT: Kernel = Kernel { entry_point: "tile_dot", ..TILE_FMA };
const FINISH_HEADS: Kernel = Kernel {
    file: "heads.wgsl",
    source: wgsl!("heads.wgsl"),
    entry_point: "finish_heads",
    workgroup_size: 64,
    resizable: true,
    reduces: true,
    bindings: &[Uniform, Uniform, Write, Read, Write, Read, Read, Read],
    cache_bindings: &[],
};
const ROPE: Kernel = Kernel {
    file: "rope.wgsl",
    source: wgsl!("rope.wgsl"),
    entry_point: "rope",
    workgroup_size: 64,
    resizable: true,
    reduces: true,
    bindings: &[Uniform, Part, Uniform, Read, Read, Read, Write, Write],
    cache_bindings: &[Write, Write, Write],
};
const ATTENTION: Kernel = Kernel {
    file: "attention.wgsl",
    source: wgsl!("attention.wgsl"),
    entry_point: "attention",
    workgroup_size: 64,
    resizable: true,
    reduces: true,
    bindings: &[Uniform, Part, Read, Read, Uniform, Write, Write],
    cache_bindings: &[Write, Write, Write],
};
const ATTENTION_ONE: Kernel = Kernel {
    entry_point: "attention_one",
    bindings: &[Uniform, Part, Read, Read, Uniform, Write, Write, Read, Uniform],
    ..ATTENTION
};
const MERGED: Kernel = Kernel {
    file: "merged.wgsl",
    source: wgsl!("merged.wgsl"),
    entry_point: "merged",
    workgroup_size: 64,
    resizable: false,
    reduces: true,
    bindings: &[Uniform, Uniform, Read, Read, Read, Read, Read, Write],
    cache_bindings: &[],
};
const MERGE_HEADS: Kernel = Kernel {
    entry_point: "merge_heads",
    workgroup_size: 256,
    bindings: &[Uniform, Read, Read, Write, Write],
    cache_bindings: &[],
    ..ATTENTION
};
const SILU_MUL: Kernel = Kernel {
    file: "mlp.wgsl",
    source: wgsl!("mlp.wgsl"),
    entry_point: "silu_mul",
    workgroup_size: 256,
    resizable: true,
    reduces: true,
    bindings: &[Uniform, Uniform, Write, Read, Read, Write, Write],
    cache_bindings: &[],
};

const TWELVE: Kernel = Kernel {
    file: "twelve.wgsl",
    source: wgsl!("twelve.wgsl"),
    entry_point: "twelve",
    workgroup_size: 32,
    resizable: false,
    reduces: false,
    bindings: &[Uniform, Uniform, Read, Read, Read, Read, Write],
    cache_bindings: &[],
};
const SPLIT_HEADS: Kernel = Kernel {
    file: "split.wgsl",
    source: wgsl!("split.wgsl"),
    entry_point: "split_heads",
    workgroup_size: 64,
    resizable: true,
    reduces: true,
    bindings: &[Uniform, Uniform, Read, Read, Read, Write, Write],
    cache_bindings: &[Write, Write, Write],
};
const ATTENTION_TEXTS: Kernel = Kernel {
    entry_point: "attention_texts",
    bindings: &[Uniform, Read, Read, Read, Uniform, Write, Write],
    ..ATTENTION
};
const FIT_ROWS: Kernel = Kernel {
    file: "layer_norm.wgsl",
    source: wgsl!("layer_norm.wgsl"),
    entry_point: "fit_rows",
    workgroup_size: 256,
    resizable: true,
    reduces: true,
    bindings: &[Uniform, Write, Write, Write],
    cache_bindings: &[],
};
const ADD_NORM: Kernel = Kernel {
    entry_point: "add_norm",
    bindings: &[Uniform, Write, Write, Write, Uniform, Read, Read, Read, Read],
    ..FIT_ROWS
};
const GELU: Kernel = Kernel {
    entry_point: "gelu",
    bindings: &[Uniform, Uniform, Write, Read, Read, Write, Write, Read],
    ..SILU_MUL
};

const LARGEST: Kernel = Kernel {
    file: "sample.wgsl",
    source: wgsl!("sample.wgsl"),
    entry_point: "largest",
    workgroup_size: 256,
    resizable: true,
    reduces: false,
    bindings: &[Uniform, Read, Write, Write, Write],
    cache_bindings: &[],
};
const WEIGH: Kernel = Kernel {
    entry_point: "weigh",
    bindings: &[Uniform, Read, Write, Write, Write, Read, Uniform, Read],
    ..LARGEST
};
const GATHER: Kernel = Kernel { entry_point: "gather", ..WEIGH };

/// Every kernel, for tests that read the files without a GPU.
pub const KERNELS: [Kernel; 25] = [
    RMS_NORM,
    ONE_FMA,
    ONE_DOT,
    FOUR_FMA,
    FOUR_DOT,
    BLOCK_FMA,
    BLOCK_DOT,
    TILE_FMA,
    TILE_DOT,
    FINISH_HEADS,
    ROPE,
    ATTENTION,
    ATTENTION_ONE,
    MERGE_HEADS,
    MERGED,
    SILU_MUL,
    TWELVE,
    SPLIT_HEADS,
    ATTENTION_TEXTS,
    FIT_ROWS,
    ADD_NORM,
    GELU,
    LARGEST,
    WEIGH,
    GATHER,
];

/// A compiled kernel.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroupLayout,
    accesses: &'static [Access],
    cache_bindings: Option<wgpu::BindGroupLayout>,
    label: &'static str,
}

impl Stage {
    fn new(
        device: &wgpu::Device,
        shaders: Shaders,
        kernel: &Kernel,
        constants: &[(&str, f64)],
    ) -> Self {
        let label = kernel.entry_point;
        let module = module(device, shaders, kernel);
        let bindings = layout(device, label, kernel.bindings);
        let cache_bindings = (!kernel.cache_bindings.is_empty())
            .then(|| layout(device, label, kernel.cache_bindings));
        let groups = [Some(&bindings), cache_bindings.as_ref()];
        let used = if cache_bindings.is_some() { 2 } else { 1 };
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(label),
            bind_group_layouts: &groups[..used],
            immediate_size: 0,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(label),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(kernel.entry_point),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants,
                ..wgpu::PipelineCompilationOptions::default()
            },
            cache: None,
        });
        Self { pipeline, bindings, accesses: kernel.bindings, cache_bindings, label }
    }

    /// Binds whole buffers as group 0, in binding order.
    pub(super) fn bind(&self, device: &wgpu::Device, buffers: &[&wgpu::Buffer]) -> wgpu::BindGroup {
        bind(device, self.label, &self.bindings, self.accesses, buffers)
    }

    /// Binds a session's cache buffers as group 1, in binding order; only kernels that see the
    /// cache have that group.
    pub(super) fn bind_cache(
        &self,
        device: &wgpu::Device,
        buffers: &[&wgpu::Buffer],
    ) -> wgpu::BindGroup {
        bind(
            device,
            self.label,
            self.cache_bindings.as_ref().unwrap_or(&self.bindings),
            &[],
            buffers,
        )
    }
}

/// Gives a kernel's text to the device.
fn module(device: &wgpu::Device, shaders: Shaders, kernel: &Kernel) -> wgpu::ShaderModule {
    let grouped = shaders.subgroups && kernel.reduces;
    let text = if grouped {
        with_subgroups(kernel.source, cfg!(target_arch = "wasm32")).into()
    } else {
        kernel.source.into()
    };
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(kernel.file),
        source: wgpu::ShaderSource::Wgsl(text),
    };
    if shaders.checked {
        return device.create_shader_module(descriptor);
    }
    // SAFETY: every index follows from shapes that were checked when the model was set and the call was made, or is a table's, kept within it by
    // the kernel itself; every loop ends after as many rounds as those shapes say; nothing is
    // divided by but numbers of heads. The tests run all kernels checked as well as unchecked. (A
    // browser checks in any case.)
    #[expect(
        unsafe_code,
        reason = "SwiftShader decodes 1.09 times faster without checks of what is known, and 1.13 times at position 900"
    )]
    unsafe {
        device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
    }
}

/// A kernel's text with every maximum and sum of a workgroup found within subgroups first, of which
/// one invocation speaks. A browser wants to be told; natively the directive is not known. Only for
/// kernels whose reductions all invocations reach.
#[must_use]
pub fn with_subgroups(source: &str, directive: bool) -> String {
    let mut text = String::from(if directive { "enable subgroups;\n" } else { "" });
    for (number, line) in source.lines().enumerate() {
        let reduction = [("atomicMax", "subgroupMax"), ("atomicAdd", "subgroupAdd")].into_iter().find_map(|(whole, part)| {
            let call = line.strip_prefix(whole)?.strip_prefix("(&")?.strip_suffix(");")?;
            let (place, value) = call.split_once(", ")?;
            Some(format!("let part{number} = {part}({value}); if (subgroupBroadcastFirst(lane) == lane) {{ {whole}(&{place}, part{number}); }}"))
        });
        text.push_str(reduction.as_deref().unwrap_or(line));
        text.push('\n');
    }
    text
}

/// What compiles the kernels between the matrices.
struct Between<'a> {
    device: &'a wgpu::Device,
    shaders: Shaders,
    form: Form,
}

/// What a block holds, for the matrix that reads it (`FORM`).
#[derive(Debug, Clone, Copy)]
enum Form {
    Floats,
    Planes,
    Whole,
}

impl Between<'_> {
    fn stage(&self, kernel: &Kernel) -> Stage {
        let form = match self.form {
            Form::Floats => 0,
            Form::Planes => 1,
            Form::Whole => 2,
        };
        let invocations = kernel.workgroup_size.min(self.shaders.most_invocations);
        let mut constants = vec![("INVOCATIONS", f64::from(invocations))];
        // Only those that write a block have it.
        constants
            .extend(kernel.source.contains("override FORM").then_some(("FORM", f64::from(form))));
        Stage::new(self.device, self.shaders, kernel, &constants)
    }
}

/// The compiled kernels of Linear that an adapter runs. All take bind groups of
/// [`LinearStages::layout`].
#[derive(Debug)]
pub(super) struct LinearStages {
    kernels: Variants,
    /// Of one row, by rising slices.
    one: Vec<Sliced>,
    /// Of up to four rows, likewise; empty: `many` takes them.
    four: Vec<Sliced>,
    /// Of one row that attention left in heads, likewise.
    merged: Vec<Sliced>,
    many: Stage,
}

/// A kernel that spreads the inputs of an output over so many invocations.
#[derive(Debug)]
struct Sliced {
    slices: u32,
    stage: Stage,
}

/// Over how many invocations the inputs of an output can be spread.
const SLICES: [u32; 3] = [1, 4, 16];

/// Invocations of a workgroup of `one_`, `four_` and `block_`.
const FEW: u32 = 64;
/// Rows and outputs of a workgroup of `tile_`.
const TILE: u32 = 64;
/// Rows and outputs of a workgroup of `twelve`.
const TWELVE_ROWS: u32 = 8;
const TWELVE_OUTPUTS: u32 = 4 * 32;
/// Rows up to which four at a time are computed, whatever is best for many.
const FEW_ROWS: u32 = 8;

impl LinearStages {
    /// Everything that a model needs.
    pub(super) fn new(device: &wgpu::Device, kernels: Variants) -> Self {
        let four =
            Self::sliced(device, kernels, kernels.arithmetic.of(&FOUR_FMA, &FOUR_DOT), &SLICES);
        let merged = Self::sliced(device, kernels, &MERGED, &SLICES);
        Self { four, merged, ..Self::contender(device, kernels, &SLICES) }
    }

    /// What is needed to measure one row, with some slices only, and many.
    pub(super) fn contender(device: &wgpu::Device, kernels: Variants, slices: &[u32]) -> Self {
        let many = match kernels.many {
            Many::Four => kernels.arithmetic.of(&FOUR_FMA, &FOUR_DOT),
            Many::Block => kernels.arithmetic.of(&BLOCK_FMA, &BLOCK_DOT),
            Many::Tile => kernels.arithmetic.of(&TILE_FMA, &TILE_DOT),
        };
        let one = Self::sliced(device, kernels, kernels.arithmetic.of(&ONE_FMA, &ONE_DOT), slices);
        let many = Stage::new(device, kernels.shaders, many, &[]);
        Self { kernels, one, four: Vec::new(), merged: Vec::new(), many }
    }

    fn sliced(
        device: &wgpu::Device,
        kernels: Variants,
        kernel: &Kernel,
        slices: &[u32],
    ) -> Vec<Sliced> {
        let stage =
            |slices| Stage::new(device, kernels.shaders, kernel, &[("SLICES", f64::from(slices))]);
        slices.iter().map(|&slices| Sliced { slices, stage: stage(slices) }).collect()
    }

    /// What the bind groups of all of them look like.
    pub(super) fn layout(device: &wgpu::Device) -> wgpu::BindGroupLayout {
        layout(device, "linear", ONE_FMA.bindings)
    }

    pub(super) fn arithmetic(&self) -> Arithmetic {
        self.kernels.arithmetic
    }

    pub(super) fn fused(&self) -> bool {
        self.kernels.fused
    }

    /// Multiplies `rows` rows with a matrix of `out_rows` outputs.
    pub(super) fn encode(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        group: &wgpu::BindGroup,
        out_rows: u32,
        rows: u32,
    ) {
        let fours = rows.div_ceil(4);
        let few = match rows {
            1 => Some((&self.one, 1)),
            2..=FEW_ROWS => Some((&self.four, fours)),
            _ => None,
        };
        let sliced =
            few.and_then(|(stages, tiles)| Some((self.busy(stages, out_rows * tiles)?, tiles)));
        let (stage, workgroups) = if let Some((Sliced { slices, stage }, tiles)) = sliced {
            (stage, (out_rows.div_ceil(FEW / slices), tiles))
        } else {
            let workgroups = match self.kernels.many {
                Many::Four => (out_rows.div_ceil(FEW), fours),
                Many::Block => (out_rows.div_ceil(FEW * 4), fours),
                Many::Tile => (out_rows.div_ceil(TILE), rows.div_ceil(TILE)),
            };
            (&self.many, workgroups)
        };
        run(pass, &stage.pipeline, group, workgroups);
    }
}

impl LinearStages {
    /// Multiplies the one row that attention left in heads; takes bind groups of
    /// [`LinearStages::merged_layout`].
    pub(super) fn encode_merged(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        group: &wgpu::BindGroup,
        out_rows: u32,
    ) {
        let Some(Sliced { slices, stage }) = self.busy(&self.merged, out_rows) else { return };
        run(pass, &stage.pipeline, group, (out_rows.div_ceil(FEW / slices), 1));
    }

    /// What the bind groups of [`LinearStages::encode_merged`] look like.
    pub(super) fn merged_layout(device: &wgpu::Device) -> wgpu::BindGroupLayout {
        layout(device, "merged", MERGED.bindings)
    }

    /// Enough invocations that the adapter is busy, and no more slices than that takes.
    fn busy<'a>(&self, stages: &'a [Sliced], outputs: u32) -> Option<&'a Sliced> {
        let enough = |sliced: &&Sliced| outputs * sliced.slices >= self.kernels.busy_invocations;
        stages.iter().find(enough).or_else(|| stages.last())
    }
}

/// One dispatch.
pub(super) fn run(
    pass: &mut wgpu::ComputePass<'_>,
    pipeline: &wgpu::ComputePipeline,
    group: &wgpu::BindGroup,
    (x, y): (u32, u32),
) {
    pass.set_pipeline(pipeline);
    pass.set_bind_group(0, group, &[]);
    pass.dispatch_workgroups(x, y, 1);
}

/// One dispatch over the rows of one session, whose `Forward` is at `offset`.
pub(super) fn run_part(
    pass: &mut wgpu::ComputePass<'_>,
    pipeline: &wgpu::ComputePipeline,
    group: &wgpu::BindGroup,
    offset: u32,
    (x, y): (u32, u32),
) {
    pass.set_pipeline(pipeline);
    pass.set_bind_group(0, group, &[offset]);
    pass.dispatch_workgroups(x, y, 1);
}

/// Bytes from one `Forward` to the next: every adapter takes multiples of it as offsets of a
/// uniform.
pub(super) const PART_STRIDE: u32 = 256;
/// Bytes of a `Forward`.
const PART_BYTES: Option<NonZeroU64> =
    NonZeroU64::new(size_of::<super::uniforms::Forward>() as u64);

/// All compiled kernels.
#[derive(Debug)]
pub(super) struct Pipelines {
    pub(super) rms_norm: Stage,
    pub(super) linear: LinearStages,
    pub(super) linear_layout: wgpu::BindGroupLayout,
    pub(super) merged_layout: wgpu::BindGroupLayout,
    pub(super) finish_heads: Stage,
    pub(super) rope: Stage,
    pub(super) attention: Stage,
    pub(super) attention_one: Stage,
    pub(super) merge_heads: Stage,
    pub(super) silu_mul: Stage,
    pub(super) largest: Stage,
    pub(super) weigh: Stage,
    pub(super) gather: Stage,
}

impl Pipelines {
    pub(super) fn new(device: &wgpu::Device, kernels: Variants) -> Self {
        // The kernels before Linear write what its arithmetic reads.
        let between = Between {
            device,
            shaders: kernels.shaders,
            form: kernels.arithmetic.of(Form::Floats, Form::Planes),
        };
        Self {
            rms_norm: between.stage(&RMS_NORM),
            linear: LinearStages::new(device, kernels),
            linear_layout: LinearStages::layout(device),
            merged_layout: LinearStages::merged_layout(device),
            finish_heads: between.stage(&FINISH_HEADS),
            rope: between.stage(&ROPE),
            attention: between.stage(&ATTENTION),
            attention_one: between.stage(&ATTENTION_ONE),
            merge_heads: between.stage(&MERGE_HEADS),
            silu_mul: between.stage(&SILU_MUL),
            largest: between.stage(&LARGEST),
            weigh: between.stage(&WEIGH),
            gather: between.stage(&GATHER),
        }
    }
}

/// All compiled kernels of an encoder.
#[derive(Debug)]
pub(super) struct EncoderStages {
    twelve: Stage,
    pub(super) fit_rows: Stage,
    pub(super) split_heads: Stage,
    pub(super) attention: Stage,
    pub(super) merge_heads: Stage,
    pub(super) add_norm: Stage,
    pub(super) gelu: Stage,
}

impl EncoderStages {
    pub(super) fn new(device: &wgpu::Device, shaders: Shaders) -> Self {
        let between = Between { device, shaders, form: Form::Whole };
        Self {
            twelve: Stage::new(device, shaders, &TWELVE, &[]),
            fit_rows: between.stage(&FIT_ROWS),
            split_heads: between.stage(&SPLIT_HEADS),
            attention: between.stage(&ATTENTION_TEXTS),
            merge_heads: between.stage(&MERGE_HEADS),
            add_norm: between.stage(&ADD_NORM),
            gelu: between.stage(&GELU),
        }
    }

    /// What the bind groups of [`EncoderStages::encode_twelve`] look like.
    pub(super) fn twelve_layout(&self) -> &wgpu::BindGroupLayout {
        &self.twelve.bindings
    }

    /// Multiplies `rows` rows with a matrix of `out_rows` outputs and weights of twelve bits.
    pub(super) fn encode_twelve(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        group: &wgpu::BindGroup,
        out_rows: u32,
        rows: u32,
    ) {
        run(
            pass,
            &self.twelve.pipeline,
            group,
            (out_rows.div_ceil(TWELVE_OUTPUTS), rows.div_ceil(TWELVE_ROWS)),
        );
    }
}

fn layout(device: &wgpu::Device, label: &str, accesses: &[Access]) -> wgpu::BindGroupLayout {
    let entries: Vec<_> = (0..)
        .zip(accesses)
        .map(|(binding, access)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: match access {
                    Uniform | Part => wgpu::BufferBindingType::Uniform,
                    Read => wgpu::BufferBindingType::Storage { read_only: true },
                    Write => wgpu::BufferBindingType::Storage { read_only: false },
                },
                has_dynamic_offset: *access == Part,
                min_binding_size: None,
            },
            count: None,
        })
        .collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(label),
        entries: &entries,
    })
}

/// Binds whole buffers, in binding order, but for what `accesses` says is a part.
pub(super) fn bind(
    device: &wgpu::Device,
    label: &str,
    layout: &wgpu::BindGroupLayout,
    accesses: &[Access],
    buffers: &[&wgpu::Buffer],
) -> wgpu::BindGroup {
    let size = |at| if accesses.get(at) == Some(&Part) { PART_BYTES } else { None };
    let bindings = buffers.iter().enumerate().map(|(at, buffer)| wgpu::BufferBinding {
        buffer,
        offset: 0,
        size: size(at),
    });
    let entries: Vec<_> = (0..)
        .zip(bindings.map(wgpu::BindingResource::Buffer))
        .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
        .collect();
    device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(label),
        layout,
        entries: &entries,
    })
}
