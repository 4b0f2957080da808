// #import forward, linear, rescale, mul_shift, eights
//
// Linear: y = W a, over a block (mantissas and one exponent a row) and grouped 8-bit weights.
//
//   S(t, o, G) = sum over the 32 k of group G of a[t, k] * w[o, k]                                  |S| < 2^27
//   acc(t, o)  = sum g[o, G] * (S >> 7) + ((sum g[o, G] * (S & 127)) >> 7)                          modulo 2^32
//   y(t, o)    = mul_shift(acc, multiplier[o], 15),  exponent = input exponent + weight exponent + 22
// The second line equals floor(sum of a * w * g / 2^7) however the sum is cut, so the order of the
// loops is free.
//
// Every entry point computes the same bits; which is fastest is the adapter's, and `gpu/tune.rs`
// asks it.
//   ..._fma  multiplies in f32. |w| <= 127 and |a| < 2^14, so eight products and all their partial sums stay below 2^24 and are exact,
//            whatever the order or fusion; then they move on to i32. Mantissas arrive as f32.
//   ..._dot  multiplies four signed bytes at once. Mantissas arrive in two planes, a = 128 * hi + lo, and S >> 7 = H + (L >> 7),
//            S & 127 = L & 127 for H = sum of hi * w and L = sum of lo * w.
//   gemv_rows1_, gemv_rows4_  one output of one or four rows. SPLIT_K invocations share its inputs, so that small matrices fill a big
//            GPU too; with SPLIT_K = 1 no barrier is reached.
//   gemm_4x4_  four rows and four outputs an invocation, alone.
//   gemm_tiled_64x64_  64 rows and 64 outputs a workgroup, staged in workgroup memory; four by four an invocation.
//
// Weights lie interleaved so that neighbouring invocations read neighbouring 16 bytes. A big matrix
// comes in pieces of whole output rows; each piece has its own weights and its own `Linear`. Rows
// past `forward.rows` (there is room for a multiple of 64) hold an earlier call's numbers; they are
// computed and dropped.

@group(0) @binding(0) var<uniform> forward: Forward;
@group(0) @binding(1) var<uniform> linear: Linear;
@group(0) @binding(2) var<storage, read> inputs: array<EightInputs>;     // of ..._fma: [rows, groups * 4]
@group(0) @binding(2) var<storage, read> mantissas: array<vec4<f32>>;    // the same, as gemm_tiled_64x64_fma reads them: [rows, groups * 8]
@group(0) @binding(2) var<storage, read> planes: array<vec4<u32>>;       // of ..._dot: [rows, groups * 4], 8 inputs a vec4: hi, lo, hi, lo
@group(0) @binding(3) var<storage, read> exponents: array<i32>;          // [rows]
@group(0) @binding(4) var<storage, read> weights: array<vec4<u32>>;      // [groups * 2, out_rows], 16 i8 weights of one row a vec4
@group(0) @binding(5) var<storage, read> group_scales: array<u32>;       // [ceil(groups / 4), out_rows], 4 u8 scales of one row a word
@group(0) @binding(6) var<storage, read> row_multipliers: array<u32>;    // [out_rows]
@group(0) @binding(7) var<storage, read_write> outputs: array<i32>;      // [rows, out_stride]

override SPLIT_K: u32 = 1u; // of gemv_: a power of two, at most LANES

const LANES = 64u; // invocations of a workgroup of gemv_ and gemm_4x4_
const TILE = 64u;  // rows and outputs of a tile
const LINE = 16u;  // invocations along each side of a tile
const QUADS = 8u;  // inputs of a group / 4
const EIGHTS = 4u; // inputs of a group / 8

var<workgroup> shared_high: array<vec4<i32>, LANES>;
var<workgroup> shared_low: array<vec4<u32>, LANES>;
var<workgroup> tile_mantissas: array<vec4<f32>, 512>; // [QUADS, TILE rows]
var<workgroup> tile_weights: array<vec4<f32>, 512>;   // [QUADS, TILE outputs]
var<workgroup> tile_planes: array<vec2<u32>, 512>;    // [QUADS, TILE rows]
var<workgroup> tile_words: array<u32, 512>;           // [QUADS, TILE outputs]

