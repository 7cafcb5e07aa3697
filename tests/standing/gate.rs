//! A store that stops a wish before a read or a commit, so that something else can happen in between.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use portcullis::engine::Engine;
use portcullis::standing::Revision;
use portcullis::store::{Batch, CommitError, KeyRange, Store, StoreError, Timeline, Versioned};
use portcullis::world::World as Outside;

/// Where a wish stops next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Before the read after so many others, or before the commit if that comes first.
    Reads(u32),
    /// Before it commits; again before the next attempt when it conflicts.
    Commit,
    /// Nowhere: it runs to its end.
    End,
}

/// A wish on a thread of its own that moves only when it is told to.
pub(crate) struct Pending<T> {
    gate: Arc<Gate>,
    thread: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Pending<T> {
    /// Starts a wish through an engine of its own and lets it run to its first stop.
    pub(crate) fn start(
        store: &Arc<dyn Store>,
        outside: &Outside,
        until: Until,
        wish: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Self {
        let gate = Arc::new(Gate {
            inner: Arc::clone(store),
            state: Mutex::new(State { until, ..State::default() }),
            moved: Condvar::new(),
        });
        let (own, outside) = (Arc::clone(&gate), outside.clone());
        let thread = std::thread::spawn(move || {
            let ended = Ended(Arc::clone(&own));
            let result = wish(&Engine::new(own, outside));
            drop(ended);
            result
        });
        gate.wait();
        Self { gate, thread: Some(thread) }
    }

    /// Lets it run to its next stop.
    pub(crate) fn advance(&self, until: Until) {
        let mut state = self.gate.state();
        if state.at != At::Ended {
            state.until = until;
            state.at = At::Running;
            drop(state);
            self.gate.moved.notify_all();
            self.gate.wait();
        }
    }

    /// Whether there is nothing left to run.
    pub(crate) fn has_ended(&self) -> bool {
        self.gate.state().at == At::Ended
    }

    /// Lets it run to its end.
    pub(crate) fn finish(mut self) -> Finished<T> {
        self.advance(Until::End);
        self.join()
    }

    /// The process dies under it: every further read and commit fails.
    pub(crate) fn kill(mut self) -> Finished<T> {
        self.gate.state().is_killed = true;
        self.advance(Until::End);
        self.join()
    }

    fn join(&mut self) -> Finished<T> {
        let result = self.thread.take().unwrap().join().unwrap();
        let state = self.gate.state();
        Finished { result, decided_at: state.decided_at, conflicts: state.conflicts }
    }
}

/// A wish that has ended.
pub(crate) struct Finished<T> {
    /// What it said.
    pub(crate) result: T,
    /// The end of the journal when the attempt that was committed had read everything.
    pub(crate) decided_at: Option<Revision>,
    /// How often it was decided in vain.
    pub(crate) conflicts: usize,
}

/// The store as one wish sees it.
#[derive(Debug)]
struct Gate {
    inner: Arc<dyn Store>,
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug)]
struct State {
    at: At,
    until: Until,
    is_killed: bool,
    decided_at: Option<Revision>,
    conflicts: usize,
}

impl Default for State {
    fn default() -> Self {
        Self { at: At::Running, until: Until::End, is_killed: false, decided_at: None, conflicts: 0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Running,
    Stopped,
    Ended,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called by whoever leads: waits until the wish has stopped or ended.
    fn wait(&self) {
        drop(self.moved.wait_while(self.state(), |state| state.at == At::Running));
    }

    /// Called by the wish: stops where it was told to.
    fn pass(&self, is_commit: bool) -> Result<(), StoreError> {
        let mut state = self.state();
        let stops = match &mut state.until {
            Until::End => false,
            Until::Commit => is_commit,
            Until::Reads(0) => true,
            Until::Reads(left) => {
                *left -= 1;
                is_commit
            }
        };
        if stops {
            state.at = At::Stopped;
            self.moved.notify_all();
            state = self.moved.wait_while(state, |state| state.at == At::Stopped).unwrap();
        }
        if state.is_killed { Err(StoreError("the process was killed".to_owned())) } else { Ok(()) }
    }
}

impl Store for Gate {
    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        self.pass(false)?;
        self.inner.get(key)
    }

    fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<(Vec<u8>, Versioned)>, StoreError> {
        self.pass(false)?;
        self.inner.scan(range, limit)
    }

    fn commit(&self, batch: Batch) -> Result<Revision, CommitError> {
        let decided_at = self.inner.end();
        self.pass(true).map_err(|error| CommitError::Unavailable(error.0))?;
        let landed = self.inner.commit(batch);
        let mut state = self.state();
        match landed {
            Ok(_) => state.decided_at = Some(decided_at),
            Err(_) => state.conflicts += 1,
        }
        landed
    }

    fn entries_after(&self, revision: Revision, limit: usize) -> Result<Vec<(Revision, Vec<u8>)>, StoreError> {
        self.inner.entries_after(revision, limit)
    }

    fn end(&self) -> Revision {
        self.inner.end()
    }

    fn wait_beyond(&self, revision: Revision, timeout: Duration) -> Revision {
        self.inner.wait_beyond(revision, timeout)
    }

    fn timeline(&self) -> Timeline {
        self.inner.timeline()
    }

    fn health(&self) -> Result<(), StoreError> {
        self.inner.health()
    }
}

/// Tells whoever leads that the wish has ended, a panic included.
struct Ended(Arc<Gate>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.state().at = At::Ended;
        self.0.moved.notify_all();
    }
}
