// Exponents of the query, key and value projections, which `projections` binds.

struct Projections {
    query_exponent: i32, // each: weight exponent + 22
    key_exponent: i32,
    value_exponent: i32,
    exponents_a_row: u32, // 1: of the projections' input; else one a head, which has its projection's in it
    rotates: u32,         // 1: queries and keys turn
    rotation_start: u32,  // where the layer's rotation begins among all
    dropped: u32,         // bits of a position that its place in the cache does not have: those of whole rings
}
