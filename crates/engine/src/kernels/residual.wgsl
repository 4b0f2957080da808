// #import model, rescale, fit, mul_shift, wide, rsqrt, norm, bias
//
// A matrix's outputs added to the residual stream, where there is more to it than their exponent.
//
//   bias:  e' = max(e, be - 4),  y' = rescale(y, e - e') + rescale(b, be - e')
//   norm:  RMSNorm of y up to z, as in rms_norm.wgsl, with the exponent of y
//   x += rescale(y, e + F)
//
// One workgroup a row. Every invocation keeps to its own elements, which it reads again as it wrote
// them; only maxima and sums cross.

struct AddRow {
    exponent: i32,      // of the matrix: weight exponent + 22
    bias_exponent: i32,
    gain_exponent: i32, // gain * sqrt(d_model) = gains * 2^gain_exponent
    biased: u32,        // 1: there is a bias
    normalised: u32,    // 1: there is a norm
}

@group(0) @binding(0) var<uniform> model: Model;
@group(0) @binding(1) var<uniform> add: AddRow;
@group(0) @binding(2) var<storage, read_write> rows: array<i32>;            // [rows, d_model], residual_fraction_bits fraction bits
@group(0) @binding(3) var<storage, read_write> products: array<i32>;        // [rows, d_model]
@group(0) @binding(4) var<storage, read> product_exponents: array<i32>;     // [rows], of the matrix's input
@group(0) @binding(5) var<storage, read> vectors: array<i32>;               // [2, d_model]: bias and gain, each if there is one
@group(0) @binding(6) var<storage, read> rsqrt_table: array<u32>;           // [768]

override INVOCATIONS: u32 = 256u; // of a workgroup, a power of two

// Workgroup memory starts as zero, which is the identity of a maximum of magnitudes and of a sum.
var<workgroup> largest_product: atomic<u32>;
var<workgroup> squares_high: atomic<u32>; // sum of ys^2 >> 16
var<workgroup> squares_low: atomic<u32>;  // sum of ys^2 & 0xffff

@compute @workgroup_size(INVOCATIONS)
fn add_row(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.x;
    let start = row * model.d_model;
    var exponent = product_exponents[row] + add.exponent;

    if (add.biased == 1u) {
        let shared_exponent = max(exponent, add.bias_exponent - BIAS_HEADROOM);
        for (var i = lane; i < model.d_model; i += INVOCATIONS) {
            let bias = rescale(vectors[i], add.bias_exponent - shared_exponent);
            products[start + i] = rescale(products[start + i], exponent - shared_exponent) + bias;
        }
        exponent = shared_exponent;
    }
    if (add.normalised == 1u) {
        var largest = 0u;
        for (var i = lane; i < model.d_model; i += INVOCATIONS) {
            largest = max(largest, magnitude(products[start + i]));
        }
        atomicMax(&largest_product, largest);
        workgroupBarrier(); // the row's maximum is complete
        largest = atomicLoad(&largest_product);

        let n = fit_exponent(largest);
        var high = 0u;
        var low = 0u;
        for (var i = lane; i < model.d_model; i += INVOCATIONS) {
            let scaled = fit_mantissa(products[start + i], n);
            let square = bitcast<u32>(scaled * scaled);
            high += square >> 16u;
            low += square & 0xffffu;
        }
        atomicAdd(&squares_high, high);
        atomicAdd(&squares_low, low);
        workgroupBarrier(); // the row's sums are complete
        high = atomicLoad(&squares_high);
        low = atomicLoad(&squares_low);

        let root = root_of_squares(high, low, wide_scale(model.eps_mantissa, model.eps_exponent - 2 * (exponent + n)));
        let k = i32(bits(largest)) - 24;
        for (var i = lane; i < model.d_model; i += INVOCATIONS) {
            products[start + i] = normalise(products[start + i], vectors[model.d_model + i], k, root.mantissa);
        }
        exponent = k - n + root.exponent + 30 + add.gain_exponent;
    }
    for (var i = lane; i < model.d_model; i += INVOCATIONS) {
        rows[start + i] += rescale(products[start + i], exponent + model.residual_fraction_bits);
    }
}