fn finish(row: u32, out: u32, high: i32, low: u32) {
    // The last workgroup may reach past the matrix.
    if (row >= forward.rows || out >= linear.out_rows) {
        return;
    }
    let y = mul_shift(high + bitcast<i32>(low >> 7u), row_multipliers[out], 15u);
    let index = row * linear.out_stride + linear.first_out + out;
    if (linear.add_to_residual == 1u) {
        outputs[index] += rescale(y, exponents[row] + linear.exponent + linear.residual_fraction_bits);
    } else {
        outputs[index] = y;
    }
}

// H and L of eight inputs from an even quad on, added to `sums`.
fn dot_eight_planes(sums: vec2<i32>, weights: vec2<u32>, quad: u32) -> vec2<i32> {
    let inputs = planes[quad / 2u];
    return sums + vec2<i32>(
        dot4I8Packed(weights.x, inputs.x) + dot4I8Packed(weights.y, inputs.z),
        dot4I8Packed(weights.x, inputs.y) + dot4I8Packed(weights.y, inputs.w),
    );
}

@compute @workgroup_size(64)
fn gemv_rows1_fma(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = LANES / SPLIT_K; // outputs of a workgroup
    let out = workgroup.x * width + lane % width;
    let here = min(out, linear.out_rows - 1u);
    let row = workgroup.y;
    var high = 0i;
    var low = 0u;
    for (var group = lane / width; group < linear.groups; group += SPLIT_K) {
        let input = (row * linear.groups + group) * EIGHTS;
        let first = weights[(group * 2u) * linear.out_rows + here];
        let second = weights[(group * 2u + 1u) * linear.out_rows + here];
        let scale = group_scale(group, here);
        let sum = dot_eight(first.xy, input) + dot_eight(first.zw, input + 1u) + dot_eight(second.xy, input + 2u) + dot_eight(second.zw, input + 3u);
        high += bitcast<i32>(scale) * (sum >> 7u);
        low += scale * (bitcast<u32>(sum) & 127u);
    }
    if (SPLIT_K > 1u) {
        shared_high[lane].x = high;
        shared_low[lane].x = low;
        workgroupBarrier(); // the sums of every split are there
        if (lane >= width) {
            return;
        }
        for (var split = lane + width; split < LANES; split += width) {
            high += shared_high[split].x;
            low += shared_low[split].x;
        }
    }
    finish(row, out, high, low);
}

@compute @workgroup_size(64)
fn gemv_rows1_dot(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = LANES / SPLIT_K; // outputs of a workgroup
    let out = workgroup.x * width + lane % width;
    let here = min(out, linear.out_rows - 1u);
    let row = workgroup.y;
    var high = 0i;
    var low = 0u;
    for (var group = lane / width; group < linear.groups; group += SPLIT_K) {
        let input = (row * linear.groups + group) * QUADS;
        let first = weights[(group * 2u) * linear.out_rows + here];
        let second = weights[(group * 2u + 1u) * linear.out_rows + here];
        let scale = group_scale(group, here);
        var sums = dot_eight_planes(vec2<i32>(0), first.xy, input);
        sums = dot_eight_planes(sums, first.zw, input + 2u);
        sums = dot_eight_planes(sums, second.xy, input + 4u);
        sums = dot_eight_planes(sums, second.zw, input + 6u);
        high += bitcast<i32>(scale) * (sums.x + (sums.y >> 7u));
        low += scale * (bitcast<u32>(sums.y) & 127u);
    }
    if (SPLIT_K > 1u) {
        shared_high[lane].x = high;
        shared_low[lane].x = low;
        workgroupBarrier(); // the sums of every split are there
        if (lane >= width) {
            return;
        }
        for (var split = lane + width; split < LANES; split += width) {
            high += shared_high[split].x;
            low += shared_low[split].x;
        }
    }
    finish(row, out, high, low);
}

