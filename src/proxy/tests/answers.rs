//! What the API server of these tests answers with.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Response, header};
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::world::Seen;
use crate::net::http1;

/// A 101 to what was asked for, or to something else.
pub(super) fn switch(
    protocol: Option<header::HeaderValue>,
    offered: Option<header::HeaderValue>,
) -> Response<Either<Full<Bytes>, Endless>> {
    let mut response = Response::new(Either::Left(Full::from("")));
    *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, protocol.unwrap_or(header::HeaderValue::from_static("h2c")));
    if let Some(offered) = offered {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, offered);
    }
    response
}

/// Greets, gives back what comes, and leaves when told [`LEAVE`].
pub(super) async fn echo(switched: http1::Switched) {
    let (mut stream, mut octets) = (switched.stream, switched.early.to_vec());
    let _ = stream.write_all(GREETING).await;
    loop {
        if octets.ends_with(LEAVE.as_bytes())
            || stream.write_all(&octets).await.is_err()
            || stream.flush().await.is_err()
        {
            let _ = stream.shutdown().await;
            return;
        }
        octets.clear();
        if !matches!(stream.read_buf(&mut octets).await, Ok(length) if length > 0) {
            return;
        }
    }
}

/// A whole frame of a WebSocket.
pub(super) const GREETING: &[u8] = b"\x82\x06\x01hello";
pub(super) const LEAVE: &str = "leave";

/// Notes how an upload ended: whole, broken, or dropped, which is broken too.
pub(super) struct Watched {
    pub(super) body: Incoming,
    pub(super) seen: Arc<Seen>,
    pub(super) is_upload: bool,
    pub(super) told: bool,
}

impl Watched {
    fn tell(&mut self, whole: bool) {
        if self.is_upload && !self.told {
            self.told = true;
            self.seen.uploads.send_modify(|uploads| uploads.push(whole));
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let whole = self.body.is_end_stream();
        self.tell(whole);
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => self.tell(true),
            Poll::Ready(Some(Err(_))) => self.tell(false),
            _ => {}
        }
        polled
    }
}

/// One piece, and then silence or the same for ever.
pub(super) struct Endless {
    piece: &'static str,
    is_flood: bool,
    sent: bool,
    flooded: Option<Arc<Seen>>,
}

impl Endless {
    pub(super) const fn new(piece: &'static str, is_flood: bool) -> Self {
        Self { piece, is_flood, sent: false, flooded: None }
    }

    /// One without end, of which the API server notes how much was handed over.
    pub(super) fn counted(piece: &'static str, seen: &Arc<Seen>) -> Self {
        Self { flooded: Some(Arc::clone(seen)), ..Self::new(piece, true) }
    }
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.sent && !self.is_flood {
            return Poll::Pending;
        }
        self.sent = true;
        if let Some(seen) = &self.flooded {
            seen.flooded.fetch_add(self.piece.len() * 4096, Ordering::Relaxed);
        }
        let piece = if self.is_flood { self.piece.repeat(4096) } else { self.piece.to_owned() };
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }
}
