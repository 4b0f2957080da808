// #import model, rescale, fit, mul_shift, wide, rsqrt, norm, store_quad, bias
//
// LayerNorm of residual rows, and their fit into blocks. An encoder's rows become what is normalised; a
// decoder's stay, and `rows` is a copy of them.
//
//   z of x:      x -= mean(x),  z = +-mul_shift(mul_shift(xw, r, 16), |gain|, 14) as in rms_norm.wgsl
//   add_norm:    x += rescale(y + b, e + F),  x = rescale(z + norm's b, e' + F),  (m, n) = fit(x),  exponent n - F
//   layer_norm:  (m, n) = fit(z + norm's b),  exponent n + e'
//   fit_rows:    (m, n) = fit(x),  exponent n - F
//   y + b:       e' = max(e, be - 4),  y' = rescale(y, e - e') + rescale(b, be - e')
//
// One workgroup a row. Every invocation keeps to its own elements, which it reads again as it wrote
// them; only maxima and sums cross, through workgroup atomics, one barrier each.

struct AddNorm {
    exponent: i32,           // of the matrix: weight exponent + 26; of `add_norm` alone, as the next
    bias_exponent: i32,      // of the matrix's bias
    gain_exponent: i32,      // gain * sqrt(d_model) = gains * 2^gain_exponent
    norm_bias_exponent: i32,
}

@group(0) @binding(0) var<uniform> model: Model;
@group(0) @binding(1) var<storage, read_write> rows: array<i32>;            // [rows, d_model], residual_fraction_bits fraction bits
@group(0) @binding(2) var<storage, read_write> block: array<u32>;           // [rows, d_model / 4] of four mantissas
@group(0) @binding(3) var<storage, read_write> exponents: array<i32>;       // [rows]
// Of `add_norm`, `add_norm_before` and `layer_norm`.
@group(0) @binding(4) var<uniform> add: AddNorm;
@group(0) @binding(5) var<storage, read> vectors: array<i32>;               // [3, d_model]: the norm's gain and bias, the matrix's bias
@group(0) @binding(6) var<storage, read> rsqrt_table: array<u32>;           // [768]
@group(0) @binding(7) var<storage, read> products: array<i32>;              // [rows, d_model]; of `layer_norm` the residual stream
// Of `add_norm` alone.
@group(0) @binding(8) var<storage, read> product_exponents: array<i32>;     // [rows], of the matrix's input

override INVOCATIONS: u32 = 256u; // of a workgroup, a power of two

const SUM_BITS = 30;     // bits of the sum of a row

// Workgroup memory starts as zero, which is the identity of a maximum of magnitudes and of a sum.
var<workgroup> largest_input: atomic<u32>;
var<workgroup> row_sum: atomic<u32>;
var<workgroup> largest_centred: atomic<u32>;
var<workgroup> squares_high: atomic<u32>; // sum of xs^2 >> 16
var<workgroup> squares_low: atomic<u32>;  // sum of xs^2 & 0xffff
var<workgroup> largest_output: atomic<u32>;

// floor(a / b) for b > 0.
fn floor_divide(a: i32, b: i32) -> i32 {
    let quotient = a / b;
    return select(quotient, quotient - 1, quotient * b > a);
}

// The row's block, once the largest of its values is known to all; theirs is `exponent`.
fn store_block(row: u32, lane: u32, exponent: i32) {
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
        exponents[row] = n + exponent;
    }
}

