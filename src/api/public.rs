//! The public surface over plain HTTP: CRLs, OCSP, CA certificates.
//!
//! What is served here is signed, and reading it needs no secret (RFC 5280 §8: plain HTTP avoids a circle).

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::server::set_revision;
use crate::ca::keys::Keyring;
use crate::ident::{Fingerprint, IssuerName};
use crate::net::http1;
use crate::net::listen::{BoxFuture, Handler, Peer, Stream};
use crate::net::stop::Stop;
use crate::publish::crl::Lists;
use crate::publish::ocsp::{Answer, MAX_AGE, Responders};
use crate::status::Statuses;
use crate::world::{Clock, Timestamp};
use crate::x509::ocsp::request::{MOST_OCTETS, decode_get_path};

/// Serves what anybody may read.
#[derive(Debug)]
pub struct Public {
    /// The published lists.
    pub lists: Arc<Lists>,
    /// Who answers OCSP.
    pub responders: Arc<Responders>,
    /// The authorities, for their certificates.
    pub keyring: Arc<Keyring>,
    /// How far the answers have come.
    pub statuses: Arc<Statuses>,
    /// Wall time, which OCSP answers state.
    pub clock: Arc<dyn Clock>,
}

type Reply = Response<Full<Bytes>>;

impl Handler for Public {
    fn handle(self: Arc<Self>, stream: Stream, _: Peer, stop: Stop) -> BoxFuture {
        Box::pin(async move {
            let service = service_fn(move |request| {
                let public = Arc::clone(&self);
                async move { Ok::<_, Infallible>(public.answer(request).await) }
            });
            http1::serve(stream, service, http1::Limits::default(), stop).await;
        })
    }
}

impl Public {
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let path = request.uri().path().to_owned();
        let mut reply = if let Some(name) = path.strip_prefix("/crl/").and_then(|name| name.strip_suffix(".crl")) {
            self.if_read(is_read, || self.crl(name, &request))
        } else if let Some(name) = path.strip_prefix("/ca/").and_then(|name| name.strip_suffix(".crt")) {
            self.if_read(is_read, || self.certificate(name, &request))
        } else if let Some(encoded) = path.strip_prefix("/ocsp/") {
            self.if_read(is_read, || self.ocsp_get(encoded, &request))
        } else if path == "/ocsp" {
            match *request.method() {
                Method::POST => self.ocsp_post(request).await,
                _ => not_allowed("POST"),
            }
        } else {
            plain(StatusCode::NOT_FOUND, "there is nothing at this path\n")
        };
        // A list says itself which revision it reflects.
        if !reply.headers().contains_key("portcullis-revision")
            && let Ok(revision) = self.statuses.revision()
        {
            set_revision(&mut reply, &revision.to_string());
        }
        reply
    }

    fn if_read(&self, is_read: bool, reply: impl FnOnce() -> Reply) -> Reply {
        if is_read { reply() } else { not_allowed("GET, HEAD") }
    }

    fn crl(&self, name: &str, request: &Request<Incoming>) -> Reply {
        let list = name.parse::<IssuerName>().ok().and_then(|issuer| self.lists.published(&issuer));
        let Some(list) = list else {
            return plain(StatusCode::NOT_FOUND, "there is no such list\n");
        };
        let etag = format!("\"{}\"", list.number);
        let mut reply = conditional(request, &etag, list.this_update, list.der, "application/pkix-crl");
        insert(&mut reply, header::CACHE_CONTROL, "max-age=60, public, no-transform, must-revalidate");
        set_revision(&mut reply, &list.number.to_string());
        reply
    }

    fn certificate(&self, name: &str, request: &Request<Incoming>) -> Reply {
        let found = name.parse::<IssuerName>().ok().and_then(|issuer| self.keyring.certificate(&issuer));
        let Some(certificate) = found else {
            return plain(StatusCode::NOT_FOUND, "there is no such authority\n");
        };
        let etag = format!("\"{}\"", hex::encode(certificate.fingerprint().octets()));
        let der = Bytes::copy_from_slice(certificate.der());
        let mut reply = conditional(request, &etag, certificate.not_before, der, "application/pkix-cert");
        insert(&mut reply, header::CACHE_CONTROL, "max-age=86400, public, no-transform");
        reply
    }

    /// The raw path: base64 holds slashes (RFC 6960 §A.1).
    fn ocsp_get(&self, encoded: &str, request: &Request<Incoming>) -> Reply {
        match decode_get_path(encoded) {
            Ok(question) => self.ocsp(&question, Some(request)),
            Err(error) => plain(StatusCode::BAD_REQUEST, &format!("{error}\n")),
        }
    }

    async fn ocsp_post(&self, request: Request<Incoming>) -> Reply {
        match Limited::new(request.into_body(), MOST_OCTETS).collect().await {
            Ok(body) => self.ocsp(&body.to_bytes(), None),
            Err(_) => plain(StatusCode::PAYLOAD_TOO_LARGE, "wanted an OCSP request of at most 16 KiB\n"),
        }
    }

    fn ocsp(&self, question: &[u8], request: Option<&Request<Incoming>>) -> Reply {
        let Answer { der, cacheable } = self.responders.answer(question, &*self.clock);
        let (Some(request), Some((from, until))) = (request, cacheable) else {
            let mut reply = Response::new(Full::new(der));
            insert(&mut reply, header::CONTENT_TYPE, OCSP_RESPONSE);
            insert(&mut reply, header::CACHE_CONTROL, "no-store");
            return reply;
        };
        let etag = format!("\"{}\"", hex::encode(Fingerprint::of(&der).octets()));
        let mut reply = conditional(request, &etag, from, der, OCSP_RESPONSE);
        // RFC 9919: a cache keeps an answer for less than its life, so that a revocation shows soon.
        let max_age = format!("max-age={}, public, no-transform, must-revalidate", MAX_AGE.as_secs());
        insert(&mut reply, header::CACHE_CONTROL, &max_age);
        insert(&mut reply, header::EXPIRES, &http_date(from.after(MAX_AGE).min(until)));
        reply
    }
}

