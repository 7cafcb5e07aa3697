//! What a store was asked and what it answered, and whether it keeps to that.
//!
//! Each commit says in its entry which one it is, so that the journal alone tells what the state must be: the model is
//! given the same commits in the same order, and everything is compared.

use std::sync::mpsc::Receiver;

use tempfile::TempDir;

use super::super::LocalStore;
use crate::standing::Revision;
use crate::store::conformance::{delete, put};
use crate::store::memory::MemoryStore;
use crate::store::{Assertion, Batch, CommitError, KeyRange, Store, Timeline, Urgency, Versioned};

/// How many commits are asked for before the first answer is waited for: some of them become one group.
const WAVE: u64 = 4;

/// The entry of a large commit, in octets: four fill a segment.
const LARGE: usize = 900_000;

pub(super) type Outcome = Result<Revision, CommitError>;

/// Every commit that was asked for, by its number, and its outcome.
#[derive(Clone, Debug, Default)]
pub(super) struct Account(Vec<Outcome>);

/// A folder in memory where there is one: what is tried with it needs no real disk.
pub(super) fn quick_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| super::folder())
}

/// The commit of this number: every third revokes, every third is large, every tenth asserts what is not so.
pub(super) fn batch(number: u64) -> Batch {
    let octet = |modulus: u64| u8::try_from(number % modulus).unwrap();
    let value = number.to_be_bytes();
    let mut entry = value.to_vec();
    let (writes, urgency) = match number % 3 {
        0 => (vec![put(&[0x01, octet(7)], &value), put(&[0x80, octet(5)], &value)], Urgency::Urgent),
        1 => {
            entry = value.repeat(LARGE / 8);
            (vec![put(&[0x90, octet(4)], &value.repeat(100)), delete(&[0x01, octet(6)])], Urgency::Ordinary)
        }
        _ => (vec![put(&[0x81, octet(11)], &value), delete(&[0x80, octet(4)])], Urgency::Ordinary),
    };
    let wrong = Assertion { key: vec![0x80, 0xff], modified: Some(Revision { era: 7, number: 1 }) };
    let assertions = if is_conflicting(number) { vec![wrong] } else { Vec::new() };
    Batch { assertions, writes, entry, urgency }
}

pub(super) fn is_conflicting(number: u64) -> bool {
    number % 10 == 9
}

impl Account {
    /// Asks a store that was just opened for commits, some at a time; `must_fail` says, of the moment before, whether no
    /// answer may be yes.
    pub(super) fn work(&mut self, store: &LocalStore, waves: u64, must_fail: impl Fn() -> bool) {
        let process = self.0.len();
        for _ in 0..waves {
            let late = must_fail() || self.is_over(process);
            let begun = self.0.len();
            let numbers = self.next()..self.next() + WAVE;
            let asked: Vec<_> = numbers.map(|number| store.shared.queue.push(batch(number))).collect();
            self.0.extend(asked.into_iter().map(answer));
            let answered = &self.0[begun..];
            assert!(!late || answered.iter().all(Result::is_err), "after a failure: {answered:?}");
        }
        assert!(!self.is_over(process) || store.health().is_err(), "healthy after {:?}", self.0.last());
    }

    /// The same where nothing fails any more: everything but what conflicts is acknowledged.
    pub(super) fn resume(&mut self, store: &LocalStore) {
        let begun = self.0.len();
        self.work(store, 1, || false);
        let refused = |number: u64, outcome: &Outcome| number >= begun as u64 && outcome.is_err();
        assert_eq!(self.count(refused), self.count(|number, _| number >= begun as u64 && is_conflicting(number)));
    }

    /// Whether somebody was told, since so many answers, that no more commits are taken.
    fn is_over(&self, process: usize) -> bool {
        let over = |outcome| matches!(outcome, &Err(CommitError::Unavailable(_) | CommitError::OutcomeUnknown(_)));
        self.0[process..].iter().any(over)
    }

    fn next(&self) -> u64 {
        self.0.len() as u64
    }

    /// What a store holds where every answer was certain.
    pub(super) fn model(&self, timeline: Timeline) -> MemoryStore {
        let model = MemoryStore::new(7, timeline);
        let mut landed: Vec<_> =
            (0..).zip(&self.0).filter_map(|(number, outcome)| Some((*outcome.as_ref().ok()?, number))).collect();
        landed.sort_unstable();
        for (at, number) in landed {
            assert_eq!(model.commit(Batch { assertions: Vec::new(), ..batch(number) }), Ok(at));
        }
        model
    }

