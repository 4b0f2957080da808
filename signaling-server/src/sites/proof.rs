//! Asks a site whether it carries its key: in a file, or in a meta tag of its front page.
//!
//! The address comes from a stranger, so everything about the request is bounded: where it goes
//! ([`super::address`], looked up once and then held to, so that a name cannot mean another address
//! a moment later), how long it takes, how much is read, and that a redirect stays within the origin.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::uri::PathAndQuery;
use axum::http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use potluck_protocol::id::SiteKey;
use potluck_protocol::site::PROOF_PATH;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::address::is_public;
use super::origin::SiteOrigin;

/// For everything about one origin: two pages of a slow site.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of a page this much is looked at: the head of a front page with all its styles in it.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// From the file to the front page's language, and one more.
const MAX_REDIRECTS: usize = 2;
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 4;
/// Name of the meta tag, as in `<meta name="potluck-site" content="KEY">`.
const META: &str = "potluck-site";

/// Why an origin has not proved a key.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoProof {
    /// The name leads nowhere, or to an address that is not public.
    #[error("its name leads to no public address")]
    Address,
    /// It does not speak HTTP, or not in time.
    #[error("it could not be asked: {0}")]
    Unreachable(String),
    /// It answers, without the key.
    #[error("neither {PROOF_PATH} nor a meta tag of its front page names the key")]
    Absent,
}

/// Asks `origin` for `key`.
pub(super) async fn prove(
    origin: &SiteOrigin,
    key: SiteKey,
    is_private_allowed: bool,
) -> Result<(), NoProof> {
    let asking = async {
        let addresses = addresses(origin, is_private_allowed).await?;
        let site = Site { origin, addresses };
        let key = key.to_string();
        let file = site.get(PROOF_PATH).await?;
        if file.is_some_and(|file| file.split_whitespace().any(|word| word == key)) {
            return Ok(());
        }
        let page = site.get("/").await?;
        if page.is_some_and(|page| meta_names(&page, &key)) { Ok(()) } else { Err(NoProof::Absent) }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| {
        Err(NoProof::Unreachable(format!("it took more than {} s", PATIENCE.as_secs())))
    })
}

/// The addresses of an origin; none of them if one is not public, so that a name cannot hide one
/// behind another.
async fn addresses(
    origin: &SiteOrigin,
    is_private_allowed: bool,
) -> Result<Vec<SocketAddr>, NoProof> {
    let (host, port) = (origin.host(), origin.port());
    let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(address) => vec![(address, port).into()],
        Err(_) => lookup_host((host, port)).await.map_err(|_| NoProof::Address)?.collect(),
    };
    let are_public = found.iter().all(|address| is_public(address.ip()));
    if found.is_empty() || !(are_public || is_private_allowed) {
        return Err(NoProof::Address);
    }
    Ok(found.into_iter().take(MAX_ADDRESSES).collect())
}

/// An origin, and where it was found to be.
struct Site<'a> {
    origin: &'a SiteOrigin,
    addresses: Vec<SocketAddr>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Site<'_> {
    /// The beginning of what lies at `path`; `None` if nothing does.
    async fn get(&self, path: &str) -> Result<Option<String>, NoProof> {
        let mut path = path.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.ask(&path).await?;
            let status = response.status();
            if status.is_redirection() {
                let to = response.headers().get(header::LOCATION);
                match to.and_then(|to| self.within(to.to_str().ok()?)) {
                    Some(to) => path = to,
                    None => return Ok(None),
                }
                continue;
            }
            if status != StatusCode::OK {
                return Ok(None);
            }
            return Ok(Some(beginning(response.into_body()).await?));
        }
        Ok(None)
    }

    /// The path of a redirect that stays within this origin.
    fn within(&self, location: &str) -> Option<String> {
        // Of two slashes the second begins another host's name.
        if location.starts_with('/') && !location.starts_with("//") && !location.contains('\\') {
            let path: PathAndQuery = location.split('#').next()?.parse().ok()?;
            return Some(path.to_string());
        }
        let uri: Uri = location.parse().ok()?;
        let origin = format!("{}://{}", uri.scheme_str()?, uri.authority()?);
        let own = origin.eq_ignore_ascii_case(&self.origin.to_string());
        own.then(|| uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string))
    }

    async fn ask(&self, path: &str) -> Result<axum::http::Response<Incoming>, NoProof> {
        let stream = TcpStream::connect(&*self.addresses).await.map_err(unreachable)?;
        let stream: Box<dyn Stream> = if self.origin.is_secure() {
            let name = ServerName::try_from(self.origin.host().to_owned()).map_err(unreachable)?;
            Box::new(TlsConnector::from(tls()?).connect(name, stream).await.map_err(unreachable)?)
        } else {
            Box::new(stream)
        };
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(64 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(unreachable)?;
        // It ends when the answer is dropped.
        tokio::spawn(connection);
        let request = Request::get(path)
            .header(header::HOST, self.origin.authority())
            .header(header::USER_AGENT, "potluck-server")
            .header(header::ACCEPT, "text/plain, text/html")
            .body(Empty::<Bytes>::new())
            .map_err(unreachable)?;
        sender.send_request(request).await.map_err(unreachable)
    }
}

/// At most so much of a body; the rest is not asked for.
async fn beginning(mut body: Incoming) -> Result<String, NoProof> {
    let mut bytes = Vec::new();
    while bytes.len() < MAX_BODY_BYTES {
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    bytes.extend_from_slice(&data[..data.len().min(MAX_BODY_BYTES - bytes.len())]);
                }
            }
            Some(Err(error)) => return Err(unreachable(error)),
            None => break,
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// True if a meta tag of this name has this content, whatever else it has and in which order.
fn meta_names(page: &str, key: &str) -> bool {
    // Once, so that a page of many tags costs no more than its length.
    let page = page.to_ascii_lowercase();
    let mut rest = &*page;
    let mut tags = std::iter::from_fn(move || {
        rest = &rest[rest.find('<')?..];
        // What stands in a comment or a script is none of the page's.
        let skipped = [("<!--", "-->"), ("<script", "</script"), ("<style", "</style")];
        let end = match skipped.iter().find(|(open, _)| rest.starts_with(open)) {
            Some((_, close)) => rest.find(close)? + close.len(),
            None => rest.find('>')? + 1,
        };
        let (tag, after) = rest.split_at(end);
        rest = after;
        Some(tag)
    });
    let is_named = |tag: &str, name: &str, value: &str| {
        [('"', '"'), ('\'', '\''), (' ', ' '), (' ', '>'), (' ', '/')].iter().any(
            |(open, close)| {
                let open = if *open == ' ' { String::new() } else { open.to_string() };
                tag.contains(&format!("{name}={open}{value}{close}"))
            },
        )
    };
    tags.any(|tag| {
        tag.starts_with("<meta") && is_named(tag, "name", META) && is_named(tag, "content", key)
    })
}

fn tls() -> Result<Arc<ClientConfig>, NoProof> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unreachable)?
        .with_platform_verifier()
        .map_err(unreachable)?
        .with_no_client_auth();
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}

fn unreachable(error: impl std::fmt::Display) -> NoProof {
    NoProof::Unreachable(error.to_string())
}

#[cfg(test)]
mod tests;
