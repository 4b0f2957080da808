// #import model, heads, rescale, fit, pairs, bias
//
// From an encoder's query, key and value projections to queries, keys and values: bias, fit, and
// for queries scale, fit (`split_heads`); where queries and keys turn, there are no biases
// (`turn_heads`).
//
//   split_heads:  e' = max(e, be - 4),  y' = rescale(y, e - e') + rescale(b, be - e'),  (m, n) = fit(head),  exponent e' + n
//   turn_heads:  (m, n) = fit(head), exponent e + n;  of queries and keys pairs a = m[j], b = m[j + head_dim/2]:
//     (a*cos - b*sin, b*cos + a*sin), fit, exponent + n - 14
//   queries only:  m * qk_scale, fit, exponent + n - 15
//
// One workgroup a row and head. An invocation keeps to its own pairs, so only the maxima cross: one
// barrier each. Keys and values lie as in a KV cache, a word for the two elements of one pair as
// i16 (the first in the low half); a row's place there is its own number.

@group(0) @binding(0) var<uniform> model: Model;
@group(0) @binding(1) var<uniform> heads: Heads;
@group(0) @binding(2) var<storage, read> projected: array<i32>;               // [rows, (heads + 2 * kv_heads) * head_dim]: q, k, v
@group(0) @binding(3) var<storage, read> exponents: array<i32>;               // [rows], of the projections' input
@group(0) @binding(4) var<storage, read> biases: array<i32>;                  // [(heads + 2 * kv_heads) * head_dim]
// `turn_heads` has this instead of biases.
@group(0) @binding(4) var<storage, read> turns: array<u32>;                   // [rows, head_dim / 2]: of each row's position, cos in the low i16, sin in the high
@group(0) @binding(5) var<storage, read_write> queries: array<i32>;           // [rows, heads, head_dim]
@group(0) @binding(6) var<storage, read_write> query_exponents: array<i32>;   // [rows, heads]
@group(1) @binding(0) var<storage, read_write> keys: array<u32>;              // [rows, kv_heads, head_dim / 2]
@group(1) @binding(1) var<storage, read_write> values: array<u32>;            // [rows, kv_heads, head_dim / 2]
@group(1) @binding(2) var<storage, read_write> cache_exponents: array<i32>;   // [rows, 2, kv_heads]: keys, then values

override INVOCATIONS: u32 = 64u; // of a workgroup, a power of two

const MAX_PAIRS = 128u;  // head_dim <= 256, checked when a model is set

var<workgroup> pairs: array<vec2<i32>, MAX_PAIRS>; // a slot is touched by one invocation only
// Workgroup memory starts as zero, which is the identity of a maximum of magnitudes.
var<workgroup> largest_biased: atomic<u32>;
var<workgroup> largest_turned: atomic<u32>;
var<workgroup> largest_scaled: atomic<u32>;

// Puts away the head whose pairs fit once scaled down by `n`.
fn store(row: u32, head: u32, lane: u32, fitted: i32, exponent: i32) {
    let half = model.head_dim / 2u;
    let is_query = head < model.heads;
    let is_value = head >= model.heads + model.kv_heads;
    if (!is_query) {
        let kv_head = head - model.heads - select(0u, model.kv_heads, is_value);
        let to = (row * model.kv_heads + kv_head) * half;
        for (var j = lane; j < half; j += INVOCATIONS) {
            let word = pack_pair(fit_pair(pairs[j], fitted));
            if (is_value) {
                values[to + j] = word;
            } else {
                keys[to + j] = word;
            }
        }
        if (lane == 0u) {
            cache_exponents[(row * 2u + select(0u, 1u, is_value)) * model.kv_heads + kv_head] = exponent;
        }
        return;
    }

    var largest = 0u;
    for (var j = lane; j < half; j += INVOCATIONS) {
        let scaled = fit_pair(pairs[j], fitted) * bitcast<i32>(model.qk_scale);
        pairs[j] = scaled;
        largest = max(largest, pair_magnitude(scaled));
    }
    atomicMax(&largest_scaled, largest);
    workgroupBarrier(); // the scaled head's maximum is complete
    let n = fit_exponent(atomicLoad(&largest_scaled));
    let to = (row * model.heads + head) * model.head_dim;
    for (var j = lane; j < half; j += INVOCATIONS) {
        let pair = fit_pair(pairs[j], n);
        queries[to + j] = pair.x;
        queries[to + half + j] = pair.y;
    }
    if (lane == 0u) {
        query_exponents[row * model.heads + head] = exponent + n - 15;
    }
}

