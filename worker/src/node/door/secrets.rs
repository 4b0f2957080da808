//! What member and newcomer share of a code: a key exchange with the letters as its password (SPAKE2),
//! and what each of them then says, sealed with a key of its own.
//!
//! Whoever does not know the letters, the server too, can check one guess by taking part once, and
//! nothing by listening.

use core::convert::Infallible;

use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, Nonce};
use potluck_protocol::door::{CODE_LETTERS, DoorCode};
use potluck_protocol::room::RoomId;
use rand_core::{TryCryptoRng, TryRng};
use spake2::{Ed25519Group, Identity, Password, Spake2};

/// Bytes that each sends the other: a letter for the side, and a point.
pub(super) const EXCHANGE_BYTES: usize = 33;

/// One side of an exchange that waits for the other's bytes.
pub(super) struct Half(Spake2<Ed25519Group>);

/// What both have if both knew the letters.
#[derive(Debug)]
pub(super) struct Keys {
    /// For what the newcomer says.
    pub(super) knock: Key,
    /// For what the member says.
    pub(super) answer: Key,
}

/// Seals one message, once.
pub(super) struct Key([u8; 32]);

impl Half {
    /// The member's side, and what the newcomer is sent.
    pub(super) fn member(
        letters: [u8; CODE_LETTERS],
        room: RoomId,
        seed: &[u8; 32],
    ) -> (Self, Vec<u8>) {
        let (password, member, newcomer) = names(letters, room);
        let (half, bytes) =
            Spake2::start_a_with_rng(&password, &member, &newcomer, Chance::new(seed));
        (Self(half), bytes)
    }

    /// The newcomer's side, and what the member is sent.
    pub(super) fn newcomer(
        letters: [u8; CODE_LETTERS],
        room: RoomId,
        seed: &[u8; 32],
    ) -> (Self, Vec<u8>) {
        let (password, member, newcomer) = names(letters, room);
        let (half, bytes) =
            Spake2::start_b_with_rng(&password, &member, &newcomer, Chance::new(seed));
        (Self(half), bytes)
    }

    /// Keys of this exchange; others than the other side's if one of them had other letters. None if
    /// `theirs` is nothing that an exchange has.
    pub(super) fn finish(self, theirs: &[u8]) -> Option<Keys> {
        let shared = self.0.finish(theirs).ok()?;
        Some(Keys {
            knock: Key(blake3::derive_key("potluck door knock v1", &shared)),
            answer: Key(blake3::derive_key("potluck door answer v1", &shared)),
        })
    }
}

/// The letters alone are the password; the room is part of both names, so that nobody can put another
/// in its place.
fn names(letters: [u8; CODE_LETTERS], room: RoomId) -> (Password, Identity, Identity) {
    let name = |side: &[u8]| Identity::new(&[side, &room.0].concat());
    (Password::new(letters), name(b"potluck member v1"), name(b"potluck newcomer v1"))
}

impl Key {
    /// `said`, for the other side only. The key goes with it: it seals nothing else.
    pub(super) fn seal(self, said: &[u8]) -> Vec<u8> {
        let sealed = ChaCha20Poly1305::new(&self.0.into()).encrypt(&Nonce::default(), said);
        sealed.expect("a message this short fits the cipher")
    }

    /// What the other side said; none if it was not sealed with this key.
    pub(super) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        ChaCha20Poly1305::new(&self.0.into()).decrypt(&Nonce::default(), sealed).ok()
    }
}

/// Letters of a code from a seed, which nothing else is drawn from.
pub(super) fn letters(seed: &[u8; 32]) -> [u8; CODE_LETTERS] {
    let drawn = blake3::derive_key("potluck door letters v1", seed);
    let mut random = [0; CODE_LETTERS];
    random.copy_from_slice(&drawn[..CODE_LETTERS]);
    DoorCode::letters(random)
}

/// Random bytes that were drawn outside, as many as are wanted: the node itself has no chance in it.
struct Chance(blake3::OutputReader);

impl Chance {
    fn new(seed: &[u8; 32]) -> Self {
        Self(blake3::Hasher::new_derive_key("potluck door exchange v1").update(seed).finalize_xof())
    }
}

impl TryRng for Chance {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Chance {}

impl core::fmt::Debug for Half {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Half")
    }
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: RoomId = RoomId([7; 16]);

    /// The keys of both sides, where each has its own letters and its own idea of the room.
    fn keys(member: (&[u8; 4], RoomId), newcomer: (&[u8; 4], RoomId)) -> (Keys, Keys) {
        let (a, to_b) = Half::member(*member.0, member.1, &[1; 32]);
        let (b, to_a) = Half::newcomer(*newcomer.0, newcomer.1, &[2; 32]);
        assert_eq!((to_a.len(), to_b.len()), (EXCHANGE_BYTES, EXCHANGE_BYTES));
        (a.finish(&to_a).expect("a point"), b.finish(&to_b).expect("a point"))
    }

    #[test]
    fn who_has_the_same_letters_reads_what_the_other_says() {
        let (member, newcomer) = keys((b"KQ7M", ROOM), (b"KQ7M", ROOM));
        let knock = newcomer.knock.seal(b"it is me");
        assert_eq!(member.knock.open(&knock).as_deref(), Some(&b"it is me"[..]));
        assert!(member.answer.open(&knock).is_none(), "no side can pass for the other");
        let answer = member.answer.seal(b"come in");
        assert_eq!(newcomer.answer.open(&answer).as_deref(), Some(&b"come in"[..]));
        for at in 0..answer.len() {
            let mut changed = answer.clone();
            changed[at] ^= 1;
            assert!(newcomer.answer.open(&changed).is_none());
        }
    }

    #[test]
    fn other_letters_or_another_room_share_nothing() {
        let other = RoomId([8; 16]);
        for newcomer in [(b"KQ7N", ROOM), (b"KQ7M", other)] {
            let (member, newcomer) = keys((b"KQ7M", ROOM), newcomer);
            assert!(member.knock.open(&newcomer.knock.seal(b"it is me")).is_none());
            assert!(newcomer.answer.open(&member.answer.seal(b"come in")).is_none());
        }
    }

    #[test]
    fn what_is_no_exchange_is_none() {
        let half = || Half::member(*b"KQ7M", ROOM, &[1; 32]);
        let own = half().1;
        for bytes in [&[][..], &own[..32], &own, &[0x42; 34]] {
            assert!(half().0.finish(bytes).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn letters_and_exchange_tell_nothing_of_each_other() {
        assert_eq!(letters(&[1; 32]), letters(&[1; 32]));
        assert_ne!(letters(&[1; 32]), letters(&[2; 32]));
        assert_ne!(
            Half::member(*b"KQ7M", ROOM, &[1; 32]).1,
            Half::member(*b"KQ7M", ROOM, &[2; 32]).1
        );
    }
}
