//! What the native and the browser's test of the GPU share: models of odd shapes, rows of every
//! magnitude, and the comparison of a GPU with the plain loops of the CPU, bit for bit. It opens no
//! GPU.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test that called it")]

use std::ops::Range;

use potluck_engine::cpu::{self, Run};
use potluck_engine::engine::MAX_ROWS;
use potluck_engine::gpu::{Gpu, GpuError};
use potluck_engine::kernels::linear::CpuPath;
use potluck_engine::kv_cache::LayerCache;
use potluck_model::package::{
    BlobRole, Eps, Experts, LIMIT_BITS, LayerKind, LayerWeights, Linear, MlpWeights, ModelConfig,
    NormKind, NormPlaces, SoftCap, Tables,
};
use potluck_model::synthetic::{Random, Synthetic, config};

/// A model on the CPU, parsed.
pub(crate) struct Reference {
    pub(crate) synthetic: Synthetic,
    pub(crate) tables: Tables,
    pub(crate) layers: Vec<LayerWeights>,
    /// Of every layer.
    experts: Vec<Vec<MlpWeights>>,
    pub(crate) head: Linear,
    caches: Vec<LayerCache>,
}

impl Reference {
    pub(crate) fn new(config: ModelConfig, seed: u64) -> Self {
        let synthetic = Synthetic::new(config.clone(), seed);
        let tables = Tables::from_bytes(&config, synthetic.blob(BlobRole::Tables)).unwrap();
        let layers = (0..config.layers)
            .map(|index| {
                LayerWeights::from_bytes(&config, index, synthetic.blob(BlobRole::Layer(index)))
                    .unwrap()
            })
            .collect();
        let expert = |layer, index| {
            let bytes = synthetic.blob(BlobRole::Expert(layer, index));
            MlpWeights::expert_from_bytes(&config, (layer, index), bytes).unwrap()
        };
        let experts = (0..config.layers)
            .map(|layer| (0..config.experts_of(layer)).map(|index| expert(layer, index)).collect())
            .collect();
        let head =
            Linear::vocabulary_from_bytes(&config, BlobRole::Head, synthetic.blob(BlobRole::Head))
                .unwrap();
        Self {
            synthetic,
            tables,
            layers,
            experts,
            head,
            caches: vec![LayerCache::default(); config.layers as usize],
        }
    }

    pub(crate) fn config(&self) -> &ModelConfig {
        &self.synthetic.manifest.config
    }

    /// Forgets every position.
    pub(crate) fn restart(&mut self) {
        self.caches.fill(LayerCache::default());
    }

    /// Goes back to the first `positions` positions.
    pub(crate) fn truncate(&mut self, positions: usize) {
        let config = self.synthetic.manifest.config.clone();
        for cache in &mut self.caches {
            cache.truncate(positions, config.kv_heads as usize, config.head_dim as usize);
        }
    }

    /// The specification: `rows` through `layers`.
    pub(crate) fn forward(&mut self, layers: Range<u32>, position: u32, rows: &[i32]) -> Vec<i32> {
        let config = self.synthetic.manifest.config.clone();
        let mut rows = rows.to_vec();
        for index in layers {
            let kind = config.layer_kind(index);
            let index = index as usize;
            let cache = &mut self.caches[index];
            let layer = cpu::Layer::new(CpuPath::Scalar, self.layers[index].clone());
            let experts = self.experts[index].iter().cloned();
            let experts: Vec<_> =
                experts.map(|weights| Some(cpu::Mlp::new(CpuPath::Scalar, weights))).collect();
            let count = rows.len() / config.d_model as usize;
            layer.forward(
                (&config, kind),
                &self.tables,
                &experts,
                &mut [Run { cache, position, rows: count }],
                &mut rows,
            );
        }
        rows
    }

    /// Puts everything on the GPU.
    pub(crate) fn load(&self, gpu: &mut Gpu) {
        gpu.set_model(&self.synthetic.manifest, &self.tables).unwrap();
        for (index, layer) in (0..).zip(&self.layers) {
            gpu.load_layer(index, layer).unwrap();
        }
        for (layer, experts) in (0..).zip(&self.experts) {
            for (index, expert) in (0..).zip(experts) {
                gpu.load_expert((layer, index), expert).unwrap();
            }
        }
        gpu.load_head(&self.tables.last_norm, &self.head).unwrap();
    }
}

/// Rows of the residual stream, `[rows, d_model]`: most as large as a real model's, some tiny, some
/// at the edge of `i32`, some zero, some with one channel that dwarfs the rest.
pub(crate) fn hidden(random: &mut Random, rows: usize, width: usize) -> Vec<i32> {
    let mut values = Vec::with_capacity(rows * width);
    for _ in 0..rows {
        let limit = match random.within(0, 9) {
            0 => 0,
            1 => 3,
            2 => i32::MAX - 1,
            _ => 1 << random.within(8, 22),
        };
        let start = values.len();
        values.extend((0..width).map(|_| random.within(-limit, limit)));
        if random.within(0, 3) == 0 {
            let channel =
                usize::try_from(random.within(0, i32::try_from(width).unwrap() - 1)).unwrap();
            values[start + channel] = match random.within(0, 2) {
                0 => i32::MIN,
                1 => i32::MAX,
                _ => 1 << 28,
            };
        }
    }
    values
}

