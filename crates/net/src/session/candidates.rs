//! Which of a peer's ICE candidates are used.
//!
//! A candidate is an address that a peer wants this node to send packets to, so it is looked at
//! before the WebRTC stack hears of it: a stranger must not make a volunteer's machine knock at its
//! own services or at its neighbours'. Loopback, link-local and private addresses count only where
//! this node is on such a network itself, which shows in the addresses that its own stack finds and
//! in the server that it dialled.
//!
//! TCP candidates are never used: no node listens for them, and a passive one would make this node
//! dial any service.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use potluck_protocol::codec::MAX_CANDIDATE_BYTES;

/// Where an address can be reached from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// This machine.
    Loopback,
    /// The same cable or Wi-Fi.
    LinkLocal,
    /// A network that is not the internet: a home, a company, a provider's inside, a VPN.
    Private,
    /// Everywhere.
    Public,
}

impl Reach {
    /// Where `address` can be reached from. `None`: it is nobody's (unspecified, broadcast,
    /// reserved) or everybody's (multicast).
    pub(super) fn of(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Option<Self> {
        match address.octets() {
            [0 | 224..=255, ..] => None,
            [127, ..] => Some(Self::Loopback),
            [169, 254, ..] => Some(Self::LinkLocal),
            // 100.64/10 is a provider's inside (RFC 6598) or a VPN such as Tailscale; 198.18/15 is
            // for measurements inside a network (RFC 2544).
            [10, ..]
            | [172, 16..=31, ..]
            | [192, 168, ..]
            | [100, 64..=127, ..]
            | [198, 18..=19, ..] => Some(Self::Private),
            _ => Some(Self::Public),
        }
    }

    fn of_v6(address: Ipv6Addr) -> Option<Self> {
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 1] => Some(Self::Loopback),
            // Unspecified, and the old way to write IPv4 addresses.
            [0, 0, 0, 0, 0, 0, ..] => None,
            [0xff00..=0xffff, ..] => None,
            [0xfe80..=0xfebf, ..] => Some(Self::LinkLocal),
            // fc00::/7 (RFC 4193), and fec0::/10, which it replaced.
            [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Some(Self::Private),
            // An IPv4 address by way of a translator (RFC 6052).
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
                Self::of_v4(Ipv4Addr::new(a, b, c, d))
            }
            _ => Some(Self::Public),
        }
    }
}

/// Which networks beside the internet this node is on, as far as it knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Networks {
    loopback: bool,
    link_local: bool,
    private: bool,
}

/// Names that only a private network's own servers know: RFC 8375, ICANN's `internal`, mDNS, and
/// what home routers use.
const PRIVATE_SUFFIXES: [&str; 5] = [".home.arpa", ".internal", ".local", ".lan", ".home"];

impl Networks {
    /// What follows from the server that was dialled at `url`: nodes that meet at a server on this
    /// machine are on this machine, those that meet at one in a private network are in it.
    pub(crate) fn of_server(url: &str) -> Self {
        let mut networks = Self::default();
        let Some(host) = host(url) else { return networks };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        match host.parse() {
            Ok(address) => networks.add(address),
            Err(_) if host == "localhost" || host.ends_with(".localhost") => {
                networks.loopback = true;
            }
            Err(_) => {
                networks.private =
                    !host.contains('.') || PRIVATE_SUFFIXES.iter().any(|end| host.ends_with(end));
            }
        }
        networks
    }

    /// What follows from a candidate that this node's own stack found.
    pub(super) fn learn(&mut self, own: &Target) {
        match own {
            Target::Address { address, is_host: true } => self.add(*address),
            Target::Address { .. } => {}
            // A browser's way to hide an address, which a public one does not need.
            Target::Name => (self.private, self.link_local) = (true, true),
        }
    }

    fn add(&mut self, address: IpAddr) {
        match Reach::of(address) {
            Some(Reach::Loopback) => self.loopback = true,
            Some(Reach::LinkLocal) => self.link_local = true,
            Some(Reach::Private) => self.private = true,
            Some(Reach::Public) | None => {}
        }
    }

    /// True if packets may be sent to what a peer's candidate names.
    pub(super) fn allow(self, target: &Target) -> bool {
        match target {
            // It is asked for on this node's own cable or Wi-Fi only, and who answers is there.
            Target::Name => true,
            Target::Address { address, .. } => match Reach::of(*address) {
                Some(Reach::Loopback) => self.loopback,
                Some(Reach::LinkLocal) => self.link_local,
                Some(Reach::Private) => self.private,
                Some(Reach::Public) => true,
                None => false,
            },
        }
    }
}

/// The host of an address such as `wss://user@[::1]:8080/path`, without brackets and port.
fn host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host_and_port = authority.rsplit('@').next()?;
    match host_and_port.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next(),
        None => host_and_port.split(':').next(),
    }
    .filter(|host| !host.is_empty())
}

/// What a candidate leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Address {
        address: IpAddr,
        /// An interface's own address, as opposed to one that a server saw or lent.
        is_host: bool,
    },
    /// A name that mDNS resolves.
    Name,
}

/// A candidate that no node of ours can use, whatever network it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    /// It is no candidate line, or longer than any.
    #[error("it is no candidate")]
    Malformed,
    /// It is not for the one component that data channels have.
    #[error("it is for a component that data channels do not have")]
    Component,
    /// It is not UDP.
    #[error("only UDP is used")]
    Protocol,
    /// Its port is 0.
    #[error("port 0 is nobody's")]
    Port,
    /// Its address is no address, or nobody's, or a name that is not an mDNS one.
    #[error("its address is nobody's")]
    Address,
}

/// Reads a candidate line (RFC 8839, 5.1), with or without what may stand before it.
pub(super) fn target(line: &str) -> Result<Target, Unusable> {
    if line.len() > MAX_CANDIDATE_BYTES || line.chars().any(char::is_control) {
        return Err(Unusable::Malformed);
    }
    let line = line.strip_prefix("a=").unwrap_or(line);
    let words: Vec<&str> =
        line.strip_prefix("candidate:").unwrap_or(line).split_ascii_whitespace().collect();
    let [_foundation, component, protocol, _priority, address, port, "typ", kind, ..] = words[..]
    else {
        return Err(Unusable::Malformed);
    };
    let is_host = match kind {
        "host" => true,
        "srflx" | "prflx" | "relay" => false,
        _ => return Err(Unusable::Malformed),
    };
    if component != "1" {
        return Err(Unusable::Component);
    }
    if !protocol.eq_ignore_ascii_case("udp") {
        return Err(Unusable::Protocol);
    }
    match port.parse::<u16>() {
        Ok(0) => return Err(Unusable::Port),
        Ok(_) => {}
        Err(_) => return Err(Unusable::Malformed),
    }
    match address.parse() {
        Ok(address) if Reach::of(address).is_some() => Ok(Target::Address { address, is_host }),
        Err(_) if is_host && is_mdns_name(address) => Ok(Target::Name),
        Ok(_) | Err(_) => Err(Unusable::Address),
    }
}

/// True for `LABEL.local`, the one form of name that hides an address. Others would make this
/// node's resolver ask whomever the peer likes.
fn is_mdns_name(name: &str) -> bool {
    name.strip_suffix(".local").is_some_and(|label| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

#[cfg(test)]
#[path = "candidates_tests.rs"]
mod tests;
