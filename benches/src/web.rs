//! What a page calls: one engine of a shape, and how fast it is.

use potluck_engine::engine::BackendChoice;
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
    /// An engine with a whole model of random weights; `gpu` picks WebGPU, a software adapter too, else wasm SIMD.
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
