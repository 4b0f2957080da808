//! A GPU as a backend: [`Gpu`] with the words of the engine. It can be taken away at any moment.

use std::ops::Range;
use std::sync::Arc;

use potluck_model::package::{BlobRole, Gain, LayerWeights, Linear, Manifest, MlpWeights, Tables};

use super::{Backend, BackendInfo, Batch, Outputs};
use crate::error::{ForwardError, LoadError};
use crate::gpu::{Gpu, GpuError};

/// A GPU that was found.
#[derive(Debug)]
pub(crate) struct GpuBackend {
    gpu: Gpu,
}

impl GpuBackend {
    /// Finds a GPU; a software adapter only where that is accepted. `tuning` is what
    /// [`Self::tuning`] gave an earlier time, and counts as none where it cannot be read.
    pub(crate) async fn new(accept_software: bool, tuning: Option<&str>) -> Result<Self, GpuError> {
        let tuning = tuning.and_then(|text| serde_json::from_str(text).ok());
        Ok(Self { gpu: Gpu::new(accept_software, tuning.as_ref()).await? })
    }

    /// What was found out about it.
    pub(crate) fn tuning(&self) -> Option<String> {
        serde_json::to_string(self.gpu.tuning()).ok()
    }

    /// What computes.
    pub(crate) fn info(&self) -> BackendInfo {
        let info = self.gpu.info();
        let software = "this adapter is software: it computes on the CPU";
        BackendInfo {
            kind: info.kind,
            adapter: info.adapter.clone(),
            note: info.is_software.then(|| software.to_owned()),
        }
    }

    /// Takes it away, as a driver's reset does.
    pub(crate) fn destroy(&mut self) {
        self.gpu.destroy();
    }
}

impl Backend for GpuBackend {
    fn can_be_lost(&self) -> bool {
        true
    }

    fn set_model(&mut self, manifest: &Manifest, tables: &Arc<Tables>) -> Result<(), LoadError> {
        Ok(self.gpu.set_model(manifest, tables)?)
    }

    fn load_layer(&mut self, index: u32, weights: LayerWeights) -> Result<(), LoadError> {
        Ok(self.gpu.load_layer(index, &weights)?)
    }

    fn load_expert(&mut self, at: (u32, u32), weights: MlpWeights) -> Result<(), LoadError> {
        Ok(self.gpu.load_expert(at, &weights)?)
    }

    fn load_head(&mut self, norm: &Gain, output: Linear) -> Result<(), LoadError> {
        Ok(self.gpu.load_head(norm, &output)?)
    }

    fn unload(&mut self, role: BlobRole) {
        match role {
            BlobRole::Layer(index) => self.gpu.unload_layer(index),
            BlobRole::Head => self.gpu.unload_head(),
            BlobRole::Expert(layer, index) => self.gpu.unload_expert((layer, index)),
            BlobRole::Tables | BlobRole::Embedding => {}
        }
    }

    fn open_session(&mut self, id: u128, layers: Range<u32>) -> Result<(), ForwardError> {
        Ok(self.gpu.open_session(id, layers)?)
    }

    fn rename_session(&mut self, id: u128, new: u128) {
        self.gpu.rename_session(id, new);
    }

    fn close_session(&mut self, id: u128) {
        self.gpu.close_session(id);
    }

    /// It is given all batches before the first is read, so that it never waits for the host.
    async fn forward(&mut self, batches: &[Batch<'_>]) -> Vec<Outputs> {
        let mut submitted = Vec::with_capacity(batches.len());
        for batch in batches {
            submitted.push(self.gpu.submit(&batch.rows).await);
        }
        let mut outputs = Vec::with_capacity(batches.len());
        for submitted in submitted {
            outputs.push(match submitted {
                Ok(submitted) => self.gpu.collect(submitted).await.map_err(ForwardError::from),
                Err(error) => Err(ForwardError::from(error)),
            });
        }
        outputs
    }
}
