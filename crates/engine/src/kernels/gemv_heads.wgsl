// #import model, linear, rescale, fit, mul_shift, head_outputs
//
// Linear after attention, of a single row: `merge_heads` (attention.wgsl) and `gemv_rows1_...`
// (linear.wgsl) without a dispatch between them.
//
// Every workgroup fits the heads' outputs into one block by itself, a part at a time, and
// multiplies it with its outputs' weights. The products are of i32: this matrix is a small part of
// a layer's.

@group(0) @binding(0) var<uniform> model: Model;
@group(0) @binding(1) var<uniform> linear: Linear;
@group(0) @binding(2) var<storage, read> head_outputs: array<i32>;       // [1, heads, head_dim]
@group(0) @binding(3) var<storage, read> head_exponents: array<i32>;     // [1, heads]
@group(0) @binding(4) var<storage, read> weights: array<vec4<u32>>;      // [groups * 2, out_rows], 16 i8 weights of one row a vec4
@group(0) @binding(5) var<storage, read> group_scales: array<u32>;       // [ceil(groups / 4), out_rows], 4 u8 scales of one row a word
@group(0) @binding(6) var<storage, read> row_multipliers: array<u32>;    // [out_rows]
@group(0) @binding(7) var<storage, read_write> outputs: array<i32>;      // [1, out_stride]

override SPLIT_K: u32 = 1u; // invocations that share an output's inputs: a power of two, at most LANES

const LANES = 64u;  // invocations of a workgroup
const PART = 1024u; // inputs that are staged at a time
const QUADS = 8u;   // inputs of a group / 4

var<workgroup> staged: array<vec4<i32>, 256>; // [PART / 4]
var<workgroup> shared_high: array<vec4<i32>, LANES>;
var<workgroup> shared_low: array<vec4<u32>, LANES>;
// Workgroup memory starts as zero, which is the identity of a maximum of magnitudes.
var<workgroup> largest_merged: atomic<u32>;

// Four i8 of a word, lowest byte first.
fn signed_bytes(word: u32) -> vec4<i32> {
    return bitcast<vec4<i32>>(vec4<u32>(word << 24u, word << 16u, word << 8u, word)) >> vec4<u32>(24u);
}

@compute @workgroup_size(64)
fn gemv_heads(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = LANES / SPLIT_K; // outputs of a workgroup
    let out = workgroup.x * width + lane % width;
    let here = min(out, linear.out_rows - 1u);
    let inputs = linear.groups * QUADS * 4u;

    // Few heads: every invocation finds the maximum by itself, which saves a barrier.
    var shared_exponent = head_exponents[0];
    for (var head = 1u; head < model.heads; head++) {
        shared_exponent = max(shared_exponent, head_exponents[head]);
    }
    var largest = 0u;
    for (var i = lane; i < inputs; i += LANES) {
        largest = max(largest, magnitude(aligned_output(0u, i, shared_exponent)));
    }
    atomicMax(&largest_merged, largest);
    workgroupBarrier(); // the row's maximum is complete
    let n = fit_exponent(atomicLoad(&largest_merged));

    var high = 0i;
    var low = 0u;
    for (var base = 0u; base < inputs; base += PART) {
        let length = min(PART, inputs - base);
        workgroupBarrier(); // the part before has been read by all
        for (var i = lane * 4u; i < length; i += LANES * 4u) {
            var quad: vec4<i32>;
            for (var j = 0u; j < 4u; j++) {
                quad[j] = fit_mantissa(aligned_output(0u, base + i + j, shared_exponent), n);
            }
            staged[i / 4u] = quad;
        }
        workgroupBarrier(); // the part is staged
        for (var quad = (lane / width) * QUADS; quad < length / 4u; quad += SPLIT_K * QUADS) {
            let group = base / (QUADS * 4u) + quad / QUADS;
            var sum = 0i;
            for (var part = 0u; part < 2u; part++) {
                let words = weights[(group * 2u + part) * linear.out_rows + here];
                let first = quad + part * 4u;
                sum += dot(signed_bytes(words.x), staged[first]) + dot(signed_bytes(words.y), staged[first + 1u]);
                sum += dot(signed_bytes(words.z), staged[first + 2u]) + dot(signed_bytes(words.w), staged[first + 3u]);
            }
            let scale = group_scale(group, here);
            high += bitcast<i32>(scale) * (sum >> 7u);
            low += scale * (bitcast<u32>(sum) & 127u);
        }
    }
    if (SPLIT_K > 1u) {
        shared_high[lane].x = high;
        shared_low[lane].x = low;
        workgroupBarrier(); // the sums of every split are there
        if (lane >= width) {
            return;
        }
        for (var split = lane + width; split < LANES; split += width) {
            high += shared_high[split].x;
            low += shared_low[split].x;
        }
    }
    if (out < linear.out_rows) {
        let y = mul_shift(high + bitcast<i32>(low >> 7u), row_multipliers[out], 15u);
        let exponent = shared_exponent + n + linear.exponent;
        outputs[linear.first_out + out] += rescale(y, exponent + linear.residual_fraction_bits);
    }
}
