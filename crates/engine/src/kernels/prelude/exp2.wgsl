// The table of powers of two, which `exp2_table` binds.

struct Exp2 {
    entries: array<vec4<u32>, 65>, // [257], four a vec4
}