/// The body, or 304 when the client has it (RFC 9110 §13.1.2, §13.1.3).
fn conditional(request: &Request<Incoming>, etag: &str, modified: Timestamp, body: Bytes, media_type: &str) -> Reply {
    let is_head = request.method() == Method::HEAD;
    let header = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let has_it = match header(header::IF_NONE_MATCH) {
        Some(known) => {
            known.split(',').any(|one| matches!(one.trim().trim_start_matches("W/"), tag if tag == etag || tag == "*"))
        }
        None => header(header::IF_MODIFIED_SINCE)
            .and_then(read_http_date)
            .is_some_and(|since| modified.whole_seconds() <= since),
    };
    let length = body.len();
    let mut reply = Response::new(Full::new(if has_it || is_head { Bytes::new() } else { body }));
    if has_it {
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        insert(&mut reply, header::CONTENT_TYPE, media_type);
        if is_head {
            insert(&mut reply, header::CONTENT_LENGTH, &length.to_string());
        }
    }
    insert(&mut reply, header::ETAG, etag);
    insert(&mut reply, header::LAST_MODIFIED, &http_date(modified));
    reply
}

/// RFC 9110 §5.6.7: RFC 2822 with `GMT`.
fn http_date(moment: Timestamp) -> String {
    let date = moment.date_time().format(&Rfc2822).unwrap_or_default();
    date.replace("+0000", "GMT")
}

fn read_http_date(text: &str) -> Option<Timestamp> {
    OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok().map(Timestamp::from)
}

fn plain(status: StatusCode, text: &str) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(text.to_owned())));
    *reply.status_mut() = status;
    insert(&mut reply, header::CONTENT_TYPE, "text/plain; charset=utf-8");
    reply
}

fn not_allowed(allowed: &str) -> Reply {
    let mut reply = plain(StatusCode::METHOD_NOT_ALLOWED, &format!("wanted {allowed} at this path\n"));
    insert(&mut reply, header::ALLOW, allowed);
    reply
}

fn insert(reply: &mut Reply, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
}

const OCSP_RESPONSE: &str = "application/ocsp-response";
