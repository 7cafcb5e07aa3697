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
use super::stage::{IndexState, Stage};
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
    /// There while it agrees with the journal.
    index: Option<Arc<Index>>,
    stage: Arc<Stage>,
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

/// What a group of commits does to all of the keys it touches, not visible yet: what each is after it.
#[derive(Debug, Default)]
pub(super) struct Changes {
    keys: BTreeMap<Vec<u8>, Option<Versioned>>,
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

    /// The index agrees with the journal up to its place; what came later lies in memory and covers it.
    pub(super) fn attach(&self, index: Arc<Index>) {
        let mut applied = self.write();
        let position = index.position();
        applied.behind.retain(|_, behind| behind.at > position.revision);
        applied.index = Some(index);
        applied.stage.set(IndexState::Ready);
    }

    /// These changes, which were visible already, are in memory from now on and not in the index yet.
    pub(super) fn cover(&self, changes: &Changes, position: Position) {
        let mut applied = self.write();
        for (key, now) in changes.beyond_resident() {
            if applied.behind.get(key).is_none_or(|behind| behind.at <= position.revision) {
                applied.behind.insert(key.clone(), Behind { now: now.clone(), at: position.revision });
            }
        }
    }

    /// The index is about to be opened: nothing beyond the resident keys is answered until it is attached.
    pub(super) fn detach(&self) {
        let mut applied = self.write();
        applied.stage.set(IndexState::Checking { done: 0, of: 0 });
        applied.index = None;
    }

    /// How the index stands to the journal.
    pub(super) fn stage(&self) -> Arc<Stage> {
        Arc::clone(&self.read().stage)
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
    /// The resident keys as they were at `position`; the index is [attached](View::attach) later.
    pub(super) fn new(resident: BTreeMap<Vec<u8>, Versioned>, position: Position) -> Self {
        let recent = Recent { before: position.revision, entries: VecDeque::new(), octets: 0 };
        let (behind, stage) = (BTreeMap::new(), Arc::default());
        Self { resident, index: None, stage, behind, position, recent }
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        match self.in_memory(key) {
            Some(held) => Ok(held.cloned()),
            None => self.index()?.get(key),
        }
    }

    /// What a commit finds under a key.
    ///
    /// While the index is away only urgent commits come here. Beyond the resident keys they write nothing but rows under
    /// keys that were just drawn at random, so what is not in memory is absent.
    fn before(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        match (self.in_memory(key), &self.index) {
            (Some(held), _) => Ok(held.cloned()),
            (None, Some(index)) => index.get(key),
            (None, None) => Ok(None),
        }
    }

    /// What memory knows of a key; `None` where only the index can tell.
    fn in_memory(&self, key: &[u8]) -> Option<Option<&Versioned>> {
        if is_resident(key) {
            return Some(self.resident.get(key));
        }
        self.behind.get(key).map(|behind| behind.now.as_ref())
    }

    pub(super) fn index(&self) -> Result<&Arc<Index>, StoreError> {
        self.index.as_ref().ok_or_else(|| StoreError(self.stage.state().to_string()))
    }

    pub(super) fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<(Vec<u8>, Versioned)>, StoreError> {
        let start = (Bound::Included(range.start.as_slice()), Bound::Unbounded);
        let within = self.resident.range::<[u8], _>(start).take_while(|(key, _)| range.contains(key)).take(limit);
        let mut found: Vec<_> = within.map(|(key, held)| (key.clone(), held.clone())).collect();
        let left = limit.saturating_sub(found.len());
        if left > 0 && (range.end.is_empty() || range.end.as_slice() > [RESIDENT_END].as_slice()) {
            let above = self.behind.range::<[u8], _>(start).take_while(|(key, _)| range.contains(key));
            let above = above.map(|(key, behind)| (key.as_slice(), behind.now.as_ref()));
            found.extend(self.index()?.scan_under(above, range, left)?);
        }
        Ok(found)
    }

    /// The entries after a revision, if the newest ones reach back that far.
    pub(super) fn recent_after(&self, revision: Revision, limit: usize) -> Option<Vec<(Revision, Vec<u8>)>> {
        self.recent.after(revision, limit)
    }

    fn apply(&mut self, changes: &Changes, position: Position) {
        self.apply_resident(changes, position);
        for (key, now) in changes.beyond_resident() {
            self.behind.insert(key.clone(), Behind { now: now.clone(), at: position.revision });
        }
    }

    /// Applies what a group does to resident keys.
    pub(super) fn apply_resident(&mut self, changes: &Changes, position: Position) {
        for (key, now) in changes.keys.iter().filter(|(key, _)| is_resident(key)) {
            match now {
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
                Some(now) => now.as_ref().map(|held| held.modified),
                None => applied.before(&assertion.key)?.map(|held| held.modified),
            };
            if found != assertion.modified {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Looks up what the writes will change, so that [`Changes::make`] cannot fail half-way.
    pub(super) fn prepare(&mut self, writes: &[Write], applied: &Applied) -> Result<(), StoreError> {
        self.prepare_from(writes.iter(), |key| applied.before(key))
    }

    /// The same, where something else knows what is under a key.
    pub(super) fn prepare_from<'a>(
        &mut self,
        writes: impl Iterator<Item = &'a Write>,
        before: impl Fn(&[u8]) -> Result<Option<Versioned>, StoreError>,
    ) -> Result<(), StoreError> {
        for write in writes {
            if !self.keys.contains_key(write.key()) {
                self.keys.insert(write.key().to_vec(), before(write.key())?);
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
            let now = self.keys.entry(key).or_insert(None);
            let created = now.as_ref().map_or(revision, |held| held.created);
            *now = value.map(|value| Versioned { value, created, modified: revision });
        }
    }
}

impl Changes {
    /// How many octets were written to keys.
    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    /// What changes in the index.
    pub(super) fn beyond_resident(&self) -> impl Iterator<Item = (&Vec<u8>, &Option<Versioned>)> {
        self.keys.range::<[u8], _>((Bound::Included([RESIDENT_END].as_slice()), Bound::Unbounded))
    }

    /// Several groups, oldest first, as one.
    pub(super) fn merged<'a>(groups: impl Iterator<Item = &'a Self>) -> Self {
        let mut merged = Self::default();
        for group in groups {
            for (key, now) in group.beyond_resident() {
                merged.keys.insert(key.clone(), now.clone());
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
        let (view, index) = (View::new(Applied::new(BTreeMap::new(), Position::START)), Arc::new(index));
        view.attach(Arc::clone(&index));
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
        index.apply(first.0.beyond_resident(), first.1).unwrap();
        view.settle(&first.0, first.1);
        assert_eq!(view.read().get(&key).unwrap().unwrap().modified.number, 2);
        index.apply(second.0.beyond_resident(), second.1).unwrap();
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
