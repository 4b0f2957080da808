//! The widget: `embed.js`, which other sites' pages load, and `embed.html`, the document of its frame,
//! made for each site.
//!
//! The frame's document is what asks, so it is bound to the site: a browser shows it only in pages of
//! origins that carry the site's key (`frame-ancestors`). Where it may not ask, it says why, and has
//! nothing to press.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{Extension, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use potluck_protocol::grant::DEFAULT_MEMORY_BYTES;
use potluck_protocol::id::SiteKey;
use serde::Deserialize;
use tower_http::services::ServeDir;

use super::embed_words::WidgetLanguage;
use super::error::{HttpError, found};
use super::guard::frame_policy;
use super::page::takes_brotli;
use crate::app::App;
use crate::origin::Arrival;
use crate::page_index::Document;
use crate::rendered::Rendered;
use crate::sites::{Counted, Site, WhyNot};

/// Brotli's best: some milliseconds, once a site, for a tenth less of what nobody asked for.
const QUALITY: u32 = 11;
/// Its window, 2^so many bytes, which the document fits.
const WINDOW_BITS: u32 = 16;
/// Documents that are kept compressed; each has three kilobytes.
const MAX_KEPT: usize = 1024;
const HTML: &str = "text/html; charset=utf-8";

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    /// Whatever stands there: what is no key is no site.
    site: Option<String>,
    /// The language that the site's owner wants it in, if they want one.
    lang: Option<String>,
}

/// Documents as they were compressed last, by site.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<HashMap<(SiteKey, WidgetLanguage), (String, Rendered)>>);

