//! Where a server's socket is, and the origin that this node signs when it dials it.

/// No server can be dialled at an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum AddressError {
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

/// `http://host` → `ws://host/api/v1/socket`.
///
/// By hand, as `url` is not among what the worker's WebAssembly links, and its tables of domain
/// names would cost more than all of the node's own code; the platform parses the result again.
pub(super) fn socket_url(server: &str) -> Result<String, AddressError> {
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
pub(super) fn origin(socket_url: &str) -> String {
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
}
