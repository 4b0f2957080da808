//! Encoders of random numbers: every path of this processor gives the specification's vectors, bit
//! for bit, whatever a text is computed beside; their blobs read back, and what is out of range is
//! refused.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::borrow::Cow;
use std::sync::Arc;

use potluck_engine::encoder::{Embedding, EncodeError, Encoder};
use potluck_engine::kernels::linear::CpuPath;
use potluck_model::encoder::{
    EncoderEmbedding, EncoderLayer, EncoderManifest, Family, Pair, Pooling, ScoreHead,
    SyntheticEncoder,
};
use potluck_model::package::{BlobError, BlobRole, LayerKind, ModelConfig};
use potluck_model::synthetic::{Random, config};
use proptest::prelude::*;

fn model(seed: u64) -> SyntheticEncoder {
    let pooling = if seed.is_multiple_of(2) { Pooling::Mean } else { Pooling::Cls };
    SyntheticEncoder::new(config(2, 96, 160, (6, 6, 16), 48, 40), pooling, seed)
}

/// One of each family: with two rotations and windows of several widths where its layers turn.
fn families(kinds: Option<u32>, seed: u64) -> Vec<SyntheticEncoder> {
    let shape = config(3, 96, 160, (6, 6, 16), 48, 40);
    let kind = |window, rotation| LayerKind { window, rotation: Some(rotation), experts: false };
    let turning = ModelConfig {
        rotations: 2,
        layer_kinds: vec![kind(None, 0), kind(Some(3), 1), kind(Some(1), 1)],
        ..shape.clone()
    };
    let pooling = if seed.is_multiple_of(2) { Pooling::Mean } else { Pooling::Cls };
    let families = Family::ALL.into_iter().filter(|it| kinds.is_none() || *it != Family::Nomic);
    let of = |family: Family| {
        let shape = if family.turns() { turning.clone() } else { shape.clone() };
        let kinds = kinds.filter(|_| family == Family::Bert).or(kinds.map(|_| 1));
        SyntheticEncoder::of(family, shape, pooling, kinds, seed)
    };
    families.map(of).collect()
}

fn encoder(model: &SyntheticEncoder, path: CpuPath) -> Encoder {
    Encoder::new(path, Arc::new(model.manifest.clone()), |role| Cow::Borrowed(model.blob(role)))
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn vectors_are_equal_on_every_path_and_in_any_company(
        seed in any::<u64>(), lengths in proptest::collection::vec(1_usize..=40, 1..5)
    ) {
        let mut random = Random::new(seed);
        let texts: Vec<Vec<u32>> = lengths
            .iter()
            .map(|length| (0..*length).map(|_| random.within(0, 47).unsigned_abs()).collect())
            .collect();
        let pairs: Vec<Pair> =
            texts.iter().map(|text| Pair { tokens: text.clone(), second: text.len() / 3 }).collect();
        let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        for model in families(None, seed) {
            let scalar = encoder(&model, CpuPath::Scalar);
            let alone: Vec<Embedding> =
                texts.iter().flat_map(|text| scalar.encode(&[*text]).unwrap()).collect();
            for path in CpuPath::available() {
                let got = encoder(&model, path).encode(&texts).unwrap();
                prop_assert_eq!(&got, &alone, "{:?}, {}", path, model.manifest.architecture);
            }
        }
        for model in families(Some(2), seed) {
            let scalar = encoder(&model, CpuPath::Scalar);
            let alone: Vec<Embedding> = pairs
                .iter()
                .flat_map(|pair| scalar.score(std::slice::from_ref(pair)).unwrap())
                .collect();
            prop_assert!(alone.iter().all(|score| score.mantissas.len() == 1));
            for path in CpuPath::available() {
                let got = encoder(&model, path).score(&pairs).unwrap();
                prop_assert_eq!(&got, &alone, "{:?}, {}", path, model.manifest.architecture);
            }
        }
    }
}

/// Every part of an encoder counts: a vector is another one where the order of tokens is, or what is
/// out of sight of a window, and a score where a text begins.
#[test]
fn positions_windows_and_kinds_count() {
    let text: Vec<u32> = (0..20).collect();
    let mut turned = text.clone();
    turned.swap(4, 12);
    for model in families(None, 3) {
        let encoder = encoder(&model, CpuPath::detect());
        let vectors = encoder.encode(&[&text, &turned]).unwrap();
        assert_ne!(vectors[0], vectors[1], "{}", model.manifest.architecture);
    }
    // All windows narrow: the first row hears nothing of the last token.
    for (family, rotations) in [(Family::Nomic, 1), (Family::Modern, 1)] {
        let narrow = LayerKind { window: Some(2), ..LayerKind::PLAIN };
        for (window, same) in [(narrow, true), (LayerKind::PLAIN, false)] {
            let shape = ModelConfig {
                layer_kinds: vec![window; 3],
                rotations,
                ..config(3, 96, 160, (6, 6, 16), 48, 40)
            };
            let model = SyntheticEncoder::of(family, shape, Pooling::Cls, None, 5);
            let encoder = encoder(&model, CpuPath::detect());
            let mut other = text.clone();
            other[4] = 47;
            let vectors = encoder.encode(&[&text, &other]).unwrap();
            assert_eq!(vectors[0] == vectors[1], same, "{}", family.name());
        }
    }
    for (kinds, same) in [(1, true), (2, false)] {
        let model = &families(Some(kinds), 3)[0];
        let pairs = [5, 9].map(|second| Pair { tokens: text.clone(), second });
        let scores = encoder(model, CpuPath::detect()).score(&pairs).unwrap();
        assert_eq!(scores[0] == scores[1], same, "{kinds} kinds");
    }
}

