//! Room on the disk for the index to grow into, taken before it is needed.
//!
//! sled does not survive a full disk: after one write that failed for want of space it answers nothing any more, not even
//! what it holds. So space behind the end of its file is kept allocated, and where there is none to be had, nothing is
//! given to it. Left out on purpose: room for its snapshots, which it writes after a million changes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// How many octets there must be behind the file's end: several batches, and what sled moves about besides.
const LEAST: u64 = 8 * 1024 * 1024;

/// How many are allocated at a time.
const AHEAD: u64 = 16 * 1024 * 1024;

/// What the kernel counts a file's space in (stat(2)).
const SECTOR: u64 = 512;

/// The index's file, and the space behind its end.
#[derive(Debug)]
pub(super) struct Room(File);

impl Room {
    /// Of the index in `folder`, which is open.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        Ok(Self(OpenOptions::new().write(true).open(folder.join("db"))?))
    }

    /// Sees to it that there is enough; the error says why there is not.
    pub(super) fn ensure(&self) -> io::Result<()> {
        let found = self.0.metadata()?;
        // sled cuts its file off now and then, and what was allocated behind it goes too: never what was once true.
        if found.blocks().saturating_mul(SECTOR) >= found.len().saturating_add(LEAST) {
            return Ok(());
        }
        let wanted = found.len().saturating_add(AHEAD);
        match rustix::fs::fallocate(&self.0, FallocateFlags::KEEP_SIZE, 0, wanted) {
            // Not every file system can; there, a disk that fills up ends the index until the next start.
            Err(error) if error != Errno::OPNOTSUPP => Err(error.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_behind_the_end_of_the_file_and_again_when_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("db"), [1; 5000]).unwrap();
        let room = Room::of(folder.path()).unwrap();
        for _ in 0..2 {
            room.ensure().unwrap();
            let found = std::fs::metadata(folder.path().join("db")).unwrap();
            assert_eq!(found.len(), 5000);
            assert!(found.blocks() * SECTOR >= AHEAD);
            room.0.set_len(5000).unwrap();
        }
        assert!(Room::of(&folder.path().join("none")).is_err());
    }
}
