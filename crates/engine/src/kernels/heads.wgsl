// #import model, heads, rescale, fit, mul_shift, wide, rsqrt, bias
//
// Of models that have them: biases of the query, key and value projections, and the norms of query
// and key heads.
//
//   bias:  e' = max(e, be - 4),  y' = rescale(y, e - e') + rescale(b, be - e')
//   norm:  RMSNorm of the head, as in rms_norm.wgsl, with the exponent of its projection and eps * head_dim
//
// One workgroup a row and head, in place; every head gets an exponent of its own, which the
// rotation goes on from. A head that was normalised is a block already, and fits as it is.

@group(0) @binding(0) var<uniform> model: Model;
@group(0) @binding(1) var<uniform> heads: Heads;
@group(0) @binding(2) var<storage, read_write> projected: array<i32>;       // [rows, (heads + 2 * kv_heads) * head_dim]: q, k, v
@group(0) @binding(3) var<storage, read> exponents: array<i32>;             // [rows], of the projections' input
@group(0) @binding(4) var<storage, read_write> head_exponents: array<i32>;  // [rows, heads + 2 * kv_heads]
@group(0) @binding(5) var<storage, read> biases: array<i32>;                // [(heads + 2 * kv_heads) * head_dim], or anything
@group(0) @binding(6) var<storage, read> gains: array<i32>;                 // [2, head_dim]: of queries, of keys; or anything
@group(0) @binding(7) var<storage, read> rsqrt_table: array<u32>;           // [768]

override INVOCATIONS: u32 = 64u; // of a workgroup, a power of two

// Workgroup memory starts as zero, which is the identity of a maximum of magnitudes and of a sum.
var<workgroup> largest_input: atomic<u32>;
var<workgroup> squares_high: atomic<u32>; // sum of xs^2 >> 16
var<workgroup> squares_low: atomic<u32>;  // sum of xs^2 & 0xffff
var<workgroup> largest_output: atomic<u32>;

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

    let root = root_of_squares(high, low, wide_scale(heads.eps_mantissa, heads.eps_exponent - 2 * (exponent + n)));

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
