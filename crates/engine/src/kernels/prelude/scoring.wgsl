// What becomes of scores or logits besides, which `scoring` binds. Needs rescale and mul_shift.

struct Scoring {
    window: u32,      // positions that a row sees; 0: all before it
    has_sinks: u32,   // 1: every head has one
    inverse: u32,     // of the cap: round(2^(16 + exponent) / cap); 0: there is none
    exponent: i32,    // the largest power of two that is not above the cap
    softcap: array<vec4<u32>, 257>, // [1025] and three more: tanh(u) / u in steps of 1/64, Q15
    sinks: array<vec4<i32>, 64>,    // [256]: of the heads, Q16
}

// cap * tanh(x / cap) of x in Q16, if there is a cap.
fn soft_cap(x: i32) -> i32 {
    if (scoring.inverse == 0u) {
        return x;
    }
    let size = bitcast<i32>(magnitude(x));
    let u = bitcast<u32>(mul_shift(rescale(size, -scoring.exponent), scoring.inverse, 16u));
    var capped = bitcast<i32>((0x80000000u / scoring.inverse) << u32(scoring.exponent + 1));
    let index = u >> 10u;
    if (index < 1024u) {
        let above = scoring.softcap[index >> 2u][index & 3u];
        let below = scoring.softcap[(index + 1u) >> 2u][(index + 1u) & 3u];
        capped = mul_shift(size, above - (((above - below) * (u & 1023u)) >> 10u), 15u);
    }
    return select(capped, -capped, x < 0);
}
