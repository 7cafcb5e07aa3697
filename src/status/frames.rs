//! What an authority and a proxy say to each other on the feed, and how it is framed.
//!
//! A frame is its length in four octets (big-endian) and the postcard of a [`Down`] or an [`Up`]. The first frame of
//! either side is its hello. Variants are told by their position: a new one goes to the end, and needs a new
//! [`VERSION`] that the other side has said it speaks.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::freshness::Mode;
use super::{Change, Credential};
use crate::ident::{ClusterName, ShortFingerprint};
use crate::standing::{CutKey, Revision};
use crate::world::Timestamp;

/// The version of the frames.
pub const VERSION: u16 = 1;

/// The versions that an authority speaks: this one and, once there is one, the one before it. So authorities are
/// upgraded first and their proxies afterwards, one by one.
pub const SPOKEN: RangeInclusive<u16> = 1..=VERSION;

/// The version in which to speak with somebody whose newest is `theirs`: the newest that both know; none where theirs
/// is too old. Who knows a newer one is answered in ours, and decides whether that will do.
pub fn negotiate(theirs: u16, spoken: &RangeInclusive<u16>) -> Option<u16> {
    let common = theirs.min(*spoken.end());
    spoken.contains(&common).then_some(common)
}

/// The most octets in a frame; a page of a snapshot is far below.
pub const MAX_FRAME: usize = 8 * 1024 * 1024;

/// From the authority to the proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Down {
    /// The first frame.
    Hello(AuthorityHello),
    /// A page of everything there is; the last one makes it whole.
    Snapshot(SnapshotPage),
    /// Everything up to a revision that was not said yet.
    Changes(Changes),
    /// The answer to a ping: how far the authority was when it was asked. Changes through it follow on the same stream.
    Pong {
        /// The ping's.
        nonce: u64,
        /// Everything up to it was durable.
        revision: Revision,
    },
    /// The authority will not serve this proxy; for people.
    Refused(String),
}

/// Who the authority is and how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityHello {
    /// The version it will speak.
    pub version: u16,
    /// The random name of its era.
    pub timeline: [u8; 16],
    /// Its newest durable revision; its era is the authority's.
    pub revision: Revision,
    /// The oldest place that it was ever put back to, if it was: whoever followed in an earlier era hands in what it
    /// knows beyond it, before it is told anything else.
    pub restored: Option<Revision>,
}

/// A page of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPage {
    /// Everything up to it is in the snapshot; the same in every page.
    pub revision: Revision,
    /// The cluster's issuing CAs in DER; the same in every page.
    pub authorities: Vec<Vec<u8>>,
    /// The sets of cut keys that this page's credentials carry.
    pub cut_sets: Vec<Vec<CutKey>>,
    /// Credentials, each with the place of its set.
    pub credentials: Vec<PagedCredential>,
    /// Cut-offs, revocations and locks.
    pub facts: Vec<Change>,
    /// Whether the snapshot is whole with this page.
    pub is_last: bool,
}

/// A credential in a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PagedCredential {
    /// The first half of the SHA-256 of the certificate.
    pub key: ShortFingerprint,
    /// The revision that recorded it.
    pub issued: Revision,
    /// The last moment of its validity.
    pub not_after: Timestamp,
    /// The place of its cut keys in the page's sets.
    pub cut_set: u32,
}

/// What happened since the last frame of this kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Everything up to it has been said.
    pub revision: Revision,
    /// The cluster's issuing CAs in DER, if they changed.
    pub authorities: Option<Vec<Vec<u8>>>,
    /// What concerns the proxy; may be empty.
    pub changes: Vec<Change>,
}

/// From the proxy to the authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Up {
    /// The first frame.
    Hello(ProxyHello),
    /// How far have you come?
    Ping {
        /// Given back in the answer.
        nonce: u64,
    },
    /// Everything up to a revision is enforced: applied, and every connection it kills has ended.
    Confirm(Confirm),
    /// What an auditor should know of.
    Report(Vec<Incident>),
    /// What the proxy knows of the time that a restore has lost.
    Known(Known),
}

/// Some of the facts that a restored authority may have lost; the last one says that there are no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Cut-offs, revocations and locks.
    pub facts: Vec<Change>,
    /// Whether these are the last.
    pub is_last: bool,
}

