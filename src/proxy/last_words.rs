//! What a remote command can still be told when it is cut, in the protocol that it speaks.

use http::header::HeaderMap;

use crate::kube::status::Failure;

use super::headers::Protocol;
use super::{spdy, websocket};

/// Follows what the API server says in a tunnel, as far as that is needed to end it with words.
#[derive(Debug)]
pub(super) enum LastWords {
    WebSocket(websocket::Frames),
    Spdy(spdy::Frames),
}

impl LastWords {
    /// For what a 101 with these headers agrees to; none where nothing can be said.
    pub(super) fn of(protocol: Protocol, headers: &HeaderMap) -> Option<Self> {
        match protocol {
            Protocol::WebSocket => websocket::has_channels(headers).then(|| Self::WebSocket(Default::default())),
            Protocol::Spdy => spdy::has_error_stream(headers).then(|| Self::Spdy(Default::default())),
        }
    }

    /// What was written whole.
    pub(super) fn follow(&mut self, octets: &[u8]) {
        match self {
            Self::WebSocket(frames) => frames.follow(octets),
            Self::Spdy(frames) => frames.follow(octets),
        }
    }

    /// The octets that say why, where they fit behind what was written.
    pub(super) fn goodbye(&self, failure: &Failure) -> Option<Vec<u8>> {
        match self {
            Self::WebSocket(frames) => frames.is_between_messages().then(|| websocket::goodbye(failure)),
            Self::Spdy(frames) => frames.goodbye(failure),
        }
    }
}
