//! One client connection's way to the API server: places in the pool of its credential, and a connection of its own for
//! another protocol.

use std::error::Error as StdError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::uri::Scheme;
use http::{Request, Response, Uri, Version};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

use crate::ident::Fingerprint;

use super::last_words::LastWords;
use super::pool::{Hold, Pool, Pools, Way};
use super::relay::Upload;
use super::upstream::{ANSWER_TIME, Upstream, UpstreamError, Wire};

/// What one client connection has of the API server.
#[derive(Debug)]
pub(super) struct Lane {
    pools: Arc<Pools>,
    pool: Arc<Pool>,
    credential: Fingerprint,
    has_left: AtomicBool,
    /// `None` once the lane is closed.
    own: Mutex<Option<Own>>,
}

/// What this connection shares with no other.
#[derive(Debug, Default)]
struct Own {
    /// What drives its connections.
    drivers: JoinSet<()>,
    far_end: Option<FarEnd>,
}

/// A connection to the API server that speaks another protocol from here on.
#[derive(Debug)]
pub(super) struct FarEnd {
    pub(super) stream: TlsStream<TcpStream>,
    /// What came right behind the head of the answer.
    pub(super) early: Bytes,
    /// How a remote command can be told why it ends.
    pub(super) last_words: Option<LastWords>,
}

/// What holds an answer's place until the answer has come to its end.
#[derive(Debug)]
pub(super) struct Lease {
    hold: Hold,
    sender: Option<http1::SendRequest<Upload>>,
}

impl Lease {
    /// The answer has ended, and its connection can be used again.
    pub(super) fn end(&mut self) {
        if let Some(sender) = self.sender.take() {
            self.hold.give_back(sender);
        }
    }
}

impl Lane {
    pub(super) fn new(pools: &Arc<Pools>, credential: Fingerprint) -> Self {
        Self {
            pools: Arc::clone(pools),
            pool: pools.enter(credential),
            credential,
            has_left: AtomicBool::new(false),
            own: Mutex::new(Some(Own::default())),
        }
    }

    fn upstream(&self) -> &Upstream {
        self.pools.upstream()
    }

    /// Sends one request and gives the head of its answer; redirects are not followed.
    ///
    /// It is sent again only if the API server has surely not looked at it (it never left, or RFC 9113 §8.7), or if it
    /// changes nothing and was refused by a server that is leaving.
    pub(super) async fn send(
        &self,
        mut request: Request<Upload>,
    ) -> Result<(Response<Incoming>, Lease), UpstreamError> {
        self.upstream().authorize(request.headers_mut()).await?;
        for _ in 0..ATTEMPTS {
            let place = self.pool.place().await?;
            request.body_mut().hold(place.hold.clone());
            let again = copy_without_body(&request);
            let (sent, sender) = match place.way {
                Way::Http1(mut sender) => {
                    for_http1(&mut request, self.upstream())?;
                    (sender.try_send_request(request).await, Some(sender))
                }
                Way::Http2(mut sender) => {
                    for_http2(&mut request, self.upstream())?;
                    (sender.try_send_request(request).await, None)
                }
            };
            request = match sent {
                Ok(response) => return Ok((response, Lease { hold: place.hold, sender })),
                Err(mut error) => match error.take_message() {
                    // The connection had ended already: nothing was sent.
                    Some(unsent) => unsent,
                    None => match (again, error.into_error()) {
                        (Some(again), error) if is_unprocessed(&error, &again) => again,
                        (_, error) => return Err(error.into()),
                    },
                },
            };
        }
        Err(UpstreamError::Unsteady(ATTEMPTS))
    }

    /// Sends a request for another protocol on a connection of its own, which carries nothing else whatever the answer.
    pub(super) async fn ask_to_switch(
        &self,
        mut request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        self.upstream().authorize(request.headers_mut()).await?;
        for_http1(&mut request, self.upstream())?;
        let wire = self.upstream().dial_http1().await?;
        let (mut sender, connection) = http1::Builder::new().handshake(wire).await?;
        self.drive(connection.with_upgrades())?;
        let answer = tokio::time::timeout(ANSWER_TIME, sender.send_request(request)).await;
        Ok(answer.map_err(|_| UpstreamError::Silent)??)
    }

