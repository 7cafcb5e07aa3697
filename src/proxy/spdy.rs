//! As much of SPDY/3.1 as the proxy must know: where a frame ends, and one frame of its own that says why a remote
//! command is cut.
//!
//! kubectl takes the end of such a connection, and a reset of its streams too, for the end of a command that succeeded:
//! only what is said on the stream for errors makes it fail. Clients open that stream first, so it has the ID 1
//! (`client-go`, `tools/remotecommand`, from version 2 of the protocol on). Headers are compressed and not read here.

use http::header::HeaderMap;

use crate::kube::status::Failure;

/// Whether what was agreed on is a remote command whose stream for errors carries a `Status`.
pub(super) fn has_error_stream(headers: &HeaderMap) -> bool {
    let mut versions = headers.get_all("x-stream-protocol-version").iter();
    let (Some(version), None) = (versions.next(), versions.next()) else {
        return false;
    };
    VERSIONS.contains(&version.as_bytes())
}

/// Follows the frames of the API server, to know when one of ours fits between them.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The begun head of a frame, twelve octets at most: where a control frame names a stream, that is part of it.
    head: Vec<u8>,
    /// What is still to come of its payload, in octets.
    payload: usize,
    errors: ErrorStream,
}

/// How it is with the stream for errors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ErrorStream {
    /// The API server has not agreed to it.
    #[default]
    Unanswered,
    /// It is open, and nothing was said on it.
    Silent,
    /// Something was said, or it ended.
    Over,
}

impl Frames {
    pub(super) fn follow(&mut self, mut octets: &[u8]) {
        while let Some((first, rest)) = octets.split_first() {
            if self.payload > 0 {
                let here = self.payload.min(octets.len());
                self.payload -= here;
                octets = octets.get(here..).unwrap_or_default();
                continue;
            }
            self.head.push(*first);
            octets = rest;
            if let Some(head) = Head::read(&self.head) {
                self.errors = head.change(self.errors);
                self.payload = head.payload;
                self.head.clear();
            }
        }
    }

    /// The last frame to the client: a `Status` on the stream for errors, which ends it; none where it does not fit.
    pub(super) fn goodbye(&self, failure: &Failure) -> Option<Vec<u8>> {
        let fits = self.head.is_empty() && self.payload == 0 && self.errors == ErrorStream::Silent;
        let words = fits.then(|| failure.to_json())?;
        let length = u32::try_from(words.len()).ok().filter(|length| *length < 1 << 24)?;
        let mut octets = ERROR_STREAM.to_be_bytes().to_vec();
        octets.extend_from_slice(&(u32::from(FIN) << 24 | length).to_be_bytes());
        octets.extend_from_slice(words.as_bytes());
        Some(octets)
    }
}

/// What the head of a frame says (SPDY/3.1 §2.2).
#[derive(Debug, Clone, Copy)]
struct Head {
    kind: Kind,
    is_last: bool,
    payload: usize,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Data on a stream.
    Data(u32),
    /// An answer to a stream that was opened.
    Reply(u32),
    /// The end of a stream.
    Reset(u32),
    /// Something else.
    Other,
}

impl Head {
    /// Once it is whole.
    fn read(octets: &[u8]) -> Option<Self> {
        let (first, rest) = octets.split_first_chunk::<4>()?;
        let (second, rest) = rest.split_first_chunk::<4>()?;
        let (first, second) = (u32::from_be_bytes(*first), u32::from_be_bytes(*second));
        let length = usize::try_from(second & 0x00ff_ffff).ok()?;
        let is_last = second >> 24 & u32::from(FIN) != 0;
        let (kind, named) = match first {
            data if data & CONTROL == 0 => (Kind::Data(data), 0),
            SYN_REPLY | RST_STREAM if length >= 4 => {
                let stream = u32::from_be_bytes(*rest.first_chunk::<4>()?) & !CONTROL;
                (if first == SYN_REPLY { Kind::Reply(stream) } else { Kind::Reset(stream) }, 4)
            }
            _ => (Kind::Other, 0),
        };
        Some(Self { kind, is_last, payload: length - named })
    }

