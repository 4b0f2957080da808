// Writes the block that the next Linear reads into `block`, which the kernel binds.

override BLOCK_FORMAT: u32 = 0u; // what `block` holds: 0: f32, for ..._fma; 1: planes, for ..._dot; 2: i32, for ..._w12

// Four mantissas as Linear reads them; planes are (hi, lo) of m = 128 * hi + lo.
fn store_quad(quad: u32, m: vec4<i32>) {
    if (BLOCK_FORMAT == 1u) {
        let high = bitcast<vec4<u32>>(m >> vec4<u32>(7u)) & vec4<u32>(255u);
        let low = bitcast<vec4<u32>>(m) & vec4<u32>(127u);
        block[quad * 2u] = high.x | (high.y << 8u) | (high.z << 16u) | (high.w << 24u);
        block[quad * 2u + 1u] = low.x | (low.y << 8u) | (low.z << 16u) | (low.w << 24u);
    } else {
        let words = select(bitcast<vec4<u32>>(vec4<f32>(m)), bitcast<vec4<u32>>(m), BLOCK_FORMAT == 2u);
        block[quad * 4u] = words.x;
        block[quad * 4u + 1u] = words.y;
        block[quad * 4u + 2u] = words.z;
        block[quad * 4u + 3u] = words.w;
    }
}
