//! The kernels as the host sees them: which file, which entry point, which bindings; and their compiled pipelines.
//!
//! Every `.wgsl` file is complete WGSL as it stands: the few lines of block arithmetic are repeated in each rather than pasted
//! in, so that editors and naga can read them; `tests/wgsl_valid.rs` proves that the repetitions and [`KERNELS`] agree.

/// How a kernel uses a binding. Bindings of a group are numbered from 0 without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A struct of [`super::uniforms`].
    Uniform,
    /// A storage buffer that is only read.
    Read,
    /// A storage buffer that is written.
    Write,
}

use Access::{Read, Uniform, Write};

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
    /// Bindings of group 0: what is the same for every session.
    pub bindings: &'static [Access],
    /// Bindings of group 1: a session's KV cache; empty if the kernel does not see it.
    pub cache_bindings: &'static [Access],
}

const RMS_NORM: Kernel = Kernel {
    file: "rms_norm.wgsl",
    source: include_str!("../kernels/rms_norm.wgsl"),
    entry_point: "rms_norm",
    workgroup_size: 256,
    bindings: &[Uniform, Uniform, Read, Read, Read, Write, Write],
    cache_bindings: &[],
};
const LINEAR_ONE: Kernel = Kernel {
    file: "linear.wgsl",
    source: include_str!("../kernels/linear.wgsl"),
    entry_point: "linear_one",
    workgroup_size: 64,
    bindings: &[Uniform, Uniform, Read, Read, Read, Read, Read, Write],
    cache_bindings: &[],
};
const LINEAR_FOUR: Kernel = Kernel { entry_point: "linear_four", ..LINEAR_ONE };
const FINISH_HEADS: Kernel = Kernel {
    file: "heads.wgsl",
    source: include_str!("../kernels/heads.wgsl"),
    entry_point: "finish_heads",
    workgroup_size: 64,
    bindings: &[Uniform, Uniform, Write, Read, Write, Read, Read, Read],
    cache_bindings: &[],
};
const ROPE: Kernel = Kernel {
    file: "rope.wgsl",
    source: include_str!("../kernels/rope.wgsl"),
    entry_point: "rope",
    workgroup_size: 64,
    bindings: &[Uniform, Uniform, Uniform, Read, Read, Read, Write, Write],
    cache_bindings: &[Write, Write, Write],
};
const ATTENTION: Kernel = Kernel {
    file: "attention.wgsl",
    source: include_str!("../kernels/attention.wgsl"),
    entry_point: "attention",
    workgroup_size: 64,
    bindings: &[Uniform, Uniform, Read, Read, Read, Write, Write],
    cache_bindings: &[Read, Read, Read],
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
    source: include_str!("../kernels/mlp.wgsl"),
    entry_point: "silu_mul",
    workgroup_size: 256,
    bindings: &[Uniform, Uniform, Read, Read, Read, Write, Write],
    cache_bindings: &[],
};

/// Every kernel, for tests that read the files without a GPU.
pub const KERNELS: [Kernel; 8] =
    [RMS_NORM, LINEAR_ONE, LINEAR_FOUR, FINISH_HEADS, ROPE, ATTENTION, MERGE_HEADS, SILU_MUL];

/// A compiled kernel.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroupLayout,
    cache_bindings: Option<wgpu::BindGroupLayout>,
    label: &'static str,
}

impl Stage {
    fn new(device: &wgpu::Device, kernel: &Kernel) -> Self {
        let label = kernel.entry_point;
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(kernel.file),
            source: wgpu::ShaderSource::Wgsl(kernel.source.into()),
        });
        let bindings = layout(device, label, kernel.bindings);
        let cache_bindings = (!kernel.cache_bindings.is_empty()).then(|| layout(device, label, kernel.cache_bindings));
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
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        Self { pipeline, bindings, cache_bindings, label }
    }

    /// Binds whole buffers as group 0, in binding order.
    pub(super) fn bind(&self, device: &wgpu::Device, buffers: &[&wgpu::Buffer]) -> wgpu::BindGroup {
        bind(device, self.label, &self.bindings, buffers)
    }

    /// Binds a session's cache buffers as group 1, in binding order; only kernels that see the cache have that group.
    pub(super) fn bind_cache(&self, device: &wgpu::Device, buffers: &[&wgpu::Buffer]) -> wgpu::BindGroup {
        bind(device, self.label, self.cache_bindings.as_ref().unwrap_or(&self.bindings), buffers)
    }
}

/// All compiled kernels.
#[derive(Debug)]
pub(super) struct Pipelines {
    pub(super) rms_norm: Stage,
    pub(super) linear_one: Stage,
    /// Takes the same bind groups as `linear_one`.
    pub(super) linear_four: Stage,
    pub(super) finish_heads: Stage,
    pub(super) rope: Stage,
    pub(super) attention: Stage,
    pub(super) merge_heads: Stage,
    pub(super) silu_mul: Stage,
}

impl Pipelines {
    pub(super) fn new(device: &wgpu::Device) -> Self {
        Self {
            rms_norm: Stage::new(device, &RMS_NORM),
            linear_one: Stage::new(device, &LINEAR_ONE),
            linear_four: Stage::new(device, &LINEAR_FOUR),
            finish_heads: Stage::new(device, &FINISH_HEADS),
            rope: Stage::new(device, &ROPE),
            attention: Stage::new(device, &ATTENTION),
            merge_heads: Stage::new(device, &MERGE_HEADS),
            silu_mul: Stage::new(device, &SILU_MUL),
        }
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
                    Uniform => wgpu::BufferBindingType::Uniform,
                    Read => wgpu::BufferBindingType::Storage { read_only: true },
                    Write => wgpu::BufferBindingType::Storage { read_only: false },
                },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        })
        .collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(label), entries: &entries })
}

fn bind(
    device: &wgpu::Device,
    label: &str,
    layout: &wgpu::BindGroupLayout,
    buffers: &[&wgpu::Buffer],
) -> wgpu::BindGroup {
    let entries: Vec<_> = (0..)
        .zip(buffers)
        .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
        .collect();
    device.create_bind_group(&wgpu::BindGroupDescriptor { label: Some(label), layout, entries: &entries })
}
