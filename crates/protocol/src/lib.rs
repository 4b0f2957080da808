//! Every message that crosses a boundary in Potluck, its limits and its encoding; nothing else.
//!
//! | boundary | messages | carried by |
//! |---|---|---|
//! | node ↔ server | [`server::ToServer`], [`server::FromServer`] | WebSocket, one binary message each |
//! | node ↔ node | [`peer::PeerFrame`] | WebRTC data channels, cut into chunks by `net` |
//! | page ↔ worker | [`page::Command`], [`page::Notice`] | `postMessage` |
//! | server → page, anyone | [`api`], JSON | HTTP |
//! | site's owner ↔ server | [`site`], JSON | HTTP |
//! | volunteer ↔ server | [`people`], JSON | HTTP |
//! | volunteer → themselves, later | [`key_file::KeyFile`] | a file that they keep |
//! | stage, requester → ledger | [`receipt::SignedReceipt`] | inside the first two |
//! | member → newcomer to a room | [`invitation::Invitation`] | a link's fragment, by whatever people talk over |
//! | member ↔ newcomer | [`door::ToDoor`], [`door::FromDoor`] | inside the first, sealed from the server |
//! | server → itself, later | [`lease::SignedLease`], [`ticket::SignedTicket`] | kept by nodes, inside the first |
//! | person → their node, server | [`grant::SignedGrant`] | made by the click, kept by the node, inside the first |
//!
//! Bytes from outside are parsed once, by [`codec`], which checks every length and count before
//! anyone else sees the message. There is no I/O here, no clock and no randomness.

pub mod api;
pub mod chat;
pub mod codec;
pub mod consent;
pub mod door;
pub mod encoding;
pub mod grant;
pub mod id;
pub mod identity;
pub mod invitation;
pub mod key_file;
pub mod lease;
pub mod limits;
pub mod name;
pub mod page;
pub mod passkey;
pub mod peer;
pub mod people;
pub mod receipt;
pub mod room;
pub mod sampling;
pub mod server;
pub mod site;
pub mod terminal;
pub mod ticket;

/// Version of the messages in this crate. A server refuses nodes that speak another one.
pub const PROTOCOL_VERSION: u16 = 10;

/// Version of the arithmetic (`docs/numerics.md`). Nodes of different versions never share a
/// session.
pub const NUMERICS_VERSION: u16 = 2;
