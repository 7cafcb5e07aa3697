//! One request, whichever HTTP it came in: judged, checked, given its identity, sent on, answered.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use http_body_util::{Either, Empty, Full};
use hyper::body::{Body as _, Incoming};

use crate::kube::identity::{Identity, Mode};
use crate::kube::status::{Failure, Reason};
use crate::net::http2::Writing;
use crate::world::Timestamp;

use super::connections::{Leash, Register};
use super::headers::{self, Notes, Protocol};
use super::lane::{Lane, Lease};
use super::last_words::LastWords;
use super::refuse::{self, At, Refusal, Tally};
use super::relay::{Broken, Download, Upload, Watch};
use super::upgrade;
use super::upstream::{Upstream, UpstreamError};

/// What a client gets: words of ours, or the API server's answer.
pub(super) type Answer = Response<Either<Full<Bytes>, Download>>;

/// What carries the requests of one connection.
#[derive(Debug)]
pub(super) struct Forwarder {
    pub(super) register: Arc<Register>,
    pub(super) leash: Arc<Leash>,
    pub(super) lane: Arc<Lane>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) identity: Identity,
    pub(super) mode: Mode,
    /// From when on the certificate is in the last tenth of its life.
    pub(super) ending_from: Timestamp,
    pub(super) client: IpAddr,
    pub(super) tally: Arc<Tally>,
}