// Normalises a row, whose largest value of this invocation's is `own_largest`: with the exponent of the residual
// stream, or that of the sum, which is returned.
fn normalise_row(start: u32, lane: u32, own_largest: u32, to_residual: bool) -> i32 {
    var largest = own_largest;
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

    let root = root_of_squares(high, low, epsilon(n));

    let k = i32(bits(largest)) - 24;
    let normal_exponent = k - n + root.exponent + 30 + add.gain_exponent;
    let norm_exponent = max(normal_exponent, add.norm_bias_exponent - BIAS_HEADROOM);
    largest = 0u;
    for (var i = lane * 4u; i < model.d_model; i += INVOCATIONS * 4u) {
        for (var j = i; j < i + 4u; j++) {
            let z = normalise(rows[start + j], vectors[j], k, root.mantissa);
            let bias = rescale(vectors[model.d_model + j], add.norm_bias_exponent - norm_exponent);
            var x = rescale(z, normal_exponent - norm_exponent) + bias;
            if (to_residual) {
                x = rescale(x, norm_exponent + model.residual_fraction_bits);
            }
            rows[start + j] = x;
            largest = max(largest, magnitude(x));
        }
    }
    atomicMax(&largest_output, largest);
    workgroupBarrier(); // the row's new maximum is complete
    return select(norm_exponent, -model.residual_fraction_bits, to_residual);
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
            let bias = rescale(vectors[2u * model.d_model + j], add.bias_exponent - shared_exponent);
            let biased = rescale(products[start + j], exponent - shared_exponent) + bias;
            let x = rows[start + j] + rescale(biased, shared_exponent + model.residual_fraction_bits);
            rows[start + j] = x;
            largest = max(largest, magnitude(x));
        }
    }
    store_block(row, lane, normalise_row(start, lane, largest, true));
}

@compute @workgroup_size(INVOCATIONS)
fn layer_norm(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.x;
    let start = row * model.d_model;
    var largest = 0u;
    for (var i = lane * 4u; i < model.d_model; i += INVOCATIONS * 4u) {
        for (var j = i; j < i + 4u; j++) {
            let x = products[start + j];
            rows[start + j] = x;
            largest = max(largest, magnitude(x));
        }
    }
    store_block(row, lane, normalise_row(start, lane, largest, false));
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
    store_block(row, lane, -model.residual_fraction_bits);
}

// Where norms are before what reads them: a matrix's outputs and bias added to the rows, and LayerNorm
// of those into blocks; the rows stay as they are.
//
//   x += rescale(y + b, e + F),  z of x - mean(x) as in add_norm,  (m, n) = fit(z + norm's b),  exponent e' + n
@compute @workgroup_size(INVOCATIONS)
fn add_norm_before(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.x;
    let start = row * model.d_model;
    let exponent = product_exponents[row] + add.exponent;
    let shared_exponent = max(exponent, add.bias_exponent - BIAS_HEADROOM);

    var largest = 0u;
    for (var i = lane * 4u; i < model.d_model; i += INVOCATIONS * 4u) {
        for (var j = i; j < i + 4u; j++) {
            let bias = rescale(vectors[2u * model.d_model + j], add.bias_exponent - shared_exponent);
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
            largest = max(largest, magnitude(rows[start + j] - mean));
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
            let scaled = fit_mantissa(rows[start + j] - mean, n);
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

    let root = root_of_squares(high, low, epsilon(n));
    let k = i32(bits(largest)) - 24;
    let normal_exponent = k - n + root.exponent + 30 + add.gain_exponent;
    let norm_exponent = max(normal_exponent, add.norm_bias_exponent - BIAS_HEADROOM);
    // Twice, once to know the largest: there is no room to keep them.
    largest = 0u;
    for (var i = lane * 4u; i < model.d_model; i += INVOCATIONS * 4u) {
        for (var j = i; j < i + 4u; j++) {
            let z = normalise(rows[start + j] - mean, vectors[j], k, root.mantissa);
            let bias = rescale(vectors[model.d_model + j], add.norm_bias_exponent - norm_exponent);
            largest = max(largest, magnitude(rescale(z, normal_exponent - norm_exponent) + bias));
        }
    }
    atomicMax(&largest_output, largest);
    workgroupBarrier(); // the maximum of what comes out is complete
    let out_n = fit_exponent(atomicLoad(&largest_output));
    for (var i = lane * 4u; i < model.d_model; i += INVOCATIONS * 4u) {
        var quad: vec4<i32>;
        for (var j = 0u; j < 4u; j++) {
            let at = i + j;
            let z = normalise(rows[start + at] - mean, vectors[at], k, root.mantissa);
            let bias = rescale(vectors[model.d_model + at], add.norm_bias_exponent - norm_exponent);
            quad[j] = fit_mantissa(rescale(z, normal_exponent - norm_exponent) + bias, out_n);
        }
        store_quad((start + i) / 4u, quad);
    }
    if (lane == 0u) {
        exponents[row] = norm_exponent + out_n;
    }
}
