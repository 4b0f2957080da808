// Linear after attention, of a single row: `merge_heads` (attention.wgsl) and `one_...` (linear.wgsl) without a dispatch between them.
//
// Every workgroup fits the heads' outputs into one block by itself, a part at a time, and multiplies it with its outputs' weights. The
// products are of i32: this matrix is a small part of a layer's.

struct Forward {
    position: u32,  // of the first row in its session
    rows: u32,      // of the call, or of one session in it
    first_row: u32, // in the call
}

struct Linear {
    groups: u32,               // input width / 32
    out_rows: u32,             // output rows of this piece
    first_out: u32,            // the piece's first output row in the whole matrix
    out_stride: u32,           // i32 values from one row of `outputs` to the next
    exponent: i32,             // weight exponent + 22
    residual_fraction_bits: i32,
    add_to_residual: u32,      // 1: outputs += rescale(y, exponent + fraction bits); 0: outputs = y
}

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

@group(0) @binding(0) var<uniform> model: Model;
@group(0) @binding(1) var<uniform> linear: Linear;
@group(0) @binding(2) var<storage, read> head_outputs: array<i32>;       // [1, heads, head_dim]
@group(0) @binding(3) var<storage, read> head_exponents: array<i32>;     // [1, heads]
@group(0) @binding(4) var<storage, read> weights: array<vec4<u32>>;      // [groups * 2, out_rows], 16 i8 weights of one row a vec4
@group(0) @binding(5) var<storage, read> group_scales: array<u32>;       // [ceil(groups / 4), out_rows], 4 u8 scales of one row a word
@group(0) @binding(6) var<storage, read> row_multipliers: array<u32>;    // [out_rows]
@group(0) @binding(7) var<storage, read_write> outputs: array<i32>;      // [1, out_stride]

override SLICES: u32 = 1u; // invocations that share an output's inputs: a power of two, at most FEW

const FEW = 64u;    // invocations of a workgroup
const PART = 1024u; // inputs that are staged at a time
const QUADS = 8u;   // inputs of a group / 4

var<workgroup> staged: array<vec4<i32>, 256>; // [PART / 4]
var<workgroup> shared_high: array<vec4<i32>, FEW>;
var<workgroup> shared_low: array<vec4<u32>, FEW>;
// Workgroup memory starts as zero, which is the identity of a maximum of magnitudes.
var<workgroup> largest_merged: atomic<u32>;

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

fn mul_shift(x: i32, m: u32, k: u32) -> i32 {
    let low = bitcast<u32>(x) & ((1u << k) - 1u);
    return (x >> k) * bitcast<i32>(m) + bitcast<i32>((low * m) >> k);
}

fn group_scale(group: u32, out: u32) -> u32 {
    let word = group_scales[(group >> 2u) * linear.out_rows + out];
    return (word >> ((group & 3u) * 8u)) & 255u;
}

fn fit_exponent(largest: u32) -> i32 {
    return i32(bits(largest)) - 14;
}

fn fit_mantissa(x: i32, n: i32) -> i32 {
    return clamp(rescale(x, -n), -16383, 16383);
}

// Element i of a row's heads side by side, with their shared exponent.
fn aligned_output(row: u32, i: u32, shared_exponent: i32) -> i32 {
    let shift = head_exponents[row * model.heads + i / model.head_dim] - shared_exponent;
    return rescale(head_outputs[row * model.heads * model.head_dim + i], shift);
}

// Four i8 of a word, lowest byte first.
fn signed_bytes(word: u32) -> vec4<i32> {
    return bitcast<vec4<i32>>(vec4<u32>(word << 24u, word << 16u, word << 8u, word)) >> vec4<u32>(24u);
}

@compute @workgroup_size(64)
fn merged(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = FEW / SLICES; // outputs of a workgroup
    let out = workgroup.x * width + lane % width;
    let here = min(out, linear.out_rows - 1u);
    let inputs = linear.groups * QUADS * 4u;

    // Few heads: every invocation finds the maximum by itself, which saves a barrier.
    var shared_exponent = head_exponents[0];
    for (var head = 1u; head < model.heads; head++) {
        shared_exponent = max(shared_exponent, head_exponents[head]);
    }
    var largest = 0u;
    for (var i = lane; i < inputs; i += FEW) {
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
        for (var i = lane * 4u; i < length; i += FEW * 4u) {
            var quad: vec4<i32>;
            for (var j = 0u; j < 4u; j++) {
                quad[j] = fit_mantissa(aligned_output(0u, base + i + j, shared_exponent), n);
            }
            staged[i / 4u] = quad;
        }
        workgroupBarrier(); // the part is staged
        for (var quad = (lane / width) * QUADS; quad < length / 4u; quad += SLICES * QUADS) {
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
    if (SLICES > 1u) {
        shared_high[lane].x = high;
        shared_low[lane].x = low;
        workgroupBarrier(); // every slice's sums are there
        if (lane >= width) {
            return;
        }
        for (var slice = lane + width; slice < FEW; slice += width) {
            high += shared_high[slice].x;
            low += shared_low[slice].x;
        }
    }
    if (out < linear.out_rows) {
        let y = mul_shift(high + bitcast<i32>(low >> 7u), row_multipliers[out], 15u);
        let exponent = shared_exponent + n + linear.exponent;
        outputs[linear.first_out + out] += rescale(y, exponent + linear.residual_fraction_bits);
    }
}