@compute @workgroup_size(64)
fn gemv_rows4_fma(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = LANES / SPLIT_K; // outputs of a workgroup
    let out = workgroup.x * width + lane % width;
    let here = min(out, linear.out_rows - 1u);
    let row = workgroup.y * 4u;
    let row_width = linear.groups * EIGHTS;
    var high = vec4<i32>(0);
    var low = vec4<u32>(0u);
    for (var group = lane / width; group < linear.groups; group += SPLIT_K) {
        let input = row * row_width + group * EIGHTS;
        let scale = group_scale(group, here);
        var sum = vec4<i32>(0);
        for (var part = 0u; part < 2u; part++) {
            let words = weights[(group * 2u + part) * linear.out_rows + here];
            let eighth = input + part * 2u;
            let w0 = signed_floats(words.x);
            let w1 = signed_floats(words.y);
            let w2 = signed_floats(words.z);
            let w3 = signed_floats(words.w);
            for (var i = 0u; i < 4u; i++) {
                let a = inputs[eighth + i * row_width];
                let b = inputs[eighth + i * row_width + 1u];
                sum[i] += i32(dot(w0, a.first) + dot(w1, a.second))
                    + i32(dot(w2, b.first) + dot(w3, b.second));
            }
        }
        high += bitcast<i32>(scale) * (sum >> vec4<u32>(7u));
        low += scale * (bitcast<vec4<u32>>(sum) & vec4<u32>(127u));
    }
    if (SPLIT_K > 1u) {
        shared_high[lane] = high;
        shared_low[lane] = low;
        workgroupBarrier(); // the sums of every split are there
        if (lane >= width) {
            return;
        }
        for (var split = lane + width; split < LANES; split += width) {
            high += shared_high[split];
            low += shared_low[split];
        }
    }
    for (var i = 0u; i < 4u; i++) {
        finish(row + i, out, high[i], low[i]);
    }
}

@compute @workgroup_size(64)
fn gemv_rows4_dot(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = LANES / SPLIT_K; // outputs of a workgroup
    let out = workgroup.x * width + lane % width;
    let here = min(out, linear.out_rows - 1u);
    let row = workgroup.y * 4u;
    let row_width = linear.groups * QUADS;
    var high = vec4<i32>(0);
    var low = vec4<u32>(0u);
    for (var group = lane / width; group < linear.groups; group += SPLIT_K) {
        let input = row * row_width + group * QUADS;
        let scale = group_scale(group, here);
        let first = weights[(group * 2u) * linear.out_rows + here];
        let second = weights[(group * 2u + 1u) * linear.out_rows + here];
        for (var i = 0u; i < 4u; i++) {
            let quad = input + i * row_width;
            var sums = dot_eight_planes(vec2<i32>(0), first.xy, quad);
            sums = dot_eight_planes(sums, first.zw, quad + 2u);
            sums = dot_eight_planes(sums, second.xy, quad + 4u);
            sums = dot_eight_planes(sums, second.zw, quad + 6u);
            high[i] += bitcast<i32>(scale) * (sums.x + (sums.y >> 7u));
            low[i] += scale * (bitcast<u32>(sums.y) & 127u);
        }
    }
    if (SPLIT_K > 1u) {
        shared_high[lane] = high;
        shared_low[lane] = low;
        workgroupBarrier(); // the sums of every split are there
        if (lane >= width) {
            return;
        }
        for (var split = lane + width; split < LANES; split += width) {
            high += shared_high[split];
            low += shared_low[split];
        }
    }
    for (var i = 0u; i < 4u; i++) {
        finish(row + i, out, high[i], low[i]);
    }
}

