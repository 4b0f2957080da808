//! Checks of receipts, and double-entry credit. No storage, no clock, no network: everything here
//! can be replayed from the receipts.
//!
//! | module | what |
//! |---|---|
//! | [`check`] | is this receipt true to its ticket, signed by both, old enough, and new? |
//! | [`work`] | how many multiply-accumulates it stands for, from the model's shape alone |
//! | [`entry`] | transfers between accounts, which always sum to zero |

pub mod check;
pub mod entry;
pub mod work;
