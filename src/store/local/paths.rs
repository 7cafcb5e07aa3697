//! What lies where in the store's folder, and whether the folder may be used.

use std::path::{Path, PathBuf};

use super::{OpenError, segment};
use crate::disk::{Disk, DiskFile};

/// The names in the store's folder.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    pub(super) folder: PathBuf,
    pub(super) lock: PathBuf,
    pub(super) mark: PathBuf,
    pub(super) mark_unfinished: PathBuf,
    pub(super) checkpoint: PathBuf,
    pub(super) checkpoint_unfinished: PathBuf,
    pub(super) journal: PathBuf,
    pub(super) index: PathBuf,
    pub(super) quarantine: PathBuf,
}

pub(super) const MARK: &str = "mark";
pub(super) const CHECKPOINT: &str = "checkpoint";
pub(super) const JOURNAL: &str = "journal";

impl Paths {
    pub(super) fn of(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            lock: folder.join("lock"),
            mark: folder.join(MARK),
            mark_unfinished: folder.join("mark.new"),
            checkpoint: folder.join(CHECKPOINT),
            checkpoint_unfinished: folder.join("checkpoint.new"),
            journal: folder.join(JOURNAL),
            index: folder.join("index"),
            quarantine: folder.join("quarantine"),
        }
    }
}

/// One process a store and nothing acknowledged before it is durable: neither holds on somebody else's disk.
pub(super) fn must_be_local(disk: &dyn Disk, folder: &Path) -> Result<(), OpenError> {
    let doing = |error| OpenError::disk(format!("asking what {} is on", folder.display()), error);
    match disk.network_file_system(folder).map_err(doing)? {
        None => Ok(()),
        Some(kind) => Err(OpenError::Network { folder: folder.to_owned(), kind }),
    }
}

pub(super) fn take_lock(disk: &dyn Disk, paths: &Paths) -> Result<Box<dyn DiskFile>, OpenError> {
    disk.lock(&paths.lock).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => OpenError::Locked(paths.lock.clone()),
        _ => OpenError::disk(format!("locking {}", paths.lock.display()), error),
    })
}

/// Without a mark either nothing was ever there, or something that must not be guessed at is gone.
pub(super) fn without_mark(disk: &dyn Disk, paths: &Paths) -> OpenError {
    match disk.list(&paths.journal) {
        Ok(names) if names.iter().any(|name| segment::sequence(name).is_some()) => {
            OpenError::damaged(&paths.mark, "it is missing")
        }
        Ok(_) => OpenError::Unfinished,
        Err(error) => OpenError::disk("listing the journal", error),
    }
}
