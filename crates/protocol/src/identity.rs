//! Who signs what: Ed25519 over a domain string and the message, so that no signature can be used
//! for another purpose.

use ed25519_dalek::{Signature as Ed25519Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::id::NodeId;
use crate::room::{RoomId, RoomSecret};

/// An Ed25519 signature, 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signature(#[serde(with = "signature_bytes")] pub [u8; 64]);

impl core::fmt::Debug for Signature {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Signature({}…)", data_encoding::HEXLOWER.encode(&self.0[..4]))
    }
}

/// A node's key pair. Its secret never leaves the machine that made it.
#[derive(Clone)]
pub struct Identity(SigningKey);

impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Identity({:?})", self.node())
    }
}

/// What a signature is for. The text is part of what is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Answering the server's challenge.
    Challenge,
    /// A session description or ICE candidate for one peer.
    Signal,
    /// A work receipt.
    Receipt,
    /// A lease of layers, by the server.
    Lease,
    /// A stage's ticket for a session, by the server.
    Ticket,
    /// A person's yes to lending, by their node.
    Grant,
    /// What the owner of a site has the server do.
    SiteTask,
    /// That a key may be in a room, by its keeper.
    RoomTicket,
    /// What a volunteer says of themselves.
    Statement,
}

impl Purpose {
    /// The domain separation string, with the version in its text.
    const fn domain(self) -> &'static [u8] {
        match self {
            Self::Challenge => b"potluck challenge v2\0",
            Self::Signal => b"potluck signal v1\0",
            Self::Receipt => b"potluck receipt v1\0",
            Self::Lease => b"potluck lease v1\0",
            Self::Ticket => b"potluck ticket v1\0",
            Self::Grant => b"potluck grant v1\0",
            Self::SiteTask => b"potluck site v1\0",
            Self::RoomTicket => b"potluck room ticket v1\0",
            Self::Statement => b"potluck statement v1\0",
        }
    }
}

impl Identity {
    /// The identity of a 32-byte secret seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Who this is in a room: somebody else than outside and than in any other room, so that nobody
    /// can tell that they are one.
    #[must_use]
    pub fn in_room(&self, room: RoomId) -> Self {
        let secret = [&self.0.to_bytes()[..], &room.0].concat();
        Self::from_seed(&blake3::derive_key("potluck identity in a room v1", &secret))
    }

    /// Whoever keeps the list of the room of `secret`, if this made it: derived, so that nothing but
    /// this key and the invitation need be kept.
    #[must_use]
    pub fn keeper_of(&self, secret: &RoomSecret) -> Self {
        let both = [&self.0.to_bytes()[..], &secret.0].concat();
        Self::from_seed(&blake3::derive_key("potluck keeper of a room v1", &both))
    }

    /// A second one of the same machine, for what it does while the first one is connected.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self::from_seed(&blake3::derive_key("potluck identity beside v1", &self.0.to_bytes()))
    }

    /// The public half.
    #[must_use]
    pub fn node(&self) -> NodeId {
        NodeId(self.0.verifying_key().to_bytes())
    }

    /// Signs `message` for `purpose`.
    #[must_use]
    pub fn sign(&self, purpose: Purpose, message: &[u8]) -> Signature {
        Signature(self.0.sign(&[purpose.domain(), message].concat()).to_bytes())
    }
}

/// True if `node` signed `message` for `purpose`. Weak keys and malleable signatures are refused
/// (`verify_strict`).
#[must_use]
pub fn verify(node: NodeId, purpose: Purpose, message: &[u8], signature: &Signature) -> bool {
    VerifyingKey::from_bytes(&node.0).is_ok_and(|key| {
        key.verify_strict(
            &[purpose.domain(), message].concat(),
            &Ed25519Signature::from_bytes(&signature.0),
        )
        .is_ok()
    })
}

/// As 128 hexadecimal digits.
impl core::fmt::Display for Signature {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

/// True if `node` signed `text` for `purpose`; the signature is 128 hexadecimal digits.
#[must_use]
pub fn is_signed(node: NodeId, purpose: Purpose, text: &str, signature: &str) -> bool {
    let bytes = data_encoding::HEXLOWER.decode(signature.as_bytes()).ok();
    let signature = bytes.and_then(|bytes| <[u8; 64]>::try_from(bytes).ok()).map(Signature);
    signature.is_some_and(|signature| verify(node, purpose, text.as_bytes(), &signature))
}

/// serde has no arrays of 64: two halves of 32 have one each.
mod signature_bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        bytes: &[u8; 64],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let (low, high) = bytes.split_at(32);
        (<[u8; 32]>::try_from(low).ok(), <[u8; 32]>::try_from(high).ok()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; 64], D::Error> {
        let (low, high) = <(Option<[u8; 32]>, Option<[u8; 32]>)>::deserialize(deserializer)?;
        let mut bytes = [0; 64];
        match (low, high) {
            (Some(low), Some(high)) => {
                bytes[..32].copy_from_slice(&low);
                bytes[32..].copy_from_slice(&high);
                Ok(bytes)
            }
            _ => Err(serde::de::Error::custom("a signature has 64 bytes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_signer_purpose_and_message_only() {
        let (alice, bob) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let signature = alice.sign(Purpose::Receipt, b"work");
        assert!(verify(alice.node(), Purpose::Receipt, b"work", &signature));
        assert!(!verify(bob.node(), Purpose::Receipt, b"work", &signature));
        assert!(!verify(alice.node(), Purpose::Signal, b"work", &signature));
        assert!(!verify(alice.node(), Purpose::Receipt, b"work!", &signature));
        let mut tampered = signature;
        tampered.0[3] ^= 1;
        assert!(!verify(alice.node(), Purpose::Receipt, b"work", &tampered));
    }

    #[test]
    fn whoever_is_in_two_rooms_is_two() {
        let alice = Identity::from_seed(&[1; 32]);
        let (one, other) = (RoomId([1; 16]), RoomId([2; 16]));
        assert_eq!(alice.in_room(one).node(), alice.in_room(one).node());
        let names = [alice.node(), alice.in_room(one).node(), alice.in_room(other).node()];
        assert!(names[0] != names[1] && names[1] != names[2] && names[0] != names[2]);
    }

    #[test]
    fn a_key_that_is_no_point_verifies_nothing() {
        let signature = Identity::from_seed(&[1; 32]).sign(Purpose::Receipt, b"");
        assert!(!verify(NodeId([0xff; 32]), Purpose::Receipt, b"", &signature));
        assert!(!verify(NodeId([0; 32]), Purpose::Receipt, b"", &signature));
    }
}
