// #import forward, model, projections, exp2, exp2_neg, rescale, fit, mul_shift, pairs, ordered, head_outputs, store_quad, scoring
//
// Attention of one query head over the cache (`attention`) or over its own text
// (`attention_texts`), and all heads of a row into one block (`merge_heads`).
//
//   score_j = soft_cap(rescale(floor(sum q * k_j / 2^7), qe + ke_j + 23))  a base-2 logarithm in Q16
//   p_j = exp2_neg(max score - score_j),  P = sum p_j                       Q15; a sink is one more score, without a value
//   E = max ve_j,  O = sum p_j * rescale(v_j, ve_j - E)                     two words: sum of (. >> 16), sum of (. & 0xffff)
//   b = bits(P),  o = mul_shift(O >> (b - 16), 2^31 / (P >> (b - 16)), 15), exponent E - 16
//   merge: Eo = max of the heads' exponents,  (m, n) = fit(rescale(o, oe - Eo)),  exponent Eo + n
//
// `attention`: one workgroup a row and head. The maximum must be known before the first weight
// (exp2_neg rounds, so a running maximum would change the result). The scores of the first KEPT
// positions are kept (SwiftShader decodes 1.26 times faster at position 900); the others are
// computed again, which needs no memory that grows with the position. `merge_heads`: one workgroup
// a row.

@group(0) @binding(0) var<uniform> model: Model;
@group(0) @binding(1) var<uniform> forward: Forward;
@group(0) @binding(2) var<storage, read> queries: array<i32>;                  // [rows, heads, head_dim]
@group(0) @binding(3) var<storage, read> query_exponents: array<i32>;          // [rows, heads]
@group(0) @binding(4) var<uniform> exp2_table: Exp2;
@group(0) @binding(5) var<storage, read_write> outputs: array<i32>;            // [rows, heads, head_dim]
@group(0) @binding(6) var<storage, read_write> output_exponents: array<i32>;   // [rows, heads]
@group(0) @binding(7) var<uniform> scoring: Scoring;
@group(1) @binding(0) var<storage, read_write> keys: array<u32>;                   // [capacity, kv_heads, head_dim / 2], i16 pairs (j, j + head_dim / 2)
@group(1) @binding(1) var<storage, read_write> values: array<u32>;                 // [capacity, kv_heads, head_dim / 2], likewise
@group(1) @binding(2) var<storage, read_write> cache_exponents: array<i32>;        // [capacity, 2, kv_heads]: keys, then values

// `attention_texts` has this instead of binding 1.
@group(0) @binding(1) var<storage, read> texts: array<vec2<u32>>;              // [rows]: the first row of a row's text, and how many it has

// `rope_attention` has these instead of queries and tables.
@group(0) @binding(2) var<storage, read> projected: array<i32>;                // [1, (heads + 2 * kv_heads) * head_dim]: q, k, v
@group(0) @binding(3) var<storage, read> projected_exponents: array<i32>;      // [1, exponents_a_row]
@group(0) @binding(8) var<storage, read> rotation: array<u32>;                 // [rotations, max_positions, head_dim / 2], cos in the low i16, sin in the high
@group(0) @binding(9) var<uniform> projections: Projections;

// `merge_heads` shares binding 0 and has its own from there on.
@group(0) @binding(1) var<storage, read> head_outputs: array<i32>;             // [rows, heads, head_dim]
@group(0) @binding(2) var<storage, read> head_exponents: array<i32>;           // [rows, heads]
@group(0) @binding(3) var<storage, read_write> block: array<u32>;              // [rows, heads * head_dim / 4] of four mantissas
@group(0) @binding(4) var<storage, read_write> exponents: array<i32>;          // [rows]

override INVOCATIONS: u32 = 64u; // of a workgroup, a power of two

