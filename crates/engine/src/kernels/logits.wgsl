// #import rescale, mul_shift, scoring
//
// Logits under a cap, in place: soft_cap(rescale(logit, e + 16)), which leaves them with exponent -16.
//
// One workgroup a row. The readers add the matrix's exponent to the row's, so that is taken off it.

struct CapLogits {
    vocab: u32,
    exponent: i32, // of the output matrix: weight exponent + 22
}

@group(0) @binding(0) var<uniform> cap: CapLogits;
@group(0) @binding(1) var<uniform> scoring: Scoring;
@group(0) @binding(2) var<storage, read_write> logits: array<i32>;      // [rows, vocab]
@group(0) @binding(3) var<storage, read_write> exponents: array<i32>;   // [rows], of the matrix's input

override INVOCATIONS: u32 = 256u; // of a workgroup, a power of two

@compute @workgroup_size(INVOCATIONS)
fn cap_logits(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.x;
    let start = row * cap.vocab;
    let shift = exponents[row] + cap.exponent + 16;
    for (var i = lane; i < cap.vocab; i += INVOCATIONS) {
        logits[start + i] = soft_cap(rescale(logits[start + i], shift));
    }
    workgroupBarrier(); // every invocation has read the exponent
    if (lane == 0u) {
        exponents[row] = -16 - cap.exponent;
    }
}
