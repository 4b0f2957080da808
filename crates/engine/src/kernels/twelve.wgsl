// Linear with weights of twelve bits, w = 16 * upper + lower: y = W a over a block, as in linear.wgsl but for the widths.
//
//   S(t, o, G) = sum over the 32 k of group G of a[t, k] * w[o, k]                                  |S| < 2^30
//   acc(t, o)  = 16 * sum g[o, G] * (S >> 15) + ((sum g[o, G] * (S & 32767)) >> 11)                 modulo 2^32
//   y(t, o)    = mul_shift(acc, multiplier[o], 15),  exponent = input exponent + weight exponent + 26
//
// Four rows and four outputs an invocation, alone.
//   twelve_fma  multiplies whole numbers: as f32, eight products would no longer be exact. Mantissas arrive as f32.
//   twelve_dot  multiplies four signed bytes at once, a = 128 * hi + lo: S = 128 * (16 * upper.hi + lower.hi) + 16 * upper.lo + lower.lo.

struct Forward {
    position: u32, // of the first row
    rows: u32,     // rows in this call
}

struct Linear {
    groups: u32,               // input width / 32
    out_rows: u32,             // output rows of this piece
    first_out: u32,            // the piece's first output row in the whole matrix
    out_stride: u32,           // i32 values from one row of `outputs` to the next
    exponent: i32,             // weight exponent + 22
    residual_fraction_bits: i32,
    add_to_residual: u32,      // 1: outputs += rescale(y, exponent + fraction bits); 0: outputs = y
}

@group(0) @binding(0) var<uniform> forward: Forward;
@group(0) @binding(1) var<uniform> linear: Linear;
@group(0) @binding(2) var<storage, read> mantissas: array<vec4<f32>>;    // of twelve_fma: [rows, groups * 8], 4 inputs a vec4
@group(0) @binding(2) var<storage, read> planes: array<vec4<u32>>;       // of twelve_dot: [rows, groups * 4], 8 inputs a vec4: hi, lo, hi, lo
@group(0) @binding(3) var<storage, read> lower_bits: array<vec4<u32>>;   // [groups, out_rows], byte i: of weight i, and of i + 16 in the upper half
@group(0) @binding(4) var<storage, read> weights: array<vec4<u32>>;      // [groups * 2, out_rows], 16 i8 of one row a vec4: the upper bits
@group(0) @binding(5) var<storage, read> group_scales: array<u32>;       // [ceil(groups / 4), out_rows], 4 u8 scales of one row a word
@group(0) @binding(6) var<storage, read> row_multipliers: array<u32>;    // [out_rows]
@group(0) @binding(7) var<storage, read_write> outputs: array<i32>;      // [rows, out_stride]

const FEW = 64u;  // invocations of a workgroup
const QUADS = 8u; // inputs of a group / 4

fn mul_shift(x: i32, m: u32, k: u32) -> i32 {
    let low = bitcast<u32>(x) & ((1u << k) - 1u);
    return (x >> k) * bitcast<i32>(m) + bitcast<i32>((low * m) >> k);
}

fn group_scale(group: u32, out: u32) -> u32 {
    let word = group_scales[(group >> 2u) * linear.out_rows + out];
    return (word >> ((group & 3u) * 8u)) & 255u;
}

// Four weights of a row.
fn four_weights(upper: u32, lower: u32) -> vec4<i32> {
    return unpack4xI8(upper) * 16 + bitcast<vec4<i32>>(unpack4xU8(lower));
}

// The lower bits of a group's first or second 16 weights, a byte each.
fn lower_half(words: vec4<u32>, part: u32) -> vec4<u32> {
    return (words >> vec4<u32>(part * 4u)) & vec4<u32>(0x0f0f0f0fu);
}

// A word of each of four outputs with the same four inputs.
fn four_dots(words: vec4<u32>, inputs: u32) -> vec4<i32> {
    return vec4<i32>(
        dot4I8Packed(words.x, inputs),
        dot4I8Packed(words.y, inputs),
        dot4I8Packed(words.z, inputs),
        dot4I8Packed(words.w, inputs),
    );
}

