//! As much of WebSocket (RFC 6455) as the proxy must know: the handshake's headers, where a frame ends, and two frames
//! of its own that say why a remote command is cut.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderValue};

use crate::kube::status::{Failure, Reason};

/// Refuses a handshake that is not whole (RFC 6455 §4.1): one key of 16 octets, version 13.
pub(super) fn check_handshake(headers: &HeaderMap) -> Result<(), Failure> {
    let key = only(headers, &header::SEC_WEBSOCKET_KEY);
    if key.and_then(|key| STANDARD.decode(key.as_bytes()).ok()).is_none_or(|key| key.len() != 16) {
        return Err(bad("wanted one Sec-WebSocket-Key of 16 octets in base64"));
    }
    if only(headers, &header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version.as_bytes() != b"13") {
        return Err(bad("wanted Sec-WebSocket-Version: 13"));
    }
    Ok(())
}

/// Removes the subprotocols that are a bearer token; says whether there was one.
///
/// Only printable ASCII is let through, because the API server also trims spaces beyond ASCII, so that one in front of
/// the token would hide it here and not there.
pub(super) fn remove_bearer(headers: &mut HeaderMap) -> Result<bool, Failure> {
    let (mut kept, mut removed) = (Vec::new(), false);
    for value in headers.get_all(header::SEC_WEBSOCKET_PROTOCOL) {
        let offered = value.to_str().map_err(|_| bad("wanted printable ASCII in Sec-WebSocket-Protocol"))?;
        for entry in offered.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            if entry.to_ascii_lowercase().starts_with(BEARER) {
                removed = true;
            } else {
                kept.push(entry.to_owned());
            }
        }
    }
    headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
    if !kept.is_empty() {
        let value =
            HeaderValue::from_str(&kept.join(", ")).map_err(|_| bad("wanted subprotocols that a header holds"))?;
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    Ok(removed)
}

/// Whether the subprotocol that was agreed on carries the channels of a remote command as they are, the third of them
/// for its `Status`.
pub(super) fn has_channels(headers: &HeaderMap) -> bool {
    only(headers, &header::SEC_WEBSOCKET_PROTOCOL).is_some_and(|value| CHANNELS.contains(&value.as_bytes()))
}

/// The last frames to the client: a `Status` that says failure on the channel for errors, and the end.
///
/// The end has code 1000 (RFC 6455 §7.4.1): at any other, 1008 too, kubectl prints the code instead of the `Status`.
pub(super) fn goodbye(failure: &Failure) -> Vec<u8> {
    let mut payload = vec![ERROR_CHANNEL];
    payload.extend_from_slice(failure.to_json().as_bytes());
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    payload.truncate(usize::from(length));
    let mut octets = vec![FINAL | BINARY];
    match u8::try_from(length) {
        Ok(length) if length < SIXTEEN_BITS => octets.push(length),
        _ => {
            octets.push(SIXTEEN_BITS);
            octets.extend_from_slice(&length.to_be_bytes());
        }
    }
    octets.append(&mut payload);
    octets.extend_from_slice(&[FINAL | CLOSE, 2]);
    octets.extend_from_slice(&1000_u16.to_be_bytes());
    octets
}

/// Follows the frames of one direction, to know when one of ours fits between them.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The begun head of a frame, fourteen octets at most.
    head: Vec<u8>,
    /// What is still to come of its payload, in octets.
    payload: u64,
    /// Whether a message is begun whose other frames are still to come.
    is_fragmented: bool,
    /// Whether the end was said.
    is_closed: bool,
}

impl Frames {
    pub(super) fn follow(&mut self, mut octets: &[u8]) {
        while let Some((first, rest)) = octets.split_first() {
            if self.payload > 0 {
                let here = usize::try_from(self.payload).map_or(octets.len(), |payload| payload.min(octets.len()));
                self.payload -= here as u64;
                octets = octets.get(here..).unwrap_or_default();
                continue;
            }
            self.head.push(*first);
            octets = rest;
            if let Some(payload) = payload(&self.head) {
                self.begin(payload);
            }
        }
    }

    fn begin(&mut self, payload: u64) {
        let first = self.head.first().copied().unwrap_or_default();
        match first & OPCODE {
            CLOSE => self.is_closed = true,
            // The other control frames may stand within a message.
            control if control > CLOSE => {}
            _ => self.is_fragmented = first & FINAL == 0,
        }
        self.payload = payload;
        self.head.clear();
    }

    /// Whether a whole message may be written now.
    pub(super) fn is_between_messages(&self) -> bool {
        self.head.is_empty() && self.payload == 0 && !self.is_fragmented && !self.is_closed
    }
}

