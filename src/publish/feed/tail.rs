//! The last changes, for any number of readers.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use crate::standing::Revision;
use crate::status::Change;

/// The changes after some revision, in batches, oldest first; the oldest give way.
#[derive(Debug, Default)]
pub struct Tail(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Everything after it is here.
    before: Option<Revision>,
    batches: VecDeque<Batch>,
    changes: usize,
    /// When an authority was last put on the record.
    authority: Revision,
}

/// Changes that were taken in together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The revision of the last of them.
    pub revision: Revision,
    /// The changes, in order.
    pub changes: Arc<[Change]>,
}

impl Tail {
    /// Nothing before `revision` is here.
    pub fn begin(&self, revision: Revision) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *inner = Inner { before: Some(revision), ..Inner::default() };
    }

    /// Adds everything after the batch before, up to `revision`.
    pub fn push(&self, revision: Revision, changes: Vec<Change>) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        inner.changes += changes.len();
        inner.batches.push_back(Batch { revision, changes: changes.into() });
        while inner.changes > MOST_CHANGES || inner.batches.len() > MOST_BATCHES {
            let Some(oldest) = inner.batches.pop_front() else { return };
            inner.changes -= oldest.changes.len();
            inner.before = Some(oldest.revision);
        }
    }

    /// An authority was put on the record: proxies must know it before they confirm this revision.
    pub fn note_authority(&self, revision: Revision) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        inner.authority = inner.authority.max(revision);
    }

    /// When an authority was last put on the record, as far as that was seen.
    pub fn authority(&self) -> Revision {
        self.0.read().unwrap_or_else(PoisonError::into_inner).authority
    }

    /// The batches after a revision, or none when they are no longer all here. A batch may begin before the revision:
    /// what is said twice changes nothing.
    pub fn after(&self, revision: Revision) -> Option<Vec<Batch>> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if inner.before.is_none_or(|before| revision < before) {
            return None;
        }
        let first = inner.batches.partition_point(|batch| batch.revision <= revision);
        Some(inner.batches.range(first..).cloned().collect())
    }
}

/// Some 200 octets each.
const MOST_CHANGES: usize = 100_000;
/// Also of commits that change no answer.
const MOST_BATCHES: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::LockKey;

    fn revision(number: u64) -> Revision {
        Revision { era: 1, number }
    }

    fn change() -> Change {
        Change::Unlocked(LockKey { id: "a".parse().unwrap(), cluster: None })
    }

    #[test]
    fn whoever_is_within_gets_the_rest_and_whoever_is_not_a_snapshot() {
        let tail = Tail::default();
        assert!(tail.after(revision(9)).is_none());
        tail.begin(revision(5));
        tail.push(revision(7), vec![change()]);
        tail.push(revision(8), Vec::new());
        let revisions = |at| tail.after(revision(at)).map(|found| found.iter().map(|b| b.revision.number).collect());
        assert_eq!(revisions(4), None);
        assert_eq!(revisions(5), Some(vec![7, 8]));
        assert_eq!(revisions(6), Some(vec![7, 8]));
        assert_eq!(revisions(7), Some(vec![8]));
        assert_eq!(revisions(8), Some(Vec::new()));
    }

    #[test]
    fn the_oldest_give_way() {
        let tail = Tail::default();
        tail.begin(revision(0));
        tail.push(revision(1), vec![change(); MOST_CHANGES]);
        tail.push(revision(2), vec![change()]);
        assert!(tail.after(revision(0)).is_none());
        assert_eq!(tail.after(revision(1)).unwrap().len(), 1);
    }
}
