//! One request: judged, checked, given its identity, sent on, answered.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::body::{Body as _, Incoming};

use crate::kube::identity::{Identity, Mode};
use crate::kube::status::{Failure, Reason};

use super::connections::{Leash, Register};
use super::headers;
use super::refuse::{self, At, Refusal, Tally};
use super::relay::{Broken, Download, Upload};
use super::upstream::{Lane, Upstream, UpstreamError};

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
    pub(super) client: IpAddr,
    pub(super) tally: Arc<Tally>,
}

impl Forwarder {
    /// Answers one request; an error ends the connection without an answer.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Answer, Broken> {
        if let Err(refusal) = self.stands_for_this_request() {
            self.tally.refused(At::Request, refusal.word());
            let failure = refusal.failure(self.identity.user());
            // What is read of the body goes nowhere; it is read so that the words are not lost in a reset.
            refuse::drain(request).await;
            self.register.cut(&self.leash, refusal);
            return Ok(ours(&failure));
        }
        if let Err(failure) = headers::check_form(&request) {
            return Ok(self.refuse(request, &failure).await);
        }
        self.forward(request).await
    }

    /// The check on every request: the credential is asked for anew, whatever was said at the handshake.
    fn stands_for_this_request(&self) -> Result<(), Refusal> {
        self.register.judge(&self.leash)
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Answer, Broken> {
        let (mut head, body) = request.into_parts();
        let host = self.upstream.authority();
        let notes = match headers::prepare(&mut head.headers, self.mode, &self.identity, self.client, host) {
            Ok(notes) => notes,
            Err(failure) => return Ok(self.refuse(Request::from_parts(head, body), &failure).await),
        };
        let is_watch = is_watch(&head.method, &head.uri);
        let is_safe = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        // The octets that came are the octets that go: nothing is normalised.
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        head.uri = target.parse().map_err(|_| Broken::Cut)?;
        head.extensions.clear();
        let refused_trailer = Arc::new(AtomicBool::new(false));
        let body = Upload::new(body, &self.register, &self.leash, self.mode, Arc::clone(&refused_trailer));
        self.tally.requested();
        let sent = self.lane.send(Request::from_parts(head, body)).await;
        let mut answer = match sent {
            Ok(response) if response.status() == StatusCode::UNAUTHORIZED && self.mode == Mode::Impersonation => {
                self.upstream.forget_token();
                tracing::error!("the API server refused the proxy's own credential; look at upstream.token_file");
                ours(&bad_gateway("the API server refused the proxy's own credential"))
            }
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                ours(&bad_gateway("the API server switched protocols without being asked"))
            }
            Ok(response) => self.pass_back(response, is_watch),
            Err(error) => self.explain(&error, is_safe, refused_trailer.load(Ordering::Relaxed))?,
        };
        if notes.removed_authorization {
            headers::warn_of_removed_authorization(answer.headers_mut());
        }
        if notes.is_last {
            answer.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        }
        Ok(answer)
    }

    fn pass_back(&self, response: Response<Incoming>, is_watch: bool) -> Answer {
        let (mut head, body) = response.into_parts();
        headers::prepare_response(&mut head.headers);
        let is_json = head.headers.get(header::CONTENT_TYPE).is_some_and(|value| is_json(value.as_bytes()));
        let is_plain = !head.headers.contains_key(header::CONTENT_ENCODING) && body.size_hint().exact().is_none();
        let is_watch = is_watch && head.status == StatusCode::OK && is_json && is_plain;
        let body = Download::new(body, &self.register, &self.leash, is_watch);
        Response::from_parts(head, Either::Right(body))
    }

    /// What a failed exchange means for the client.
    fn explain(&self, error: &UpstreamError, is_safe: bool, refused_trailer: bool) -> Result<Answer, Broken> {
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
