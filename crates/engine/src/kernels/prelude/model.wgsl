// The shape of a model, which `model` binds.

struct Model {
    d_model: u32,
    d_ff: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    qk_scale: u32,               // Q15
    residual_fraction_bits: i32,
    eps_mantissa: u32,           // eps * d_model = eps_mantissa * 2^eps_exponent
    eps_exponent: i32,
}
