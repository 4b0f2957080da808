// An encoder's residual rows: a matrix's outputs and bias added, then LayerNorm, and their fit into blocks.
//
//   add_norm:  x += rescale(y + b, e + F),  x -= mean(x),  z = +-mul_shift(mul_shift(xw, r, 16), |gain|, 14) as in rms_norm.wgsl,
//              x = rescale(z + norm's b, e' + F),  (m, n) = fit(x),  exponent n - F
//   fit_rows:  only the last
//   y + b:     e' = max(e, be - 4),  y' = rescale(y, e - e') + rescale(b, be - e')
//
// One workgroup a row. Every invocation keeps to its own elements, which it reads again as it wrote them; only maxima and sums cross,
// through workgroup atomics, one barrier each.

struct Model {
    d_model: u32,
    d_ff: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    qk_scale: u32,               // Q15
    residual_fraction_bits: i32,
    eps_mantissa: u32,           // eps * d_model = eps_mantissa * 2^eps_exponent
    eps_exponent: i32,
}

struct AddNorm {
    exponent: i32,           // of the matrix: weight exponent + 26
    bias_exponent: i32,      // of the matrix's bias
    gain_exponent: i32,      // gain * sqrt(d_model) = gains * 2^gain_exponent
    norm_bias_exponent: i32,
}

@group(0) @binding(0) var<uniform> model: Model;
@group(0) @binding(1) var<storage, read_write> rows: array<i32>;            // [rows, d_model], residual_fraction_bits fraction bits
@group(0) @binding(2) var<storage, read_write> block: array<u32>;           // [rows, d_model / 4] of four mantissas
@group(0) @binding(3) var<storage, read_write> exponents: array<i32>;       // [rows]
// Of `add_norm` alone.
@group(0) @binding(4) var<uniform> add: AddNorm;
@group(0) @binding(5) var<storage, read> products: array<i32>;              // [rows, d_model]
@group(0) @binding(6) var<storage, read> product_exponents: array<i32>;     // [rows], of the matrix's input
@group(0) @binding(7) var<storage, read> vectors: array<i32>;               // [3, d_model]: the matrix's bias, the norm's gain and bias
@group(0) @binding(8) var<storage, read> rsqrt_table: array<u32>;           // [768]

override INVOCATIONS: u32 = 256u; // of a workgroup, a power of two
override FORM: u32 = 0u; // what `block` holds: 0: f32, for ..._fma; 1: planes, for ..._dot; 2: i32, for twelve

const BIAS_HEADROOM = 4; // bits by which a bias's mantissas may grow
const SUM_BITS = 30;     // bits of the sum of a row

// Workgroup memory starts as zero, which is the identity of a maximum of magnitudes and of a sum.
var<workgroup> largest_input: atomic<u32>;
var<workgroup> row_sum: atomic<u32>;
var<workgroup> largest_centred: atomic<u32>;
var<workgroup> squares_high: atomic<u32>; // sum of xs^2 >> 16
var<workgroup> squares_low: atomic<u32>;  // sum of xs^2 & 0xffff
var<workgroup> largest_output: atomic<u32>;

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

fn fit_exponent(largest: u32) -> i32 {
    return i32(bits(largest)) - 14;
}

fn fit_mantissa(x: i32, n: i32) -> i32 {
    return clamp(rescale(x, -n), -16383, 16383);
}

fn mul_shift(x: i32, m: u32, k: u32) -> i32 {
    let low = bitcast<u32>(x) & ((1u << k) - 1u);
    return (x >> k) * bitcast<i32>(m) + bitcast<i32>((low * m) >> k);
}

// A 64-bit number in two words: x the low one, y the high one.
fn wide_add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}

fn wide_shift_left(v: u32, s: u32) -> vec2<u32> {
    if (s == 0u) {
        return vec2<u32>(v, 0u);
    }
    if (s < 32u) {
        return vec2<u32>(v << s, v >> (32u - s));
    }
    return vec2<u32>(0u, v << (s - 32u));
}

