// Arithmetic in 64 bits, which WGSL has not.

// A 64-bit number in two words: x the low one, y the high one.
fn wide_add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}

fn wide_shift_left(v: u32, s: u32) -> vec2<u32> {
    if (s == 0u) {
        return vec2<u32>(v, 0u);
    }
    if (s < 32u) {
        return vec2<u32>(v << s, v >> (32u - s));
    }
    return vec2<u32>(0u, v << (s - 32u));
}

// The low word of v >> s.
fn wide_shift_right(v: vec2<u32>, s: u32) -> u32 {
    if (s == 0u) {
        return v.x;
    }
    if (s < 32u) {
        return (v.x >> s) | (v.y << (32u - s));
    }
    return v.y >> (s - 32u);
}

// floor(mantissa * 2^shift) of a mantissa below 2^24, kept below 2^63.
fn wide_scale(mantissa: u32, shift: i32) -> vec2<u32> {
    if (shift >= 0) {
        return wide_shift_left(mantissa, u32(min(shift, 39)));
    }
    if (shift <= -24) {
        return vec2<u32>(0u, 0u);
    }
    return vec2<u32>(mantissa >> u32(-shift), 0u);
}
