//! How the index stands to the journal: what is waited for while it cannot be asked.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::LocalStore;

/// How the index stands to the journal. Until it is ready, issuing and the directory wait; statuses and revoking do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexState {
    /// Its records are added up.
    Checking {
        /// How many were looked at.
        done: u64,
        /// How many there should be.
        of: u64,
    },
    /// It learns what the journal says.
    Learning {
        /// How many commits it has learned.
        done: u64,
        /// How many it did not know.
        of: u64,
    },
    /// It failed, for this reason, and is tried again.
    Waiting(String),
    /// It agrees with the journal.
    Ready,
}

impl fmt::Display for IndexState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |done: u64, of: u64| done.saturating_mul(100).checked_div(of).unwrap_or(0).min(100);
        match self {
            Self::Ready => return f.write_str("the index is ready"),
            Self::Checking { done, of } => {
                write!(f, "the index is being checked ({done} of {of} records, {} %)", percent(*done, *of))
            }
            Self::Learning { done, of } => {
                write!(f, "the index is learning from the journal ({done} of {of} commits, {} %)", percent(*done, *of))
            }
            Self::Waiting(why) => write!(f, "{why}; it is tried again"),
        }?;
        f.write_str(": issuing and the directory wait for it, revoking does not")
    }
}

/// The state, and who waits for it to change.
#[derive(Debug)]
pub(super) struct Stage {
    state: Mutex<IndexState>,
    changed: Condvar,
    /// For how many the work on the index pauses.
    holds: Mutex<usize>,
    released: Condvar,
}

/// The work on the index pauses until this is dropped: [`LocalStore::hold_index`](super::LocalStore::hold_index).
#[derive(Debug)]
#[must_use = "the work goes on when this is dropped"]
pub struct IndexHold<'a> {
    stage: Arc<Stage>,
    /// A store that ends waits for that work.
    _store: &'a LocalStore,
}

impl Drop for IndexHold<'_> {
    fn drop(&mut self) {
        self.stage.let_go();
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self {
            state: Mutex::new(IndexState::Checking { done: 0, of: 0 }),
            changed: Condvar::new(),
            holds: Mutex::new(0),
            released: Condvar::new(),
        }
    }
}

impl Stage {
    pub(super) fn state(&self) -> IndexState {
        self.lock().clone()
    }

    pub(super) fn set(&self, state: IndexState) {
        *self.lock() = state;
        self.changed.notify_all();
    }

    /// Waits until the index is ready or the time is over; how it stands then.
    pub(super) fn wait(&self, timeout: Duration) -> IndexState {
        let not_ready = |state: &mut IndexState| *state != IndexState::Ready;
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, not_ready);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.clone()
    }

    /// Waits while it is at work, or until the time is over.
    pub(super) fn wait_while_busy(&self, timeout: Duration) {
        let busy = |state: &mut IndexState| matches!(state, IndexState::Checking { .. } | IndexState::Learning { .. });
        drop(self.changed.wait_timeout_while(self.lock(), timeout, busy));
    }

    /// Has the work on the index pause.
    pub(super) fn hold(self: Arc<Self>, store: &LocalStore) -> IndexHold<'_> {
        self.pause();
        IndexHold { stage: self, _store: store }
    }

    /// Waits while somebody has the work pause.
    pub(super) fn wait_while_held(&self) {
        let waited = self.released.wait_while(self.holds(), |holds| *holds > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn pause(&self) {
        let mut holds = self.holds();
        *holds = holds.saturating_add(1);
    }

    fn let_go(&self) {
        let mut holds = self.holds();
        *holds = holds.saturating_sub(1);
        self.released.notify_all();
    }

    fn holds(&self) -> MutexGuard<'_, usize> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, IndexState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn the_work_goes_on_when_the_last_has_let_go() {
        let (stage, gone) = (Stage::default(), AtomicUsize::new(0));
        stage.pause();
        stage.pause();
        std::thread::scope(|scope| {
            let work = scope.spawn(|| {
                stage.wait_while_held();
                gone.load(Ordering::SeqCst)
            });
            for _ in 0..2 {
                gone.fetch_add(1, Ordering::SeqCst);
                stage.let_go();
            }
            assert_eq!(work.join().unwrap(), 2);
        });
        stage.wait_while_held();
    }

    #[test]
    fn what_waits_is_told_how_far_it_is() {
        let stage = Stage::default();
        stage.set(IndexState::Learning { done: 250, of: 1000 });
        let said = stage.wait(Duration::ZERO).to_string();
        assert!(said.contains("250 of 1000 commits, 25 %") && said.contains("revoking does not"), "{said}");
        assert!(IndexState::Checking { done: 0, of: 0 }.to_string().contains("0 %"));
    }
}
