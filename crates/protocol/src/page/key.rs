//! What a person has done with their key, and what comes of it.

use serde::{Deserialize, Serialize};

use crate::id::NodeId;
use crate::people::Says;

/// What a person has done with their key, or by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyTask {
    /// Write it into a file to keep; answered by [`KeyNotice::Backup`].
    Backup,
    /// Read such a file, and change nothing; answered by [`KeyNotice::Found`].
    Look {
        /// What is in it.
        text: SecretText,
    },
    /// Use the key that was read last in place of the present one; answered by [`KeyNotice::Changed`].
    Restore,
    /// Use a new one in place of the present one; answered by [`KeyNotice::Changed`].
    Reset,
    /// Sign this; answered by [`KeyNotice::Signed`].
    Sign(Says),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyNotice {
    /// A [`KeyFile`](crate::key_file::KeyFile), to be saved and not to be kept otherwise.
    Backup {
        /// What to call it.
        name: String,
        /// What is in it.
        text: SecretText,
    },
    /// A file holds a key.
    Found {
        /// Whose it is.
        node: NodeId,
        /// The server that it was kept from; may be empty.
        server: String,
        /// It is the present one.
        is_present: bool,
    },
    /// Another key is kept from now on. The node that runs has the old one still: it is to be ended.
    Changed {
        /// Whose it is.
        node: NodeId,
    },
    /// It was not done, and nothing was changed.
    Failed {
        /// Why, and what to do.
        reason: String,
    },
    /// A [`SignedStatement`](crate::people::SignedStatement) as JSON, to be sent to the server.
    Signed {
        /// The JSON.
        body: String,
        /// It says more than [`Says::Look`].
        is_change: bool,
    },
}

/// A text with a secret in it, which stays out of logs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretText(pub String);

impl core::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SecretText")
    }
}
