//! Layers to nodes: contiguous ranges, longer ones for faster nodes, within each one's memory.
//!
//! As many nodes as there are layers form one pipeline; further ones repeat the ranges that have
//! the fewest copies. A node with layers keeps its place in the pipeline as far as the sizes allow,
//! so that a newcomer moves few weights.

use potluck_protocol::id::LayerRange;

use crate::models::ModelInfo;

/// What a registered node can hold, and holds; nodes are listed in the order of registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Capacity {
    /// Memory for weights.
    pub(super) memory_bytes: u64,
    /// Multiply-accumulates a millisecond.
    pub(super) macs_per_ms: u64,
    /// The layers that it has or is fetching.
    pub(super) current: Option<LayerRange>,
}

/// A range for every node, in their order; `None` for those that get no layers.
pub(super) fn plan(model: &ModelInfo, nodes: &[Capacity]) -> Vec<Option<LayerRange>> {
    if is_settled(model, nodes) {
        return nodes.iter().map(|node| node.current).collect();
    }
    let mut plan = vec![None; nodes.len()];
    // Nodes without room for a single layer stay out.
    let able: Vec<usize> = (0..nodes.len()).filter(|i| room(model, &nodes[*i], 1)).collect();
    let count = able.len().min(model.layers as usize);
    let (pipeline, spare) = able.split_at(count);
    let mut pipeline = pipeline.to_vec();
    // The sort is stable, so newcomers, who have no layers yet, go to the end in the order in which
    // they registered.
    pipeline.sort_by_key(|i| nodes[*i].current.map_or(u32::MAX, |layers| layers.first));
    let sizes = sizes(model, &pipeline.iter().map(|i| &nodes[*i]).collect::<Vec<_>>());
    let mut first = 0;
    for (index, size) in pipeline.iter().zip(sizes) {
        plan[*index] = LayerRange::new(first, first + size);
        first += size;
    }
    let ranges: Vec<LayerRange> = plan.iter().flatten().copied().collect();
    let mut copies = vec![1_u32; ranges.len()];
    for index in spare {
        let fits = |range: &LayerRange| bytes(model, *range) <= nodes[*index].memory_bytes;
        let fewest = (0..ranges.len()).filter(|r| fits(&ranges[*r])).min_by_key(|r| {
            // Among ranges with equally many copies, the one that the node has already.
            (copies[*r], nodes[*index].current != Some(ranges[*r]))
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

/// True if every node has layers, together they cover the model, and it could not be spread over
/// more nodes: then nothing moves.
fn is_settled(model: &ModelInfo, nodes: &[Capacity]) -> bool {
    let mut ranges: Vec<LayerRange> = Vec::new();
    for node in nodes {
        match node.current {
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
    // With fewer ranges than nodes that could have one, the model would be less spread than it can
    // be.
    next == model.layers && ranges.len() == nodes.len().min(model.layers as usize)
}

/// Sizes of consecutive ranges: at least one layer each, in proportion to speed, within memory.
/// They sum to the model's layers unless all memory together does not hold it.
fn sizes(model: &ModelInfo, nodes: &[&Capacity]) -> Vec<u32> {
    let mut sizes = vec![1_u32; nodes.len()];
    if nodes.is_empty() {
        return sizes;
    }
    let mut left = model.layers.saturating_sub(u32::try_from(nodes.len()).unwrap_or(u32::MAX));
    // One layer at a time goes to the node that would be done with its layers soonest: that makes
    // sizes proportional to speed, and is easy to keep within memory.
    while left > 0 {
        let next = (0..nodes.len())
            .filter(|i| room(model, nodes[*i], sizes[*i] + 1))
            .min_by_key(|i| (u64::from(sizes[*i] + 1) * SCALE / nodes[*i].macs_per_ms.max(1), *i));
        let Some(next) = next else { break };
        sizes[next] += 1;
        left -= 1;
    }
    sizes
}

/// Makes the quotient of layers and speed an integer fine enough to compare.
const SCALE: u64 = 1 << 40;

/// True if `layers` layers fit. The embedding and the head are counted for every node, as any may
/// get either end of the model.
fn room(model: &ModelInfo, node: &Capacity, layers: u32) -> bool {
    let largest = model.layer_bytes.iter().copied().max().unwrap_or(0);
    let ends = model.embedding_bytes + model.head_bytes + model.tables_bytes;
    u64::from(layers).saturating_mul(largest).saturating_add(ends) <= node.memory_bytes
}
