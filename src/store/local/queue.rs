//! Where commits wait for the writer.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::frame::encode;
use crate::standing::Revision;
use crate::store::{Batch, CommitError, Urgency};

/// How many commits one group holds at most: far more than threads wait at once.
const GROUP_COMMITS: usize = 1024;

/// How many octets one group holds at most, unless a single commit is larger: a sync of this takes some 20 ms.
const GROUP_OCTETS: usize = 2 * 1024 * 1024;

/// A commit that waits; whoever made it waits at the other end of `reply`.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) batch: Batch,
    /// Its part of the frame.
    pub(super) encoded: Vec<u8>,
    reply: SyncSender<Result<Revision, CommitError>>,
}

impl Waiting {
    /// Tells its maker the outcome.
    pub(super) fn answer(self, outcome: Result<Revision, CommitError>) {
        // Nobody at the other end would mean that the thread is gone; then nobody wants to know.
        drop(self.reply.try_send(outcome));
    }

    pub(super) fn is_urgent(&self) -> bool {
        self.batch.urgency == Urgency::Urgent
    }
}

/// The queue; its length is bounded by the number of threads, each of which waits for its own commit.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Why no more commits are taken.
    closed: Option<String>,
}

impl Queue {
    /// Puts a commit at the end; its outcome arrives at the answer.
    pub(super) fn push(&self, batch: Batch) -> Result<Receiver<Result<Revision, CommitError>>, CommitError> {
        let (reply, outcome) = sync_channel(1);
        let encoded = encode(&batch);
        let mut state = self.state();
        if let Some(reason) = &state.closed {
            return Err(CommitError::Unavailable(reason.clone()));
        }
        state.waiting.push_back(Waiting { batch, encoded, reply });
        drop(state);
        self.grown.notify_one();
        Ok(outcome)
    }

    /// Waits for commits and takes a group of them; `None` once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Vec<Waiting>> {
        let idle = |state: &mut State| state.waiting.is_empty() && state.closed.is_none();
        let mut state = self.grown.wait_while(self.state(), idle).unwrap_or_else(PoisonError::into_inner);
        let (mut group, mut octets) = (Vec::new(), 0_usize);
        while let Some(next) = state.waiting.front() {
            octets = octets.saturating_add(next.encoded.len());
            if !group.is_empty() && (octets > GROUP_OCTETS || group.len() >= GROUP_COMMITS) {
                break;
            }
            group.extend(state.waiting.pop_front());
        }
        (!group.is_empty()).then_some(group)
    }

    /// Takes no more commits; the first reason stays.
    pub(super) fn close(&self, reason: &str) {
        self.state().closed.get_or_insert_with(|| reason.to_owned());
        self.grown.notify_all();
    }

    /// Takes no more commits and refuses those that wait.
    pub(super) fn refuse(&self, reason: &str) {
        self.close(reason);
        let waiting = std::mem::take(&mut self.state().waiting);
        for commit in waiting {
            commit.answer(Err(CommitError::Unavailable(reason.to_owned())));
        }
    }

    /// Why no more commits are taken, if so.
    pub(super) fn closed(&self) -> Option<String> {
        self.state().closed.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
