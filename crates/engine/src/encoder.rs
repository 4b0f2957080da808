//! Encoders: a text's tokens to one vector, or a question's and a text's to a score, in exact
//! arithmetic (`docs/numerics.md`, "Encoders").
//!
//! Every token sees every other of its text, or those within a window on both sides, so a text goes
//! through the layers at once and leaves no cache. Several texts go together: the matrices see one
//! long list of rows, attention sees each text alone, so a vector does not depend on what it was
//! computed beside.

mod frame;
mod score;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use potluck_model::encoder::{Biased, EncoderLayer, EncoderManifest, Norm, Pair};
use potluck_model::package::{Bias, BlobError, BlobRole, LayerKind};

use crate::cpu::{Blocks, rows};
use crate::kernels::attention::{self, Scores};
use crate::kernels::linear::{CpuPath, Matrices};
use crate::kernels::rope::Heads;
use crate::kv_cache::LayerCache;
use crate::threads;

pub use frame::{Embedding, EncodeError};
pub(crate) use frame::{Frame, Text, lengths};

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
    kind: LayerKind,
    qkv: Matrices,
    o: Matrices,
    /// Up; where the MLP is gated gate and up.
    up: Matrices,
    down: Matrices,
    /// Of q, k, v, o, up, down.
    biases: [Bias; 6],
    is_gated: bool,
    attention_norm: Option<Norm>,
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
        let layers = (0..manifest.config.layers)
            .map(|index| {
                let bytes = blob(BlobRole::Layer(index));
                let weights = EncoderLayer::from_bytes(&manifest, index, &bytes)?;
                Ok(Layer::new(path, manifest.config.layer_kind(index), weights))
            })
            .collect::<Result<_, BlobError>>()?;
        Ok(Self { path, layers, frame: Frame::new(path, manifest, blob)? })
    }

    /// What it is.
    #[must_use]
    pub fn manifest(&self) -> &EncoderManifest {
        &self.frame.manifest
    }

    /// The vectors of texts, each given with the tokens around it.
    ///
    /// # Errors
    /// If a text is empty, too long, or has a token that the model has not, or the model scores pairs.
    pub fn encode(&self, texts: &[&[u32]]) -> Result<Vec<Embedding>, EncodeError> {
        self.run(&self.frame.texts(texts)?)
    }

    /// The scores of pairs, each a vector of one number.
    ///
    /// # Errors
    /// If a pair is empty, too long, or has a token that the model has not, or the model makes vectors.
    pub fn score(&self, pairs: &[Pair]) -> Result<Vec<Embedding>, EncodeError> {
        self.run(&self.frame.pairs(pairs)?)
    }

    fn run(&self, texts: &[Text<'_>]) -> Result<Vec<Embedding>, EncodeError> {
        self.frame.check(texts)?;
        Ok(threads::enter(|| {
            let mut rows = self.frame.embed(texts);
            let lengths = lengths(texts);
            for layer in &self.layers {
                self.forward(layer, &lengths, &mut rows);
            }
            self.frame.pool(&lengths, rows)
        }))
    }

    /// Takes rows through a layer; of texts so long each, one after the other.
    fn forward(&self, layer: &Layer, lengths: &[usize], rows: &mut [i32]) {
        let config = &self.frame.manifest.config;
        let (width, head_dim) = (config.d_model as usize, config.head_dim as usize);
        let norms_before = self.frame.manifest.family().norms_before();
        let turns = self.frame.manifest.family().turns();
        let rotation = layer.kind.rotation.filter(|_| turns);
        let rotation = rotation.and_then(|index| self.frame.tables.rotations.get(index as usize));
        let positions: Vec<u32> = lengths.iter().flat_map(|length| (0..).take(*length)).collect();

        let before = layer.attention_norm.as_ref().filter(|_| norms_before);
        let a = self.blocks(before, rows);
        let products = layer.qkv.multiply(&a.mantissas);
        let heads = threads::map(rows.len() / width, 8 * width, |token| {
            let [mut q, mut k, v] = [0, 1, 2].map(|matrix| {
                let mut row = products[matrix][token * width..][..width].to_vec();
                let exponent = layer.qkv.output_exponent(matrix, a.exponents[token]);
                let exponent = rows::add_bias(&layer.biases[matrix], &mut row, exponent);
                rows::split(&row, exponent, head_dim)
            });
            if let Some(rotation) = rotation {
                rows::rotate(rotation, positions[token], head_dim, &mut q);
                rows::rotate(rotation, positions[token], head_dim, &mut k);
            }
            rows::scale_queries(config, &mut q);
            (q, k, v)
        });
        let a = self.attend(layer.kind.window, lengths, &heads);
        self.add(&layer.o, &layer.biases[3], &a, rows);
        if let Some(norm) = layer.attention_norm.as_ref().filter(|_| !norms_before) {
            self.frame.normalise(norm, rows);
        }

        let a = self.blocks(Some(&layer.output_norm).filter(|_| norms_before), rows);
        let a = self.activated(layer, &a);
        self.add(&layer.down, &layer.biases[5], &a, rows);
        if !norms_before {
            self.frame.normalise(&layer.output_norm, rows);
        }
    }

    /// What the down projection reads.
    fn activated(&self, layer: &Layer, a: &Blocks) -> Blocks {
        let (d_ff, tables) = (self.frame.manifest.config.d_ff as usize, &self.frame.tables);
        let products = layer.up.multiply(&a.mantissas);
        Blocks::new(&threads::map(a.exponents.len(), 8 * d_ff, |token| {
            let row = |matrix: usize| {
                let row: &[i32] = &products[matrix][token * d_ff..][..d_ff];
                (row, layer.up.output_exponent(matrix, a.exponents[token]))
            };
            if layer.is_gated {
                return rows::gated(tables, row(0), row(1));
            }
            let (row, exponent) = row(0);
            let mut row = row.to_vec();
            let exponent = rows::add_bias(&layer.biases[4], &mut row, exponent);
            rows::gelu(tables, &row, exponent)
        }))
    }

    /// Rows of the residual stream as blocks, normalised where a norm is before.
    fn blocks(&self, norm: Option<&Norm>, rows: &[i32]) -> Blocks {
        let config = &self.frame.manifest.config;
        let (width, exponent) = (config.d_model as usize, self.frame.residual_exponent());
        Blocks::new(&threads::map(rows.len() / width, 2 * width, |token| {
            let row = &rows[token * width..][..width];
            if let Some(Norm { gain, bias }) = norm {
                let (eps, tables) = (config.eps(), &self.frame.tables);
                return rows::layer_norm_block(eps, tables, (gain, bias), row, exponent);
            }
            let mut row = row.to_vec();
            let n = rows::fit(&mut row);
            (row, exponent + n)
        }))
    }

    /// Attention of every token over its own text, or those within a window of it.
    fn attend(
        &self,
        window: Option<u32>,
        lengths: &[usize],
        tokens: &[(Heads, Heads, Heads)],
    ) -> Blocks {
        let config = &self.frame.manifest.config;
        let (heads, head_dim) = (config.heads as usize, config.head_dim as usize);
        let mut caches = Vec::with_capacity(lengths.len());
        let mut places = Vec::with_capacity(tokens.len());
        for (index, length) in lengths.iter().enumerate() {
            let mut cache = LayerCache::default();
            for (_, k, v) in &tokens[places.len()..][..*length] {
                cache.push(k, v);
            }
            caches.push(cache);
            places.extend((0..*length).map(|place| (index, seen(window, place, *length))));
        }
        if self.path == CpuPath::Scalar {
            let attend = |((queries, ..), (text, seen)): (
                &(Heads, Heads, Heads),
                &(usize, Range<usize>),
            )| {
                attention::reference(
                    config,
                    &self.frame.tables,
                    queries,
                    &caches[*text],
                    seen.clone(),
                    Scores::default(),
                )
            };
            return Blocks::new(&tokens.iter().zip(&places).map(attend).collect::<Vec<_>>());
        }
        let longest = places.iter().map(|(_, seen)| seen.len()).max().unwrap_or(0);
        let parts = threads::map(tokens.len() * heads, 4 * longest * head_dim, |part| {
            let (token, head) = (part / heads, part % heads);
            let (text, seen) = &places[token];
            rows::attend_head(
                config,
                &self.frame.tables,
                &tokens[token].0,
                &caches[*text],
                (seen.clone(), head),
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

/// What a token at a place of a text of so many sees: all, or a window's positions on both sides, its
/// own counted with each.
pub(crate) fn seen(window: Option<u32>, place: usize, length: usize) -> Range<usize> {
    let Some(window) = window else { return 0..length };
    let window = window as usize;
    (place + 1).saturating_sub(window)..length.min(place.saturating_add(window))
}

impl Layer {
    fn new(path: CpuPath, kind: LayerKind, weights: EncoderLayer) -> Self {
        let EncoderLayer { matrices, gate, attention_norm, output_norm } = weights;
        let [q, k, v, o, up, down] = matrices;
        let parts = |biased: Biased| (biased.weights, biased.bias);
        let [(q, q_bias), (k, k_bias), (v, v_bias)] = [q, k, v].map(parts);
        let [(o, o_bias), (up, up_bias), (down, down_bias)] = [o, up, down].map(parts);
        let is_gated = gate.is_some();
        // A family whose MLP is gated has no biases.
        let up = gate.into_iter().map(|gate| gate.weights).chain([up]).collect();
        Self {
            kind,
            qkv: Matrices::of_twelve_bits(path, vec![q, k, v]),
            o: Matrices::of_twelve_bits(path, vec![o]),
            up: Matrices::of_twelve_bits(path, up),
            down: Matrices::of_twelve_bits(path, vec![down]),
            biases: [q_bias, k_bias, v_bias, o_bias, up_bias, down_bias],
            is_gated,
            attention_norm,
            output_norm,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_reaches_as_far_on_both_sides() {
        assert_eq!(seen(None, 3, 9), 0..9);
        assert_eq!(seen(Some(1), 3, 9), 3..4);
        assert_eq!(seen(Some(3), 0, 9), 0..3);
        assert_eq!(seen(Some(3), 4, 9), 2..7);
        assert_eq!(seen(Some(3), 8, 9), 6..9);
        assert_eq!(seen(Some(u32::MAX), 8, 9), 0..9);
    }
}
