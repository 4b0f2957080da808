//! The models in the data folder: the only place that knows the engine's package format.

mod checker;
mod compress;
mod download;
mod manage;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use potluck_ledger::work::WorkModel;
use potluck_model::package::{BlobRole, Manifest, ModelConfig};
use potluck_protocol::id::ModelId;
use potluck_protocol::room::ModelTag;
use potluck_protocol::server::ModelSummary;

pub use manage::{Added, add, check, list, remove};

/// A model, as far as the server needs it.
#[derive(Clone, Debug)]
pub struct ModelInfo {
    /// BLAKE3 of the manifest.
    pub id: ModelId,
    /// Its name.
    pub name: String,
    /// Its licence.
    pub license: String,
    /// Layers.
    pub layers: u32,
    /// Bytes of every layer.
    pub layer_bytes: Vec<u64>,
    /// Bytes that come with the first layer.
    pub embedding_bytes: u64,
    /// Bytes that come with the last layer.
    pub head_bytes: u64,
    /// Bytes that every stage needs.
    pub tables_bytes: u64,
    /// Bytes of all blobs.
    pub total_bytes: u64,
    /// Positions.
    pub max_positions: u32,
    /// For the tally.
    pub work: WorkModel,
}

/// All models of this server.
#[derive(Clone, Debug, Default)]
pub struct Models {
    by_id: HashMap<ModelId, Arc<ModelInfo>>,
    order: Vec<ModelId>,
}

impl Models {
    /// Reads every `models/*.json` of the data folder, in the order of their names.
    ///
    /// # Errors
    /// If a manifest cannot be read; the server does not start with a broken model.
    pub fn open(data_dir: &Path) -> anyhow::Result<Self> {
        let mut models = Self::default();
        for (path, bytes) in manifests(&data_dir.join("models"))? {
            let manifest = Manifest::from_bytes(&bytes)
                .with_context(|| format!("{} is no manifest", path.display()))?;
            models.add(ModelInfo::new(ModelId(*blake3::hash(&bytes).as_bytes()), &manifest));
        }
        Ok(models)
    }

    /// Adds a model.
    pub fn add(&mut self, model: ModelInfo) {
        self.order.push(model.id);
        self.by_id.insert(model.id, Arc::new(model));
    }

    /// A model.
    #[must_use]
    pub fn get(&self, id: ModelId) -> Option<&Arc<ModelInfo>> {
        self.by_id.get(&id)
    }

    /// Only the one that a room is about, if there is it.
    #[must_use]
    pub fn only(&self, tag: ModelTag) -> Option<Self> {
        let model = self.iter().find(|model| ModelTag::of(&model.name) == tag)?;
        let mut models = Self::default();
        models.add(ModelInfo::clone(model));
        Some(models)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ModelInfo>> {
        self.order.iter().filter_map(|id| self.by_id.get(id))
    }

    /// What a node learns of every model when it joins.
    #[must_use]
    pub fn summaries(&self) -> Vec<ModelSummary> {
        self.iter()
            .map(|m| ModelSummary { id: m.id, name: m.name.clone(), layers: m.layers })
            .collect()
    }
}

impl ModelInfo {
    /// Bytes of everything before the second layer and behind the last but one.
    #[must_use]
    pub fn ends_bytes(&self) -> u64 {
        let layers = match &self.layer_bytes[..] {
            [first, .., last] => first + last,
            only => only.iter().sum(),
        };
        self.tables_bytes + self.embedding_bytes + layers + self.head_bytes
    }

    fn new(id: ModelId, manifest: &Manifest) -> Self {
        let config = &manifest.config;
        let total: u64 =
            manifest.blobs_for(0..config.layers).iter().map(|(_, blob)| blob.size_bytes).sum();
        Self {
            id,
            name: manifest.name.clone(),
            license: manifest.license.clone(),
            layers: config.layers,
            layer_bytes: (0..config.layers).map(|index| layer_bytes(config, index)).collect(),
            embedding_bytes: config.blob_bytes(BlobRole::Embedding),
            head_bytes: config.blob_bytes(BlobRole::Head),
            tables_bytes: config.blob_bytes(BlobRole::Tables),
            total_bytes: total + manifest.tokenizer.size_bytes,
            max_positions: config.max_positions,
            work: WorkModel {
                linear_macs_per_layer: config.linear_macs_per_layer(),
                attention_macs_per_seen_position: config.attention_macs_per_seen_position(),
                windows: (0..config.layers).map(|index| config.layer_kind(index).window).collect(),
                head_macs: config.head_macs(),
            },
        }
    }
}

/// A layer's bytes, its experts' with them.
fn layer_bytes(config: &ModelConfig, index: u32) -> u64 {
    let expert = config.blob_bytes(BlobRole::Expert(index, 0));
    config.blob_bytes(BlobRole::Layer(index)) + u64::from(config.experts_of(index)) * expert
}

/// Every `*.json` of a folder with its bytes, in the order of their names; none of a folder that is
/// not there.
fn manifests(folder: &Path) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in
        std::fs::read_dir(folder).with_context(|| format!("could not list {}", folder.display()))?
    {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let bytes = std::fs::read(&path)
                .with_context(|| format!("could not read {}", path.display()))?;
            found.push((path, bytes));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A model of `layers` layers of a megabyte each, for tests of planning.
    pub(crate) fn model(layers: u32) -> ModelInfo {
        ModelInfo {
            id: ModelId([layers.to_le_bytes()[0]; 32]),
            name: "test-model".to_owned(),
            license: "none".to_owned(),
            layers,
            layer_bytes: vec![1 << 20; layers as usize],
            embedding_bytes: 1 << 18,
            head_bytes: 1 << 18,
            tables_bytes: 1 << 16,
            total_bytes: u64::from(layers) << 20,
            max_positions: 512,
            work: WorkModel {
                linear_macs_per_layer: 1,
                attention_macs_per_seen_position: 1,
                windows: Vec::new(),
                head_macs: 1,
            },
        }
    }
}