// The low word of v >> s.
fn wide_shift_right(v: vec2<u32>, s: u32) -> u32 {
    if (s == 0u) {
        return v.x;
    }
    if (s < 32u) {
        return (v.x >> s) | (v.y << (32u - s));
    }
    return v.y >> (s - 32u);
}

// floor(eps * d_model * 2^(2F - 2n)), kept below 2^63.
fn epsilon(n: i32) -> vec2<u32> {
    let shift = model.eps_exponent + 2 * model.residual_fraction_bits - 2 * n;
    if (shift >= 0) {
        return wide_shift_left(model.eps_mantissa, u32(min(shift, 39)));
    }
    if (shift <= -24) {
        return vec2<u32>(0u, 0u);
    }
    return vec2<u32>(model.eps_mantissa >> u32(-shift), 0u);
}

struct ReciprocalRoot {
    mantissa: u32, // Q16
    exponent: i32,
}

// 1 / sqrt(s) for s >= 1: a table look-up on 10 bits and one Newton step.
fn reciprocal_root(s: vec2<u32>) -> ReciprocalRoot {
    var b = i32(select(bits(s.x), 32u + bits(s.y), s.y != 0u));
    b += b & 1;
    var q = 0u;
    if (b < 26) {
        q = s.x << u32(26 - b);
    } else {
        q = wide_shift_right(s, u32(b - 26));
    }
    let first = rsqrt_table[(q >> 16u) - 256u];
    var t = (first * first) >> 14u;
    t = (t * (q >> 10u)) >> 14u;
    let factor = (196608u - t) >> 1u;
    return ReciprocalRoot(min((first * factor) >> 15u, 65535u), -16 - (b - 2) / 2);
}

// z of one element, from the row's 2^k and reciprocal root.
fn normalise(x: i32, gain: i32, k: i32, root: u32) -> i32 {
    let wide = clamp(rescale(x, -k), -16777215, 16777215);
    let unsigned = mul_shift(mul_shift(wide, root, 16u), magnitude(gain), 14u);
    return select(unsigned, -unsigned, gain < 0);
}

// Four mantissas as Linear reads them; planes are (hi, lo) of m = 128 * hi + lo.
fn store_quad(quad: u32, m: vec4<i32>) {
    if (FORM == 1u) {
        let high = bitcast<vec4<u32>>(m >> vec4<u32>(7u)) & vec4<u32>(255u);
        let low = bitcast<vec4<u32>>(m) & vec4<u32>(127u);
        block[quad * 2u] = high.x | (high.y << 8u) | (high.z << 16u) | (high.w << 24u);
        block[quad * 2u + 1u] = low.x | (low.y << 8u) | (low.z << 16u) | (low.w << 24u);
    } else {
        let words = select(bitcast<vec4<u32>>(vec4<f32>(m)), bitcast<vec4<u32>>(m), FORM == 2u);
        block[quad * 4u] = words.x;
        block[quad * 4u + 1u] = words.y;
        block[quad * 4u + 2u] = words.z;
        block[quad * 4u + 3u] = words.w;
    }
}

// floor(a / b) for b > 0.
fn floor_divide(a: i32, b: i32) -> i32 {
    let quotient = a / b;
    return select(quotient, quotient - 1, quotient * b > a);
}

// The row's block, once the largest of its values is known to all.
fn store_block(row: u32, lane: u32) {
    let start = row * model.d_model;
    let n = fit_exponent(atomicLoad(&largest_output));
    for (var i = lane * 4u; i < model.d_model; i += INVOCATIONS * 4u) {
        var quad: vec4<i32>;
        for (var j = 0u; j < 4u; j++) {
            quad[j] = fit_mantissa(rows[start + i + j], n);
        }
        store_quad((start + i) / 4u, quad);
    }
    if (lane == 0u) {
        exponents[row] = n - model.residual_fraction_bits;
    }
}

