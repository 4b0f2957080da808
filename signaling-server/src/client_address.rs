//! Whose request it is: the address of the connection, or what a trusted proxy says of it.
//!
//! A proxy adds the address that it was reached from at the right end of `X-Forwarded-For` or
//! `Forwarded` (RFC 7239). What stands further left came from outside and may be anything, so the
//! lists are read from the right, and only as far as trusted proxies wrote them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// Where RFC 7239's header and its predecessor stand.
const FORWARDED: &str = "forwarded";
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The address of whoever sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientAddress(IpAddr);

impl ClientAddress {
    /// An address; one of IPv4 that is written as IPv6 is one of IPv4.
    pub(crate) fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    /// Of a request that came from `peer`, through proxies of the networks `trusted` if `peer` is
    /// one of them. Where the headers cannot be read, or contradict each other, it is the proxy's
    /// own: nobody gains by sending nonsense.
    pub(crate) fn of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let peer = Self::new(peer);
        if !is_trusted(peer.0, trusted) {
            return peer;
        }
        let known = [
            client(hops(headers, X_FORWARDED_FOR, plain_hop), trusted),
            client(hops(headers, FORWARDED, forwarded_hop), trusted),
        ];
        // A proxy that writes one of the headers passes the other on as its visitor sent it.
        match known {
            [Hop::Absent, Hop::Absent] => peer,
            [Hop::At(one), Hop::Absent] | [Hop::Absent, Hop::At(one)] => Self::new(one),
            [Hop::At(one), Hop::At(other)] if one == other => Self::new(one),
            _ => peer,
        }
    }

    #[cfg(test)]
    pub(crate) fn ip(self) -> IpAddr {
        self.0
    }

    /// What is counted as one visitor's place: of IPv6 the network of 64 bits, which is what a
    /// provider gives to one household at least.
    pub(crate) fn key(self) -> IpAddr {
        match self.0 {
            IpAddr::V4(_) => self.0,
            IpAddr::V6(address) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
        }
    }
}

/// True if `address` is a proxy whose headers count.
pub(crate) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// What the headers say at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hop {
    Absent,
    Unreadable,
    At(IpAddr),
}

/// The rightmost address that is no trusted proxy's; if all are, the leftmost.
fn client(hops: Option<Vec<Option<IpAddr>>>, trusted: &[IpNet]) -> Hop {
    let Some(hops) = hops else { return Hop::Absent };
    let mut last = Hop::Absent;
    for hop in hops.into_iter().rev() {
        let Some(address) = hop else { return Hop::Unreadable };
        last = Hop::At(address);
        if !is_trusted(address, trusted) {
            break;
        }
    }
    last
}

/// All entries of a header that may come several times; `None` if it does not come.
fn hops(
    headers: &HeaderMap,
    name: &str,
    read: impl Fn(&str) -> Option<IpAddr>,
) -> Option<Vec<Option<IpAddr>>> {
    let mut found = None;
    for line in headers.get_all(name) {
        let all: &mut Vec<Option<IpAddr>> = found.get_or_insert_default();
        match line.to_str() {
            Ok(line) => all.extend(split_unquoted(line, ',').map(|entry| read(entry.trim()))),
            Err(_) => all.push(None),
        }
    }
    found
}

/// `192.0.2.1`, `2001:db8::1`, and both with a port, as some proxies write them.
fn plain_hop(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']'));
    let address = bare.unwrap_or(entry).parse::<IpAddr>();
    address.or_else(|_| entry.parse::<SocketAddr>().map(|address| address.ip())).ok()
}

/// The `for` of `for=192.0.2.1;proto=https`.
fn forwarded_hop(entry: &str) -> Option<IpAddr> {
    plain_hop(parameter(entry, "for")?)
}

/// A parameter of the rightmost entry of `Forwarded`.
pub(crate) fn forwarded_parameter<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let line = headers.get_all(FORWARDED).iter().next_back()?.to_str().ok()?;
    parameter(split_unquoted(line, ',').last()?, name)
}