@compute @workgroup_size(64)
fn gemm_4x4_fma(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first_out = workgroup.x * LANES * 4u + lane;
    let here = min(vec4<u32>(first_out) + vec4<u32>(0u, LANES, LANES * 2u, LANES * 3u), vec4<u32>(linear.out_rows - 1u));
    let row = workgroup.y * 4u;
    let row_width = linear.groups * EIGHTS;
    var high0 = vec4<i32>(0);
    var low0 = vec4<u32>(0u);
    var high1 = vec4<i32>(0);
    var low1 = vec4<u32>(0u);
    var high2 = vec4<i32>(0);
    var low2 = vec4<u32>(0u);
    var high3 = vec4<i32>(0);
    var low3 = vec4<u32>(0u);
    for (var group = 0u; group < linear.groups; group++) {
        let scale = vec4<u32>(group_scale(group, here.x), group_scale(group, here.y), group_scale(group, here.z), group_scale(group, here.w));
        var sum0 = vec4<i32>(0);
        var sum1 = vec4<i32>(0);
        var sum2 = vec4<i32>(0);
        var sum3 = vec4<i32>(0);
        for (var part = 0u; part < 2u; part++) {
            let at = (group * 2u + part) * linear.out_rows;
            let words0 = weights[at + here.x];
            let words1 = weights[at + here.y];
            let words2 = weights[at + here.z];
            let words3 = weights[at + here.w];
            for (var pair = 0u; pair < 2u; pair++) {
                let eighth = row * row_width + group * EIGHTS + part * 2u + pair;
                let pair0 = select(words0.xy, words0.zw, pair == 1u);
                let pair1 = select(words1.xy, words1.zw, pair == 1u);
                let pair2 = select(words2.xy, words2.zw, pair == 1u);
                let pair3 = select(words3.xy, words3.zw, pair == 1u);
                let v0 = signed_floats(pair0.x);
                let w0 = signed_floats(pair0.y);
                let v1 = signed_floats(pair1.x);
                let w1 = signed_floats(pair1.y);
                let v2 = signed_floats(pair2.x);
                let w2 = signed_floats(pair2.y);
                let v3 = signed_floats(pair3.x);
                let w3 = signed_floats(pair3.y);
                let a0 = inputs[eighth];
                sum0 += vec4<i32>(vec4<f32>(dot(v0, a0.first), dot(v1, a0.first), dot(v2, a0.first), dot(v3, a0.first)) + vec4<f32>(dot(w0, a0.second), dot(w1, a0.second), dot(w2, a0.second), dot(w3, a0.second)));
                let a1 = inputs[eighth + row_width];
                sum1 += vec4<i32>(vec4<f32>(dot(v0, a1.first), dot(v1, a1.first), dot(v2, a1.first), dot(v3, a1.first)) + vec4<f32>(dot(w0, a1.second), dot(w1, a1.second), dot(w2, a1.second), dot(w3, a1.second)));
                let a2 = inputs[eighth + row_width * 2u];
                sum2 += vec4<i32>(vec4<f32>(dot(v0, a2.first), dot(v1, a2.first), dot(v2, a2.first), dot(v3, a2.first)) + vec4<f32>(dot(w0, a2.second), dot(w1, a2.second), dot(w2, a2.second), dot(w3, a2.second)));
                let a3 = inputs[eighth + row_width * 3u];
                sum3 += vec4<i32>(vec4<f32>(dot(v0, a3.first), dot(v1, a3.first), dot(v2, a3.first), dot(v3, a3.first)) + vec4<f32>(dot(w0, a3.second), dot(w1, a3.second), dot(w2, a3.second), dot(w3, a3.second)));
            }
        }
        high0 += bitcast<vec4<i32>>(scale) * (sum0 >> vec4<u32>(7u));
        low0 += scale * (bitcast<vec4<u32>>(sum0) & vec4<u32>(127u));
        high1 += bitcast<vec4<i32>>(scale) * (sum1 >> vec4<u32>(7u));
        low1 += scale * (bitcast<vec4<u32>>(sum1) & vec4<u32>(127u));
        high2 += bitcast<vec4<i32>>(scale) * (sum2 >> vec4<u32>(7u));
        low2 += scale * (bitcast<vec4<u32>>(sum2) & vec4<u32>(127u));
        high3 += bitcast<vec4<i32>>(scale) * (sum3 >> vec4<u32>(7u));
        low3 += scale * (bitcast<vec4<u32>>(sum3) & vec4<u32>(127u));
    }
    for (var i = 0u; i < 4u; i++) {
        let out = first_out + i * LANES;
        finish(row, out, high0[i], low0[i]);
        finish(row + 1u, out, high1[i], low1[i]);
        finish(row + 2u, out, high2[i], low2[i]);
        finish(row + 3u, out, high3[i], low3[i]);
    }
}

