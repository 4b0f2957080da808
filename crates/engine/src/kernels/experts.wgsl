// #import rescale, mul_shift, bias, eights
//
// Rows through the experts that a router chose for them. A pair is a row and one of its experts, in the order of
// `routes`; a row's pairs lie one behind the other.
//
// gemv_experts_: Linear (linear.wgsl), each pair with the matrix of its own expert.
// add_experts:   what the experts of a row give, added to the residual stream one by one:
//   bias:  e' = max(e, be - 4),  y' = rescale(y, e - e') + rescale(b, be - e')
//   x += rescale(floor(y * weight / 2^16), e + F)
//
// The weights of an expert lie as those of a matrix do, all experts of a piece one behind the other.

// A piece of the matrices of a layer's experts.
struct ExpertMatrices {
    groups: u32,        // input width / 32
    out_rows: u32,      // of each
    first_expert: u32,  // of this piece
    experts: u32,       // in this piece
    pairs_a_input: u32, // pairs that have the same input row: those of a row, or one
}

struct AddExperts {
    d_model: u32,
    used: u32,                   // experts of a row
    residual_fraction_bits: i32,
    biased: u32,                 // 1: there are biases
}

@group(0) @binding(0) var<uniform> matrices: ExpertMatrices;
@group(0) @binding(1) var<storage, read> routes: array<vec2<u32>>;        // [pairs]: expert, weight in Q16
@group(0) @binding(2) var<storage, read> inputs: array<EightInputs>;      // of ..._fma: [inputs, groups * 4]
@group(0) @binding(2) var<storage, read> planes: array<vec4<u32>>;        // of ..._dot: [inputs, groups * 4], 8 inputs a vec4: hi, lo, hi, lo
@group(0) @binding(3) var<storage, read> weights: array<vec4<u32>>;       // [experts, groups * 2, out_rows], 16 i8 weights of one row a vec4
@group(0) @binding(4) var<storage, read> group_scales: array<u32>;        // [experts, ceil(groups / 4), out_rows], 4 u8 scales of one row a word
@group(0) @binding(5) var<storage, read> row_multipliers: array<u32>;     // [experts, out_rows]
@group(0) @binding(6) var<storage, read_write> outputs: array<i32>;       // [pairs, out_rows]

// `add_experts` has these instead.
@group(0) @binding(0) var<uniform> add: AddExperts;
@group(0) @binding(2) var<storage, read_write> rows: array<i32>;          // [rows, d_model], residual_fraction_bits fraction bits
@group(0) @binding(3) var<storage, read> products: array<i32>;            // [pairs, d_model]
@group(0) @binding(4) var<storage, read> product_exponents: array<i32>;   // [pairs], of the matrix's input
@group(0) @binding(5) var<storage, read> exponents: array<vec2<i32>>;     // [experts]: weight exponent + 22, and the bias's
@group(0) @binding(6) var<storage, read> biases: array<i32>;              // [experts, d_model], or anything

override SPLIT_K: u32 = 1u;         // of gemv_: a power of two, at most LANES
override INVOCATIONS: u32 = 256u;   // of a workgroup of add_experts

const LANES = 64u; // invocations of a workgroup of gemv_

var<workgroup> shared_high: array<i32, LANES>;
var<workgroup> shared_low: array<u32, LANES>;

// H and L of eight inputs.
fn eight_products_in_planes(weights: vec2<u32>, at: u32) -> vec2<i32> {
    let a = planes[at];
    return vec2<i32>(
        dot4I8Packed(weights.x, a.x) + dot4I8Packed(weights.y, a.z),
        dot4I8Packed(weights.x, a.y) + dot4I8Packed(weights.y, a.w),
    );
}

fn expert_scale(expert: u32, group: u32, out: u32) -> u32 {
    let words = (matrices.groups + 3u) >> 2u;
    let word = group_scales[(expert * words + (group >> 2u)) * matrices.out_rows + out];
    return (word >> ((group & 3u) * 8u)) & 255u;
}

