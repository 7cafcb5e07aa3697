//! A transaction: typed reads that remember what they read, and writes that land all at once.

use std::collections::BTreeMap;

use super::record::{KeyBytes, Record, Stored, Table, encode, key_of};
use super::{Assertion, Batch, CommitError, KeyRange, Store, StoreError, Urgency, Versioned, Write};
use crate::access::Actor;
use crate::journal::{Entry, Event};
use crate::standing::Revision;
use crate::world::Timestamp;

/// Reads and writes of one decision.
///
/// What [`get`](Self::get) read, absence included, is asserted at the commit. A scan asserts nothing about absences: a
/// decision over a set asserts a generation row that every writer of the set bumps.
#[derive(Debug)]
pub struct Txn<'s> {
    store: &'s dyn Store,
    asserted: BTreeMap<Vec<u8>, Option<Revision>>,
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    events: Vec<Event>,
    urgency: Urgency,
}

impl<'s> Txn<'s> {
    /// A transaction that has read nothing yet.
    pub fn begin(store: &'s dyn Store) -> Self {
        Self {
            store,
            asserted: BTreeMap::new(),
            writes: BTreeMap::new(),
            events: Vec::new(),
            urgency: Urgency::Ordinary,
        }
    }

    /// A transaction of its own over the same store, to look at what this one's commit should not depend on.
    #[must_use]
    pub fn aside(&self) -> Txn<'s> {
        Self::begin(self.store)
    }

    /// Reads a row and asserts at the commit that it has not moved since.
    pub fn get<R: Record>(&mut self, key: &R::Key) -> Result<Option<Stored<R>>, StoreError> {
        let bytes = key_of::<R>(key);
        if let Some(own) = self.own::<R>(&bytes)? {
            return Ok(own);
        }
        let found = self.store.get(&bytes)?;
        self.asserted.entry(bytes).or_insert_with(|| found.as_ref().map(|found| found.modified));
        found.as_ref().map(Stored::from_versioned).transpose()
    }

    /// Reads a row without asserting anything: for what is only told, or when the answer may be out of date.
    pub fn peek<R: Record>(&self, key: &R::Key) -> Result<Option<Stored<R>>, StoreError> {
        let bytes = key_of::<R>(key);
        if let Some(own) = self.own::<R>(&bytes)? {
            return Ok(own);
        }
        self.store.get(&bytes)?.as_ref().map(Stored::from_versioned).transpose()
    }

    /// Up to `limit` rows of a table after the row `after`, in the order of their keys, as they were before this
    /// transaction; `parts` narrows them to keys that begin so. Asserts nothing.
    pub fn scan<R: Record>(
        &self,
        parts: &[&[u8]],
        after: Option<&R::Key>,
        limit: usize,
    ) -> Result<Vec<Stored<R>>, StoreError> {
        let mut range = range_of::<R>(parts);
        if let Some(after) = after {
            range = range.after(&key_of::<R>(after));
        }
        let rows = self.store.scan(&range, limit)?;
        rows.iter().map(|(_, versioned)| Stored::from_versioned(versioned)).collect()
    }

    /// All rows that begin with `parts`, read in pages. Asserts nothing.
    pub fn scan_all<R: Record>(&self, parts: &[&[u8]]) -> Result<Vec<Stored<R>>, StoreError> {
        let mut range = range_of::<R>(parts);
        let mut rows = Vec::new();
        loop {
            let page: Vec<(Vec<u8>, Versioned)> = self.store.scan(&range, PAGE)?;
            for (_, versioned) in &page {
                rows.push(Stored::from_versioned(versioned)?);
            }
            match page.last() {
                Some((key, _)) if page.len() == PAGE => range = range.after(key),
                _ => return Ok(rows),
            }
        }
    }

    /// The row has this value from now on.
    pub fn put<R: Record>(&mut self, key: &R::Key, record: &R) -> Result<(), StoreError> {
        // Cut-offs, revocations and locks must go through on a full disk.
        if matches!(R::TABLE, Table::CutOff | Table::Revoked | Table::Lock) {
            self.use_reserve();
        }
        self.writes.insert(key_of::<R>(key), Some(encode(record)?));
        Ok(())
    }

    /// It may use the space that is kept back for revocations: what tells of them, and what the authority needs to answer
    /// at all, must go through on a full disk too.
    pub fn use_reserve(&mut self) {
        self.urgency = Urgency::Revoking;
    }

    /// The row is gone from now on.
    pub fn delete<R: Record>(&mut self, key: &R::Key) {
        self.writes.insert(key_of::<R>(key), None);
    }

    /// States a fact.
    pub fn record(&mut self, event: Event) {
        self.events.push(event);
    }

    /// How many rows it has written or deleted so far.
    pub fn writes(&self) -> usize {
        self.writes.len()
    }

    /// Whether there is anything to commit.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.events.is_empty()
    }

    /// Commits everything, or nothing.
    pub fn commit(self, at: Timestamp, actor: &Actor) -> Result<Revision, CommitError> {
        let store = self.store;
        let batch = self.into_batch(at, actor)?;
        store.commit(batch)
    }

    /// What [`commit`](Self::commit) would ask the store for.
    pub fn into_batch(self, at: Timestamp, actor: &Actor) -> Result<Batch, CommitError> {
        let entry = Entry { at, actor: actor.clone(), events: self.events };
        let entry = super::entry::encode(&entry).map_err(|error| CommitError::Unavailable(error.0))?;
        let assertions = self.asserted.into_iter().map(|(key, modified)| Assertion { key, modified }).collect();
        let writes = self.writes.into_iter().map(|(key, value)| match value {
            Some(value) => Write::Put { key, value },
            None => Write::Delete { key },
        });
        Ok(Batch { assertions, writes: writes.collect(), entry, urgency: self.urgency })
    }

    /// What this transaction itself has written under the key: `None` when nothing, `Some(None)` when it deleted it.
    fn own<R: Record>(&self, key: &[u8]) -> Result<Option<Option<Stored<R>>>, StoreError> {
        match self.writes.get(key) {
            None => Ok(None),
            Some(None) => Ok(Some(None)),
            Some(Some(bytes)) => {
                let value = super::record::decode(bytes)?;
                Ok(Some(Some(Stored { value, created: None, modified: None })))
            }
        }
    }
}

fn range_of<R: Record>(parts: &[&[u8]]) -> KeyRange {
    let mut prefix = KeyBytes::of_table(R::TABLE);
    for part in parts {
        prefix.part(part);
    }
    KeyRange::prefix(&prefix.finish())
}

/// Rows read at once: some 500 KiB of certificates.
const PAGE: usize = 500;
