//! Rooms: swarms of their own on one server, for those who share a secret.
//!
//! The secret travels in the fragment of a link, which no browser sends to a server. Everything else
//! is derived from it:
//!
//! ```text
//! secret ─┬─ pass ── room     the server is shown the pass; its hash is the room's name there
//!         └─ seal             what members signal to each other is sealed with it
//! ```
//! The name of a room with a list is the hash of the pass and of its keeper's key: see
//! [`invitation`](crate::invitation).
//!
//! Who shows a pass is in the room that it hashes to, so the server keeps no list of rooms and nobody
//! has to make one. It never has the seal: it can refuse members and count them, but it cannot bring
//! itself, or anybody, into a connection between two of them.

use core::fmt;
use core::str::FromStr;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};

use crate::id::NodeId;

/// What the members of a room share, 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RoomSecret(pub [u8; 16]);

/// What a member shows the server.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomPass {
    /// Derived from the secret.
    pub hash: [u8; 32],
    /// Whose list says who may come in; none of a room for everybody who has the secret.
    pub keeper: Option<NodeId>,
    /// Which of the server's models it computes; none is the server's first.
    pub model: Option<ModelTag>,
}

/// A model by its name's hash, which is as short as a link wants it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ModelTag(pub [u8; 8]);

/// A room's name on the server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(pub [u8; 16]);

/// What members seal their signals with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RoomSeal([u8; 32]);

/// A text names no room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is not an invitation to a room; paste the whole link, or the 26 letters and digits behind #room="
)]
pub struct ParseRoomError(pub(crate) &'static str);

impl RoomSecret {
    /// What the server is shown of a room for everybody who has the secret.
    #[must_use]
    pub fn pass(&self) -> RoomPass {
        RoomPass {
            hash: blake3::derive_key("potluck room pass v1", &self.0),
            keeper: None,
            model: None,
        }
    }

    /// What members seal with.
    #[must_use]
    pub fn seal(&self) -> RoomSeal {
        RoomSeal(blake3::derive_key("potluck room seal v1", &self.0))
    }

    /// The room's name on its server.
    #[must_use]
    pub fn room(&self) -> RoomId {
        self.pass().room()
    }
}

impl RoomPass {
    /// The room that whoever shows it is in.
    #[must_use]
    pub fn room(&self) -> RoomId {
        let hash = match self {
            Self { hash, keeper: None, model: None } => {
                blake3::derive_key("potluck room name v1", hash)
            }
            with_rules => {
                let bytes = crate::encoding::encode(with_rules);
                blake3::derive_key("potluck name of a room with rules v1", &bytes)
            }
        };
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        RoomId(id)
    }
}

impl RoomId {
    /// Two plain words that people can say, as a node has them: not an identity.
    #[must_use]
    pub fn name(&self) -> String {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.0);
        NodeId(bytes).name()
    }
}

impl RoomSeal {
    /// A tag over `message` that only members can make.
    #[must_use]
    pub fn tag(&self, message: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.0, message).as_bytes()
    }
}

/// As it stands in a link: 26 letters and digits, in lower case.
impl fmt::Display for RoomSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl FromStr for RoomSecret {
    type Err = ParseRoomError;

    fn from_str(text: &str) -> Result<Self, ParseRoomError> {
        let bytes = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(ParseRoomError("what was given"))
    }
}

/// As it stands in a header of HTTP: 64 hexadecimal digits, of a room with a list 64 more behind a dot,
/// and of one with a model of its own 16 behind a tilde.
impl fmt::Display for RoomPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.hash))?;
        if let Some(keeper) = self.keeper {
            write!(f, ".{}", HEXLOWER.encode(&keeper.0))?;
        }
        self.model.map_or(Ok(()), |model| write!(f, "~{}", HEXLOWER.encode(&model.0)))
    }
}

impl FromStr for RoomPass {
    type Err = ParseRoomError;

    fn from_str(text: &str) -> Result<Self, ParseRoomError> {
        let (text, model) = text.split_once('~').map_or((text, None), |(it, tag)| (it, Some(tag)));
        let (hash, keeper) = text.split_once('.').map_or((text, None), |(it, key)| (it, Some(key)));
        Ok(Self {
            hash: digits(hash)?,
            keeper: keeper.map(digits).transpose()?.map(NodeId),
            model: model.map(digits).transpose()?.map(ModelTag),
        })
    }
}

fn digits<const BYTES: usize>(text: &str) -> Result<[u8; BYTES], ParseRoomError> {
    let bytes = HEXLOWER.decode(text.as_bytes()).ok();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or(ParseRoomError("what was given as a pass"))
}

impl ModelTag {
    /// Of the model of this name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let mut tag = [0; 8];
        let hash = blake3::derive_key("potluck model of a room v1", name.as_bytes());
        tag.copy_from_slice(&hash[..8]);
        Self(tag)
    }
}

impl fmt::Debug for ModelTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelTag({})", HEXLOWER.encode(&self.0))
    }
}

impl fmt::Display for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomId({})", HEXLOWER.encode(&self.0[..4]))
    }
}

/// Secrets stay out of logs.
impl fmt::Debug for RoomSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomSecret of {:?}", self.room())
    }
}

impl fmt::Debug for RoomPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomPass of {:?}", self.room())
    }
}

impl fmt::Debug for RoomSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoomSeal")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: RoomSecret = RoomSecret([0x5a; 16]);

    #[test]
    fn nothing_that_is_shown_or_logged_gives_the_secret_away() {
        let (secret, pass) = (SECRET.to_string(), SECRET.pass().to_string());
        let shown =
            format!("{SECRET:?} {:?} {:?} {:?}", SECRET.pass(), SECRET.seal(), SECRET.room());
        assert!(!shown.contains(&secret) && !shown.contains(&pass), "{shown}");
        assert_ne!(SECRET.pass().hash[..16], SECRET.room().0, "the name is not part of the pass");
    }

    #[test]
    fn a_pass_is_of_one_room_and_a_seal_of_one_secret() {
        let other = RoomSecret([0x5b; 16]);
        assert_ne!(SECRET.room(), other.room());
        let with_list = RoomPass { keeper: Some(NodeId([7; 32])), ..SECRET.pass() };
        let of_another = RoomPass { keeper: Some(NodeId([8; 32])), ..SECRET.pass() };
        let model = Some(ModelTag::of("potluck-tiny"));
        let both = RoomPass { model, ..with_list };
        for pass in [SECRET.pass(), with_list, RoomPass { model, ..SECRET.pass() }, both] {
            assert_eq!(pass.to_string().parse(), Ok(pass));
        }
        assert_ne!(with_list.room(), SECRET.room(), "a list cannot be left out");
        assert_ne!(with_list.room(), both.room(), "nor a model");
        assert_ne!(ModelTag::of("potluck-tiny"), ModelTag::of("potluck-tiny-4"));
        assert_ne!(with_list.room(), of_another.room(), "nor another's put in its place");
        assert_eq!(SECRET.seal().tag(b"hello"), SECRET.seal().tag(b"hello"));
        assert_ne!(SECRET.seal().tag(b"hello"), other.seal().tag(b"hello"));
        assert_ne!(SECRET.seal().tag(b"hello"), SECRET.seal().tag(b"hullo"));
    }
}
