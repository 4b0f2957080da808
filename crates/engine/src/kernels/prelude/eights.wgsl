// Products of eight weights and inputs in f32, all of them exact (linear.wgsl). Reads `inputs`, which the kernel
// binds.

// Eight inputs: a browser checks every index into a buffer, so an index should fetch much.
struct EightInputs {
    first: vec4<f32>,
    second: vec4<f32>,
}

// Four i8 of a word as f32, lowest byte first: the byte plus 128 becomes the last bits of 2^23.
// Exact, and cheaper than conversions.
fn signed_floats(word: u32) -> vec4<f32> {
    let biased = word ^ 0x80808080u;
    let bytes = vec4<u32>(biased, biased >> 8u, biased >> 16u, biased >> 24u) & vec4<u32>(255u);
    return bitcast<vec4<f32>>(bytes | vec4<u32>(0x4b000000u)) - vec4<f32>(8388736.0);
}

// Eight products as an integer.
fn dot_eight(weights: vec2<u32>, at: u32) -> i32 {
    let a = inputs[at];
    return i32(dot(signed_floats(weights.x), a.first) + dot(signed_floats(weights.y), a.second));
}
