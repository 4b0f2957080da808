//! Encoders: a text's tokens to one vector, in exact arithmetic (`docs/numerics.md`, "Encoders").
//!
//! Every token sees every other, so a text goes through the layers at once and leaves no cache.
//! Several texts go together: the matrices see one long list of rows, attention sees each text
//! alone, so a vector does not depend on what it was computed beside.

mod frame;

use std::borrow::Cow;
use std::sync::Arc;

use potluck_model::encoder::{Biased, EncoderLayer, EncoderManifest, Norm};
use potluck_model::package::{Bias, BlobError, BlobRole};

use crate::cpu::{Blocks, rows};
use crate::kernels::attention::{self, Scores};
use crate::kernels::linear::{CpuPath, Matrices};
use crate::kernels::rope::Heads;
use crate::kv_cache::LayerCache;
use crate::threads;

pub(crate) use frame::Frame;
pub use frame::{Embedding, EncodeError};

/// A loaded encoder.
#[derive(Debug)]
pub struct Encoder {
    path: CpuPath,
    frame: Frame,
    layers: Vec<Layer>,
}

/// A layer's weights, packed for one path.
#[derive(Debug)]
struct Layer {
    qkv: Matrices,
    o: Matrices,
    up: Matrices,
    down: Matrices,
    /// In the order of the matrices.
    biases: [Bias; 6],
    attention_norm: Norm,
    output_norm: Norm,
}

