//! Wishes to speak another protocol (RFC 9110 §7.8): what may be asked, and what must come back.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response};
use hyper::body::Body;

use crate::kube::status::{Failure, Reason};

use super::headers::{self, Protocol, connection_tokens};
use super::websocket;

/// The protocol that a request asks for, if it does.
///
/// Whatever is half a wish is refused: the API server, or something in front of it, might read it as a whole one, and
/// take what follows on the connection for something else than the proxy does.
pub(super) fn asked<B: Body>(request: &Request<B>) -> Result<Option<Protocol>, Failure> {
    let headers = request.headers();
    let is_wish = connection_tokens(headers).any(|token| token == "upgrade");
    if is_wish != headers.contains_key(header::UPGRADE) {
        return Err(bad("wanted Upgrade and Connection: upgrade together"));
    }
    if !is_wish {
        return Ok(None);
    }
    let protocol = only_protocol(headers).ok_or_else(|| bad("wanted to upgrade to SPDY/3.1 or to websocket"))?;
    let no_body = headers.get_all(header::CONTENT_LENGTH).iter().all(|length| length.as_bytes() == b"0");
    if !no_body || headers.contains_key(header::TRANSFER_ENCODING) || !request.body().is_end_stream() {
        return Err(bad("wanted no body in a request that upgrades"));
    }
    match protocol {
        Protocol::WebSocket if request.method() != Method::GET => return Err(bad("wanted GET for a WebSocket")),
        Protocol::WebSocket => websocket::check_handshake(headers)?,
        Protocol::Spdy if !matches!(*request.method(), Method::GET | Method::POST) => {
            return Err(bad("wanted GET or POST for SPDY/3.1"));
        }
        Protocol::Spdy => {}
    }
    Ok(Some(protocol))
}

/// Adds the wish to headers that are prepared.
pub(super) fn ask(headers: &mut HeaderMap, protocol: Protocol) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(protocol.name()));
}

/// Whether a 101 agrees to what was asked for and nothing else.
pub(super) fn is_agreed<B>(answer: &Response<B>, protocol: Protocol) -> bool {
    only_protocol(answer.headers()) == Some(protocol)
        && connection_tokens(answer.headers()).any(|token| token == "upgrade")
}

/// Turns the headers of a 101 into those for the client.
pub(super) fn prepare_agreement(headers: &mut HeaderMap, protocol: Protocol) {
    headers::prepare_response(headers);
    // RFC 9112 §6.3: a 101 has no body.
    headers.remove(header::CONTENT_LENGTH);
    ask(headers, protocol);
}

fn only_protocol(headers: &HeaderMap) -> Option<Protocol> {
    let mut values = headers.get_all(header::UPGRADE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let value = value.as_bytes();
    [Protocol::Spdy, Protocol::WebSocket].into_iter().find(|one| value.eq_ignore_ascii_case(one.name().as_bytes()))
}

fn bad(message: &str) -> Failure {
    Failure::new(400, Reason::BadRequest, message)
}
