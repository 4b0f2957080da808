//! What is around an encoder's layers, the same on every device: texts to rows, and rows to
//! vectors.

use std::borrow::Cow;
use std::sync::Arc;

use potluck_model::encoder::{EncoderEmbedding, EncoderManifest, Norm, Pooling};
use potluck_model::package::{BlobError, BlobRole, Eps, Gain, ModelConfig, Tables};

use crate::cpu::rows;
use crate::kernels::{embedding, rms_norm};
use crate::threads;

/// A text's vector: `mantissas * 2^exponent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embedding {
    /// `[d_model]`.
    pub mantissas: Vec<i32>,
    /// One power of two for all.
    pub exponent: i32,
}

/// A text cannot be turned into a vector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// No token, or more than there are positions.
    #[error("a text of {got} tokens; 1 to {most} are encoded")]
    Length {
        /// Positions.
        most: u32,
        /// Its tokens.
        got: usize,
    },
    /// Not a token of the model.
    #[error("token {got} of a vocabulary of {vocab}")]
    Token {
        /// Its size.
        vocab: u32,
        /// The token.
        got: u32,
    },
}

/// An encoder without its layers.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) manifest: Arc<EncoderManifest>,
    pub(crate) tables: Tables,
    embedding: EncoderEmbedding,
}

impl Frame {
    pub(crate) fn new<'a>(
        manifest: Arc<EncoderManifest>,
        blob: impl Fn(BlobRole) -> Cow<'a, [u8]>,
    ) -> Result<Self, BlobError> {
        let tables = Tables::encoder_from_bytes(&blob(BlobRole::Tables))?;
        let embedding = EncoderEmbedding::from_bytes(&manifest.config, &blob(BlobRole::Embedding))?;
        Ok(Self { manifest, tables, embedding })
    }

    /// Whether texts can be encoded.
    pub(crate) fn check(&self, texts: &[&[u32]]) -> Result<(), EncodeError> {
        let ModelConfig { max_positions, vocab, .. } = self.manifest.config;
        for text in texts {
            if !(1..=max_positions as usize).contains(&text.len()) {
                return Err(EncodeError::Length { most: max_positions, got: text.len() });
            }
            if let Some(got) = text.iter().copied().find(|token| *token >= vocab) {
                return Err(EncodeError::Token { vocab, got });
            }
        }
        Ok(())
    }

    /// `[rows, d_model]` of all texts, one after the other.
    pub(crate) fn embed(&self, texts: &[&[u32]]) -> Vec<i32> {
        let bits = -self.residual_exponent();
        let mut rows = embedding::reference(&self.embedding.words, bits, &texts.concat());
        let places: Vec<u32> = texts.iter().flat_map(|text| (0..).take(text.len())).collect();
        let positions = embedding::reference(&self.embedding.positions, bits, &places);
        rows::add(&mut rows, &positions, 0);
        self.normalise(&self.embedding.norm, &mut rows);
        rows
    }

    pub(super) fn residual_exponent(&self) -> i32 {
        -self.manifest.config.residual_fraction_bits.cast_signed()
    }

    pub(super) fn normalise(&self, norm: &Norm, rows: &mut [i32]) {
        let config = &self.manifest.config;
        let (width, exponent) = (config.d_model as usize, self.residual_exponent());
        threads::for_each_chunk(rows, width, 8 * width, |_, row| {
            rows::layer_norm(config.eps(), &self.tables, (&norm.gain, &norm.bias), row, exponent);
        });
    }

    /// The vectors of texts, whose rows lie one after the other.
    pub(crate) fn pool(&self, texts: &[&[u32]], rows: &[i32]) -> Vec<Embedding> {
        let mut rest = rows;
        let pooled = texts.iter().map(|text| {
            let (own, others) = rest.split_at(text.len() * self.manifest.config.d_model as usize);
            rest = others;
            self.pooled(own)
        });
        pooled.collect()
    }

    /// One vector of a text's rows.
    fn pooled(&self, rows: &[i32]) -> Embedding {
        let width = self.manifest.config.d_model as usize;
        let pooled = match self.manifest.pooling {
            Pooling::Cls => rows[..width].to_vec(),
            Pooling::Mean => mean(rows, width),
        };
        if !self.manifest.normalised {
            return Embedding { mantissas: pooled, exponent: self.residual_exponent() };
        }
        // What RMSNorm divides by is the length, once its gain is one instead of the root of the
        // width.
        let gain = Gain { mantissas: vec![1 << 14; width], exponent: -14 };
        let nothing = Eps { mantissa: 1 << 23, exponent: -100 };
        let (mantissas, exponent) =
            rms_norm::wide(nothing, &self.tables, &gain, &pooled, self.residual_exponent());
        Embedding { mantissas, exponent }
    }
}

/// The mean of rows, rounded half up. In 64 bits: pooling happens once a text, on the processor.
fn mean(rows: &[i32], width: usize) -> Vec<i32> {
    let count = i64::try_from(rows.len() / width).unwrap_or(i64::MAX);
    let sum =
        |at: usize| rows[at..].iter().step_by(width).map(|value| i64::from(*value)).sum::<i64>();
    let mean = |at: usize| (sum(at) + count / 2).div_euclid(count);
    (0..width).map(|at| i32::try_from(mean(at)).unwrap_or_default()).collect()
}

impl Embedding {
    /// As numbers.
    #[must_use]
    pub fn to_f64(&self) -> Vec<f64> {
        let scale = f64::from(self.exponent).exp2();
        self.mantissas.iter().map(|value| f64::from(*value) * scale).collect()
    }
}
