//! What an authenticator says of a passkey, held against what it was asked (Web Authentication Level 3,
//! §7.1 and §7.2). Pure: no clock, no store.
//!
//! Attestation is not looked at: who made an authenticator is nobody's business here. So a new passkey's
//! key is read from its authenticator data alone, whose COSE key has one encoding for each kind (CTAP2's
//! canonical CBOR, §6.5.1.1), and needs no reader of CBOR.

use data_encoding::BASE64URL_NOPAD;
use potluck_protocol::id::NodeId;
use potluck_protocol::passkey::{
    CHALLENGE_DOMAIN, MAX_CREDENTIAL_BYTES, NewPasskey, PasskeyAnswer,
};
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::origin::WebOrigin;

/// A passkey that opens an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passkey {
    /// Its name.
    pub(crate) credential: Vec<u8>,
    /// The account.
    pub(crate) owner: NodeId,
    pub(crate) key: PasskeyKey,
    /// How often it has signed, as it says; 0 for those that do not count.
    pub(crate) counter: u32,
    /// When it was let in, seconds since 1970.
    pub(crate) made_s: u64,
}

/// The public half of a passkey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PasskeyKey {
    /// ECDSA on P-256 with SHA-256 (COSE -7): x and y.
    Es256([u8; 64]),
    /// Ed25519 (COSE -8).
    EdDsa([u8; 32]),
}

/// Whom and what an answer has to be for.
pub(super) struct Wanted<'a> {
    /// The server's nonce.
    pub(super) nonce: [u8; 32],
    /// The key that the passkey vouches for.
    pub(super) signer: NodeId,
    /// True for an origin of this server.
    pub(super) is_own: &'a (dyn Fn(&str) -> bool + Sync),
}

/// Why a passkey's word does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PasskeyFault {
    /// It is no text of base64url, no JSON, or cut off.
    #[error("the passkey's answer cannot be read")]
    Unreadable,
    /// It answers something else, or something of some time ago.
    #[error("the passkey answered another question, or too late; try again")]
    Challenge,
    /// It was asked by another site's page.
    #[error("the passkey was asked for by a page that is not this server's")]
    Origin,
    /// Nobody touched the authenticator, or it did not look who it was.
    #[error("the passkey did not check that it is you: it needs a PIN, a fingerprint or the like")]
    Unverified,
    /// A key of a kind that is not known here.
    #[error("the passkey is of a kind that this server does not know (ES256 and EdDSA it does)")]
    Kind,
    /// The signature is not this passkey's.
    #[error("the passkey's signature is wrong")]
    Signature,
    /// It counts backwards.
    #[error("the passkey counts backwards, as a copy of it would: remove it and make another")]
    Counter,
    /// It is no passkey of this server's.
    #[error("this server does not know the passkey; the account may have been removed")]
    Unknown,
    /// It is known already.
    #[error("this passkey opens an account already")]
    Known,
    /// As many as an account may have.
    #[error("an account has at most 8 passkeys and 4 recovery files; remove one first")]
    Many,
    /// No way into the account would be left.
    #[error("this is the only way into the account: add another one first")]
    Last,
    /// The recovery file is one of another account's, or has sites of its own.
    #[error("this recovery file belongs to an account already")]
    File,
}

/// Letters of a client's data at most: a challenge, the longest of origins and what else browsers say.
const MAX_CLIENT_DATA: usize = 4096;
/// Bytes of an authenticator's data at most: a credential's name, a key, and extensions.
const MAX_AUTHENTICATOR_DATA: usize = 4096;
/// Bytes of a signature at most; of ECDSA it is 72.
const MAX_SIGNATURE: usize = 128;

/// Flags of authenticator data (§6.1).
const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const HAS_CREDENTIAL: u8 = 1 << 6;
const HAS_EXTENSIONS: u8 = 1 << 7;

/// `{1: 2, 3: -7, -1: 1, -2: bytes(32)`, then the bytes of x, then [`ES256_Y`] and those of y.
const ES256: [u8; 10] = [0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32];
const ES256_Y: [u8; 3] = [0x22, 0x58, 32];
/// `{1: 1, 3: -8, -1: 6, -2: bytes(32)`, then those bytes.
const EDDSA: [u8; 10] = [0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 32];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: bool,
    top_origin: Option<String>,
}

/// Authenticator data before what a new passkey adds.
struct Head<'a> {
    flags: u8,
    counter: u32,
    rest: &'a [u8],
}

/// What an authenticator has to sign.
pub(super) fn challenge(nonce: &[u8; 32], signer: NodeId) -> [u8; 32] {
    let parts = [CHALLENGE_DOMAIN, nonce, &signer.0].concat();
    Sha256::digest(&parts).into()
}

