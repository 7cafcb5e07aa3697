//! Bodies on their way through, each with a switch that ends it so that it never looks complete.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::kube::identity::{Mode, Treatment, treatment};

use super::connections::{Leash, Register};

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the connection was cut")]
    Cut,
    #[error("a trailer names an identity")]
    Trailer,
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

    /// The clock check, for each piece that is about to be passed on.
    fn may_pass(&self) -> bool {
        self.register.may_pass(&self.leash)
    }
}

/// A request's body on its way to the API server.
///
/// A cut ends it with an error: hyper then drops the connection, where an end would complete the request and make half
/// an upload look whole.
pub(super) struct Upload {
    body: Incoming,
    guard: Guard,
    mode: Mode,
    /// Set when a trailer was refused, so that the client can be told.
    refused_trailer: Arc<AtomicBool>,
}

impl Upload {
    pub(super) fn new(
        body: Incoming,
        register: &Arc<Register>,
        leash: &Arc<Leash>,
        mode: Mode,
        refused_trailer: Arc<AtomicBool>,
    ) -> Self {
        Self { body, guard: Guard::new(register, leash), mode, refused_trailer }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        loop {
            if this.guard.is_cut(cx) {
                return Poll::Ready(Some(Err(Broken::Cut)));
            }
            let frame = match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(frame)) => frame?,
            };
            if !this.guard.may_pass() {
                return Poll::Ready(Some(Err(Broken::Cut)));
            }
            match frame.into_data() {
                Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                // Kubernetes has no use for trailers, so none is passed on; one that claims an identity is an attempt.
                Err(trailers) => {
                    let names = trailers.trailers_ref().into_iter().flat_map(http::HeaderMap::keys);
                    if names.map(|name| treatment(name.as_str(), this.mode)).any(is_refused) {
                        this.refused_trailer.store(true, Ordering::Relaxed);
                        return Poll::Ready(Some(Err(Broken::Trailer)));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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
    body: Incoming,
    guard: Guard,
    /// Whether it is a watch in JSON, which can be told why it ends.
    is_watch: bool,
    at_line_start: bool,
    ending: Ending,
}

/// How far the end of a cut response has come.
enum Ending {
    /// Not cut.
    No,
    /// The last word is handed over; hyper gets one turn to write it.
    Said,
    /// Nothing more.
    Over,
}

impl Download {
    pub(super) fn new(body: Incoming, register: &Arc<Register>, leash: &Arc<Leash>, is_watch: bool) -> Self {
        Self { body, guard: Guard::new(register, leash), is_watch, at_line_start: true, ending: Ending::No }
    }

    fn end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let last_word = match self.ending {
            Ending::No if self.is_watch && self.at_line_start => self.guard.leash.refusal(),
            Ending::Said => {
                self.ending = Ending::Over;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Ending::No | Ending::Over => None,
        };
        match last_word {
            Some(refusal) => {
                self.ending = Ending::Said;
                let event = refusal.failure(self.guard.leash.user()).to_watch_event();
                Poll::Ready(Some(Ok(Frame::data(event.into()))))
            }
            None => {
                self.ending = Ending::Over;
                Poll::Ready(Some(Err(Broken::Cut)))
            }
        }
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
            let frame = match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(frame)) => frame?,
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
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