#[test]
fn who_scores_makes_no_vectors_and_the_other_way_round() {
    let vectors = encoder(&model(1), CpuPath::detect());
    let pair = Pair { tokens: vec![1, 2], second: 1 };
    assert_eq!(vectors.score(&[pair]), Err(EncodeError::Other { scores: false }));
    let scores = encoder(&families(Some(2), 1)[0], CpuPath::detect());
    assert_eq!(scores.encode(&[&[1]]), Err(EncodeError::Other { scores: true }));
    let pair = Pair { tokens: vec![1; 41], second: 1 };
    assert_eq!(scores.score(&[pair]), Err(EncodeError::Length { most: 40, got: 41 }));
}

#[test]
fn every_family_s_blobs_read_back() {
    for model in [families(None, 4), families(Some(2), 4)].concat() {
        let bytes = model.manifest.to_bytes().unwrap();
        let manifest = EncoderManifest::from_bytes(&bytes).unwrap();
        assert_eq!(manifest, model.manifest);
        for (role, bytes) in &model.blobs {
            let again = match role {
                BlobRole::Embedding => {
                    EncoderEmbedding::from_bytes(&manifest, bytes).unwrap().to_bytes()
                }
                BlobRole::Layer(index) => {
                    EncoderLayer::from_bytes(&manifest, *index, bytes).unwrap().to_bytes()
                }
                BlobRole::Head => ScoreHead::from_bytes(&manifest, bytes).unwrap().to_bytes(),
                _ => continue,
            };
            assert_eq!(again, *bytes, "{role} of {}", manifest.architecture);
        }
    }
    // Of what was imported before there were other families nothing changes.
    let bytes = model(1).manifest.to_bytes().unwrap();
    assert!(!String::from_utf8(bytes).unwrap().contains("score"));
    let mut other = families(None, 4).remove(1).manifest;
    other.config.layer_kinds = Vec::new();
    let refused = EncoderManifest::from_bytes(&other.to_bytes().unwrap()).unwrap_err();
    assert!(refused.to_string().contains("turns"), "{refused}");
    other.architecture = "owl".to_owned();
    let refused = EncoderManifest::from_bytes(&other.to_bytes().unwrap()).unwrap_err();
    assert!(refused.to_string().contains("\"owl\""), "{refused}");
}

#[test]
fn texts_that_cannot_be_are_refused() {
    let model = model(1);
    let encoder = encoder(&model, CpuPath::detect());
    assert!(encoder.encode(&[]).unwrap().is_empty());
    assert_eq!(encoder.encode(&[&[1], &[]]), Err(EncodeError::Length { most: 40, got: 0 }));
    assert_eq!(encoder.encode(&[&[1; 41]]), Err(EncodeError::Length { most: 40, got: 41 }));
    assert_eq!(encoder.encode(&[&[1, 48]]), Err(EncodeError::Token { vocab: 48, got: 48 }));
}

#[test]
fn blobs_read_back_and_spoilt_ones_are_refused() {
    let model = model(2);
    let manifest = EncoderManifest::from_bytes(&model.manifest.to_bytes().unwrap()).unwrap();
    assert_eq!(manifest, model.manifest);
    for bits in [4, 8, 16] {
        let mut other = manifest.clone();
        other.config.weight_bits = bits;
        let refused = EncoderManifest::from_bytes(&other.to_bytes().unwrap()).unwrap_err();
        assert!(refused.to_string().contains("12-bit"), "{refused}");
    }
    let config = &manifest;
    let embedding = model.blob(BlobRole::Embedding);
    assert_eq!(EncoderEmbedding::from_bytes(config, embedding).unwrap().to_bytes(), embedding);
    let bytes = model.blob(BlobRole::Layer(1));
    let layer = EncoderLayer::from_bytes(config, 1, bytes).unwrap();
    assert_eq!(layer.to_bytes(), bytes);
    assert!(layer.matrices.iter().all(|matrix| matrix.weights.extra_bits() == 4));
    assert!(matches!(
        EncoderLayer::from_bytes(config, 1, &bytes[1..]),
        Err(BlobError::Length { .. })
    ));

    // Twelve bits: the least that eight bits with four below them can say is one too little.
    let mut spoilt = layer.clone();
    let value = &mut spoilt.matrices[2].weights;
    value.weights[33] = i8::MIN;
    value.lower_bits.as_mut().unwrap()[33] = 0;
    assert!(matches!(
        EncoderLayer::from_bytes(config, 1, &spoilt.to_bytes()),
        Err(BlobError::Value { .. })
    ));
    let value = &mut spoilt.matrices[2].weights;
    value.lower_bits.as_mut().unwrap()[33] = 1;
    assert_eq!(value.weight(33), -2047);
    assert_eq!(EncoderLayer::from_bytes(config, 1, &spoilt.to_bytes()).unwrap(), spoilt);

    // And eight bits, of the embedding, without any below them.
    let mut spoilt = EncoderEmbedding::from_bytes(config, embedding).unwrap();
    spoilt.words.weights[0] = i8::MIN;
    assert!(matches!(
        EncoderEmbedding::from_bytes(config, &spoilt.to_bytes()),
        Err(BlobError::Value { .. })
    ));
}
