//! Which kernels there are: file, entry point, workgroup, bindings. A new kernel is a file under
//! `src/kernels`, one entry here, and a field of whoever runs it (`Pipelines`, `LinearKernels`,
//! `EncoderKernels`). `tests/wgsl_valid.rs` proves that the entries and the files agree.

use super::source::{Source, wgsl};

/// How a kernel uses a binding. Bindings of a group are numbered from 0 without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A struct of `uniforms.rs`.
    Uniform,
    /// The `Forward` of one session in a call, at an offset that every dispatch sets.
    Part,
    /// A storage buffer that is only read.
    Read,
    /// A storage buffer that is written.
    Write,
}

use Access::{Part, Read, Uniform, Write};

/// One entry point of one `.wgsl` file.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    /// The file that has it.
    pub source: Source,
    /// The compute entry point.
    pub entry_point: &'static str,
    /// Invocations of a workgroup.
    pub workgroup_size: u32,
    /// Whether it can have fewer (`INVOCATIONS`).
    pub resizable: bool,
    /// Whether all invocations reach its reductions, so that `with_subgroups` has something to
    /// do.
    pub reduces: bool,
    /// Bindings of group 0: what is the same for every session.
    pub bindings: &'static [Access],
    /// Bindings of group 1: a session's KV cache; empty if the kernel does not see it.
    pub cache_bindings: &'static [Access],
}

/// Declares the kernels and lists them.
macro_rules! kernels {
    ($($name:ident = $kernel:expr;)+) => {
        $(pub(super) const $name: Kernel = $kernel;)+

        /// Every kernel, for tests that read the files without a GPU.
        pub const KERNELS: &[Kernel] = &[$($name),+];
    };
}