impl Encoder {
    /// Loads an encoder on a path; `blob` gives the bytes of every part, whose hashes the caller
    /// has checked.
    ///
    /// # Errors
    /// If a blob is not what the manifest's shapes need.
    pub fn new<'a>(
        path: CpuPath,
        manifest: Arc<EncoderManifest>,
        blob: impl Fn(BlobRole) -> Cow<'a, [u8]>,
    ) -> Result<Self, BlobError> {
        let config = &manifest.config;
        let layers = (0..config.layers)
            .map(|index| {
                Ok(Layer::new(
                    path,
                    EncoderLayer::from_bytes(config, index, &blob(BlobRole::Layer(index)))?,
                ))
            })
            .collect::<Result<_, BlobError>>()?;
        Ok(Self { path, layers, frame: Frame::new(manifest, blob)? })
    }

    /// What it is.
    #[must_use]
    pub fn manifest(&self) -> &EncoderManifest {
        &self.frame.manifest
    }

    /// The vectors of texts, each given with the tokens around it.
    ///
    /// # Errors
    /// If a text is empty, too long, or has a token that the model has not.
    pub fn encode(&self, texts: &[&[u32]]) -> Result<Vec<Embedding>, EncodeError> {
        self.frame.check(texts)?;
        Ok(threads::enter(|| {
            let mut rows = self.frame.embed(texts);
            for layer in &self.layers {
                self.forward(layer, texts, &mut rows);
            }
            self.frame.pool(texts, &rows)
        }))
    }

    fn forward(&self, layer: &Layer, texts: &[&[u32]], rows: &mut [i32]) {
        let config = &self.frame.manifest.config;
        let width = config.d_model as usize;
        let a = self.blocks(rows);
        let products = layer.qkv.multiply(&a.mantissas);
        let heads = threads::map(rows.len() / width, 8 * width, |token| {
            let [mut q, k, v] = [0, 1, 2].map(|matrix| {
                let mut row = products[matrix][token * width..][..width].to_vec();
                let exponent = layer.qkv.output_exponent(matrix, a.exponents[token]);
                let exponent = rows::add_bias(&layer.biases[matrix], &mut row, exponent);
                rows::split(&row, exponent, config.head_dim as usize)
            });
            rows::scale_queries(config, &mut q);
            (q, k, v)
        });
        let a = self.attend(texts, &heads);
        self.add(&layer.o, &layer.biases[3], &a, rows);
        self.frame.normalise(&layer.attention_norm, rows);

        let a = self.blocks(rows);
        let d_ff = config.d_ff as usize;
        let products = layer.up.multiply(&a.mantissas);
        let a = Blocks::new(&threads::map(rows.len() / width, 8 * d_ff, |token| {
            let mut row = products[0][token * d_ff..][..d_ff].to_vec();
            let exponent = layer.up.output_exponent(0, a.exponents[token]);
            let exponent = rows::add_bias(&layer.biases[4], &mut row, exponent);
            rows::gelu(&self.frame.tables, &row, exponent)
        }));
        self.add(&layer.down, &layer.biases[5], &a, rows);
        self.frame.normalise(&layer.output_norm, rows);
    }

    /// Rows of the residual stream as blocks.
    fn blocks(&self, rows: &[i32]) -> Blocks {
        let (width, exponent) =
            (self.frame.manifest.config.d_model as usize, self.frame.residual_exponent());
        Blocks::new(&threads::map(rows.len() / width, 2 * width, |token| {
            let mut row = rows[token * width..][..width].to_vec();
            let n = rows::fit(&mut row);
            (row, exponent + n)
        }))
    }

    /// Attention of every token over all of its own text.
    fn attend(&self, texts: &[&[u32]], tokens: &[(Heads, Heads, Heads)]) -> Blocks {
        let config = &self.frame.manifest.config;
        let (heads, head_dim) = (config.heads as usize, config.head_dim as usize);
        let mut caches = Vec::with_capacity(texts.len());
        let mut text_of = Vec::with_capacity(tokens.len());
        for (index, text) in texts.iter().enumerate() {
            let mut cache = LayerCache::default();
            for (_, k, v) in &tokens[text_of.len()..][..text.len()] {
                cache.push(k, v);
            }
            caches.push(cache);
            text_of.extend(std::iter::repeat_n(index, text.len()));
        }
        if self.path == CpuPath::Scalar {
            let attend = |(token, text): (&(Heads, Heads, Heads), &usize)| {
                attention::reference(
                    config,
                    &self.frame.tables,
                    &token.0,
                    &caches[*text],
                    0..texts[*text].len(),
                    Scores::default(),
                )
            };
            return Blocks::new(&tokens.iter().zip(&text_of).map(attend).collect::<Vec<_>>());
        }
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        let parts = threads::map(tokens.len() * heads, 4 * longest * head_dim, |part| {
            let (token, head) = (part / heads, part % heads);
            let text = text_of[token];
            rows::attend_head(
                config,
                &self.frame.tables,
                &tokens[token].0,
                &caches[text],
                (0..texts[text].len(), head),
                Scores::default(),
            )
        });
        Blocks::joined(&parts, heads, head_dim)
    }

    /// `x += rescale(W a + b, exponent + F)` for every token.
    fn add(&self, matrix: &Matrices, bias: &Bias, a: &Blocks, rows: &mut [i32]) {
        let width = self.frame.manifest.config.d_model as usize;
        let mut products = matrix.multiply(&a.mantissas);
        let tokens = rows.chunks_exact_mut(width).zip(products[0].chunks_exact_mut(width));
        for ((x, y), e) in tokens.zip(&a.exponents) {
            let exponent = rows::add_bias(bias, y, matrix.output_exponent(0, *e));
            rows::add(x, y, exponent - self.frame.residual_exponent());
        }
    }
}

impl Layer {
    fn new(path: CpuPath, weights: EncoderLayer) -> Self {
        let EncoderLayer { matrices: [q, k, v, o, up, down], attention_norm, output_norm } =
            weights;
        let parts = |biased: Biased| (biased.weights, biased.bias);
        let [(q, q_bias), (k, k_bias), (v, v_bias)] = [q, k, v].map(parts);
        let [(o, o_bias), (up, up_bias), (down, down_bias)] = [o, up, down].map(parts);
        Self {
            qkv: Matrices::of_twelve_bits(path, vec![q, k, v]),
            o: Matrices::of_twelve_bits(path, vec![o]),
            up: Matrices::of_twelve_bits(path, vec![up]),
            down: Matrices::of_twelve_bits(path, vec![down]),
            biases: [q_bias, k_bias, v_bias, o_bias, up_bias, down_bias],
            attention_norm,
            output_norm,
        }
    }
}
