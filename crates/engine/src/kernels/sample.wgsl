// #import exp2, rescale, ordered
//
// What sampling a token needs of logits, row by row: the first of the largest (`largest`, `weigh`)
// and, unless that is the token, the heaviest tokens (`weigh`, `gather`), which the host samples
// from as sampler.rs does. A vocabulary stays where it is.
//
//   d = |rescale(largest - logit, exponent + 16)| * coefficient >> 16,  w = exp2_neg(d), Q30
//   heaviest: the tokens of whole classes of weights, from the heaviest class on, as long as they are at most HEAVIEST
//
// Equal weights are of one class, so that no token that is left out comes before one that is not.
// PARTS workgroups a row.

struct Sample {
    vocab: u32,
    exponent: i32, // of the output matrix: weight exponent + 22
}

@group(0) @binding(0) var<uniform> sampling: Sample;
@group(0) @binding(1) var<storage, read> logits: array<i32>;                    // [rows, vocab]
@group(0) @binding(2) var<storage, read_write> tops: array<vec2<u32>>;          // [rows, PARTS]: largest, ordered, and its first token
@group(0) @binding(3) var<storage, read_write> classes: array<atomic<u32>>;     // [rows, CLASSES]: tokens of each
@group(0) @binding(4) var<storage, read_write> results: array<atomic<u32>>;     // [rows, RESULTS]
@group(0) @binding(5) var<storage, read> norm_exponents: array<i32>;            // [rows]
@group(0) @binding(6) var<uniform> exp2_table: Exp2;
@group(0) @binding(7) var<storage, read> coefficients: array<u32>;              // [rows], Q16: log2(e) / temperature, or GREEDY

// `gather` has this instead of the tops.
@group(0) @binding(2) var<storage, read_write> heaviest: array<vec2<u32>>;      // [rows, HEAVIEST]: weight and token

override INVOCATIONS: u32 = 256u; // of a workgroup, a power of two

const PARTS = 64u;
const HEAVIEST = 1024u;
const GREEDY = 0xffffffffu;
const NONE = 0xffffffffu;

// A class: weights of the same highest six bits; 32 of them are a power of two.
const STEPS = 32u;
const OCTAVES = 27u;
const CLASSES = 864u; // OCTAVES * STEPS

// Words of a row's results.
const RESULTS = 8u;
const TOKEN = 0u;   // the first of the largest
const LARGEST = 1u; // ordered
const COUNT = 2u;   // of the heaviest
const TOTAL = 3u;   // three words: sums of the weights' bits 0 to 10, 11 to 21, and those above

// Workgroup memory starts as zero: the identity of a sum, and of a maximum of `ordered` numbers or
// of inverted tokens.
var<workgroup> top: atomic<u32>;
var<workgroup> first: atomic<u32>; // inverted
var<workgroup> counts: array<atomic<u32>, CLASSES>;
var<workgroup> sums: array<atomic<u32>, 3>;
var<workgroup> octaves: array<u32, OCTAVES>;

// min(a * b >> 16, 31 << 16) of an a below 2^31 and a b below 2^27.
fn mul_q16(a: u32, b: u32) -> u32 {
    let a_high = a >> 16u;
    let a_low = a & 0xffffu;
    let b_high = b >> 16u;
    let b_low = b & 0xffffu;
    if (a_high * b_high >= 32u) {
        return 31u << 16u;
    }
    return min(((a_high * b_high) << 16u) + a_high * b_low + a_low * b_high + ((a_low * b_low) >> 16u), 31u << 16u);
}

// 2^30 for the largest.
fn weight(largest: i32, logit: i32, exponent: i32, coefficient: u32) -> u32 {
    let d = mul_q16(magnitude(rescale(largest - logit, exponent + 16)), coefficient);
    let index = (d >> 8u) & 255u;
    let upper = exp2_table.entries[index >> 2u][index & 3u] << 15u;
    let lower = exp2_table.entries[(index + 1u) >> 2u][(index + 1u) & 3u] << 15u;
    return (upper - (((upper - lower) * (d & 255u)) >> 8u)) >> (d >> 16u);
}

fn class_of(weight: u32) -> u32 {
    if (weight < STEPS) {
        return weight;
    }
    let highest = bits(weight) - 1u; // 5 to 30
    return (highest - 4u) * STEPS + ((weight >> (highest - 5u)) & (STEPS - 1u));
}

// The largest of all invocations and its first token, into `top` and `first`.
fn agree(largest: u32, token: u32) {
    atomicMax(&top, largest);
    workgroupBarrier(); // the largest is known
    if (largest == atomicLoad(&top)) {
        atomicMax(&first, ~token);
    }
    workgroupBarrier(); // its first token is known
}

