//! What is visible: the resident keys, the index, the end, and the newest entries.
//!
//! Everything a group changes becomes visible at once, under one lock, after the group is durable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use super::frame::Position;
use super::index::Index;
use crate::standing::Revision;
use crate::store::{Assertion, KeyRange, RESIDENT_END, StoreError, Versioned, Write};

/// How many of the newest entries are kept in memory for followers, and how many octets of them.
const RECENT: (usize, usize) = (4096, 4 * 1024 * 1024);

/// What every reader sees.
#[derive(Debug)]
pub(super) struct View {
    applied: RwLock<Applied>,
    end: Mutex<Revision>,
    grown: Condvar,
}

#[derive(Debug)]
pub(super) struct Applied {
    pub(super) resident: BTreeMap<Vec<u8>, Versioned>,
    pub(super) index: Index,
    pub(super) position: Position,
    recent: Recent,
}

/// What a group does to one key.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// What it was before the group.
    pub(super) before: Option<Versioned>,
    /// What it is after it.
    pub(super) now: Option<Versioned>,
}

/// What a group of commits does to all of the keys it touches, not visible yet.
#[derive(Debug, Default)]
pub(super) struct Changes(BTreeMap<Vec<u8>, Change>);

impl View {
    /// What is visible after a start; the newest entries are kept from here on.
    pub(super) fn new(mut applied: Applied) -> Self {
        let end = applied.position.revision;
        applied.recent = Recent { before: end, entries: VecDeque::new(), octets: 0 };
        Self { applied: RwLock::new(applied), end: Mutex::new(end), grown: Condvar::new() }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Applied> {
        self.applied.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a group visible and wakes who waits for it.
    pub(super) fn apply(
        &self,
        changes: &Changes,
        entries: Vec<(Revision, Vec<u8>)>,
        position: Position,
    ) -> Result<(), StoreError> {
        let mut applied = self.applied.write().unwrap_or_else(PoisonError::into_inner);
        applied.apply(changes, position)?;
        applied.recent.extend(entries);
        *self.end_lock() = position.revision;
        drop(applied);
        self.grown.notify_all();
        Ok(())
    }

    pub(super) fn end(&self) -> Revision {
        *self.end_lock()
    }

    pub(super) fn wait_beyond(&self, revision: Revision, timeout: Duration) -> Revision {
        let waited = self.grown.wait_timeout_while(self.end_lock(), timeout, |end| *end <= revision);
        waited.map_or_else(|poisoned| *poisoned.into_inner().0, |(end, _)| *end)
    }

    fn end_lock(&self) -> MutexGuard<'_, Revision> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Applied {
    /// The resident keys as they were at `position`, and an index that may be behind or ahead of them.
    pub(super) fn new(resident: BTreeMap<Vec<u8>, Versioned>, index: Index, position: Position) -> Self {
        let recent = Recent { before: position.revision, entries: VecDeque::new(), octets: 0 };
        Self { resident, index, position, recent }
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        if is_resident(key) { Ok(self.resident.get(key).cloned()) } else { self.index.get(key) }
    }

    pub(super) fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<(Vec<u8>, Versioned)>, StoreError> {
        let from = self.resident.range::<[u8], _>((std::ops::Bound::Included(range.start.as_slice()), UNBOUNDED));
        let within = from.take_while(|(key, _)| range.contains(key)).take(limit);
        let mut found: Vec<_> = within.map(|(key, held)| (key.clone(), held.clone())).collect();
        let left = limit.saturating_sub(found.len());
        if left > 0 && (range.end.is_empty() || range.end.as_slice() > [RESIDENT_END].as_slice()) {
            found.extend(self.index.scan(range, left)?);
        }
        Ok(found)
    }

    /// The entries after a revision, if the newest ones reach back that far.
    pub(super) fn recent_after(&self, revision: Revision, limit: usize) -> Option<Vec<(Revision, Vec<u8>)>> {
        self.recent.after(revision, limit)
    }

    /// Applies a group, in part where the index or the resident keys already are beyond it.
    pub(super) fn apply(&mut self, changes: &Changes, position: Position) -> Result<(), StoreError> {
        if self.index.position().revision < position.revision {
            self.index.apply(changes.0.iter().filter(|(key, _)| !is_resident(key)), position)?;
        }
        if self.position.revision < position.revision {
            for (key, change) in changes.0.iter().filter(|(key, _)| is_resident(key)) {
                match &change.now {
                    Some(now) => self.resident.insert(key.clone(), now.clone()),
                    None => self.resident.remove(key),
                };
            }
            self.position = position;
        }
        Ok(())
    }
}

impl Changes {
    /// Whether everything asserted still is so, on top of what the group has done already.
    pub(super) fn agree_with(&self, assertions: &[Assertion], applied: &Applied) -> Result<bool, StoreError> {
        for assertion in assertions {
            let found = match self.0.get(&assertion.key) {
                Some(change) => change.now.as_ref().map(|held| held.modified),
                None => applied.get(&assertion.key)?.map(|held| held.modified),
            };
            if found != assertion.modified {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Looks up what the writes will change, so that [`Changes::make`] cannot fail half-way.
    pub(super) fn prepare(&mut self, writes: &[Write], applied: &Applied) -> Result<(), StoreError> {
        for write in writes {
            if !self.0.contains_key(write.key()) {
                let before = applied.get(write.key())?;
                self.0.insert(write.key().to_vec(), Change { now: before.clone(), before });
            }
        }
        Ok(())
    }

    /// Makes the writes of one commit, which were prepared.
    pub(super) fn make(&mut self, writes: Vec<Write>, revision: Revision) {
        for write in writes {
            let (key, value) = match write {
                Write::Put { key, value } => (key, Some(value)),
                Write::Delete { key } => (key, None),
            };
            let change = self.0.entry(key).or_insert(Change { before: None, now: None });
            let created = change.now.as_ref().map_or(revision, |held| held.created);
            change.now = value.map(|value| Versioned { value, created, modified: revision });
        }
    }
}

/// Whether the key is kept in memory rather than in the index.
pub(super) fn is_resident(key: &[u8]) -> bool {
    key.first().is_none_or(|octet| *octet < RESIDENT_END)
}

/// The newest entries, without a gap up to the end.
#[derive(Debug)]
struct Recent {
    /// The revision before the first of them.
    before: Revision,
    entries: VecDeque<(Revision, Vec<u8>)>,
    octets: usize,
}

impl Recent {
    fn extend(&mut self, entries: Vec<(Revision, Vec<u8>)>) {
        for (revision, entry) in entries {
            self.octets = self.octets.saturating_add(entry.len());
            self.entries.push_back((revision, entry));
        }
        while self.entries.len() > RECENT.0 || self.octets > RECENT.1 {
            let Some((revision, entry)) = self.entries.pop_front() else { return };
            self.octets = self.octets.saturating_sub(entry.len());
            self.before = revision;
        }
    }

    fn after(&self, revision: Revision, limit: usize) -> Option<Vec<(Revision, Vec<u8>)>> {
        if revision < self.before {
            return None;
        }
        let start = self.entries.partition_point(|(at, _)| *at <= revision);
        Some(self.entries.iter().skip(start).take(limit).cloned().collect())
    }
}

const UNBOUNDED: std::ops::Bound<&[u8]> = std::ops::Bound::Unbounded;