/// Who the proxy is and what binds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyHello {
    /// The newest version it speaks.
    pub version: u16,
    /// The cluster it stands in front of.
    pub cluster: ClusterName,
    /// The random name of this process.
    pub instance: [u8; 16],
    /// What it knows, if it knows anything.
    pub cursor: Option<Cursor>,
    /// How long its answers are fresh.
    pub bound: Duration,
    /// What it does after that.
    pub mode: Mode,
    /// How long a connection that is cut may take to end.
    pub cut_time: Duration,
}

/// How far a proxy has come, and in which history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The random name of the era.
    pub timeline: [u8; 16],
    /// Everything up to it is known.
    pub revision: Revision,
}

/// How far a proxy enforces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    /// Everything up to it.
    pub revision: Revision,
    /// The connections that a revision has ended, for those that ended any since the last confirmation.
    pub closed: Vec<(Revision, u64)>,
}

/// Something that happened at a proxy and belongs on the record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Incident {
    /// It served on answers older than its bound (`best-effort`).
    ServedStale {
        /// Since when, by the proxy's clock.
        since: Timestamp,
        /// Until when.
        until: Timestamp,
    },
    /// A validly signed certificate that is not on the record was presented.
    UnknownCredential {
        /// The SHA-256 of the certificate.
        fingerprint: [u8; 32],
        /// Its CN.
        user: String,
        /// When, by the proxy's clock.
        at: Timestamp,
    },
    /// The owner of the proxy's host refuses an ID there, or no longer.
    Denied {
        /// The ID.
        id: String,
        /// Whether it is refused from then on.
        is_denied: bool,
    },
}

/// A frame that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than anything that is ever sent.
    #[error("wanted a frame of at most {MAX_FRAME} octets, found one of {0}")]
    TooLong(usize),
    /// Its octets mean nothing.
    #[error("wanted a frame of the feed, found octets that are none: {0}")]
    Unreadable(String),
}

/// The octets of a frame.
pub fn encode<T: Serialize>(frame: &T) -> Result<Vec<u8>, FrameError> {
    let mut octets =
        postcard::to_extend(frame, vec![0; LENGTH]).map_err(|error| FrameError::Unreadable(error.to_string()))?;
    let length = octets.len().saturating_sub(LENGTH);
    if length > MAX_FRAME {
        return Err(FrameError::TooLong(length));
    }
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    octets.iter_mut().zip(length).for_each(|(octet, digit)| *octet = digit);
    Ok(octets)
}

/// Cuts a stream of octets into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    octets: Vec<u8>,
    read: usize,
}

impl Decoder {
    /// Takes octets in as they come.
    pub fn push(&mut self, octets: &[u8]) {
        if self.read > 0 {
            self.octets.drain(..self.read);
            self.read = 0;
        }
        self.octets.extend_from_slice(octets);
    }

    /// The next frame, once all of it is there.
    pub fn frame<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let Some((length, rest)) = self.octets.get(self.read..).and_then(<[u8]>::split_first_chunk::<LENGTH>) else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > MAX_FRAME {
            return Err(FrameError::TooLong(length));
        }
        let Some(octets) = rest.get(..length) else { return Ok(None) };
        let (frame, left) =
            postcard::take_from_bytes(octets).map_err(|error| FrameError::Unreadable(error.to_string()))?;
        if !left.is_empty() {
            return Err(FrameError::Unreadable(format!("{} octets too many", left.len())));
        }
        self.read += LENGTH + length;
        Ok(Some(frame))
    }

    /// Whether there is nothing left of a frame that has begun.
    pub fn is_between_frames(&self) -> bool {
        self.read == self.octets.len()
    }
}

impl SnapshotPage {
    /// A page with these credentials; sets of cut keys that several carry are in it once.
    pub fn new(revision: Revision, authorities: Vec<Vec<u8>>, credentials: Vec<Credential>) -> Self {
        let mut places = std::collections::HashMap::new();
        let mut page = Self {
            revision,
            authorities,
            cut_sets: Vec::new(),
            credentials: Vec::new(),
            facts: Vec::new(),
            is_last: false,
        };
        for Credential { key, issued, not_after, cut_keys } in credentials {
            let cut_set = *places.entry(cut_keys).or_insert_with_key(|cut_keys| {
                page.cut_sets.push(cut_keys.clone());
                u32::try_from(page.cut_sets.len()).unwrap_or(u32::MAX).saturating_sub(1)
            });
            page.credentials.push(PagedCredential { key, issued, not_after, cut_set });
        }
        page
    }

