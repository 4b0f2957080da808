//! Passkeys of site owners: what a browser hands on from an authenticator (Web Authentication Level 3).
//!
//! A passkey signs nothing but its owner's entry: it vouches, for a while, for a key that the page made,
//! and that key signs tasks ([`crate::site`]) as a recovery file's does.
//!
//! ```text
//! POST /api/v1/sites/challenge                        ->  PasskeyChallenge{nonce}
//!   the page makes a key; the authenticator signs SHA-256(CHALLENGE_DOMAIN ‖ nonce ‖ key)
//! POST /api/v1/sites/enter   Entry{signer: key, by}   ->  Entered{account, until_s}
//! ```
//! Bytes are base64url without padding, as in the specification's own JSON (§5.1.8).

use serde::{Deserialize, Serialize};

use crate::id::NodeId;

/// What stands before nonce and key in what an authenticator is asked to sign.
pub const CHALLENGE_DOMAIN: &[u8] = b"potluck passkey v1\0";
/// Bytes of a credential's name at most (§4, credential ID).
pub const MAX_CREDENTIAL_BYTES: usize = 1023;

/// Something to be signed once, soon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasskeyChallenge {
    /// 32 bytes that nobody knew before. Of an account that a passkey opens they are the name.
    pub nonce: String,
}

/// A passkey that was just made, without attestation: nobody vouches for its maker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPasskey {
    /// That of the [`PasskeyChallenge`].
    pub nonce: String,
    /// `response.clientDataJSON`.
    pub client_data: String,
    /// `response.getAuthenticatorData()`.
    pub authenticator_data: String,
}

/// A passkey's word for its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasskeyAnswer {
    /// That of the [`PasskeyChallenge`].
    pub nonce: String,
    /// `rawId`: which passkey it is.
    pub credential: String,
    /// `response.clientDataJSON`.
    pub client_data: String,
    /// `response.authenticatorData`.
    pub authenticator_data: String,
    /// `response.signature`.
    pub signature: String,
    /// `response.userHandle`: whose passkey it is.
    pub account: String,
}

/// Somebody wants to come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The key that is to sign this owner's tasks for a while.
    pub signer: NodeId,
    /// What vouches for it.
    pub by: EntryBy,
}

/// What vouches for a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryBy {
    /// A new passkey, which opens a new account.
    New(NewPasskey),
    /// The passkey of an account.
    Known(PasskeyAnswer),
}

/// They are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entered {
    /// Whose tasks the key signs.
    pub account: NodeId,
    /// Until when, seconds since 1970.
    pub until_s: u64,
}
