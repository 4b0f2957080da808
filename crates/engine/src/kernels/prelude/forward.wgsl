// The rows of a call, which `forward` binds.

struct Forward {
    position: u32,  // of the first row in its session
    rows: u32,      // of the call, or of one session in it
    first_row: u32, // in the call
}
