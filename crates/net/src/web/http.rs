//! HTTP GET by `fetch`, streamed. The browser's own cache is left out: what is fetched here is kept
//! by its hash, once.

use js_sys::{Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortController, Headers, ReadableStreamDefaultReader, RequestCache, RequestInit, Response,
};

use super::describe;
use crate::weights::HttpError;

/// An answer whose body is still coming. Dropping it ends the download.
pub(crate) struct Body {
    /// HTTP status code.
    pub(crate) status: u16,
    /// What `Content-Length` says.
    pub(crate) content_length: Option<u64>,
    /// What `Content-Range` says.
    pub(crate) content_range: Option<String>,
    reader: Option<ReadableStreamDefaultReader>,
    _running: Running,
}

/// Ends the request when it is dropped; a finished one does not mind.
struct Running(AbortController);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Asks for `url`, from byte `from` on if that is not 0.
pub(crate) async fn get(url: &str, from: u64) -> Result<Body, HttpError> {
    let connection = |thrown: JsValue| HttpError::Connection(describe(&thrown));
    let controller = AbortController::new().map_err(connection)?;
    let options = RequestInit::new();
    options.set_cache(RequestCache::NoStore);
    options.set_signal(Some(&controller.signal()));
    if from > 0 {
        let headers = Headers::new().map_err(connection)?;
        headers.set("range", &format!("bytes={from}-")).map_err(connection)?;
        options.set_headers(&headers);
    }
    let running = Running(controller);
    // By name, because windows and workers have no type in common that has it.
    let global = js_sys::global();
    let fetch: Function =
        Reflect::get(&global, &"fetch".into()).and_then(JsCast::dyn_into).map_err(connection)?;
    let answer: Promise = fetch
        .call2(&global, &url.into(), &options)
        .and_then(JsCast::dyn_into)
        .map_err(connection)?;
    let response: Response =
        JsFuture::from(answer).await.and_then(JsCast::dyn_into).map_err(connection)?;
    let header = |name| response.headers().get(name).ok().flatten();
    // A compressed answer's length is that of the compressed bytes, which are not the ones that
    // arrive here.
    let plain = header("content-encoding").is_none();
    let reader = match response.body() {
        Some(stream) => {
            Some(stream.get_reader().dyn_into().map_err(|thrown| connection(thrown.into()))?)
        }
        None => None,
    };
    Ok(Body {
        status: response.status(),
        content_length: header("content-length")
            .filter(|_| plain)
            .and_then(|length| length.parse().ok()),
        content_range: header("content-range"),
        reader,
        _running: running,
    })
}

impl Body {
    /// The next bytes; `None` at the end.
    pub(crate) async fn next_part(&mut self) -> Result<Option<Vec<u8>>, HttpError> {
        let connection = |thrown: JsValue| HttpError::Connection(describe(&thrown));
        let Some(reader) = &self.reader else { return Ok(None) };
        let result = JsFuture::from(reader.read()).await.map_err(connection)?;
        if Reflect::get(&result, &"done".into()).map_err(connection)?.is_truthy() {
            return Ok(None);
        }
        let value = Reflect::get(&result, &"value".into()).map_err(connection)?;
        let part: Uint8Array = value.dyn_into().map_err(connection)?;
        Ok(Some(part.to_vec()))
    }
}
