//! Bodies on their way through, each with a switch that ends it so that it never looks complete.
//!
//! Hyper ends a body without an error although it is not whole where its stream was reset with CANCEL or NO_ERROR. So on
//! HTTP/2 an end counts only where it is proven.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Version;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::kube::identity::{Mode, Treatment, treatment};
use crate::net::http2::Writing;

use super::connections::{Leash, Register};
use super::lane::Lease;
use super::pool::Hold;

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the connection was cut")]
    Cut,
    #[error("a trailer names an identity")]
    Trailer,
    #[error("the body ended before its end")]
    Short,
    #[error("the body was not received whole: {0}")]
    Body(#[from] hyper::Error),
}

/// What both directions share: the leash, and what wakes a waiting body when it is pulled.
struct Guard {
    register: Arc<Register>,
    leash: Arc<Leash>,
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Guard {
    fn new(register: &Arc<Register>, leash: &Arc<Leash>) -> Self {
        Self { register: Arc::clone(register), leash: Arc::clone(leash), cut: Box::pin(leash.until_cut()) }
    }

    /// Whether the connection is cut; if not, the task is woken when it is.
    fn is_cut(&mut self, cx: &mut Context<'_>) -> bool {
        self.leash.is_cut() || self.cut.as_mut().poll(cx).is_ready()
    }

    /// Asks anew; whoever does not stand is cut.
    fn is_cut_or_does_not_stand(&mut self, cx: &mut Context<'_>) -> bool {
        if let Err(refusal) = self.register.judge(&self.leash) {
            self.register.cut(&self.leash, refusal);
        }
        self.is_cut(cx)
    }

    /// The clock check, for each piece that is about to be passed on.
    fn may_pass(&self) -> bool {
        self.register.may_pass(&self.leash)
    }
}

/// A body as it is received.
struct Source {
    body: Incoming,
    is_http2: bool,
}

impl Source {
    fn new(body: Incoming, version: Version) -> Self {
        Self { body, is_http2: version == Version::HTTP_2 }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    /// Whether the end that was found is the body's own.
    fn is_whole(&self) -> bool {
        !self.is_http2 || self.body.is_end_stream()
    }
}

/// A request's body on its way to the API server.
///
/// A cut ends it with an error: hyper then drops the connection or resets the stream, where an end would complete the
/// request and make half an upload look whole.
pub(super) struct Upload {
    /// `None` where a request without a body is sent once more.
    source: Option<Source>,
    guard: Guard,
    /// Set when a trailer was refused, so that the client can be told.
    refused_trailer: Arc<AtomicBool>,
    hold: Option<Hold>,
}

impl Upload {
    /// `version` is that of the request; `refused_trailer` is set when a trailer breaks it.
    pub(super) fn new(
        body: Incoming,
        version: Version,
        register: &Arc<Register>,
        leash: &Arc<Leash>,
        refused_trailer: Arc<AtomicBool>,
    ) -> Self {
        let source = Some(Source::new(body, version));
        Self { source, guard: Guard::new(register, leash), refused_trailer, hold: None }
    }

    /// Keeps the place that the request takes until its body is sent.
    pub(super) fn hold(&mut self, hold: Hold) {
        self.hold = Some(hold);
    }

