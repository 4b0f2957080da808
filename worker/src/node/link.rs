//! The link to the server: dial, prove who we are, come back with growing patience when it is lost.

use std::time::Duration;

use potluck_net as net;
use potluck_protocol::id::NodeId;
use potluck_protocol::identity::{Identity, Purpose};
use potluck_protocol::page::{self, Notice};
use potluck_protocol::server::{IceServer, ToServer, challenge_bytes};
use potluck_protocol::{NUMERICS_VERSION, PROTOCOL_VERSION};

use super::Action;
use super::outbox::{Event, Outbox};

/// The link.
#[derive(Debug, Default)]
pub(super) struct Link {
    state: LinkState,
    url: String,
    /// Attempts since the last welcome.
    attempts: u32,
    /// As the server announced them, for peer connections.
    ice_servers: Vec<IceServer>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum LinkState {
    /// Never told to connect, or refused.
    #[default]
    Off,
    /// Dialling or proving; given up at this time.
    Opening(Duration),
    /// The server has welcomed this node.
    Open,
    /// Lost; dialled again at this time.
    Lost(Duration),
}

/// No server can be dialled at an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum AddressError {
    /// It has another scheme than a server of ours, or none.
    #[error(
        "{address:?} is not a server's address: it has to begin with http:// or https://, as in \
         http://127.0.0.1:8080"
    )]
    Scheme { address: String },
    /// There is no host, or characters that no host has.
    #[error("{address:?} is not a server's address: it names no host that could exist")]
    Host { address: String },
    /// What is behind the last colon is not a port.
    #[error("{address:?} is not a server's address: its port is not a number from 1 to 65535")]
    Port { address: String },
}

/// The first wait after a lost link. Short, because most losses are a server that restarts.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// The longest wait: a volunteer who leaves the page open overnight finds it lending in the
/// morning.
const LAST_RETRY: Duration = Duration::from_secs(30);
/// Dialling and proving together.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);

impl Link {
    pub(super) fn is_open(&self) -> bool {
        self.state == LinkState::Open
    }

    pub(super) fn is_off(&self) -> bool {
        self.state == LinkState::Off
    }

    pub(super) fn ice_servers(&self) -> &[IceServer] {
        &self.ice_servers
    }

    /// Dials a server. An address that cannot be one is refused at once: no patience makes it
    /// better.
    pub(super) fn connect(&mut self, server: &str, now: Duration, outbox: &mut Outbox) {
        match socket_url(server) {
            Ok(url) => {
                self.url = url;
                self.attempts = 0;
                self.dial(now, outbox);
            }
            Err(error) => self.give_up(error.to_string(), error.to_string(), outbox),
        }
    }

    fn dial(&mut self, now: Duration, outbox: &mut Outbox) {
        self.state = LinkState::Opening(now + OPEN_TIMEOUT);
        outbox.notice(Notice::Link(page::Link::Connecting));
        outbox.act(Action::Transport(net::Command::OpenServer { url: self.url.clone() }));
    }

    /// The socket is open: this node introduces itself.
    pub(super) fn handle_open(me: NodeId, outbox: &mut Outbox) {
        outbox.send_server(&ToServer::Hello {
            protocol: PROTOCOL_VERSION,
            numerics: NUMERICS_VERSION,
            node: me,
        });
    }

    /// The server wants proof of the key.
    pub(super) fn handle_challenge(
        &self,
        nonce: &[u8; 32],
        identity: &Identity,
        outbox: &mut Outbox,
    ) {
        let origin = origin(&self.url);
        let bytes = challenge_bytes(nonce, identity.node(), &origin);
        let signature = identity.sign(Purpose::Challenge, &bytes);
        outbox.send_server(&ToServer::Prove { origin, signature });
    }

    pub(super) fn handle_welcome(&mut self, ice_servers: Vec<IceServer>, outbox: &mut Outbox) {
        self.ice_servers = ice_servers;
        self.state = LinkState::Open;
        self.attempts = 0;
        outbox.notice(Notice::Link(page::Link::Open));
    }

    /// The server does not want this node.
    pub(super) fn handle_refused(&mut self, reason: String, outbox: &mut Outbox) {
        let for_questions = format!("the server refused this node: {reason}");
        self.give_up(reason, for_questions, outbox);
    }

    fn give_up(&mut self, reason: String, for_questions: String, outbox: &mut Outbox) {
        self.state = LinkState::Off;
        outbox.act(Action::Transport(net::Command::CloseServer));
        outbox.raise(Event::LinkRefused { reason: for_questions });
        outbox.notice(Notice::Link(page::Link::Refused { reason }));
    }

    /// The link is gone, and is dialled again after a wait.
    pub(super) fn handle_lost(
        &mut self,
        reason: String,
        me: NodeId,
        now: Duration,
        outbox: &mut Outbox,
    ) {
        if self.is_off() {
            return;
        }
        let wait = self.retry_after(me.0[2]);
        self.attempts += 1;
        self.state = LinkState::Lost(now + wait);
        outbox.act(Action::Transport(net::Command::CloseServer));
        outbox.raise(Event::LinkLost);
        let retry_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        outbox.notice(Notice::Link(page::Link::Lost { reason, retry_ms }));
    }

    pub(super) fn tick(&mut self, me: NodeId, now: Duration, outbox: &mut Outbox) {
        match self.state {
            LinkState::Lost(at) if now >= at => self.dial(now, outbox),
            LinkState::Opening(at) if now >= at => {
                let reason = "the server did not answer in time".to_owned();
                self.handle_lost(reason, me, now, outbox);
            }
            _ => {}
        }
    }

