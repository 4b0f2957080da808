//! What a page calls: one engine of a shape and how fast it is; an encoder; a GPU to fill.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use potluck_engine::encoder::{Embedding, Encoder};
use potluck_engine::engine::{BackendChoice, Engine, Input, OutputRequest};
use potluck_engine::gpu::GpuEncoder;
use potluck_engine::kernels::linear::CpuPath;
use potluck_model::encoder::EncoderManifest;
use potluck_model::package::{BlobRole, ModelConfig};
use potluck_model::synthetic::Synthetic;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsError, JsValue};

use crate::rate::Subject;
use crate::shapes::Shape;

/// A loaded engine, for JavaScript.
#[wasm_bindgen]
#[derive(Debug)]
pub struct WebSubject(Subject);

#[wasm_bindgen]
impl WebSubject {
    /// An engine with a whole model of random weights; `gpu` picks WebGPU, a software adapter too,
    /// else wasm SIMD.
    ///
    /// # Errors
    /// If there is no such shape or backend.
    pub async fn random(shape: String, gpu: bool) -> Result<Self, JsValue> {
        console_error_panic_hook::set_once();
        let shape = Shape::named(&shape).ok_or_else(|| JsError::new("no such shape"))?;
        let choice = if gpu { BackendChoice::Gpu } else { BackendChoice::Cpu };
        Ok(Self(Subject::random(choice, shape.config()).await.map_err(JsError::from)?))
    }

    /// What computes.
    #[must_use]
    pub fn backend(&self) -> String {
        self.0.backend().to_owned()
    }

    /// Seconds for a text of `tokens`.
    ///
    /// # Errors
    /// If a step fails.
    pub async fn prefill(&mut self, tokens: u32) -> Result<f64, JsValue> {
        Ok(self.0.prefill(tokens).await.map_err(JsError::from)?)
    }

    /// Seconds for drawing `tokens`.
    ///
    /// # Errors
    /// If a step fails.
    pub async fn decode(&mut self, tokens: u32) -> Result<f64, JsValue> {
        Ok(self.0.decode(tokens).await.map_err(JsError::from)?)
    }
}

/// An encoder, for JavaScript: made of its manifest, given its blobs, loaded, asked.
#[wasm_bindgen]
#[derive(Debug)]
pub struct WebEncoder {
    manifest: Arc<EncoderManifest>,
    blobs: HashMap<String, Vec<u8>>,
    encoder: Option<Loaded>,
}

#[derive(Debug)]
enum Loaded {
    Cpu(Box<Encoder>),
    Gpu(Box<GpuEncoder>),
}

#[wasm_bindgen]
impl WebEncoder {
    /// The encoder that a manifest describes.
    ///
    /// # Errors
    /// If it is none.
    #[wasm_bindgen(constructor)]
    pub fn new(manifest: &[u8]) -> Result<Self, JsValue> {
        console_error_panic_hook::set_once();
        let manifest = Arc::new(EncoderManifest::from_bytes(manifest).map_err(JsError::from)?);
        Ok(Self { manifest, blobs: HashMap::new(), encoder: None })
    }

    /// The hashes of the blobs that it needs.
    #[must_use]
    pub fn blobs(&self) -> Vec<String> {
        self.manifest.blobs().into_iter().map(|(_, blob)| blob.hash.to_string()).collect()
    }

    /// Takes one of them.
    pub fn take(&mut self, hash: String, bytes: Vec<u8>) {
        self.blobs.insert(hash, bytes);
    }

    /// Makes an encoder of them; `gpu` picks WebGPU, a software adapter too, else wasm SIMD.
    ///
    /// # Errors
    /// If one is missing or wrong, or there is no WebGPU.
    pub async fn load(&mut self, gpu: bool) -> Result<(), JsValue> {
        let known = self.manifest.blobs();
        let none: Vec<u8> = Vec::new();
        let blob = |role| {
            let of_role = known.iter().find(|(of, _)| *of == role);
            let bytes = of_role.and_then(|(_, blob)| self.blobs.get(&blob.hash.to_string()));
            Cow::Borrowed(&bytes.unwrap_or(&none)[..])
        };
        let manifest = Arc::clone(&self.manifest);
        let loaded = if gpu {
            Loaded::Gpu(Box::new(
                GpuEncoder::new(true, manifest, blob).await.map_err(JsError::from)?,
            ))
        } else {
            Loaded::Cpu(Box::new(
                Encoder::new(CpuPath::detect(), manifest, blob).map_err(JsError::from)?,
            ))
        };
        self.encoder = Some(loaded);
        self.blobs.clear();
        Ok(())
    }