    /// What the page says, as changes; refused when a credential's set is not in it.
    pub fn into_changes(self) -> Result<Vec<Change>, FrameError> {
        let mut changes = Vec::with_capacity(self.credentials.len() + self.facts.len());
        for PagedCredential { key, issued, not_after, cut_set } in self.credentials {
            let cut_keys = usize::try_from(cut_set).ok().and_then(|place| self.cut_sets.get(place));
            let cut_keys = cut_keys.ok_or_else(|| FrameError::Unreadable("a set of cut keys is missing".to_owned()))?;
            changes.push(Change::Recorded(Credential { key, issued, not_after, cut_keys: cut_keys.clone() }));
        }
        changes.extend(self.facts);
        Ok(changes)
    }
}

const LENGTH: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sides_speak_the_newest_version_that_both_know() {
        let later = 4..=5;
        for (theirs, common) in [(3, None), (4, Some(4)), (5, Some(5)), (6, Some(5)), (u16::MAX, Some(5))] {
            assert_eq!(negotiate(theirs, &later), common, "{theirs}");
        }
        assert_eq!([0, 1, 2].map(|theirs| negotiate(theirs, &SPOKEN)), [None, Some(1), Some(1)]);
        assert!(*SPOKEN.end() == VERSION && VERSION - SPOKEN.start() <= 1);
    }

    #[test]
    fn a_hello_of_the_first_version_has_the_octets_it_always_had() {
        let hello = Up::Hello(ProxyHello {
            version: 1,
            cluster: "prod".parse().unwrap(),
            instance: [7; 16],
            cursor: Some(Cursor { timeline: [9; 16], revision: Revision { era: 1, number: 300 } }),
            bound: Duration::from_secs(30),
            mode: Mode::Strict,
            cut_time: Duration::from_millis(250),
        });
        let octets = hex::encode(encode(&hello).unwrap());
        assert_eq!(octets, HELLO, "a change needs a new version");
        let mut decoder = Decoder::default();
        decoder.push(&hex::decode(HELLO).unwrap());
        assert_eq!(decoder.frame(), Ok(Some(hello)));
    }

    /// What proxies of the first version send; theirs in the field do not change.
    const HELLO: &str = concat!(
        "0000003300010470726f6407070707070707070707070707070707010909",
        "090909090909090909090909090901ac021e00000080e59a77"
    );

    #[test]
    fn frames_come_out_as_they_went_in_however_the_stream_is_cut() {
        let sent = [Up::Ping { nonce: 1 }, Up::Ping { nonce: u64::MAX }];
        let octets: Vec<u8> = sent.iter().flat_map(|frame| encode(frame).unwrap()).collect();
        for piece in 1..octets.len() {
            let (mut decoder, mut got) = (Decoder::default(), Vec::new());
            for part in octets.chunks(piece) {
                decoder.push(part);
                while let Some(frame) = decoder.frame::<Up>().unwrap() {
                    got.push(frame);
                }
            }
            assert_eq!(got, sent);
            assert!(decoder.is_between_frames());
        }
    }

    #[test]
    fn what_is_too_long_or_means_nothing_is_refused() {
        let mut decoder = Decoder::default();
        decoder.push(&[0xff; 4]);
        assert!(matches!(decoder.frame::<Up>(), Err(FrameError::TooLong(_))));
        for bad in [&[0, 0, 0, 1, 200][..], &[0, 0, 0, 3, 1, 5, 9], &[0, 0, 0, 0]] {
            let mut decoder = Decoder::default();
            decoder.push(bad);
            assert!(matches!(decoder.frame::<Up>(), Err(FrameError::Unreadable(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_page_says_what_it_was_made_of_and_each_set_once() {
        let credential = |n: u8, id: &str| Credential {
            key: ShortFingerprint([n; 16]),
            issued: Revision { era: 1, number: u64::from(n) },
            not_after: Timestamp::from_unix_seconds(5),
            cut_keys: vec![CutKey::Identity(id.parse().unwrap())],
        };
        let credentials = vec![credential(1, "a"), credential(2, "b"), credential(3, "a")];
        let page = SnapshotPage::new(Revision { era: 1, number: 9 }, Vec::new(), credentials.clone());
        assert_eq!(page.cut_sets.len(), 2);
        let changes = page.clone().into_changes().unwrap();
        assert_eq!(changes, credentials.into_iter().map(Change::Recorded).collect::<Vec<_>>());
        let torn = SnapshotPage { cut_sets: Vec::new(), ..page };
        assert!(torn.into_changes().is_err());
    }
}