    /// Doubles from [`FIRST_RETRY`] to [`LAST_RETRY`], then is stretched by up to a half, by the
    /// node's own id and the attempt, so that the nodes of a restarted server do not all come back
    /// in the same instant.
    fn retry_after(&self, spread: u8) -> Duration {
        let doubled = FIRST_RETRY.saturating_mul(1 << self.attempts.min(10)).min(LAST_RETRY);
        let part =
            u32::from(spread.wrapping_mul(37).wrapping_add((self.attempts % 251) as u8 ^ 0x5a));
        doubled + doubled * part / 512
    }
}

/// `http://host` → `ws://host/api/v1/socket`.
///
/// By hand, as `url` is not among what the worker's WebAssembly links, and its tables of domain
/// names would cost more than all of the node's own code; the platform parses the result again.
fn socket_url(server: &str) -> Result<String, AddressError> {
    let address = || server.to_owned();
    let (scheme, rest) = match server.split_once("://") {
        Some(("http", rest)) => ("ws", rest),
        Some(("https", rest)) => ("wss", rest),
        _ => return Err(AddressError::Scheme { address: address() }),
    };
    let rest = rest.trim_end_matches('/');
    let authority = rest.split('/').next().unwrap_or_default();
    // An IPv6 address stands in brackets, as it has colons of its own.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match bracketed {
        Some(ipv6) => ipv6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
            host.chars().any(char::is_alphanumeric) && host.chars().all(allowed)
        }
    };
    if !is_host || rest.contains(['?', '#', '\\']) || rest.contains(char::is_whitespace) {
        return Err(AddressError::Host { address: address() });
    }
    if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port != 0)) {
        return Err(AddressError::Port { address: address() });
    }
    Ok(format!("{scheme}://{rest}/api/v1/socket"))
}

/// `ws://host:port/path` → `http://host:port`, as a browser names the origin of a page from there.
fn origin(socket_url: &str) -> String {
    let (scheme, rest) = socket_url.split_once("://").unwrap_or_default();
    let scheme = if scheme == "wss" { "https" } else { "http" };
    let authority = rest.split('/').next().unwrap_or_default();
    format!("{scheme}://{}", authority.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_under_the_servers_address() {
        for (server, socket) in [
            ("http://127.0.0.1:8080/", "ws://127.0.0.1:8080/api/v1/socket"),
            ("https://potluck.example", "wss://potluck.example/api/v1/socket"),
            ("http://[::1]:8080", "ws://[::1]:8080/api/v1/socket"),
            ("http://[::1]", "ws://[::1]/api/v1/socket"),
            ("http://host/below", "ws://host/below/api/v1/socket"),
        ] {
            assert_eq!(socket_url(server).as_deref(), Ok(socket));
        }
    }

    #[test]
    fn a_node_signs_the_origin_that_it_dialled() {
        for (socket, signed) in [
            ("ws://127.0.0.1:8080/api/v1/socket", "http://127.0.0.1:8080"),
            ("wss://Potluck.example/below/api/v1/socket", "https://potluck.example"),
        ] {
            assert_eq!(origin(socket), signed);
        }
    }

    #[test]
    fn addresses_that_cannot_be_dialled_are_refused() {
        let scheme = |address: &str| AddressError::Scheme { address: address.to_owned() };
        let host = |address: &str| AddressError::Host { address: address.to_owned() };
        let port = |address: &str| AddressError::Port { address: address.to_owned() };
        for address in ["foo", "", "127.0.0.1:8080", "ftp://host", "httpx://host"] {
            assert_eq!(socket_url(address), Err(scheme(address)));
        }
        for address in ["http://", "http://:80", "http://a b", "https://[::zz]:1", "http://h?x"] {
            assert_eq!(socket_url(address), Err(host(address)));
        }
        for address in ["http://host:", "http://host:0", "http://host:99999", "http://host:http"] {
            assert_eq!(socket_url(address), Err(port(address)));
        }
    }

    #[test]
    fn an_impossible_address_is_refused_once_and_not_dialled() {
        let (mut link, mut outbox) = (Link::default(), Outbox::default());
        link.connect("foo", Duration::ZERO, &mut outbox);
        let is_refusal = |action: &Action| {
            matches!(action, Action::Notice(Notice::Link(page::Link::Refused { reason }))
                if reason.contains("\"foo\" is not a server's address"))
        };
        assert!(outbox.actions.iter().any(is_refusal), "{:?}", outbox.actions);
        link.tick(NodeId([0; 32]), Duration::from_secs(60), &mut outbox);
        let dials =
            |action: &Action| matches!(action, Action::Transport(net::Command::OpenServer { .. }));
        assert!(link.is_off() && !outbox.actions.iter().any(dials), "{:?}", outbox.actions);
    }

    #[test]
    fn waits_grow_and_stay_bounded() {
        let mut link = Link::default();
        let mut last = Duration::ZERO;
        for attempts in 0..40 {
            link.attempts = attempts;
            let wait = link.retry_after(7);
            assert!(wait >= FIRST_RETRY && wait <= LAST_RETRY * 3 / 2, "{wait:?}");
            if attempts < 5 {
                assert!(wait > last, "attempt {attempts}: {wait:?} after {last:?}");
            }
            last = wait;
        }
    }
}
