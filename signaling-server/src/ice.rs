//! The STUN and TURN servers that nodes are told of: read and refused at start, and for TURN with
//! credentials, without which a browser takes none of the list.
//!
//! A secret shared with the TURN server (coturn's `use-auth-secret`, the IETF draft
//! "A REST API For Access To TURN Services") makes credentials that end: the user name is the
//! moment of the end and whom it was made for, the password its HMAC-SHA1.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::time::Duration;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use potluck_protocol::id::NodeId;
use potluck_protocol::server::IceServer;
use sha1::Sha1;

/// How long made credentials open new relays. A relay that is open stays.
pub(crate) const CREDENTIAL_LIFETIME: Duration = Duration::from_secs(3600);
/// What an entry may begin with.
const SCHEMES: [&str; 4] = ["stun", "stuns", "turn", "turns"];

/// One `--ice-server`.
#[derive(Clone, PartialEq, Eq)]
pub struct IceEntry {
    url: String,
    is_relay: bool,
    credentials: Option<(String, String)>,
}

/// Why an entry is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IceError {
    /// Left out, or another one.
    #[error(
        "{0:?} does not begin with stun:, turn: or turns:; write stun:HOST:PORT, or \
         turn:USER:SECRET@HOST:PORT for a relay"
    )]
    Scheme(String),
    /// No host, or none that can be one.
    #[error("{0:?} names no host; write {1}:HOST or {1}:HOST:PORT, without //")]
    Host(String, String),
    /// No number of 1 to 65535.
    #[error("the port of {0:?} is not a number from 1 to 65535")]
    Port(String),
    /// Something behind `?` that is not the transport, or with STUN.
    #[error("{0:?}: behind ? only transport=udp or transport=tcp can stand, and only with turn:")]
    Transport(String),
    /// A user without a secret, or with STUN.
    #[error("the user of {0} needs a secret: turn:USER:SECRET@HOST:PORT; stun: takes neither")]
    Credentials(String),
    /// A relay that browsers would refuse.
    #[error(
        "{0} has no credentials, and without them browsers refuse the whole list: write \
         turn:USER:SECRET@HOST:PORT, or give the secret that coturn has as static-auth-secret \
         with --turn-secret"
    )]
    NoCredentials(String),
}

impl FromStr for IceEntry {
    type Err = IceError;

    fn from_str(text: &str) -> Result<Self, IceError> {
        let scheme = text.split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
        let Some((scheme, rest)) = scheme.filter(|(scheme, _)| SCHEMES.contains(&&**scheme)) else {
            return Err(IceError::Scheme(without_credentials(text)));
        };
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, rest),
        };
        let is_relay = scheme.starts_with("turn");
        let url = format!("{scheme}:{place}");
        let credentials = match credentials.map(|both| both.split_once(':')) {
            None => None,
            Some(Some((user, secret))) if is_relay && !user.is_empty() && !secret.is_empty() => {
                Some((user.to_owned(), secret.to_owned()))
            }
            Some(_) => return Err(IceError::Credentials(url)),
        };
        let (authority, query) = match place.split_once('?') {
            Some((authority, query)) => (authority, Some(query)),
            None => (place, None),
        };
        let known = ["transport=udp", "transport=tcp"];
        if query.is_some_and(|query| !is_relay || !known.contains(&query)) {
            return Err(IceError::Transport(url));
        }
        check_authority(authority, &url, &scheme)?;
        Ok(Self { url, is_relay, credentials })
    }
}

impl IceEntry {
    /// # Errors
    /// If it is a relay for which there would be no credentials.
    pub fn check(&self, has_turn_secret: bool) -> Result<(), IceError> {
        if self.wants_credentials() && !has_turn_secret {
            return Err(IceError::NoCredentials(self.url.clone()));
        }
        Ok(())
    }

    /// True if it is a relay whose credentials are made of the shared secret.
    pub(crate) fn wants_credentials(&self) -> bool {
        self.is_relay && self.credentials.is_none()
    }

    /// As a node is told of it at `now_unix_s`: with its credentials, or with some that were made of
    /// `turn_secret` for this node and end within the hour.
    pub(crate) fn for_node(
        &self,
        turn_secret: Option<&TurnSecret>,
        node: NodeId,
        now_unix_s: u64,
    ) -> IceServer {
        let made = || {
            let expiry = now_unix_s.saturating_add(CREDENTIAL_LIFETIME.as_secs());
            turn_secret.filter(|_| self.is_relay).map(|secret| secret.credentials(expiry, node))
        };
        let (username, credential) = self.credentials.clone().or_else(made).unzip();
        IceServer { urls: vec![self.url.clone()], username, credential }
    }
}

/// Secrets stay out of logs.
impl fmt::Debug for IceEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IceEntry").field(&self.url).finish()
    }
}

/// `--turn-secret`, shared with the TURN server.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnSecret(String);

impl FromStr for TurnSecret {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err("the secret is empty; it is what coturn has as static-auth-secret");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for TurnSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TurnSecret")
    }
}

impl TurnSecret {
    /// User name and password for one node, until `expiry_unix_s`.
    fn credentials(&self, expiry_unix_s: u64, node: NodeId) -> (String, String) {
        let username = format!("{expiry_unix_s}:{node}");
        let mut mac = Hmac::<Sha1>::new_from_slice(self.0.as_bytes())
            .expect("HMAC takes keys of every length");
        mac.update(username.as_bytes());
        let password = BASE64.encode(&mac.finalize().into_bytes());
        (username, password)
    }
}

