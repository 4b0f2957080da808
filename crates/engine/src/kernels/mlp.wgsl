// #import model, rescale, mul_shift, fit, store_quad, bias
//
// What is between the MLP's projections, to the block that the down projection reads: SwiGLU of
// gate and up rows, and the GELU of encoders and of decoders without a gate.
//
// silu_mul, after biases where there are any (as below):
//   s = sigmoid(clamp(rescale(g, ge + 12), -2^20, 2^20)),  (gm, gn) = fit(g),  (um, un) = fit(u)
//   h = ((gm * s) >> 15) * um,  (m, n) = fit(h),  exponent = ge + gn + ue + un + n
//
// the same with a limit (in Q26):
//   g' = min(rescale(g, ge + 26), limit),  a = floor(g' * sigmoid(rescale(g', -14)) / 2^15),  (am, an) = fit(a)
//   u' = clamp(rescale(u, ue + 26), -limit, limit) + 2^26,  (um, un) = fit(u')
//   h = am * um,  (m, n) = fit(h),  exponent = an + un + n - 52
//
// gelu, where there is a bias; else g = y, e' = e:
//   e' = max(e, be - 4),  g = rescale(y, e - e') + rescale(b, be - e'),  s = Phi(...) as above with another table,  (m, gn) = fit(g)
//   h = m * s,  (m, n) = fit(h),  exponent = e' + gn + n - 15
//
// One workgroup a row; an invocation keeps to its own elements, only maxima cross: two barriers.

struct GateUp {
    gate_exponent: i32, // each: weight exponent + 22
    up_exponent: i32,
    gate_bias_exponent: i32,
    up_bias_exponent: i32,
    biased: u32,        // 1: there are biases
    limit: i32,         // Q26; 0: there is none
}

// Experts in place of an MLP: what is a row otherwise is a row and one of its experts.
struct ExpertGateUp {
    d_ff: u32,   // of an expert
    used: u32,   // experts of a row
    biased: u32, // 1: there are biases
    limit: i32,  // Q26; 0: there is none
}

struct Gelu {
    exponent: i32,      // weight exponent + 22; + 26 of an encoder's, whose matrix has twelve bits
    bias_exponent: i32,
    biased: u32,        // 1: there is a bias
}

@group(0) @binding(0) var<uniform> model: Model;
@group(0) @binding(1) var<uniform> gate_up: GateUp;
@group(0) @binding(2) var<storage, read_write> projected: array<i32>;        // [rows, 2 * d_ff]: gate (then the products), up
@group(0) @binding(3) var<storage, read> input_exponents: array<i32>;        // [rows], of the projections' input
@group(0) @binding(4) var<storage, read> sigmoid_table: array<u32>;          // [2049]
@group(0) @binding(5) var<storage, read_write> block: array<u32>;            // [rows, d_ff / 4] of four mantissas
@group(0) @binding(6) var<storage, read_write> exponents: array<i32>;        // [rows]

@group(0) @binding(7) var<storage, read> biases: array<i32>;                 // [2, d_ff]: of gate and up, or anything; `gelu`: [d_ff]

// `gelu` has this instead of binding 1; `projected` is [rows, d_ff], and the table that of the normal
// distribution.
@group(0) @binding(1) var<uniform> gelu_exponents: Gelu;

// `silu_mul_experts` has these instead of the first, and besides.
@group(0) @binding(0) var<uniform> experts: ExpertGateUp;
@group(0) @binding(1) var<storage, read> routes: array<vec2<u32>>;           // [rows, used]: expert, weight
@group(0) @binding(8) var<storage, read> expert_exponents: array<vec4<i32>>; // [experts]: as in `GateUp`

override INVOCATIONS: u32 = 256u; // of a workgroup, a power of two

const LIMIT_BITS = 26; // fraction bits of a limit

// Workgroup memory starts as zero, which is the identity of a maximum of magnitudes.
var<workgroup> largest_gate: atomic<u32>;
var<workgroup> largest_up: atomic<u32>;
var<workgroup> largest_product: atomic<u32>;

