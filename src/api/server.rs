//! The management listener: from a connection to calls, from replies to responses.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use rustls_pki_types::CertificateDer;
use tokio::time::timeout;

use super::management::authorities;
use super::management::revocations::{self, blocking};
use super::proxies::follow;
use super::proxies::manage::token_of;
use super::routes::{Call, Handler, JOIN, Reply, Route, Router, known_query};
use super::{Api, authenticate, problem};
use crate::access::Actor;
use crate::command::{Code, Rejected};
use crate::engine::Repeatable;
use crate::ident::Fingerprint;
use crate::net::channel::ChannelBody;
use crate::net::listen::{self, BoxFuture, Peer, Stream};
use crate::net::stop::Stop;
use crate::net::{http as net_http, http1};
use crate::observe;

/// Serves the management API on the connections of a listener.
#[derive(Debug)]
pub struct Management(pub Arc<Api>);

impl listen::Handler for Management {
    fn handle(self: Arc<Self>, stream: Stream, peer: Peer, stop: Stop) -> BoxFuture {
        Box::pin(async move {
            let presented: Arc<[CertificateDer<'static>]> = peer.certificates.into();
            let service = service_fn(move |request| {
                let (api, presented) = (Arc::clone(&self.0), Arc::clone(&presented));
                async move { Ok::<_, Infallible>(answer(api, presented, request).await) }
            });
            net_http::serve(stream, service, http1::Limits::default(), stop).await;
        })
    }
}

/// Serves `/healthz` and `/readyz` alone, without TLS.
#[derive(Debug)]
pub struct Health(pub Arc<Api>);

impl listen::Handler for Health {
    fn handle(self: Arc<Self>, stream: Stream, _: Peer, stop: Stop) -> BoxFuture {
        Box::pin(async move {
            let service = service_fn(move |request| {
                let nothing = Rejected::new(Code::NotFound, "there is nothing at this path");
                let answer = health(&self.0, &request).unwrap_or_else(|| problem::response(&nothing));
                async move { Ok::<_, Infallible>(answer) }
            });
            http1::serve(stream, service, http1::Limits::default(), stop).await;
        })
    }
}

async fn answer(
    api: Arc<Api>,
    presented: Arc<[CertificateDer<'static>]>,
    request: Request<Incoming>,
) -> Response<Answer> {
    if let Some(health) = health(&api, &request) {
        return health.map(Either::Left);
    }
    let end = api.engine.store().end();
    let (head, body) = request.into_parts();
    let mut body = Some(body);
    let path = head.uri.path();
    match reply(&api, presented, &head, &mut body).await {
        Ok(Answered::Reply(reply)) => {
            api.measures.answered(None);
            success(reply, path == "/metrics").map(Either::Left)
        }
        Ok(Answered::Feed(response)) => {
            api.measures.answered(None);
            response.map(Either::Right)
        }
        Err(rejected) => {
            api.measures.answered(Some(rejected.code));
            // What comes unread is reset, and the client could see that instead of the words.
            if let Some(body) = &mut body {
                let _ = timeout(DRAIN_TIME, read(body)).await;
            }
            let mut response = problem::response(&rejected);
            if rejected.code == Code::MethodNotAllowed {
                set_allow(&mut response, path);
            }
            set_revision(&mut response, &end.to_string());
            response.map(Either::Left)
        }
    }
}

/// A body that is there at once, or the frames of a feed.
type Answer = Either<Full<Bytes>, ChannelBody>;

enum Answered {
    Reply(Reply),
    Feed(Response<ChannelBody>),
}

/// `/healthz` and `/readyz` need no credential.
fn health(api: &Api, request: &Request<Incoming>) -> Option<Response<Full<Bytes>>> {
    if request.method() != Method::GET {
        return None;
    }
    let problems = match request.uri().path() {
        "/healthz" => Vec::new(),
        "/readyz" => api.problems(),
        _ => return None,
    };
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let text = if problems.is_empty() { "ok\n".to_owned() } else { format!("{}\n", problems.join("\n")) };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Some(response)
}

async fn reply(
    api: &Arc<Api>,
    presented: Arc<[CertificateDer<'static>]>,
    head: &Parts,
    unread: &mut Option<Incoming>,
) -> Result<Answered, Rejected> {
    // Who asks comes first: a stranger learns nothing of which paths there are, and sends no body.
    let path = head.uri.path();
    let actor = if path == JOIN {
        joiner(head)?
    } else {
        let engine = Arc::clone(&api.engine);
        blocking(move || authenticate::actor(&engine, &presented)).await?
    };
    let (handler, parameters) = route(&head.method, path)?;
    if matches!(handler, Handler::Follow) {
        return follow::follow(Arc::clone(api), actor, unread).await.map(Answered::Feed);
    }
    let query = pairs(head.uri.query().unwrap_or_default())?;
    must_be_known(&head.method, path, &query)?;
    let key = idempotency_key(head)?;
    // The path and the query alone: HTTP/2 spells the whole address.
    let target = format!("{} {}", head.method, head.uri.path_and_query().map_or(path, |target| target.as_str()));
    let body = read(unread.as_mut().ok_or_else(gone)?).await?;
    let repeatable = key.map(|key| Repeatable { key, digest: digest(&target, &body) });
    let call = Call { actor, parameters, query, body, repeatable };
    let reply = match handler {
        Handler::Revoke => revocations::revoke(Arc::clone(api), Arc::new(call)).await,
        Handler::Rotate => authorities::rotate(Arc::clone(api), Arc::new(call)).await,
        Handler::Plain(plain) => {
            let api = Arc::clone(api);
            blocking(move || plain(&api, &call)).await
        }
        Handler::Follow => Err(Rejected::new(Code::Internal, "a feed is not a call")),
    };
    reply.map(Answered::Reply)
}

fn gone() -> Rejected {
    Rejected::new(Code::Internal, "the body of a request was read before")
}

/// Whoever joins has no certificate yet, and shows the secret of a token.
fn joiner(head: &Parts) -> Result<Actor, Rejected> {
    let value = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let secret = value.and_then(|value| value.strip_prefix("Bearer "));
    let secret = secret.ok_or_else(|| {
        Rejected::new(Code::Unauthenticated, "wanted the secret of a join token in Authorization: Bearer")
    })?;
    Ok(Actor::Joiner { token: token_of(secret)? })
}

fn route(method: &Method, path: &str) -> Result<(Handler, HashMap<String, String>), Rejected> {
    let nothing = || Rejected::new(Code::NotFound, "there is nothing at this path");
    let found = Router::get().find(path).ok_or_else(nothing)?;
    let Some(Route { handler, .. }) = found.routes.iter().find(|route| route.method == *method) else {
        let allowed: Vec<&str> = found.routes.iter().map(|route| route.method.as_str()).collect();
        let allowed = allowed.join(", ");
        return Err(Rejected::new(Code::MethodNotAllowed, format!("wanted {allowed} at this path, found {method}")));
    };
    let mut parameters = HashMap::new();
    for (name, value) in found.parameters {
        parameters.insert(name, percent_decode(&value)?);
    }
    Ok((*handler, parameters))
}

/// A misspelt narrowing would show everything.
fn must_be_known(method: &Method, path: &str, query: &HashMap<String, String>) -> Result<(), Rejected> {
    let known = known_query(method, path);
    match query.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(Rejected::invalid(format!(
            "wanted {} in the query, found \"{}\"",
            if known.is_empty() { "nothing".to_owned() } else { known.join(", ") },
            name.escape_debug()
        ))),
    }
}

/// A key chosen by the client makes a request repeatable.
fn idempotency_key(head: &Parts) -> Result<Option<String>, Rejected> {
    let Some(value) = head.headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=128).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(Rejected::invalid("Idempotency-Key: wanted 1 to 128 visible characters")),
    }
}

