// Biases and norms of a layer's heads, which `heads` binds.

struct Heads {
    query_exponent: i32, // each: weight exponent + 22
    key_exponent: i32,
    value_exponent: i32,
    query_bias_exponent: i32,
    key_bias_exponent: i32,
    value_bias_exponent: i32,
    query_gain_exponent: i32, // gain * sqrt(head_dim) = gains * 2^gain_exponent
    key_gain_exponent: i32,
    eps_mantissa: u32,        // eps * head_dim = eps_mantissa * 2^eps_exponent
    eps_exponent: i32,
    biased: u32,              // 1: there are biases
    normalised: u32,          // 1: query and key heads are normalised
}
