//! Every path of this processor equals the specification's plain loops, bit for bit: matrices of
//! odd shapes and extreme values, and whole layers fed with rows that no real model has, as anyone
//! may send them.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;

use futures::executor::block_on;
use potluck_engine::engine::{BackendChoice, Engine, Input, Output, OutputRequest};
use potluck_engine::kernels::linear::{CpuPath, Matrices, reference};
use potluck_model::package::{
    Experts, GROUP, LIMIT_BITS, LayerKind, Linear, ModelConfig, NormKind, NormPlaces, SoftCap,
};
use potluck_model::synthetic::{Random, Synthetic, config};
use proptest::prelude::*;

/// A matrix whose values are spread over their whole ranges, or lie at their ends.
fn matrix(
    (rows, columns, twelve_bits): (usize, usize, bool),
    extreme: bool,
    random: &mut Random,
) -> Linear {
    let mut pick = |low: i32, high: i32| match random.within(0, 3) {
        0 if extreme => low,
        1 | 2 if extreme => high,
        _ => random.within(low, high),
    };
    Linear {
        rows,
        columns,
        weights: (0..rows * columns).map(|_| i8::try_from(pick(-127, 127)).unwrap()).collect(),
        lower_bits: twelve_bits
            .then(|| (0..rows * columns).map(|_| u8::try_from(pick(0, 15)).unwrap()).collect()),
        group_scales: (0..rows * columns / GROUP)
            .map(|_| u8::try_from(pick(1, 255)).unwrap())
            .collect(),
        row_multipliers: (0..rows).map(|_| u16::try_from(pick(1, 32_768)).unwrap()).collect(),
        exponent: -20,
    }
}

fn check(
    (rows, columns, twelve_bits): (usize, usize, bool),
    tokens: usize,
    extreme: bool,
    seed: u64,
) {
    let mut random = Random::new(seed);
    let weights = matrix((rows, columns, twelve_bits), extreme, &mut random);
    let a: Vec<i32> = (0..tokens * columns)
        .map(|_| match random.within(0, 3) {
            0 if extreme => -16_383,
            1 | 2 if extreme => 16_383,
            _ => random.within(-16_383, 16_383),
        })
        .collect();
    let expected: Vec<i32> =
        a.chunks_exact(columns).flat_map(|token| reference(&weights, token)).collect();
    // Beside another, as query, key and value are: a matrix of one row less.
    let mut other = weights.clone();
    other.rows -= 1;
    other.weights.truncate(other.rows * columns);
    other.lower_bits.iter_mut().for_each(|lower| lower.truncate(other.rows * columns));
    other.group_scales.truncate(other.rows * columns / GROUP);
    other.row_multipliers.truncate(other.rows);
    let expected_other: Vec<i32> =
        a.chunks_exact(columns).flat_map(|token| reference(&other, token)).collect();
    for path in CpuPath::available() {
        let products = packed(path, vec![other.clone(), weights.clone()]).multiply(&a);
        assert_eq!(
            products,
            [expected_other.clone(), expected.clone()],
            "{rows}x{columns}, {tokens} tokens, {path:?}"
        );
    }
}

/// Ready for a path.
fn packed(path: CpuPath, matrices: Vec<Linear>) -> Matrices {
    let of =
        if matrices[0].lower_bits.is_some() { Matrices::of_twelve_bits } else { Matrices::new };
    of(path, matrices)
}

/// Five equal tokens of one value.
fn equal_for(weights: &Linear, value: i32) {
    let a = vec![value; 5 * weights.columns];
    let expected = reference(weights, &a[..weights.columns]);
    for path in CpuPath::available() {
        let products = packed(path, vec![weights.clone()]).multiply(&a);
        assert_eq!(
            products,
            [expected.repeat(5)],
            "{} {value} {} {path:?}",
            weights.weight(0),
            weights.columns
        );
    }
}

