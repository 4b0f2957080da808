// #import forward, model, projections, rescale, fit, pairs
//
// From the query, key and value projections to queries and the KV cache: fit, rotate, fit, and for
// queries scale, fit.
//
//   (m, n) = fit(head),  pairs a = m[j], b = m[j + head_dim/2]:  (a*cos - b*sin, b*cos + a*sin), fit, exponent + n - 14
//   queries only:  m * qk_scale, fit, exponent + n - 15;   values are fitted once and not rotated
//
// A layer may leave the rotation out. One workgroup a row and head. An invocation keeps to its own pairs, so only the maxima cross: one
// barrier each. A cache word holds the two elements of one pair as i16 (the first in the low half):
// whoever computed them writes them.

@group(0) @binding(0) var<uniform> model: Model;
@group(0) @binding(1) var<uniform> forward: Forward;
@group(0) @binding(2) var<uniform> projections: Projections;
@group(0) @binding(3) var<storage, read> projected: array<i32>;               // [rows, (heads + 2 * kv_heads) * head_dim]: q, k, v
@group(0) @binding(4) var<storage, read> exponents: array<i32>;               // [rows, exponents_a_row]
@group(0) @binding(5) var<storage, read> rotation: array<u32>;                // [rotations, max_positions, head_dim / 2], cos in the low i16, sin in the high
@group(0) @binding(6) var<storage, read_write> queries: array<i32>;           // [rows, heads, head_dim]
@group(0) @binding(7) var<storage, read_write> query_exponents: array<i32>;   // [rows, heads]
@group(1) @binding(0) var<storage, read_write> keys: array<u32>;              // [capacity, kv_heads, head_dim / 2]
@group(1) @binding(1) var<storage, read_write> values: array<u32>;            // [capacity, kv_heads, head_dim / 2]
@group(1) @binding(2) var<storage, read_write> cache_exponents: array<i32>;   // [capacity, 2, kv_heads]: keys, then values

override INVOCATIONS: u32 = 64u; // of a workgroup, a power of two

const MAX_PAIRS = 128u; // head_dim <= 256, checked when a model is set

var<workgroup> pairs: array<vec2<i32>, MAX_PAIRS>; // a slot is touched by one invocation only
// Workgroup memory starts as zero, which is the identity of a maximum of magnitudes.
var<workgroup> largest_projected: atomic<u32>;
var<workgroup> largest_rotated: atomic<u32>;
var<workgroup> largest_scaled: atomic<u32>;

@compute @workgroup_size(INVOCATIONS)
fn rope(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = workgroup.x; // queries, then keys, then values
    let row = forward.first_row + workgroup.y;
    let half = model.head_dim / 2u;
    let all_heads = model.heads + 2u * model.kv_heads;
    let start = (row * all_heads + head) * model.head_dim;
    let position = forward.position + workgroup.y;
    // Where the cache has it.
    let place = position & ~projections.dropped;

    var largest = 0u;
    for (var j = lane; j < half; j += INVOCATIONS) {
        let pair = vec2<i32>(projected[start + j], projected[start + half + j]);
        pairs[j] = pair;
        largest = max(largest, pair_magnitude(pair));
    }
    atomicMax(&largest_projected, largest);
    workgroupBarrier(); // the head's maximum is complete
    var n = fit_exponent(atomicLoad(&largest_projected));
    let own = select(0u, head, projections.exponents_a_row > 1u);
    var exponent = exponents[row * projections.exponents_a_row + own] + n;

    if (head >= model.heads + model.kv_heads) {
        let kv_head = head - model.heads - model.kv_heads;
        for (var j = lane; j < half; j += INVOCATIONS) {
            values[(place * model.kv_heads + kv_head) * half + j] = pack_pair(fit_pair(pairs[j], n));
        }
        if (lane == 0u) {
            cache_exponents[(place * 2u + 1u) * model.kv_heads + kv_head] = exponent + projections.value_exponent;
        }
        return;
    }

    if (projections.rotates == 1u) {
        largest = 0u;
        for (var j = lane; j < half; j += INVOCATIONS) {
            let pair = fit_pair(pairs[j], n);
            let turn = unpack_pair(rotation[projections.rotation_start + position * half + j]);
            let rotated = vec2<i32>(pair.x * turn.x - pair.y * turn.y, pair.y * turn.x + pair.x * turn.y);
            pairs[j] = rotated;
            largest = max(largest, pair_magnitude(rotated));
        }
        atomicMax(&largest_rotated, largest);
        workgroupBarrier(); // the rotated head's maximum is complete
        n = fit_exponent(atomicLoad(&largest_rotated));
        exponent += n - 14;
    }

    if (head >= model.heads) {
        let kv_head = head - model.heads;
        for (var j = lane; j < half; j += INVOCATIONS) {
            keys[(place * model.kv_heads + kv_head) * half + j] = pack_pair(fit_pair(pairs[j], n));
        }
        if (lane == 0u) {
            cache_exponents[place * 2u * model.kv_heads + kv_head] = exponent + projections.key_exponent;
        }
        return;
    }

    largest = 0u;
    for (var j = lane; j < half; j += INVOCATIONS) {
        let scaled = fit_pair(pairs[j], n) * bitcast<i32>(model.qk_scale);
        pairs[j] = scaled;
        largest = max(largest, pair_magnitude(scaled));
    }
    atomicMax(&largest_scaled, largest);
    workgroupBarrier(); // the scaled head's maximum is complete
    n = fit_exponent(atomicLoad(&largest_scaled));
    let out = (row * model.heads + head) * model.head_dim;
    for (var j = lane; j < half; j += INVOCATIONS) {
        let pair = fit_pair(pairs[j], n);
        queries[out + j] = pair.x;
        queries[out + half + j] = pair.y;
    }
    if (lane == 0u) {
        query_exponents[row * model.heads + head] = exponent + n - 15 + projections.query_exponent;
    }
}
