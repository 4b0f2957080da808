//! A manifest or blob from anyone is read or refused, never believed: every limit from both sides,
//! and bytes of all kinds.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use potluck_model::package::{
    BlobError, BlobHash, BlobRef, BlobRole, Experts, LayerKind, LayerWeights, Linear,
    MAX_MANIFEST_BYTES, Manifest, ManifestError, Mlp, MlpWeights, ModelConfig, NormKind,
    NormPlaces, Tables, verify_blob,
};
use potluck_model::synthetic::{Synthetic, config};
use proptest::prelude::*;
use serde_json::{Value, json};

fn model() -> Synthetic {
    Synthetic::new(config(2, 64, 96, (4, 2, 16), 40, 16), 1)
}

/// The manifest's JSON with one value, named by a JSON pointer, replaced.
fn changed(pointer: &str, value: Value) -> Result<Manifest, ManifestError> {
    let mut json = serde_json::to_value(&model().manifest).unwrap();
    // Left out where it is none.
    json["defaults"]["repetition_penalty_milli"] = json!(1000);
    for part in
        ["layer_kinds", "rotations", "attention_cap", "logit_cap", "qk_row_norm", "norms", "sinks"]
    {
        json["config"][part] = Value::Null;
    }
    for (part, usual) in [
        ("layer_kinds", json!([{"rotation": 0}, {"rotation": 0}])),
        ("rotations", json!(1)),
        ("norms", json!("before")),
        ("sinks", json!(false)),
    ] {
        json["config"][part] = usual;
    }
    *json.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
    Manifest::from_bytes(json.to_string().as_bytes())
}

#[test]
fn a_good_manifest_reads_back() {
    let manifest = model().manifest;
    assert_eq!(Manifest::from_bytes(&manifest.to_bytes().unwrap()).unwrap(), manifest);
}

#[test]
fn every_limit_refuses_what_is_beyond_it() {
    for (pointer, values) in [
        ("/format", vec![json!(2), json!(4)]),
        ("/numerics", vec![json!(1), json!(3)]),
        ("/architecture", vec![json!("gpt2"), json!("")]),
        (
            "/name",
            vec![
                json!(""),
                json!("a/b"),
                json!(".."),
                json!(".a"),
                json!("a b"),
                json!("a".repeat(97)),
            ],
        ),
        ("/license", vec![json!("x".repeat(4097))]),
        ("/chat/bos", vec![json!("x".repeat(4097))]),
        ("/config/layers", vec![json!(0), json!(1), json!(3), json!(257), json!(u32::MAX)]),
        ("/config/d_model", vec![json!(0), json!(32), json!(65), json!(16_416), json!(u32::MAX)]),
        ("/config/d_ff", vec![json!(0), json!(64), json!(97), json!(65_568), json!(u32::MAX)]),
        ("/config/heads", vec![json!(0), json!(3), json!(257), json!(u32::MAX)]),
        ("/config/kv_heads", vec![json!(0), json!(3), json!(5), json!(u32::MAX)]),
        ("/config/head_dim", vec![json!(0), json!(1), json!(15), json!(258), json!(u32::MAX)]),
        ("/config/vocab", vec![json!(0), json!(39), json!((1 << 20) + 1), json!(u32::MAX)]),
        ("/config/max_positions", vec![json!(0), json!(32_769), json!(u32::MAX)]),
        ("/config/rotations", vec![json!(0), json!(2), json!(5), json!(u32::MAX)]),
        (
            "/config/layer_kinds",
            vec![
                json!([{"rotation": 0}]),
                json!([{"rotation": 0}, {"rotation": 1}]),
                json!([{"rotation": 0}, {"window": 0}]),
                json!([{"rotation": 0}, {"window": 32_769}]),
                json!([{"rotation": 0}, {"windows": 1}]),
            ],
        ),
        ("/config/norms", vec![json!("none"), json!("both")]),
        ("/config/layer_kinds", vec![json!([{"rotation": 0, "experts": true}, {"rotation": 0}])]),
        ("/config/sinks", vec![json!(true)]),
        (
            "/config/attention_cap",
            vec![
                json!({"inverse": 32_767, "exponent": 5}),
                json!({"inverse": 65_537, "exponent": 5}),
                json!({"inverse": 40_000, "exponent": -1}),
                json!({"inverse": 40_000, "exponent": 13}),
                // All in order, but the tables have no room for it.
                json!({"inverse": 40_000, "exponent": 5}),
            ],
        ),
        ("/config/residual_fraction_bits", vec![json!(0), json!(25)]),
        ("/config/qk_scale", vec![json!(0), json!(65_537)]),
        ("/config/eps_mantissa", vec![json!((1 << 23) - 1), json!(1 << 24)]),
        ("/config/eps_exponent", vec![json!(101), json!(-101), json!(i32::MIN)]),
        ("/config/weight_bits", vec![json!(0), json!(4), json!(5), json!(12), json!(16)]),
        ("/config/qkv_bias", vec![json!(true)]),
        (
            "/config/qk_norm",
            vec![
                json!({"mantissa": 1 << 23, "exponent": -32}),
                json!({"mantissa": 1, "exponent": 0}),
            ],
        ),
        ("/tables/size_bytes", vec![json!(0), json!(u64::MAX)]),
        ("/embedding/size_bytes", vec![json!(1)]),
        ("/layer_blobs/1/size_bytes", vec![json!(1)]),
        ("/head/size_bytes", vec![json!(1)]),
        (
            "/head/hash",
            vec![
                json!("00"),
                json!("zz".repeat(32)),
                json!("AB".repeat(32)),
                json!("00".repeat(33)),
            ],
        ),
        ("/tokenizer/size_bytes", vec![json!((64 << 20) + 1)]),
        ("/layer_blobs", vec![json!([])]),
        ("/chat/template", vec![json!("x".repeat((64 << 10) + 1))]),
        ("/end_tokens", vec![json!([40]), json!(vec![1; 17])]),
        ("/defaults/temperature_milli", vec![json!(1), json!(49), json!(5001)]),
        ("/defaults/top_p_milli", vec![json!(0), json!(1001)]),
        ("/defaults/repetition_penalty_milli", vec![json!(499), json!(2001)]),
        ("/defaults/max_tokens", vec![json!(0), json!(32_769)]),
    ] {
        for value in values {
            let got = changed(pointer, value.clone());
            assert!(got.is_err(), "{pointer} = {value} was accepted");
        }
    }
}

