//! Which headers go to the API server, and which come back.
//!
//! Hop-by-hop fields go first, then what a client may not say; who the user is comes last and is the proxy's own.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Uri, Version};

use crate::kube::identity::{Identity, Mode, Treatment, folded, treatment};
use crate::kube::status::{Failure, Reason};
use crate::status::freshness::Age;
use crate::world::Timestamp;

use super::websocket;

/// What a client may ask to speak instead of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// SPDY/3.1, which older `kubectl exec`, `attach` and `port-forward` ask for.
    Spdy,
    /// A WebSocket (RFC 6455).
    WebSocket,
}

impl Protocol {
    /// As `Upgrade` names it; compared in any case.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Spdy => "SPDY/3.1",
            Self::WebSocket => "websocket",
        }
    }
}

/// What to do with a request once its headers were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notes {
    /// A bearer token of the client's was removed, in `Authorization` or as a WebSocket's subprotocol; it is told.
    pub removed_authorization: bool,
    /// The body is chunked. Where a length came along as well, two readers may disagree on where the request ends, so
    /// what follows on the connection is not read.
    pub is_last: bool,
}

/// Refuses a request whose form can be read in two ways, or that needs what is not carried; for a wish to speak another
/// protocol `upgrade::asked` does.
pub fn check_form<B>(request: &Request<B>) -> Result<(), Failure> {
    let bad = |message: &str| Err(Failure::new(400, Reason::BadRequest, message));
    let headers = request.headers();
    if !matches!(request.version(), Version::HTTP_11 | Version::HTTP_2) {
        return bad("wanted HTTP/1.1 or HTTP/2");
    }
    if request.method() == http::Method::CONNECT {
        return bad("CONNECT is not carried");
    }
    if request.uri().path_and_query().is_none_or(|target| !target.as_str().starts_with('/')) {
        return bad("wanted a path that begins with /");
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let authority = request.uri().authority().filter(|_| request.version() == Version::HTTP_2);
    match (hosts.next(), hosts.next(), authority) {
        (Some(host), None, _) if is_same_host(request.uri(), host) => {}
        (Some(_), None, _) => return bad("the request's target and its Host header differ"),
        // RFC 9113 §8.3.1: there the target has the host, and the header may be missing.
        (None, None, Some(authority)) if is_same_host(request.uri(), authority.as_str()) => {}
        (None, None, Some(_)) => return bad("wanted a target that begins with https"),
        _ => return bad("wanted exactly one Host header"),
    }
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let chunked = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    if encodings.next().is_some_and(|first| !chunked(first)) || encodings.next().is_some() {
        return bad("wanted no transfer encoding other than chunked");
    }
    Ok(())
}

/// Turns a client's headers into those for the API server, without its name and the credential that opens it.
///
/// The headers of a WebSocket's handshake stay where `protocol` is one; those of the upgrade itself are added by
/// `upgrade`, after this.
pub fn prepare(
    headers: &mut HeaderMap,
    protocol: Option<Protocol>,
    mode: Mode,
    identity: &Identity,
    client: IpAddr,
) -> Result<Notes, Failure> {
    let mut notes = Notes { removed_authorization: false, is_last: headers.contains_key(header::TRANSFER_ENCODING) };
    // Judged before hop-by-hop removal, so that naming it in `Connection` hides nothing.
    let nominated: Vec<String> = connection_tokens(headers).collect();
    for name in names(headers) {
        match treatment(name.as_str(), mode) {
            // Passed on in this mode, and so not dropped without a word either: the request would run as someone else.
            Treatment::Pass if is_impersonation(&name) && nominated.contains(&folded(name.as_str())) => {
                let message = format!("wanted the header {name} or its name in Connection, found both");
                return Err(Failure::new(400, Reason::BadRequest, message));
            }
            Treatment::Pass => {}
            Treatment::BadRequest => {
                let message = format!("the header {name} is for the proxy alone; send the request without it");
                return Err(Failure::new(400, Reason::BadRequest, message));
            }
            Treatment::Forbidden => {
                let message = format!("the header {name} is refused: through this proxy everyone acts as themselves");
                return Err(Failure::new(403, Reason::Forbidden, message));
            }
            Treatment::RemoveAndWarn => {
                headers.remove(&name);
                notes.removed_authorization = true;
            }
            Treatment::Remove => {
                headers.remove(&name);
            }
        }
    }
    remove_hop_by_hop(headers);
    // Set anew from the body as it was read; and answered here.
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::EXPECT);
    let kept: &[HeaderName] = if protocol == Some(Protocol::WebSocket) { &HANDSHAKE } else { &[] };
    for name in names(headers).filter(|name| folded(name.as_str()).starts_with("sec-websocket-")) {
        if !kept.contains(&name) {
            headers.remove(name);
        }
    }
    notes.removed_authorization |= websocket::remove_bearer(headers)?;
    headers.remove(header::HOST);
    join_cookies(headers);
    insert_text(headers, HeaderName::from_static("x-forwarded-for"), &client.to_string())?;
    headers.insert(HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static("https"));
    insert_identity(headers, mode, identity)?;
    Ok(notes)
}

