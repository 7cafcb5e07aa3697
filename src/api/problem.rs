//! Refusals as RFC 9457 problem documents.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use super::wire::Problem;
use crate::command::{Code, Rejected};

/// The media type of a problem document (RFC 9457 §6.1).
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A refusal as a response; what went wrong inside is for the log alone.
pub fn response(rejected: &Rejected) -> Response<Full<Bytes>> {
    let status = status(rejected.code);
    let detail = match rejected.code {
        Code::Internal => {
            tracing::error!(detail = %rejected.detail, "a request failed");
            "something went wrong inside the authority: its log says what".to_owned()
        }
        _ => rejected.detail.clone(),
    };
    let problem = Problem {
        kind: format!("urn:portcullis:problem:{}", rejected.code),
        title: rejected.code.to_string().replace('_', " "),
        status: status.as_u16(),
        code: rejected.code.to_string(),
        detail,
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, MEDIA_TYPE);
    response
}

const fn status(code: Code) -> StatusCode {
    match code {
        Code::Invalid | Code::RequestRefused => StatusCode::BAD_REQUEST,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists
        | Code::Locked
        | Code::KeyReused
        | Code::LastAdmin
        | Code::IdempotencyMismatch
        | Code::Conflict => StatusCode::CONFLICT,
        Code::Busy | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        Code::OutcomeUnknown | Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
