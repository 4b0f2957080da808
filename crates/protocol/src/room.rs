//! Rooms: swarms of their own on one server, for those who share a secret.
//!
//! The secret travels in the fragment of a link, which no browser sends to a server. Everything else
//! is derived from it:
//!
//! ```text
//! secret ─┬─ pass ── room     the server is shown the pass; its hash is the room's name there
//!         └─ seal             what members signal to each other is sealed with it
//! ```
//! Who shows a pass is in the room that it hashes to, so the server keeps no list of rooms and nobody
//! has to make one. It never has the seal: it can refuse members and count them, but it cannot bring
//! itself, or anybody, into a connection between two of them.

use core::fmt;
use core::str::FromStr;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// What the members of a room share, 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RoomSecret(pub [u8; 16]);

/// What a member shows the server.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomPass(pub [u8; 32]);

/// A room's name on the server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(pub [u8; 16]);

/// What members seal their signals with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RoomSeal([u8; 32]);

/// How a link names a room, in its fragment: `https://host/#room=…`.
pub const ROOM_FRAGMENT: &str = "room=";

/// A text names no room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is not an invitation to a room; paste the whole link, or the 26 letters and digits behind #room="
)]
pub struct ParseRoomError(&'static str);

impl RoomSecret {
    /// What the server is shown.
    #[must_use]
    pub fn pass(&self) -> RoomPass {
        RoomPass(blake3::derive_key("potluck room pass v1", &self.0))
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

    /// A link that invites to the room: the address of the server's page with the secret behind it.
    #[must_use]
    pub fn link(&self, page: &str) -> String {
        let page = page.split_once('#').map_or(page, |(page, _)| page);
        let slash = if page.ends_with('/') { "" } else { "/" };
        format!("{page}{slash}#{ROOM_FRAGMENT}{self}")
    }
}

impl RoomPass {
    /// The room that whoever shows it is in.
    #[must_use]
    pub fn room(&self) -> RoomId {
        let mut id = [0; 16];
        id.copy_from_slice(&blake3::derive_key("potluck room name v1", &self.0)[..16]);
        RoomId(id)
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

/// Takes a whole link, its fragment, or the secret alone, in letters of either case.
impl FromStr for RoomSecret {
    type Err = ParseRoomError;

    fn from_str(text: &str) -> Result<Self, ParseRoomError> {
        let text = text.trim();
        let secret = match text.rsplit_once(ROOM_FRAGMENT) {
            Some((_, secret)) => secret,
            None if text.contains(['/', '#']) => {
                return Err(ParseRoomError("a link without #room="));
            }
            None => text,
        };
        let wrong = ParseRoomError("what was given");
        let bytes = BASE32_NOPAD.decode(secret.to_ascii_uppercase().as_bytes());
        bytes.ok().and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(wrong)
    }
}

impl Serialize for RoomSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RoomSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// As it stands in a header of HTTP: 64 hexadecimal digits.
impl fmt::Display for RoomPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl FromStr for RoomPass {
    type Err = ParseRoomError;

    fn from_str(text: &str) -> Result<Self, ParseRoomError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(ParseRoomError("what was given as a pass"))
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
    fn an_invitation_is_read_however_it_is_pasted() {
        let link = SECRET.link("https://potluck.example/party");
        assert_eq!(link, format!("https://potluck.example/party/#room={SECRET}"));
        assert_eq!(
            SECRET.link("https://potluck.example/#elsewhere"),
            format!("https://potluck.example/#room={SECRET}")
        );
        let alone = SECRET.to_string();
        assert_eq!(alone.len(), 26);
        let upper = alone.to_uppercase();
        for text in [&link, &alone, &upper, &format!(" {link}\n"), &format!("#room={alone}")] {
            assert_eq!(text.parse(), Ok(SECRET), "{text:?}");
        }
    }

    #[test]
    fn what_invites_to_no_room_is_refused_with_what_to_do() {
        let (short, long) = (&SECRET.to_string()[1..], format!("{SECRET}a"));
        for text in [
            "",
            "room",
            short,
            &long,
            "https://potluck.example/",
            "#room=",
            "é".repeat(26).as_str(),
            "0189".repeat(7).as_str(),
        ] {
            let error = text.parse::<RoomSecret>().expect_err(text);
            assert!(error.to_string().contains("paste the whole link"), "{error}");
        }
    }

    #[test]
    fn nothing_that_is_shown_or_logged_gives_the_secret_away() {
        let (secret, pass) = (SECRET.to_string(), SECRET.pass().to_string());
        let shown =
            format!("{SECRET:?} {:?} {:?} {:?}", SECRET.pass(), SECRET.seal(), SECRET.room());
        assert!(!shown.contains(&secret) && !shown.contains(&pass), "{shown}");
        assert_ne!(SECRET.pass().0[..16], SECRET.room().0, "the name is not part of the pass");
    }

    #[test]
    fn a_pass_is_of_one_room_and_a_seal_of_one_secret() {
        let other = RoomSecret([0x5b; 16]);
        assert_ne!(SECRET.room(), other.room());
        assert_eq!(SECRET.pass().to_string().parse(), Ok(SECRET.pass()));
        assert_eq!(SECRET.seal().tag(b"hello"), SECRET.seal().tag(b"hello"));
        assert_ne!(SECRET.seal().tag(b"hello"), other.seal().tag(b"hello"));
        assert_ne!(SECRET.seal().tag(b"hello"), SECRET.seal().tag(b"hullo"));
    }
}