// 1 / (1 + e^-x) for x in Q12, as Q15: linear between table entries 1/64 apart.
fn sigmoid(x: i32) -> i32 {
    let y = bitcast<u32>(clamp(x, -65536, 65535) + 65536);
    let index = y >> 6u;
    let below = bitcast<i32>(sigmoid_table[index]);
    let above = bitcast<i32>(sigmoid_table[index + 1u]);
    return below + (((above - below) * bitcast<i32>(y & 63u)) >> 6u);
}

// A row of `projected`, [2, d_ff], to a row of the block. `exponents_of` are those of gate and up and of their
// biases; the biases, [2, d_ff], begin at `bias_start`.
fn gated(row: u32, lane: u32, d_ff: u32, exponents_of: vec4<i32>, biased: u32, bias_start: u32, limit: i32) {
    let gate_start = row * 2u * d_ff;
    let up_start = gate_start + d_ff;
    let start = row * d_ff;
    var gate_exponent = exponents_of.x;
    var up_exponent = exponents_of.y;

    if (biased == 1u) {
        let gate_shared = max(gate_exponent, exponents_of.z - BIAS_HEADROOM);
        let up_shared = max(up_exponent, exponents_of.w - BIAS_HEADROOM);
        // Four neighbours an invocation, as below.
        for (var i = lane * 4u; i < d_ff; i += INVOCATIONS * 4u) {
            for (var j = i; j < i + 4u; j++) {
                let gate = rescale(projected[gate_start + j], gate_exponent - gate_shared);
                let up = rescale(projected[up_start + j], up_exponent - up_shared);
                let gate_bias = biases[bias_start + j];
                let up_bias = biases[bias_start + d_ff + j];
                projected[gate_start + j] = gate + rescale(gate_bias, exponents_of.z - gate_shared);
                projected[up_start + j] = up + rescale(up_bias, exponents_of.w - up_shared);
            }
        }
        gate_exponent = gate_shared;
        up_exponent = up_shared;
    }

    if (limit > 0) {
        for (var i = lane * 4u; i < d_ff; i += INVOCATIONS * 4u) {
            for (var j = i; j < i + 4u; j++) {
                let gate = min(rescale(projected[gate_start + j], gate_exponent + LIMIT_BITS), limit);
                let up = clamp(rescale(projected[up_start + j], up_exponent + LIMIT_BITS), -limit, limit);
                let s = bitcast<u32>(sigmoid(rescale(gate, 12 - LIMIT_BITS)));
                projected[gate_start + j] = mul_shift(gate, s, 15u);
                projected[up_start + j] = up + (1i << u32(LIMIT_BITS));
            }
        }
        gate_exponent = -LIMIT_BITS;
        up_exponent = -LIMIT_BITS;
    }

    var gate_largest = 0u;
    var up_largest = 0u;
    for (var i = lane * 4u; i < d_ff; i += INVOCATIONS * 4u) {
        for (var j = i; j < i + 4u; j++) {
            gate_largest = max(gate_largest, magnitude(projected[gate_start + j]));
            up_largest = max(up_largest, magnitude(projected[up_start + j]));
        }
    }
    atomicMax(&largest_gate, gate_largest);
    atomicMax(&largest_up, up_largest);
    workgroupBarrier(); // both maxima are complete
    let gate_n = fit_exponent(atomicLoad(&largest_gate));
    let up_n = fit_exponent(atomicLoad(&largest_up));

    var largest = 0u;
    for (var i = lane * 4u; i < d_ff; i += INVOCATIONS * 4u) {
        for (var j = i; j < i + 4u; j++) {
            let gate = projected[gate_start + j];
            var silu = fit_mantissa(gate, gate_n);
            if (limit == 0) {
                silu = (silu * sigmoid(clamp(rescale(gate, gate_exponent + 12), -1048576, 1048576))) >> 15u;
            }
            let product = silu * fit_mantissa(projected[up_start + j], up_n);
            projected[gate_start + j] = product;
            largest = max(largest, magnitude(product));
        }
    }
    atomicMax(&largest_product, largest);
    workgroupBarrier(); // the product's maximum is complete; a product is only re-read by whoever wrote it
    let n = fit_exponent(atomicLoad(&largest_product));
    for (var i = lane * 4u; i < d_ff; i += INVOCATIONS * 4u) {
        var quad: vec4<i32>;
        for (var j = 0u; j < 4u; j++) {
            quad[j] = fit_mantissa(projected[gate_start + i + j], n);
        }
        store_quad((start + i) / 4u, quad);
    }
    if (lane == 0u) {
        exponents[row] = gate_exponent + gate_n + up_exponent + up_n + n;
    }
}

