// What RMSNorm and LayerNorm share. Reads `model`, which the kernel binds. Needs model, rescale,
// mul_shift and wide.

// floor(eps * d_model * 2^(2F - 2n)), kept below 2^63.
fn epsilon(n: i32) -> vec2<u32> {
    return wide_scale(model.eps_mantissa, model.eps_exponent + 2 * model.residual_fraction_bits - 2 * n);
}

// z of one element, from the row's 2^k and reciprocal root.
fn normalise(x: i32, gain: i32, k: i32, root: u32) -> i32 {
    let wide = clamp(rescale(x, -k), -16777215, 16777215);
    let unsigned = mul_shift(mul_shift(wide, root, 16u), magnitude(gain), 14u);
    return select(unsigned, -unsigned, gain < 0);
}
