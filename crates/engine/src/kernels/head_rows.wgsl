// #import model, rescale, fit, mul_shift, wide, rsqrt, norm
//
// Of models that have it: RMSNorm of a whole query or key row, before it is cut into heads.
//
//   z as in rms_norm.wgsl, with the exponent of the row and eps * width; every head has z's exponent
//
// One workgroup a row and side, in place, after `finish_heads`, whose exponents are the same for all
// heads of a side.

struct RowNorms {
    query_gain_exponent: i32, // gain * sqrt(width) = gains * 2^gain_exponent
    key_gain_exponent: i32,
    query_eps_mantissa: u32,  // eps * width = eps_mantissa * 2^eps_exponent
    query_eps_exponent: i32,
    key_eps_mantissa: u32,
    key_eps_exponent: i32,
}

@group(0) @binding(0) var<uniform> model: Model;
@group(0) @binding(1) var<uniform> norms: RowNorms;
@group(0) @binding(2) var<storage, read_write> projected: array<i32>;       // [rows, (heads + 2 * kv_heads) * head_dim]: q, k, v
@group(0) @binding(3) var<storage, read_write> head_exponents: array<i32>;  // [rows, heads + 2 * kv_heads]
@group(0) @binding(4) var<storage, read> gains: array<i32>;                 // [(heads + kv_heads) * head_dim]: of queries, of keys
@group(0) @binding(5) var<storage, read> rsqrt_table: array<u32>;           // [768]

override INVOCATIONS: u32 = 256u; // of a workgroup, a power of two

// Workgroup memory starts as zero, which is the identity of a maximum of magnitudes and of a sum.
var<workgroup> largest_input: atomic<u32>;
var<workgroup> squares_high: atomic<u32>; // sum of xs^2 >> 16
var<workgroup> squares_low: atomic<u32>;  // sum of xs^2 & 0xffff

@compute @workgroup_size(INVOCATIONS)
fn normalise_rows(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let is_key = workgroup.x == 1u; // queries, then keys
    let row = workgroup.y;
    let all_heads = model.heads + 2u * model.kv_heads;
    let first_head = select(0u, model.heads, is_key);
    let heads = select(model.heads, model.kv_heads, is_key);
    let start = (row * all_heads + first_head) * model.head_dim;
    let width = heads * model.head_dim;
    let exponent = head_exponents[row * all_heads + first_head];

    var largest = 0u;
    for (var i = lane; i < width; i += INVOCATIONS) {
        largest = max(largest, magnitude(projected[start + i]));
    }
    atomicMax(&largest_input, largest);
    workgroupBarrier(); // the row's maximum is complete, and its exponent was read by all
    largest = atomicLoad(&largest_input);

    let n = fit_exponent(largest);
    var high = 0u;
    var low = 0u;
    for (var i = lane; i < width; i += INVOCATIONS) {
        let scaled = fit_mantissa(projected[start + i], n);
        let square = bitcast<u32>(scaled * scaled);
        high += square >> 16u;
        low += square & 0xffffu;
    }
    atomicAdd(&squares_high, high);
    atomicAdd(&squares_low, low);
    workgroupBarrier(); // the row's sums are complete
    high = atomicLoad(&squares_high);
    low = atomicLoad(&squares_low);

    let eps_mantissa = select(norms.query_eps_mantissa, norms.key_eps_mantissa, is_key);
    let eps_exponent = select(norms.query_eps_exponent, norms.key_eps_exponent, is_key);
    let root = root_of_squares(high, low, wide_scale(eps_mantissa, eps_exponent - 2 * (exponent + n)));

    let k = i32(bits(largest)) - 24;
    let first_gain = select(0u, model.heads * model.head_dim, is_key);
    for (var i = lane; i < width; i += INVOCATIONS) {
        projected[start + i] = normalise(projected[start + i], gains[first_gain + i], k, root.mantissa);
    }
    let gain_exponent = select(norms.query_gain_exponent, norms.key_gain_exponent, is_key);
    for (var head = lane; head < heads; head += INVOCATIONS) {
        head_exponents[row * all_heads + first_head + head] = k - n + root.exponent + 30 + gain_exponent;
    }
}
