//! A segment: a file of the journal, its header, and what can be read from it.

use std::path::{Path, PathBuf};

use super::OpenError;
use super::frame::{BLOCK, HEAD, Head, Position};
use super::octets::{Octets, digest};
use crate::disk::Disk;
use crate::standing::Revision;
use crate::store::Timeline;

/// The newest layout of headers, marks, checkpoints and frames that this version knows.
pub(super) const FORMAT: u16 = 1;

/// The shortest segment: the largest commit fits twice, so that a fresh one always has room.
pub(super) const SHORTEST: u64 = 4 * 1024 * 1024;

/// The longest segment that is read: it is held in memory while it is checked.
const LONGEST: u64 = 1024 * 1024 * 1024;

const MAGIC: &[u8; 8] = b"PCLSSEGM";

/// What a segment says about itself in its first block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Its place among the segments, counted from 1 without a gap.
    pub(super) sequence: u64,
    /// The era of its commits.
    pub(super) era: u32,
    /// The name of that era.
    pub(super) timeline: Timeline,
    /// Where the journal stood when it was begun; the segment before it ends there, whatever lies behind.
    pub(super) previous: Position,
    /// What the checksums of its frames are seeded with.
    pub(super) nonce: [u8; 16],
}

impl Header {
    /// The first block of the file.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.era.to_be_bytes());
        out.extend_from_slice(&self.timeline.0);
        out.extend_from_slice(&self.previous.revision.octets());
        out.extend_from_slice(&self.previous.link);
        out.extend_from_slice(&self.nonce);
        let checksum = digest(&[&out]);
        out.extend_from_slice(&checksum);
        out.resize(BLOCK, 0);
        out
    }

    /// Reads the first block of `file`.
    pub(super) fn decode(bytes: &[u8], file: &Path) -> Result<Self, OpenError> {
        let damaged = || OpenError::damaged(file, "its header does not agree with its checksum");
        let mut octets = Octets(checked(bytes, MAGIC, CHECKED, file).ok_or_else(damaged)??);
        let mut fields = || {
            let sequence = octets.u64()?;
            let era = octets.u32()?;
            let timeline = Timeline(octets.array()?);
            let previous = Position { revision: octets.revision()?, link: octets.array()? };
            Some(Self { sequence, era, timeline, previous, nonce: octets.array()? })
        };
        fields().ok_or_else(damaged)
    }
}

/// What follows magic, format and padding in the first `length` octets, if the checksum behind them is right.
///
/// All our files begin alike in every version, so that an older one can tell newer from damaged.
pub(super) fn checked<'a>(
    bytes: &'a [u8],
    magic: &[u8; 8],
    length: usize,
    file: &Path,
) -> Option<Result<&'a [u8], OpenError>> {
    let (body, rest) = bytes.split_at_checked(length)?;
    if rest.first_chunk::<32>()? != &digest(&[body]) {
        return None;
    }
    let mut octets = Octets(body);
    if &octets.array()? != magic {
        return None;
    }
    let format = octets.u16()?;
    octets.u16()?;
    if format > FORMAT {
        return Some(Err(OpenError::Newer { file: file.to_owned(), found: format, known: FORMAT }));
    }
    Some(Ok(octets.0))
}

/// Where a frame lies in its segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameAt {
    pub(super) first: Revision,
    pub(super) offset: u64,
}

/// The whole of a segment in memory.
pub(super) struct Content {
    pub(super) header: Header,
    pub(super) bytes: Vec<u8>,
}

impl Content {
    /// Reads the file.
    pub(super) fn read(disk: &dyn Disk, path: &Path) -> Result<Self, OpenError> {
        let doing = || format!("reading {}", path.display());
        let file = disk.open_to_read(path).map_err(|error| OpenError::disk(doing(), error))?;
        let bytes = crate::disk::read_whole(&*file, LONGEST).map_err(|error| OpenError::disk(doing(), error))?;
        Ok(Self { header: Header::decode(&bytes, path)?, bytes })
    }

    /// The whole frame at `offset` that continues from `from`, with its payload.
    pub(super) fn frame(&self, offset: usize, from: &Position) -> Option<(Head, &[u8])> {
        let bytes = self.bytes.get(offset..)?;
        let head = Head::read(bytes, &self.header.nonce)?;
        let payload = bytes.get(HEAD..HEAD.checked_add(head.length as usize)?)?;
        let continues = head.previous == from.link
            && head.first == Revision { era: self.header.era, number: from.revision.next().number };
        (continues && head.vouches_for(payload)).then_some((head, payload))
    }

    /// Where the first frame behind `offset` begins whose head is whole, wherever it continues from.
    pub(super) fn any_head_behind(&self, offset: usize) -> Option<usize> {
        let starts = (offset.saturating_add(BLOCK)..self.bytes.len()).step_by(BLOCK);
        starts.into_iter().find(|at| {
            let bytes = self.bytes.get(*at..).unwrap_or_default();
            Head::read(bytes, &self.header.nonce).is_some()
        })
    }

    /// What lies from `offset` on, without the zeros at the end.
    pub(super) fn rest(&self, offset: usize) -> &[u8] {
        let mut rest = self.bytes.get(offset..).unwrap_or_default();
        while let Some((front, block)) = rest.split_last_chunk::<BLOCK>()
            && is_zeros(block)
        {
            rest = front;
        }
        let length = rest.iter().rposition(|octet| *octet != 0).map_or(0, |last| last.saturating_add(1));
        rest.get(..length).unwrap_or_default()
    }
}

/// Whether there is nothing in a block: compared as a whole, because starts go through all of a segment with it.
pub(super) fn is_zeros(block: &[u8]) -> bool {
    ZEROS.get(..block.len()).is_some_and(|zeros| zeros == block)
}

/// The name of a segment.
pub(super) fn path(journal: &Path, sequence: u64) -> PathBuf {
    journal.join(format!("{sequence:016}.segment"))
}

/// The place among the segments that a file name stands for.
pub(super) fn sequence(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".segment")?;
    (digits.len() == 16).then(|| digits.parse().ok())?
}

const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// The octets of a header that its checksum covers.
const CHECKED: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let previous = Position { revision: Revision { era: 7, number: 41 }, link: [3; 32] };
        Header { sequence: 5, era: 7, timeline: Timeline([1; 16]), previous, nonce: [2; 16] }
    }

    #[test]
    fn a_header_reads_back_and_every_changed_octet_is_noticed() {
        let bytes = header().encode();
        assert_eq!(Header::decode(&bytes, Path::new("x")).unwrap(), header());
        for place in 0..CHECKED + 32 {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert!(matches!(Header::decode(&changed, Path::new("x")), Err(OpenError::Damaged { .. })), "{place}");
        }
    }

    #[test]
    fn a_header_of_a_newer_version_is_named_as_that() {
        let mut bytes = header().encode();
        bytes[9] = 2;
        let checksum = digest(&[&bytes[..CHECKED]]);
        bytes[CHECKED..CHECKED + 32].copy_from_slice(&checksum);
        assert!(matches!(Header::decode(&bytes, Path::new("x")), Err(OpenError::Newer { found: 2, .. })));
    }

    #[test]
    fn only_whole_names_are_segments() {
        assert_eq!(sequence("0000000000000012.segment"), Some(12));
        assert_eq!(sequence("12.segment"), None);
        assert_eq!(sequence("spare"), None);
        assert_eq!(path(Path::new("j"), 12), Path::new("j/0000000000000012.segment"));
    }
}
