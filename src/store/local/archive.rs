//! Segments that a start does not need have another name: `N.archived` instead of `N.segment`.
//!
//! A segment gets it once a checkpoint is beyond its end and there are newer ones enough. It is read when the index must
//! be made again, by backups, and by whoever asks for entries that old. An operator may move the oldest of them elsewhere;
//! what needs them then says which are wanted. They stay in the journal's folder, so that a crash leaves one name or the
//! other on every file system.

use std::io;
use std::path::{Path, PathBuf};

use super::frame::Position;
use super::log::Log;
use super::segment;
use crate::disk::Disk;

const SUFFIX: &str = "archived";

/// The name of an archived segment.
pub(super) fn path(journal: &Path, sequence: u64) -> PathBuf {
    segment::path(journal, sequence).with_extension(SUFFIX)
}

/// The place among the segments that a file name stands for, archived or not.
fn sequence(name: &str) -> Option<u64> {
    let usual = name.strip_suffix(SUFFIX).map(|stem| format!("{stem}segment"));
    segment::sequence(usual.as_deref().unwrap_or(name))
}

/// The segments that there are, archived or not, oldest first.
pub(super) fn sequences(disk: &dyn Disk, journal: &Path) -> io::Result<Vec<u64>> {
    let mut sequences: Vec<u64> = disk.list(journal)?.iter().filter_map(|name| sequence(name)).collect();
    sequences.sort_unstable();
    sequences.dedup();
    Ok(sequences)
}

/// Where a segment lies; where it should, if it is nowhere.
pub(super) fn find(disk: &dyn Disk, journal: &Path, sequence: u64) -> PathBuf {
    let (usual, archived) = (segment::path(journal, sequence), path(journal, sequence));
    let is_missing = |path: &Path| disk.open_to_read(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    if is_missing(&usual) && !is_missing(&archived) { archived } else { usual }
}

/// Archives what lies wholly before a checkpoint, except for the newest `keep` segments.
pub(super) fn archive_behind(
    disk: &dyn Disk,
    journal: &Path,
    log: &Log,
    checkpoint: &Position,
    keep: usize,
) -> io::Result<()> {
    let due = log.ended_by(checkpoint.revision);
    let most = log.segments().saturating_sub(keep);
    let present = disk.list(journal)?;
    let is_due = |name: &&String| {
        let place = segment::sequence(name).and_then(|wanted| due.iter().position(|sequence| *sequence == wanted));
        place.is_some_and(|place| place < most)
    };
    let mut renamed = false;
    for sequence in present.iter().filter(is_due).filter_map(|name| segment::sequence(name)) {
        disk.rename(&segment::path(journal, sequence), &path(journal, sequence))?;
        renamed = true;
    }
    if renamed { disk.sync_dir(journal) } else { Ok(()) }
}
