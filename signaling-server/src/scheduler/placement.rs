//! Layers to nodes: contiguous ranges, longer ones for the faster, within everybody's memory.
//!
//! As many nodes as there are layers stand in one pipeline; further ones repeat the ranges that
//! have the fewest copies. Who is in place stays there as far as the sizes allow, so that a
//! newcomer moves few weights.

use potluck_protocol::id::LayerRange;

use crate::models::ModelInfo;

/// A node, as far as placing goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Memory for weights, bytes.
    pub(super) memory_bytes: u64,
    /// Multiply-accumulates a millisecond.
    pub(super) speed: u64,
    /// Who came first.
    pub(super) order: u64,
    /// What it holds or is fetching.
    pub(super) current: Option<LayerRange>,
}

/// A range for every candidate, in their order; `None` where there is nothing to hold for it.
pub(super) fn plan(model: &ModelInfo, candidates: &[Candidate]) -> Vec<Option<LayerRange>> {
    if is_settled(model, candidates) {
        return candidates.iter().map(|candidate| candidate.current).collect();
    }
    let mut plan = vec![None; candidates.len()];
    // Those with no room for a single layer stay out.
    let able: Vec<usize> =
        (0..candidates.len()).filter(|i| room(model, &candidates[*i], 1)).collect();
    let count = able.len().min(model.layers as usize);
    let (pipeline, spare) = able.split_at(count);
    let mut pipeline = pipeline.to_vec();
    // By place: a stable sort, so newcomers (no place yet) go to the end in the order they came.
    pipeline.sort_by_key(|i| candidates[*i].current.map_or(u32::MAX, |layers| layers.first));
    let sizes = sizes(model, &pipeline.iter().map(|i| &candidates[*i]).collect::<Vec<_>>());
    let mut first = 0;
    for (index, size) in pipeline.iter().zip(sizes) {
        plan[*index] = LayerRange::new(first, first + size);
        first += size;
    }
    let ranges: Vec<LayerRange> = plan.iter().flatten().copied().collect();
    let mut copies = vec![1_u32; ranges.len()];
    for index in spare {
        let fits = |range: &LayerRange| bytes(model, *range) <= candidates[*index].memory_bytes;
        let fewest = (0..ranges.len()).filter(|r| fits(&ranges[*r])).min_by_key(|r| {
            // Among equals the one it has already.
            (copies[*r], candidates[*index].current != Some(ranges[*r]))
        });
        if let Some(range) = fewest {
            copies[range] += 1;
            plan[*index] = Some(ranges[range]);
        }
    }
    plan
}

/// Bytes of weights for a range.
pub(super) fn bytes(model: &ModelInfo, range: LayerRange) -> u64 {
    let layers: u64 = model
        .layer_bytes
        .get(range.first as usize..range.end as usize)
        .unwrap_or_default()
        .iter()
        .sum();
    let embedding = if range.first == 0 { model.embedding_bytes } else { 0 };
    let head = if range.end == model.layers { model.head_bytes } else { 0 };
    layers + embedding + head + model.tables_bytes
}

/// True if everybody has a place, the places cover the model, and nobody is missing from them: then
/// nothing moves.
fn is_settled(model: &ModelInfo, candidates: &[Candidate]) -> bool {
    let mut ranges: Vec<LayerRange> = Vec::new();
    for candidate in candidates {
        match candidate.current {
            Some(range) => ranges.push(range),
            None => return false,
        }
    }
    ranges.sort_unstable();
    ranges.dedup();
    let mut next = 0;
    for range in &ranges {
        if range.first != next {
            return false;
        }
        next = range.end;
    }
    // Fewer ranges than the nodes could stand in would leave the model less spread than it can
    // be.
    next == model.layers && ranges.len() == candidates.len().min(model.layers as usize)
}

/// Sizes of consecutive ranges: at least one layer each, in proportion to speed, within memory.
/// They sum to the model's layers unless all memory together does not hold it.
fn sizes(model: &ModelInfo, candidates: &[&Candidate]) -> Vec<u32> {
    let mut sizes = vec![1_u32; candidates.len()];
    if candidates.is_empty() {
        return sizes;
    }
    let mut left = model.layers.saturating_sub(u32::try_from(candidates.len()).unwrap_or(u32::MAX));
    // One layer at a time to whoever would be done with it soonest: proportional to speed, and easy
    // to keep within memory.
    while left > 0 {
        let next = (0..candidates.len())
            .filter(|i| room(model, candidates[*i], sizes[*i] + 1))
            .min_by_key(|i| (u64::from(sizes[*i] + 1) * SCALE / candidates[*i].speed.max(1), *i));
        let Some(next) = next else { break };
        sizes[next] += 1;
        left -= 1;
    }
    sizes
}

/// Makes the quotient of layers and speed an integer fine enough to compare.
const SCALE: u64 = 1 << 40;

/// True if `layers` layers fit; the embedding and the head are counted wherever, as either end may
/// come to this node.
fn room(model: &ModelInfo, candidate: &Candidate, layers: u32) -> bool {
    let largest = model.layer_bytes.iter().copied().max().unwrap_or(0);
    let ends = model.embedding_bytes + model.head_bytes + model.tables_bytes;
    u64::from(layers).saturating_mul(largest).saturating_add(ends) <= candidate.memory_bytes
}
