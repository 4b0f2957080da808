// Reads `model`, `head_outputs` and `head_exponents`, which the kernel binds. Needs model and
// rescale.

// Element i of a row's heads side by side, with their shared exponent.
fn aligned_output(row: u32, i: u32, shared_exponent: i32) -> i32 {
    let shift = head_exponents[row * model.heads + i / model.head_dim] - shared_exponent;
    return rescale(head_outputs[row * model.heads * model.head_dim + i], shift);
}
