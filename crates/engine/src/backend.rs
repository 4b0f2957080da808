//! What computes: the CPU or a GPU, behind one trait. A backend owns its weights and its caches;
//! which sessions there are, and what they may ask, is the engine's to know.

mod cpu;
mod gpu;

use std::ops::Range;
use std::sync::Arc;

use potluck_model::package::{BlobRole, Gain, LayerWeights, Linear, Manifest, MlpWeights, Tables};

use crate::error::{ForwardError, LoadError};
use crate::step::{Output, SessionRows};

pub(crate) use cpu::CpuBackend;
pub(crate) use gpu::GpuBackend;

/// What should compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendChoice {
    /// A real GPU that passes the known-answer test, else the CPU.
    Auto,
    /// The CPU's SIMD.
    Cpu,
    /// Any GPU adapter, software ones too.
    Gpu,
    /// The specification itself, for comparison.
    Scalar,
}

/// What computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendInfo {
    /// `scalar`, `avx2`, `simd128`, `webgpu`, `vulkan`, …
    pub kind: &'static str,
    /// The adapter's or processor's name.
    pub adapter: String,
    /// Something a person should know, such as why it is not the GPU.
    pub note: Option<String>,
}

/// Steps of several sessions over the same layers: every weight is read once for all their rows.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    /// A contiguous range of the model's.
    pub(crate) layers: Range<u32>,
    /// At most one of each session.
    pub(crate) rows: Vec<SessionRows<'a>>,
}

/// A batch's outputs, in the order of its sessions.
pub(crate) type Outputs = Result<Vec<Output>, ForwardError>;

/// A device with weights and caches of its own.
pub(crate) trait Backend {
    /// Whether it may be gone at any moment, and its sessions with it.
    fn can_be_lost(&self) -> bool;

    /// Starts a model; weights of the one before are dropped.
    fn set_model(&mut self, manifest: &Manifest, tables: &Arc<Tables>) -> Result<(), LoadError>;

    /// Takes in a layer, whose shapes are the model's.
    fn load_layer(&mut self, index: u32, weights: LayerWeights) -> Result<(), LoadError>;

    /// Takes in a layer's expert, likewise, before the layer or after it.
    fn load_expert(&mut self, at: (u32, u32), weights: MlpWeights) -> Result<(), LoadError>;

    /// Takes in the output matrix and the norm before it.
    fn load_head(&mut self, norm: &Gain, output: Linear) -> Result<(), LoadError>;

    /// Drops a part, if it is there.
    fn unload(&mut self, role: BlobRole);

    /// Makes room for a session's caches.
    fn open_session(&mut self, id: u128, layers: Range<u32>) -> Result<(), ForwardError>;

    /// Calls a session otherwise.
    fn rename_session(&mut self, id: u128, new: u128);

    /// Drops a session's caches.
    fn close_session(&mut self, id: u128);

    /// Computes batches, one after the other; a failed one leaves its sessions as they were.
    async fn forward(&mut self, batches: &[Batch<'_>]) -> Vec<Outputs>;
}

/// The one backend of an engine.
#[derive(Debug)]
pub(crate) enum Device {
    Cpu(Box<CpuBackend>),
    Gpu(Box<GpuBackend>),
}

/// Calls a method of whichever backend there is.
macro_rules! of_either {
    ($device:ident, $backend:ident => $call:expr) => {
        match $device {
            Self::Cpu($backend) => $call,
            Self::Gpu($backend) => $call,
        }
    };
}

impl Backend for Device {
    fn can_be_lost(&self) -> bool {
        of_either!(self, backend => backend.can_be_lost())
    }

    fn set_model(&mut self, manifest: &Manifest, tables: &Arc<Tables>) -> Result<(), LoadError> {
        of_either!(self, backend => backend.set_model(manifest, tables))
    }

    fn load_layer(&mut self, index: u32, weights: LayerWeights) -> Result<(), LoadError> {
        of_either!(self, backend => backend.load_layer(index, weights))
    }

    fn load_expert(&mut self, at: (u32, u32), weights: MlpWeights) -> Result<(), LoadError> {
        of_either!(self, backend => backend.load_expert(at, weights))
    }

    fn load_head(&mut self, norm: &Gain, output: Linear) -> Result<(), LoadError> {
        of_either!(self, backend => backend.load_head(norm, output))
    }

    fn unload(&mut self, role: BlobRole) {
        of_either!(self, backend => backend.unload(role))
    }

    fn open_session(&mut self, id: u128, layers: Range<u32>) -> Result<(), ForwardError> {
        of_either!(self, backend => backend.open_session(id, layers))
    }

    fn rename_session(&mut self, id: u128, new: u128) {
        of_either!(self, backend => backend.rename_session(id, new));
    }

    fn close_session(&mut self, id: u128) {
        of_either!(self, backend => backend.close_session(id))
    }

    async fn forward(&mut self, batches: &[Batch<'_>]) -> Vec<Outputs> {
        of_either!(self, backend => backend.forward(batches).await)
    }
}
