//! A small API server to try the product on: it says who you are, and counts the seconds for as long as you may watch.
//!
//! It believes the impersonation headers of whoever shows its token, as an API server does of an account that may
//! impersonate. It answers discovery, `SelfSubjectReview` (`kubectl auth whoami`), `/version`, `/watch` and `/healthz`;
//! everything else is not found. It keeps nothing.
//!
//! Read `answers` for what it says and `watch` for the stream.

mod answers;
mod watch;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde_json::Value;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::kube::status::{Failure, Reason};
use crate::net::http1;
use crate::net::listen::{self, BoxFuture, Handler, Peer, Stream};
use crate::net::stop::{self, Stop, Stopper};
use crate::net::tls::{self, Serving, TlsError, Versions};
use crate::secret::Secret;
use crate::world::Clock;

use watch::Ticks;

/// A running demo API server.
#[derive(Debug)]
pub struct Demo {
    stopper: Stopper,
    serving: JoinHandle<()>,
}

impl Demo {
    /// Starts serving on the current runtime; `token` is what callers must show as a bearer token.
    pub fn start(
        listener: TcpListener,
        serving: &Arc<Serving>,
        token: Secret<String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TlsError> {
        let (stopper, stop) = stop::channel();
        let config = tls::server_config(serving, None, Versions::Tls13, clock)?;
        let server = Arc::new(Server { token });
        let serving = tokio::spawn(listen::serve(listener, config, server, listen::Limits::default(), stop));
        Ok(Self { stopper, serving })
    }

    /// Stops accepting, and returns once every connection has ended.
    pub async fn stop(self) {
        self.stopper.stop();
        // An error means that the task is gone already.
        let _ = self.serving.await;
    }
}

#[derive(Debug)]
struct Server {
    token: Secret<String>,
}

type Answer = Response<Either<Full<Bytes>, Ticks>>;

impl Handler for Server {
    fn handle(self: Arc<Self>, stream: Stream, _: Peer, stop: Stop) -> BoxFuture {
        Box::pin(async move {
            let ending = stop.clone();
            let service = service_fn(move |request| {
                let (server, ending) = (Arc::clone(&self), ending.clone());
                async move { Ok::<_, Infallible>(server.answer(request, ending).await) }
            });
            http1::serve(stream, service, http1::Limits::default(), stop).await;
        })
    }
}

impl Server {
    async fn answer(&self, request: Request<Incoming>, ending: Stop) -> Answer {
        let (head, body) = request.into_parts();
        // Read whole, so that the connection can carry the next request; nothing in it matters here.
        if Limited::new(body, MOST_OCTETS).collect().await.is_err() {
            return failure(413, Reason::BadRequest, "wanted a body of at most 64 KiB");
        }
        if head.uri.path() == "/healthz" {
            return plain("ok");
        }
        if !self.is_known(&head.headers) {
            return failure(401, Reason::Unauthorized, "wanted the bearer token of the demo API server");
        }
        match (&head.method, head.uri.path()) {
            (&Method::GET, "/watch") => stream(ending),
            (&Method::GET, path) => match answers::document(path) {
                Some(document) => json(StatusCode::OK, &document),
                None => failure(404, Reason::NotFound, "the demo API server has nothing there"),
            },
            (&Method::POST, answers::SELF_SUBJECT_REVIEWS) => {
                json(StatusCode::CREATED, &answers::self_subject_review(&head.headers))
            }
            (_, answers::SELF_SUBJECT_REVIEWS) => failure(405, Reason::MethodNotAllowed, "wanted POST"),
            _ => failure(404, Reason::NotFound, "the demo API server has nothing there"),
        }
    }

    fn is_known(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        let token = shown.strip_prefix(b"Bearer ").unwrap_or_default();
        token.ct_eq(self.token.expose().as_bytes()).into()
    }
}

fn stream(ending: Stop) -> Answer {
    let mut response = Response::new(Either::Right(Ticks::new(ending)));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

fn json(status: StatusCode, document: &Value) -> Answer {
    let mut response = Response::new(Either::Left(Full::from(document.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

fn plain(text: &'static str) -> Answer {
    Response::new(Either::Left(Full::from(text)))
}

fn failure(code: u16, reason: Reason, message: &str) -> Answer {
    let mut response = Response::new(Either::Left(Full::from(Failure::new(code, reason, message).to_json())));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// A review is some 100 octets.
const MOST_OCTETS: usize = 64 * 1024;
