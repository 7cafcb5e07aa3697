//! An endless stream of events in JSON, one a line and one a second.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use serde_json::json;
use tokio::time::Interval;

use crate::net::stop::Stop;

/// The stream's body: the first event at once.
pub(super) struct Ticks {
    interval: Interval,
    count: u64,
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Ticks {
    /// Counts until `stop`.
    pub(super) fn new(mut stop: Stop) -> Self {
        let stopped = Box::pin(async move { stop.stopped().await });
        Self { interval: tokio::time::interval(Duration::from_secs(1)), count: 0, stopped }
    }
}

impl Body for Ticks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        ready!(self.interval.poll_tick(cx));
        self.count = self.count.saturating_add(1);
        let n = self.count;
        let object =
            json!({"kind": "Tick", "apiVersion": "demo/v1", "metadata": {"name": format!("tick-{n}")}, "n": n});
        let line = format!("{}\n", json!({"type": "ADDED", "object": object}));
        Poll::Ready(Some(Ok(Frame::data(line.into()))))
    }
}
