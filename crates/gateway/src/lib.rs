//! The node on a caller's own machine speaks the protocols that programs know: OpenAI's, Anthropic's
//! and Ollama's, over HTTP on that machine. No prompt touches the swarm's server.
//!
//! ```text
//! program ──HTTP──▶ openai, anthropic, ollama ──Question──▶ node ──Command::Ask──▶ potluck-node
//!         ◀── body or server-sent events ── Answer ◀── Notice::Answer ──
//! ```
//!
//! | file | what |
//! |---|---|
//! | `node` | the node behind it: questions go out, answers come back, whoever goes away cancels theirs |
//! | `question` | what is asked, whatever protocol it came by |
//! | `collect` | a whole answer, and the reasons why there is none |
//! | `fields` | a request's fields: each is used, refused by name, or named as not known |
//! | `error` | what went wrong, in each protocol's own shape |
//! | `stream` | answers as server-sent events and lines of JSON, to clients that may read slowly or not at all |
//! | `server` | routes, keys, limits |
//! | `openai`, `anthropic`, `ollama` | what the fields of each protocol mean |
//! | `metrics` | counters for whoever watches |
//!
//! A field that would change an answer and cannot be honoured is refused by its name. Fields that no
//! protocol has are let be, and named in the header `x-potluck-ignored`.

mod anthropic;
mod collect;
mod error;
mod fields;
mod metrics;
mod node;
mod ollama;
mod openai;
mod question;
mod server;
mod stream;

pub use node::{Own, Swarm};
pub use server::{Settings, serve};
