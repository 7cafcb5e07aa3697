//! The engine in memory: the model that the others are tested against.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Batch, CommitError, KeyRange, MAX_COMMIT, MAX_KEY, MAX_OPERATIONS};
use super::{Store, StoreError, Timeline, Versioned, Write};
use crate::standing::Revision;

/// A store that forgets everything when it is dropped.
#[derive(Debug)]
pub struct MemoryStore {
    timeline: Timeline,
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Debug)]
struct State {
    values: BTreeMap<Vec<u8>, Versioned>,
    entries: Vec<(Revision, Vec<u8>)>,
    end: Revision,
}

impl MemoryStore {
    /// An empty store in the given era.
    pub fn new(era: u32, timeline: Timeline) -> Self {
        let state = State { values: BTreeMap::new(), entries: Vec::new(), end: Revision { era, number: 0 } };
        Self { timeline, state: Mutex::new(state), grown: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        Ok(self.state().values.get(key).cloned())
    }

    fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<(Vec<u8>, Versioned)>, StoreError> {
        let state = self.state();
        let from = state.values.range(range.start.clone()..);
        let within = from.take_while(|(key, _)| range.contains(key));
        Ok(within.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn commit(&self, batch: Batch) -> Result<Revision, CommitError> {
        check_bounds(&batch)?;
        let mut state = self.state();
        for assertion in &batch.assertions {
            let found = state.values.get(&assertion.key).map(|value| value.modified);
            if found != assertion.modified {
                return Err(CommitError::Conflict);
            }
        }
        let revision = state.end.next();
        for write in batch.writes {
            state.apply(write, revision);
        }
        state.entries.push((revision, batch.entry));
        state.end = revision;
        drop(state);
        self.grown.notify_all();
        Ok(revision)
    }

    fn entries_after(&self, revision: Revision, limit: usize) -> Result<Vec<(Revision, Vec<u8>)>, StoreError> {
        let state = self.state();
        let start = state.entries.partition_point(|(at, _)| *at <= revision);
        Ok(state.entries.iter().skip(start).take(limit).cloned().collect())
    }

    fn end(&self) -> Revision {
        self.state().end
    }

    fn wait_beyond(&self, revision: Revision, timeout: Duration) -> Revision {
        let waited = self.grown.wait_timeout_while(self.state(), timeout, |state| state.end <= revision);
        waited.map_or_else(|poisoned| poisoned.into_inner().0.end, |(state, _)| state.end)
    }

    fn timeline(&self) -> Timeline {
        self.timeline
    }

    fn health(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl State {
    fn apply(&mut self, write: Write, revision: Revision) {
        match write {
            Write::Put { key, value } => {
                let created = self.values.get(&key).map_or(revision, |before| before.created);
                self.values.insert(key, Versioned { value, created, modified: revision });
            }
            Write::Delete { key } => {
                self.values.remove(&key);
            }
        }
    }
}

/// Refuses what no engine has to take, so that all of them refuse the same.
pub(super) fn check_bounds(batch: &Batch) -> Result<(), CommitError> {
    let mut octets = batch.entry.len();
    for write in &batch.writes {
        octets = octets.saturating_add(write.key().len());
        if let Write::Put { value, .. } = write {
            octets = octets.saturating_add(value.len());
        }
    }
    let operations = batch.assertions.len().saturating_add(batch.writes.len());
    let longest = batch.writes.iter().map(|write| write.key().len()).max().unwrap_or(0);
    if octets > MAX_COMMIT || operations > MAX_OPERATIONS || longest > MAX_KEY {
        return Err(CommitError::TooLarge);
    }
    Ok(())
}