impl Forwarder {
    /// Answers one request; an error ends the connection without an answer.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Answer, Broken> {
        if let Err(refusal) = self.stands_for_this_request() {
            self.tally.refused(At::Request, refusal.word());
            let failure = refusal.failure(self.identity.user());
            self.register.cut(&self.leash, refusal);
            // What is read of the body goes nowhere; it is read so that the words are not lost in a reset.
            refuse::drain(request).await;
            return Ok(ours(&failure));
        }
        match headers::check_form(&request).and_then(|()| upgrade::asked(&request)) {
            Ok(None) => self.forward(request).await,
            Ok(Some(protocol)) => self.switch(request, protocol).await,
            Err(failure) => Ok(self.refuse(request, &failure).await),
        }
    }

    /// The check on every request: the credential is asked for anew, whatever was said at the handshake.
    fn stands_for_this_request(&self) -> Result<(), Refusal> {
        self.register.judge(&self.leash)
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Answer, Broken> {
        let (mut head, body) = request.into_parts();
        let notes = match self.prepare(&mut head, None)? {
            Ok(notes) => notes,
            Err(failure) => return Ok(self.refuse(Request::from_parts(head, body), &failure).await),
        };
        let watch = is_watch(&head.method, &head.uri).then(|| head.extensions.remove::<Writing>());
        let is_safe = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let refused_trailer = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&refused_trailer);
        let body = Upload::new(body, head.version, &self.register, &self.leash, told);
        head.extensions.clear();
        self.tally.requested();
        let mut answer = match self.lane.send(Request::from_parts(head, body)).await {
            Ok((response, _)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                ours(&bad_gateway("the API server switched protocols without being asked"))
            }
            Ok((response, lease)) => self.pass_back(response, Some(lease), watch),
            Err(error) => self.explain(&error, is_safe, refused_trailer.load(Ordering::Relaxed))?,
        };
        if notes.removed_authorization {
            headers::warn_of_removed_authorization(answer.headers_mut());
        }
        self.warn(answer.headers_mut());
        if notes.is_last {
            answer.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        }
        Ok(answer)
    }

    /// A request for another protocol. Whatever comes back, HTTP ends here on both sides: after anything but a 101 the
    /// connection closes, because what the client sent behind its wish is no request (CVE-2018-1002105).
    async fn switch(&self, request: Request<Incoming>, protocol: Protocol) -> Result<Answer, Broken> {
        let (mut head, body) = request.into_parts();
        let notes = match self.prepare(&mut head, Some(protocol))? {
            Ok(notes) => notes,
            Err(failure) => return Ok(self.refuse(Request::from_parts(head, body), &failure).await),
        };
        upgrade::ask(&mut head.headers, protocol);
        head.extensions.clear();
        self.tally.requested();
        let mut answer = match self.lane.ask_to_switch(Request::from_parts(head, Empty::new())).await {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                self.agree(response, protocol).await?
            }
            Ok(response) => self.pass_back(response, None, None),
            // A command may have been begun, so that it is not safe to say otherwise.
            Err(error) => self.explain(&error, false, false)?,
        };
        if notes.removed_authorization {
            headers::warn_of_removed_authorization(answer.headers_mut());
        }
        self.warn(answer.headers_mut());
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            answer.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        }
        Ok(answer)
    }

    async fn agree(&self, response: Response<Incoming>, protocol: Protocol) -> Result<Answer, Broken> {
        if !upgrade::is_agreed(&response, protocol) {
            let message = "the API server switched to another protocol than was asked for";
            tracing::warn!(asked = protocol.name(), "{message}");
            return Ok(ours(&bad_gateway(message)));
        }
        let mut answer = Response::new(Either::Left(Full::default()));
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *answer.headers_mut() = response.headers().clone();
        upgrade::prepare_agreement(answer.headers_mut(), protocol);
        let last_words = LastWords::of(protocol, response.headers());
        match self.lane.keep_far_end(response, last_words).await {
            Ok(()) => Ok(answer),
            Err(error) => self.explain(&error, false, false),
        }
    }

    /// What the holder should know, whatever the answer is; kubectl prints it.
    fn warn(&self, headers: &mut HeaderMap) {
        headers::warn_of_age(headers, self.register.age());
        if self.register.now() >= self.ending_from {
            headers::warn_of_end(headers, self.leash.not_after());
        }
    }

    /// Turns a request's head into the one for the API server; a failure is for the client.
    fn prepare(&self, head: &mut Parts, protocol: Option<Protocol>) -> Result<Result<Notes, Failure>, Broken> {
        let notes = match headers::prepare(&mut head.headers, protocol, self.mode, &self.identity, self.client) {
            Ok(notes) => notes,
            Err(failure) => return Ok(Err(failure)),
        };
        // The octets that came are the octets that go: nothing is normalised.
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        head.uri = target.parse().map_err(|_| Broken::Cut)?;
        Ok(Ok(notes))
    }

    /// The API server's answer as the client gets it. `watch` is there for a request for a watch, and has what knows the
    /// client's HTTP/2 where it is that.
    fn pass_back(&self, response: Response<Incoming>, lease: Option<Lease>, watch: Option<Option<Writing>>) -> Answer {
        if response.status() == StatusCode::UNAUTHORIZED {
            self.upstream.forget_token();
            tracing::error!("the API server refused the proxy's own credential; look at [upstream] in the settings");
            return ours(&bad_gateway("the API server refused the proxy's own credential"));
        }
        let (mut head, body) = response.into_parts();
        headers::prepare_response(&mut head.headers);
        let is_json = head.headers.get(header::CONTENT_TYPE).is_some_and(|value| is_json(value.as_bytes()));
        let is_plain = !head.headers.contains_key(header::CONTENT_ENCODING) && body.size_hint().exact().is_none();
        let watch = match watch {
            Some(writing) if head.status == StatusCode::OK && is_json && is_plain => Watch::Json(writing),
            _ => Watch::No,
        };
        let body = Download::new((head.version, body), &self.register, &self.leash, lease, watch);
        head.version = Version::HTTP_11;
        Response::from_parts(head, Either::Right(body))
    }

    /// What a failed exchange means for the client.
    fn explain(&self, error: &UpstreamError, is_safe: bool, refused_trailer: bool) -> Result<Answer, Broken> {
        if let Err(refusal) = self.stands_for_this_request() {
            // Another connection of the credential's may have been told a moment earlier, and have ended theirs all.
            self.register.cut(&self.leash, refusal);
        }
        if let Some(refusal) = self.leash.refusal() {
            // A change may have been made: only what changes nothing may be answered as if it had not been.
            return if is_safe { Ok(ours(&refusal.failure(self.identity.user()))) } else { Err(Broken::Cut) };
        }
        if refused_trailer {
            let message = "a trailer names an identity; send the request without it";
            return Ok(ours(&Failure::new(400, Reason::BadRequest, message)));
        }
        tracing::warn!(%error, "no answer from the API server");
        Ok(ours(&bad_gateway("the API server cannot be reached; the proxy's log says why")))
    }

    async fn refuse(&self, request: Request<Incoming>, failure: &Failure) -> Answer {
        self.tally.refused(At::Request, failure.reason.as_str());
        tracing::info!(user = self.identity.user(), code = failure.code, message = failure.message, "request refused");
        refuse::drain(request).await;
        ours(failure)
    }
}

fn ours(failure: &Failure) -> Answer {
    refuse::response(failure).map(Either::Left)
}

fn bad_gateway(message: &str) -> Failure {
    Failure::new(502, Reason::ServiceUnavailable, message)
}

/// Whether a request asks for a stream of events, one a line.
fn is_watch(method: &Method, uri: &http::Uri) -> bool {
    let by_query =
        uri.query().is_some_and(|query| query.split('&').any(|part| part == "watch=true" || part == "watch=1"));
    method == Method::GET && (by_query || uri.path().split('/').any(|part| part == "watch"))
}

fn is_json(media_type: &[u8]) -> bool {
    let kind = media_type.split(|octet| *octet == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
}