@compute @workgroup_size(INVOCATIONS)
fn split_heads(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = workgroup.x; // queries, then keys, then values
    let row = workgroup.y;
    let half = model.head_dim / 2u;
    let all_heads = model.heads + 2u * model.kv_heads;
    let start = (row * all_heads + head) * model.head_dim;
    let is_query = head < model.heads;
    let is_value = head >= model.heads + model.kv_heads;

    let own_exponent = exponents[row] + select(select(heads.key_exponent, heads.query_exponent, is_query), heads.value_exponent, is_value);
    let bias_exponent =
        select(select(heads.key_bias_exponent, heads.query_bias_exponent, is_query), heads.value_bias_exponent, is_value);
    let shared_exponent = max(own_exponent, bias_exponent - BIAS_HEADROOM);
    var largest = 0u;
    for (var j = lane; j < half; j += INVOCATIONS) {
        let at = head * model.head_dim + j;
        let first = rescale(biases[at], bias_exponent - shared_exponent);
        let second = rescale(biases[at + half], bias_exponent - shared_exponent);
        let pair = vec2<i32>(
            rescale(projected[start + j], own_exponent - shared_exponent) + first,
            rescale(projected[start + half + j], own_exponent - shared_exponent) + second,
        );
        pairs[j] = pair;
        largest = max(largest, pair_magnitude(pair));
    }
    atomicMax(&largest_biased, largest);
    workgroupBarrier(); // the head's maximum is complete
    let n = fit_exponent(atomicLoad(&largest_biased));
    store(row, head, lane, n, shared_exponent + n);
}

@compute @workgroup_size(INVOCATIONS)
fn turn_heads(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = workgroup.x; // queries, then keys, then values
    let row = workgroup.y;
    let half = model.head_dim / 2u;
    let all_heads = model.heads + 2u * model.kv_heads;
    let start = (row * all_heads + head) * model.head_dim;
    let is_query = head < model.heads;
    let is_value = head >= model.heads + model.kv_heads;

    var largest = 0u;
    for (var j = lane; j < half; j += INVOCATIONS) {
        // As with a bias of zero.
        let pair = vec2<i32>(rescale(projected[start + j], 0), rescale(projected[start + half + j], 0));
        pairs[j] = pair;
        largest = max(largest, pair_magnitude(pair));
    }
    atomicMax(&largest_biased, largest);
    workgroupBarrier(); // the head's maximum is complete
    var n = fit_exponent(atomicLoad(&largest_biased));
    var exponent = exponents[row] + select(select(heads.key_exponent, heads.query_exponent, is_query), heads.value_exponent, is_value) + n;

    if (!is_value) {
        largest = 0u;
        for (var j = lane; j < half; j += INVOCATIONS) {
            let pair = fit_pair(pairs[j], n);
            let turn = unpack_pair(turns[row * half + j]);
            let turned = vec2<i32>(pair.x * turn.x - pair.y * turn.y, pair.y * turn.x + pair.x * turn.y);
            pairs[j] = turned;
            largest = max(largest, pair_magnitude(turned));
        }
        atomicMax(&largest_turned, largest);
        workgroupBarrier(); // the turned head's maximum is complete
        n = fit_exponent(atomicLoad(&largest_turned));
        exponent += n - 14;
    }
    store(row, head, lane, n, exponent);
}