/// The value of `name=value` among parameters, without its quotes.
fn parameter<'a>(entry: &'a str, name: &str) -> Option<&'a str> {
    split_unquoted(entry, ';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = value.trim();
        let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        key.trim().eq_ignore_ascii_case(name).then_some(unquoted.unwrap_or(value))
    })
}

/// Parts between separators that stand outside of quotes.
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |letter| {
        quoted ^= letter == '"';
        letter == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn seen(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let trusted = ["127.0.0.0/8", "::1/128", "10.0.0.0/8"].map(|net| net.parse().unwrap());
        ClientAddress::of(peer.parse().unwrap(), &map, &trusted).ip().to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let spoofed = [("x-forwarded-for", "198.51.100.7")];
        assert_eq!(seen("203.0.113.9", &spoofed), "203.0.113.9");
        assert_eq!(seen("127.0.0.1", &spoofed), "198.51.100.7");
        assert_eq!(seen("::ffff:127.0.0.1", &spoofed), "198.51.100.7");
        assert_eq!(seen("127.0.0.1", &[]), "127.0.0.1");
    }

    #[test]
    fn lists_are_read_from_the_right() {
        let of = |list| seen("127.0.0.1", &[("x-forwarded-for", list)]);
        assert_eq!(
            of("1.1.1.1, 198.51.100.7"),
            "198.51.100.7",
            "the left one is the visitor's own word"
        );
        assert_eq!(of("1.1.1.1, 198.51.100.7, 10.0.0.2"), "198.51.100.7");
        assert_eq!(of("10.0.0.3, 10.0.0.2"), "10.0.0.3");
        assert_eq!(of("nonsense, 198.51.100.7"), "198.51.100.7");
        assert_eq!(of("198.51.100.7:4711"), "198.51.100.7");
        assert_eq!(of("2001:db8::7"), "2001:db8::7");
        assert_eq!(of("[2001:db8::7]:443"), "2001:db8::7");
        let twice = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "198.51.100.7")];
        assert_eq!(seen("127.0.0.1", &twice), "198.51.100.7");
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_writes_it() {
        let of = |list| seen("127.0.0.1", &[("forwarded", list)]);
        assert_eq!(of("for=1.1.1.1, For=198.51.100.7;proto=https;by=10.0.0.1"), "198.51.100.7");
        assert_eq!(of("proto=http; for=\"[2001:db8::7]:4711\""), "2001:db8::7");
        assert_eq!(of("for=\"1.1.1.1, for=2.2.2.2\", for=198.51.100.7"), "198.51.100.7");
        for unreadable in ["for=unknown", "for=_hidden", "proto=https", "", "for=\"1.1.1.1"] {
            assert_eq!(of(unreadable), "127.0.0.1", "{unreadable:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_or_contradicts_itself_is_the_proxys() {
        for list in ["unknown", "", "198.51.100.7, unknown", "198.51.100.7 1.1.1.1", "1.1.1.1,"] {
            assert_eq!(seen("127.0.0.1", &[("x-forwarded-for", list)]), "127.0.0.1", "{list:?}");
        }
        let both =
            |other| seen("127.0.0.1", &[("x-forwarded-for", "198.51.100.7"), ("forwarded", other)]);
        assert_eq!(both("for=198.51.100.7"), "198.51.100.7");
        assert_eq!(both("for=1.1.1.1"), "127.0.0.1", "a visitor wrote one of them");
    }

    #[test]
    fn parameters_are_those_of_the_nearest_proxy() {
        let mut headers = HeaderMap::new();
        let line =
            HeaderValue::from_static("proto=http;host=a, for=1.1.1.1;proto=https;host=\"b:1\"");
        headers.insert("forwarded", line);
        assert_eq!(forwarded_parameter(&headers, "proto"), Some("https"));
        assert_eq!(forwarded_parameter(&headers, "host"), Some("b:1"));
        assert_eq!(forwarded_parameter(&headers, "by"), None);
    }

    #[test]
    fn a_household_of_ipv6_is_one_place() {
        let key = |text: &str| ClientAddress::new(text.parse().unwrap()).key().to_string();
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(key("2001:db8:1:2:ffff::1"), "2001:db8:1:2::");
        assert_eq!(key("2001:db8:1:3::1"), "2001:db8:1:3::");
        assert_eq!(key("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
