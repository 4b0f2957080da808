//! Models in `f64`, straight from their definition, and how close the exact engine comes to them.
//!
//! Slow and simple on purpose: it is what the integers are measured against, never what answers.
//! Neither the server nor a node links it; its program, `potluck-model-check`, is what
//! `potluck-server model check` starts. It downloads nothing and installs nothing.
//!
//! | module | what |
//! |---|---|
//! | [`decoder`] | a decoder's files, computed in floats |
//! | [`encoder`] | an encoder's |
//! | [`quality`] | the exact engine beside the floats, on texts |
//! | [`check`] | an installed model compared with what it was made from |

pub mod check;
pub mod decoder;
pub mod encoder;
pub mod quality;
