// floor(x * m / 2^k) without a product of 64 bits.

fn mul_shift(x: i32, m: u32, k: u32) -> i32 {
    let low = bitcast<u32>(x) & ((1u << k) - 1u);
    return (x >> k) * bitcast<i32>(m) + bitcast<i32>((low * m) >> k);
}
