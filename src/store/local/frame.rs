//! A frame: one group of commits as it lies in a segment.
//!
//! The *link* hashes the frame before it and everything that the group says; the *checksum* adds the segment's nonce.
//! So a group keeps its link when recovery copies it into another segment, and bytes that a client chose can never pass
//! for a frame.

use super::octets::{Digest, Octets, digest, length, short_length};
use crate::standing::Revision;
use crate::store::{Batch, Write};

/// Frames start at multiples of this: a torn write of one can never touch the one before it.
pub const BLOCK: usize = 4096;

/// The octets before the payload.
pub const HEAD: usize = 128;

const MAGIC: &[u8; 8] = b"PCLSFRAM";
const PUT: u8 = 1;
const DELETE: u8 = 2;

/// A place in the journal: a group's last revision and its link. Before the first group: number 0 and zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The last revision of the group.
    pub revision: Revision,
    /// The link of its frame.
    pub link: Digest,
}

impl Position {
    /// Before the first group of a journal.
    pub const START: Self = Self { revision: Revision { era: 0, number: 0 }, link: [0; 32] };
}

/// What stands before a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The revision of the first commit of the group.
    pub first: Revision,
    /// How many commits it holds, at least one.
    pub count: u32,
    /// The octets of the payload.
    pub length: u32,
    /// The link of the frame before it.
    pub previous: Digest,
    /// Its own link.
    pub link: Digest,
}

impl Head {
    /// The head of the frame that begins these bytes, if its checksum is right; the payload is not looked at.
    pub fn read(bytes: &[u8], nonce: &[u8; 16]) -> Option<Self> {
        let (head, _) = bytes.split_first_chunk::<HEAD>()?;
        let mut octets = Octets(head);
        if octets.array()? != *MAGIC {
            return None;
        }
        let length = octets.u32()?;
        let count = octets.u32()?;
        let first = octets.revision()?;
        octets.u32()?;
        let read = Self { first, count, length, previous: octets.array()?, link: octets.array()? };
        let checked = head.get(..CHECKED)?;
        (octets.array()? == digest(&[nonce, checked]) && count > 0).then_some(read)
    }

    /// The place that the group ends at.
    pub fn end(&self) -> Position {
        let number = self.first.number.saturating_add(u64::from(self.count)).saturating_sub(1);
        Position { revision: Revision { number, ..self.first }, link: self.link }
    }

    /// Whether this is the payload that the frame was written with.
    pub fn vouches_for(&self, payload: &[u8]) -> bool {
        length(payload) == self.length.to_be_bytes()
            && link(&self.previous, self.first, self.count, payload) == self.link
    }

    /// The octets from the frame's start to the next frame's.
    pub fn span(&self) -> usize {
        span(self.length as usize)
    }
}

/// The octets of a frame with a payload of this length, padding included.
pub(super) fn span(payload: usize) -> usize {
    payload.saturating_add(HEAD).next_multiple_of(BLOCK)
}

/// Completes a frame: `frame` holds [`HEAD`] octets of anything and then the payload.
pub fn seal(frame: &mut Vec<u8>, previous: &Digest, first: Revision, count: u32, nonce: &[u8; 16]) -> Digest {
    let payload = frame.get(HEAD..).unwrap_or_default();
    let link = link(previous, first, count, payload);
    let mut head = Vec::with_capacity(HEAD);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&length(payload));
    head.extend_from_slice(&count.to_be_bytes());
    head.extend_from_slice(&first.octets());
    head.extend_from_slice(&[0; 4]);
    head.extend_from_slice(previous);
    head.extend_from_slice(&link);
    let checksum = digest(&[nonce, &head]);
    head.extend_from_slice(&checksum);
    if let Some(place) = frame.get_mut(..HEAD) {
        place.copy_from_slice(&head);
    }
    frame.resize(frame.len().next_multiple_of(BLOCK), 0);
    link
}

/// A commit as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its revision.
    pub revision: Revision,
    /// What it changed.
    pub writes: Vec<Write>,
    /// What it says happened.
    pub entry: Vec<u8>,
}