/// Batches of every size up to 17 and the largest allowed, single rows between them, until the
/// context is full; after each, the head on the last row.
pub(crate) async fn batches_equal(gpu: &mut Gpu, reference: &mut Reference, seed: u64) {
    let config = reference.config().clone();
    let all = 0..config.layers;
    let width = config.d_model as usize;
    let mut random = Random::new(seed);
    reference.load(gpu);
    reference.restart();
    gpu.open_session(1, all.clone()).unwrap();
    let mut position = 0;
    let batches = (1..=17).chain([MAX_ROWS, MAX_ROWS - 1]);
    // A single row goes another way than many: after every batch, and where the context ends.
    for batch in batches.flat_map(|batch| [batch, 1]).cycle() {
        let batch = match (config.max_positions - position) as usize {
            0 => break,
            1..=3 => 1,
            left => batch.min(left - 3),
        };
        let rows = hidden(&mut random, batch, width);
        let expected = reference.forward(all.clone(), position, &rows);
        let got = gpu.forward_layers(1, position, &rows).await.unwrap();
        same(&got, &expected, width, &format!("{config:?}, {batch} rows at {position}"));

        let last = &got[got.len() - width..];
        let head = cpu::Head::new(
            CpuPath::Scalar,
            reference.tables.last_norm.clone(),
            reference.head.clone(),
        );
        let expected = head.logits(&config, &reference.tables, last).remove(0);
        assert_eq!(gpu.head(last).await.unwrap(), expected, "head of {config:?} at {position}");
        position += u32::try_from(batch).unwrap();
    }
    gpu.close_session(1);
}

/// Two sessions over different layers; one goes back to an earlier position and on from there.
pub(crate) async fn going_back_equals(gpu: &mut Gpu) {
    let shape = config(2, 64, 96, (4, 2, 16), 40, 50);
    let width = shape.d_model as usize;
    let mut reference = Reference::new(shape, 3);
    reference.load(gpu);
    let mut random = Random::new(9);
    let [first, second, other] = [20, 8, 5].map(|rows| hidden(&mut random, rows, width));
    let alone = reference.forward(1..2, 0, &other);
    reference.restart();
    let start = reference.forward(0..2, 0, &first);
    reference.truncate(7);
    let again = reference.forward(0..2, 7, &second);

    gpu.open_session(1, 0..2).unwrap();
    gpu.open_session(2, 1..2).unwrap();
    same(&gpu.forward_layers(1, 0, &first).await.unwrap(), &start, width, "first rows");
    same(&gpu.forward_layers(2, 0, &other).await.unwrap(), &alone, width, "another session");
    same(&gpu.forward_layers(1, 7, &second).await.unwrap(), &again, width, "back to position 7");
    // What lay behind position 7 is forgotten: the session now ends at 15.
    assert!(matches!(
        gpu.forward_layers(1, 16, &second).await,
        Err(GpuError::Position { position: 16, rows: 8, held: 15, max_positions: 50 })
    ));
}

/// Names the first difference: two long vectors side by side help nobody.
pub(crate) fn same(got: &[i32], expected: &[i32], width: usize, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    if let Some(at) = got.iter().zip(expected).position(|(got, expected)| got != expected) {
        let wrong = got.iter().zip(expected).filter(|(got, expected)| got != expected).count();
        panic!(
            "{what}: row {}, channel {}: GPU {}, reference {} ({wrong} of {} differ)",
            at / width,
            at % width,
            got[at],
            expected[at],
            got.len()
        );
    }
}

