//! Bytes that many are given: made once, with a tag by which whoever has them already learns just
//! that.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

/// Letters of a tag: 64 bits of a hash, of what this server made itself.
const TAG_DIGITS: usize = 16;

/// An answer's body.
#[derive(Clone, Debug)]
pub(crate) struct Rendered {
    pub(crate) body: Bytes,
    /// In its quotes.
    pub(crate) tag: HeaderValue,
    content_type: &'static str,
}

impl Rendered {
    pub(crate) fn new(body: Bytes, content_type: &'static str) -> Self {
        let hash = blake3::hash(&body).to_hex();
        let tag = HeaderValue::from_str(&format!("\"{}\"", &hash[..TAG_DIGITS]))
            .expect("hexadecimal digits can stand in a header");
        Self { body, tag, content_type }
    }

    pub(crate) fn json(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self::new(serde_json::to_vec(value)?.into(), "application/json"))
    }

    /// The answer to a request with these headers; without the body if they say that it is known.
    pub(crate) fn answer(&self, asked: &HeaderMap) -> Response<Body> {
        let known = is_known(asked, &self.tag);
        let body = if known { Body::empty() } else { Body::from(self.body.clone()) };
        let mut response = Response::new(body);
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            let content_type = HeaderValue::from_static(self.content_type);
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        }
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.tag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

/// True if `If-None-Match` names the tag. A proxy that compresses makes tags weak ones.
pub(crate) fn is_known(asked: &HeaderMap, tag: &HeaderValue) -> bool {
    let tag = tag.to_str().unwrap_or_default();
    asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok()).any(|line| {
        line.split(',')
            .map(str::trim)
            .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(known: Option<&str>) -> (StatusCode, bool) {
        let rendered = Rendered::json(&[1, 2]).unwrap();
        let mut asked = HeaderMap::new();
        let tag = rendered.tag.to_str().unwrap();
        if let Some(known) = known {
            let value = HeaderValue::from_str(&known.replace("TAG", tag)).unwrap();
            asked.append(header::IF_NONE_MATCH, value);
        }
        let answer = rendered.answer(&asked);
        assert_eq!(answer.headers()[header::ETAG], rendered.tag);
        (answer.status(), answer.headers().contains_key(header::CONTENT_TYPE))
    }

    #[test]
    fn whoever_has_it_is_told_just_that() {
        for known in ["TAG", "W/TAG", "\"other\", TAG", "*"] {
            assert_eq!(answered(Some(known)), (StatusCode::NOT_MODIFIED, false), "{known}");
        }
        for unknown in [None, Some("\"other\""), Some("")] {
            assert_eq!(answered(unknown), (StatusCode::OK, true), "{unknown:?}");
        }
    }

    #[test]
    fn a_tag_changes_with_the_bytes() {
        let [one, same, other] = [[1], [1], [2]].map(|value| Rendered::json(&value).unwrap().tag);
        assert_eq!(one, same);
        assert_ne!(one, other);
    }
}