kernels! {
    RMS_NORM = Kernel {
        source: wgsl!("rms_norm.wgsl"),
        entry_point: "rms_norm",
        workgroup_size: 256,
        resizable: true,
        reduces: true,
        bindings: &[Uniform, Uniform, Read, Read, Read, Write, Write],
        cache_bindings: &[],
    };
    GEMV_ROWS1_FMA = Kernel {
        source: wgsl!("linear.wgsl"),
        entry_point: "gemv_rows1_fma",
        workgroup_size: 64,
        resizable: false,
        reduces: false,
        bindings: &[Uniform, Uniform, Read, Read, Read, Read, Read, Write],
        cache_bindings: &[],
    };
    GEMV_ROWS1_DOT = Kernel { entry_point: "gemv_rows1_dot", ..GEMV_ROWS1_FMA };
    GEMV_ROWS4_FMA = Kernel { entry_point: "gemv_rows4_fma", ..GEMV_ROWS1_FMA };
    GEMV_ROWS4_DOT = Kernel { entry_point: "gemv_rows4_dot", ..GEMV_ROWS1_FMA };
    GEMM_4X4_FMA = Kernel { entry_point: "gemm_4x4_fma", ..GEMV_ROWS1_FMA };
    GEMM_4X4_DOT = Kernel { entry_point: "gemm_4x4_dot", ..GEMV_ROWS1_FMA };
    GEMM_TILED_64X64_FMA = Kernel {
        entry_point: "gemm_tiled_64x64_fma",
        workgroup_size: 256,
        ..GEMV_ROWS1_FMA
    };
    GEMM_TILED_64X64_DOT = Kernel { entry_point: "gemm_tiled_64x64_dot", ..GEMM_TILED_64X64_FMA };
    FINISH_HEADS = Kernel {
        source: wgsl!("heads.wgsl"),
        entry_point: "finish_heads",
        workgroup_size: 64,
        resizable: true,
        reduces: true,
        bindings: &[Uniform, Uniform, Write, Read, Write, Read, Read, Read],
        cache_bindings: &[],
    };
    ROPE = Kernel {
        source: wgsl!("rope.wgsl"),
        entry_point: "rope",
        workgroup_size: 64,
        resizable: true,
        reduces: true,
        bindings: &[Uniform, Part, Uniform, Read, Read, Read, Write, Write],
        cache_bindings: &[Write, Write, Write],
    };
    ATTENTION = Kernel {
        source: wgsl!("attention.wgsl"),
        entry_point: "attention",
        workgroup_size: 64,
        resizable: true,
        reduces: true,
        bindings: &[Uniform, Part, Read, Read, Uniform, Write, Write, Uniform],
        cache_bindings: &[Write, Write, Write],
    };
    ROPE_ATTENTION = Kernel {
        entry_point: "rope_attention",
        bindings: &[Uniform, Part, Read, Read, Uniform, Write, Write, Uniform, Read, Uniform],
        ..ATTENTION
    };
    GEMV_HEADS = Kernel {
        source: wgsl!("gemv_heads.wgsl"),
        entry_point: "gemv_heads",
        workgroup_size: 64,
        resizable: false,
        reduces: true,
        bindings: &[Uniform, Uniform, Read, Read, Read, Read, Read, Write],
        cache_bindings: &[],
    };
    MERGE_HEADS = Kernel {
        entry_point: "merge_heads",
        workgroup_size: 256,
        bindings: &[Uniform, Read, Read, Write, Write],
        cache_bindings: &[],
        ..ATTENTION
    };
    SILU_MUL = Kernel {
        source: wgsl!("mlp.wgsl"),
        entry_point: "silu_mul",
        workgroup_size: 256,
        resizable: true,
        reduces: true,
        bindings: &[Uniform, Uniform, Write, Read, Read, Write, Write, Read],
        cache_bindings: &[],
    };
    ROUTE = Kernel {
        source: wgsl!("route.wgsl"),
        entry_point: "route",
        workgroup_size: 256,
        resizable: true,
        reduces: true,
        bindings: &[Uniform, Read, Read, Uniform, Write, Read],
        cache_bindings: &[],
    };
    GEMV_EXPERTS_FMA = Kernel {
        source: wgsl!("experts.wgsl"),
        entry_point: "gemv_experts_fma",
        workgroup_size: 64,
        resizable: false,
        reduces: false,
        bindings: &[Uniform, Read, Read, Read, Read, Read, Write],
        cache_bindings: &[],
    };
    GEMV_EXPERTS_DOT = Kernel { entry_point: "gemv_experts_dot", ..GEMV_EXPERTS_FMA };
    SILU_MUL_EXPERTS = Kernel {
        entry_point: "silu_mul_experts",
        bindings: &[Uniform, Read, Write, Read, Read, Write, Write, Read, Read],
        ..SILU_MUL
    };
    ADD_EXPERTS = Kernel {
        entry_point: "add_experts",
        workgroup_size: 256,
        resizable: true,
        bindings: &[Uniform, Read, Write, Read, Read, Read, Read],
        ..GEMV_EXPERTS_FMA
    };
    GEMM_8X4_W12 = Kernel {
        source: wgsl!("linear_w12.wgsl"),
        entry_point: "gemm_8x4_w12",
        workgroup_size: 32,
        resizable: false,
        reduces: false,
        bindings: &[Uniform, Uniform, Read, Read, Read, Read, Write],
        cache_bindings: &[],
    };
    SPLIT_HEADS = Kernel {
        source: wgsl!("split_heads.wgsl"),
        entry_point: "split_heads",
        workgroup_size: 64,
        resizable: true,
        reduces: true,
        bindings: &[Uniform, Uniform, Read, Read, Read, Write, Write],
        cache_bindings: &[Write, Write, Write],
    };
    TURN_HEADS = Kernel { entry_point: "turn_heads", ..SPLIT_HEADS };
    ATTENTION_TEXTS = Kernel {
        entry_point: "attention_texts",
        bindings: &[Uniform, Read, Read, Read, Uniform, Write, Write, Uniform],
        ..ATTENTION
    };
    FIT_ROWS = Kernel {
        source: wgsl!("layer_norm.wgsl"),
        entry_point: "fit_rows",
        workgroup_size: 256,
        resizable: true,
        reduces: true,
        bindings: &[Uniform, Write, Write, Write],
        cache_bindings: &[],
    };
    ADD_NORM = Kernel {
        entry_point: "add_norm",
        bindings: &[Uniform, Write, Write, Write, Uniform, Read, Read, Read, Read],
        ..FIT_ROWS
    };
    LAYER_NORM = Kernel {
        entry_point: "layer_norm",
        bindings: &[Uniform, Write, Write, Write, Uniform, Read, Read, Read],
        ..FIT_ROWS
    };
    ADD_NORM_BEFORE = Kernel { entry_point: "add_norm_before", ..ADD_NORM };
    GELU = Kernel { entry_point: "gelu", ..SILU_MUL };
    ADD_ROW = Kernel {
        source: wgsl!("residual.wgsl"),
        entry_point: "add_row",
        workgroup_size: 256,
        resizable: true,
        reduces: true,
        bindings: &[Uniform, Uniform, Write, Write, Read, Read, Read],
        cache_bindings: &[],
    };
    NORMALISE_ROWS = Kernel {
        source: wgsl!("head_rows.wgsl"),
        entry_point: "normalise_rows",
        workgroup_size: 256,
        resizable: true,
        reduces: true,
        bindings: &[Uniform, Uniform, Write, Write, Read, Read],
        cache_bindings: &[],
    };
    CAP_LOGITS = Kernel {
        source: wgsl!("logits.wgsl"),
        entry_point: "cap_logits",
        workgroup_size: 256,
        resizable: true,
        reduces: false,
        bindings: &[Uniform, Uniform, Write, Write],
        cache_bindings: &[],
    };
    LARGEST = Kernel {
        source: wgsl!("sample.wgsl"),
        entry_point: "largest",
        workgroup_size: 256,
        resizable: true,
        reduces: false,
        bindings: &[Uniform, Read, Write, Write, Write],
        cache_bindings: &[],
    };
    WEIGH = Kernel {
        entry_point: "weigh",
        bindings: &[Uniform, Read, Write, Write, Write, Read, Uniform, Read],
        ..LARGEST
    };
    GATHER = Kernel { entry_point: "gather", ..WEIGH };
}
