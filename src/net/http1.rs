//! Serving HTTP/1.1 on one connection, within bounds.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::listen::Stream;
use super::stop::Stop;

/// How much one HTTP connection may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From the first octet of a request (on a new connection: from its start) to the end of its head.
    pub head_time: Duration,
    /// How long a connection may wait for its next request.
    pub idle_time: Duration,
    /// The size of a request's head, in octets.
    pub head_size: usize,
    /// Header fields in a request.
    pub headers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_time: Duration::from_secs(10),
            // Longer than the 90 s after which Go's clients give up idle connections, so that they close, not we.
            idle_time: Duration::from_secs(120),
            head_size: 64 * 1024,
            headers: 100,
        }
    }
}

/// A connection that speaks another protocol from here on; no limit of [`Limits`] applies to it any more.
#[derive(Debug)]
pub struct Switched {
    /// The connection.
    pub stream: Stream,
    /// What was read already beyond the request's head: the first octets of the other protocol.
    pub early: Bytes,
}

/// Serves requests one after the other until the peer, a limit or an error ends the connection, or until the service
/// answers 101: the head of that answer is then written, and the connection handed back.
///
/// On `stop` the request in progress is finished and nothing more is accepted. Dropping the future closes the socket
/// at once; a response in progress is then left without its end.
pub async fn serve<S, B>(stream: Stream, service: S, limits: Limits, mut stop: Stop) -> Option<Switched>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let (busy, switch) = (Arc::new(AtomicBool::new(false)), Arc::new(Switch::default()));
    let io = TokioIo::new(HeadClock::new(stream, limits.head_time, Arc::clone(&busy)));
    let ended = {
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            // Hyper's clock runs while the connection is idle too; the head's own clock is in `HeadClock`.
            .header_read_timeout(limits.idle_time)
            .max_headers(limits.headers)
            .max_buf_size(limits.head_size)
            .serve_connection(io, Marking { service, busy, switch: Arc::clone(&switch) })
            .with_upgrades();
        let mut connection = pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.stopped() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
    // The connection is gone by now, so that this resolves at once: with the stream, or with nothing.
    let parts = switch.asked()?.await.ok()?.downcast::<TokioIo<HeadClock>>().ok()?;
    let mut stream = parts.io.into_inner().stream;
    if switch.is_agreed.load(Ordering::Relaxed) {
        return Some(Switched { stream, early: parts.read_buf });
    }
    // Hyper hands a connection back once another protocol was asked for, whatever the answer was; then it is closed.
    let _ = tokio::time::timeout(limits.head_time, stream.shutdown()).await;
    None
}

/// Whether a connection is to speak another protocol.
#[derive(Default)]
struct Switch {
    /// From the last request that asked for it.
    asked: Mutex<Option<OnUpgrade>>,
    /// The answer was 101.
    is_agreed: AtomicBool,
}

impl Switch {
    fn asked(&self) -> Option<OnUpgrade> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note<B>(&self, request: &mut Request<B>) {
        if let Some(asked) = request.extensions_mut().remove::<OnUpgrade>() {
            *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        }
    }
}

/// A stream that fails when the head of a request takes too long.
struct HeadClock {
    stream: Stream,
    time: Duration,
    /// Whether a request is being answered: what is read then is its body.
    busy: Arc<AtomicBool>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl HeadClock {
    fn new(stream: Stream, time: Duration, busy: Arc<AtomicBool>) -> Self {
        let deadline = Some(Box::pin(tokio::time::sleep(time)));
        Self { stream, time, busy, deadline }
    }
}

impl AsyncRead for HeadClock {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let busy = this.busy.load(Ordering::Relaxed);
        if busy {
            this.deadline = None;
        }
        let filled = buf.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(cx, buf) {
            if !busy && this.deadline.is_none() && buf.filled().len() > filled {
                this.deadline = Some(Box::pin(tokio::time::sleep_until(Instant::now() + this.time)));
            }
            return Poll::Ready(read);
        }
        if let Some(deadline) = &mut this.deadline {
            ready!(deadline.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl AsyncWrite for HeadClock {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Marks the connection busy from a request's head to the end of its response.
struct Marking<S> {
    service: S,
    busy: Arc<AtomicBool>,
    switch: Arc<Switch>,
}

/// Unmarks when dropped.
struct Mark(Arc<AtomicBool>);

impl Drop for Mark {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl<S, B> Service<Request<Incoming>> for Marking<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
{
    type Response = Response<Marked<B>>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.busy.store(true, Ordering::Relaxed);
        self.switch.note(&mut request);
        Answering {
            answer: Box::pin(self.service.call(request)),
            mark: Some(Mark(Arc::clone(&self.busy))),
            switch: Arc::clone(&self.switch),
        }
    }
}

struct Answering<F> {
    answer: Pin<Box<F>>,
    mark: Option<Mark>,
    switch: Arc<Switch>,
}

impl<F, B, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Marked<B>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.answer.as_mut().poll(cx))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.switch.is_agreed.store(true, Ordering::Relaxed);
        }
        let mark = self.mark.take();
        Poll::Ready(Ok(response.map(|body| Marked { body: Box::pin(body), _mark: mark })))
    }
}

struct Marked<B> {
    body: Pin<Box<B>>,
    _mark: Option<Mark>,
}

impl<B: Body> Body for Marked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.body.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
