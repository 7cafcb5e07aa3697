//! Serving HTTP/2 on one connection (RFC 9113), within bounds.
//!
//! Everything that the connection does runs inside the one future that [`serve`] returns, so that dropping it closes the
//! socket and ends every stream at once. Extended CONNECT (RFC 8441) is not offered.

use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use super::http1::Limits;
use super::listen::Stream;
use super::stop::Stop;
use super::within::Within;

/// Serves the streams of a connection until the peer, a limit or an error ends it.
///
/// On `stop`, and behind any answer that says `Connection: close`, the peer is sent GOAWAY (RFC 9113 §6.8): the streams
/// that are open go on, no others begin, and the connection closes behind the last of them. Dropping the future closes
/// the socket at once; responses in progress are then left without their end.
///
/// Each request carries a [`Writing`] among its extensions.
pub async fn serve<S, B>(stream: Stream, service: S, limits: Limits, mut stop: Stop)
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let (streams, writing) = (Arc::new(Streams::default()), Writing::default());
    let io = Watched { stream, writing: writing.clone() };
    let within = Within::default();
    let mut tasks = within.tasks();
    let service = Counting { service, streams: Arc::clone(&streams), writing: writing.clone() };
    let mut connection = pin!(
        hyper::server::conn::http2::Builder::new(within)
            .timer(TokioTimer::new())
            .max_concurrent_streams(MOST_STREAMS)
            .max_header_list_size(u32::try_from(limits.head_size).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(STREAM_WINDOW * MOST_STREAMS)
            .max_send_buf_size(SEND_BUFFER)
            .max_pending_accept_reset_streams(MOST_RESETS_UNSEEN)
            .max_local_error_reset_streams(MOST_RESETS_BY_US)
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PONG_WITHIN)
            .serve_connection(TokioIo::new(io), service)
    );
    let mut stopped = Some(Box::pin(async move { stop.stopped().await }));
    let mut clock = Clock::new(&limits);
    let ended = poll_fn(|cx| {
        if stopped.as_mut().is_some_and(|stopped| stopped.as_mut().poll(cx).is_ready()) {
            stopped = None;
            streams.is_leaving.store(true, Ordering::Relaxed);
        }
        loop {
            // When no task is left, new ones come from the connection.
            let _ = tasks.poll(cx);
            if streams.is_leaving.load(Ordering::Relaxed) && !clock.is_leaving {
                clock.is_leaving = true;
                connection.as_mut().graceful_shutdown();
            }
            writing.begin();
            let polled = connection.as_mut().poll(cx);
            writing.end();
            if let Poll::Ready(ended) = polled {
                return Poll::Ready(ended.map_err(io::Error::other));
            }
            if tasks.has_new() {
                continue;
            }
            return match clock.poll(&streams, cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Rang::Idle) => {
                    streams.is_leaving.store(true, Ordering::Relaxed);
                    continue;
                }
                Poll::Ready(Rang::Over) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            };
        }
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// What the connection knows of its streams.
#[derive(Debug, Default)]
struct Streams {
    begun: AtomicU64,
    open: AtomicUsize,
    is_leaving: AtomicBool,
}

/// The time that a connection without streams has.
struct Clock {
    head_time: Duration,
    idle_time: Duration,
    is_leaving: bool,
    /// For which state it is set.
    state: Option<State>,
    sleep: Pin<Box<Sleep>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Streams are open, which have as long as they like: a watch lasts for hours.
    Busy,
    /// No request yet.
    New,
    /// No stream since the one with this number.
    Idle(u64),
    /// GOAWAY was said, and all that is left is to part.
    Leaving,
}

/// What the clock says.
enum Rang {
    /// It is time to say GOAWAY.
    Idle,
    /// The peer had its time.
    Over,
}

impl Clock {
    fn new(limits: &Limits) -> Self {
        Self {
            head_time: limits.head_time,
            idle_time: limits.idle_time,
            is_leaving: false,
            state: None,
            sleep: Box::pin(tokio::time::sleep(limits.head_time)),
        }
    }

    fn poll(&mut self, streams: &Streams, cx: &mut Context<'_>) -> Poll<Rang> {
        let state = match (streams.open.load(Ordering::Relaxed), streams.begun.load(Ordering::Relaxed)) {
            (0, _) if self.is_leaving => State::Leaving,
            (0, 0) => State::New,
            (0, begun) => State::Idle(begun),
            _ => State::Busy,
        };
        if self.state != Some(state) {
            self.state = Some(state);
            let time = if matches!(state, State::Idle(_)) { self.idle_time } else { self.head_time };
            self.sleep.as_mut().reset(Instant::now() + time);
        }
        if state == State::Busy {
            return Poll::Pending;
        }
        ready!(self.sleep.as_mut().poll(cx));
        self.state = None;
        Poll::Ready(if matches!(state, State::Idle(_)) { Rang::Idle } else { Rang::Over })
    }
}

/// Tells when what was handed over has been written: resetting a stream throws away what it has still to send (RFC 9113
/// leaves that to the sender), so that last words must be out before.
#[derive(Debug, Clone, Default)]
pub struct Writing {
    turns: Arc<Turns>,
}

#[derive(Debug, Default)]
struct Turns {
    begun: AtomicU64,
    has_unflushed: AtomicBool,
    /// The last turn behind which nothing was left unwritten that the peer's windows allow.
    written: watch::Sender<u64>,
}

impl Writing {
    /// Resolves once all is written that was handed over before this call, as far as the peer's windows allow.
    pub fn written(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut written = self.turns.written.subscribe();
        let before = self.turns.begun.load(Ordering::Relaxed);
        async move {
            // An error means that the connection is gone.
            let _ = written.wait_for(|turn| *turn > before).await;
        }
    }

    fn begin(&self) {
        self.turns.begun.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self) {
        if !self.turns.has_unflushed.load(Ordering::Relaxed) {
            self.turns.written.send_replace(self.turns.begun.load(Ordering::Relaxed));
        }
    }
}

/// A stream that notes whether all that was written is flushed.
struct Watched {
    stream: Stream,
    writing: Writing,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.writing.turns.has_unflushed.store(true, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        self.writing.turns.has_unflushed.store(false, Ordering::Relaxed);
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Counts streams from a request's head to the end of its response.
struct Counting<S> {
    service: S,
    streams: Arc<Streams>,
    writing: Writing,
}

/// One stream; counted off when dropped.
struct Open(Arc<Streams>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S, B> Service<Request<Incoming>> for Counting<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
{
    type Response = Response<Counted<B>>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.streams.begun.fetch_add(1, Ordering::Relaxed);
        self.streams.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(Arc::clone(&self.streams));
        request.extensions_mut().insert(self.writing.clone());
        Answering { answer: Box::pin(self.service.call(request)), open: Some(open) }
    }
}

struct Answering<F> {
    answer: Pin<Box<F>>,
    open: Option<Open>,
}

impl<F, B, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Counted<B>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(self.answer.as_mut().poll(cx))?;
        let open = self.open.take();
        // RFC 9113 §8.2.2: the header has no place here; what it means is GOAWAY.
        let closes = response.headers_mut().remove(header::CONNECTION).is_some_and(|value| value == "close");
        if let (true, Some(open)) = (closes, &open) {
            open.0.is_leaving.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(response.map(|body| Counted { body: Box::pin(body), _open: open })))
    }
}

struct Counted<B> {
    body: Pin<Box<B>>,
    _open: Option<Open>,
}

impl<B: Body> Body for Counted<B> {
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

/// As many as kube-apiserver allows on a connection of its own clients.
const MOST_STREAMS: u32 = 250;
/// What a stream may send before it is read. The connection's window is this for every stream, so that streams that are
/// not read leave room for the others: 16 MiB at worst.
const STREAM_WINDOW: u32 = 64 * 1024;
/// What is held of one response that the client does not read, in octets.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that were reset before they were looked at (CVE-2023-44487), and streams that we had to reset because of what
/// was sent on them (CVE-2025-8671); beyond these the connection ends.
const MOST_RESETS_UNSEEN: usize = 20;
const MOST_RESETS_BY_US: usize = 100;
/// A connection from which nothing came is asked for a sign of life, also in the middle of a head; as client-go does.
const PING_AFTER: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(15);
