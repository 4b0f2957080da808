// i32 to u32 in the same order, i32::MIN to 0, so that atomicMax can start from zero; `unordered`
// is its inverse.
fn ordered(x: i32) -> u32 {
    return bitcast<u32>(x) ^ 0x80000000u;
}

fn unordered(v: u32) -> i32 {
    return bitcast<i32>(v ^ 0x80000000u);
}
