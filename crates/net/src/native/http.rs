//! HTTP GET, streamed. No redirects, no cookies, no compression: what is fetched here is verified
//! by its hash.
//!
//! Not `reqwest`: its browser half would make the page's worker larger, and natively it would be a
//! second stack beside the WebSocket's TLS for one GET with a range.

use std::sync::OnceLock;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::weights::HttpError;

type HttpsClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

fn client() -> &'static HttpsClient {
    static CLIENT: OnceLock<HttpsClient> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(super::tls::client_config().as_ref().clone())
            .https_or_http()
            .enable_http1()
            .build();
        // No pool: a pooled connection belongs to the runtime it was made in, which may be gone by
        // the next request.
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)
    })
}

/// An answer whose body is still coming.
#[derive(Debug)]
pub(crate) struct Body {
    /// HTTP status code.
    pub(crate) status: u16,
    /// What `Content-Length` says.
    pub(crate) content_length: Option<u64>,
    /// What `Content-Range` says.
    pub(crate) content_range: Option<String>,
    body: Incoming,
}

/// Asks for `url`, from byte `from` on if that is not 0.
pub(crate) async fn get(url: &str, from: u64) -> Result<Body, HttpError> {
    let mut request = hyper::Request::get(url);
    if from > 0 {
        request = request.header(header::RANGE, format!("bytes={from}-"));
    }
    let request =
        request.body(Empty::new()).map_err(|error| HttpError::Address(error.to_string()))?;
    let response =
        client().request(request).await.map_err(|error| HttpError::Connection(in_full(&error)))?;
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    Ok(Body {
        status: response.status().as_u16(),
        content_length: text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        content_range: text(header::CONTENT_RANGE).map(str::to_owned),
        body: response.into_body(),
    })
}

impl Body {
    /// The next bytes; `None` at the end.
    pub(crate) async fn next_part(
        &mut self,
    ) -> Result<Option<impl AsRef<[u8]> + use<>>, HttpError> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(HttpError::Connection(in_full(&error))),
                Some(Ok(frame)) => {
                    // Anything else is trailers, which nobody reads.
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// hyper says "client error (Connect)" and leaves the rest to the sources.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
