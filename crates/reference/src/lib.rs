//! Models in `f64`, straight from their definition, and how close the exact engine comes to them.
//!
//! Slow and simple on purpose: it is what the integers are measured against, never what answers.
//! Neither the server nor a node links it; its program, `potluck-model-check`, is what
//! `potluck-server model add` and `model check` start. It downloads nothing and installs nothing.
//!
//! | module | what |
//! |---|---|
//! | [`decoder`] | a decoder's files, computed in floats |
//! | [`encoder`] | an encoder's |
//! | [`quality`] | the exact engine beside the floats, on texts |
//! | [`package`] | an installed model, held a layer at a time |
//! | [`check`] | an installed model compared with what it was made from, on a text |
//! | [`self_test`] | the same on a short text of our own, and what to think of it |

pub mod check;
pub mod decoder;
pub mod encoder;
pub mod package;
pub mod quality;
pub mod self_test;
