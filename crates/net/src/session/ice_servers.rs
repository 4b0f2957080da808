//! Which of the server's entries for ICE the WebRTC stack is given.
//!
//! A browser refuses to make any connection at all when one entry is not to its liking (a `turn:`
//! without credentials, a scheme that it does not know), and so does webrtc-rs; so bad entries are
//! left out, because most connections need none of them.

use core::net::IpAddr;
use std::sync::Once;

use potluck_protocol::server::IceServer;

/// Entries that are used. Each costs a request from every address of this node, and browsers warn
/// from five on.
const MAX_SERVERS: usize = 8;

/// Why an address is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum BadAddress {
    #[error("it begins with neither stun:, stuns:, turn: nor turns:")]
    Scheme,
    #[error("it names no host")]
    Host,
    #[error("its port is none")]
    Port,
    #[error("what follows the question mark is not understood")]
    Query,
    #[error("a relay needs a user name and a password")]
    Credentials,
}

/// The entries without what a WebRTC stack would refuse. What is left out is said once, in the log.
pub(crate) fn usable(servers: &[IceServer]) -> Vec<IceServer> {
    let mut kept = Vec::new();
    let mut refused = Vec::new();
    for server in servers {
        let has_credentials = [&server.username, &server.credential]
            .into_iter()
            .all(|word| word.as_ref().is_some_and(|word| !word.is_empty()));
        let mut urls = Vec::new();
        for url in &server.urls {
            match check(url, has_credentials) {
                Ok(()) => urls.push(url.clone()),
                Err(why) => refused.push(format!("{url:?}: {why}")),
            }
        }
        if !urls.is_empty() {
            kept.push(IceServer { urls, ..server.clone() });
        }
    }
    if kept.len() > MAX_SERVERS {
        refused.push(format!("{} entries, of which {MAX_SERVERS} are used", kept.len()));
        kept.truncate(MAX_SERVERS);
    }
    if !refused.is_empty() {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            tracing::warn!(
                refused = refused.join("; "),
                "ICE servers that cannot be used are left out"
            );
        });
    }
    kept
}

/// True if one of the entries tells a node its public address.
pub(crate) fn tell_addresses(servers: &[IceServer]) -> bool {
    servers.iter().any(|server| !server.urls.is_empty())
}

/// RFC 7064 and 7065, as far as browsers follow them.
fn check(url: &str, has_credentials: bool) -> Result<(), BadAddress> {
    let (scheme, rest) = url.split_once(':').ok_or(BadAddress::Scheme)?;
    let is_relay = match scheme.to_ascii_lowercase().as_str() {
        "stun" | "stuns" => false,
        "turn" | "turns" => true,
        _ => return Err(BadAddress::Scheme),
    };
    let (host_and_port, query) = match rest.split_once('?') {
        Some((host_and_port, query)) => (host_and_port, Some(query)),
        None => (rest, None),
    };
    match query {
        None => {}
        Some("transport=udp" | "transport=tcp") if is_relay => {}
        Some(_) => return Err(BadAddress::Query),
    }
    let (host, port) = if let Some(bracketed) = host_and_port.strip_prefix('[') {
        let (host, port) = bracketed.split_once(']').ok_or(BadAddress::Host)?;
        if !host.parse::<IpAddr>().is_ok_and(|host| host.is_ipv6()) {
            return Err(BadAddress::Host);
        }
        (host, if port.is_empty() { None } else { port.strip_prefix(':').or(Some("")) })
    } else {
        match host_and_port.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host_and_port, None),
        }
    };
    let is_named = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
    if !is_named {
        return Err(BadAddress::Host);
    }
    if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port != 0)) {
        return Err(BadAddress::Port);
    }
    if is_relay && !has_credentials {
        return Err(BadAddress::Credentials);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(urls: &[&str], credentials: Option<&str>) -> IceServer {
        IceServer {
            urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            username: credentials.map(str::to_owned),
            credential: credentials.map(str::to_owned),
        }
    }

    #[test]
    fn addresses_that_browsers_take_are_kept() {
        for url in [
            "stun:stun.example.org",
            "stun:stun.example.org:3478",
            "stuns:1.2.3.4:5349",
            "STUN:[2001:db8::1]:3478",
            "turn:turn.example.org?transport=udp",
            "turns:[::1]?transport=tcp",
        ] {
            assert_eq!(check(url, true), Ok(()), "{url}");
        }
    }

    #[test]
    fn addresses_that_browsers_throw_at_are_left_out() {
        for (url, why) in [
            ("stun.example.org:3478", BadAddress::Scheme),
            ("stun.example.org", BadAddress::Scheme),
            ("https://stun.example.org", BadAddress::Scheme),
            ("stun:", BadAddress::Host),
            ("stun://stun.example.org", BadAddress::Host),
            ("stun:a b", BadAddress::Host),
            ("stun:[1.2.3.4]", BadAddress::Host),
            ("stun:[::1", BadAddress::Host),
            ("stun:a:0", BadAddress::Port),
            ("stun:a:70000", BadAddress::Port),
            ("stun:[::1]x", BadAddress::Port),
            ("stun:a?transport=udp", BadAddress::Query),
            ("turn:a?transport=sctp", BadAddress::Query),
        ] {
            assert_eq!(check(url, true), Err(why), "{url}");
        }
        assert_eq!(check("turn:turn.example.org", false), Err(BadAddress::Credentials));
    }

    #[test]
    fn a_bad_entry_does_not_take_a_good_one_with_it() {
        let good = entry(&["stun:a"], None);
        let relay = entry(&["turn:b"], Some("secret"));
        let mixed = entry(&["stun:c", "turn:c"], None);
        let empty = entry(&["turn:d"], Some(""));
        let all = [entry(&["turn:b"], None), good.clone(), empty, relay.clone(), mixed];
        assert_eq!(usable(&all), [good, relay, entry(&["stun:c"], None)]);
        assert!(!tell_addresses(&usable(&[entry(&["x"], None), entry(&[], None)])));
        let many = vec![entry(&["stun:a"], None); MAX_SERVERS + 5];
        assert_eq!(usable(&many).len(), MAX_SERVERS);
    }
}