/// 32 bytes of base64url.
pub(super) fn bytes32(text: &str) -> Option<[u8; 32]> {
    BASE64URL_NOPAD.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// The passkey that was made: name, key and counter.
pub(super) fn made(
    new: &NewPasskey,
    wanted: &Wanted<'_>,
) -> Result<(Vec<u8>, PasskeyKey, u32), PasskeyFault> {
    let client = decoded(&new.client_data, MAX_CLIENT_DATA)?;
    let data = decoded(&new.authenticator_data, MAX_AUTHENTICATOR_DATA)?;
    let host = asked(&client, "webauthn.create", wanted)?;
    let Head { flags, counter, rest } = head(&data, &host)?;
    if flags & HAS_CREDENTIAL == 0 {
        return Err(PasskeyFault::Unreadable);
    }
    // After the 16 bytes that name the authenticator's model, which nobody asks for.
    let (length, rest) = rest
        .split_at_checked(16)
        .and_then(|(_, rest)| rest.split_first_chunk::<2>())
        .ok_or(PasskeyFault::Unreadable)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (credential, key) = rest.split_at_checked(length).ok_or(PasskeyFault::Unreadable)?;
    if !(1..=MAX_CREDENTIAL_BYTES).contains(&credential.len()) {
        return Err(PasskeyFault::Unreadable);
    }
    let (key, rest) = cose_key(key)?;
    // Extensions are nothing that was asked for.
    if rest.is_empty() != (flags & HAS_EXTENSIONS == 0) {
        return Err(PasskeyFault::Unreadable);
    }
    Ok((credential.to_vec(), key, counter))
}

/// Whether `passkey` gave this answer; its counter from now on.
pub(super) fn answered(
    answer: &PasskeyAnswer,
    passkey: &Passkey,
    wanted: &Wanted<'_>,
) -> Result<u32, PasskeyFault> {
    if bytes32(&answer.account) != Some(passkey.owner.0) {
        return Err(PasskeyFault::Unknown);
    }
    let client = decoded(&answer.client_data, MAX_CLIENT_DATA)?;
    let data = decoded(&answer.authenticator_data, MAX_AUTHENTICATOR_DATA)?;
    let signature = decoded(&answer.signature, MAX_SIGNATURE)?;
    let host = asked(&client, "webauthn.get", wanted)?;
    let Head { counter, .. } = head(&data, &host)?;
    let signed = [&data[..], &Sha256::digest(&client)].concat();
    let is_signed = match &passkey.key {
        PasskeyKey::Es256(point) => {
            // Uncompressed, as SEC 1 has it.
            let key = [&[4], &point[..]].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key).verify(&signed, &signature)
        }
        PasskeyKey::EdDsa(key) => UnparsedPublicKey::new(&ED25519, key).verify(&signed, &signature),
    };
    is_signed.map_err(|_| PasskeyFault::Signature)?;
    // Where either counts, both must have gone on.
    if (counter, passkey.counter) != (0, 0) && counter <= passkey.counter {
        return Err(PasskeyFault::Counter);
    }
    Ok(counter)
}

fn decoded(text: &str, limit: usize) -> Result<Vec<u8>, PasskeyFault> {
    if text.len() > limit.div_ceil(3) * 4 {
        return Err(PasskeyFault::Unreadable);
    }
    BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| PasskeyFault::Unreadable)
}

/// Whether the browser was asked this by our own page; the host of that page, which is the relying party.
fn asked(client: &[u8], kind: &str, wanted: &Wanted<'_>) -> Result<String, PasskeyFault> {
    let client: ClientData =
        serde_json::from_slice(client).map_err(|_| PasskeyFault::Unreadable)?;
    let expected = BASE64URL_NOPAD.encode(&challenge(&wanted.nonce, wanted.signer));
    if client.kind != kind || client.challenge != expected {
        return Err(PasskeyFault::Challenge);
    }
    if client.cross_origin || client.top_origin.is_some() || !(wanted.is_own)(&client.origin) {
        return Err(PasskeyFault::Origin);
    }
    let origin: WebOrigin = client.origin.parse().map_err(|_| PasskeyFault::Origin)?;
    Ok(origin.host().to_owned())
}

fn head<'a>(data: &'a [u8], host: &str) -> Result<Head<'a>, PasskeyFault> {
    let (party, rest) = data.split_first_chunk::<32>().ok_or(PasskeyFault::Unreadable)?;
    let (flags, rest) = rest.split_first().ok_or(PasskeyFault::Unreadable)?;
    let (counter, rest) = rest.split_first_chunk::<4>().ok_or(PasskeyFault::Unreadable)?;
    if Sha256::digest(host.as_bytes())[..] != party[..] {
        return Err(PasskeyFault::Origin);
    }
    if flags & USER_PRESENT == 0 || flags & USER_VERIFIED == 0 {
        return Err(PasskeyFault::Unverified);
    }
    if flags & BACKED_UP != 0 && flags & BACKUP_ELIGIBLE == 0 {
        return Err(PasskeyFault::Unreadable);
    }
    Ok(Head { flags: *flags, counter: u32::from_be_bytes(*counter), rest })
}

/// A key, and what stands after it.
fn cose_key(bytes: &[u8]) -> Result<(PasskeyKey, &[u8]), PasskeyFault> {
    if let Some(rest) = bytes.strip_prefix(&ES256) {
        let (x, rest) = rest.split_first_chunk::<32>().ok_or(PasskeyFault::Unreadable)?;
        let rest = rest.strip_prefix(&ES256_Y).ok_or(PasskeyFault::Unreadable)?;
        let (y, rest) = rest.split_first_chunk::<32>().ok_or(PasskeyFault::Unreadable)?;
        let mut point = [0; 64];
        point[..32].copy_from_slice(x);
        point[32..].copy_from_slice(y);
        return Ok((PasskeyKey::Es256(point), rest));
    }
    let rest = bytes.strip_prefix(&EDDSA).ok_or(PasskeyFault::Kind)?;
    let (key, rest) = rest.split_first_chunk::<32>().ok_or(PasskeyFault::Unreadable)?;
    Ok((PasskeyKey::EdDsa(*key), rest))
}

impl PasskeyKey {
    /// As it is written down: the number that COSE has for its kind, and its bytes.
    pub(crate) fn parts(&self) -> (i64, &[u8]) {
        match self {
            Self::Es256(point) => (-7, point),
            Self::EdDsa(key) => (-8, key),
        }
    }

    /// The key that was written down so.
    pub(crate) fn of(kind: i64, bytes: &[u8]) -> Option<Self> {
        match kind {
            -7 => bytes.try_into().ok().map(Self::Es256),
            -8 => bytes.try_into().ok().map(Self::EdDsa),
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "passkey_tests.rs"]
pub(super) mod tests;
