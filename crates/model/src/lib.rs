//! A model as every node holds it: its manifest, its blobs, its tokenizer and the form of a chat.
//!
//! Bytes are parsed once, into values that the arithmetic is defined for; text becomes tokens and
//! tokens become text. Nothing is computed with the weights here, and no file is read: `engine`
//! computes, `importer` makes packages, and who needs a blob brings its bytes.
//!
//! | module | what |
//! |---|---|
//! | [`package`] | the manifest and blobs of a model |
//! | [`encoder`] | those of a model that turns texts into vectors |
//! | [`tokenizer`] | text to tokens and back |
//! | [`synthetic`] | models made of random numbers, for tests, benchmarks and self-tests |

pub mod chat;
pub mod encoder;
pub mod package;
pub mod synthetic;
pub mod tokenizer;
