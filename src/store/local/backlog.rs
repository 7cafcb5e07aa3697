//! What the index still has to learn: groups that are durable and visible, on their way into sled.
//!
//! A thread of its own ([`super::learn`]) carries them there, so that no commit waits for sled; until then readers find
//! them in memory ([`super::state`]). While the index is away, ordinary commits are refused, and urgent ones go on as
//! long as there is room here. On a full disk nothing is given to it: ordinary commits wait for space, urgent ones go on,
//! and so does all once there is space.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::frame::Position;
use super::index::Index;
use super::room::Room;
use super::stage::IndexState;
use super::state::{Changes, View};
use crate::store::StoreError;

/// How many octets of changes may wait before commits do: a second or two of work for sled.
const LIMIT: usize = 32 * 1024 * 1024;

/// How many may wait while the index is away, when only urgent commits are taken.
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
    /// Only urgent ones, until there is space again.
    Full,
    /// The index is away, for this reason: only urgent ones.
    Urgent(String),
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

    /// Puts one group in the place of all up to its position: it holds what they did.
    pub(super) fn push_instead(&self, changes: Arc<Changes>, position: Position) {
        let mut state = self.state();
        state.groups.retain(|(_, group)| group.revision > position.revision);
        state.groups.push_front((changes, position));
        state.octets = state.groups.iter().map(|(changes, _)| changes.octets()).sum();
    }

    /// Waits until there is room, or there will be none.
    pub(super) fn intake(&self, view: &View) -> Intake {
        let stage = view.stage();
        let crowded = |state: &mut State| state.octets > LIMIT && !state.full && stage.state() == IndexState::Ready;
        let waited = self.changed.wait_while(self.state(), crowded);
        let state = waited.unwrap_or_else(PoisonError::into_inner);
        let (octets, full) = (state.octets, state.full);
        drop(state);
        match stage.state() {
            IndexState::Ready if !full => Intake::Open,
            IndexState::Ready if octets < LAST_LIMIT => Intake::Full,
            IndexState::Ready => Intake::Closed("there is no space for the index".to_owned()),
            away if octets < LAST_LIMIT => Intake::Urgent(away.to_string()),
            away => Intake::Closed(away.to_string()),
        }
    }

    /// Wakes who waits for room: the index has come or gone.
    pub(super) fn call(&self) {
        drop(self.state());
        self.changed.notify_all();
    }

    /// Waits for a while, or until told to stop.
    pub(super) fn rest(&self, pause: Duration) {
        drop(self.changed.wait_timeout_while(self.state(), pause, |state| !state.stopping));
    }

    /// Whether the store is being closed.
    pub(super) fn is_stopping(&self) -> bool {
        self.state().stopping
    }

    /// Ends [`Backlog::work`] once nothing waits.
    pub(super) fn stop(&self) {
        self.state().stopping = true;
        self.changed.notify_all();
    }

    /// Carries groups into the index until told to stop, or the index fails; where there is no space for it, that is
    /// asked again after a pause.
    pub(super) fn work(&self, view: &View, index: &Index, pause: Duration) -> Result<(), StoreError> {
        while self.wait_for_room(index.room(), pause) {
            let Some((groups, octets)) = self.take() else { return Ok(()) };
            // What it learned from the journal it need not learn again.
            let known = index.position().revision;
            let new = groups.iter().filter(|(_, position)| position.revision > known);
            let merged = Changes::merged(new.map(|(changes, _)| &**changes));
            let applied = match groups.last() {
                Some((_, position)) if position.revision > known => {
                    index.apply(merged.beyond_resident(), *position).map(|()| view.settle(&merged, *position))
                }
                _ => Ok(()),
            };
            let mut state = self.state();
            state.octets = state.octets.saturating_sub(octets);
            drop(state);
            self.changed.notify_all();
            applied?;
        }
        Ok(())
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
