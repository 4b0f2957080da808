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
    EncoderEmbedding, EncoderLayer, EncoderManifest, Pooling, SyntheticEncoder,
};
use potluck_model::package::{BlobError, BlobRole};
use potluck_model::synthetic::{Random, config};
use proptest::prelude::*;

fn model(seed: u64) -> SyntheticEncoder {
    let pooling = if seed.is_multiple_of(2) { Pooling::Mean } else { Pooling::Cls };
    SyntheticEncoder::new(config(2, 96, 160, (6, 6, 16), 48, 40), pooling, seed)
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
        let model = model(seed);
        let mut random = Random::new(seed);
        let texts: Vec<Vec<u32>> = lengths
            .iter()
            .map(|length| (0..*length).map(|_| random.within(0, 47).unsigned_abs()).collect())
            .collect();
        let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let scalar = encoder(&model, CpuPath::Scalar);
        let alone: Vec<Embedding> = texts.iter().flat_map(|text| scalar.encode(&[*text]).unwrap()).collect();
        for path in CpuPath::available() {
            prop_assert_eq!(&encoder(&model, path).encode(&texts).unwrap(), &alone, "{:?}", path);
        }
    }
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
    let config = &manifest.config;
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
