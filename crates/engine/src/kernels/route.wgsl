// #import rescale, exp2, exp2_neg
//
// Which experts a row goes through, and what each counts (docs/numerics.md, "Experts").
//
//   l[e] = rescale(first[e], e1 + 16) + rescale(second[e], e2 + 16) + bias[e]   scores, base-2 logarithms in Q16
//   the `used` highest, of equal ones the lower number first
//   p[e] = 2^-(max l - l[e]) in Q15,  weight = floor(p * 2^16 / total)       total: of the chosen, or of all
//
// Shared experts come last, and have one more score l, and the weight of l in a softmax of l and 0.
//
// One workgroup a row. An expert's place is the number of those before it, which each invocation counts for its
// own: no order has to be made.

struct Routing {
    experts: u32,
    used: u32,
    renormalised: u32,   // 1: the weights of the chosen sum to one; 0: those of all
    first_exponent: i32, // of the router's matrices: weight exponent + 22
    second_exponent: i32,
    biased: u32,         // 1: scores have biases
    scores: u32,         // of a row of `products`: one an expert, and one of those that are shared
    always: u32,         // experts that are shared
}

@group(0) @binding(0) var<uniform> routing: Routing;
@group(0) @binding(1) var<storage, read> products: array<i32>;            // [rows, 2, scores]
@group(0) @binding(2) var<storage, read> input_exponents: array<i32>;     // [rows]
@group(0) @binding(3) var<uniform> exp2_table: Exp2;
@group(0) @binding(4) var<storage, read_write> routes: array<vec2<u32>>;  // [rows, used + always]: expert, weight in Q16
@group(0) @binding(5) var<storage, read> biases: array<i32>;              // [experts], Q16, or anything

override INVOCATIONS: u32 = 256u; // of a workgroup, a power of two

const MAX_EXPERTS = 512u;
const MAX_USED = 16u;
const SIGN = 0x80000000u;         // a score with its sign turned is as large as a u32 as it was as an i32

var<workgroup> scores: array<u32, MAX_EXPERTS>; // each with its sign turned
// Workgroup memory starts as zero, which is the identity of a maximum and of a sum.
var<workgroup> largest_score: atomic<u32>;
var<workgroup> sum_of_parts: atomic<u32>;
var<workgroup> chosen: array<vec2<u32>, MAX_USED>; // expert, part

@compute @workgroup_size(INVOCATIONS)
fn route(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.x;
    let start = row * 2u * routing.scores;
    let exponent = input_exponents[row] + 16;

    var largest = 0u;
    for (var expert = lane; expert < routing.experts; expert += INVOCATIONS) {
        let first = rescale(products[start + expert], exponent + routing.first_exponent);
        let second = rescale(products[start + routing.scores + expert], exponent + routing.second_exponent);
        var bias = 0i;
        if (routing.biased == 1u) {
            bias = biases[expert];
        }
        let score = bitcast<u32>(first + second + bias) ^ SIGN;
        scores[expert] = score;
        largest = max(largest, score);
    }
    atomicMax(&largest_score, largest);
    workgroupBarrier(); // all scores are there, and their maximum
    largest = atomicLoad(&largest_score);

    var sum = 0u;
    for (var expert = lane; expert < routing.experts; expert += INVOCATIONS) {
        let score = scores[expert];
        var place = 0u;
        for (var other = 0u; other < routing.experts; other++) {
            place += u32(scores[other] > score || (scores[other] == score && other < expert));
        }
        let part = exp2_neg(largest - score);
        if (place < routing.used) {
            chosen[place] = vec2<u32>(expert, part);
        }
        if (place < routing.used || routing.renormalised == 0u) {
            sum += part;
        }
    }
    atomicAdd(&sum_of_parts, sum);
    workgroupBarrier(); // the chosen are there, and the sum of what their parts are of
    let total = atomicLoad(&sum_of_parts);
    let routes_start = row * (routing.used + routing.always);
    for (var place = lane; place < routing.used; place += INVOCATIONS) {
        routes[routes_start + place] = vec2<u32>(chosen[place].x, (chosen[place].y << 16u) / total);
    }
    for (var place = lane; place < routing.always; place += INVOCATIONS) {
        let first = rescale(products[start + routing.experts], exponent + routing.first_exponent);
        let second =
            rescale(products[start + routing.scores + routing.experts], exponent + routing.second_exponent);
        let score = first + second;
        let own = exp2_neg(bitcast<u32>(max(score, 0) - score));
        let other = exp2_neg(bitcast<u32>(max(score, 0)));
        routes[routes_start + routing.used + place] =
            vec2<u32>(routing.experts + place, (own << 16u) / (own + other));
    }
}
