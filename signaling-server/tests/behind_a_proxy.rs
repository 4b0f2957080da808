//! Behind a trusted proxy visitors are told apart, and nobody else's word is believed.

#[path = "support/http.rs"]
mod http;
mod support;

use std::net::SocketAddr;

use anyhow::Context as _;
use futures::{SinkExt as _, StreamExt as _};
use potluck_protocol::codec::{decode_from_server, encode};
use potluck_protocol::id::NodeId;
use potluck_protocol::server::{FromServer, ToServer};
use potluck_protocol::{NUMERICS_VERSION, PROTOCOL_VERSION};
use potluck_server::config::Config;
use support::Running;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A socket over which a node can begin; the sentence if it is turned away.
async fn socket(
    server: SocketAddr,
    headers: &[(&'static str, &str)],
) -> anyhow::Result<Result<Socket, String>> {
    let mut request = format!("ws://{server}/api/v1/socket").into_client_request()?;
    for (name, value) in headers {
        let name = HeaderName::from_static(name);
        request.headers_mut().insert(name, HeaderValue::from_str(value)?);
    }
    match connect_async(request).await {
        Ok((mut socket, _)) => Ok(begin(&mut socket).await?.map(|()| socket)),
        Err(Error::Http(response)) => {
            Ok(Err(String::from_utf8(response.into_body().unwrap_or_default())?))
        }
        Err(error) => Err(error.into()),
    }
}

/// Begins as a node does. Whoever is turned away is told so over the socket.
async fn begin(socket: &mut Socket) -> anyhow::Result<Result<(), String>> {
    let node = NodeId([1; 32]);
    let hello = ToServer::Hello { protocol: PROTOCOL_VERSION, numerics: NUMERICS_VERSION, node };
    // It may be closed already; what was said before can still be read.
    let _ = socket.send(Message::binary(encode(&hello))).await;
    loop {
        let Message::Binary(bytes) = socket.next().await.context("it ended")?? else { continue };
        match decode_from_server(&bytes)? {
            FromServer::Challenge { .. } => return Ok(Ok(())),
            FromServer::Refused { reason, .. } => return Ok(Err(reason)),
            _ => {}
        }
    }
}

fn three_each(config: &mut Config) {
    config.max_connections_per_address = 3;
}

#[tokio::test]
async fn visitors_behind_a_trusted_proxy_are_counted_one_by_one() -> anyhow::Result<()> {
    let server = Running::start_with(|config| {
        three_each(config);
        config.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    })
    .await?;
    let mut open = Vec::new();
    for visitor in ["198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"] {
        // What stands to the left is the visitor's own word.
        let list = format!("203.0.113.9, {visitor}");
        let socket = socket(server.address, &[("x-forwarded-for", &list)]).await?;
        open.push(socket.map_err(anyhow::Error::msg)?);
    }
    for _ in 0..2 {
        let again = socket(server.address, &[("forwarded", "for=198.51.100.4")]).await?;
        open.push(again.map_err(anyhow::Error::msg)?);
    }
    let fourth = socket(server.address, &[("x-forwarded-for", "198.51.100.4")]).await?;
    assert!(fourth.is_err_and(|sentence| sentence.contains("this address")));
    // A household of IPv6 is one visitor.
    for last in 1..=3 {
        let address = format!("2001:db8::{last}");
        let socket = socket(server.address, &[("x-forwarded-for", &address)]).await?;
        open.push(socket.map_err(anyhow::Error::msg)?);
    }
    let fourth = socket(server.address, &[("x-forwarded-for", "2001:db8::4")]).await?;
    assert!(fourth.is_err());
    Ok(())
}

#[tokio::test]
async fn without_the_option_headers_are_anybodys_word() -> anyhow::Result<()> {
    let server = Running::start_with(three_each).await?;
    let mut open = Vec::new();
    for visitor in 1..=3 {
        let list = format!("198.51.100.{visitor}");
        let socket = socket(server.address, &[("x-forwarded-for", &list)]).await?;
        open.push(socket.map_err(anyhow::Error::msg)?);
    }
    let fourth = socket(server.address, &[("x-forwarded-for", "198.51.100.4")]).await?;
    assert!(fourth.is_err_and(|sentence| sentence.contains("this address")));
    Ok(())
}

#[tokio::test]
async fn a_page_whose_proxy_hides_the_host_reads_what_to_do() -> anyhow::Result<()> {
    let page = [("origin", "https://potluck.example")];
    let server = Running::start().await?;
    let reason = socket(server.address, &page).await?.err().context("it is turned away")?;
    assert!(reason.contains("--public-origin https://potluck.example"), "{reason}");

    let server = Running::start_with(|config| {
        config.origins.public_origins = vec!["https://potluck.example".parse().expect("one")];
    })
    .await?;
    socket(server.address, &page).await?.map_err(anyhow::Error::msg)?;
    Ok(())
}

#[tokio::test]
async fn a_strangers_name_that_leads_here_is_refused() -> anyhow::Result<()> {
    let server = Running::start_with(|config| {
        config.origins.public_origins = vec!["https://potluck.example".parse().expect("one")];
    })
    .await?;
    let asked = async |host: &str, path: &str| {
        http::get(server.address, path, &[&format!("Host: {host}")]).await
    };
    for good in ["127.0.0.1", "localhost:1234", "[::1]:80", "potluck.example", "POTLUCK.example:1"]
    {
        assert_eq!(asked(good, "/api/v1/models").await?.status, 200, "{good}");
    }
    let rebound = asked("evil.example:8080", "/api/v1/models").await?;
    assert_eq!(rebound.status, 421);
    assert!(rebound.text().contains("--public-origin"), "{}", rebound.text());
    assert_eq!(asked("evil.example", "/api/v1/socket").await?.status, 421);
    assert_eq!(asked("probe.internal", "/healthz").await?.status, 200, "for probes by any name");
    Ok(())
}

#[tokio::test]
async fn browsers_are_told_to_keep_to_tls_where_there_is_tls() -> anyhow::Result<()> {
    let server = Running::start_with(|config| {
        config.trusted_proxies = vec!["127.0.0.1".parse::<std::net::IpAddr>().expect("one").into()];
    })
    .await?;
    let header = "strict-transport-security";
    let plain = http::get(server.address, "/healthz", &[]).await?;
    assert_eq!(plain.header(header), None);
    let secure = http::get(server.address, "/healthz", &["X-Forwarded-Proto: https"]).await?;
    assert!(secure.header(header).is_some_and(|value| value.starts_with("max-age=")));
    Ok(())
}