    fn change(self, errors: ErrorStream) -> ErrorStream {
        match self.kind {
            Kind::Reply(ERROR_STREAM) if !self.is_last && errors == ErrorStream::Unanswered => ErrorStream::Silent,
            Kind::Reply(ERROR_STREAM) | Kind::Reset(ERROR_STREAM) => ErrorStream::Over,
            Kind::Data(ERROR_STREAM) if self.is_last || self.payload > 0 => ErrorStream::Over,
            Kind::Data(_) | Kind::Reply(_) | Kind::Reset(_) | Kind::Other => errors,
        }
    }
}

/// Those whose `Status` is JSON.
const VERSIONS: [&[u8]; 2] = [b"v5.channel.k8s.io", b"v4.channel.k8s.io"];
const ERROR_STREAM: u32 = 1;
const FIN: u8 = 1;
const CONTROL: u32 = 1 << 31;
/// Version 3, type 2.
const SYN_REPLY: u32 = CONTROL | 3 << 16 | 2;
/// Version 3, type 3.
const RST_STREAM: u32 = CONTROL | 3 << 16 | 3;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::kube::status::Reason;

    fn control(kind: u8, stream: u32, more: usize) -> Vec<u8> {
        let mut frame = vec![0x80, 3, 0, kind, 0, 0, 0, u8::try_from(4 + more).unwrap()];
        frame.extend(stream.to_be_bytes());
        frame.extend(vec![0x81; more]);
        frame
    }

    fn data(stream: u32, flags: u8, length: u16) -> Vec<u8> {
        let mut frame = stream.to_be_bytes().to_vec();
        frame.extend([flags, 0]);
        frame.extend(length.to_be_bytes());
        frame.extend(vec![0x80; usize::from(length)]);
        frame
    }

    fn words(frames: &Frames) -> Option<Vec<u8>> {
        frames.goodbye(&Failure::new(401, Reason::Unauthorized, "revoked"))
    }

    #[test]
    fn the_last_word_is_one_whole_frame_on_the_stream_for_errors_between_two_others() {
        let parts = [control(2, 1, 9), control(6, 3, 0), control(2, 3, 0), data(3, 0, 300), data(3, 1, 0)];
        let stream = parts.concat();
        let ends: Vec<usize> = parts
            .iter()
            .scan(0, |sum, part| {
                *sum += part.len();
                Some(*sum)
            })
            .collect();
        let mut frames = Frames::default();
        assert_eq!(words(&frames), None, "the stream is not open yet");
        for (at, octet) in stream.iter().enumerate() {
            frames.follow(&[*octet]);
            assert_eq!(words(&frames).is_some(), ends.contains(&(at + 1)), "after {} octets", at + 1);
        }
        let mut at_once = Frames::default();
        at_once.follow(&stream);
        let said = words(&at_once).unwrap();
        assert_eq!(said[..5], [0, 0, 0, 1, FIN]);
        assert_eq!(said.len(), 8 + usize::from(said[7]) + usize::from(said[6]) * 256);
        assert!(said.ends_with(br#""reason":"Unauthorized","code":401}"#), "{}", String::from_utf8_lossy(&said));
    }

    #[test]
    fn nothing_is_added_to_what_the_api_server_said_or_after_the_end() {
        for over in [data(1, 0, 5), data(1, 1, 0), control(3, 1, 4)] {
            let mut frames = Frames::default();
            frames.follow(&control(2, 1, 0));
            assert!(words(&frames).is_some());
            frames.follow(&over);
            assert_eq!(words(&frames), None, "{over:?}");
            frames.follow(&control(2, 1, 0));
            assert_eq!(words(&frames), None, "{over:?}");
        }
    }

    #[test]
    fn only_a_remote_command_whose_errors_are_json_is_told() {
        for (versions, wanted) in [
            (["v4.channel.k8s.io"].as_slice(), true),
            (&["v5.channel.k8s.io"], true),
            (&["v3.channel.k8s.io"], false),
            (&["portforward.k8s.io"], false),
            (&["v4.channel.k8s.io", "v5.channel.k8s.io"], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for version in versions {
                headers.append("x-stream-protocol-version", HeaderValue::from_static(version));
            }
            assert_eq!(has_error_stream(&headers), wanted, "{versions:?}");
        }
    }
}
