//! Under which names the server may be asked, and whose pages may connect to it.
//!
//! Three questions, each answered from texts alone:
//!
//! | question | against |
//! |---|---|
//! | may a request name this host? | DNS rebinding: a stranger's name that leads to this machine |
//! | may a page of this origin connect? | other sites' pages that use their visitors' browsers |
//! | is what a node says it dialled this server? | a server in between that passes a challenge on |
//!
//! Addresses and `localhost` need no option, since nobody can make them lead elsewhere; a name does.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use axum::http::{HeaderMap, Uri, header};
use clap::Args;

use crate::client_address::forwarded_parameter;

/// Letters of a foreign name that are shown to people.
const SHOWN_LETTERS: usize = 100;

/// One `--public-origin` or `--allow-origin`: where people find a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOrigin {
    secure: bool,
    /// Host and, unless it is the scheme's own, port; lower case.
    authority: String,
}

/// Why a text is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no origin; write it as in a browser, such as https://potluck.example")]
pub struct NoOrigin(String);

impl FromStr for WebOrigin {
    type Err = NoOrigin;

    /// Reads `https://host[:port][/path]`; the path says nothing about an origin.
    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        let no_origin = || NoOrigin(clip(text));
        let uri: Uri = text.parse().map_err(|_| no_origin())?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(no_origin()),
        };
        let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let (host, _) = split_port(authority).ok_or_else(no_origin)?;
        if authority.contains('@') || host.is_empty() || uri.query().is_some() {
            return Err(no_origin());
        }
        Ok(Self { secure, authority: normal(authority, secure) })
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.authority)
    }
}

impl WebOrigin {
    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The port, or the one that the scheme has anyway.
    pub(crate) fn port(&self) -> u16 {
        let named = split_port(&self.authority).and_then(|(_, port)| port);
        named.unwrap_or(if self.secure { 443 } else { 80 })
    }

    pub(crate) fn host(&self) -> &str {
        split_port(&self.authority).map_or(&self.authority, |(host, _)| host)
    }
}

/// How a request reached the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Host and port as the client named them, lower case; what a trusted proxy says counts.
    pub(crate) host: Option<String>,
    /// What the request itself names. A proxy that leaves X-Forwarded-Host alone passes on what
    /// any script wrote there, so this has to be right as well.
    named: Option<String>,
    /// True if a trusted proxy says that it came over TLS.
    pub(crate) secure: bool,
    /// The server's address that the connection was accepted on.
    pub(crate) local: IpAddr,
}

impl Arrival {
    pub(crate) fn of(headers: &HeaderMap, through_proxy: bool, local: IpAddr) -> Self {
        let text = |name: &str| {
            let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
            value.rsplit(',').next().map(str::trim)
        };
        // The last one is the nearest proxy's.
        let forwarded = |old: &str, new: &str| {
            let value = text(old).or_else(|| forwarded_parameter(headers, new));
            value.filter(|value| through_proxy && !value.is_empty())
        };
        let named = text(header::HOST.as_str()).map(str::to_ascii_lowercase);
        let host = forwarded("x-forwarded-host", "host").map(str::to_ascii_lowercase);
        let host = host.or_else(|| named.clone());
        let secure = forwarded("x-forwarded-proto", "proto")
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        Self { host, named, secure, local: local.to_canonical() }
    }
}

/// The names and pages that the operator knows.
#[derive(Clone, Debug, Default, Args)]
pub struct Origins {
    /// Where visitors open the page, such as `https://potluck.example`, or
    /// `https://example.org/potluck` below a path: needed behind a proxy, and for every name but
    /// localhost. May be given several times.
    #[arg(long = "public-origin", env = "POTLUCK_PUBLIC_ORIGINS", value_delimiter = ',')]
    pub public_origins: Vec<WebOrigin>,
    /// Web origin, besides the server's own, whose pages may connect, such as
    /// `https://blog.example`. May be given several times.
    #[arg(long = "allow-origin", env = "POTLUCK_ALLOW_ORIGINS", value_delimiter = ',')]
    pub allow_origins: Vec<WebOrigin>,
}

impl Origins {
    /// The sentence for whoever asks under a name that may be anybody's.
    ///
    /// # Errors
    /// If the name is none of the server's.
    pub(crate) fn check_host(&self, arrival: &Arrival) -> Result<(), String> {
        // A browser always says which host it means; it is browsers that can be led astray.
        let is_unknown = |authority: &&String| {
            let host = split_port(authority).map_or(authority.as_str(), |(host, _)| host);
            let public = || self.public_origins.iter().any(|origin| origin.host() == host);
            !(address(host).is_some() || is_loopback_name(host) || public())
        };
        let mut named = [&arrival.host, &arrival.named].into_iter().flatten();
        let Some(authority) = named.find(is_unknown) else { return Ok(()) };
        let scheme = if arrival.secure { "https" } else { "http" };
        Err(format!(
            "this server was asked for as {authority}, which is no name that it knows. If it is \
             yours, start it with --public-origin {scheme}://{authority} (with https:// where \
             visitors use that); otherwise open it by its address",
            authority = clip(authority),
        ))
    }

