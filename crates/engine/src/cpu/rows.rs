//! The kernels between the matrices, compiled for the processor at hand.
//!
//! They are the specification's own loops, which a compiler turns into SIMD; all that is done here
//! is to compile them once more for processors with AVX2, which doubles their lanes and gives them
//! a 32-bit multiplication. On a Xeon that made a prefill of 128 of a 135M model's shape 1.3 times
//! faster.

use core::ops::Range;

use crate::kernels::attention::Scores;
use crate::kernels::rope::Heads;
use crate::kernels::{attention, bias, block, gelu, layer_norm, mlp, rms_norm, rope};
use crate::kv_cache::LayerCache;
use potluck_model::package::{Bias, Eps, Gain, ModelConfig, Rotation, Tables};

/// Defines a function that is `$body`, compiled for AVX2 where the processor has it.
macro_rules! compiled {
    ($(#[$meta:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? = $body:path) => {
        $(#[$meta])*
        pub(crate) fn $name($($argument: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn with_avx2($($argument: $type),*) $(-> $result)? {
                    $body($($argument),*)
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    #[expect(unsafe_code, reason = "calls a function that is compiled for AVX2, once AVX2 was found")]
                    // SAFETY: AVX2 was found by the line above.
                    return unsafe { with_avx2($($argument),*) };
                }
            }
            $body($($argument),*)
        }
    };
}

compiled! {
    /// [`rms_norm::reference`].
    fn normalise(eps: Eps, tables: &Tables, gain: &Gain, x: &[i32], exponent: i32) -> (Vec<i32>, i32) =
        rms_norm::reference
}

compiled! {
    /// [`mlp::reference`].
    fn gated(tables: &Tables, gate: (&[i32], i32), up: (&[i32], i32)) -> (Vec<i32>, i32) = mlp::reference
}

compiled! {
    /// [`mlp::limited`].
    fn limited(tables: &Tables, limit: u32, gate: (&[i32], i32), up: (&[i32], i32)) -> (Vec<i32>, i32) = mlp::limited
}

compiled! {
    /// [`layer_norm::reference`].
    fn layer_norm(eps: Eps, tables: &Tables, norm: (&Gain, &Bias), x: &mut [i32], exponent: i32) = layer_norm::reference
}

compiled! {
    /// [`layer_norm::block`].
    fn layer_norm_block(eps: Eps, tables: &Tables, norm: (&Gain, &Bias), x: &[i32], exponent: i32) -> (Vec<i32>, i32) =
        layer_norm::block
}

compiled! {
    /// [`gelu::reference`].
    fn gelu(tables: &Tables, x: &[i32], exponent: i32) -> (Vec<i32>, i32) = gelu::reference
}

compiled! {
    /// [`block::fit`].
    fn fit(row: &mut [i32]) -> i32 = block::fit
}

compiled! {
    /// [`bias::reference`].
    fn add_bias(bias: &Bias, y: &mut [i32], exponent: i32) -> i32 = bias::reference
}

compiled! {
    /// [`rope::normalise`].
    fn normalise_heads(eps: Eps, tables: &Tables, gain: &Gain, row: &[i32], exponent: i32) -> Heads = rope::normalise
}

compiled! {
    /// [`rope::normalise_row`].
    fn normalise_row(eps: Eps, tables: &Tables, gain: &Gain, row: (&[i32], i32), head_dim: usize) -> Heads =
        rope::normalise_row
}

compiled! {
    /// [`rms_norm::wide`].
    fn normalise_wide(eps: Eps, tables: &Tables, gain: &Gain, x: &[i32], exponent: i32) -> (Vec<i32>, i32) =
        rms_norm::wide
}

compiled! {
    /// [`rope::split`].
    fn split(row: &[i32], exponent: i32, head_dim: usize) -> Heads = rope::split
}

compiled! {
    /// [`rope::rotate`].
    fn rotate(rotation: &Rotation, position: u32, head_dim: usize, heads: &mut Heads) = rope::rotate
}

compiled! {
    /// [`rope::scale_queries`].
    fn scale_queries(config: &ModelConfig, heads: &mut Heads) = rope::scale_queries
}

compiled! {
    /// [`attention::head_in_words`].
    fn attend_head(
        config: &ModelConfig,
        tables: &Tables,
        queries: &Heads,
        cache: &LayerCache,
        place: (Range<usize>, usize),
        scoring: Scores<'_>,
    ) -> (Vec<i32>, i32) = attention::head_in_words
}

compiled! {
    /// [`attention::join`].
    fn join(row: Vec<i32>, exponents: &[i32], width: usize) -> (Vec<i32>, i32) = attention::join
}

compiled! {
    /// [`block::add_weighed`].
    fn add_weighed(x: &mut [i32], y: &[i32], weight: u32, shift: i32) = block::add_weighed
}

compiled! {
    /// [`block::add`].
    fn add(x: &mut [i32], y: &[i32], shift: i32) = block::add
}
