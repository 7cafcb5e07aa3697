//! What is visible: the resident keys, the index and what it has not learned yet, the end, and the newest entries.
//!
//! What lies in memory covers what lies in the index, so it does not matter to a reader how far the index has come.
//! Everything a group changes becomes visible at once, under one lock, after the group is durable.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
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
    pub(super) index: Arc<Index>,
    /// What the index has not learned yet; it covers the index.
    behind: BTreeMap<Vec<u8>, Behind>,
    pub(super) position: Position,
    recent: Recent,
}

/// A key that changed after the place that the index reflects.
#[derive(Debug)]
struct Behind {
    now: Option<Versioned>,
    /// The end of the group that changed it.
    at: Revision,
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
pub(super) struct Changes {
    keys: BTreeMap<Vec<u8>, Change>,
    octets: usize,
}

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
    pub(super) fn apply(&self, changes: &Changes, entries: Vec<(Revision, Vec<u8>)>, position: Position) {
        let mut applied = self.write();
        applied.apply(changes, position);
        applied.recent.extend(entries);
        *self.end_lock() = position.revision;
        drop(applied);
        self.grown.notify_all();
    }

    /// The index has learned these changes: what nothing later has changed again need not be kept in memory.
    pub(super) fn settle(&self, changes: &Changes, position: Position) {
        let mut applied = self.write();
        for (key, _) in changes.beyond_resident() {
            if applied.behind.get(key).is_some_and(|behind| behind.at <= position.revision) {
                applied.behind.remove(key);
            }
        }
    }

