// The two elements that a rotation turns together; in a KV cache they share a word. Needs rescale
// and fit.

fn pair_magnitude(pair: vec2<i32>) -> u32 {
    return max(magnitude(pair.x), magnitude(pair.y));
}

fn fit_pair(pair: vec2<i32>, n: i32) -> vec2<i32> {
    return vec2<i32>(fit_mantissa(pair.x, n), fit_mantissa(pair.y, n));
}

fn pack_pair(pair: vec2<i32>) -> u32 {
    return (bitcast<u32>(pair.x) & 0xffffu) | (bitcast<u32>(pair.y) << 16u);
}

fn unpack_pair(word: u32) -> vec2<i32> {
    let v = bitcast<i32>(word);
    return vec2<i32>((v << 16u) >> 16u, v >> 16u);
}
