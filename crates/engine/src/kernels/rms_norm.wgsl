// #import model, rescale, fit, mul_shift, wide, rsqrt, norm, store_quad
//
// RMSNorm of a residual row and its fit into a block: x[d] -> mantissas[d] and one exponent.
//
//   n = bits(max |x|) - 14,  xs = fit(x),  S = sum of xs^2 + floor(eps * d * 2^(2F - 2n)),  (r, re) = rsqrt(max(S, 1))
//   k = bits(max |x|) - 24,  xw = clamp(rescale(x, -k)),  y = mul_shift(xw, r, 16),  z = +-mul_shift(y, |gain|, 14)
//   (m, n2) = fit(z),  exponent = n2 + k - n + re + 30 + gain exponent
//
// One workgroup a row. Every invocation keeps to its own elements; only maxima and sums cross,
// through workgroup atomics (integer maxima and sums do not depend on their order), one barrier
// each.

struct Norm {
    gain_exponent: i32, // gain * sqrt(d_model) = gains * 2^gain_exponent
}

@group(0) @binding(0) var<uniform> model: Model;
@group(0) @binding(1) var<uniform> norm: Norm;
@group(0) @binding(2) var<storage, read> rows: array<i32>;              // [rows, d_model], residual_fraction_bits fraction bits
@group(0) @binding(3) var<storage, read> gains: array<i32>;             // [d_model], |gain| <= 16384
@group(0) @binding(4) var<storage, read> rsqrt_table: array<u32>;       // [768]
@group(0) @binding(5) var<storage, read_write> block: array<u32>;       // [rows, d_model / 4] of four mantissas
@group(0) @binding(6) var<storage, read_write> exponents: array<i32>;   // [rows]

override INVOCATIONS: u32 = 256u; // of a workgroup, a power of two

// Workgroup memory starts as zero, which is the identity of a maximum of magnitudes and of a sum.
var<workgroup> largest_input: atomic<u32>;
var<workgroup> squares_high: atomic<u32>; // sum of xs^2 >> 16
var<workgroup> squares_low: atomic<u32>;  // sum of xs^2 & 0xffff
var<workgroup> largest_output: atomic<u32>;

@compute @workgroup_size(INVOCATIONS)
fn rms_norm(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.x;
    let start = row * model.d_model;

    var largest = 0u;
    for (var i = lane; i < model.d_model; i += INVOCATIONS) {
        largest = max(largest, magnitude(rows[start + i]));
    }
    atomicMax(&largest_input, largest);
    workgroupBarrier(); // the row's maximum is complete
    largest = atomicLoad(&largest_input);

    let n = fit_exponent(largest);
    var high = 0u;
    var low = 0u;
    for (var i = lane; i < model.d_model; i += INVOCATIONS) {
        let scaled = fit_mantissa(rows[start + i], n);
        let square = bitcast<u32>(scaled * scaled);
        high += square >> 16u;
        low += square & 0xffffu;
    }
    atomicAdd(&squares_high, high);
    atomicAdd(&squares_low, low);
    workgroupBarrier(); // the row's sums are complete
    high = atomicLoad(&squares_high);
    low = atomicLoad(&squares_low);

    let root = root_of_squares(high, low, epsilon(n));

    let k = i32(bits(largest)) - 24;
    largest = 0u;
    for (var i = lane; i < model.d_model; i += INVOCATIONS) {
        largest = max(largest, magnitude(normalise(rows[start + i], gains[i], k, root.mantissa)));
    }
    atomicMax(&largest_output, largest);
    workgroupBarrier(); // the maximum of z is complete; z is computed again rather than kept
    let n2 = fit_exponent(atomicLoad(&largest_output));
    for (var i = lane * 4u; i < model.d_model; i += INVOCATIONS * 4u) {
        var quad: vec4<i32>;
        for (var j = 0u; j < 4u; j++) {
            quad[j] = fit_mantissa(normalise(rows[start + i + j], gains[i + j], k, root.mantissa), n2);
        }
        store_quad((start + i) / 4u, quad);
    }
    if (lane == 0u) {
        exponents[row] = n2 + k - n + root.exponent + 30 + norm.gain_exponent;
    }
}
