//! The known-answer test: a fixed computation that every backend must reproduce before it may
//! compute for others.
//!
//! One synthetic layer and head, a prompt of nine rows, a step of one, a step of three (GPUs take
//! each another way), logits: it touches every kernel of a plain model. Its hash is pinned; a driver that gets it
//! wrong is not used. It takes well under a second on anything. The same model, loaded once,
//! measures a machine's speed: see [`speed_step`].
//!
//! That is what every model is made of. What some have besides (biases, norms, caps, windows, experts)
//! is computed by kernels of its own, and is proved before the first model that has it: a small one with
//! those parts, on the GPU and on the processor ([`Engine::prove`]).

use std::ops::Range;
use std::sync::Arc;

use crate::engine::{Engine, ForwardError, Input, LoadError, Output, OutputRequest, SessionError};
use potluck_model::package::{BlobHash, BlobRole, Experts, LayerKind, ModelConfig};
use potluck_model::synthetic::{Synthetic, config};

/// What the answer hashes to, on every backend.
pub const EXPECTED: BlobHash = BlobHash([
    0x5f, 0xeb, 0x44, 0x4b, 0x6e, 0xd0, 0xb4, 0x98, 0x4b, 0x1c, 0xf1, 0x05, 0xb6, 0x8b, 0x8e, 0xd0,
    0x05, 0xaf, 0xef, 0xe7, 0x02, 0x02, 0x44, 0x51, 0xce, 0x46, 0x12, 0xc6, 0xb7, 0x74, 0x75, 0x7d,
]);

/// Multiply-accumulates of the matrices in one [`speed_step`]: all its rows through the layer, the
/// last one through the head.
pub const SPEED_STEP_MACS: u64 =
    SPEED_ROWS as u64 * (256 * 256 * 2 + 2 * 128 * 256 + 3 * 256 * 512) + 512 * 256;

/// Rows of a [`speed_step`], the vector's whole context: enough that a GPU's time goes into
/// arithmetic and not only into being asked.
const SPEED_ROWS: u32 = 64;

