// Linear: y = W a, over a block (mantissas and one exponent a row) and grouped 8-bit weights.
//
//   S(t, o, G) = sum over the 32 k of group G of a[t, k] * w[o, k]                                  |S| < 2^27
//   acc(t, o)  = sum g[o, G] * (S >> 7) + ((sum g[o, G] * (S & 127)) >> 7)                          modulo 2^32
//   y(t, o)    = mul_shift(acc, multiplier[o], 15),  exponent = input exponent + weight exponent + 22
// The second line equals floor(sum of a * w * g / 2^7) however the sum is cut, so the order of the loops is free.
//
// One invocation computes one output (`linear_one`) or the same output of four rows (`linear_four`), alone: no workgroup
// memory and no barrier. Weights lie interleaved so that neighbouring invocations read neighbouring 16 bytes.
// A big matrix comes in pieces of whole output rows; each piece has its own weights and its own `Linear`.

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
@group(0) @binding(2) var<storage, read> mantissas: array<vec4<i32>>;    // [rows, groups * 8], 4 inputs a vec4
@group(0) @binding(3) var<storage, read> exponents: array<i32>;          // [rows]
@group(0) @binding(4) var<storage, read> weights: array<vec4<u32>>;      // [groups * 2, out_rows], 16 i8 weights of one row a vec4
@group(0) @binding(5) var<storage, read> group_scales: array<u32>;       // [ceil(groups / 4), out_rows], 4 u8 scales of one row a word
@group(0) @binding(6) var<storage, read> row_multipliers: array<u32>;    // [out_rows]
@group(0) @binding(7) var<storage, read_write> outputs: array<i32>;      // [rows, out_stride]

fn bits(v: u32) -> u32 {
    return 32u - countLeadingZeros(v);
}

fn magnitude(x: i32) -> u32 {
    let v = bitcast<u32>(x);
    return select(v, 0u - v, x < 0);
}

fn rescale(x: i32, s: i32) -> i32 {
    if (s >= 0) {
        if (x != 0 && i32(bits(magnitude(x))) + s > 30) {
            return select(1073741823, -1073741823, x < 0);
        }
        return x << u32(s);
    }
    let n = u32(-s);
    if (n >= 32u) {
        return 0;
    }
    return ((x >> (n - 1u)) + 1) >> 1u;
}

fn mul_shift(x: i32, m: u32, k: u32) -> i32 {
    let low = bitcast<u32>(x) & ((1u << k) - 1u);
    return (x >> k) * bitcast<i32>(m) + bitcast<i32>((low * m) >> k);
}

// Four i8 of a word, lowest byte first. Shifts rather than `unpack4xI8`, which not every browser offers.
fn signed_bytes(word: u32) -> vec4<i32> {
    return bitcast<vec4<i32>>(vec4<u32>(word << 24u, word << 16u, word << 8u, word)) >> vec4<u32>(24u);
}

fn group_scale(group: u32, out: u32) -> u32 {
    let word = group_scales[(group >> 2u) * linear.out_rows + out];
    return (word >> ((group & 3u) * 8u)) & 255u;
}

fn finish(row: u32, out: u32, high: i32, low: u32) {
    let y = mul_shift(high + bitcast<i32>(low >> 7u), row_multipliers[out], 15u);
    let index = row * linear.out_stride + linear.first_out + out;
    if (linear.add_to_residual == 1u) {
        outputs[index] += rescale(y, exponents[row] + linear.exponent + linear.residual_fraction_bits);
    } else {
        outputs[index] = y;
    }
}

@compute @workgroup_size(64)
fn linear_one(@builtin(global_invocation_id) id: vec3<u32>) {
    let out = id.x;
    let row = id.y;
    // The last workgroup may reach past the matrix.
    if (out >= linear.out_rows || row >= forward.rows) {
        return;
    }
    let row_start = row * linear.groups * 8u;
    var high = 0i;
    var low = 0u;
    for (var group = 0u; group < linear.groups; group++) {
        let input = row_start + group * 8u;
        let first = weights[(group * 2u) * linear.out_rows + out];
        let second = weights[(group * 2u + 1u) * linear.out_rows + out];
        var sum = dot(signed_bytes(first.x), mantissas[input]);
        sum += dot(signed_bytes(first.y), mantissas[input + 1u]);
        sum += dot(signed_bytes(first.z), mantissas[input + 2u]);
        sum += dot(signed_bytes(first.w), mantissas[input + 3u]);
        sum += dot(signed_bytes(second.x), mantissas[input + 4u]);
        sum += dot(signed_bytes(second.y), mantissas[input + 5u]);
        sum += dot(signed_bytes(second.z), mantissas[input + 6u]);
        sum += dot(signed_bytes(second.w), mantissas[input + 7u]);
        let scale = group_scale(group, out);
        high += bitcast<i32>(scale) * (sum >> 7u);
        low += scale * (bitcast<u32>(sum) & 127u);
    }
    finish(row, out, high, low);
}

// Four rows share every weight that is read and unpacked: what a prompt costs is mostly that.
@compute @workgroup_size(64)
fn linear_four(@builtin(global_invocation_id) id: vec3<u32>) {
    let out = id.x;
    let row = id.y * 4u;
    // The last workgroup may reach past the matrix.
    if (out >= linear.out_rows || row >= forward.rows) {
        return;
    }
    // Rows past `forward.rows` hold an earlier call's numbers (the buffer has a multiple of four rows); they are computed and dropped.
    let row_width = linear.groups * 8u;
    let row_start = row * row_width;
    var high = vec4<i32>(0);
    var low = vec4<u32>(0u);
    for (var group = 0u; group < linear.groups; group++) {
        var sum = vec4<i32>(0);
        for (var part = 0u; part < 2u; part++) {
            let words = weights[(group * 2u + part) * linear.out_rows + out];
            for (var word = 0u; word < 4u; word++) {
                let w = signed_bytes(words[word]);
                let input = row_start + group * 8u + part * 4u + word;
                sum += vec4<i32>(
                    dot(w, mantissas[input]),
                    dot(w, mantissas[input + row_width]),
                    dot(w, mantissas[input + row_width * 2u]),
                    dot(w, mantissas[input + row_width * 3u]),
                );
            }
        }
        let scale = group_scale(group, out);
        high += bitcast<i32>(scale) * (sum >> vec4<u32>(7u));
        low += scale * (bitcast<vec4<u32>>(sum) & vec4<u32>(127u));
    }
    for (var i = 0u; i < min(4u, forward.rows - row); i++) {
        finish(row + i, out, high[i], low[i]);
    }
}
