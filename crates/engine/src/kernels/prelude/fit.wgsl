// Fitting numbers into mantissas of 15 bits with one exponent. Needs rescale.

fn fit_exponent(largest: u32) -> i32 {
    return i32(bits(largest)) - 14;
}

fn fit_mantissa(x: i32, n: i32) -> i32 {
    return clamp(rescale(x, -n), -16383, 16383);
}