    /// What computes.
    #[must_use]
    pub fn backend(&self) -> String {
        match &self.encoder {
            Some(Loaded::Gpu(encoder)) => encoder.info().kind.to_owned(),
            _ => CpuPath::detect().name().to_owned(),
        }
    }

    /// The vectors of texts, one after the other; `tokens` are all texts', `lengths` how many each
    /// has.
    ///
    /// # Errors
    /// If a text is empty, too long, or has a token that is none, or the GPU fails.
    pub async fn encode(
        &mut self,
        tokens: Vec<u32>,
        lengths: Vec<u32>,
    ) -> Result<Vec<f64>, JsValue> {
        let encoder = self.encoder.as_mut().ok_or_else(|| JsError::new("no encoder is loaded"))?;
        let mut rest = &tokens[..];
        let mut texts = Vec::with_capacity(lengths.len());
        for length in lengths {
            let split = rest.split_at_checked(length as usize);
            let (text, others) = split.ok_or_else(|| JsError::new("fewer tokens than lengths"))?;
            texts.push(text);
            rest = others;
        }
        let vectors = match encoder {
            Loaded::Cpu(encoder) => encoder.encode(&texts).map_err(JsError::from)?,
            Loaded::Gpu(encoder) => encoder.encode(&texts).await.map_err(JsError::from)?,
        };
        Ok(vectors.iter().flat_map(Embedding::to_f64).collect())
    }
}

/// A GPU that a model's layers are loaded into, one after the other, for JavaScript.
#[wasm_bindgen]
#[derive(Debug)]
pub struct WebLayers {
    engine: Engine,
    config: ModelConfig,
}

#[wasm_bindgen]
impl WebLayers {
    /// An engine on WebGPU with a shape's tables.
    ///
    /// # Errors
    /// If there is no such shape, or no WebGPU.
    pub async fn open(shape: String) -> Result<Self, JsValue> {
        console_error_panic_hook::set_once();
        let shape = Shape::named(&shape).ok_or_else(|| JsError::new("no such shape"))?;
        let config = shape.config();
        let mut engine = Engine::new(BackendChoice::Gpu).await.map_err(JsError::from)?;
        let tables = Synthetic::part(&config, 1, BlobRole::Tables);
        engine
            .set_model(Arc::new(Synthetic::nameless(config.clone())), &tables)
            .map_err(JsError::from)?;
        Ok(Self { engine, config })
    }

    /// How many layers there are.
    #[must_use]
    pub fn layers(&self) -> u32 {
        self.config.layers
    }

    /// Loads one.
    ///
    /// # Errors
    /// If it is not of the shape, or the device has no room.
    pub fn load(&mut self, index: u32, bytes: Vec<u8>) -> Result<(), JsValue> {
        Ok(self.engine.load(BlobRole::Layer(index), &bytes).map_err(JsError::from)?)
    }

    /// Proves that they are there: a row through all but the first and the last, which would need
    /// the embedding and the head. What a device had no room for fails here.
    ///
    /// # Errors
    /// If one is not.
    pub async fn prove(&mut self) -> Result<(), JsValue> {
        let (first, width) = (1, self.config.d_model as usize);
        self.engine.open_session(1, first..self.config.layers - 1).map_err(JsError::from)?;
        self.engine
            .forward(1, 0, Input::Hidden(&vec![1; width]), OutputRequest::Nothing)
            .await
            .map_err(JsError::from)?;
        Ok(())
    }

    /// The wasm heap in bytes: it only ever grows.
    #[must_use]
    pub fn heap() -> f64 {
        const PAGE: f64 = 65_536.0;
        f64::from(u32::try_from(core::arch::wasm32::memory_size(0)).unwrap_or(u32::MAX)) * PAGE
    }
}