const RING_HEADROOM = 1023u; // with the window's own, as many positions as a ring has at least
const CHUNK = 256u;          // positions between two barriers
const KEPT = 1024u;          // scores: with them, a workgroup's memory is 11 KB of the 16 that every adapter has
const MAX_HEAD_DIM = 256u;   // checked when a model is set
const MAX_PAIRS = 128u;      // MAX_HEAD_DIM / 2

var<workgroup> query: array<i32, MAX_HEAD_DIM>;
var<workgroup> kept_scores: array<i32, KEPT>; // of the positions from `first` on; read by the invocation that wrote it
var<workgroup> probabilities: array<u32, CHUNK>;
var<workgroup> value_shifts: array<i32, CHUNK>; // ve_j - E
// Of `rope_attention`: the row's own pairs; a slot of the first three is touched by one invocation
// only.
var<workgroup> query_pairs: array<vec2<i32>, MAX_PAIRS>;
var<workgroup> key_pairs: array<vec2<i32>, MAX_PAIRS>;
var<workgroup> value_pairs: array<vec2<i32>, MAX_PAIRS>;
var<workgroup> own_key: array<u32, MAX_PAIRS>;
var<workgroup> own_value: array<u32, MAX_PAIRS>;
// Its position, key exponent and value exponent. `attention` finds all positions in the cache.
var<private> own_position: u32 = 0xffffffffu;
var<private> own_key_exponent: i32;
var<private> own_value_exponent: i32;
var<private> dropped: u32; // bits of a position that its place in the cache does not have
// Workgroup memory starts as zero: the identity of a sum, and of a maximum of `ordered` numbers or
// magnitudes.
var<workgroup> largest_score: atomic<u32>;
var<workgroup> largest_value_exponent: atomic<u32>;
var<workgroup> probability_sum: atomic<u32>;
var<workgroup> largest_merged: atomic<u32>;
var<workgroup> largest_query: array<atomic<u32>, 3>; // as projected, rotated, scaled
var<workgroup> largest_key: array<atomic<u32>, 2>;   // as projected, rotated
var<workgroup> largest_value: atomic<u32>;

// A layer with a window keeps a ring of positions: the power of two above the window and what a session may go back
// and be given at once. `gpu/session.rs` makes caches of as many.
fn ring_bits() -> u32 {
    if (scoring.window == 0u) {
        return 0u;
    }
    return ~((1u << (32u - countLeadingZeros(scoring.window + RING_HEADROOM))) - 1u);
}

// Where the cache has a position.
fn place(position: u32) -> u32 {
    return position & ~dropped;
}

fn key_word(position: u32, kv_head: u32, j: u32) -> u32 {
    if (position == own_position) {
        return own_key[j];
    }
    return keys[(place(position) * model.kv_heads + kv_head) * (model.head_dim / 2u) + j];
}

fn value_word(position: u32, kv_head: u32, j: u32) -> u32 {
    if (position == own_position) {
        return own_value[j];
    }
    return values[(place(position) * model.kv_heads + kv_head) * (model.head_dim / 2u) + j];
}

fn key_exponent_at(position: u32, kv_head: u32) -> i32 {
    if (position == own_position) {
        return own_key_exponent;
    }
    return cache_exponents[place(position) * 2u * model.kv_heads + kv_head];
}

fn value_exponent_at(position: u32, kv_head: u32) -> i32 {
    if (position == own_position) {
        return own_value_exponent;
    }
    return cache_exponents[(place(position) * 2u + 1u) * model.kv_heads + kv_head];
}

fn score(position: u32, kv_head: u32, query_exponent: i32) -> i32 {
    let half = model.head_dim / 2u;
    var high = 0i;
    var low = 0i;
    for (var j = 0u; j < half; j++) {
        let key = unpack_pair(key_word(position, kv_head, j));
        let first = query[j];
        let second = query[half + j];
        high += (first >> 7u) * key.x + (second >> 7u) * key.y;
        low += (first & 127) * key.x + (second & 127) * key.y;
    }
    return soft_cap(rescale(high + (low >> 7u), query_exponent + key_exponent_at(position, kv_head) + 23));
}

