//! Segments that a start does not need: they lie in a folder of their own, `archive`, in the journal's.
//!
//! A segment goes there once a checkpoint is beyond its end and there are newer ones enough. It is read from there when
//! the index must be made again, by backups, and by whoever asks for entries that old. An operator may move the folder's
//! oldest files elsewhere; what needs them then says which are wanted.

use std::io;
use std::path::{Path, PathBuf};

use super::frame::Position;
use super::log::Log;
use super::segment;
use crate::disk::Disk;

/// The folder, in that of the journal.
const NAME: &str = "archive";

/// Where archived segments lie.
pub(super) fn folder(journal: &Path) -> PathBuf {
    journal.join(NAME)
}

/// The segments that there are, archived or not, oldest first.
pub(super) fn sequences(disk: &dyn Disk, journal: &Path) -> io::Result<Vec<u64>> {
    // First the newer ones: what moves meanwhile is found twice rather than not at all.
    let mut names = disk.list(journal)?;
    match disk.list(&folder(journal)) {
        Ok(archived) => names.extend(archived),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut sequences: Vec<u64> = names.iter().filter_map(|name| segment::sequence(name)).collect();
    sequences.sort_unstable();
    sequences.dedup();
    Ok(sequences)
}

/// Where a segment lies; where it should, if it is nowhere.
pub(super) fn find(disk: &dyn Disk, journal: &Path, sequence: u64) -> PathBuf {
    let (usual, archived) = (segment::path(journal, sequence), segment::path(&folder(journal), sequence));
    let is_there = |path: &Path| disk.open_to_read(path).is_ok();
    if !is_there(&usual) && is_there(&archived) { archived } else { usual }
}

/// Moves what lies wholly before a checkpoint into the archive, except for the newest `keep` segments.
///
/// A segment has one name or the other at every moment, whichever of the two folders a crash leaves as it was.
pub(super) fn move_behind(
    disk: &dyn Disk,
    journal: &Path,
    log: &Log,
    checkpoint: &Position,
    keep: usize,
) -> io::Result<()> {
    let ended = log.ended_by(checkpoint.revision);
    let due = ended.len().min(log.segments().saturating_sub(keep));
    let archive = folder(journal);
    let present = disk.list(journal)?;
    let due: Vec<u64> = ended.into_iter().take(due).collect();
    let is_here = |sequence: &u64| present.iter().any(|name| segment::sequence(name) == Some(*sequence));
    let due: Vec<u64> = due.into_iter().filter(is_here).collect();
    if due.is_empty() {
        return Ok(());
    }
    disk.create_dir(&archive)?;
    for sequence in due {
        disk.rename(&segment::path(journal, sequence), &segment::path(&archive, sequence))?;
    }
    disk.sync_dir(&archive)?;
    disk.sync_dir(journal)
}
