//! Whether the proxy runs and may let anybody in; on a port of its own, because `/healthz` on the proxy's port belongs
//! to the API server.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::net::http1;
use crate::net::listen::{self, BoxFuture, Handler, Peer, Stream};
use crate::net::stop::Stop;
use crate::observe::{self, Metrics};
use crate::status::Statuses;
use crate::status::freshness::Age;

use super::follow::Conversation;

/// Serves `/healthz` (the process answers), `/readyz` (its answers are kept up) and `/metrics` in plain HTTP until
/// `stop`.
pub async fn serve(listener: TcpListener, health: Health, stop: Stop) {
    let limits = listen::Limits { connections: listen::Allowed::of(MOST_CONNECTIONS), ..listen::Limits::default() };
    listen::serve_plain(listener, Arc::new(health), limits, stop).await;
}

/// What health is told by.
#[derive(Debug)]
pub struct Health {
    /// The answers.
    pub statuses: Arc<Statuses>,
    /// The counts.
    pub metrics: Arc<Metrics>,
    /// How it is with the authority; none where the answers are its own.
    pub conversation: Option<watch::Receiver<Conversation>>,
}

impl Handler for Health {
    fn handle(self: Arc<Self>, stream: Stream, _: Peer, stop: Stop) -> BoxFuture {
        Box::pin(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = self.answer(request.method(), request.uri().path());
                async move { Ok::<_, Infallible>(answer) }
            });
            http1::serve(stream, service, http1::Limits::default(), stop).await;
        })
    }
}

impl Health {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "wanted GET\n".to_owned());
        }
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => self.ready(),
            "/metrics" => {
                let mut response = text(StatusCode::OK, self.metrics.to_text());
                let kind = HeaderValue::from_static(observe::CONTENT_TYPE);
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                response
            }
            _ => text(StatusCode::NOT_FOUND, "wanted /healthz, /readyz or /metrics\n".to_owned()),
        }
    }
}

impl Health {
    /// Ready is whoever lets people in, also on answers that grow old; how it is with the authority is said besides.
    fn ready(&self) -> Response<Full<Bytes>> {
        let conversation = self.conversation.as_ref().map(|watch| watch.borrow().clone());
        let besides = match conversation {
            None => String::new(),
            Some(Conversation::Following) => "following the authority\n".to_owned(),
            Some(Conversation::Away(why)) => format!("the authority is away: {why}\n"),
            Some(Conversation::Alarm(why)) => format!("ALARM: {why}\n"),
        };
        match self.statuses.revision() {
            Ok(revision) => {
                let age = match self.statuses.age() {
                    Age::Tolerated(age) => format!(", STALE for {} s and serving as best-effort", age.as_secs()),
                    Age::Fresh | Age::Stale(_) => String::new(),
                };
                text(StatusCode::OK, format!("ok at revision {revision}{age}\n{besides}"))
            }
            Err(stale) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{stale}\n{besides}")),
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Probes and a scraper, not clients.
const MOST_CONNECTIONS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standing::Revision;

    #[test]
    fn a_proxy_is_ready_only_while_its_answers_are_kept_up() {
        let statuses = Arc::new(Statuses::empty());
        let health = Health { statuses: Arc::clone(&statuses), metrics: Arc::new(Metrics::new()), conversation: None };
        assert_eq!(health.answer(&Method::GET, "/healthz").status(), 200);
        assert_eq!(health.answer(&Method::GET, "/readyz").status(), 503);
        statuses.reached(Revision { era: 1, number: 1 });
        assert_eq!(health.answer(&Method::GET, "/readyz").status(), 200);
        statuses.stop("the disk failed");
        assert_eq!(health.answer(&Method::GET, "/readyz").status(), 503);
        assert_eq!(health.answer(&Method::GET, "/other").status(), 404);
    }
}