// O / P with 16 more bits, from the two words of O = high * 2^16 + low.
fn weighted_mean(high: i32, low: u32, total: u32) -> i32 {
    let upper = high + bitcast<i32>(low >> 16u);
    let lower = low & 0xffffu;
    let shift = i32(bits(total)) - 16;
    if (shift < 0) {
        let left = u32(-shift);
        let whole = (upper << 16u) + bitcast<i32>(lower);
        return mul_shift(whole << left, 0x80000000u / (total << left), 15u);
    }
    let right = u32(shift);
    let scaled = (upper << (16u - right)) + bitcast<i32>(lower >> right);
    return mul_shift(scaled, 0x80000000u / (total >> right), 15u);
}

// Positions that a row sees which is the last of `end`.
fn seen(end: u32) -> u32 {
    return select(end, min(end, scoring.window), scoring.window > 0u);
}

// What `query` (with its exponent) sees of `count` positions from `first` on, into `outputs` at a
// row and head.
fn attend(row: u32, head: u32, kv_head: u32, first: u32, count: u32, query_exponent: i32, lane: u32) {
    let half = model.head_dim / 2u;
    let query_start = (row * model.heads + head) * model.head_dim;

    // i32::MIN starts both maxima; the first position replaces it.
    var best = 0u;
    let sink = scoring.sinks[head >> 2u][head & 3u];
    if (scoring.has_sinks == 1u) {
        best = ordered(sink);
    }
    var exponent = 0u;
    for (var position = first + lane; position < first + count; position += INVOCATIONS) {
        let own_score = score(position, kv_head, query_exponent);
        if (position - first < KEPT) {
            kept_scores[position - first] = own_score;
        }
        best = max(best, ordered(own_score));
        exponent = max(exponent, ordered(value_exponent_at(position, kv_head)));
    }
    atomicMax(&largest_score, best);
    atomicMax(&largest_value_exponent, exponent);
    workgroupBarrier(); // both maxima are complete
    let top_score = unordered(atomicLoad(&largest_score));
    let value_exponent = unordered(atomicLoad(&largest_value_exponent));

    // Most heads have no more pairs than there are invocations; where they have, the probabilities
    // are computed again for those left.
    for (var first_pair = 0u; first_pair < half; first_pair += INVOCATIONS) {
        let j = first_pair + lane;
        var high = vec2<i32>(0);
        var low = vec2<u32>(0u);
        var sum = 0u;
        for (var base = 0u; base < count; base += CHUNK) {
            let here = min(CHUNK, count - base);
            workgroupBarrier(); // the previous chunk has been read by all
            for (var i = lane; i < here; i += INVOCATIONS) {
                let position = first + base + i;
                var own_score: i32;
                if (base + i < KEPT) {
                    own_score = kept_scores[base + i];
                } else {
                    own_score = score(position, kv_head, query_exponent);
                }
                let probability = exp2_neg(bitcast<u32>(top_score - own_score));
                probabilities[i] = probability;
                value_shifts[i] = value_exponent_at(position, kv_head) - value_exponent;
                sum += probability;
            }
            workgroupBarrier(); // the chunk is written
            if (j < half) {
                for (var i = 0u; i < here; i++) {
                    let value = unpack_pair(value_word(first + base + i, kv_head, j));
                    let aligned = vec2<i32>(rescale(value.x, value_shifts[i]), rescale(value.y, value_shifts[i]));
                    let product = aligned * bitcast<i32>(probabilities[i]);
                    high += product >> vec2<u32>(16u);
                    low += bitcast<vec2<u32>>(product) & vec2<u32>(0xffffu);
                }
            }
        }
        if (scoring.has_sinks == 1u && lane == 0u) {
            sum += exp2_neg(bitcast<u32>(top_score - sink));
        }
        if (first_pair == 0u) {
            atomicAdd(&probability_sum, sum);
        }
        workgroupBarrier(); // the sum is complete
        let total = atomicLoad(&probability_sum);
        if (j < half) {
            outputs[query_start + j] = weighted_mean(high.x, low.x, total);
            outputs[query_start + half + j] = weighted_mean(high.y, low.y, total);
        }
    }
    if (lane == 0u) {
        output_exponents[row * model.heads + head] = value_exponent - 16;
    }
}

