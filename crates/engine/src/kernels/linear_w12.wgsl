// #import forward, linear, mul_shift
//
// Linear with weights of twelve bits: y = W a over a block, as in linear.wgsl but for the widths.
//
//   S(t, o, G) = sum over the 32 k of group G of a[t, k] * w[o, k]                                  |S| < 2^30
//   acc(t, o)  = 16 * sum g[o, G] * (S >> 15) + ((sum g[o, G] * (S & 32767)) >> 11)                 modulo 2^32
//   y(t, o)    = mul_shift(acc, multiplier[o], 15),  exponent = input exponent + weight exponent + 26
//
// Eight rows and four outputs an invocation, alone. Products are whole numbers: in f32 no two of
// them would be exact, and in bytes each would take four. Hence weights lie as i16, two a word,
// which is half as much to take apart as eight bits and four.

@group(0) @binding(0) var<uniform> forward: Forward;
@group(0) @binding(1) var<uniform> linear: Linear;
@group(0) @binding(2) var<storage, read> block: array<vec4<i32>>;        // [rows, groups * 8], 4 inputs a vec4
@group(0) @binding(3) var<storage, read> weights: array<vec4<u32>>;      // [groups * 4, out_rows], 8 i16 weights of one row a vec4
@group(0) @binding(4) var<storage, read> group_scales: array<u32>;       // [ceil(groups / 4), out_rows], 4 u8 scales of one row a word
@group(0) @binding(5) var<storage, read> row_multipliers: array<u32>;    // [out_rows]
@group(0) @binding(6) var<storage, read_write> outputs: array<i32>;      // [rows, out_stride]

const LANES = 32u;  // invocations of a workgroup
const QUADS = 8u; // inputs of a group / 4

// Four weights of two words.
fn four_weights(words: vec2<u32>) -> vec4<i32> {
    return bitcast<vec4<i32>>(vec4<u32>(words.x << 16u, words.x, words.y << 16u, words.y)) >> vec4<u32>(16u);
}

fn finish_w12(row: u32, out: u32, high: i32, low: u32) {
    // The last workgroup may reach past the matrix.
    if (row >= forward.rows || out >= linear.out_rows) {
        return;
    }
    let y = mul_shift((high << 4u) + bitcast<i32>(low >> 11u), row_multipliers[out], 15u);
    outputs[row * linear.out_stride + linear.first_out + out] = y;
}