/// A commit's part of the payload.
pub fn encode(batch: &Batch) -> Vec<u8> {
    let mut out = Vec::with_capacity(batch.entry.len().saturating_add(256));
    out.extend_from_slice(&length(&batch.entry));
    out.extend_from_slice(&batch.entry);
    let writes = u16::try_from(batch.writes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&writes.to_be_bytes());
    for write in &batch.writes {
        out.push(if matches!(write, Write::Put { .. }) { PUT } else { DELETE });
        out.extend_from_slice(&short_length(write.key()));
        out.extend_from_slice(write.key());
        if let Write::Put { value, .. } = write {
            out.extend_from_slice(&length(value));
            out.extend_from_slice(value);
        }
    }
    out
}

/// The commits of a payload; `None` if it is not made as [`encode`] makes it.
pub fn decode(head: &Head, payload: &[u8]) -> Option<Vec<Recorded>> {
    let mut octets = Octets(payload);
    let mut commits = Vec::new();
    let mut revision = head.first;
    for _ in 0..head.count {
        let entry = octets.long()?.to_vec();
        let count = octets.u16()?;
        let mut writes = Vec::with_capacity(count.into());
        for _ in 0..count {
            writes.push(decode_write(&mut octets)?);
        }
        commits.push(Recorded { revision, writes, entry });
        revision = revision.next();
    }
    octets.0.is_empty().then_some(commits)
}

fn decode_write(octets: &mut Octets<'_>) -> Option<Write> {
    let tag = octets.u8()?;
    let key = octets.short()?.to_vec();
    match tag {
        PUT => Some(Write::Put { key, value: octets.long()?.to_vec() }),
        DELETE => Some(Write::Delete { key }),
        _ => None,
    }
}

fn link(previous: &Digest, first: Revision, count: u32, payload: &[u8]) -> Digest {
    digest(&[b"portcullis frame", previous, &first.octets(), &count.to_be_bytes(), &length(payload), payload])
}

/// The octets of a head that its checksum covers.
const CHECKED: usize = HEAD - 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(nonce: [u8; 16]) -> Vec<u8> {
        let put = Write::Put { key: b"k".to_vec(), value: b"v".to_vec() };
        let delete = Write::Delete { key: b"gone".to_vec() };
        let batch = Batch { writes: vec![put, delete], entry: b"entry".to_vec(), ..Batch::default() };
        let mut frame = vec![0; HEAD];
        frame.extend(encode(&batch));
        frame.extend(encode(&Batch { entry: vec![7; 5000], ..Batch::default() }));
        seal(&mut frame, &[9; 32], Revision { era: 3, number: 10 }, 2, &nonce);
        frame
    }

    #[test]
    fn a_frame_reads_back_as_the_commits_it_was_made_of() {
        let frame = sealed([1; 16]);
        let head = Head::read(&frame, &[1; 16]).unwrap();
        let payload = &frame[HEAD..HEAD + head.length as usize];
        assert!(head.vouches_for(payload));
        assert_eq!((frame.len(), head.span()), (2 * BLOCK, 2 * BLOCK));
        let commits = decode(&head, payload).unwrap();
        assert_eq!(commits[0].entry, b"entry");
        assert_eq!(commits[0].writes.len(), 2);
        assert_eq!(commits[1].revision, Revision { era: 3, number: 11 });
        assert_eq!(head.end().revision, Revision { era: 3, number: 11 });
    }

    #[test]
    fn another_segments_nonce_makes_it_no_frame_but_keeps_its_link() {
        let (one, two) = (sealed([1; 16]), sealed([2; 16]));
        assert!(Head::read(&one, &[2; 16]).is_none());
        let link = |frame: &[u8], nonce| Head::read(frame, &[nonce; 16]).unwrap().link;
        assert_eq!(link(&one, 1), link(&two, 2));
    }

    #[test]
    fn every_changed_octet_of_a_frame_is_noticed() {
        let frame = sealed([1; 16]);
        let meant = Head::read(&frame, &[1; 16]).unwrap();
        for place in 0..HEAD + meant.length as usize {
            let mut changed = frame.clone();
            changed[place] ^= 0x10;
            let whole = Head::read(&changed, &[1; 16])
                .is_some_and(|head| head.vouches_for(&changed[HEAD..HEAD + head.length as usize]));
            assert!(!whole, "octet {place}");
        }
    }
}
