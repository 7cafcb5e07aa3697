//! Why a store could not be opened.

use std::io;
use std::path::{Path, PathBuf};

/// The store was not opened; nothing is served from it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the store is in use: another process holds the lock {}; stop that process first", .0.display())]
    Locked(PathBuf),
    /// A newer version wrote it.
    #[error("{} was written by a newer version (format {found}, this one knows {known}); run that version", file.display())]
    Newer {
        /// Which file.
        file: PathBuf,
        /// Its format.
        found: u16,
        /// The newest format that this version reads.
        known: u16,
    },
    /// Something that was acknowledged, or may have been, cannot be read.
    #[error("the store is damaged: {}: {what}; restore from a backup, nothing is served from it", file.display())]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// There is no store here.
    #[error("there is no store in {}; make one with init", .0.display())]
    NotAStore(PathBuf),
    /// It would lie on another machine's disk.
    #[error(
        "{} is on a network file system ({kind}), where a lock may be held twice and a sync may be none; wanted a disk \
         of this machine", folder.display()
    )]
    Network {
        /// The store's folder, or the one it would be in.
        folder: PathBuf,
        /// What it is on.
        kind: &'static str,
    },
    /// Making it was interrupted before anything could be stored.
    #[error("the store was never finished being made, and nothing is in it; run init again")]
    Unfinished,
    /// A store is here already.
    #[error("there is a store in {} already; it is left as it is", .0.display())]
    Exists(PathBuf),
    /// The disk refused.
    #[error("{doing} failed: {source}")]
    Disk {
        /// What was being done.
        doing: String,
        /// What the disk said.
        source: io::Error,
    },
    /// The journal cannot be read again for the keys it holds.
    #[error("the journal cannot be read for what it holds: {0}")]
    Journal(String),
    /// The index cannot be made again.
    #[error("the index cannot be made again: {0}")]
    Index(String),
    /// The random number generator did not answer.
    #[error("the system's random number generator failed; the store needs it to open")]
    NoEntropy,
}

impl OpenError {
    pub(super) fn damaged(file: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), what: what.into() }
    }

    pub(super) fn disk(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Disk { doing: doing.into(), source }
    }
}