/// Turns the API server's headers into those for the client.
pub(super) fn prepare_response(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
}

/// Tells a client that its `Authorization` was not used (RFC 7234 §5.5, code 299; kubectl prints it).
pub(super) fn warn_of_removed_authorization(headers: &mut HeaderMap) {
    let text = r#"299 - "the Authorization header was removed: the client certificate says who you are""#;
    headers.append(header::WARNING, HeaderValue::from_static(text));
}

/// Tells a client that its certificate ends soon.
pub(super) fn warn_of_end(headers: &mut HeaderMap, not_after: Timestamp) {
    let text = format!(r#"299 - "this certificate ends {not_after}: renew it (portcullis renew FILE)""#);
    headers.extend(HeaderValue::from_str(&text).ok().map(|text| (header::WARNING, text)));
}

/// Tells a client that what it was let in by is older than it should be.
pub(super) fn warn_of_age(headers: &mut HeaderMap, age: Age) {
    if let Age::Tolerated(age) = age {
        let text = format!(r#"299 - "revocation data is {} s old: the authority cannot be reached""#, age.as_secs());
        headers.extend(HeaderValue::from_str(&text).ok().map(|text| (header::WARNING, text)));
    }
}

/// Who the user is, as the proxy says it: whatever was there under these names is replaced.
fn insert_identity(headers: &mut HeaderMap, mode: Mode, identity: &Identity) -> Result<(), Failure> {
    let ours = identity.headers(mode);
    for (name, _) in &ours {
        headers.remove(*name);
    }
    for (name, value) in ours {
        headers.append(HeaderName::from_static(name), value_of(&value)?);
    }
    Ok(())
}

fn is_impersonation(name: &HeaderName) -> bool {
    treatment(name.as_str(), Mode::Impersonation) == Treatment::Forbidden
}

fn insert_text(headers: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), Failure> {
    headers.insert(name, value_of(value)?);
    Ok(())
}

fn value_of(text: &str) -> Result<HeaderValue, Failure> {
    // Names may hold any letters: the API server reads UTF-8.
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| Failure::new(500, Reason::InternalError, "the user's name does not fit into a header"))
}

/// RFC 9113 §8.2.3: HTTP/2 may split what HTTP/1.1 wants on one line.
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, whole);
    }
}

/// RFC 9110 §7.6.1: what concerns one connection alone, and whatever `Connection` names.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let nominated: Vec<String> = connection_tokens(headers).collect();
    let gone: Vec<_> = names(headers)
        .filter(|name| {
            let name = folded(name.as_str());
            HOP_BY_HOP.contains(&name.as_str()) || nominated.contains(&name)
        })
        .collect();
    for name in gone {
        headers.remove(name);
    }
}

pub(super) fn connection_tokens(headers: &HeaderMap) -> impl Iterator<Item = String> + '_ {
    let values = headers.get_all(header::CONNECTION).iter();
    values.flat_map(|value| value.as_bytes().split(|octet| *octet == b',')).map(|token| {
        let token = String::from_utf8_lossy(token.trim_ascii());
        folded(&token)
    })
}

fn names(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> + use<> {
    headers.keys().cloned().collect::<Vec<_>>().into_iter()
}

/// RFC 9112 §3.2.2: a target with a host of its own must name the same one.
fn is_same_host(uri: &Uri, host: impl AsRef<[u8]>) -> bool {
    match (uri.scheme_str(), uri.authority()) {
        (None, None) => true,
        (Some("https"), Some(authority)) => authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_ref()),
        _ => false,
    }
}

/// What a WebSocket's handshake is made of; one of its subprotocols may be a bearer token, which is removed as well.
const HANDSHAKE: [HeaderName; 4] = [
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_EXTENSIONS,
];
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
