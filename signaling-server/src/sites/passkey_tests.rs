//! An authenticator by code, and everything that can be wrong with what it says.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};

use super::*;

const ORIGIN: &str = "https://potluck.example";
const HOST: &str = "potluck.example";
const FLAGS: u8 = USER_PRESENT | USER_VERIFIED | BACKUP_ELIGIBLE | BACKED_UP;

/// A passkey on a device that a test makes.
pub(in crate::sites) struct Device {
    pair: Pair,
    credential: Vec<u8>,
}

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Device {
    pub(in crate::sites) fn es256(name: u8) -> Self {
        let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
        let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap();
        Self { pair: Pair::Es256(pair), credential: vec![name; 20] }
    }

    fn eddsa(name: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[name; 32]).unwrap();
        Self { pair: Pair::EdDsa(pair), credential: vec![name; 64] }
    }

    fn cose(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Es256(pair) => {
                let point = pair.public_key().as_ref();
                [&ES256[..], &point[1..33], &ES256_Y, &point[33..]].concat()
            }
            Pair::EdDsa(pair) => [&EDDSA[..], pair.public_key().as_ref()].concat(),
        }
    }

    fn sign(&self, data: &[u8], client: &[u8]) -> Vec<u8> {
        let message = [data, &Sha256::digest(client)[..]].concat();
        match &self.pair {
            Pair::Es256(pair) => {
                pair.sign(&SystemRandom::new(), &message).unwrap().as_ref().to_vec()
            }
            Pair::EdDsa(pair) => pair.sign(&message).as_ref().to_vec(),
        }
    }

    fn made_data(&self, flags: u8) -> Vec<u8> {
        let length = u16::try_from(self.credential.len()).unwrap().to_be_bytes();
        let head = [&head_data(HOST, flags | HAS_CREDENTIAL, 0)[..], &[7; 16], &length].concat();
        [&head[..], &self.credential, &self.cose()].concat()
    }

    /// A new passkey of this device, as a browser hands it on.
    pub(in crate::sites) fn make(&self, nonce: [u8; 32], signer: NodeId) -> NewPasskey {
        NewPasskey {
            nonce: text(&nonce),
            client_data: text(&client("webauthn.create", ORIGIN, nonce, signer)),
            authenticator_data: text(&self.made_data(FLAGS)),
        }
    }

    /// This device's word.
    pub(in crate::sites) fn answer(
        &self,
        (nonce, signer): ([u8; 32], NodeId),
        account: NodeId,
        counter: u32,
    ) -> PasskeyAnswer {
        let client = client("webauthn.get", ORIGIN, nonce, signer);
        self.answer_with(nonce, account, &head_data(HOST, FLAGS, counter), &client)
    }

    fn answer_with(
        &self,
        nonce: [u8; 32],
        account: NodeId,
        data: &[u8],
        client: &[u8],
    ) -> PasskeyAnswer {
        PasskeyAnswer {
            nonce: text(&nonce),
            credential: text(&self.credential),
            client_data: text(client),
            authenticator_data: text(data),
            signature: text(&self.sign(data, client)),
            account: text(&account.0),
        }
    }
}

pub(in crate::sites) fn text(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

fn client(kind: &str, origin: &str, nonce: [u8; 32], signer: NodeId) -> Vec<u8> {
    let challenge = text(&challenge(&nonce, signer));
    serde_json::json!({ "type": kind, "challenge": challenge, "origin": origin, "crossOrigin": false })
        .to_string()
        .into_bytes()
}

fn head_data(host: &str, flags: u8, counter: u32) -> Vec<u8> {
    [&Sha256::digest(host.as_bytes())[..], &[flags], &counter.to_be_bytes()].concat()
}

const NONCE: [u8; 32] = [5; 32];
const SIGNER: NodeId = NodeId([6; 32]);
const OWNER: NodeId = NodeId([8; 32]);

fn is_own(origin: &str) -> bool {
    origin == ORIGIN
}

fn wanted() -> Wanted<'static> {
    Wanted { nonce: NONCE, signer: SIGNER, is_own: &is_own }
}

fn taken(device: &Device, counter: u32) -> Passkey {
    let (credential, key, _) = made(&device.make(NONCE, SIGNER), &wanted()).unwrap();
    assert_eq!(credential, device.credential);
    Passkey { credential, owner: OWNER, key, counter, made_s: 0 }
}

#[test]
fn a_passkey_of_either_kind_is_made_and_vouches() {
    for device in [Device::es256(1), Device::eddsa(2)] {
        let passkey = taken(&device, 0);
        let (kind, bytes) = passkey.key.parts();
        assert_eq!(PasskeyKey::of(kind, bytes), Some(passkey.key));
        for counter in [0, 1, u32::MAX] {
            let answer = device.answer((NONCE, SIGNER), OWNER, counter);
            assert_eq!(answered(&answer, &passkey, &wanted()), Ok(counter));
        }
    }
    assert_eq!(PasskeyKey::of(-257, &[0; 256]), None);
}

