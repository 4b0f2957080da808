//! What is around an encoder's layers, the same on every device: texts to rows, and rows to vectors or
//! scores.

use std::borrow::Cow;
use std::sync::Arc;

use potluck_model::encoder::{
    EncoderEmbedding, EncoderManifest, Family, Norm, Pair, Pooling, ScoreHead,
};
use potluck_model::package::{BlobError, BlobRole, Eps, Gain, ModelConfig, Tables};

use super::score::Head;
use crate::cpu::rows;
use crate::kernels::linear::CpuPath;
use crate::kernels::{embedding, rms_norm};
use crate::threads;

/// A text's vector, or a pair's score: `mantissas * 2^exponent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embedding {
    /// `[d_model]`, of a score `[1]`.
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
    /// It makes scores of pairs, or vectors of texts, and was asked for the other.
    #[error("this encoder {}", if *.scores { "scores pairs; it makes no vectors" } else { "makes vectors; it scores no pairs" })]
    Other {
        /// Whether it scores pairs.
        scores: bool,
    },
}

/// Tokens with those around them, and where a second kind of text begins among them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    pub(crate) tokens: &'a [u32],
    pub(crate) second: usize,
}

/// Tokens of each text.
pub(crate) fn lengths(texts: &[Text<'_>]) -> Vec<usize> {
    texts.iter().map(|text| text.tokens.len()).collect()
}

/// An encoder without its layers.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) manifest: Arc<EncoderManifest>,
    pub(crate) tables: Tables,
    embedding: EncoderEmbedding,
    head: Option<Head>,
}

impl Frame {
    /// For what the processor computes on `path`.
    pub(crate) fn new<'a>(
        path: CpuPath,
        manifest: Arc<EncoderManifest>,
        blob: impl Fn(BlobRole) -> Cow<'a, [u8]>,
    ) -> Result<Self, BlobError> {
        let shape = manifest.tables_shape();
        let tables = Tables::encoder_from_bytes(shape, &blob(BlobRole::Tables))?;
        let embedding = EncoderEmbedding::from_bytes(&manifest, &blob(BlobRole::Embedding))?;
        let head = match manifest.score {
            Some(_) => Some(ScoreHead::from_bytes(&manifest, &blob(BlobRole::Head))?),
            None => None,
        };
        let head = head.map(|head| Head::new(path, head));
        Ok(Self { manifest, tables, embedding, head })
    }

    /// Texts of which vectors are asked for.
    pub(crate) fn texts<'a>(&self, texts: &[&'a [u32]]) -> Result<Vec<Text<'a>>, EncodeError> {
        self.makes(false)?;
        Ok(texts.iter().map(|tokens| Text { tokens, second: tokens.len() }).collect())
    }

    /// Pairs of which scores are.
    pub(crate) fn pairs<'a>(&self, pairs: &'a [Pair]) -> Result<Vec<Text<'a>>, EncodeError> {
        self.makes(true)?;
        let text = |pair: &'a Pair| Text { tokens: &pair.tokens, second: pair.second };
        Ok(pairs.iter().map(text).collect())
    }

    fn makes(&self, scores: bool) -> Result<(), EncodeError> {
        match self.head.is_some() {
            has_head if has_head == scores => Ok(()),
            scores => Err(EncodeError::Other { scores }),
        }
    }

    /// Whether texts can be encoded.
    pub(crate) fn check(&self, texts: &[Text<'_>]) -> Result<(), EncodeError> {
        let ModelConfig { max_positions, vocab, .. } = self.manifest.config;
        for Text { tokens, .. } in texts {
            if !(1..=max_positions as usize).contains(&tokens.len()) {
                return Err(EncodeError::Length { most: max_positions, got: tokens.len() });
            }
            if let Some(got) = tokens.iter().copied().find(|token| *token >= vocab) {
                return Err(EncodeError::Token { vocab, got });
            }
        }
        Ok(())
    }

    /// `[rows, d_model]` of all texts, one after the other.
    pub(crate) fn embed(&self, texts: &[Text<'_>]) -> Vec<i32> {
        let bits = -self.residual_exponent();
        let tokens = texts.iter().map(|text| text.tokens).collect::<Vec<_>>().concat();
        let mut rows = embedding::reference(&self.embedding.words, bits, &tokens);
        if let Some(positions) = &self.embedding.positions {
            let places: Vec<u32> = texts.iter().flat_map(|text| self.places(text)).collect();
            rows::add(&mut rows, &embedding::reference(positions, bits, &places), 0);
        }
        self.normalise(&self.embedding.norm, &mut rows);
        rows
    }

    /// Which row of the embedding each token's word is added to.
    fn places(&self, text: &Text<'_>) -> impl Iterator<Item = u32> {
        let Text { tokens, second } = *text;
        let has_positions = self.manifest.family() == Family::Bert;
        let kinds = self.manifest.score.as_ref().map_or(1, |score| score.kinds);
        let most = self.manifest.config.max_positions;
        (0..).zip(0..tokens.len()).map(move |(position, at)| match has_positions {
            true if kinds > 1 && at >= second => most + position,
            true => position,
            false => 0,
        })
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

    /// The vectors or scores of texts, whose rows lie one after the other.
    pub(crate) fn pool(&self, lengths: &[usize], mut rows: Vec<i32>) -> Vec<Embedding> {
        if let Some(norm) = &self.embedding.last_norm {
            self.normalise(norm, &mut rows);
        }
        let mut rest = &rows[..];
        let pooled = lengths.iter().map(|length| {
            let (own, others) = rest.split_at(length * self.manifest.config.d_model as usize);
            rest = others;
            self.pooled(own)
        });
        pooled.collect()
    }

    /// One vector, or score, of a text's rows.
    fn pooled(&self, rows: &[i32]) -> Embedding {
        let width = self.manifest.config.d_model as usize;
        let pooled = match self.manifest.pooling {
            Pooling::Cls => rows[..width].to_vec(),
            Pooling::Mean => mean(rows, width),
        };
        if let Some(head) = &self.head {
            let (eps, exponent) = (self.manifest.config.eps(), self.residual_exponent());
            return head.score(eps, &self.tables, pooled, exponent);
        }
        if !self.manifest.normalised {
            return Embedding { mantissas: pooled, exponent: self.residual_exponent() };
        }
        // What RMSNorm divides by is the length, once its gain is one instead of the root of the
        // width.
        let gain = Gain { mantissas: vec![1 << 14; width], exponent: -14, bias: None };
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