// Puts the sums of a pair's output together and stores it.
fn finish_pair(pair: u32, expert: u32, out: u32, lane: u32, own_high: i32, own_low: u32) {
    let width = LANES / SPLIT_K;
    var high = own_high;
    var low = own_low;
    if (SPLIT_K > 1u) {
        shared_high[lane] = high;
        shared_low[lane] = low;
        workgroupBarrier(); // the sums of every split are there
        for (var split = lane + width; split < LANES; split += width) {
            high += shared_high[split];
            low += shared_low[split];
        }
    }
    // The last workgroup may reach past the matrix.
    if (lane < width && out < matrices.out_rows) {
        let multiplier = row_multipliers[expert * matrices.out_rows + out];
        outputs[pair * matrices.out_rows + out] = mul_shift(high + bitcast<i32>(low >> 7u), multiplier, 15u);
    }
}

@compute @workgroup_size(64)
fn gemv_experts_fma(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = LANES / SPLIT_K; // outputs of a workgroup
    let out = workgroup.x * width + lane % width;
    let here = min(out, matrices.out_rows - 1u);
    let pair = workgroup.y;
    // Another piece's are none of this one's.
    let expert = routes[pair].x - matrices.first_expert;
    if (expert >= matrices.experts) {
        return;
    }
    let input_start = pair / matrices.pairs_a_input * matrices.groups * 4u;
    let start = expert * matrices.groups * 2u;
    var high = 0i;
    var low = 0u;
    for (var group = lane / width; group < matrices.groups; group += SPLIT_K) {
        let input = input_start + group * 4u;
        let first = weights[(start + group * 2u) * matrices.out_rows + here];
        let second = weights[(start + group * 2u + 1u) * matrices.out_rows + here];
        let scale = expert_scale(expert, group, here);
        let sum = dot_eight(first.xy, input) + dot_eight(first.zw, input + 1u)
            + dot_eight(second.xy, input + 2u) + dot_eight(second.zw, input + 3u);
        high += bitcast<i32>(scale) * (sum >> 7u);
        low += scale * (bitcast<u32>(sum) & 127u);
    }
    finish_pair(pair, expert, out, lane, high, low);
}

@compute @workgroup_size(64)
fn gemv_experts_dot(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = LANES / SPLIT_K; // outputs of a workgroup
    let out = workgroup.x * width + lane % width;
    let here = min(out, matrices.out_rows - 1u);
    let pair = workgroup.y;
    let expert = routes[pair].x - matrices.first_expert;
    if (expert >= matrices.experts) {
        return;
    }
    let input_start = pair / matrices.pairs_a_input * matrices.groups * 4u;
    let start = expert * matrices.groups * 2u;
    var high = 0i;
    var low = 0u;
    for (var group = lane / width; group < matrices.groups; group += SPLIT_K) {
        let input = input_start + group * 4u;
        let first = weights[(start + group * 2u) * matrices.out_rows + here];
        let second = weights[(start + group * 2u + 1u) * matrices.out_rows + here];
        let scale = expert_scale(expert, group, here);
        let sums = eight_products_in_planes(first.xy, input) + eight_products_in_planes(first.zw, input + 1u)
            + eight_products_in_planes(second.xy, input + 2u) + eight_products_in_planes(second.zw, input + 3u);
        high += bitcast<i32>(scale) * (sums.x + (sums.y >> 7u));
        low += scale * (bitcast<u32>(sums.y) & 127u);
    }
    finish_pair(pair, expert, out, lane, high, low);
}

@compute @workgroup_size(INVOCATIONS)
fn add_experts(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.x;
    for (var i = lane; i < add.d_model; i += INVOCATIONS) {
        var x = rows[row * add.d_model + i];
        for (var pair = row * add.used; pair < (row + 1u) * add.used; pair++) {
            let expert = routes[pair].x;
            var y = products[pair * add.d_model + i];
            var exponent = product_exponents[pair] + exponents[expert].x;
            if (add.biased == 1u) {
                let bias_exponent = exponents[expert].y;
                let shared_exponent = max(exponent, bias_exponent - BIAS_HEADROOM);
                let bias = rescale(biases[expert * add.d_model + i], bias_exponent - shared_exponent);
                y = rescale(y, exponent - shared_exponent) + bias;
                exponent = shared_exponent;
            }
            x += rescale(mul_shift(y, routes[pair].y, 16u), exponent + add.residual_fraction_bits);
        }
        rows[row * add.d_model + i] = x;
    }
}