    /// Keeps the connection of a 101 until the client was told as well.
    pub(super) async fn keep_far_end(
        &self,
        answer: Response<Incoming>,
        last_words: Option<LastWords>,
    ) -> Result<(), UpstreamError> {
        let upgraded = hyper::upgrade::on(answer).await?;
        let parts = upgraded.downcast::<Wire>().map_err(|_| UpstreamError::NotSwitched)?;
        let far_end = FarEnd { stream: parts.io.into_inner(), early: parts.read_buf, last_words };
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.as_mut().ok_or(UpstreamError::Closed)?.far_end = Some(far_end);
        Ok(())
    }

    pub(super) fn take_far_end(&self) -> Option<FarEnd> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.far_end.take()
    }

    fn drive<F>(&self, connection: F) -> Result<(), UpstreamError>
    where
        F: Future<Output = hyper::Result<()>> + Send + 'static,
    {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.as_mut().ok_or(UpstreamError::Closed)?.drivers.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to the API server ended");
            }
        });
        Ok(())
    }

    /// Ends the lane for good; returns once its own sockets are closed, and the pool's if nobody else is left in it.
    pub(super) async fn close(&self) {
        self.close_own().await;
        if self.leave() {
            self.pool.close().await;
        }
    }

    /// Ends everything that the credential has open to the API server: it no longer stands. Returns once all those
    /// sockets are closed. What was being sent is left without its end.
    pub(super) async fn close_all(&self) {
        self.pools.give_up(&self.credential, &self.pool);
        tokio::join!(self.close_own(), self.pool.close());
    }

    async fn close_own(&self) {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Own { mut drivers, far_end }) = own {
            drop(far_end);
            drivers.shutdown().await;
        }
    }

    /// Whether it was the last one.
    fn leave(&self) -> bool {
        !self.has_left.swap(true, Ordering::Relaxed) && self.pools.leave(&self.credential, &self.pool)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if self.leave() {
            self.pool.abandon();
        }
    }
}

/// RFC 9113 §8.3.1: what HTTP/1.1 says in `Host` stands in the target.
fn for_http2<B>(request: &mut Request<B>, upstream: &Upstream) -> Result<(), UpstreamError> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTPS);
    parts.authority = Some(upstream.authority().clone());
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| UpstreamError::Target)?;
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(header::HOST);
    Ok(())
}

fn for_http1<B>(request: &mut Request<B>, upstream: &Upstream) -> Result<(), UpstreamError> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    (parts.scheme, parts.authority) = (None, None);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| UpstreamError::Target)?;
    *request.version_mut() = Version::HTTP_11;
    let host = HeaderValue::from_str(upstream.authority().as_str()).map_err(|_| UpstreamError::Target)?;
    request.headers_mut().insert(header::HOST, host);
    Ok(())
}

/// The same request once more, if it has no body that could be used up.
fn copy_without_body(request: &Request<Upload>) -> Option<Request<Upload>> {
    let mut copy = Request::new(request.body().copy_of_none()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// Whether the API server has surely not acted on the request: it said so by REFUSED_STREAM (RFC 9113 §8.7), or it is
/// leaving (§6.8) and the request would have changed nothing (RFC 9110 §9.2.2).
fn is_unprocessed(error: &hyper::Error, request: &Request<Upload>) -> bool {
    let Some(error) = error.source().and_then(|source| source.downcast_ref::<h2::Error>()) else {
        return false;
    };
    let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (is_refused || (error.is_go_away() && request.method().is_safe()))
}

/// More than the connections that are kept idle, each of which may have been closed by the API server meanwhile.
const ATTEMPTS: usize = 10;
