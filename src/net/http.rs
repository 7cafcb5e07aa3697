//! Serving HTTP on one connection, in the version that was agreed on in the handshake.

use std::error::Error as StdError;

use ::http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::Service;

use super::http1::{self, Limits, Switched};
use super::http2;
use super::listen::Stream;
use super::stop::Stop;

/// Serves requests until the connection ends; see [`http1::serve`] and [`http2::serve`].
///
/// Only HTTP/1.1 can be left for another protocol.
pub async fn serve<S, B>(stream: Stream, service: S, limits: Limits, stop: Stop) -> Option<Switched>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    if stream.is_http2() {
        http2::serve(stream, service, limits, stop).await;
        return None;
    }
    http1::serve(stream, service, limits, stop).await
}
