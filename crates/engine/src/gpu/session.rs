//! A session's KV cache on the device: three buffers a layer, position after position, so that
//! growing is one copy and going back in the text is overwriting. Of a layer with a window it is a ring.
//! It starts small and doubles up to
//! the model's context: most conversations are short, and a visitor's memory is lent. Does not know
//! which layers compute.

use std::ops::Range;

use super::model::activation;
use super::pipelines::Pipelines;
use crate::step::ring;
use potluck_model::package::ModelConfig;

/// Positions that a new session has room for: a short question and its answer.
const FIRST_POSITIONS: u32 = 256;

/// One open session.
#[derive(Debug)]
pub(super) struct Session {
    /// The layers that it runs through.
    pub(super) layers: Range<u32>,
    /// Rows that its caches hold.
    pub(super) held: u32,
    /// The caches of `layers`, in order.
    pub(super) caches: Caches,
}

/// The caches of consecutive layers.
#[derive(Debug)]
pub(super) struct Caches {
    /// Positions that there is room for.
    pub(super) capacity: u32,
    layers: Vec<Cache>,
}

/// One layer's cache.
#[derive(Debug)]
pub(super) struct Cache {
    /// Keys and values `[capacity or ring, kv_heads, head_dim / 2]` of two `i16`, exponents
    /// `[capacity, 2, kv_heads]`.
    planes: [wgpu::Buffer; 3],
    /// Group 1 of `rope`, `attention` and `rope_attention`.
    pub(super) group: wgpu::BindGroup,
}

impl Caches {
    /// Empty caches for `layers` layers, with room for at least `positions`.
    pub(super) fn new(
        device: &wgpu::Device,
        pipelines: &Pipelines,
        config: &ModelConfig,
        layers: Range<u32>,
        positions: u32,
    ) -> Self {
        let mut capacity = FIRST_POSITIONS;
        while capacity < positions {
            capacity *= 2;
        }
        let capacity = capacity.min(config.max_positions);
        let layers = layers
            .map(|index| {
                let window = config.layer_kind(index).window;
                let capacity = window.map_or(capacity, |window| capacity.min(ring(window)));
                let [positions, kv_heads, half] =
                    [capacity, config.kv_heads, config.head_dim / 2].map(u64::from);
                let planes = [
                    activation(device, "keys", positions * kv_heads * half * 4),
                    activation(device, "values", positions * kv_heads * half * 4),
                    activation(device, "cache exponents", positions * 2 * kv_heads * 4),
                ];
                let buffers = planes.each_ref();
                Cache { group: pipelines.rope.bind_cache(device, &buffers), planes }
            })
            .collect();
        Self { capacity, layers }
    }

    /// Copies everything that smaller caches hold, in `encoder`'s order.
    pub(super) fn copy_from(&self, smaller: &Self, encoder: &mut wgpu::CommandEncoder) {
        for (to, from) in self.layers.iter().zip(&smaller.layers) {
            for (to, from) in to.planes.iter().zip(&from.planes) {
                encoder.copy_buffer_to_buffer(from, 0, to, 0, from.size());
            }
        }
    }

    /// The cache of the layer at this index among the session's.
    pub(super) fn at(&self, index: usize) -> &Cache {
        &self.layers[index]
    }
}
