//! An ordered key-value store with conditional atomic commits and a journal; bytes only.
//!
//! A commit lands whole or not at all, and only if nothing it asserts has moved. Every commit is one entry of the
//! journal; its place there is its revision, and every value carries the revision that created it and the one that last
//! wrote it. The contract is blocking: `engine` calls it on blocking threads.
//!
//! Left out on purpose: nested transactions, time, and any knowledge of what the bytes mean. Keys whose first octet is
//! below [`RESIDENT_END`] hold facts whose *absence* permits something, and what must be known to record another; an
//! engine keeps them where damage cannot pass for absence, and has them before all others.
//!
//! Read [`Store`] first, then `txn` (what the rest of the crate uses), then `memory` (the model) and `local` (the disk).

pub mod entry;
pub mod memory;
pub mod record;
pub mod txn;
pub mod local;
#[cfg(test)]
mod conformance;

use std::fmt;
use std::time::Duration;

use crate::standing::Revision;

/// Keys that start with an octet below this one are resident: never served from an index that may have lost some.
pub const RESIDENT_END: u8 = 0x40;

/// The longest key an engine must take, in octets.
pub const MAX_KEY: usize = 1024;

/// The most a commit may carry in keys, values and entry together, in octets: below etcd's request limit of 1.5 MiB.
pub const MAX_COMMIT: usize = 1024 * 1024;

/// The most writes and assertions a commit may carry together: an issuance with 32 groups and 16 ancestors needs 170.
pub const MAX_OPERATIONS: usize = 256;

/// What every engine promises.
///
/// Reads see acknowledged commits only, and never a part of one commit without the rest of it in the same read.
pub trait Store: Send + Sync + fmt::Debug {
    /// The value of a key, if it has one.
    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError>;

    /// The first `limit` keys of a range in order, with their values.
    fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<(Vec<u8>, Versioned)>, StoreError>;

    /// Commits the batch if nothing it asserts has moved; returns once it is durable.
    fn commit(&self, batch: Batch) -> Result<Revision, CommitError>;

    /// The first `limit` entries after `revision`, oldest first.
    fn entries_after(&self, revision: Revision, limit: usize) -> Result<Vec<(Revision, Vec<u8>)>, StoreError>;

    /// The revision of the newest acknowledged commit; number 0 when there is none yet.
    fn end(&self) -> Revision;

    /// Waits until the end is beyond `revision` or the time is over; returns the end.
    fn wait_beyond(&self, revision: Revision, timeout: Duration) -> Revision;

    /// The random name of this era: two stores with the same era and another timeline have diverged.
    fn timeline(&self) -> Timeline;

    /// Whether everything can be read and committed; the reason where not.
    fn health(&self) -> Result<(), StoreError>;

    /// Whether more than resident keys can be read; the reason where not. Urgent commits do not wait for it.
    fn complete(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The random 128-bit name of an era.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Timeline(pub [u8; 16]);

/// A value with the revisions that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The bytes as written.
    pub value: Vec<u8>,
    /// The commit that made the key appear; a deletion in between begins anew.
    pub created: Revision,
    /// The commit that last wrote it.
    pub modified: Revision,
}

/// Keys from `start`, up to but without `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key.
    pub start: Vec<u8>,
    /// The first key that is no longer in the range; empty means no end.
    pub end: Vec<u8>,
}

impl KeyRange {
    /// Every key that begins with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        let mut end = prefix.to_vec();
        while let Some(last) = end.pop() {
            if let Some(next) = last.checked_add(1) {
                end.push(next);
                break;
            }
        }
        Self { start: prefix.to_vec(), end }
    }

    /// The part of the range that lies after `key`.
    #[must_use]
    pub fn after(&self, key: &[u8]) -> Self {
        let mut start = key.to_vec();
        start.push(0);
        Self { start: start.max(self.start.clone()), end: self.end.clone() }
    }

    /// Whether the key is in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice() && (self.end.is_empty() || key < self.end.as_slice())
    }
}

/// What a commit asks for.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// What must still be so; each key at most once.
    pub assertions: Vec<Assertion>,
    /// What changes; each key at most once.
    pub writes: Vec<Write>,
    /// The journal's entry.
    pub entry: Vec<u8>,
    /// Whether it goes on where others must wait.
    pub urgency: Urgency,
}

/// Which commits go on while the disk is full, or while an engine has its resident keys only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Urgency {
    /// Waits: [`CommitError::Full`] or [`CommitError::Unavailable`].
    #[default]
    Ordinary,
    /// Takes from the spare and does not wait for what is not resident: revoking, locking, and what an authority needs
    /// to be asked for them. Beyond resident keys it may write rows only whose keys were just drawn at random, and
    /// asserts nothing but their absence.
    Urgent,
}

/// A key and the revision that last wrote it, as it was when it was read; `None` means that it was absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// The key that was read.
    pub key: Vec<u8>,
    /// What it must still be.
    pub modified: Option<Revision>,
}

/// A change to one key.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Write {
    /// The key has this value.
    Put {
        /// Which key.
        key: Vec<u8>,
        /// Its value from now on.
        value: Vec<u8>,
    },
    /// The key is absent; no error if it was.
    Delete {
        /// Which key.
        key: Vec<u8>,
    },
}

impl Write {
    /// The key that changes.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// A commit did not land, or may not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Something asserted has moved: read again and decide again. Nothing was written.
    #[error("something this change was decided on has changed meanwhile")]
    Conflict,
    /// There is no space for anything but revocations. Nothing was written.
    #[error("the disk is full: nothing is issued until there is space again; revoking still works")]
    Full,
    /// The batch exceeds [`MAX_COMMIT`], [`MAX_KEY`] or [`MAX_OPERATIONS`]. Nothing was written.
    #[error("a commit holds at most 1 MiB in 256 operations, this one is larger: split the request")]
    TooLarge,
    /// The store takes no commits. Nothing was written.
    #[error("the store takes no changes: {0}")]
    Unavailable(String),
    /// The disk failed while this commit was made durable: it may or may not be there after a restart.
    #[error("the outcome is unknown: the disk failed during the commit ({0}); look again after the restart")]
    OutcomeUnknown(String),
}

/// A read failed, or the store is not fit to be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);