/// The length of a frame's payload once its head is whole (RFC 6455 §5.2).
fn payload(head: &[u8]) -> Option<u64> {
    let second = *head.get(1)?;
    let (width, short) = match second & LENGTH {
        SIXTEEN_BITS => (2, None),
        127 => (8, None),
        short => (0, Some(u64::from(short))),
    };
    let mask = if second & MASKED == 0 { 0 } else { 4 };
    if head.len() < 2 + width + mask {
        return None;
    }
    let long = || head.get(2..2 + width).unwrap_or_default().iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet));
    Some(short.unwrap_or_else(long))
}

fn only<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

fn bad(message: &str) -> Failure {
    Failure::new(400, Reason::BadRequest, message)
}

/// What the API server reads as a bearer token (`kubernetes/apiserver`, `authentication/request/websocket`).
const BEARER: &str = "base64url.bearer.authorization.k8s.io.";
const CHANNELS: [&[u8]; 2] = [b"v5.channel.k8s.io", b"v4.channel.k8s.io"];
const ERROR_CHANNEL: u8 = 3;
// RFC 6455 §5.2.
const FINAL: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
const SIXTEEN_BITS: u8 = 126;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        lines.collect()
    }

    #[test]
    fn a_bearer_token_leaves_the_subprotocols_however_it_is_spelt_and_the_others_stay() {
        let mut offered = headers(&[
            ("sec-websocket-protocol", "v5.channel.k8s.io,\tbase64url.bearer.authorization.k8s.io.c2VjcmV0"),
            ("sec-websocket-protocol", "Base64URL.Bearer.Authorization.K8s.io.c2VjcmV0 ,v4.channel.k8s.io"),
        ]);
        assert!(remove_bearer(&mut offered).unwrap());
        assert_eq!(offered["sec-websocket-protocol"], "v5.channel.k8s.io, v4.channel.k8s.io");
        let mut alone = headers(&[("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.c2VjcmV0")]);
        assert!(remove_bearer(&mut alone).unwrap());
        assert!(alone.is_empty());
    }

    #[test]
    fn a_space_beyond_ascii_hides_no_token() {
        let hidden = HeaderValue::from_bytes("\u{a0}base64url.bearer.authorization.k8s.io.x".as_bytes()).unwrap();
        let mut headers = HeaderMap::from_iter([(header::SEC_WEBSOCKET_PROTOCOL, hidden)]);
        assert!(remove_bearer(&mut headers).is_err());
    }

    #[test]
    fn frames_are_followed_octet_by_octet_whatever_their_length() {
        let mut stream = vec![0x82, 0];
        stream.extend([0x82, 5, 1, b'a', b'b', b'c', b'd']);
        stream.extend([0x82, 126, 1, 0]);
        stream.extend([7; 256]);
        stream.extend([0x82, 127, 0, 0, 0, 0, 0, 0, 0, 1, 7]);
        stream.extend([0x82, 0x81, 1, 2, 3, 4, 7]);
        let ends = [2, 9, 9 + 260, 9 + 260 + 11, 9 + 260 + 11 + 7];
        let mut frames = Frames::default();
        for (at, octet) in stream.iter().enumerate() {
            frames.follow(&[*octet]);
            assert_eq!(frames.is_between_messages(), ends.contains(&(at + 1)), "after {} octets", at + 1);
        }
        let mut at_once = Frames::default();
        at_once.follow(&stream);
        assert!(at_once.is_between_messages());
    }

    #[test]
    fn nothing_is_said_within_a_message_or_after_the_end() {
        let mut frames = Frames::default();
        frames.follow(&[0x02, 1, 1, 0x89, 0]);
        assert!(!frames.is_between_messages(), "a ping stands within the message");
        frames.follow(&[0x80, 0]);
        assert!(frames.is_between_messages());
        frames.follow(&[0x88, 0]);
        assert!(!frames.is_between_messages());
    }

    #[test]
    fn the_last_words_are_two_whole_frames() {
        for words in ["short", &"long ".repeat(40)] {
            let failure = Failure::new(401, Reason::Unauthorized, words);
            let octets = goodbye(&failure);
            let (status, end) = octets.split_at(octets.len() - 4);
            assert_eq!(end, [0x88, 2, 0x03, 0xe8]);
            let mut frames = Frames::default();
            frames.follow(status);
            assert!(frames.is_between_messages());
            assert!(status.ends_with(failure.to_json().as_bytes()));
        }
    }
}