@compute @workgroup_size(64)
fn gemm_4x4_dot(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first_out = workgroup.x * LANES * 4u + lane;
    let here = min(vec4<u32>(first_out) + vec4<u32>(0u, LANES, LANES * 2u, LANES * 3u), vec4<u32>(linear.out_rows - 1u));
    let row = workgroup.y * 4u;
    let row_width = linear.groups * QUADS;
    var high0 = vec4<i32>(0);
    var low0 = vec4<u32>(0u);
    var high1 = vec4<i32>(0);
    var low1 = vec4<u32>(0u);
    var high2 = vec4<i32>(0);
    var low2 = vec4<u32>(0u);
    var high3 = vec4<i32>(0);
    var low3 = vec4<u32>(0u);
    for (var group = 0u; group < linear.groups; group++) {
        let scale = vec4<u32>(group_scale(group, here.x), group_scale(group, here.y), group_scale(group, here.z), group_scale(group, here.w));
        var upper0 = vec4<i32>(0);
        var lower0 = vec4<i32>(0);
        var upper1 = vec4<i32>(0);
        var lower1 = vec4<i32>(0);
        var upper2 = vec4<i32>(0);
        var lower2 = vec4<i32>(0);
        var upper3 = vec4<i32>(0);
        var lower3 = vec4<i32>(0);
        for (var part = 0u; part < 2u; part++) {
            let at = (group * 2u + part) * linear.out_rows;
            let words0 = weights[at + here.x];
            let words1 = weights[at + here.y];
            let words2 = weights[at + here.z];
            let words3 = weights[at + here.w];
            for (var pair = 0u; pair < 2u; pair++) {
                let pair0 = select(words0.xy, words0.zw, pair == 1u);
                let pair1 = select(words1.xy, words1.zw, pair == 1u);
                let pair2 = select(words2.xy, words2.zw, pair == 1u);
                let pair3 = select(words3.xy, words3.zw, pair == 1u);
                let eighth = (row * row_width + group * QUADS + part * 4u) / 2u + pair;
                let a0 = planes[eighth];
                upper0 += vec4<i32>(dot4I8Packed(pair0.x, a0.x), dot4I8Packed(pair1.x, a0.x), dot4I8Packed(pair2.x, a0.x), dot4I8Packed(pair3.x, a0.x))
                    + vec4<i32>(dot4I8Packed(pair0.y, a0.z), dot4I8Packed(pair1.y, a0.z), dot4I8Packed(pair2.y, a0.z), dot4I8Packed(pair3.y, a0.z));
                lower0 += vec4<i32>(dot4I8Packed(pair0.x, a0.y), dot4I8Packed(pair1.x, a0.y), dot4I8Packed(pair2.x, a0.y), dot4I8Packed(pair3.x, a0.y))
                    + vec4<i32>(dot4I8Packed(pair0.y, a0.w), dot4I8Packed(pair1.y, a0.w), dot4I8Packed(pair2.y, a0.w), dot4I8Packed(pair3.y, a0.w));
                let a1 = planes[eighth + row_width / 2u];
                upper1 += vec4<i32>(dot4I8Packed(pair0.x, a1.x), dot4I8Packed(pair1.x, a1.x), dot4I8Packed(pair2.x, a1.x), dot4I8Packed(pair3.x, a1.x))
                    + vec4<i32>(dot4I8Packed(pair0.y, a1.z), dot4I8Packed(pair1.y, a1.z), dot4I8Packed(pair2.y, a1.z), dot4I8Packed(pair3.y, a1.z));
                lower1 += vec4<i32>(dot4I8Packed(pair0.x, a1.y), dot4I8Packed(pair1.x, a1.y), dot4I8Packed(pair2.x, a1.y), dot4I8Packed(pair3.x, a1.y))
                    + vec4<i32>(dot4I8Packed(pair0.y, a1.w), dot4I8Packed(pair1.y, a1.w), dot4I8Packed(pair2.y, a1.w), dot4I8Packed(pair3.y, a1.w));
                let a2 = planes[eighth + row_width / 2u * 2u];
                upper2 += vec4<i32>(dot4I8Packed(pair0.x, a2.x), dot4I8Packed(pair1.x, a2.x), dot4I8Packed(pair2.x, a2.x), dot4I8Packed(pair3.x, a2.x))
                    + vec4<i32>(dot4I8Packed(pair0.y, a2.z), dot4I8Packed(pair1.y, a2.z), dot4I8Packed(pair2.y, a2.z), dot4I8Packed(pair3.y, a2.z));
                lower2 += vec4<i32>(dot4I8Packed(pair0.x, a2.y), dot4I8Packed(pair1.x, a2.y), dot4I8Packed(pair2.x, a2.y), dot4I8Packed(pair3.x, a2.y))
                    + vec4<i32>(dot4I8Packed(pair0.y, a2.w), dot4I8Packed(pair1.y, a2.w), dot4I8Packed(pair2.y, a2.w), dot4I8Packed(pair3.y, a2.w));
                let a3 = planes[eighth + row_width / 2u * 3u];
                upper3 += vec4<i32>(dot4I8Packed(pair0.x, a3.x), dot4I8Packed(pair1.x, a3.x), dot4I8Packed(pair2.x, a3.x), dot4I8Packed(pair3.x, a3.x))
                    + vec4<i32>(dot4I8Packed(pair0.y, a3.z), dot4I8Packed(pair1.y, a3.z), dot4I8Packed(pair2.y, a3.z), dot4I8Packed(pair3.y, a3.z));
                lower3 += vec4<i32>(dot4I8Packed(pair0.x, a3.y), dot4I8Packed(pair1.x, a3.y), dot4I8Packed(pair2.x, a3.y), dot4I8Packed(pair3.x, a3.y))
                    + vec4<i32>(dot4I8Packed(pair0.y, a3.w), dot4I8Packed(pair1.y, a3.w), dot4I8Packed(pair2.y, a3.w), dot4I8Packed(pair3.y, a3.w));
            }
        }
        high0 += bitcast<vec4<i32>>(scale) * (upper0 + (lower0 >> vec4<u32>(7u)));
        low0 += scale * (bitcast<vec4<u32>>(lower0) & vec4<u32>(127u));
        high1 += bitcast<vec4<i32>>(scale) * (upper1 + (lower1 >> vec4<u32>(7u)));
        low1 += scale * (bitcast<vec4<u32>>(lower1) & vec4<u32>(127u));
        high2 += bitcast<vec4<i32>>(scale) * (upper2 + (lower2 >> vec4<u32>(7u)));
        low2 += scale * (bitcast<vec4<u32>>(lower2) & vec4<u32>(127u));
        high3 += bitcast<vec4<i32>>(scale) * (upper3 + (lower3 >> vec4<u32>(7u)));
        low3 += scale * (bitcast<vec4<u32>>(lower3) & vec4<u32>(127u));
    }
    for (var i = 0u; i < 4u; i++) {
        let out = first_out + i * LANES;
        finish(row, out, high0[i], low0[i]);
        finish(row + 1u, out, high1[i], low1[i]);
        finish(row + 2u, out, high2[i], low2[i]);
        finish(row + 3u, out, high3[i], low3[i]);
    }
}