/// `HOST` or `HOST:PORT`; an address of IPv6 in brackets.
fn check_authority(authority: &str, url: &str, scheme: &str) -> Result<(), IceError> {
    let no_host = || IceError::Host(url.to_owned(), scheme.to_owned());
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(no_host)?;
            address.parse::<Ipv6Addr>().map_err(|_| no_host())?;
            let port = port.strip_prefix(':').map(Some).or(port.is_empty().then_some(None));
            (address, port.ok_or_else(no_host)?)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    if host.is_empty() || !host.chars().all(letter) {
        return Err(no_host());
    }
    let is_port = |port: &str| {
        port.bytes().all(|digit| digit.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    match port {
        Some(port) if !is_port(port) => Err(IceError::Port(url.to_owned())),
        _ => Ok(()),
    }
}

/// What can be shown of an entry that was not understood.
fn without_credentials(text: &str) -> String {
    text.rsplit_once('@').map_or(text, |(_, place)| place).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let entry = text.parse::<IceEntry>();
        let refused = entry.and_then(|entry| entry.check(false).map(|()| entry));
        refused.expect_err(text).to_string()
    }

    #[test]
    fn entries_are_read_with_and_without_credentials() {
        let node = NodeId([1; 32]);
        let told = |text: &str| {
            let entry: IceEntry = text.parse().unwrap();
            entry.check(false).unwrap();
            let told = entry.for_node(None, node, 0);
            (told.urls.concat(), told.username, told.credential)
        };
        let (user, secret) = (Some("anna".to_owned()), Some("a:b@c".to_owned()));
        for plain in ["stun:stun.example.org", "stun:192.0.2.1:3478", "stuns:[2001:db8::1]:5349"] {
            assert_eq!(told(plain), (plain.to_owned(), None, None));
        }
        assert_eq!(
            told("turn:anna:a:b@c@turn.example.org:3478?transport=tcp"),
            ("turn:turn.example.org:3478?transport=tcp".to_owned(), user.clone(), secret.clone())
        );
        assert_eq!(told("TURNS:anna:a:b@c@host"), ("turns:host".to_owned(), user, secret));
    }

    #[test]
    fn what_browsers_would_refuse_is_refused_at_start() {
        for (text, words) in [
            ("stun.example.org:3478", "begin with stun:"),
            ("stun.example.org", "begin with stun:"),
            ("http://stun.example.org", "begin with stun:"),
            ("", "begin with stun:"),
            ("stun:", "names no host"),
            ("stun://stun.example.org", "without //"),
            ("stun:[::g]:1", "names no host"),
            ("stun:a b", "names no host"),
            ("stun:host:", "from 1 to 65535"),
            ("stun:host:0", "from 1 to 65535"),
            ("stun:host:+1", "from 1 to 65535"),
            ("stun:host:70000", "from 1 to 65535"),
            ("stun:[::1]3478", "names no host"),
            ("stun:host?transport=udp", "only with turn:"),
            ("turn:a:b@host?transport=sctp", "only transport=udp"),
            ("turn:anna@host", "needs a secret"),
            ("turn::b@host", "needs a secret"),
            ("stun:a:b@host", "takes neither"),
            ("turn:127.0.0.1:3478", "--turn-secret"),
            ("turn:x", "--turn-secret"),
        ] {
            let said = refusal(text);
            assert!(said.contains(words), "{text}: {said}");
        }
    }

    #[test]
    fn secrets_are_not_told_in_errors_or_logs() {
        for text in ["anna:hush@host", "turn:anna:hush@host:0", "turn:anna:hush@"] {
            assert!(!refusal(text).contains("hush"), "{text}");
        }
        let entry: IceEntry = "turn:anna:hush@host".parse().unwrap();
        let secret: TurnSecret = "hush".parse().unwrap();
        assert!(!format!("{entry:?} {secret:?}").contains("hush"));
        assert!("".parse::<TurnSecret>().is_err());
    }

    #[test]
    fn shared_secrets_make_the_known_credentials() {
        // Computed with `printf USER | openssl dgst -sha1 -hmac north -binary | base64`.
        let secret: TurnSecret = "north".parse().unwrap();
        let entry: IceEntry = "turn:turn.example.org".parse().unwrap();
        entry.check(true).unwrap();
        let node = NodeId([0x07; 32]);
        let told = entry.for_node(Some(&secret), node, 1_700_000_000);
        let name = format!("1700003600:{}", "07".repeat(32));
        assert_eq!(told.username.as_deref(), Some(name.as_str()));
        assert_eq!(told.credential.as_deref(), Some("G5FVeOBWCS/PQnawf4U9Pz36PAk="));
        // Own credentials win, and STUN takes none.
        let own: IceEntry = "turn:a:b@host".parse().unwrap();
        assert_eq!(own.for_node(Some(&secret), node, 0).username.as_deref(), Some("a"));
        let stun: IceEntry = "stun:host".parse().unwrap();
        assert_eq!(stun.for_node(Some(&secret), node, 0).username, None);
    }

    #[test]
    fn the_mac_is_that_of_rfc_2202() {
        // Test case 2 of section 3.
        let mut mac = Hmac::<Sha1>::new_from_slice(b"Jefe").unwrap();
        mac.update(b"what do ya want for nothing?");
        let digest = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
        assert_eq!(digest, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }
}