/// Shapes that leave no loop of the kernels a round number of turns:
/// `(layers, d_model, d_ff, heads, vocab, max_positions)`.
pub(crate) fn odd_shapes() -> Vec<ModelConfig> {
    vec![
        // The smallest there is.
        config(1, 32, 32, (1, 1, 32), 2, 5),
        // potluck-tiny's layer; the context crosses a cache's first size and the attention's chunk.
        config(1, 192, 512, (6, 2, 32), 77, 270),
        // Heads of two elements; five groups a row, so the last word of group scales is not full.
        config(1, 160, 96, (16, 4, 2), 65, 40),
        // The widest head; one query head a key head.
        config(1, 64, 224, (2, 2, 256), 129, 33),
        // Pairs that do not fill a round of invocations; many query heads a key head.
        config(1, 96, 1056, (16, 1, 130), 63, 20),
        // Wider than a workgroup in every dimension.
        config(1, 544, 800, (9, 3, 32), 300, 70),
        // Biases; normalised heads, narrower and wider than a workgroup; both.
        ModelConfig { qkv_bias: true, ..config(1, 64, 96, (4, 2, 16), 33, 40) },
        normalised(config(1, 96, 64, (6, 3, 32), 40, 30)),
        ModelConfig { qkv_bias: true, ..normalised(config(1, 64, 96, (2, 1, 144), 33, 20)) },
        capped(config(4, 64, 96, (4, 2, 16), 300, 40)),
        normed_after(config(2, 96, 64, (6, 2, 32), 40, 30)),
        with_sinks(config(2, 64, 96, (4, 1, 144), 33, 40)),
        centred(config(2, 96, 544, (6, 2, 16), 40, 30)),
        ModelConfig {
            mlp_bias: true,
            logit_cap: Some(SoftCap { inverse: 34_953, exponent: 4 }),
            ..centred(normalised(with_sinks(config(2, 544, 96, (4, 1, 144), 33, 40))))
        },
        // The second layer has an MLP; a width of experts below a workgroup's, and one above.
        routed(config(3, 96, 64, (4, 2, 16), 40, 30), [11, 3, 96], true),
        ModelConfig {
            mlp_bias: true,
            ..routed(config(3, 160, 96, (2, 1, 32), 33, 20), [70, 16, 544], false)
        },
        with_shared(routed(config(3, 96, 64, (4, 2, 16), 40, 30), [11, 3, 96], false), 3),
        like_gpt_oss(config(3, 96, 160, (4, 2, 16), 40, 30), [9, 4, 96]),
    ]
}

const SLIDING: LayerKind = LayerKind { window: Some(7), rotation: Some(1), experts: false };
const UNROTATED: LayerKind = LayerKind { rotation: None, ..LayerKind::PLAIN };

/// Norms on both sides, two rotations, windows, caps on scores and logits.
fn capped(config: ModelConfig) -> ModelConfig {
    let whole = LayerKind::PLAIN;
    ModelConfig {
        layer_kinds: vec![SLIDING, whole, UNROTATED, LayerKind { window: Some(1), ..whole }],
        rotations: 2,
        norms: NormPlaces::Both,
        attention_cap: Some(SoftCap { inverse: 58_152, exponent: 6 }),
        logit_cap: Some(SoftCap { inverse: 34_953, exponent: 4 }),
        ..normalised(config)
    }
}

/// Norms after only, and those of whole query and key rows.
fn normed_after(config: ModelConfig) -> ModelConfig {
    let eps = config.eps();
    let key_eps = Eps { exponent: eps.exponent - 1, ..eps };
    ModelConfig { norms: NormPlaces::After, qk_row_norm: Some([eps, key_eps]), ..config }
}

/// Sinks, a window, and biases on every matrix.
fn with_sinks(config: ModelConfig) -> ModelConfig {
    ModelConfig {
        layer_kinds: vec![SLIDING, UNROTATED],
        rotations: 2,
        qkv_bias: true,
        output_bias: true,
        mlp_bias: true,
        sinks: true,
        ..config
    }
}

/// With `LayerNorm`s, and MLPs without a gate.
fn centred(config: ModelConfig) -> ModelConfig {
    ModelConfig { norm: NormKind::Layer, ungated: true, ..config }
}

/// With experts in all layers but the second: how many, how many are used, and how wide they are.
fn routed(config: ModelConfig, [count, used, d_ff]: [u32; 3], renormalised: bool) -> ModelConfig {
    let experts = LayerKind { experts: true, ..LayerKind::PLAIN };
    ModelConfig {
        layer_kinds: vec![experts, LayerKind::PLAIN, experts],
        experts: Some(Experts { count, used, d_ff, renormalised, router_bias: false, shared: 0 }),
        ..config
    }
}

/// With so many shared experts.
fn with_shared(mut config: ModelConfig, shared: u32) -> ModelConfig {
    config.experts.iter_mut().for_each(|experts| experts.shared = shared);
    config
}

/// A limit of experts and of an MLP, biases everywhere, the router's too, sinks, and a window.
fn like_gpt_oss(config: ModelConfig, experts: [u32; 3]) -> ModelConfig {
    let mut shape = routed(ModelConfig { rotations: 2, ..config }, experts, true);
    shape.experts.iter_mut().for_each(|experts| experts.router_bias = true);
    shape.layer_kinds[0] = LayerKind { experts: true, ..SLIDING };
    ModelConfig {
        qkv_bias: true,
        output_bias: true,
        mlp_bias: true,
        mlp_limit: Some(7 << LIMIT_BITS),
        sinks: true,
        ..shape
    }
}

/// With norms of query and key heads.
fn normalised(config: ModelConfig) -> ModelConfig {
    ModelConfig { qk_norm: Some(config.eps()), ..config }
}