#[test]
fn matrices_at_the_ends_of_every_range_are_equal() {
    // All of one sign: the largest sums that there are, past 32 bits in the widest.
    for columns in [32, 64, 1024, 16_384, 65_536] {
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
            equal_for(&weights, value);
            // Twelve bits: as far as inputs of such matrices go.
            if columns <= 16_384 {
                let (upper, lower) = if weight > 0 { (127, 15) } else { (-128, 1) };
                let (upper, lower_bits) =
                    (vec![upper; 2 * columns], Some(vec![lower; 2 * columns]));
                equal_for(&Linear { weights: upper, lower_bits, ..weights }, value);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn matrices_of_any_shape_are_equal(
        rows in 1_usize..40, groups in 1_usize..=32, tokens in 1_usize..=17, extreme in any::<bool>(), seed in any::<u64>()
    ) {
        check((rows, groups * GROUP, seed % 2 == 0), tokens, extreme, seed);
    }

    #[test]
    fn layers_are_equal_whatever_rows_come(
        seed in any::<u64>(), rows in 1_usize..=20, bits in 0_u32..32, of_today in any::<bool>()
    ) {
        let mut shape = config(3, 96, 160, (6, 2, 16), 48, 40);
        shape.qkv_bias = seed & 2 == 0;
        shape.qk_norm = (seed & 4 == 0).then(|| shape.eps());
        if of_today {
            add_todays_parts(&mut shape, seed);
        }
        shape.weight_bits = if seed % 2 == 0 { 8 } else { 4 };
        let model = Synthetic::new(shape.clone(), seed);
        let mut random = Random::new(seed);
        let hidden: Vec<i32> = (0..rows * 96)
            .map(|_| match random.within(0, 30) {
                0 => i32::MIN,
                1 => i32::MAX,
                2 => 0,
                _ => random.within(i32::MIN, i32::MAX) >> bits,
            })
            .collect();
        let [scalar, simd, chunked] =
            [(BackendChoice::Scalar, 64), (BackendChoice::Cpu, 64), (BackendChoice::Cpu, 3)].map(|(choice, chunk)| {
                run(&model, &shape, choice, &hidden, chunk)
            });
        prop_assert_eq!(&scalar, &simd);
        prop_assert_eq!(&scalar, &chunked);
    }
}

/// What models have besides: any of it, by the bits of `choice`.
fn add_todays_parts(shape: &mut ModelConfig, choice: u64) {
    let has = |bit: u32| choice >> bit & 1 == 1;
    let window = Some(1 + u32::try_from(choice >> 20 & 7).unwrap());
    let sliding = LayerKind { window, rotation: Some(1), experts: false };
    let unrotated = LayerKind { rotation: None, ..LayerKind::PLAIN };
    shape.rotations = 2;
    shape.layer_kinds = vec![sliding, if has(8) { sliding } else { unrotated }, unrotated];
    shape.norms = [NormPlaces::Before, NormPlaces::After, NormPlaces::Both]
        [usize::try_from(choice >> 30 & 3).unwrap() % 3];
    if shape.qk_norm.is_none() && has(9) {
        shape.qk_row_norm = Some([shape.eps(); 2]);
    }
    if has(15) && !shape.norms.after() {
        let count = 1 + u32::try_from(choice >> 32 & 15).unwrap();
        let used = 1 + u32::try_from(choice >> 36).unwrap() % count;
        let (renormalised, router_bias) = (has(16), has(17));
        let shared = u32::try_from(choice >> 28 & 3).unwrap();
        shape.experts = Some(Experts { count, used, d_ff: 64, renormalised, router_bias, shared });
        shape.layer_kinds.iter_mut().skip(1).for_each(|kind| kind.experts = true);
    }
    if has(17) && !shape.norms.after() {
        shape.norm = NormKind::Layer;
    }
    shape.ungated = has(18) && shape.experts.is_none();
    (shape.output_bias, shape.mlp_bias, shape.sinks) = (has(10), has(11), has(12));
    shape.mlp_limit = (has(19) && !shape.ungated).then_some(7 << LIMIT_BITS);
    shape.attention_cap = has(13).then_some(SoftCap { inverse: 58_000, exponent: 6 });
    shape.logit_cap = has(14).then_some(SoftCap { inverse: 40_000, exponent: 4 });
}

/// The logits after rows that came in chunks at the second layer.
fn run(
    model: &Synthetic,
    shape: &ModelConfig,
    choice: BackendChoice,
    hidden: &[i32],
    chunk: usize,
) -> Output {
    let mut engine = block_on(Engine::new(choice)).unwrap();
    let (_, tables) = &model.blobs[0];
    engine.set_model(Arc::new(model.manifest.clone()), tables).unwrap();
    for (role, bytes) in &model.blobs[1..] {
        engine.load(*role, bytes).unwrap();
    }
    engine.open_session(9, 1..shape.layers).unwrap();
    let mut output = Output::None;
    let width = shape.d_model as usize;
    for rows in hidden.chunks(chunk * width) {
        let position = engine.session_position(9).unwrap();
        output = block_on(engine.forward(9, position, Input::Hidden(rows), OutputRequest::Logits))
            .unwrap();
    }
    output
}