/// `GET /embed.js`, for every page.
pub(super) async fn script(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, HttpError> {
    let page = app.page.as_ref().ok_or(NO_PAGE)?;
    let mut files = ServeDir::new(page.folder()).precompressed_br();
    let mut response = found(files.try_call(request).await, NOT_BUILT)?;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // A module of another origin is loaded only if that origin says so.
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
    Ok(response)
}

/// `GET /embed.html?site=KEY`.
pub(super) async fn document(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let page = app.page.as_ref().ok_or(NO_PAGE)?;
    let language = WidgetLanguage::wanted(asked.lang.as_deref(), &headers);
    let template = page.embed(language).await.ok_or(HttpError::NotFound(NOT_BUILT))?;
    let key: Option<SiteKey> = asked.site.and_then(|text| text.parse().ok());
    let (site, standing) = key.map_or((None, Err(WhyNot::Unknown)), |key| app.sites.standing(key));
    let site = site.as_deref();
    if let (Some(key), Ok(())) = (key, &standing) {
        app.sites.count(key, Counted::Shown);
    }
    let why_not = standing.err().map(|why| language.why_not(&why));
    let html = filled(&app, (&template, language), &arrival, site, why_not);
    // A key that nobody has is no reason to compress or keep anything.
    let compressed_for = site.filter(|_| takes_brotli(&headers)).map(|site| site.key);
    let rendered = match compressed_for {
        Some(key) => app.embeds.compressed((key, language), html),
        None => Rendered::new(html.into(), HTML),
    };
    let is_compressed = compressed_for.is_some();
    let mut response = rendered.answer(&headers);
    let headers = response.headers_mut();
    if is_compressed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
    }
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding, accept-language"));
    // Asked for anew each time: whether it may ask can have changed.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let policy = frame_policy(&app.config, &arrival, &template, &ancestors(site));
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

const NO_PAGE: HttpError =
    HttpError::NotFound("this server serves no page, and so no widget; start it with --page-dir");
const NOT_BUILT: &str = "the widget is not built yet; run `cargo xtask build`";

/// Whose pages may show the frame. A document that says that there is no such site may stand anywhere.
fn ancestors(site: Option<&Site>) -> String {
    let Some(site) = site else { return "*".to_owned() };
    let proved = site.proved().map(|origin| format!(" {origin}"));
    // 'self' is the owner's preview.
    format!("'self'{}", proved.collect::<String>())
}

/// The document for one site.
fn filled(
    app: &App,
    (template, language): (&Document, WidgetLanguage),
    arrival: &Arrival,
    site: Option<&Site>,
    why_not: Option<String>,
) -> String {
    let model = app.models.iter().next();
    let (no_model, no_site) = language.nothing();
    let off = match (why_not, model) {
        (Some(why), _) => why,
        (None, None) => no_model.to_owned(),
        (None, Some(_)) => String::new(),
    };
    let fetched = model.map_or(0, |model| model.total_bytes.min(DEFAULT_MEMORY_BYTES));
    let texts = [
        ("{{off}}", escaped(&off)),
        ("{{server}}", escaped(arrival.host.as_deref().unwrap_or("this server"))),
        ("{{site}}", escaped(site.map_or(no_site, |site| &site.name))),
        ("{{model}}", escaped(model.map_or("", |model| &model.name))),
        ("{{megabytes}}", fetched.div_ceil(1_000_000).to_string()),
    ];
    let html = String::from_utf8_lossy(&template.html.body);
    // In one pass, so that no text can bring a placeholder with it.
    let mut filled = String::with_capacity(html.len() + 256);
    let mut rest = &*html;
    while let Some(at) = rest.find("{{") {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        match texts.iter().find(|(placeholder, _)| rest.starts_with(placeholder)) {
            Some((placeholder, text)) => {
                filled.push_str(text);
                rest = &rest[placeholder.len()..];
            }
            None => {
                filled.push_str("{{");
                rest = &rest[2..];
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// As text or in a quoted attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

impl Kept {
    fn compressed(&self, site: (SiteKey, WidgetLanguage), html: String) -> Rendered {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((same, rendered)) = lock().get(&site)
            && *same == html
        {
            return rendered.clone();
        }
        let mut writer =
            brotli::CompressorWriter::new(Vec::new(), html.len().max(1), QUALITY, WINDOW_BITS);
        writer.write_all(html.as_bytes()).expect("memory takes all that is written");
        let rendered = Rendered::new(Bytes::from(writer.into_inner()), HTML);
        let mut kept = lock();
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(site, (html, rendered.clone()));
        rendered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_text_wherever_it_stands() {
        assert_eq!(
            escaped("<img src=x onerror=\"a('b')\">&"),
            "&lt;img src=x onerror=&quot;a(&#39;b&#39;)&quot;&gt;&amp;"
        );
    }

    #[test]
    fn a_document_is_compressed_once_until_it_changes() {
        let kept = Kept::default();
        let of = |site: SiteKey, html: &str| {
            kept.compressed((site, WidgetLanguage::English), html.to_owned()).body
        };
        let (one, two) = (SiteKey([1; 16]), SiteKey([2; 16]));
        let first = of(one, "<p>one</p>");
        assert_eq!(first.as_ptr(), of(one, "<p>one</p>").as_ptr(), "the same bytes");
        assert_ne!(first, of(one, "<p>other</p>"));
        assert_ne!(of(two, "<p>two</p>"), of(one, "<p>other</p>"));
    }

    #[test]
    fn the_question_is_small_in_every_language() {
        const LIMIT_BYTES: usize = 4096;
        let script = include_str!("../../../static/embed.js");
        let document = include_str!("../../../static/embed.html");
        // As the build leaves them.
        let squeezed = |text: &str| {
            let lines = text.lines().map(str::trim);
            let kept = lines.filter(|line| !line.is_empty() && !line.starts_with("// "));
            kept.collect::<Vec<_>>().join("\n")
        };
        let bytes = |html: String| {
            let kept = Kept::default();
            kept.compressed((SiteKey([1; 16]), WidgetLanguage::English), html).body.len()
        };
        let script = bytes(squeezed(script));
        for language in [WidgetLanguage::English, WidgetLanguage::Chinese] {
            let document = bytes(squeezed(&language.translate(document.to_owned())));
            // What is filled in: names of files, of the server, the site and the model.
            let filled = 120;
            eprintln!("{language:?}: {script} + {document} bytes");
            assert!(script + document + filled <= LIMIT_BYTES, "{language:?}: {document}");
        }
    }
}