@compute @workgroup_size(256)
fn gemm_tiled_64x64_fma(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first_out = workgroup.x * TILE;
    let first_row = workgroup.y * TILE;
    // Strided by LINE: neighbours read neighbouring places of the workgroup's memory.
    let column = lane % LINE;
    let line = lane / LINE;
    let row_width = linear.groups * QUADS;
    let last = vec4<u32>(linear.out_rows - 1u);
    let here = min(vec4<u32>(first_out + column) + vec4<u32>(0u, LINE, LINE * 2u, LINE * 3u), last);
    var high0 = vec4<i32>(0);
    var low0 = vec4<u32>(0u);
    var high1 = vec4<i32>(0);
    var low1 = vec4<u32>(0u);
    var high2 = vec4<i32>(0);
    var low2 = vec4<u32>(0u);
    var high3 = vec4<i32>(0);
    var low3 = vec4<u32>(0u);
    for (var group = 0u; group < linear.groups; group++) {
        workgroupBarrier(); // the group before has been read by all
        for (var i = lane; i < TILE * QUADS; i += LINE * LINE) {
            tile_mantissas[(i % QUADS) * TILE + i / QUADS] = mantissas[(first_row + i / QUADS) * row_width + group * QUADS + i % QUADS];
        }
        if (lane < TILE * 2u) {
            let part = lane / TILE;
            let out = lane % TILE;
            let words = weights[(group * 2u + part) * linear.out_rows + min(first_out + out, last.x)];
            let at = part * 4u * TILE + out;
            tile_weights[at] = signed_floats(words.x);
            tile_weights[at + TILE] = signed_floats(words.y);
            tile_weights[at + TILE * 2u] = signed_floats(words.z);
            tile_weights[at + TILE * 3u] = signed_floats(words.w);
        }
        workgroupBarrier(); // the group is staged
        let scale = vec4<u32>(group_scale(group, here.x), group_scale(group, here.y), group_scale(group, here.z), group_scale(group, here.w));
        var sum0 = vec4<i32>(0);
        var sum1 = vec4<i32>(0);
        var sum2 = vec4<i32>(0);
        var sum3 = vec4<i32>(0);
        for (var pair = 0u; pair < QUADS; pair += 2u) {
            let v0 = tile_weights[pair * TILE + column];
            let v1 = tile_weights[pair * TILE + column + LINE];
            let v2 = tile_weights[pair * TILE + column + LINE * 2u];
            let v3 = tile_weights[pair * TILE + column + LINE * 3u];
            let w0 = tile_weights[(pair + 1u) * TILE + column];
            let w1 = tile_weights[(pair + 1u) * TILE + column + LINE];
            let w2 = tile_weights[(pair + 1u) * TILE + column + LINE * 2u];
            let w3 = tile_weights[(pair + 1u) * TILE + column + LINE * 3u];
            let a0 = tile_mantissas[pair * TILE + line];
            let b0 = tile_mantissas[(pair + 1u) * TILE + line];
            sum0 += vec4<i32>(vec4<f32>(dot(v0, a0), dot(v1, a0), dot(v2, a0), dot(v3, a0)) + vec4<f32>(dot(w0, b0), dot(w1, b0), dot(w2, b0), dot(w3, b0)));
            let a1 = tile_mantissas[pair * TILE + line + LINE];
            let b1 = tile_mantissas[(pair + 1u) * TILE + line + LINE];
            sum1 += vec4<i32>(vec4<f32>(dot(v0, a1), dot(v1, a1), dot(v2, a1), dot(v3, a1)) + vec4<f32>(dot(w0, b1), dot(w1, b1), dot(w2, b1), dot(w3, b1)));
            let a2 = tile_mantissas[pair * TILE + line + LINE * 2u];
            let b2 = tile_mantissas[(pair + 1u) * TILE + line + LINE * 2u];
            sum2 += vec4<i32>(vec4<f32>(dot(v0, a2), dot(v1, a2), dot(v2, a2), dot(v3, a2)) + vec4<f32>(dot(w0, b2), dot(w1, b2), dot(w2, b2), dot(w3, b2)));
            let a3 = tile_mantissas[pair * TILE + line + LINE * 3u];
            let b3 = tile_mantissas[(pair + 1u) * TILE + line + LINE * 3u];
            sum3 += vec4<i32>(vec4<f32>(dot(v0, a3), dot(v1, a3), dot(v2, a3), dot(v3, a3)) + vec4<f32>(dot(w0, b3), dot(w1, b3), dot(w2, b3), dot(w3, b3)));
        }
        high0 += bitcast<vec4<i32>>(scale) * (sum0 >> vec4<u32>(7u));
        low0 += scale * (bitcast<vec4<u32>>(sum0) & vec4<u32>(127u));
        high1 += bitcast<vec4<i32>>(scale) * (sum1 >> vec4<u32>(7u));
        low1 += scale * (bitcast<vec4<u32>>(sum1) & vec4<u32>(127u));
        high2 += bitcast<vec4<i32>>(scale) * (sum2 >> vec4<u32>(7u));
        low2 += scale * (bitcast<vec4<u32>>(sum2) & vec4<u32>(127u));
        high3 += bitcast<vec4<i32>>(scale) * (sum3 >> vec4<u32>(7u));
        low3 += scale * (bitcast<vec4<u32>>(sum3) & vec4<u32>(127u));
    }
    for (var i = 0u; i < 4u; i++) {
        let row = first_row + line;
        let out = first_out + column + i * LINE;
        finish(row, out, high0[i], low0[i]);
        finish(row + LINE, out, high1[i], low1[i]);
        finish(row + LINE * 2u, out, high2[i], low2[i]);
        finish(row + LINE * 3u, out, high3[i], low3[i]);
    }
}