#[test]
fn a_counter_goes_on_or_is_nothing() {
    let device = Device::es256(1);
    let of = |kept: u32, said: u32| {
        let answer = device.answer((NONCE, SIGNER), OWNER, said);
        answered(&answer, &taken(&device, kept), &wanted())
    };
    assert_eq!(of(7, 8), Ok(8));
    assert_eq!(of(7, 7), Err(PasskeyFault::Counter));
    assert_eq!(of(7, 0), Err(PasskeyFault::Counter));
}

#[test]
fn an_answer_is_for_this_server_this_question_and_this_key() {
    let device = Device::es256(1);
    let passkey = taken(&device, 0);
    let data = head_data(HOST, FLAGS, 1);
    let of = |data: &[u8], client: &[u8]| {
        answered(&device.answer_with(NONCE, OWNER, data, client), &passkey, &wanted())
    };
    let client = |kind: &str, origin: &str, nonce: [u8; 32], signer: NodeId| {
        client(kind, origin, nonce, signer)
    };
    let right = client("webauthn.get", ORIGIN, NONCE, SIGNER);
    assert_eq!(of(&data, &right), Ok(1));
    let others = [
        (client("webauthn.create", ORIGIN, NONCE, SIGNER), PasskeyFault::Challenge),
        (client("webauthn.get", ORIGIN, [9; 32], SIGNER), PasskeyFault::Challenge),
        (client("webauthn.get", ORIGIN, NONCE, NodeId([9; 32])), PasskeyFault::Challenge),
        (client("webauthn.get", "https://evil.example", NONCE, SIGNER), PasskeyFault::Origin),
        (b"{}".to_vec(), PasskeyFault::Unreadable),
    ];
    for (client, fault) in others {
        assert_eq!(of(&data, &client), Err(fault));
    }
    let framed = String::from_utf8(right.clone()).unwrap();
    for part in
        ["\"crossOrigin\":true", "\"crossOrigin\":false,\"topOrigin\":\"https://evil.example\""]
    {
        let framed = framed.replace("\"crossOrigin\":false", part);
        assert_ne!(framed.as_bytes(), right);
        assert_eq!(of(&data, framed.as_bytes()), Err(PasskeyFault::Origin), "{framed}");
    }
    assert_eq!(of(&head_data("evil.example", FLAGS, 1), &right), Err(PasskeyFault::Origin));
    for flags in [0, USER_PRESENT, USER_VERIFIED] {
        assert_eq!(of(&head_data(HOST, flags, 1), &right), Err(PasskeyFault::Unverified));
    }
    let flags = USER_PRESENT | USER_VERIFIED | BACKED_UP;
    assert_eq!(of(&head_data(HOST, flags, 1), &right), Err(PasskeyFault::Unreadable));
    for length in 0..37 {
        assert_eq!(of(&data[..length], &right), Err(PasskeyFault::Unreadable), "{length}");
    }

    let answer = device.answer((NONCE, SIGNER), OWNER, 1);
    let foreign = Device::es256(1).answer((NONCE, SIGNER), OWNER, 1);
    assert_eq!(answered(&foreign, &passkey, &wanted()), Err(PasskeyFault::Signature));
    let mut changed = BASE64URL_NOPAD.decode(answer.authenticator_data.as_bytes()).unwrap();
    changed[36] ^= 2;
    let changed = PasskeyAnswer { authenticator_data: text(&changed), ..answer.clone() };
    assert_eq!(answered(&changed, &passkey, &wanted()), Err(PasskeyFault::Signature));
    let others = PasskeyAnswer { account: text(&[9; 32]), ..answer };
    assert_eq!(answered(&others, &passkey, &wanted()), Err(PasskeyFault::Unknown));
}

#[test]
fn a_new_passkey_is_read_to_its_last_byte() {
    let device = Device::eddsa(2);
    let of = |data: &[u8]| {
        made(
            &NewPasskey { authenticator_data: text(data), ..device.make(NONCE, SIGNER) },
            &wanted(),
        )
    };
    let data = device.made_data(FLAGS);
    assert!(of(&data).is_ok());
    for length in 0..data.len() {
        assert!(of(&data[..length]).is_err(), "{length} bytes");
    }
    assert_eq!(of(&[&data[..], &[0]].concat()), Err(PasskeyFault::Unreadable));
    let extended = [&device.made_data(FLAGS | HAS_EXTENSIONS)[..], &[0xa0]].concat();
    assert!(of(&extended).is_ok(), "what else it says is not looked at");
    // RS256, in the place of the key.
    let at = data.len() - device.cose().len();
    let rsa = [&data[..at], &[0xa4, 1, 3, 3, 0x39, 1, 0, 0x20]].concat();
    assert_eq!(of(&rsa), Err(PasskeyFault::Kind));
    for client_data in ["", "%", &"A".repeat(10_000)] {
        let new = NewPasskey { client_data: client_data.to_owned(), ..device.make(NONCE, SIGNER) };
        assert_eq!(made(&new, &wanted()), Err(PasskeyFault::Unreadable));
    }
}