@compute @workgroup_size(INVOCATIONS)
fn largest(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.y;
    var best = 0u;
    var best_token = NONE;
    for (var token = workgroup.x * INVOCATIONS + lane; token < sampling.vocab; token += PARTS * INVOCATIONS) {
        let logit = ordered(logits[row * sampling.vocab + token]);
        if (logit > best || best_token == NONE) {
            best = logit;
            best_token = token;
        }
    }
    agree(best, best_token);
    if (lane == 0u) {
        tops[row * PARTS + workgroup.x] = vec2<u32>(atomicLoad(&top), ~atomicLoad(&first));
    }
    // The sums of the dispatches that follow.
    if (workgroup.x == 0u) {
        for (var i = lane; i < CLASSES; i += INVOCATIONS) {
            atomicStore(&classes[row * CLASSES + i], 0u);
        }
        for (var i = lane; i < RESULTS; i += INVOCATIONS) {
            atomicStore(&results[row * RESULTS + i], 0u);
        }
    }
}

@compute @workgroup_size(INVOCATIONS)
fn weigh(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.y;
    var best = 0u;
    var best_token = NONE;
    for (var part = lane; part < PARTS; part += INVOCATIONS) {
        let of_part = tops[row * PARTS + part];
        if (of_part.x > best || (of_part.x == best && of_part.y < best_token)) {
            best = of_part.x;
            best_token = of_part.y;
        }
    }
    agree(best, best_token);
    if (workgroup.x == 0u && lane == 0u) {
        atomicStore(&results[row * RESULTS + TOKEN], ~atomicLoad(&first));
        atomicStore(&results[row * RESULTS + LARGEST], atomicLoad(&top));
    }

    let coefficient = coefficients[row];
    let vocab = select(sampling.vocab, 0u, coefficient == GREEDY);
    let exponent = norm_exponents[row] + sampling.exponent;
    let largest = unordered(atomicLoad(&top));
    var sum = vec3<u32>(0u);
    for (var token = workgroup.x * INVOCATIONS + lane; token < vocab; token += PARTS * INVOCATIONS) {
        let w = weight(largest, logits[row * sampling.vocab + token], exponent, coefficient);
        atomicAdd(&counts[class_of(w)], 1u);
        sum += vec3<u32>(w & 2047u, (w >> 11u) & 2047u, w >> 22u);
    }
    for (var i = 0u; i < 3u; i++) {
        atomicAdd(&sums[i], sum[i]);
    }
    workgroupBarrier(); // the workgroup's counts and sums are complete
    for (var i = lane; i < CLASSES; i += INVOCATIONS) {
        let count = atomicLoad(&counts[i]);
        if (count > 0u) {
            atomicAdd(&classes[row * CLASSES + i], count);
        }
    }
    if (lane < 3u) {
        atomicAdd(&results[row * RESULTS + TOTAL + lane], atomicLoad(&sums[lane]));
    }
}

@compute @workgroup_size(INVOCATIONS)
fn gather(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.y;
    for (var octave = lane; octave < OCTAVES; octave += INVOCATIONS) {
        var count = 0u;
        for (var i = 0u; i < STEPS; i++) {
            count += atomicLoad(&classes[row * CLASSES + octave * STEPS + i]);
        }
        octaves[octave] = count;
    }
    workgroupBarrier(); // all octaves are counted

    // The lightest class, `least`, that goes along whole with all that are heavier.
    var taken = 0u;
    var octave = OCTAVES;
    while (octave > 0u && taken + octaves[octave - 1u] <= HEAVIEST) {
        octave -= 1u;
        taken += octaves[octave];
    }
    var least = octave * STEPS;
    if (octave > 0u) {
        for (var i = STEPS; i > 0u; i--) {
            let class_before = (octave - 1u) * STEPS + i - 1u;
            taken += atomicLoad(&classes[row * CLASSES + class_before]);
            if (taken > HEAVIEST) {
                break;
            }
            least = class_before;
        }
    }
    // What weighs nothing is never sampled.
    least = max(least, 1u);

    let coefficient = coefficients[row];
    let vocab = select(sampling.vocab, 0u, coefficient == GREEDY);
    let exponent = norm_exponents[row] + sampling.exponent;
    let largest = unordered(atomicLoad(&results[row * RESULTS + LARGEST]));
    for (var token = workgroup.x * INVOCATIONS + lane; token < vocab; token += PARTS * INVOCATIONS) {
        let w = weight(largest, logits[row * sampling.vocab + token], exponent, coefficient);
        if (class_of(w) >= least) {
            heaviest[row * HEAVIEST + atomicAdd(&results[row * RESULTS + COUNT], 1u)] = vec2<u32>(w, token);
        }
    }
}
