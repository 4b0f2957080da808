//! The processor as a backend: weights packed for its fastest exact path, and a cache for each
//! layer of each session. It needs no waiting and cannot be lost.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use potluck_model::package::{
    BlobRole, Gain, LayerWeights, Linear, Manifest, MlpWeights, ModelConfig, Tables,
};

use super::{Backend, BackendInfo, Batch, Outputs};
use crate::cpu;
use crate::error::{ForwardError, LoadError};
use crate::kernels::linear::CpuPath;
use crate::kv_cache::LayerCache;
use crate::sampler::sample;
use crate::step::{MAX_BACK, Output, OutputRequest, SessionRows};
use crate::threads;

/// The processor, on one of its paths.
#[derive(Debug)]
pub(crate) struct CpuBackend {
    path: CpuPath,
    model: Option<Model>,
    sessions: HashMap<u128, Session>,
}

/// Weights of the current model.
#[derive(Debug)]
struct Model {
    config: ModelConfig,
    tables: Arc<Tables>,
    layers: BTreeMap<u32, cpu::Layer>,
    /// Of each layer as many as it has, those that are not here as none.
    experts: BTreeMap<u32, Vec<Option<cpu::Mlp>>>,
    head: Option<cpu::Head>,
}

/// A session's caches, one a layer of its own.
type Session = Vec<LayerCache>;

impl CpuBackend {
    pub(crate) fn new(path: CpuPath) -> Self {
        Self { path, model: None, sessions: HashMap::new() }
    }

    /// What computes, with a note for people.
    pub(crate) fn info(&self, note: Option<String>) -> BackendInfo {
        BackendInfo { kind: self.path.name(), adapter: "CPU".to_owned(), note }
    }

    /// Computes one batch.
    fn compute(&mut self, batch: &Batch<'_>) -> Outputs {
        let missing = ForwardError::Missing;
        let Some(model) = &self.model else { return Err(missing(BlobRole::Tables)) };
        let Model { config, tables, .. } = model;
        if let Some(index) = batch.layers.clone().find(|index| !model.layers.contains_key(index)) {
            return Err(missing(BlobRole::Layer(index)));
        }
        if let Some(role) = batch.layers.clone().find_map(|layer| model.missing_expert(layer)) {
            return Err(missing(role));
        }
        if batch.rows.iter().any(|own| !self.sessions.contains_key(&own.session)) {
            return Err(ForwardError::NoSession);
        }
        let width = config.d_model as usize;
        let mut rows = batch.rows.iter().map(|own| own.rows).collect::<Vec<_>>().concat();
        // All at once, which a map of sessions does not lend: they are out of it meanwhile. Nothing
        // here waits or fails.
        let mut sessions: Vec<(u128, Session)> =
            batch.rows.iter().filter_map(|own| self.sessions.remove_entry(&own.session)).collect();
        let kind = |index| config.layer_kind(index);
        for (at, index) in batch.layers.clone().enumerate() {
            let runs = sessions.iter_mut().zip(&batch.rows).map(|((_, caches), own)| {
                let cache = &mut caches[at];
                let (kv_heads, head_dim) = (config.kv_heads as usize, config.head_dim as usize);
                // A session that was taken back overwrites what it held.
                cache.truncate(own.position as usize, kv_heads, head_dim);
                if let Some(window) = kind(index).window {
                    let first = own.position.saturating_sub(window + MAX_BACK);
                    cache.forget_before(first as usize, kv_heads, head_dim);
                }
                cpu::Run { position: own.position, rows: own.rows.len() / width, cache }
            });
            let mut runs: Vec<cpu::Run<'_>> = runs.collect();
            if let Some(weights) = model.layers.get(&index) {
                let experts = model.experts.get(&index).map_or(&[][..], Vec::as_slice);
                weights.forward((config, kind(index)), tables, experts, &mut runs, &mut rows);
            }
        }
        self.sessions.extend(sessions);
        model.outputs(batch, &rows)
    }
}

impl Model {
    /// The first of a layer's experts that is not here.
    fn missing_expert(&self, layer: u32) -> Option<BlobRole> {
        let held = self.experts.get(&layer).map_or(&[][..], Vec::as_slice);
        let is_missing = |index: &u32| !matches!(held.get(*index as usize), Some(Some(_)));
        let missing = (0..self.config.experts_of(layer)).find(is_missing);
        missing.map(|index| BlobRole::Expert(layer, index))
    }