@compute @workgroup_size(32)
fn gemm_8x4_w12(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first_out = workgroup.x * LANES * 4u + lane;
    let here = min(vec4<u32>(first_out) + vec4<u32>(0u, LANES, LANES * 2u, LANES * 3u), vec4<u32>(linear.out_rows - 1u));
    let row = workgroup.y * 8u;
    let row_width = linear.groups * QUADS;
    var high0 = vec4<i32>(0);
    var low0 = vec4<u32>(0u);
    var high1 = vec4<i32>(0);
    var low1 = vec4<u32>(0u);
    var high2 = vec4<i32>(0);
    var low2 = vec4<u32>(0u);
    var high3 = vec4<i32>(0);
    var low3 = vec4<u32>(0u);
    var high4 = vec4<i32>(0);
    var low4 = vec4<u32>(0u);
    var high5 = vec4<i32>(0);
    var low5 = vec4<u32>(0u);
    var high6 = vec4<i32>(0);
    var low6 = vec4<u32>(0u);
    var high7 = vec4<i32>(0);
    var low7 = vec4<u32>(0u);
    for (var group = 0u; group < linear.groups; group++) {
        let scale = vec4<u32>(group_scale(group, here.x), group_scale(group, here.y), group_scale(group, here.z), group_scale(group, here.w));
        var sum0 = vec4<i32>(0);
        var sum1 = vec4<i32>(0);
        var sum2 = vec4<i32>(0);
        var sum3 = vec4<i32>(0);
        var sum4 = vec4<i32>(0);
        var sum5 = vec4<i32>(0);
        var sum6 = vec4<i32>(0);
        var sum7 = vec4<i32>(0);
        for (var part = 0u; part < 4u; part++) {
            let at = (group * 4u + part) * linear.out_rows;
            let words0 = weights[at + here.x];
            let words1 = weights[at + here.y];
            let words2 = weights[at + here.z];
            let words3 = weights[at + here.w];
            for (var pair = 0u; pair < 2u; pair++) {
                let w0 = four_weights(select(words0.xy, words0.zw, pair == 1u));
                let w1 = four_weights(select(words1.xy, words1.zw, pair == 1u));
                let w2 = four_weights(select(words2.xy, words2.zw, pair == 1u));
                let w3 = four_weights(select(words3.xy, words3.zw, pair == 1u));
                let quad = row * row_width + group * QUADS + part * 2u + pair;
                let a0 = block[quad];
                sum0 += vec4<i32>(dot(w0, a0), dot(w1, a0), dot(w2, a0), dot(w3, a0));
                let a1 = block[quad + row_width];
                sum1 += vec4<i32>(dot(w0, a1), dot(w1, a1), dot(w2, a1), dot(w3, a1));
                let a2 = block[quad + row_width * 2u];
                sum2 += vec4<i32>(dot(w0, a2), dot(w1, a2), dot(w2, a2), dot(w3, a2));
                let a3 = block[quad + row_width * 3u];
                sum3 += vec4<i32>(dot(w0, a3), dot(w1, a3), dot(w2, a3), dot(w3, a3));
                let a4 = block[quad + row_width * 4u];
                sum4 += vec4<i32>(dot(w0, a4), dot(w1, a4), dot(w2, a4), dot(w3, a4));
                let a5 = block[quad + row_width * 5u];
                sum5 += vec4<i32>(dot(w0, a5), dot(w1, a5), dot(w2, a5), dot(w3, a5));
                let a6 = block[quad + row_width * 6u];
                sum6 += vec4<i32>(dot(w0, a6), dot(w1, a6), dot(w2, a6), dot(w3, a6));
                let a7 = block[quad + row_width * 7u];
                sum7 += vec4<i32>(dot(w0, a7), dot(w1, a7), dot(w2, a7), dot(w3, a7));
            }
        }
        high0 += bitcast<vec4<i32>>(scale) * (sum0 >> vec4<u32>(15u));
        low0 += scale * (bitcast<vec4<u32>>(sum0) & vec4<u32>(32767u));
        high1 += bitcast<vec4<i32>>(scale) * (sum1 >> vec4<u32>(15u));
        low1 += scale * (bitcast<vec4<u32>>(sum1) & vec4<u32>(32767u));
        high2 += bitcast<vec4<i32>>(scale) * (sum2 >> vec4<u32>(15u));
        low2 += scale * (bitcast<vec4<u32>>(sum2) & vec4<u32>(32767u));
        high3 += bitcast<vec4<i32>>(scale) * (sum3 >> vec4<u32>(15u));
        low3 += scale * (bitcast<vec4<u32>>(sum3) & vec4<u32>(32767u));
        high4 += bitcast<vec4<i32>>(scale) * (sum4 >> vec4<u32>(15u));
        low4 += scale * (bitcast<vec4<u32>>(sum4) & vec4<u32>(32767u));
        high5 += bitcast<vec4<i32>>(scale) * (sum5 >> vec4<u32>(15u));
        low5 += scale * (bitcast<vec4<u32>>(sum5) & vec4<u32>(32767u));
        high6 += bitcast<vec4<i32>>(scale) * (sum6 >> vec4<u32>(15u));
        low6 += scale * (bitcast<vec4<u32>>(sum6) & vec4<u32>(32767u));
        high7 += bitcast<vec4<i32>>(scale) * (sum7 >> vec4<u32>(15u));
        low7 += scale * (bitcast<vec4<u32>>(sum7) & vec4<u32>(32767u));
    }
    for (var i = 0u; i < 4u; i++) {
        let out = first_out + i * LANES;
        finish_w12(row, out, high0[i], low0[i]);
        finish_w12(row + 1u, out, high1[i], low1[i]);
        finish_w12(row + 2u, out, high2[i], low2[i]);
        finish_w12(row + 3u, out, high3[i], low3[i]);
        finish_w12(row + 4u, out, high4[i], low4[i]);
        finish_w12(row + 5u, out, high5[i], low5[i]);
        finish_w12(row + 6u, out, high6[i], low6[i]);
        finish_w12(row + 7u, out, high7[i], low7[i]);
    }
}
