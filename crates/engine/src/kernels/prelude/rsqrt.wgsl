// Reads `rsqrt_table`, which the kernel binds. Needs rescale and wide.

struct ReciprocalRoot {
    mantissa: u32, // Q16
    exponent: i32,
}

// 1 / sqrt(s) for s >= 1: a table look-up on 10 bits and one Newton step.
fn reciprocal_root(s: vec2<u32>) -> ReciprocalRoot {
    var b = i32(select(bits(s.x), 32u + bits(s.y), s.y != 0u));
    b += b & 1;
    var q = 0u;
    if (b < 26) {
        q = s.x << u32(26 - b);
    } else {
        q = wide_shift_right(s, u32(b - 26));
    }
    let first = rsqrt_table[(q >> 16u) - 256u];
    var t = (first * first) >> 14u;
    t = (t * (q >> 10u)) >> 14u;
    let factor = (196608u - t) >> 1u;
    return ReciprocalRoot(min((first * factor) >> 15u, 65535u), -16 - (b - 2) / 2);
}