    /// The sentence for a page that may not connect: it must be the server's own or allowed by
    /// name. Programs that are no browsers send no origin.
    ///
    /// # Errors
    /// If the page is somebody else's.
    pub(crate) fn check_page_origin(
        &self,
        origin: Option<&str>,
        arrival: &Arrival,
    ) -> Result<(), String> {
        let Some(text) = origin else { return Ok(()) };
        let known = |origin: &WebOrigin| {
            let host = arrival.host.as_deref().map(|host| normal(host, origin.secure));
            host.as_deref() == Some(&origin.authority)
                || self.public_origins.contains(origin)
                || self.allow_origins.contains(origin)
        };
        let parsed = text.parse::<WebOrigin>();
        if parsed.as_ref().is_ok_and(known) {
            return Ok(());
        }
        let (shown, host) = (clip(text), clip(arrival.host.as_deref().unwrap_or("no name")));
        Err(format!(
            "this page comes from {shown}, but the server was asked for as {host}, so it cannot tell \
             that the page is its own. Its operator can mend that: if a proxy such as nginx stands \
             before the server, with --public-origin {shown}; if the page is another site's, with \
             --allow-origin {shown}"
        ))
    }

    /// True if `dialled`, which a node signs with the challenge, is this server: scheme and
    /// authority of a public origin, or of the address that the connection was accepted on.
    pub(crate) fn is_own_origin(&self, dialled: &str, arrival: &Arrival) -> bool {
        let Ok(origin) = dialled.parse::<WebOrigin>() else { return false };
        let here = |origin: &WebOrigin| {
            is_loopback_name(origin.host())
                || address(origin.host()).is_some_and(|ip| ip == arrival.local)
        };
        // `trunk serve` on the developer's machine passes sockets on under its own address.
        let developers =
            || self.allow_origins.iter().any(|own| *own == origin && is_loopback_name(own.host()));
        let named = || {
            let host = arrival.host.as_deref().map(|host| normal(host, origin.secure));
            host.as_deref() == Some(&origin.authority)
        };
        self.public_origins.contains(&origin) || developers() || (named() && here(&origin))
    }

    /// True if the request came over TLS: a trusted proxy says so, or the name is one of a public
    /// origin that is only served so.
    pub(crate) fn is_secure(&self, arrival: &Arrival) -> bool {
        let host = arrival.host.as_deref().and_then(|host| split_port(host)).map(|(host, _)| host);
        arrival.secure
            || self.public_origins.iter().any(|own| own.secure && Some(own.host()) == host)
    }
}

/// Host and port of `host`, `host:port`, `[v6]` or `[v6]:port`; `None` if it is none of these.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let host_end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(host_end);
    match port.strip_prefix(':') {
        Some(port) => port.parse().ok().map(|port| (host, Some(port))),
        None => port.is_empty().then_some((host, None)),
    }
}

/// Lower case, without the port that the scheme has anyway.
fn normal(authority: &str, secure: bool) -> String {
    let default = if secure { 443 } else { 80 };
    let kept = match split_port(authority) {
        Some((host, Some(port))) if port == default => host,
        _ => authority,
    };
    kept.to_ascii_lowercase()
}

fn address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// `localhost` and names below it, which browsers resolve themselves (RFC 6761), and this machine's
/// own addresses.
fn is_loopback_name(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || address(host).is_some_and(|address| address.is_loopback())
}