    /// The same once more, if there is nothing to send.
    pub(super) fn copy_of_none(&self) -> Option<Self> {
        self.is_end_stream().then(|| Self {
            source: None,
            guard: Guard::new(&self.guard.register, &self.guard.leash),
            refused_trailer: Arc::clone(&self.refused_trailer),
            hold: None,
        })
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        let Some(source) = &mut this.source else {
            return Poll::Ready(None);
        };
        loop {
            if this.guard.is_cut(cx) {
                return Poll::Ready(Some(Err(Broken::Cut)));
            }
            let frame = match source.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) if source.is_whole() => return Poll::Ready(None),
                Poll::Ready(None) => return Poll::Ready(Some(Err(Broken::Short))),
                Poll::Ready(Some(frame)) => frame?,
            };
            if !this.guard.may_pass() {
                return Poll::Ready(Some(Err(Broken::Cut)));
            }
            match frame.into_data() {
                Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                // Kubernetes has no use for trailers, so none is passed on; one that claims an identity is an attempt,
                // whatever it could mean as a header.
                Err(trailers) => {
                    let names = trailers.trailers_ref().into_iter().flat_map(http::HeaderMap::keys);
                    if names.map(|name| treatment(name.as_str(), Mode::Impersonation)).any(is_refused) {
                        this.refused_trailer.store(true, Ordering::Relaxed);
                        return Poll::Ready(Some(Err(Broken::Trailer)));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.source.as_ref().is_none_or(|source| source.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.source.as_ref().map_or_else(|| SizeHint::with_exact(0), |source| source.body.size_hint())
    }
}

fn is_refused(treatment: Treatment) -> bool {
    match treatment {
        Treatment::BadRequest | Treatment::Forbidden => true,
        Treatment::Pass | Treatment::Remove | Treatment::RemoveAndWarn => false,
    }
}

/// A response's body on its way to the client.
pub(super) struct Download {
    source: Source,
    guard: Guard,
    /// The place of the exchange; none where it has a connection of its own.
    lease: Option<Lease>,
    watch: Watch,
    at_line_start: bool,
    ending: Ending,
}

/// Whether a response can be told why it ends.
pub(super) enum Watch {
    /// It cannot.
    No,
    /// A watch in JSON.
    Json(Option<Writing>),
}

/// How far the end of a cut response has come.
enum Ending {
    /// Not cut.
    No,
    /// The last word is handed over; it is waited for until it is written.
    Said(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// Nothing more.
    Over,
}

impl Download {
    pub(super) fn new(
        response: (Version, Incoming),
        register: &Arc<Register>,
        leash: &Arc<Leash>,
        lease: Option<Lease>,
        watch: Watch,
    ) -> Self {
        let (version, body) = response;
        let (source, guard) = (Source::new(body, version), Guard::new(register, leash));
        Self { source, guard, lease, watch, at_line_start: true, ending: Ending::No }
    }

    fn end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let (Ending::No, Watch::Json(writing), true, Some(refusal)) =
            (&self.ending, &self.watch, self.at_line_start, self.guard.leash.refusal())
        {
            let writing = writing.clone();
            self.ending = Ending::Said(Box::pin(async move {
                match writing {
                    // Not before this is polled: then the word is in the connection's hands.
                    Some(writing) => writing.written().await,
                    // On HTTP/1.1 the connection polls, and has one turn to write it.
                    None => tokio::task::yield_now().await,
                }
            }));
            let event = refusal.failure(self.guard.leash.user()).to_watch_event();
            return Poll::Ready(Some(Ok(Frame::data(event.into()))));
        }
        if let Ending::Said(written) = &mut self.ending {
            std::task::ready!(written.as_mut().poll(cx));
        }
        self.ending = Ending::Over;
        Poll::Ready(Some(Err(Broken::Cut)))
    }

    /// The API server's side has broken off: because the credential does not stand any more, as another connection of
    /// the same credential may have been told a moment earlier, or for reasons of its own.
    fn broken(&mut self, error: Broken, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.guard.is_cut_or_does_not_stand(cx) { self.end(cx) } else { Poll::Ready(Some(Err(error))) }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        loop {
            if this.guard.is_cut(cx) {
                return this.end(cx);
            }
            let frame = match this.source.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) if this.source.is_whole() => {
                    if let Some(lease) = &mut this.lease {
                        lease.end();
                    }
                    return Poll::Ready(None);
                }
                Poll::Ready(None) => return this.broken(Broken::Short, cx),
                Poll::Ready(Some(Err(error))) => return this.broken(error.into(), cx),
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            if !this.guard.may_pass() {
                return this.end(cx);
            }
            if let Ok(data) = frame.into_data() {
                if let Some(last) = data.last() {
                    this.at_line_start = *last == b'\n';
                }
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.source.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.body.size_hint()
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        // Where its length is known, hyper does not ask for the end.
        if self.source.body.is_end_stream()
            && let Some(lease) = &mut self.lease
        {
            lease.end();
        }
    }
}
