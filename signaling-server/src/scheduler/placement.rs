//! Layers to nodes: contiguous ranges, longer ones for faster nodes, within each one's memory.
//!
//! As many nodes as there are layers form one pipeline; further ones repeat its ranges. A node with
//! layers keeps them as far as the sizes allow, and its place in the pipeline otherwise, so that who
//! comes and goes moves few weights.
//!
//! Nodes that have done no work worth mentioning yet, *newcomers*, take no part in the pipeline where
//! others can: they are further copies of its inner ranges. The first range reads the text, the last
//! one draws the tokens, and a copy that fails is made good for by the other.

use potluck_protocol::id::LayerRange;

use crate::models::ModelInfo;

/// What a registered node can hold, and holds; nodes are listed in the order of registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Capacity {
    /// Memory for weights.
    pub(super) memory_bytes: u64,
    /// Multiply-accumulates a millisecond.
    pub(super) macs_per_ms: u64,
    /// False for a newcomer.
    pub(super) is_established: bool,
    /// The layers that it has or is fetching.
    pub(super) current: Option<LayerRange>,
}

/// Established nodes without which newcomers are used like everybody else: two hold the ends.
const ENDS: usize = 2;
/// Layers that a model must have for a range between its ends.
const LEAST_LAYERS: u32 = 3;
/// How many times longer than it need be the slowest stage may take, before weights are moved for
/// that alone.
const WORTH_MOVING: u64 = 2;

/// A range for every node, in their order; `None` for those that get no layers.
pub(super) fn plan(model: &ModelInfo, nodes: &[Capacity]) -> Vec<Option<LayerRange>> {
    let mut plan = vec![None; nodes.len()];
    // Nodes without room for a single layer stay out.
    let able = (0..nodes.len()).filter(|i| room(model, &nodes[*i], 1));
    let (established, newcomers): (Vec<usize>, Vec<usize>) =
        able.clone().partition(|i| nodes[*i].is_established);
    if established.len() < ENDS || model.layers < LEAST_LAYERS {
        let able: Vec<usize> = able.collect();
        let ranges = pipeline(model, nodes, in_order(nodes, &able), &mut plan);
        spread(model, nodes, &able, &ranges, &mut plan);
        return plan;
    }
    let members = with_needed(model, nodes, &established, &newcomers);
    let mut members = in_order(nodes, &members);
    put_established_at_the_ends(nodes, &mut members);
    let ranges = pipeline(model, nodes, members, &mut plan);
    spread(model, nodes, &established, &ranges, &mut plan);
    let inner = ranges.get(1..ranges.len().saturating_sub(1)).unwrap_or_default();
    spread(model, nodes, &newcomers, inner, &mut plan);
    plan
}

/// The established nodes, and as many newcomers as it takes for all layers to be held and for a
/// range between the ends.
fn with_needed(
    model: &ModelInfo,
    nodes: &[Capacity],
    established: &[usize],
    newcomers: &[usize],
) -> Vec<usize> {
    let mut members = established.to_vec();
    let mut held: u64 = members.iter().map(|i| most_layers(model, &nodes[*i])).sum();
    for newcomer in newcomers {
        if members.len() > ENDS && held >= u64::from(model.layers) {
            break;
        }
        held = held.saturating_add(most_layers(model, &nodes[*newcomer]));
        members.push(*newcomer);
    }
    members
}

/// In the order of the layers that they have now. The sort is stable, so those who have none go to
/// the end in the order in which they registered.
fn in_order(nodes: &[Capacity], members: &[usize]) -> Vec<usize> {
    let mut members = members.to_vec();
    members.sort_by_key(|i| nodes[*i].current.map_or(u32::MAX, |layers| layers.first));
    members
}

/// The consecutive ranges that a model is cut into for these nodes. Where there are fewer of them
/// than layers, each is given one; otherwise every layer is a range, and nobody is given any yet.
fn pipeline(
    model: &ModelInfo,
    nodes: &[Capacity],
    members: Vec<usize>,
    plan: &mut [Option<LayerRange>],
) -> Vec<LayerRange> {
    if members.len() >= model.layers as usize {
        return (0..model.layers).map(|first| LayerRange { first, end: first + 1 }).collect();
    }
    let capacities: Vec<&Capacity> = members.iter().map(|i| &nodes[*i]).collect();
    let sizes = sizes(model, &capacities);
    let mut ranges = Vec::new();
    if is_settled(model, &capacities, &sizes) {
        ranges.extend(capacities.iter().filter_map(|node| node.current));
    } else {
        let mut first = 0;
        for size in sizes {
            ranges.push(LayerRange { first, end: first + size });
            first += size;
        }
    }
    for (index, range) in members.iter().zip(&ranges) {
        plan[*index] = Some(*range);
    }
    ranges
}

