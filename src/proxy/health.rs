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

use crate::net::http1;
use crate::net::listen::{self, BoxFuture, Handler, Peer, Stream};
use crate::net::stop::Stop;
use crate::observe::{self, Metrics};
use crate::status::Statuses;

/// Serves `/healthz` (the process answers), `/readyz` (its answers are kept up) and `/metrics` in plain HTTP until
/// `stop`.
pub async fn serve(listener: TcpListener, statuses: Arc<Statuses>, metrics: Arc<Metrics>, stop: Stop) {
    let limits = listen::Limits { connections: MOST_CONNECTIONS, ..listen::Limits::default() };
    listen::serve_plain(listener, Arc::new(Health { statuses, metrics }), limits, stop).await;
}

#[derive(Debug)]
struct Health {
    statuses: Arc<Statuses>,
    metrics: Arc<Metrics>,
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
            "/readyz" => match self.statuses.revision() {
                Ok(revision) => text(StatusCode::OK, format!("ok at revision {revision}\n")),
                Err(stale) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{stale}\n")),
            },
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
        let health = Health { statuses: Arc::clone(&statuses), metrics: Arc::new(Metrics::new()) };
        assert_eq!(health.answer(&Method::GET, "/healthz").status(), 200);
        assert_eq!(health.answer(&Method::GET, "/readyz").status(), 503);
        statuses.reached(Revision { era: 1, number: 1 });
        assert_eq!(health.answer(&Method::GET, "/readyz").status(), 200);
        statuses.stop("the disk failed");
        assert_eq!(health.answer(&Method::GET, "/readyz").status(), 503);
        assert_eq!(health.answer(&Method::GET, "/other").status(), 404);
    }
}