    pub(super) fn index(&self) -> Arc<Index> {
        Arc::clone(&self.read().index)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Applied> {
        self.applied.write().unwrap_or_else(PoisonError::into_inner)
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
        Self { resident, index: Arc::new(index), behind: BTreeMap::new(), position, recent }
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        if is_resident(key) {
            return Ok(self.resident.get(key).cloned());
        }
        self.behind.get(key).map_or_else(|| self.index.get(key), |behind| Ok(behind.now.clone()))
    }

    pub(super) fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<(Vec<u8>, Versioned)>, StoreError> {
        let start = (Bound::Included(range.start.as_slice()), Bound::Unbounded);
        let within = self.resident.range::<[u8], _>(start).take_while(|(key, _)| range.contains(key)).take(limit);
        let mut found: Vec<_> = within.map(|(key, held)| (key.clone(), held.clone())).collect();
        let left = limit.saturating_sub(found.len());
        if left > 0 && (range.end.is_empty() || range.end.as_slice() > [RESIDENT_END].as_slice()) {
            let above = self.behind.range::<[u8], _>(start).take_while(|(key, _)| range.contains(key));
            let above = above.map(|(key, behind)| (key.as_slice(), behind.now.as_ref()));
            found.extend(self.index.scan_under(above, range, left)?);
        }
        Ok(found)
    }

    /// The entries after a revision, if the newest ones reach back that far.
    pub(super) fn recent_after(&self, revision: Revision, limit: usize) -> Option<Vec<(Revision, Vec<u8>)>> {
        self.recent.after(revision, limit)
    }

    fn apply(&mut self, changes: &Changes, position: Position) {
        self.apply_resident(changes, position);
        for (key, change) in changes.beyond_resident() {
            self.behind.insert(key.clone(), Behind { now: change.now.clone(), at: position.revision });
        }
    }

    /// Applies a group at the start, in part where the index or the resident keys already are beyond it.
    pub(super) fn replay(&mut self, changes: &Changes, position: Position) -> Result<(), StoreError> {
        if self.index.position().revision < position.revision {
            self.index.apply(changes.beyond_resident(), position)?;
        }
        if self.position.revision < position.revision {
            self.apply_resident(changes, position);
        }
        Ok(())
    }

    fn apply_resident(&mut self, changes: &Changes, position: Position) {
        for (key, change) in changes.keys.iter().filter(|(key, _)| is_resident(key)) {
            match &change.now {
                Some(now) => self.resident.insert(key.clone(), now.clone()),
                None => self.resident.remove(key),
            };
        }
        self.position = position;
    }
}

impl Changes {
    /// Whether everything asserted still is so, on top of what the group has done already.
    pub(super) fn agree_with(&self, assertions: &[Assertion], applied: &Applied) -> Result<bool, StoreError> {
        for assertion in assertions {
            let found = match self.keys.get(&assertion.key) {
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
            if !self.keys.contains_key(write.key()) {
                let before = applied.get(write.key())?;
                self.keys.insert(write.key().to_vec(), Change { now: before.clone(), before });
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
            self.octets = self.octets.saturating_add(key.len()).saturating_add(value.as_ref().map_or(0, Vec::len));
            let change = self.keys.entry(key).or_insert(Change { before: None, now: None });
            let created = change.now.as_ref().map_or(revision, |held| held.created);
            change.now = value.map(|value| Versioned { value, created, modified: revision });
        }
    }
}

impl Changes {
    /// How many octets were written to keys.
    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    /// What changes in the index.
    pub(super) fn beyond_resident(&self) -> impl Iterator<Item = (&Vec<u8>, &Change)> {
        self.keys.range::<[u8], _>((Bound::Included([RESIDENT_END].as_slice()), Bound::Unbounded))
    }

    /// Several groups, oldest first, as one.
    pub(super) fn merged<'a>(groups: impl Iterator<Item = &'a Self>) -> Self {
        let mut merged = Self::default();
        for group in groups {
            for (key, change) in group.beyond_resident() {
                match merged.keys.get_mut(key) {
                    Some(earlier) => earlier.now.clone_from(&change.now),
                    None => drop(merged.keys.insert(key.clone(), change.clone())),
                }
            }
        }
        merged
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_index_learned_uncovers_no_older_value() {
        let folder = tempfile::tempdir().unwrap();
        let index = Index::anew(&folder.path().join("index")).unwrap();
        let view = View::new(Applied::new(BTreeMap::new(), index, Position::START));
        let key = vec![0x80];
        let groups: Vec<_> = (1..=2_u64)
            .map(|number| {
                let revision = Revision { era: 7, number };
                let writes = vec![Write::Put { key: key.clone(), value: vec![7; 3] }];
                let mut changes = Changes::default();
                changes.prepare(&writes, &view.read()).unwrap();
                changes.make(writes, revision);
                let position = Position { revision, link: [1; 32] };
                view.apply(&changes, Vec::new(), position);
                (changes, position)
            })
            .collect();
        let (first, second) = (&groups[0], &groups[1]);
        view.index().apply(first.0.beyond_resident(), first.1).unwrap();
        view.settle(&first.0, first.1);
        assert_eq!(view.read().get(&key).unwrap().unwrap().modified.number, 2);
        view.index().apply(second.0.beyond_resident(), second.1).unwrap();
        view.settle(&second.0, second.1);
        assert!(view.read().behind.is_empty());
        let held = view.read().get(&key).unwrap().unwrap();
        assert_eq!((held.created.number, held.modified.number), (1, 2));
    }

    #[test]
    fn only_the_newest_entries_are_kept_and_the_others_are_read_from_the_disk() {
        let mut recent = Recent { before: Revision { era: 7, number: 0 }, entries: VecDeque::new(), octets: 0 };
        let at = |number| Revision { era: 7, number };
        recent.extend((1..=RECENT.0 as u64 + 5).map(|number| (at(number), vec![1])).collect());
        assert_eq!(recent.after(at(4), 1), None);
        assert_eq!(recent.after(at(5), 1), Some(vec![(at(6), vec![1])]));
        recent.extend(vec![(at(5000), vec![0; RECENT.1])]);
        assert_eq!(recent.after(at(4999), 9).map(|found| found.len()), Some(1));
    }
}