@compute @workgroup_size(INVOCATIONS)
fn add_norm(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.x;
    let start = row * model.d_model;
    let exponent = product_exponents[row] + add.exponent;
    let shared_exponent = max(exponent, add.bias_exponent - BIAS_HEADROOM);

    // Four neighbours an invocation, as `store_block` reads them.
    var largest = 0u;
    for (var i = lane * 4u; i < model.d_model; i += INVOCATIONS * 4u) {
        for (var j = i; j < i + 4u; j++) {
            let bias = rescale(vectors[j], add.bias_exponent - shared_exponent);
            let biased = rescale(products[start + j], exponent - shared_exponent) + bias;
            let x = rows[start + j] + rescale(biased, shared_exponent + model.residual_fraction_bits);
            rows[start + j] = x;
            largest = max(largest, magnitude(x));
        }
    }
    atomicMax(&largest_input, largest);
    workgroupBarrier(); // the row's maximum is complete
    let room = max(i32(bits(atomicLoad(&largest_input)) + bits(model.d_model)) - SUM_BITS, 0);

    var part = 0i;
    for (var i = lane * 4u; i < model.d_model; i += INVOCATIONS * 4u) {
        for (var j = i; j < i + 4u; j++) {
            part += rescale(rows[start + j], -room);
        }
    }
    atomicAdd(&row_sum, bitcast<u32>(part));
    workgroupBarrier(); // the row's sum is complete
    let width = i32(model.d_model);
    let mean = rescale(floor_divide(bitcast<i32>(atomicLoad(&row_sum)) + width / 2, width), room);

    largest = 0u;
    for (var i = lane * 4u; i < model.d_model; i += INVOCATIONS * 4u) {
        for (var j = i; j < i + 4u; j++) {
            let x = rows[start + j] - mean;
            rows[start + j] = x;
            largest = max(largest, magnitude(x));
        }
    }
    atomicMax(&largest_centred, largest);
    workgroupBarrier(); // the centred row's maximum is complete
    largest = atomicLoad(&largest_centred);

    let n = fit_exponent(largest);
    var high = 0u;
    var low = 0u;
    for (var i = lane * 4u; i < model.d_model; i += INVOCATIONS * 4u) {
        for (var j = i; j < i + 4u; j++) {
            let scaled = fit_mantissa(rows[start + j], n);
            let square = bitcast<u32>(scaled * scaled);
            high += square >> 16u;
            low += square & 0xffffu;
        }
    }
    atomicAdd(&squares_high, high);
    atomicAdd(&squares_low, low);
    workgroupBarrier(); // the row's sums are complete
    high = atomicLoad(&squares_high);
    low = atomicLoad(&squares_low);

    var sum = wide_add(wide_shift_left(high, 16u), vec2<u32>(low, 0u));
    sum = wide_add(sum, epsilon(n));
    if (sum.x == 0u && sum.y == 0u) {
        sum.x = 1u;
    }
    let root = reciprocal_root(sum);

    let k = i32(bits(largest)) - 24;
    let normal_exponent = k - n + root.exponent + 30 + add.gain_exponent;
    let norm_exponent = max(normal_exponent, add.norm_bias_exponent - BIAS_HEADROOM);
    largest = 0u;
    for (var i = lane * 4u; i < model.d_model; i += INVOCATIONS * 4u) {
        for (var j = i; j < i + 4u; j++) {
            let z = normalise(rows[start + j], vectors[model.d_model + j], k, root.mantissa);
            let bias = rescale(vectors[2u * model.d_model + j], add.norm_bias_exponent - norm_exponent);
            let x = rescale(rescale(z, normal_exponent - norm_exponent) + bias, norm_exponent + model.residual_fraction_bits);
            rows[start + j] = x;
            largest = max(largest, magnitude(x));
        }
    }
    atomicMax(&largest_output, largest);
    workgroupBarrier(); // the row's new maximum is complete
    store_block(row, lane);
}

@compute @workgroup_size(INVOCATIONS)
fn fit_rows(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.x;
    let start = row * model.d_model;
    var largest = 0u;
    for (var i = lane; i < model.d_model; i += INVOCATIONS) {
        largest = max(largest, magnitude(rows[start + i]));
    }
    atomicMax(&largest_output, largest);
    workgroupBarrier(); // the row's maximum is complete
    store_block(row, lane);
}