fn finish_twelve(row: u32, out: u32, high: i32, low: u32) {
    // The last workgroup may reach past the matrix.
    if (row >= forward.rows || out >= linear.out_rows) {
        return;
    }
    let y = mul_shift((high << 4u) + bitcast<i32>(low >> 11u), row_multipliers[out], 15u);
    outputs[row * linear.out_stride + linear.first_out + out] = y;
}

@compute @workgroup_size(64)
fn twelve_fma(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first_out = workgroup.x * FEW * 4u + lane;
    let here = min(vec4<u32>(first_out) + vec4<u32>(0u, FEW, FEW * 2u, FEW * 3u), vec4<u32>(linear.out_rows - 1u));
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
        let lower0 = lower_bits[group * linear.out_rows + here.x];
        let lower1 = lower_bits[group * linear.out_rows + here.y];
        let lower2 = lower_bits[group * linear.out_rows + here.z];
        let lower3 = lower_bits[group * linear.out_rows + here.w];
        var sum0 = vec4<i32>(0);
        var sum1 = vec4<i32>(0);
        var sum2 = vec4<i32>(0);
        var sum3 = vec4<i32>(0);
        for (var part = 0u; part < 2u; part++) {
            let place = (group * 2u + part) * linear.out_rows;
            let upper0 = weights[place + here.x];
            let upper1 = weights[place + here.y];
            let upper2 = weights[place + here.z];
            let upper3 = weights[place + here.w];
            let nibbles0 = lower_half(lower0, part);
            let nibbles1 = lower_half(lower1, part);
            let nibbles2 = lower_half(lower2, part);
            let nibbles3 = lower_half(lower3, part);
            for (var word = 0u; word < 4u; word++) {
                let w0 = four_weights(upper0[word], nibbles0[word]);
                let w1 = four_weights(upper1[word], nibbles1[word]);
                let w2 = four_weights(upper2[word], nibbles2[word]);
                let w3 = four_weights(upper3[word], nibbles3[word]);
                let quad = row * row_width + group * QUADS + part * 4u + word;
                let a0 = vec4<i32>(mantissas[quad]);
                sum0 += vec4<i32>(dot(w0, a0), dot(w1, a0), dot(w2, a0), dot(w3, a0));
                let a1 = vec4<i32>(mantissas[quad + row_width]);
                sum1 += vec4<i32>(dot(w0, a1), dot(w1, a1), dot(w2, a1), dot(w3, a1));
                let a2 = vec4<i32>(mantissas[quad + row_width * 2u]);
                sum2 += vec4<i32>(dot(w0, a2), dot(w1, a2), dot(w2, a2), dot(w3, a2));
                let a3 = vec4<i32>(mantissas[quad + row_width * 3u]);
                sum3 += vec4<i32>(dot(w0, a3), dot(w1, a3), dot(w2, a3), dot(w3, a3));
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
    }
    for (var i = 0u; i < 4u; i++) {
        let out = first_out + i * FEW;
        finish_twelve(row, out, high0[i], low0[i]);
        finish_twelve(row + 1u, out, high1[i], low1[i]);
        finish_twelve(row + 2u, out, high2[i], low2[i]);
        finish_twelve(row + 3u, out, high3[i], low3[i]);
    }
}

@compute @workgroup_size(64)
fn twelve_dot(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first_out = workgroup.x * FEW * 4u + lane;
    let here = min(vec4<u32>(first_out) + vec4<u32>(0u, FEW, FEW * 2u, FEW * 3u), vec4<u32>(linear.out_rows - 1u));
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
        let lower0 = lower_bits[group * linear.out_rows + here.x];
        let lower1 = lower_bits[group * linear.out_rows + here.y];
        let lower2 = lower_bits[group * linear.out_rows + here.z];
        let lower3 = lower_bits[group * linear.out_rows + here.w];
        var high_sum0 = vec4<i32>(0);
        var low_sum0 = vec4<i32>(0);
        var high_sum1 = vec4<i32>(0);
        var low_sum1 = vec4<i32>(0);
        var high_sum2 = vec4<i32>(0);
        var low_sum2 = vec4<i32>(0);
        var high_sum3 = vec4<i32>(0);
        var low_sum3 = vec4<i32>(0);
        for (var part = 0u; part < 2u; part++) {
            let place = (group * 2u + part) * linear.out_rows;
            let upper0 = weights[place + here.x];
            let upper1 = weights[place + here.y];
            let upper2 = weights[place + here.z];
            let upper3 = weights[place + here.w];
            let nibbles0 = lower_half(lower0, part);
            let nibbles1 = lower_half(lower1, part);
            let nibbles2 = lower_half(lower2, part);
            let nibbles3 = lower_half(lower3, part);
            for (var word = 0u; word < 4u; word++) {
                let upper = vec4<u32>(upper0[word], upper1[word], upper2[word], upper3[word]);
                let lower = vec4<u32>(nibbles0[word], nibbles1[word], nibbles2[word], nibbles3[word]);
                let eighth = (row * row_width + group * QUADS + part * 4u + word) / 2u;
                let odd = word % 2u == 1u;
                let inputs0 = planes[eighth];
                let a0 = select(inputs0.xy, inputs0.zw, odd);
                high_sum0 += four_dots(upper, a0.x) * 16 + four_dots(lower, a0.x);
                low_sum0 += four_dots(upper, a0.y) * 16 + four_dots(lower, a0.y);
                let inputs1 = planes[eighth + row_width / 2u];
                let a1 = select(inputs1.xy, inputs1.zw, odd);
                high_sum1 += four_dots(upper, a1.x) * 16 + four_dots(lower, a1.x);
                low_sum1 += four_dots(upper, a1.y) * 16 + four_dots(lower, a1.y);
                let inputs2 = planes[eighth + row_width / 2u * 2u];
                let a2 = select(inputs2.xy, inputs2.zw, odd);
                high_sum2 += four_dots(upper, a2.x) * 16 + four_dots(lower, a2.x);
                low_sum2 += four_dots(upper, a2.y) * 16 + four_dots(lower, a2.y);
                let inputs3 = planes[eighth + row_width / 2u * 3u];
                let a3 = select(inputs3.xy, inputs3.zw, odd);
                high_sum3 += four_dots(upper, a3.x) * 16 + four_dots(lower, a3.x);
                low_sum3 += four_dots(upper, a3.y) * 16 + four_dots(lower, a3.y);
            }
        }
        let sum0 = high_sum0 * 128 + low_sum0;
        let sum1 = high_sum1 * 128 + low_sum1;
        let sum2 = high_sum2 * 128 + low_sum2;
        let sum3 = high_sum3 * 128 + low_sum3;
        high0 += bitcast<vec4<i32>>(scale) * (sum0 >> vec4<u32>(15u));
        low0 += scale * (bitcast<vec4<u32>>(sum0) & vec4<u32>(32767u));
        high1 += bitcast<vec4<i32>>(scale) * (sum1 >> vec4<u32>(15u));
        low1 += scale * (bitcast<vec4<u32>>(sum1) & vec4<u32>(32767u));
        high2 += bitcast<vec4<i32>>(scale) * (sum2 >> vec4<u32>(15u));
        low2 += scale * (bitcast<vec4<u32>>(sum2) & vec4<u32>(32767u));
        high3 += bitcast<vec4<i32>>(scale) * (sum3 >> vec4<u32>(15u));
        low3 += scale * (bitcast<vec4<u32>>(sum3) & vec4<u32>(32767u));
    }
    for (var i = 0u; i < 4u; i++) {
        let out = first_out + i * FEW;
        finish_twelve(row, out, high0[i], low0[i]);
        finish_twelve(row + 1u, out, high1[i], low1[i]);
        finish_twelve(row + 2u, out, high2[i], low2[i]);
        finish_twelve(row + 3u, out, high3[i], low3[i]);
    }
}
