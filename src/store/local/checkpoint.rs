//! The checkpoint: every resident key at one place of the journal, in one checksummed file.
//!
//! It is written under a temporary name, synced and renamed, so there is always the old one or the new one.

use std::collections::BTreeMap;
use std::path::Path;

use super::OpenError;
use super::frame::Position;
use super::octets::{Octets, digest, length, short_length};
use super::segment::{FORMAT, checked};
use crate::disk::{Disk, read_whole};
use crate::store::{Timeline, Versioned};

const MAGIC: &[u8; 8] = b"PCLSCHCK";

/// The longest checkpoint that is read: some fifty million revocations.
const LONGEST: u64 = 8 * 1024 * 1024 * 1024;

/// The resident keys and where the journal stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) timeline: Timeline,
    pub(super) position: Position,
    pub(super) resident: BTreeMap<Vec<u8>, Versioned>,
}

/// The bytes of the file.
pub(super) fn encode(timeline: Timeline, position: &Position, resident: &BTreeMap<Vec<u8>, Versioned>) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&FORMAT.to_be_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&timeline.0);
    out.extend_from_slice(&position.revision.octets());
    out.extend_from_slice(&position.link);
    out.extend_from_slice(&(resident.len() as u64).to_be_bytes());
    for (key, held) in resident {
        out.extend_from_slice(&short_length(key));
        out.extend_from_slice(key);
        out.extend_from_slice(&held.created.octets());
        out.extend_from_slice(&held.modified.octets());
        out.extend_from_slice(&length(&held.value));
        out.extend_from_slice(&held.value);
    }
    let checksum = digest(&[&out]);
    out.extend_from_slice(&checksum);
    out
}

/// Reads the file; `None` if there is none or it is not whole, in which case the journal knows all that it said.
pub(super) fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Checkpoint>, OpenError> {
    let doing = || format!("reading {}", path.display());
    let file = match disk.open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| OpenError::disk(doing(), error))?,
    };
    let bytes = read_whole(&*file, LONGEST).map_err(|error| OpenError::disk(doing(), error))?;
    let Some(length) = bytes.len().checked_sub(32) else { return Ok(None) };
    let Some(body) = checked(&bytes, MAGIC, length, path) else { return Ok(None) };
    Ok(decode(body?))
}

fn decode(body: &[u8]) -> Option<Checkpoint> {
    let mut octets = Octets(body);
    let timeline = Timeline(octets.array()?);
    let position = Position { revision: octets.revision()?, link: octets.array()? };
    let count = octets.u64()?;
    let mut resident = BTreeMap::new();
    for _ in 0..count {
        let key = octets.short()?.to_vec();
        let (created, modified) = (octets.revision()?, octets.revision()?);
        resident.insert(key, Versioned { created, modified, value: octets.long()?.to_vec() });
    }
    octets.0.is_empty().then_some(Checkpoint { timeline, position, resident })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{SystemDisk, replace};
    use crate::standing::Revision;

    #[test]
    fn a_checkpoint_reads_back_and_a_damaged_one_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let (path, temporary) = (folder.path().join("checkpoint"), folder.path().join("checkpoint.new"));
        assert_eq!(read(&SystemDisk, &path).unwrap(), None);
        let revision = Revision { era: 7, number: 3 };
        let held = Versioned { value: b"v".to_vec(), created: revision, modified: revision.next() };
        let resident = BTreeMap::from([(b"a".to_vec(), held)]);
        let position = Position { revision: revision.next(), link: [8; 32] };
        let bytes = encode(Timeline([1; 16]), &position, &resident);
        replace(&SystemDisk, &path, &temporary, &bytes).unwrap();
        let meant = Checkpoint { timeline: Timeline([1; 16]), position, resident };
        assert_eq!(read(&SystemDisk, &path).unwrap(), Some(meant));
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 4;
            replace(&SystemDisk, &path, &temporary, &changed).unwrap();
            assert_eq!(read(&SystemDisk, &path).unwrap(), None, "octet {place}");
        }
    }
}
