//! Encoders of odd shapes, and texts for them, whose vectors on a GPU must be those of the plain
//! loops.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::borrow::Cow;
use std::sync::Arc;

use potluck_engine::encoder::{Embedding, Encoder};
use potluck_engine::gpu::{GpuEncoder, GpuEncoderError, Shaders};
use potluck_engine::kernels::linear::CpuPath;
use potluck_model::encoder::{Family, Pair, Pooling, SyntheticEncoder};
use potluck_model::package::{BlobRole, LayerKind, ModelConfig};
use potluck_model::synthetic::{Random, config};

/// An encoder, texts for it in batches, and their vectors.
pub(crate) struct Case {
    pub(crate) model: SyntheticEncoder,
    batches: Vec<(Vec<Vec<u32>>, Vec<Embedding>)>,
}

/// Odd group counts, widths that are no multiple of a workgroup, the narrowest and widest heads,
/// more positions than rows that go at once.
pub(crate) fn odd_encoders() -> Vec<Case> {
    let shapes = [
        config(2, 96, 160, (6, 6, 16), 48, 40),
        config(1, 32, 32, (16, 16, 2), 33, 1),
        config(1, 256, 1056, (1, 1, 256), 40, 20),
        config(1, 384, 768, (12, 12, 32), 64, 530),
    ];
    let cases = (1..).zip(shapes).map(|(seed, shape)| {
        let pooling = if seed % 2 == 0 { Pooling::Cls } else { Pooling::Mean };
        Case::new(SyntheticEncoder::new(shape, pooling, seed))
    });
    cases.chain(other_families()).collect()
}

/// Those whose queries and keys turn, with windows and two rotations, and some of each that score pairs.
fn other_families() -> impl Iterator<Item = Case> {
    let kind = |window, rotation| LayerKind { window, rotation: Some(rotation), experts: false };
    let shape = ModelConfig {
        rotations: 2,
        layer_kinds: vec![kind(None, 0), kind(Some(5), 1), kind(Some(65), 1)],
        ..config(3, 96, 160, (6, 6, 16), 48, 140)
    };
    let wide = config(1, 256, 1056, (1, 1, 256), 40, 20);
    let bert = config(2, 96, 160, (6, 6, 16), 48, 40);
    let models = [
        (Family::Nomic, shape.clone(), None),
        (Family::Modern, shape.clone(), None),
        (Family::Nomic, wide.clone(), None),
        (Family::Modern, wide, None),
        (Family::Bert, bert, Some(2)),
        (Family::Modern, shape, Some(1)),
    ];
    (10..).zip(models).map(|(seed, (family, shape, kinds))| {
        let pooling = if seed % 2 == 0 { Pooling::Cls } else { Pooling::Mean };
        Case::new(SyntheticEncoder::of(family, shape, pooling, kinds, seed))
    })
}

impl Case {
    /// One token alone, texts of all lengths side by side, more than go at once.
    fn new(model: SyntheticEncoder) -> Self {
        let shape = &model.manifest.config;
        let most = shape.max_positions as usize;
        let mut random = Random::new(9);
        let mut text = |length: usize| -> Vec<u32> {
            (0..length.clamp(1, most))
                .map(|_| random.within(0, shape.vocab.cast_signed() - 1).unsigned_abs())
                .collect()
        };
        let batches = [
            vec![text(1)],
            vec![text(5), text(1), text(2)],
            (1..=17).map(&mut text).collect(),
            vec![text(65), text(3), text(most), text(64)],
        ];
        let scalar =
            Encoder::new(CpuPath::Scalar, Arc::new(model.manifest.clone()), blob(&model)).unwrap();
        let batches = batches.map(|batch| {
            let vectors = match model.manifest.score {
                Some(_) => scalar.score(&pairs(&batch)).unwrap(),
                None => scalar.encode(&slices(&batch)).unwrap(),
            };
            (batch, vectors)
        });
        Self { batches: batches.into(), model }
    }

    /// With kernels compiled like this, or as a start-up chooses.
    pub(crate) async fn on_gpu(
        &self,
        shaders: Option<Shaders>,
    ) -> Result<GpuEncoder, GpuEncoderError> {
        let manifest = Arc::new(self.model.manifest.clone());
        match shaders {
            Some(shaders) => GpuEncoder::with_shaders(shaders, manifest, blob(&self.model)).await,
            None => GpuEncoder::new(true, manifest, blob(&self.model)).await,
        }
    }

    /// Compares the vectors of all batches.
    pub(crate) async fn vectors_equal(&self, shaders: Option<Shaders>) {
        let mut gpu = self.on_gpu(shaders).await.unwrap();
        for (batch, expected) in &self.batches {
            let got = match self.model.manifest.score {
                Some(_) => gpu.score(&pairs(batch)).await.unwrap(),
                None => gpu.encode(&slices(batch)).await.unwrap(),
            };
            assert!(
                got == *expected,
                "{} texts of {}, {:?}, differ with {shaders:?}",
                batch.len(),
                self.model.manifest.architecture,
                self.model.manifest.config
            );
        }
    }
}

fn pairs(texts: &[Vec<u32>]) -> Vec<Pair> {
    texts.iter().map(|text| Pair { tokens: text.clone(), second: text.len() / 3 }).collect()
}

fn slices(texts: &[Vec<u32>]) -> Vec<&[u32]> {
    texts.iter().map(Vec::as_slice).collect()
}

fn blob<'a>(model: &'a SyntheticEncoder) -> impl Fn(BlobRole) -> Cow<'a, [u8]> {
    |role| Cow::Borrowed(model.blob(role))
}