    /// Whether nothing was acknowledged.
    pub(super) fn is_clear(&self) -> bool {
        self.0.iter().all(Result::is_err)
    }

    /// How many of the answers were like this.
    pub(super) fn count(&self, is_it: impl Fn(u64, &Outcome) -> bool) -> usize {
        (0..).zip(&self.0).filter(|(number, outcome)| is_it(*number, outcome)).count()
    }

    /// Everything acknowledged is in the store, nothing refused is, and all of it is what the model makes of the same
    /// commits: every key with its revisions, and every entry. Answers how many are there whose outcome was unknown; from
    /// now on it is known of all.
    pub(super) fn check(&mut self, store: &LocalStore) -> usize {
        self.try_check(store).unwrap()
    }

    /// The same, unless the journal cannot be read.
    pub(super) fn try_check(&mut self, store: &LocalStore) -> Option<usize> {
        let model = MemoryStore::new(7, store.timeline());
        let entries = store.entries_after(Revision::IMPORTED, usize::MAX).ok()?;
        let mut found = Vec::new();
        for (at, entry) in &entries {
            let number = u64::from_be_bytes(*entry.first_chunk().unwrap());
            assert_eq!(model.commit(Batch { assertions: Vec::new(), ..batch(number) }), Ok(*at));
            found.push((number, *at));
        }
        assert_eq!(difference(&model, store, &entries), None);
        let mut unknown = 0;
        for (number, outcome) in (0..).zip(&mut self.0) {
            let is_certain = !matches!(outcome, Ok(_) | Err(CommitError::OutcomeUnknown(_)));
            assert!(is_certain || !is_conflicting(number), "{number} conflicts: {outcome:?}");
            let there: Vec<_> = found.iter().filter(|(of, _)| *of == number).map(|(_, at)| *at).collect();
            match outcome {
                Ok(at) => assert_eq!(there, [*at], "{number} was acknowledged"),
                Err(CommitError::OutcomeUnknown(_)) => {
                    assert!(there.len() <= 1, "{number}: {there:?}");
                    unknown += there.len();
                    *outcome = there.first().copied().ok_or(CommitError::Unavailable("it did not land".to_owned()));
                }
                Err(refused) => assert_eq!(there, [], "{number} was refused: {refused}"),
            }
        }
        Some(unknown)
    }
}

/// Entries of the journal, as [`Store::entries_after`] gives them.
type Entries = Vec<(Revision, Vec<u8>)>;

/// The same keys with the same revisions, and the same entries.
pub(super) fn same(model: &dyn Store, store: &dyn Store) {
    let entries = store.entries_after(Revision::IMPORTED, usize::MAX);
    assert_eq!(difference(model, store, &entries.unwrap()), None);
}

/// Every key there is.
pub(super) fn keys(store: &dyn Store) -> Vec<(Vec<u8>, Versioned)> {
    store.scan(&KeyRange { start: Vec::new(), end: Vec::new() }, usize::MAX).unwrap()
}

/// Where a store and the entries that were read from it are not what the model has.
pub(super) fn difference(model: &dyn Store, store: &dyn Store, entries: &Entries) -> Option<String> {
    let (meant, held) = (keys(model), keys(store));
    let shown = |key: &[u8], held: Option<&Versioned>| {
        let held = held.map(|held| (held.value.len(), held.created.number, held.modified.number));
        format!("{} (octets, created, modified: {held:?})", hex::encode(key))
    };
    let odd = meant.iter().find(|pair| !held.contains(pair)).map(|(key, it)| format!("lacks {}", shown(key, Some(it))));
    let odd = odd.or_else(|| {
        held.iter().find(|pair| !meant.contains(pair)).map(|(key, it)| format!("has {}", shown(key, Some(it))))
    });
    let wanted = model.entries_after(Revision::IMPORTED, usize::MAX).unwrap();
    let odd = odd.or_else(|| (&wanted != entries).then(|| format!("{} entries of {}", entries.len(), wanted.len())));
    odd.or_else(|| (model.end() != store.end()).then(|| format!("ends at {}, not {}", store.end(), model.end())))
}

fn answer(asked: Result<Receiver<Outcome>, CommitError>) -> Outcome {
    let ended = || CommitError::OutcomeUnknown("the writer has ended".to_owned());
    asked.and_then(|waiting| waiting.recv().unwrap_or_else(|_| Err(ended())))
}
