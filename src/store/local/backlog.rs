//! What the index still has to learn: groups that are durable and visible, on their way into sled.
//!
//! A thread of its own carries them there, so that no commit waits for sled; until then readers find them in memory
//! ([`super::state`]). If the index fails, ordinary commits end, and revocations go on while there is room here. On a full
//! disk nothing is given to it: ordinary commits wait for space, revocations go on, and so does all once there is space.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::frame::Position;
use super::room::Room;
use super::state::{Changes, View};

/// How many octets of changes may wait before commits do: a second or two of work for sled.
const LIMIT: usize = 32 * 1024 * 1024;

/// How many may wait once the index has failed, when only revocations are still taken.
const LAST_LIMIT: usize = 2 * LIMIT;

/// How many octets of changes are given to sled at once.
const BATCH: usize = 1024 * 1024;

/// The groups that wait.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    groups: VecDeque<Group>,
    octets: usize,
    failed: Option<String>,
    /// There is no space for the index at present.
    full: bool,
    stopping: bool,
}

/// What a group changed, and where it ends.
type Group = (Arc<Changes>, Position);

/// Whose commits may still be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Intake {
    /// Everyone's.
    Open,
    /// Only revocations, until there is space again.
    Full,
    /// The index has failed, for this reason: only revocations.
    Revocations(String),
    /// And there is no room for those either.
    Closed(String),
}

impl Backlog {
    /// Adds a group; those before it were added before.
    pub(super) fn push(&self, changes: Arc<Changes>, position: Position) {
        let mut state = self.state();
        state.octets = state.octets.saturating_add(changes.octets());
        state.groups.push_back((changes, position));
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until there is room, or there will be none.
    pub(super) fn intake(&self) -> Intake {
        let crowded = |state: &mut State| state.octets > LIMIT && state.failed.is_none() && !state.full;
        let waited = self.changed.wait_while(self.state(), crowded);
        let state = waited.unwrap_or_else(PoisonError::into_inner);
        match &state.failed {
            None if state.full && state.octets < LAST_LIMIT => Intake::Full,
            None if state.full => Intake::Closed("there is no space for the index".to_owned()),
            None => Intake::Open,
            Some(reason) if state.octets < LAST_LIMIT => Intake::Revocations(reason.clone()),
            Some(reason) => Intake::Closed(reason.clone()),
        }
    }

    /// Why the index takes nothing any more, if so.
    pub(super) fn failed(&self) -> Option<String> {
        self.state().failed.clone()
    }

    /// Ends [`Backlog::work`] once nothing waits.
    pub(super) fn stop(&self) {
        self.state().stopping = true;
        self.changed.notify_all();
    }

    /// Carries groups into the index until told to stop, or the index fails; where there is no space for it, that is
    /// asked again after a pause.
    pub(super) fn work(&self, view: &View, pause: Duration) {
        let index = view.index();
        let room = match Room::of(index.folder()) {
            Ok(room) => room,
            Err(error) => return self.fail(format!("the index's file cannot be opened: {error}")),
        };
        while self.wait_for_room(&room, pause) {
            let Some((groups, octets)) = self.take() else { return };
            let Some((_, position)) = groups.last() else { return };
            let merged = Changes::merged(groups.iter().map(|(changes, _)| &**changes));
            let applied = index.apply(merged.beyond_resident(), *position);
            if applied.is_ok() {
                view.settle(&merged, *position);
            }
            if let Err(error) = applied {
                return self.fail(error.0);
            }
            let mut state = self.state();
            state.octets = state.octets.saturating_sub(octets);
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Waits until there is room for the index to grow; false when the store stops first, and a start does it again.
    fn wait_for_room(&self, room: &Room, pause: Duration) -> bool {
        loop {
            let is_full = room.ensure().is_err();
            let mut state = self.state();
            state.full = is_full;
            self.changed.notify_all();
            if !is_full {
                return true;
            }
            let waited = self.changed.wait_timeout_while(state, pause, |state| !state.stopping);
            let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if state.stopping {
                return false;
            }
        }
    }

    /// The index takes nothing any more.
    pub(super) fn fail(&self, reason: String) {
        self.state().failed = Some(reason);
        self.changed.notify_all();
    }

    /// The next groups and their octets; `None` when there are none and there will be none.
    fn take(&self) -> Option<(Vec<Group>, usize)> {
        let idle = |state: &mut State| state.groups.is_empty() && !state.stopping;
        let mut state = self.changed.wait_while(self.state(), idle).unwrap_or_else(PoisonError::into_inner);
        let (mut groups, mut octets) = (Vec::new(), 0_usize);
        while octets < BATCH {
            let Some((changes, position)) = state.groups.pop_front() else { break };
            octets = octets.saturating_add(changes.octets());
            groups.push((changes, position));
        }
        (!groups.is_empty()).then_some((groups, octets))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