@compute @workgroup_size(INVOCATIONS)
fn silu_mul(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.x;
    let input_exponent = input_exponents[row];
    let exponents_of = vec4<i32>(
        input_exponent + gate_up.gate_exponent,
        input_exponent + gate_up.up_exponent,
        gate_up.gate_bias_exponent,
        gate_up.up_bias_exponent,
    );
    gated(row, lane, model.d_ff, exponents_of, gate_up.biased, 0u, gate_up.limit);
}

@compute @workgroup_size(INVOCATIONS)
fn silu_mul_experts(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let pair = workgroup.x;
    let expert = routes[pair].x;
    let own = expert_exponents[expert];
    let input_exponent = input_exponents[pair / experts.used];
    let exponents_of = vec4<i32>(input_exponent + own.x, input_exponent + own.y, own.z, own.w);
    gated(pair, lane, experts.d_ff, exponents_of, experts.biased, expert * 2u * experts.d_ff, experts.limit);
}

@compute @workgroup_size(INVOCATIONS)
fn gelu(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.x;
    let start = row * model.d_ff;
    let own_exponent = input_exponents[row] + gelu_exponents.exponent;
    let is_biased = gelu_exponents.biased == 1u;
    let exponent = max(own_exponent, select(own_exponent, gelu_exponents.bias_exponent - BIAS_HEADROOM, is_biased));

    var largest = 0u;
    for (var i = lane * 4u; i < model.d_ff; i += INVOCATIONS * 4u) {
        for (var j = i; j < i + 4u; j++) {
            var gate = projected[start + j];
            if (is_biased) {
                gate = rescale(gate, own_exponent - exponent) + rescale(biases[j], gelu_exponents.bias_exponent - exponent);
                projected[start + j] = gate;
            }
            largest = max(largest, magnitude(gate));
        }
    }
    atomicMax(&largest_gate, largest);
    workgroupBarrier(); // the row's maximum is complete
    let gate_n = fit_exponent(atomicLoad(&largest_gate));

    largest = 0u;
    for (var i = lane * 4u; i < model.d_ff; i += INVOCATIONS * 4u) {
        for (var j = i; j < i + 4u; j++) {
            let gate = projected[start + j];
            let s = sigmoid(clamp(rescale(gate, exponent + 12), -1048576, 1048576));
            let product = fit_mantissa(gate, gate_n) * s;
            projected[start + j] = product;
            largest = max(largest, magnitude(product));
        }
    }
    atomicMax(&largest_product, largest);
    workgroupBarrier(); // the product's maximum is complete; a product is only re-read by whoever wrote it
    let n = fit_exponent(atomicLoad(&largest_product));
    for (var i = lane * 4u; i < model.d_ff; i += INVOCATIONS * 4u) {
        var quad: vec4<i32>;
        for (var j = 0u; j < 4u; j++) {
            quad[j] = fit_mantissa(projected[start + i + j], n);
        }
        store_quad((start + i) / 4u, quad);
    }
    if (lane == 0u) {
        exponents[row] = exponent + gate_n + n - 15;
    }
}
