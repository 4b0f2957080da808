//! Compiled kernels: a pipeline, what its bindings look like, and its dispatch. Does not know which
//! kernels a model or an encoder needs.

use std::num::NonZeroU64;

use super::kernels::Access::{self, Part, Read, Uniform, Write};
use super::kernels::Kernel;
use super::source::with_subgroups;
use super::variants::Shaders;

/// A compiled kernel.
#[derive(Debug)]
pub(super) struct CompiledKernel {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) bindings: wgpu::BindGroupLayout,
    accesses: &'static [Access],
    cache_bindings: Option<wgpu::BindGroupLayout>,
    label: &'static str,
}

impl CompiledKernel {
    pub(super) fn new(
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
    let mut text = kernel.source.join();
    if grouped {
        text = with_subgroups(&text, cfg!(target_arch = "wasm32"));
    }
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(kernel.source.file),
        source: wgpu::ShaderSource::Wgsl(text.into()),
    };
    if shaders.checked {
        return device.create_shader_module(descriptor);
    }
    // SAFETY: every index follows from shapes that were checked when the model was set and the call
    // was made, or is a table's, kept within it by the kernel itself; every loop ends after as many
    // rounds as those shapes say; nothing is divided by but numbers of heads. The tests run all
    // kernels checked as well as unchecked. (A browser checks in any case.)
    #[expect(
        unsafe_code,
        reason = "without checks of what is known SwiftShader decodes 1.09 times faster, at \
                  position 900 1.13 times"
    )]
    unsafe {
        device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
    }
}

/// Compiles the kernels between the matrices.
#[derive(Debug)]
pub(super) struct KernelCompiler<'a> {
    pub(super) device: &'a wgpu::Device,
    pub(super) shaders: Shaders,
    pub(super) format: BlockFormat,
}

/// What a block holds, for the matrix that reads it (`BLOCK_FORMAT`).
#[derive(Debug, Clone, Copy)]
pub(super) enum BlockFormat {
    /// A mantissa in an `f32`, for `..._fma`.
    F32,
    /// Two planes of bytes, for `..._dot`.
    Planes,
    /// A mantissa in an `i32`, for `..._w12`.
    I32,
}

impl KernelCompiler<'_> {
    pub(super) fn compile(&self, kernel: &Kernel) -> CompiledKernel {
        let format = match self.format {
            BlockFormat::F32 => 0,
            BlockFormat::Planes => 1,
            BlockFormat::I32 => 2,
        };
        let invocations = kernel.workgroup_size.min(self.shaders.most_invocations);
        let mut constants = vec![("INVOCATIONS", f64::from(invocations))];
        // Only those that write a block have it.
        constants.extend(
            kernel.source.imports("store_quad").then_some(("BLOCK_FORMAT", f64::from(format))),
        );
        CompiledKernel::new(self.device, self.shaders, kernel, &constants)
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

/// What bind groups of these accesses look like.
pub(super) fn layout(
    device: &wgpu::Device,
    label: &str,
    accesses: &[Access],
) -> wgpu::BindGroupLayout {
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
