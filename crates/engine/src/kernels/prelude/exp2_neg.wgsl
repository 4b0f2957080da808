// Reads `exp2_table`, an Exp2 that the kernel binds.

// 2^(-distance / 2^16), Q15.
fn exp2_neg(distance: u32) -> u32 {
    let d = min(distance, 31u << 16u);
    let index = (d >> 8u) & 255u;
    let upper = exp2_table.entries[index >> 2u][index & 3u];
    let lower = exp2_table.entries[(index + 1u) >> 2u][(index + 1u) & 3u];
    return (upper - (((upper - lower) * (d & 255u)) >> 8u)) >> (d >> 16u);
}
