// A piece of a matrix of Linear, and the scale of one group of weights. Reads `linear` and
// `group_scales`, which the kernel binds.

struct Linear {
    groups: u32,               // input width / 32
    out_rows: u32,             // output rows of this piece
    first_out: u32,            // the piece's first output row in the whole matrix
    out_stride: u32,           // i32 values from one row of `outputs` to the next
    exponent: i32,             // weight exponent + 22
    residual_fraction_bits: i32,
    add_to_residual: u32,      // 1: outputs += rescale(y, exponent + fraction bits); 0: outputs = y
}

fn group_scale(group: u32, out: u32) -> u32 {
    let word = group_scales[(group >> 2u) * linear.out_rows + out];
    return (word >> ((group & 3u) * 8u)) & 255u;
}