async fn read(body: &mut Incoming) -> Result<Vec<u8>, Rejected> {
    let (mut bytes, mut length) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Rejected::invalid("wanted a body that is sent to its end"))?;
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length <= MAX_BODY {
            bytes.extend_from_slice(&data);
        } else if length > MAX_DRAINED {
            break;
        }
    }
    // What is too long is read on for a while, so that the refusal is not lost in a reset.
    if length > MAX_BODY {
        return Err(Rejected::new(Code::TooLarge, format!("wanted a body of at most {MAX_BODY} octets")));
    }
    Ok(bytes)
}

fn digest(target: &str, body: &[u8]) -> [u8; 32] {
    let mut bytes = target.as_bytes().to_vec();
    bytes.push(0);
    bytes.extend_from_slice(body);
    *Fingerprint::of(&bytes).octets()
}

fn pairs(query: &str) -> Result<HashMap<String, String>, Rejected> {
    let mut pairs = HashMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.insert(percent_decode(name)?, percent_decode(&value.replace('+', "%20"))?);
    }
    Ok(pairs)
}

/// RFC 3986 §2.1.
fn percent_decode(text: &str) -> Result<String, Rejected> {
    let refused = || Rejected::invalid("the address is not percent-encoded UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next().ok_or_else(refused)?, rest.next().ok_or_else(refused)?];
        let mut decoded = [0];
        hex::decode_to_slice(digits, &mut decoded).map_err(|_| refused())?;
        bytes.extend(decoded);
    }
    String::from_utf8(bytes).map_err(|_| refused())
}

fn success(reply: Reply, is_metrics: bool) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(reply.body)));
    *response.status_mut() = if reply.is_created { StatusCode::CREATED } else { StatusCode::OK };
    let media_type = if is_metrics { observe::CONTENT_TYPE } else { "application/json" };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    // An answer may hold a private key, and none may be shown to somebody else.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    set_revision(&mut response, &reply.revision.to_string());
    response
}

/// RFC 9110 §15.5.6: a 405 says what is allowed.
fn set_allow<B>(response: &mut Response<B>, path: &str) {
    let routes = Router::get().find(path).map_or(&[] as &[Route], |found| found.routes);
    let allowed: Vec<&str> = routes.iter().map(|route| route.method.as_str()).collect();
    if let Ok(value) = HeaderValue::from_str(&allowed.join(", ")) {
        response.headers_mut().insert(header::ALLOW, value);
    }
}

/// Every answer says which revision it reflects.
pub(super) fn set_revision<B>(response: &mut Response<B>, revision: &str) {
    if let Ok(value) = HeaderValue::from_str(revision) {
        response.headers_mut().insert("portcullis-revision", value);
    }
}

/// A certificate request is 64 KiB at most, and JSON escapes its line ends.
const MAX_BODY: usize = 128 * 1024;

/// How long a body that is not wanted is read.
const DRAIN_TIME: Duration = Duration::from_millis(500);

/// What is read of a body that is too long.
const MAX_DRAINED: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_decoded_and_nothing_else_is_accepted() {
        assert_eq!(percent_decode("gr%C3%B6%C3%9Fe%2Cb").unwrap(), "größe,b");
        for bad in ["%", "%4", "%zz", "%ff"] {
            assert!(percent_decode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_query_is_taken_apart() {
        let found = pairs("id=alice&after=a+b&limit=").unwrap();
        assert_eq!(found.get("after").map(String::as_str), Some("a b"));
        assert_eq!(found.get("limit").map(String::as_str), Some(""));
    }
}
