// Shifts of whole numbers that round (docs/numerics.md, "rescale").

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