/// As much of a foreign text as is shown.
fn clip(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(SHOWN_LETTERS).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        origins: Origins,
    }

    const PUBLIC: [&str; 3] =
        ["potluck-server", "--public-origin", "https://Potluck.example:443/below/"];

    fn config(arguments: &[&str]) -> Origins {
        Command::try_parse_from(arguments).unwrap().origins
    }

    fn arrival(host: &str) -> Arrival {
        let local = IpAddr::from([192, 0, 2, 5]);
        let host = (!host.is_empty()).then(|| host.to_owned());
        Arrival { named: host.clone(), host, secure: false, local }
    }

    #[test]
    fn origins_are_read_as_browsers_write_them() {
        let read = |text: &str| text.parse::<WebOrigin>().map(|origin| origin.to_string());
        for (text, origin) in [
            ("https://Potluck.example/", "https://potluck.example"),
            ("https://potluck.example:443/below", "https://potluck.example"),
            ("http://potluck.example:443", "http://potluck.example:443"),
            ("http://[2001:DB8::1]:80", "http://[2001:db8::1]"),
        ] {
            assert_eq!(read(text).unwrap(), origin);
        }
        for wrong in
            ["potluck.example", "ws://a", "https://", "https://a@b", "https://a?b", "null", "*"]
        {
            assert!(read(wrong).unwrap_err().to_string().contains("https://potluck.example"));
        }
    }

    #[test]
    fn a_name_that_is_not_known_may_be_anybodys() {
        let (plain, public) = (config(&["potluck-server"]), config(&PUBLIC));
        for good in
            ["", "127.0.0.1:8080", "192.168.1.5", "[::1]:8080", "localhost:1", "a.localhost"]
        {
            assert_eq!(plain.check_host(&arrival(good)), Ok(()), "{good}");
        }
        for name in ["potluck.example", "potluck.example:8080"] {
            assert_eq!(public.check_host(&arrival(name)), Ok(()));
            let said = plain.check_host(&arrival(name)).unwrap_err();
            assert!(said.contains(&format!("--public-origin http://{name}")), "{said}");
        }
        for bad in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "localhos"]
        {
            assert!(public.check_host(&arrival(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_own_and_allowed_pages_may_connect() {
        let plain = config(&["potluck-server", "--allow-origin", "https://blog.example/"]);
        let here = arrival("127.0.0.1:8080");
        for good in [None, Some("http://127.0.0.1:8080"), Some("https://blog.example")] {
            assert_eq!(plain.check_page_origin(good, &here), Ok(()), "{good:?}");
        }
        for bad in ["http://127.0.0.1", "https://evil.example", "null", ""] {
            assert!(plain.check_page_origin(Some(bad), &here).is_err(), "{bad:?}");
        }
        assert_eq!(
            plain.check_page_origin(Some("https://10.0.0.1"), &arrival("10.0.0.1:443")),
            Ok(())
        );
    }

    #[test]
    fn a_proxy_that_hides_the_host_is_explained_and_mended_by_one_option() {
        let (page, upstream) = (Some("https://potluck.example"), arrival("127.0.0.1:8080"));
        let said = config(&["potluck-server"]).check_page_origin(page, &upstream).unwrap_err();
        assert!(said.contains("--public-origin https://potluck.example"), "{said}");
        assert_eq!(config(&PUBLIC).check_page_origin(page, &upstream), Ok(()));
    }

    #[test]
    fn what_a_node_dialled_is_this_server_or_not() {
        let plain = config(&["potluck-server", "--allow-origin", "http://127.0.0.1:8000"]);
        let at = |host: &str, dialled: &str| plain.is_own_origin(dialled, &arrival(host));
        assert!(at("127.0.0.1:8080", "http://127.0.0.1:8080"));
        assert!(at("localhost:8080", "http://localhost:8080"));
        assert!(at("192.0.2.5:8080", "http://192.0.2.5:8080"), "the address it was accepted on");
        assert!(at("192.0.2.5", "https://192.0.2.5"));
        assert!(at("127.0.0.1:8080", "http://127.0.0.1:8000"), "the developer's trunk");
        // A server in between: what the node dialled is its address, whatever host it passes on.
        for host in ["192.0.2.5:8080", "192.0.2.66:8080", ""] {
            assert!(!at(host, "http://192.0.2.66:8080"), "{host}");
        }
        assert!(!at("evil.example", "http://evil.example"), "a name that anybody can have");
        for other in ["http://127.0.0.1:8081", "https://127.0.0.1", "127.0.0.1:8080", ""] {
            assert!(!at("127.0.0.1:8080", other), "{other:?}");
        }
        let public = config(&PUBLIC);
        let upstream = arrival("127.0.0.1:8080");
        assert!(public.is_own_origin("https://potluck.example", &upstream));
        assert!(!public.is_own_origin("http://potluck.example", &upstream));
        assert!(!public.is_own_origin("https://potluck.example.evil", &upstream));
        let blog = config(&["potluck-server", "--allow-origin", "https://blog.example"]);
        assert!(!blog.is_own_origin("https://blog.example", &upstream));
    }

    #[test]
    fn what_proxies_say_counts_only_if_they_are_trusted() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "127.0.0.1:8080"),
            ("x-forwarded-host", "evil.example, Potluck.example"),
            ("x-forwarded-proto", "http, https"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let local = IpAddr::from([127, 0, 0, 1]);
        let believed = Arrival::of(&headers, true, local);
        assert_eq!((believed.host.as_deref(), believed.secure), (Some("potluck.example"), true));
        let plain = Arrival::of(&headers, false, local);
        assert_eq!((plain.host.as_deref(), plain.secure), (Some("127.0.0.1:8080"), false));
        let rebound = Arrival { named: Some("evil.example".to_owned()), ..believed.clone() };
        assert!(config(&PUBLIC).check_host(&believed).is_ok());
        assert!(config(&PUBLIC).check_host(&rebound).is_err(), "a script wrote the other header");
        let (config, without) = (config(&PUBLIC), config(&["potluck-server"]));
        assert!(without.is_secure(&believed) && !without.is_secure(&plain));
        assert!(config.is_secure(&arrival("potluck.example")), "it is only served over TLS");
        assert!(!config.is_secure(&arrival("192.0.2.5")));
    }
}