/// The test could not be run.
#[derive(Debug, thiserror::Error)]
pub enum KnownAnswerError {
    /// A part was refused.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A session was refused.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A step failed.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

/// Runs the test; the engine's model is replaced by the test's.
///
/// # Errors
/// If the backend refuses it.
pub async fn run(engine: &mut Engine) -> Result<BlobHash, KnownAnswerError> {
    compute(engine, shape()).await
}

/// What the logits of a synthetic model of a shape hash to; it replaces the engine's.
pub(crate) async fn compute(
    engine: &mut Engine,
    shape: ModelConfig,
) -> Result<BlobHash, KnownAnswerError> {
    let vocab = shape.vocab;
    let layers = 0..shape.layers;
    load(engine, shape)?;
    engine.open_session(SESSION, layers)?;
    let token = |position| token(position) % vocab;
    let prompt: Vec<u32> = (0..9).map(token).collect();
    let mut hasher = blake3::Hasher::new();
    for (position, tokens) in [(0, &prompt[..]), (9, &[77][..]), (10, &prompt[..3])] {
        if let Output::Logits(logits) =
            engine.forward(SESSION, position, Input::Tokens(tokens), OutputRequest::Logits).await?
        {
            hasher.update(&logits.exponent.to_le_bytes());
            for value in logits.values {
                hasher.update(&value.to_le_bytes());
            }
        }
    }
    engine.close_session(SESSION);
    Ok(BlobHash(*hasher.finalize().as_bytes()))
}

/// Computes [`SPEED_STEP_MACS`] with the vector's model, which [`run`] left in the engine, and
/// waits for the result. Nothing is made or loaded here, so that whoever times it times arithmetic.
///
/// # Errors
/// If the engine holds another model, or the backend refuses the step.
pub async fn speed_step(engine: &mut Engine) -> Result<(), KnownAnswerError> {
    engine.open_session(SESSION, ALL)?;
    let tokens: Vec<u32> = (0..SPEED_ROWS).map(token).collect();
    // Logits are read back, so the step is over when they are here.
    let step = engine.forward(SESSION, 0, Input::Tokens(&tokens), OutputRequest::Logits).await;
    engine.close_session(SESSION);
    step.map(|_| ()).map_err(KnownAnswerError::from)
}

const SESSION: u128 = 0;
const ALL: Range<u32> = 0..1;

fn load(engine: &mut Engine, shape: ModelConfig) -> Result<(), LoadError> {
    let model = Synthetic::new(shape, 7);
    engine.set_model(Arc::new(model.manifest.clone()), model.blob(BlobRole::Tables))?;
    model.blobs.iter().try_for_each(|(role, bytes)| engine.load(*role, bytes))
}

/// Some token of the vector's vocabulary.
fn token(position: u32) -> u32 {
    (position * 61 + 5) % 512
}

/// Positions that a window of the small model spans: fewer than it computes.
const WINDOW: u32 = 4;
/// Experts of the small model.
const EXPERTS: u32 = 10;
/// And those that are shared.
const SHARED: u32 = 2;

/// A small model with the parts of another: a layer of each kind that it has.
pub(crate) fn parts_of(of: &ModelConfig) -> ModelConfig {
    let small = config(1, 64, 96, (4, 2, 16), 128, 16);
    let eps = small.eps();
    let mut layer_kinds = Vec::new();
    for kind in (0..of.layers).map(|index| of.layer_kind(index)) {
        let kind = LayerKind { window: kind.window.map(|_| WINDOW), ..kind };
        if !layer_kinds.contains(&kind) {
            layer_kinds.push(kind);
        }
    }
    let count = |experts: Experts| experts.count.min(EXPERTS);
    ModelConfig {
        layers: u32::try_from(layer_kinds.len()).unwrap_or(1),
        qkv_bias: of.qkv_bias,
        qk_norm: of.qk_norm.map(|_| eps),
        rotations: of.rotations,
        qk_row_norm: of.qk_row_norm.map(|_| [eps; 2]),
        norms: of.norms,
        output_bias: of.output_bias,
        mlp_bias: of.mlp_bias,
        mlp_limit: of.mlp_limit,
        attention_cap: of.attention_cap,
        logit_cap: of.logit_cap,
        sinks: of.sinks,
        experts: of.experts.map(|it| Experts {
            count: count(it),
            used: it.used.min(count(it)),
            shared: it.shared.min(SHARED),
            d_ff: 64,
            ..it
        }),
        norm: of.norm,
        ungated: of.ungated,
        layer_kinds,
        ..small
    }
}

/// Whether a small model has any part that those of the pinned test do not have.
pub(crate) fn has_parts(small: &ModelConfig) -> bool {
    *small != parts_of(&shape())
}

fn shape() -> ModelConfig {
    config(1, 256, 512, (8, 4, 32), 512, 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use potluck_model::package::NormKind;

    #[test]
    fn a_small_model_has_the_parts_of_a_large_one() {
        assert!(!has_parts(&parts_of(&config(24, 2048, 5632, (32, 4, 64), 32_000, 4096))));
        let mut large = config(3, 4096, 14_336, (32, 8, 128), 32_000, 4096);
        let window = LayerKind { window: Some(512), ..LayerKind::PLAIN };
        large.layer_kinds = vec![window, LayerKind { experts: true, ..window }, window];
        large.experts = Some(Experts {
            count: 128,
            used: 12,
            d_ff: 768,
            renormalised: false,
            router_bias: true,
            shared: 2,
        });
        large.mlp_limit = Some(7 << 26);
        large.qk_norm = Some(large.eps());
        let small = parts_of(&large);
        assert!(has_parts(&small));
        small.check().unwrap();
        assert_eq!((small.layers, small.experts.unwrap().used), (2, EXPERTS));
        assert!(small.experts.unwrap().router_bias && small.mlp_limit == large.mlp_limit);
        // It is a small model whatever it is of.
        assert_eq!(parts_of(&small), small);
        let plain = || config(24, 2048, 5632, (32, 4, 64), 32_000, 4096);
        assert!(has_parts(&parts_of(&ModelConfig { norm: NormKind::Layer, ..plain() })));
        assert!(has_parts(&parts_of(&ModelConfig { ungated: true, ..plain() })));
    }

    #[test]
    fn a_speed_step_counts_what_the_manifest_counts() {
        let model = shape();
        let counted = u64::from(SPEED_ROWS) * model.linear_macs_per_layer() + model.head_macs();
        assert_eq!(SPEED_STEP_MACS, counted);
    }

    #[test]
    fn a_speed_step_can_be_taken_again_and_again_once_the_vector_ran() {
        let mut engine =
            futures::executor::block_on(Engine::new(crate::engine::BackendChoice::Cpu)).unwrap();
        assert!(
            futures::executor::block_on(speed_step(&mut engine)).is_err(),
            "it loads nothing itself"
        );
        futures::executor::block_on(run(&mut engine)).unwrap();
        for _ in 0..2 {
            futures::executor::block_on(speed_step(&mut engine)).unwrap();
        }
    }
}
