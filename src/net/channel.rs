//! A body whose octets come through a channel, for as long as either side wants.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The end that is written to.
#[derive(Clone, Debug)]
pub struct Writer(mpsc::Sender<Bytes>);

/// The end that is sent; it is over when every [`Writer`] is gone.
#[derive(Debug)]
pub struct ChannelBody(mpsc::Receiver<Bytes>);

/// The octets were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The other side has left.
    #[error("it left")]
    Left,
    /// It took nothing for too long.
    #[error("it took nothing for {} s", SEND_TIME.as_secs())]
    Slow,
}

/// Both ends; `waiting` pieces may wait for the network.
pub fn channel(waiting: usize) -> (Writer, ChannelBody) {
    let (sender, receiver) = mpsc::channel(waiting);
    (Writer(sender), ChannelBody(receiver))
}

impl Writer {
    /// Hands octets over, within ten seconds.
    pub async fn send(&self, octets: Vec<u8>) -> Result<(), NotTaken> {
        match timeout(SEND_TIME, self.0.send(octets.into())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(NotTaken::Left),
            Err(_) => Err(NotTaken::Slow),
        }
    }
}

impl Body for ChannelBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|octets| octets.map(|octets| Ok(Frame::data(octets))))
    }
}

const SEND_TIME: Duration = Duration::from_secs(10);