    /// What is made of `rows`, which went through the batch's layers.
    fn outputs(&self, batch: &Batch<'_>, rows: &[i32]) -> Outputs {
        let width = self.config.d_model as usize;
        let mut rest = rows;
        let own: Vec<&[i32]> = batch
            .rows
            .iter()
            .map(|own| {
                let (rows, others) = rest.split_at(own.rows.len());
                rest = others;
                rows
            })
            .collect();
        let wants_logits =
            |want| matches!(want, Some(OutputRequest::Logits | OutputRequest::Token(_)));
        let last = own
            .iter()
            .zip(&batch.rows)
            .filter(|(_, session)| wants_logits(session.want))
            .map(|(rows, _)| &rows[rows.len() - width..]);
        let last = last.collect::<Vec<_>>().concat();
        let mut logits = match &self.head {
            Some(head) if !last.is_empty() => head.logits(&self.config, &self.tables, &last),
            None if !last.is_empty() => return Err(ForwardError::Missing(BlobRole::Head)),
            _ => Vec::new(),
        }
        .into_iter();
        let output = |(rows, session): (&&[i32], &SessionRows<'_>)| match session.want {
            None => Output::Hidden(rows.to_vec()),
            Some(OutputRequest::Nothing) => Output::None,
            Some(OutputRequest::Logits) => logits.next().map_or(Output::None, Output::Logits),
            Some(OutputRequest::Token(sampling)) => logits.next().map_or(Output::None, |logits| {
                let count = u32::try_from(rows.len() / width).unwrap_or(u32::MAX);
                Output::Token(sample(&logits, &sampling, session.position + count))
            }),
        };
        Ok(own.iter().zip(&batch.rows).map(output).collect())
    }
}

impl Backend for CpuBackend {
    fn can_be_lost(&self) -> bool {
        false
    }

    fn set_model(&mut self, manifest: &Manifest, tables: &Arc<Tables>) -> Result<(), LoadError> {
        let (config, tables) = (manifest.config.clone(), Arc::clone(tables));
        let (layers, experts) = (BTreeMap::new(), BTreeMap::new());
        self.model = Some(Model { config, tables, layers, experts, head: None });
        Ok(())
    }

    fn load_layer(&mut self, index: u32, weights: LayerWeights) -> Result<(), LoadError> {
        let model = self.model.as_mut().ok_or(LoadError::NoModel(BlobRole::Layer(index)))?;
        model.layers.insert(index, cpu::Layer::new(self.path, weights));
        Ok(())
    }

    fn load_expert(&mut self, at: (u32, u32), weights: MlpWeights) -> Result<(), LoadError> {
        let (layer, index) = at;
        let role = BlobRole::Expert(layer, index);
        let model = self.model.as_mut().ok_or(LoadError::NoModel(role))?;
        let experts = model.experts.entry(layer).or_default();
        experts.resize_with(model.config.experts_of(layer) as usize, || None);
        let place = experts.get_mut(index as usize).ok_or(LoadError::NoSuchPart(role))?;
        *place = Some(cpu::Mlp::new(self.path, weights));
        Ok(())
    }

    fn load_head(&mut self, norm: &Gain, output: Linear) -> Result<(), LoadError> {
        let model = self.model.as_mut().ok_or(LoadError::NoModel(BlobRole::Head))?;
        model.head = Some(cpu::Head::new(self.path, norm.clone(), output));
        Ok(())
    }

    fn unload(&mut self, role: BlobRole) {
        let Some(model) = &mut self.model else { return };
        match role {
            BlobRole::Layer(index) => drop(model.layers.remove(&index)),
            BlobRole::Expert(layer, index) => {
                let experts = model.experts.get_mut(&layer);
                if let Some(place) = experts.and_then(|experts| experts.get_mut(index as usize)) {
                    *place = None;
                }
            }
            BlobRole::Head => model.head = None,
            BlobRole::Tables | BlobRole::Embedding => {}
        }
    }

    fn open_session(&mut self, id: u128, layers: Range<u32>) -> Result<(), ForwardError> {
        self.sessions.insert(id, vec![LayerCache::default(); layers.len()]);
        Ok(())
    }

    fn rename_session(&mut self, id: u128, new: u128) {
        if let Some(session) = self.sessions.remove(&id) {
            self.sessions.insert(new, session);
        }
    }

    fn close_session(&mut self, id: u128) {
        self.sessions.remove(&id);
    }

    async fn forward(&mut self, batches: &[Batch<'_>]) -> Vec<Outputs> {
        batches.iter().map(|batch| threads::enter(|| self.compute(batch))).collect()
    }
}