#[test]
fn default_samplings_are_those_that_a_step_may_carry() {
    use potluck_protocol::sampling::{MAX_TEMPERATURE_MILLI, MIN_TEMPERATURE_MILLI};
    for temperature in [0, MIN_TEMPERATURE_MILLI, MAX_TEMPERATURE_MILLI] {
        let manifest = changed("/defaults/temperature_milli", json!(temperature)).unwrap();
        assert!(manifest.defaults.sampling(7).is_valid());
    }
    for temperature in [1, MIN_TEMPERATURE_MILLI - 1, MAX_TEMPERATURE_MILLI + 1] {
        let error = changed("/defaults/temperature_milli", json!(temperature)).unwrap_err();
        let words = error.to_string();
        assert!(words.contains(&format!("a temperature of {temperature} ")), "{words}");
    }
}

#[test]
fn errors_name_the_field_and_the_value() {
    for (pointer, value, words) in [
        ("/numerics", json!(7), "the manifest has numerics 7; this build knows 2"),
        ("/config/layers", json!(300), "layers is 300, outside 1 to 256"),
        ("/config/d_model", json!(65), "d_model is 65, not a multiple of 32"),
        (
            "/architecture",
            json!("gpt2"),
            "architecture \"gpt2\" is not supported; supported: llama",
        ),
    ] {
        let error = changed(pointer, value).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn unknown_fields_and_endless_manifests_are_refused() {
    let mut json = serde_json::to_value(&model().manifest).unwrap();
    json["surprise"] = json!(1);
    assert!(matches!(
        Manifest::from_bytes(json.to_string().as_bytes()),
        Err(ManifestError::Json(_))
    ));
    let endless = vec![b' '; MAX_MANIFEST_BYTES + 1];
    assert!(matches!(Manifest::from_bytes(&endless), Err(ManifestError::TooLong { .. })));
}

#[test]
fn a_stage_needs_its_own_blobs_and_the_ends_need_theirs() {
    let manifest = model().manifest;
    let roles =
        |layers| manifest.blobs_for(layers).into_iter().map(|(role, _)| role).collect::<Vec<_>>();
    use BlobRole::{Embedding, Head, Layer, Tables};
    assert_eq!(roles(0..2), [Tables, Embedding, Layer(0), Layer(1), Head]);
    assert_eq!(roles(0..1), [Tables, Embedding, Layer(0)]);
    assert_eq!(roles(1..2), [Tables, Layer(1), Head]);
    // A range from outside may be anything; it must cost nothing.
    assert_eq!(roles(1..u32::MAX), [Tables, Layer(1)]);
    assert_eq!(roles(u32::MAX - 1..u32::MAX), [Tables]);
}

#[test]
fn the_tally_counts_what_the_matrices_hold() {
    let config = config(2, 64, 96, (4, 2, 16), 40, 16);
    // q and o 64x64, k and v 32x64, three of 96x64.
    assert_eq!(config.linear_macs_per_layer(), 2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64);
    // Scores and values, four heads of 16, over positions 0 to 9.
    assert_eq!(10 * config.attention_macs_per_seen_position(), 2 * 10 * 64);
    assert_eq!(config.head_macs(), 40 * 64);
}

#[test]
fn a_blob_that_is_not_the_named_one_is_refused() {
    let model = model();
    let mut bytes = model.blob(BlobRole::Head).to_vec();
    let blob = model.manifest.head;
    verify_blob(&blob, &bytes).unwrap();
    assert!(matches!(verify_blob(&blob, &bytes[1..]), Err(BlobError::Length { .. })));
    bytes[7] ^= 1;
    assert!(matches!(verify_blob(&blob, &bytes), Err(BlobError::Hash { .. })));
    let other = BlobRef { hash: BlobHash([0; 32]), ..blob };
    assert!(matches!(verify_blob(&other, &bytes), Err(BlobError::Hash { .. })));
}

#[test]
fn values_that_the_arithmetic_is_not_defined_for_are_refused() {
    let model = model();
    let config = &model.manifest.config;
    let spoilt = |role, at: usize, bytes: &[u8]| {
        let mut blob = model.blob(role).to_vec();
        blob[at..at + bytes.len()].copy_from_slice(bytes);
        blob
    };
    let value = |result: Result<(), BlobError>| {
        assert!(matches!(result, Err(BlobError::Value { .. })), "{result:?}")
    };
    // Embedding 40 x 64: weights 2560 bytes, group scales 80, multipliers 80, exponent.
    let embedding = |at, bytes: &[u8]| {
        let blob = spoilt(BlobRole::Embedding, at, bytes);
        Linear::vocabulary_from_bytes(config, BlobRole::Embedding, &blob).map(|_| ())
    };
    embedding(5, &[7]).unwrap();
    value(embedding(5, &[0x80]));
    value(embedding(2560, &[0]));
    value(embedding(2640, &[0, 0]));
    value(embedding(2640, &32_769_u16.to_le_bytes()));
    value(embedding(2720, &257_i32.to_le_bytes()));
    value(embedding(2720, &i32::MIN.to_le_bytes()));
    // A norm's gain comes first.
    value(
        LayerWeights::from_bytes(
            config,
            0,
            &spoilt(BlobRole::Layer(0), 0, &i16::MIN.to_le_bytes()),
        )
        .map(|_| ()),
    );
    // Tables: rising or small, and 2^-x is the definition's own.
    let tables = |at, bytes: &[u8]| {
        Tables::from_bytes(config, &spoilt(BlobRole::Tables, at, bytes)).map(|_| ())
    };
    value(tables(0, &[0, 0]));
    value(tables(0, &40_000_u16.to_le_bytes()));
    value(tables(4, &40_000_u16.to_le_bytes()));
    // Still falling, and one off: a CPU would sample with the right table, a GPU with this one.
    let entry = |at: usize| {
        u16::from_le_bytes([model.blob(BlobRole::Tables)[at], model.blob(BlobRole::Tables)[at + 1]])
    };
    for at in [2, 256, 512] {
        tables(at, &entry(at).to_le_bytes()).unwrap();
        value(tables(at, &(entry(at) - 1).to_le_bytes()));
        value(tables(at, &(entry(at) + 1).to_le_bytes()));
    }
    let (sigmoid, rsqrt, cos) = (528, 528 + 4112, 528 + 4112 + 1536);
    value(tables(sigmoid, &65_535_u16.to_le_bytes()));
    value(tables(rsqrt, &0_u16.to_le_bytes()));
    value(tables(rsqrt, &32_768_u16.to_le_bytes()));
    // An attention factor may be in it; -2 in Q14 would lead a sum out of 31 bits.
    tables(cos, &16_385_i16.to_le_bytes()).unwrap();
    value(tables(cos, &i16::MIN.to_le_bytes()));
    value(tables(cos, &i16::MIN.to_le_bytes()));
}

/// A layer of `Layer(1)`'s shape with everything that a config can ask for.
#[test]
fn layers_with_biases_norms_and_four_bits_read_back() {
    let mut config = config(2, 64, 96, (4, 2, 16), 40, 16);
    config.qkv_bias = true;
    config.qk_norm = Some(config.eps());
    for weight_bits in [8, 4] {
        config.weight_bits = weight_bits;
        let bytes = Synthetic::part(&config, 5, BlobRole::Layer(1));
        let layer = LayerWeights::from_bytes(&config, 1, &bytes).unwrap();
        assert_eq!(layer.to_bytes(weight_bits), bytes);
        let Mlp::Dense(mlp) = &layer.mlp else { panic!("it has no experts") };
        let most = mlp.down.weights.iter().map(|weight| weight.unsigned_abs()).max();
        assert_eq!(most, Some(if weight_bits == 4 { 8 } else { 127 }));
        assert_eq!(layer.qkv_bias.as_ref().map(|biases| biases[0].mantissas.len()), Some(64));
        assert_eq!(layer.qk_norm.as_ref().map(|gains| gains[1].mantissas.len()), Some(16));

        // Biases lie before the two norms of 16, each of which is 32 bytes and an exponent's 16.
        let mut spoilt = bytes.clone();
        let exponent = bytes.len() - 2 * 48 - 16;
        spoilt[exponent - 4..exponent].copy_from_slice(&((1 << 24) + 1_i32).to_le_bytes());
        assert!(matches!(
            LayerWeights::from_bytes(&config, 1, &spoilt),
            Err(BlobError::Value { .. })
        ));
    }
    // Low nibbles are a group's first half.
    let small = Synthetic::part(&config, 5, BlobRole::Layer(0));
    let layer = LayerWeights::from_bytes(&config, 0, &small).unwrap();
    let first = small[2 * (128 + 16)];
    assert_eq!(
        (layer.q.weights[0], layer.q.weights[16]),
        ((first & 15) as i8 - 8, (first >> 4) as i8 - 8)
    );
}

#[test]
fn layers_with_layer_norms_and_no_gate_read_back() {
    let mut config = config(1, 64, 96, (4, 2, 16), 40, 16);
    let gated = config.blob_bytes(BlobRole::Layer(0));
    (config.norm, config.ungated) = (NormKind::Layer, true);
    // No gate, and a bias for each of the two norms.
    let (gate, bias) = (96 * 64 + 96 * 2 + 96 * 2 + 16, 64 * 4 + 16);
    assert_eq!(config.blob_bytes(BlobRole::Layer(0)), gated - gate + 2 * bias);
    assert_eq!(config.linear_macs_per_layer(), 2 * 64 * 64 + 2 * 32 * 64 + 2 * 96 * 64);
    config.mlp_bias = true;
    let model = Synthetic::new(config.clone(), 5);
    let bytes = model.manifest.to_bytes().unwrap();
    assert_eq!(Manifest::from_bytes(&bytes).unwrap(), model.manifest);
    let bytes = model.blob(BlobRole::Layer(0));
    let layer = LayerWeights::from_bytes(&config, 0, bytes).unwrap();
    assert!(layer.to_bytes(8) == bytes);
    let Mlp::Ungated(mlp) = &layer.mlp else { panic!("it has no gate") };
    let widths = mlp.bias.as_ref().map(|biases| biases.each_ref().map(|it| it.mantissas.len()));
    assert_eq!(widths, Some([96, 64]));
    assert!(layer.mlp_norm.is_some_and(|norm| norm.bias.is_some()));
    let tables = Tables::from_bytes(&config, model.blob(BlobRole::Tables)).unwrap();
    assert!(tables.last_norm.bias.is_some());

    config.norms = NormPlaces::Both;
    assert!(config.check().unwrap_err().to_string().contains("a LayerNorm after"));
    config = ModelConfig { ungated: true, ..with_experts() };
    assert!(config.check().unwrap_err().to_string().contains("MLPs without one"));
}

/// Two layers, the second with three experts of which a token goes through two.
fn with_experts() -> ModelConfig {
    let mut config = config(2, 64, 96, (4, 2, 16), 40, 16);
    config.experts = Some(Experts {
        count: 3,
        used: 2,
        d_ff: 32,
        renormalised: true,
        router_bias: false,
        shared: 0,
    });
    config.layer_kinds = vec![LayerKind::PLAIN, LayerKind { experts: true, ..LayerKind::PLAIN }];
    config.mlp_bias = true;
    config
}

#[test]
fn experts_are_blobs_of_their_own() {
    let config = with_experts();
    let model = Synthetic::new(config.clone(), 4);
    let bytes = model.manifest.to_bytes().unwrap();
    assert_eq!(Manifest::from_bytes(&bytes).unwrap(), model.manifest);
    use BlobRole::{Embedding, Expert, Head, Layer, Tables};
    let blobs = model.manifest.blobs_for(0..2);
    let roles: Vec<_> = blobs.iter().map(|(role, _)| *role).collect();
    let experts = [0, 1, 2].map(|index| Expert(1, index));
    assert_eq!(roles[..4], [Tables, Embedding, Layer(0), Layer(1)]);
    assert_eq!((&roles[4..7], roles[7]), (&experts[..], Head));
    assert_eq!(model.manifest.blobs_for(0..1).len(), 3, "the first layer has none");
    for (role, _) in blobs.iter().filter(|(role, _)| matches!(role, Expert(..) | Layer(_))) {
        let bytes = model.blob(*role);
        let again = match *role {
            Expert(layer, index) => {
                MlpWeights::expert_from_bytes(&config, (layer, index), bytes).unwrap().to_bytes(8)
            }
            Layer(index) => LayerWeights::from_bytes(&config, index, bytes).unwrap().to_bytes(8),
            _ => panic!("{role}"),
        };
        assert!(again == bytes, "{role}");
    }
    // The mean of both layers: 12,288 of attention and 18,432 of an MLP, or a router twice and two experts.
    let (dense, routed) = (12_288 + 18_432, 12_288 + 2 * 3 * 64 + 2 * 3 * 32 * 64);
    assert_eq!(config.linear_macs_per_layer(), (dense + routed) / 2);
}

#[test]
fn experts_that_cannot_be_are_refused() {
    let mut good = serde_json::to_value(&Synthetic::new(with_experts(), 4).manifest).unwrap();
    // Left out where they are the usual ones.
    good["config"]["norms"] = json!("before");
    good["config"]["experts"]["shared"] = json!(0);
    for (pointer, value, words) in [
        ("/config/experts/count", json!(513), "experts is 513"),
        ("/config/experts/count", json!(2), "other experts"),
        ("/config/experts/used", json!(4), "experts used is 4"),
        ("/config/experts/used", json!(0), "experts used is 0"),
        ("/config/experts/shared", json!(17), "shared experts is 17"),
        ("/config/experts/shared", json!(1), "other experts"),
        ("/config/experts/d_ff", json!(33), "not a multiple of 32"),
        ("/config/experts/d_ff", json!(64), "expert 0 of layer 1 has"),
        ("/config/experts", json!(null), "no experts"),
        ("/config/norms", json!("both"), "a norm after them"),
        ("/expert_blobs/1", json!([]), "other experts"),
        ("/expert_blobs", json!([]), "other experts"),
    ] {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        let error = Manifest::from_bytes(changed.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains(words), "{pointer}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0_usize..2000, cut in 0_usize..2000) {
        let model = model();
        let _ = Manifest::from_bytes(&bytes);
        // A good manifest with a hole, or cut short.
        let mut good = model.manifest.to_bytes().unwrap();
        let at = at % good.len();
        let end = (at + bytes.len()).min(good.len());
        good[at..end].copy_from_slice(&bytes[..end - at]);
        let _ = Manifest::from_bytes(&good);
        let _ = Manifest::from_bytes(&good[..cut % good.len()]);
    }

    #[test]
    fn blobs_of_any_bytes_are_read_or_refused(seed in any::<[u8; 32]>(), role in 0_u32..6, length in -1_i64..2) {
        let config = with_experts();
        use BlobRole::{Embedding, Expert, Head, Layer};
        let roles = [BlobRole::Tables, Embedding, Layer(0), Head, Layer(1), Expert(1, 2)];
        let role = roles[role as usize];
        let expected = i64::try_from(config.blob_bytes(role)).unwrap();
        let mut bytes = vec![0; usize::try_from(expected + length).unwrap()];
        blake3::Hasher::new_keyed(&seed).finalize_xof().fill(&mut bytes);
        let read = match role {
            BlobRole::Tables => Tables::from_bytes(&config, &bytes).map(|_| ()),
            BlobRole::Layer(index) => LayerWeights::from_bytes(&config, index, &bytes).map(|_| ()),
            BlobRole::Expert(layer, index) => MlpWeights::expert_from_bytes(&config, (layer, index), &bytes).map(|_| ()),
            BlobRole::Embedding | BlobRole::Head => Linear::vocabulary_from_bytes(&config, role, &bytes).map(|_| ()),
        };
        let refused_for_its_length = matches!(read, Err(BlobError::Length { .. }));
        prop_assert_eq!(refused_for_its_length, length != 0);
    }
}
