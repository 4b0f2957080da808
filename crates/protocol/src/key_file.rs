//! The file that a person keeps their key in: what it is, for which server, the key, and a warning.

use core::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::id::NodeId;
use crate::identity::Identity;

/// Bytes of such a file at most: several times what one has.
pub const MAX_KEY_FILE_BYTES: usize = 4096;

const FORMAT: &str = "potluck-key-1";
const WARNING: &str = "This is the key of a Potluck volunteer. Whoever has this file is you: they can \
                       sign as you, and what you are credited with is theirs too. Keep it where only \
                       you can read it, and send it to nobody.";

/// A key as it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFile {
    /// For people.
    what: String,
    format: String,
    /// The server that it was kept from; empty where it is one for all.
    pub server: String,
    public_key: NodeId,
    secret_key: String,
}

/// The file holds no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// It is something else.
    #[error(
        "this is no backup of a Potluck key; nothing was changed. Choose the file that was saved as one"
    )]
    NotOne,
    /// It is one, changed or cut off.
    #[error(
        "this backup is damaged: its secret and its public key are not a pair; nothing was changed. Look for another copy"
    )]
    Damaged,
}

impl KeyFile {
    /// The file of a secret.
    #[must_use]
    pub fn new(secret: &[u8; 32], server: &str) -> Self {
        Self {
            what: WARNING.to_owned(),
            format: FORMAT.to_owned(),
            server: server.to_owned(),
            public_key: Identity::from_seed(secret).node(),
            secret_key: HEXLOWER.encode(secret),
        }
    }

    /// Reads a file and its secret.
    ///
    /// # Errors
    /// If it is too long or no such file, or its two keys are not a pair.
    pub fn read(text: &str) -> Result<(Self, [u8; 32]), KeyFileError> {
        if text.len() > MAX_KEY_FILE_BYTES {
            return Err(KeyFileError::NotOne);
        }
        let file: Self = serde_json::from_str(text).map_err(|_| KeyFileError::NotOne)?;
        if file.format != FORMAT {
            return Err(KeyFileError::NotOne);
        }
        let bytes = HEXLOWER.decode(file.secret_key.as_bytes()).ok();
        let secret: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.try_into().ok());
        let is_pair = |secret: &[u8; 32]| Identity::from_seed(secret).node() == file.public_key;
        let secret = secret.filter(is_pair).ok_or(KeyFileError::Damaged)?;
        Ok((file, secret))
    }

    /// Whose key it is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.public_key
    }

    /// What it is called as a file.
    #[must_use]
    pub fn name(&self) -> String {
        format!("potluck-key-{}.json", self.public_key.short())
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> String {
        // Texts and nothing else: this can always be written.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// Secrets stay out of logs.
impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyFile of {:?}", self.public_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    #[test]
    fn a_file_gives_its_key_back_and_says_what_it_is() {
        let file = KeyFile::new(&SECRET, "https://potluck.example");
        let text = file.text();
        assert_eq!(KeyFile::read(&text), Ok((file.clone(), SECRET)));
        for part in
            ["Whoever has this file is you", "https://potluck.example", &file.node().to_string()]
        {
            assert!(text.contains(part), "{text}");
        }
        assert!(!format!("{file:?}").contains(&"07".repeat(4)), "{file:?}");
        assert!(file.name().starts_with("potluck-key-") && file.name().len() < 40);
    }

    #[test]
    fn what_is_no_backup_is_told_from_a_damaged_one() {
        let text = KeyFile::new(&SECRET, "").text();
        let no_backup = [
            "",
            "{}",
            "[]",
            "hello",
            &text[..40],
            &text.replace(FORMAT, "potluck-key-2"),
            &" ".repeat(5000),
        ];
        for text in no_backup {
            assert_eq!(KeyFile::read(text), Err(KeyFileError::NotOne), "{text}");
        }
        let secret = "07".repeat(32);
        let damaged = [
            text.replace(&secret, &"08".repeat(32)),
            text.replace(&secret, &"07".repeat(31)),
            text.replace(&secret, &"zz".repeat(32)),
            text.replace(&secret, ""),
        ];
        for text in damaged {
            let error = KeyFile::read(&text).expect_err(&text);
            assert_eq!(error, KeyFileError::Damaged);
            assert!(error.to_string().contains("nothing was changed"), "{error}");
        }
    }
}
