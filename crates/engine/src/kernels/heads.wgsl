// Of models that have them: biases of the query, key and value projections, and the norms of query and key heads.
//
//   bias:  e' = max(e, be - 4),  y' = rescale(y, e - e') + rescale(b, be - e')
//   norm:  RMSNorm of the head, as in rms_norm.wgsl, with the exponent of its projection and eps * head_dim
//
// One workgroup a row and head, in place; every head gets an exponent of its own, which the rotation goes on from. A head that was
// normalised is a block already, and fits as it is.

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

struct Heads {
    query_exponent: i32, // each: weight exponent + 22
    key_exponent: i32,
    value_exponent: i32,
    query_bias_exponent: i32,
    key_bias_exponent: i32,
    value_bias_exponent: i32,
    query_gain_exponent: i32, // gain * sqrt(head_dim) = gains * 2^gain_exponent
    key_gain_exponent: i32,
    eps_mantissa: u32,        // eps * head_dim = eps_mantissa * 2^eps_exponent
    eps_exponent: i32,
    biased: u32,              // 1: there are biases
    normalised: u32,          // 1: query and key heads are normalised
}

@group(0) @binding(0) var<uniform> model: Model;
@group(0) @binding(1) var<uniform> heads: Heads;
@group(0) @binding(2) var<storage, read_write> projected: array<i32>;       // [rows, (heads + 2 * kv_heads) * head_dim]: q, k, v
@group(0) @binding(3) var<storage, read> exponents: array<i32>;             // [rows], of the projections' input
@group(0) @binding(4) var<storage, read_write> head_exponents: array<i32>;  // [rows, heads + 2 * kv_heads]
@group(0) @binding(5) var<storage, read> biases: array<i32>;                // [(heads + 2 * kv_heads) * head_dim], or anything
@group(0) @binding(6) var<storage, read> gains: array<i32>;                 // [2, head_dim]: of queries, of keys; or anything
@group(0) @binding(7) var<storage, read> rsqrt_table: array<u32>;           // [768]

override INVOCATIONS: u32 = 64u; // of a workgroup, a power of two

const BIAS_HEADROOM = 4; // bits by which a bias's mantissas may grow

// Workgroup memory starts as zero, which is the identity of a maximum of magnitudes and of a sum.
var<workgroup> largest_input: atomic<u32>;
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

// floor(eps * head_dim * 2^shift), kept below 2^63.
fn head_epsilon(shift: i32) -> vec2<u32> {
    if (shift >= 0) {
        return wide_shift_left(heads.eps_mantissa, u32(min(shift, 39)));
    }
    if (shift <= -24) {
        return vec2<u32>(0u, 0u);
    }
    return vec2<u32>(heads.eps_mantissa >> u32(-shift), 0u);
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

@compute @workgroup_size(INVOCATIONS)
fn finish_heads(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = workgroup.x; // queries, then keys, then values
    let row = workgroup.y;
    let all_heads = model.heads + 2u * model.kv_heads;
    let start = (row * all_heads + head) * model.head_dim;
    let is_query = head < model.heads;
    let is_value = head >= model.heads + model.kv_heads;

    var exponent = exponents[row] + select(select(heads.key_exponent, heads.query_exponent, is_query), heads.value_exponent, is_value);
    if (heads.biased == 1u) {
        let bias_exponent =
            select(select(heads.key_bias_exponent, heads.query_bias_exponent, is_query), heads.value_bias_exponent, is_value);
        let shared_exponent = max(exponent, bias_exponent - BIAS_HEADROOM);
        for (var j = lane; j < model.head_dim; j += INVOCATIONS) {
            let bias = rescale(biases[head * model.head_dim + j], bias_exponent - shared_exponent);
            projected[start + j] = rescale(projected[start + j], exponent - shared_exponent) + bias;
        }
        exponent = shared_exponent;
    }
    if (heads.normalised == 0u || is_value) {
        if (lane == 0u) {
            head_exponents[row * all_heads + head] = exponent;
        }
        return;
    }

    // From here on every invocation re-reads only what it wrote itself.
    var largest = 0u;
    for (var j = lane; j < model.head_dim; j += INVOCATIONS) {
        largest = max(largest, magnitude(projected[start + j]));
    }
    atomicMax(&largest_input, largest);
    workgroupBarrier(); // the head's maximum is complete
    largest = atomicLoad(&largest_input);

    let n = fit_exponent(largest);
    var high = 0u;
    var low = 0u;
    for (var j = lane; j < model.head_dim; j += INVOCATIONS) {
        let scaled = fit_mantissa(projected[start + j], n);
        let square = bitcast<u32>(scaled * scaled);
        high += square >> 16u;
        low += square & 0xffffu;
    }
    atomicAdd(&squares_high, high);
    atomicAdd(&squares_low, low);
    workgroupBarrier(); // the head's sums are complete
    high = atomicLoad(&squares_high);
    low = atomicLoad(&squares_low);

    var sum = wide_add(wide_shift_left(high, 16u), vec2<u32>(low, 0u));
    sum = wide_add(sum, head_epsilon(heads.eps_exponent - 2 * (exponent + n)));
    if (sum.x == 0u && sum.y == 0u) {
        sum.x = 1u;
    }
    let root = reciprocal_root(sum);

    let k = i32(bits(largest)) - 24;
    let first_gain = select(model.head_dim, 0u, is_query);
    largest = 0u;
    for (var j = lane; j < model.head_dim; j += INVOCATIONS) {
        let wide = clamp(rescale(projected[start + j], -k), -16777215, 16777215);
        let y = mul_shift(wide, root.mantissa, 16u);
        let gain = gains[first_gain + j];
        let unsigned = mul_shift(y, magnitude(gain), 14u);
        let z = select(unsigned, -unsigned, gain < 0);
        projected[start + j] = z;
        largest = max(largest, magnitude(z));
    }
    atomicMax(&largest_output, largest);
    workgroupBarrier(); // the maximum of z is complete
    let n2 = fit_exponent(atomicLoad(&largest_output));
    for (var j = lane; j < model.head_dim; j += INVOCATIONS) {
        projected[start + j] = fit_mantissa(projected[start + j], n2);
    }
    if (lane == 0u) {
        let gain_exponent = select(heads.key_gain_exponent, heads.query_gain_exponent, is_query);
        head_exponents[row * all_heads + head] = n2 + k - n + root.exponent + 30 + gain_exponent;
    }
}