@compute @workgroup_size(256)
fn gemm_tiled_64x64_dot(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first_out = workgroup.x * TILE;
    let first_row = workgroup.y * TILE;
    // Strided by LINE: neighbours read neighbouring places of the workgroup's memory.
    let column = lane % LINE;
    let line = lane / LINE;
    let row_width = linear.groups * QUADS;
    let last = vec4<u32>(linear.out_rows - 1u);
    let here = min(vec4<u32>(first_out + column) + vec4<u32>(0u, LINE, LINE * 2u, LINE * 3u), last);
    var high0 = vec4<i32>(0);
    var low0 = vec4<u32>(0u);
    var high1 = vec4<i32>(0);
    var low1 = vec4<u32>(0u);
    var high2 = vec4<i32>(0);
    var low2 = vec4<u32>(0u);
    var high3 = vec4<i32>(0);
    var low3 = vec4<u32>(0u);
    for (var group = 0u; group < linear.groups; group++) {
        workgroupBarrier(); // the group before has been read by all
        // As many as there are invocations: one each.
        let inputs = planes[((first_row + lane / 4u) * row_width + group * QUADS) / 2u + lane % 4u];
        tile_planes[(lane % 4u) * 2u * TILE + lane / 4u] = inputs.xy;
        tile_planes[((lane % 4u) * 2u + 1u) * TILE + lane / 4u] = inputs.zw;
        if (lane < TILE * 2u) {
            let part = lane / TILE;
            let out = lane % TILE;
            let words = weights[(group * 2u + part) * linear.out_rows + min(first_out + out, last.x)];
            let at = part * 4u * TILE + out;
            tile_words[at] = words.x;
            tile_words[at + TILE] = words.y;
            tile_words[at + TILE * 2u] = words.z;
            tile_words[at + TILE * 3u] = words.w;
        }
        workgroupBarrier(); // the group is staged
        let scale = vec4<u32>(group_scale(group, here.x), group_scale(group, here.y), group_scale(group, here.z), group_scale(group, here.w));
        var upper0 = vec4<i32>(0);
        var lower0 = vec4<i32>(0);
        var upper1 = vec4<i32>(0);
        var lower1 = vec4<i32>(0);
        var upper2 = vec4<i32>(0);
        var lower2 = vec4<i32>(0);
        var upper3 = vec4<i32>(0);
        var lower3 = vec4<i32>(0);
        for (var quad = 0u; quad < QUADS; quad++) {
            let w0 = tile_words[quad * TILE + column];
            let w1 = tile_words[quad * TILE + column + LINE];
            let w2 = tile_words[quad * TILE + column + LINE * 2u];
            let w3 = tile_words[quad * TILE + column + LINE * 3u];
            let a0 = tile_planes[quad * TILE + line];
            upper0 += vec4<i32>(dot4I8Packed(w0, a0.x), dot4I8Packed(w1, a0.x), dot4I8Packed(w2, a0.x), dot4I8Packed(w3, a0.x));
            lower0 += vec4<i32>(dot4I8Packed(w0, a0.y), dot4I8Packed(w1, a0.y), dot4I8Packed(w2, a0.y), dot4I8Packed(w3, a0.y));
            let a1 = tile_planes[quad * TILE + line + LINE];
            upper1 += vec4<i32>(dot4I8Packed(w0, a1.x), dot4I8Packed(w1, a1.x), dot4I8Packed(w2, a1.x), dot4I8Packed(w3, a1.x));
            lower1 += vec4<i32>(dot4I8Packed(w0, a1.y), dot4I8Packed(w1, a1.y), dot4I8Packed(w2, a1.y), dot4I8Packed(w3, a1.y));
            let a2 = tile_planes[quad * TILE + line + LINE * 2u];
            upper2 += vec4<i32>(dot4I8Packed(w0, a2.x), dot4I8Packed(w1, a2.x), dot4I8Packed(w2, a2.x), dot4I8Packed(w3, a2.x));
            lower2 += vec4<i32>(dot4I8Packed(w0, a2.y), dot4I8Packed(w1, a2.y), dot4I8Packed(w2, a2.y), dot4I8Packed(w3, a2.y));
            let a3 = tile_planes[quad * TILE + line + LINE * 3u];
            upper3 += vec4<i32>(dot4I8Packed(w0, a3.x), dot4I8Packed(w1, a3.x), dot4I8Packed(w2, a3.x), dot4I8Packed(w3, a3.x));
            lower3 += vec4<i32>(dot4I8Packed(w0, a3.y), dot4I8Packed(w1, a3.y), dot4I8Packed(w2, a3.y), dot4I8Packed(w3, a3.y));
        }
        high0 += bitcast<vec4<i32>>(scale) * (upper0 + (lower0 >> vec4<u32>(7u)));
        low0 += scale * (bitcast<vec4<u32>>(lower0) & vec4<u32>(127u));
        high1 += bitcast<vec4<i32>>(scale) * (upper1 + (lower1 >> vec4<u32>(7u)));
        low1 += scale * (bitcast<vec4<u32>>(lower1) & vec4<u32>(127u));
        high2 += bitcast<vec4<i32>>(scale) * (upper2 + (lower2 >> vec4<u32>(7u)));
        low2 += scale * (bitcast<vec4<u32>>(lower2) & vec4<u32>(127u));
        high3 += bitcast<vec4<i32>>(scale) * (upper3 + (lower3 >> vec4<u32>(7u)));
        low3 += scale * (bitcast<vec4<u32>>(lower3) & vec4<u32>(127u));
    }
    for (var i = 0u; i < 4u; i++) {
        let row = first_row + line;
        let out = first_out + column + i * LINE;
        finish(row, out, high0[i], low0[i]);
        finish(row + LINE, out, high1[i], low1[i]);
        finish(row + LINE * 2u, out, high2[i], low2[i]);
        finish(row + LINE * 3u, out, high3[i], low3[i]);
    }
}
