//! What went wrong, with a status, in the shape that each protocol gives its errors.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use potluck_protocol::page::Failure;
use serde_json::{Value, json};

/// Whose shapes and words are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    OpenAi,
    Anthropic,
    Ollama,
}

/// A request that gets no answer, or one whose answer ended before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    /// What was wrong and what to do.
    pub(crate) message: String,
    /// The field that is at fault.
    pub(crate) param: Option<String>,
    /// OpenAI's word for it.
    pub(crate) code: Option<&'static str>,
    /// When it is worth to try again, seconds.
    pub(crate) retry_after_s: Option<u32>,
}

/// After so long the swarm may have changed: volunteers come and go in minutes.
const RETRY_AFTER_S: u32 = 10;

impl ApiError {
    fn new(status: StatusCode, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code, retry_after_s: None }
    }

    /// A request that is wrong as it stands.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, None, message)
    }

    /// The same, of one field.
    pub(crate) fn field(name: &str, message: impl Into<String>) -> Self {
        Self { param: Some(name.to_owned()), ..Self::bad(message) }
    }

    /// A field that cannot be honoured.
    pub(crate) fn unsupported(name: &str, why: &str) -> Self {
        let code = Some("unsupported_parameter");
        Self { code, ..Self::field(name, format!("`{name}` is not supported: {why}")) }
    }

    pub(crate) fn unauthorized() -> Self {
        let message =
            "this gateway wants its key: send it as `Authorization: Bearer …` or `x-api-key`";
        Self::new(StatusCode::UNAUTHORIZED, Some("invalid_api_key"), message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, None, message)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("the request's body is too large; at most {limit} bytes are read");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, None, message)
    }

    pub(crate) fn busy(message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, Some("rate_limit_exceeded"), message);
        Self { retry_after_s: Some(RETRY_AFTER_S), ..error }
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, None, message);
        Self { retry_after_s: Some(RETRY_AFTER_S), ..error }
    }

    /// A question that the node or the swarm did not answer.
    pub(crate) fn failed(kind: Failure, reason: String) -> Self {
        match kind {
            Failure::Question => Self::bad(reason),
            Failure::Length => Self {
                code: Some("context_length_exceeded"),
                param: Some("messages".to_owned()),
                ..Self::bad(reason)
            },
            Failure::Model => Self {
                code: Some("model_not_found"),
                param: Some("model".to_owned()),
                ..Self::not_found(reason)
            },
            Failure::Busy => Self::busy(reason),
            Failure::Swarm => Self::unavailable(reason),
        }
    }

    /// The body that says so.
    pub(crate) fn body(&self, dialect: Dialect) -> Value {
        let Self { status, message, param, code, .. } = self;
        match dialect {
            Dialect::OpenAi => {
                let kind = match status.as_u16() {
                    401 => "authentication_error",
                    429 => "rate_limit_error",
                    500.. => "server_error",
                    _ => "invalid_request_error",
                };
                json!({ "error": { "message": message, "type": kind, "param": param, "code": code } })
            }
            Dialect::Anthropic => {
                let kind = match status.as_u16() {
                    401 => "authentication_error",
                    404 => "not_found_error",
                    413 => "request_too_large",
                    429 => "rate_limit_error",
                    503 => "overloaded_error",
                    500.. => "api_error",
                    _ => "invalid_request_error",
                };
                json!({ "type": "error", "error": { "type": kind, "message": message } })
            }
            Dialect::Ollama => json!({ "error": message }),
        }
    }

    /// The whole response.
    pub(crate) fn response(&self, dialect: Dialect) -> Response {
        let mut response = (self.status, axum::Json(self.body(dialect))).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_has_its_own_shape() {
        let error = ApiError::unsupported("logit_bias", "tokens are drawn elsewhere");
        let body = error.body(Dialect::OpenAi);
        assert_eq!(body["error"]["param"], "logit_bias");
        assert_eq!(body["error"]["code"], "unsupported_parameter");
        assert_eq!(body["error"]["type"], "invalid_request_error");
        assert_eq!(error.body(Dialect::Anthropic)["error"]["type"], "invalid_request_error");
        assert!(error.body(Dialect::Ollama)["error"].is_string());
    }

    #[test]
    fn failures_have_statuses_and_say_when_to_come_back() {
        let status = |kind| ApiError::failed(kind, String::new()).status.as_u16();
        assert_eq!(status(Failure::Question), 400);
        assert_eq!(status(Failure::Length), 400);
        assert_eq!(status(Failure::Model), 404);
        assert_eq!(status(Failure::Busy), 429);
        assert_eq!(status(Failure::Swarm), 503);
        let response = ApiError::unavailable("later").response(Dialect::OpenAi);
        assert_eq!(response.headers()[header::RETRY_AFTER], "10");
    }
}