@compute @workgroup_size(INVOCATIONS)
fn attention(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = workgroup.x;
    let row = forward.first_row + workgroup.y;
    let query_start = (row * model.heads + head) * model.head_dim;
    dropped = ring_bits();
    for (var j = lane; j < model.head_dim; j += INVOCATIONS) {
        query[j] = queries[query_start + j];
    }
    workgroupBarrier(); // every invocation reads the whole query

    // A token sees itself and what came before.
    let end = forward.position + workgroup.y + 1u;
    let count = seen(end);
    attend(row, head, head / (model.heads / model.kv_heads), end - count, count, query_exponents[row * model.heads + head], lane);
}

// Of texts' tokens, each of which sees all of its own text; the cache holds this call's rows.
@compute @workgroup_size(INVOCATIONS)
fn attention_texts(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = workgroup.x;
    let row = workgroup.y;
    let query_start = (row * model.heads + head) * model.head_dim;
    for (var j = lane; j < model.head_dim; j += INVOCATIONS) {
        query[j] = queries[query_start + j];
    }
    workgroupBarrier(); // every invocation reads the whole query

    let text = texts[row];
    attend(row, head, head / (model.heads / model.kv_heads), text.x, text.y, query_exponents[row * model.heads + head], lane);
}

// Of a single row: what rope.wgsl does, without a dispatch of its own. Every head rotates its
// query, and its group's key and value again, which is little beside reading the cache; the group's
// first head puts them into the cache, where only later steps look for them.
@compute @workgroup_size(INVOCATIONS)
fn rope_attention(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = workgroup.x;
    let half = model.head_dim / 2u;
    let group = model.heads / model.kv_heads;
    let kv_head = head / group;
    let heads_at = vec3<u32>(head, model.heads + kv_head, model.heads + model.kv_heads + kv_head); // query, key, value
    let starts = heads_at * model.head_dim;
    dropped = ring_bits();

    var largest = vec3<u32>(0u);
    for (var j = lane; j < half; j += INVOCATIONS) {
        let query_pair = vec2<i32>(projected[starts.x + j], projected[starts.x + half + j]);
        let key_pair = vec2<i32>(projected[starts.y + j], projected[starts.y + half + j]);
        let value_pair = vec2<i32>(projected[starts.z + j], projected[starts.z + half + j]);
        query_pairs[j] = query_pair;
        key_pairs[j] = key_pair;
        value_pairs[j] = value_pair;
        largest = max(largest, vec3<u32>(pair_magnitude(query_pair), pair_magnitude(key_pair), pair_magnitude(value_pair)));
    }
    atomicMax(&largest_query[0], largest.x);
    atomicMax(&largest_key[0], largest.y);
    atomicMax(&largest_value, largest.z);
    workgroupBarrier(); // the heads' maxima are complete
    var query_n = fit_exponent(atomicLoad(&largest_query[0]));
    var key_n = fit_exponent(atomicLoad(&largest_key[0]));
    let value_n = fit_exponent(atomicLoad(&largest_value));
    let own = select(vec3<u32>(0u), heads_at, projections.exponents_a_row > 1u);
    var query_exponent = projected_exponents[own.x] + projections.query_exponent + query_n;
    own_key_exponent = projected_exponents[own.y] + projections.key_exponent + key_n;
    own_value_exponent = projected_exponents[own.z] + projections.value_exponent + value_n;

    for (var j = lane; j < half; j += INVOCATIONS) {
        own_value[j] = pack_pair(fit_pair(value_pairs[j], value_n));
    }
    if (projections.rotates == 1u) {
        largest = vec3<u32>(0u);
        for (var j = lane; j < half; j += INVOCATIONS) {
            let turn = unpack_pair(rotation[projections.rotation_start + forward.position * half + j]);
            let query_pair = fit_pair(query_pairs[j], query_n);
            let key_pair = fit_pair(key_pairs[j], key_n);
            let turned_query = vec2<i32>(query_pair.x * turn.x - query_pair.y * turn.y, query_pair.y * turn.x + query_pair.x * turn.y);
            let turned_key = vec2<i32>(key_pair.x * turn.x - key_pair.y * turn.y, key_pair.y * turn.x + key_pair.x * turn.y);
            query_pairs[j] = turned_query;
            key_pairs[j] = turned_key;
            largest = max(largest, vec3<u32>(pair_magnitude(turned_query), pair_magnitude(turned_key), 0u));
        }
        atomicMax(&largest_query[1], largest.x);
        atomicMax(&largest_key[1], largest.y);
        workgroupBarrier(); // the rotated heads' maxima are complete
        query_n = fit_exponent(atomicLoad(&largest_query[1]));
        key_n = fit_exponent(atomicLoad(&largest_key[1]));
        query_exponent += query_n - 14;
        own_key_exponent += key_n - 14;
    }

    var largest_scaled = 0u;
    for (var j = lane; j < half; j += INVOCATIONS) {
        let scaled = fit_pair(query_pairs[j], query_n) * bitcast<i32>(model.qk_scale);
        query_pairs[j] = scaled;
        own_key[j] = pack_pair(fit_pair(key_pairs[j], key_n));
        largest_scaled = max(largest_scaled, pair_magnitude(scaled));
    }
    atomicMax(&largest_query[2], largest_scaled);
    workgroupBarrier(); // the scaled query's maximum is complete
    query_n = fit_exponent(atomicLoad(&largest_query[2]));
    query_exponent += query_n - 15;
    for (var j = lane; j < half; j += INVOCATIONS) {
        let pair = fit_pair(query_pairs[j], query_n);
        query[j] = pair.x;
        query[half + j] = pair.y;
    }
    if (head % group == 0u) {
        let own_place = place(forward.position);
        let start = (own_place * model.kv_heads + kv_head) * half;
        for (var j = lane; j < half; j += INVOCATIONS) {
            keys[start + j] = own_key[j];
            values[start + j] = own_value[j];
        }
        if (lane == 0u) {
            cache_exponents[own_place * 2u * model.kv_heads + kv_head] = own_key_exponent;
            cache_exponents[(own_place * 2u + 1u) * model.kv_heads + kv_head] = own_value_exponent;
        }
    }
    own_position = forward.position;
    workgroupBarrier(); // every invocation reads the whole query, key and value
    let count = seen(forward.position + 1u);
    attend(0u, head, kv_head, forward.position + 1u - count, count, query_exponent, lane);
}

@compute @workgroup_size(INVOCATIONS)
fn merge_heads(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.x;
    let width = model.heads * model.head_dim;
    let start = row * width;

    // Few heads: every invocation finds the maximum by itself, which saves a barrier.
    var shared_exponent = head_exponents[row * model.heads];
    for (var head = 1u; head < model.heads; head++) {
        shared_exponent = max(shared_exponent, head_exponents[row * model.heads + head]);
    }
    var largest = 0u;
    for (var i = lane; i < width; i += INVOCATIONS) {
        largest = max(largest, magnitude(aligned_output(row, i, shared_exponent)));
    }
    atomicMax(&largest_merged, largest);
    workgroupBarrier(); // the row's maximum is complete
    let n = fit_exponent(atomicLoad(&largest_merged));
    for (var i = lane * 4u; i < width; i += INVOCATIONS * 4u) {
        var quad: vec4<i32>;
        for (var j = 0u; j < 4u; j++) {
            quad[j] = fit_mantissa(aligned_output(row, i + j, shared_exponent), n);
        }
        store_quad((start + i) / 4u, quad);
    }
    if (lane == 0u) {
        exponents[row] = shared_exponent + n;
    }
}