/// Moves an established node to either end; the others keep their order.
fn put_established_at_the_ends(nodes: &[Capacity], members: &mut [usize]) {
    let is_established = |i: &usize| nodes[*i].is_established;
    if let Some(place) = members.iter().position(is_established) {
        members[..=place].rotate_right(1);
    }
    if let Some((_, rest)) = members.split_first_mut()
        && let Some(place) = rest.iter().rposition(is_established)
    {
        rest[place..].rotate_left(1);
    }
}

/// True if the nodes, in their order, hold the model as it is, without one of them being much slower
/// than with the sizes that they would be given now: then nothing moves.
fn is_settled(model: &ModelInfo, nodes: &[&Capacity], sizes: &[u32]) -> bool {
    let mut next = 0;
    let mut held = Vec::new();
    for node in nodes {
        match node.current {
            Some(range) if range.first == next && bytes(model, range) <= node.memory_bytes => {
                next = range.end;
                held.push(range.len());
            }
            _ => return false,
        }
    }
    next == model.layers && slowest(nodes, &held) <= WORTH_MOVING * slowest(nodes, sizes)
}

/// What the slowest stage takes, in any unit.
fn slowest(nodes: &[&Capacity], sizes: &[u32]) -> u64 {
    let times = nodes.iter().zip(sizes).map(|(node, size)| time(node, *size));
    times.max().unwrap_or(0)
}

/// Gives each of `members` that has no range yet one of `ranges`: its own where it has one of them,
/// otherwise the one with the fewest copies. Where copies are too uneven, those who came last move.
fn spread(
    model: &ModelInfo,
    nodes: &[Capacity],
    members: &[usize],
    ranges: &[LayerRange],
    plan: &mut [Option<LayerRange>],
) {
    let sizes: Vec<u64> = ranges.iter().map(|range| bytes(model, *range)).collect();
    let fits = |node: usize, range: usize| sizes[range] <= nodes[node].memory_bytes;
    let mut holders = vec![Vec::new(); ranges.len()];
    let mut without = Vec::new();
    for node in members {
        let held = plan[*node].or(nodes[*node].current);
        let place = held.and_then(|held| ranges.binary_search(&held).ok());
        match place.filter(|range| plan[*node].is_some() || fits(*node, *range)) {
            Some(range) => holders[range].push(*node),
            // A member of the pipeline whose range is none of these.
            None if plan[*node].is_some() => {}
            None => without.push(*node),
        }
    }
    for node in without {
        let fewest = (0..ranges.len()).filter(|r| fits(node, *r)).min_by_key(|r| holders[*r].len());
        if let Some(range) = fewest {
            holders[range].push(node);
        }
    }
    even_out(&mut holders, fits);
    for (range, holders) in ranges.iter().zip(holders) {
        for node in holders {
            plan[node] = Some(*range);
        }
    }
}

/// Moves nodes from the ranges with the most holders to those with the fewest, until a range has at
/// most one more than one and a half times as many as another: none is without while another has
/// two, and where there are many, some may go without anybody's moving.
fn even_out(holders: &mut [Vec<usize>], fits: impl Fn(usize, usize) -> bool) {
    // Ranges that nobody who could move has room for.
    let mut stuck = vec![false; holders.len()];
    loop {
        let open = (0..holders.len()).filter(|r| !stuck[*r]);
        let Some(to) = open.min_by_key(|r| holders[*r].len()) else { return };
        let Some(from) = (0..holders.len()).max_by_key(|r| holders[*r].len()) else { return };
        let fewest = holders[to].len();
        if holders[from].len() <= fewest + 1 + fewest / 2 {
            return;
        }
        match holders[from].iter().rposition(|node| fits(*node, to)) {
            Some(place) => {
                let node = holders[from].remove(place);
                holders[to].push(node);
            }
            None => stuck[to] = true,
        }
    }
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
            .min_by_key(|i| (time(nodes[*i], sizes[*i] + 1), *i));
        let Some(next) = next else { break };
        sizes[next] += 1;
        left -= 1;
    }
    sizes
}

/// What so many layers take a node, in units fine enough to compare as integers.
fn time(node: &Capacity, layers: u32) -> u64 {
    u64::from(layers) * SCALE / node.macs_per_ms.max(1)
}

/// Makes the quotient of layers and speed an integer fine enough to compare.
const SCALE: u64 = 1 << 48;

/// True if `layers` layers fit. The embedding and the head are counted for every node, as any may
/// get either end of the model.
fn room(model: &ModelInfo, node: &Capacity, layers: u32) -> bool {
    u64::from(layers) <= most_layers(model, node)
}

/// How many layers fit, with both ends of the model.
fn most_layers(model: &ModelInfo, node: &Capacity) -> u64 {
    let largest = model.layer_bytes.iter().copied().max().unwrap_or(0);
    let ends = model.embedding_bytes + model.head_bytes + model.tables_bytes;
    match node.memory_bytes.checked_sub(ends) {
        None => 0,
        Some(left) => left.checked_div(largest).unwrap_or(u64::MAX).min(u64::from(model.layers)),
    }
}
