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

// The reciprocal root of a sum of squares, kept as sums of their upper and lower halves, and epsilon.
fn root_of_squares(high: u32, low: u32, epsilon: vec2<u32>) -> ReciprocalRoot {
    var sum = wide_add(wide_shift_left(high, 16u), vec2<u32>(low, 0u));
    sum = wide_add(sum, epsilon);
    if (sum.x == 0u && sum.y == 0u) {
        sum.x = 1u;
    }
    return reciprocal_root(sum);
}
