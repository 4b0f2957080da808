//! In wasm, as in a visitor's worker: `simd128` equals the plain loops, and both give what native
//! machines give, by the pinned known-answer test. It needs no browser feature and no GPU, so it
//! runs under Node as well as in any browser.
#![cfg(target_arch = "wasm32")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::borrow::Cow;
use std::sync::Arc;

use potluck_engine::encoder::Encoder;
use potluck_engine::engine::{BackendChoice, Engine, Input, Output, OutputRequest};
use potluck_engine::kernels::linear::{CpuPath, Matrices, reference};
use potluck_engine::known_answer::{EXPECTED, run};
use potluck_model::encoder::{Family, Pooling, SyntheticEncoder};
use potluck_model::package::{BlobRole, GROUP, Linear};
use potluck_model::synthetic::{self, Random, Synthetic, config};
use wasm_bindgen_test::wasm_bindgen_test;

#[wasm_bindgen_test]
async fn the_known_answer_is_the_pinned_one_on_both_paths() {
    for (choice, kind) in [(BackendChoice::Scalar, "scalar"), (BackendChoice::Cpu, "simd128")] {
        let mut engine = Engine::new(choice).await.unwrap();
        assert_eq!(engine.backend().kind, kind);
        assert_eq!(run(&mut engine).await.unwrap(), EXPECTED, "on {kind}");
    }
}

#[wasm_bindgen_test]
fn matrices_of_odd_shapes_are_equal() {
    let mut random = Random::new(11);
    for (rows, columns, tokens) in
        [(1, 32, 1), (3, 64, 2), (17, 96, 4), (5, 1024, 5), (33, 160, 17), (2, 65_536, 3)]
    {
        let eight = synthetic::linear(&mut random, rows, columns, -30);
        let mut twelve = synthetic::twelve_bits(&mut random, rows, columns.min(16_384), -30);
        twelve.weights[0] = i8::MIN;
        twelve.lower_bits.as_mut().unwrap()[0] = 1;
        for weights in [eight, twelve] {
            let columns = weights.columns;
            let a: Vec<i32> =
                (0..tokens * columns).map(|_| random.within(-16_383, 16_383)).collect();
            let expected: Vec<i32> =
                a.chunks_exact(columns).flat_map(|token| reference(&weights, token)).collect();
            let products = packed(CpuPath::Simd128, vec![weights]).multiply(&a);
            assert_eq!(products, [expected], "{rows}x{columns}, {tokens} tokens");
        }
    }
}

/// Ready for a path.
fn packed(path: CpuPath, matrices: Vec<Linear>) -> Matrices {
    let of =
        if matrices[0].lower_bits.is_some() { Matrices::of_twelve_bits } else { Matrices::new };
    of(path, matrices)
}

/// Five equal tokens of one value.
fn equal_for(weights: Linear, value: i32) {
    let (columns, weight) = (weights.columns, weights.weight(0));
    let a = vec![value; 5 * columns];
    let expected = reference(&weights, &a[..columns]).repeat(5);
    let products = packed(CpuPath::Simd128, vec![weights]).multiply(&a);
    assert_eq!(products, [expected], "{weight} {value} {columns}");
}

#[wasm_bindgen_test]
fn matrices_at_the_ends_of_every_range_are_equal() {
    for columns in [32, 1024, 16_384, 65_536] {
        for (weight, value) in [(127, 16_383), (-127, 16_383), (127, -16_383), (-127, -16_383)] {
            let weights = Linear {
                rows: 2,
                columns,
                weights: vec![weight; 2 * columns],
                lower_bits: None,
                group_scales: vec![255; 2 * columns / GROUP],
                row_multipliers: vec![32_768, 1],
                exponent: 0,
            };
            equal_for(weights.clone(), value);
            // Twelve bits: as far as inputs of such matrices go.
            if columns <= 16_384 {
                let (upper, lower) = if weight > 0 { (127, 15) } else { (-128, 1) };
                let (upper, lower_bits) =
                    (vec![upper; 2 * columns], Some(vec![lower; 2 * columns]));
                equal_for(Linear { weights: upper, lower_bits, ..weights }, value);
            }
        }
    }
}

#[wasm_bindgen_test]
fn encoders_are_equal() {
    let texts: [&[u32]; 3] = [&[1, 2, 3], &[47], &[9; 40]];
    for family in Family::ALL {
        let shape = config(2, 96, 160, (6, 6, 16), 48, 40);
        let model = SyntheticEncoder::of(family, shape, Pooling::Mean, None, 3);
        let vectors = CpuPath::available().into_iter().map(|path| {
            let encoder = Encoder::new(path, Arc::new(model.manifest.clone()), |role| {
                Cow::Borrowed(model.blob(role))
            });
            encoder.unwrap().encode(&texts).unwrap()
        });
        let vectors: Vec<_> = vectors.collect();
        assert_eq!(vectors.len(), 2);
        assert_eq!(vectors[0], vectors[1]);
    }
}

#[wasm_bindgen_test]
async fn layers_are_equal_whatever_rows_come() {
    for seed in 0..8 {
        let model = Synthetic::new(config(3, 96, 160, (6, 2, 16), 48, 40), seed);
        let mut random = Random::new(seed);
        let hidden: Vec<i32> =
            (0..20 * 96).map(|_| random.within(i32::MIN, i32::MAX) >> (seed * 4)).collect();
        let mut outputs = Vec::new();
        for (choice, rows) in
            [(BackendChoice::Scalar, 20), (BackendChoice::Cpu, 20), (BackendChoice::Cpu, 3)]
        {
            let mut engine = Engine::new(choice).await.unwrap();
            engine
                .set_model(Arc::new(model.manifest.clone()), model.blob(BlobRole::Tables))
                .unwrap();
            for (role, bytes) in &model.blobs {
                engine.load(*role, bytes).unwrap();
            }
            engine.open_session(9, 1..3).unwrap();
            let mut output = Output::None;
            for rows in hidden.chunks(rows * 96) {
                let position = engine.session_position(9).unwrap();
                output = engine
                    .forward(9, position, Input::Hidden(rows), OutputRequest::Logits)
                    .await
                    .unwrap();
            }
            outputs.push(output);
        }
        assert!(matches!(outputs[0], Output::Logits(_)));
        assert_eq!(outputs[0], outputs[1], "seed {seed}");
        assert_eq!(outputs[0], outputs[2], "seed {seed}, in chunks");
    }
}
