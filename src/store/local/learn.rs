//! The thread that brings the index to the journal's end and keeps it there.
//!
//! The second stage of a start: the index is opened and its records are added up, or it is made anew; then it learns
//! what the journal says beyond its place. Whatever fails later leads back here, a full disk too: the journal has
//! everything, so trying again loses nothing.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::frame::{Position, Recorded};
use super::index::Index;
use super::stage::IndexState;
use super::state::{Changes, is_resident};
use super::writer::Shared;
use crate::standing::Revision;
use crate::store::StoreError;

/// How many octets there must be room for before the index is opened again: what sled takes at the least.
const PROBE: usize = 1024 * 1024;

/// How many octets of changes may be kept in memory for want of space.
const MOST_REMEMBERED: usize = 32 * 1024 * 1024;

/// How many octets of changes are given to sled at once.
const BATCH: usize = 1024 * 1024;

/// The thread's own.
pub(super) struct Indexer {
    pub(super) shared: Arc<Shared>,
    pub(super) folder: PathBuf,
    /// How long to wait before a failed index is tried again.
    pub(super) pause: Duration,
}

impl Indexer {
    /// Runs until told to stop.
    pub(super) fn run(self) {
        let (view, backlog) = (&self.shared.view, &self.shared.backlog);
        while !backlog.is_stopping() {
            let failed = match self.learn() {
                Ok(index) => {
                    view.attach(Arc::clone(&index));
                    backlog.call();
                    match backlog.work(view, &index, self.pause) {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            // What was open is read on: it may be for want of space that it takes nothing, and then it could not be opened
            // again either.
            view.stage().set(IndexState::Waiting(failed.0));
            backlog.call();
            backlog.rest(self.pause);
            while !backlog.is_stopping() && self.probe().is_err() {
                backlog.rest(self.pause);
            }
        }
    }

    /// Whether the disk takes anything at all; sled remembers for good that it once did not.
    fn probe(&self) -> std::io::Result<()> {
        let path = self.folder.with_extension("probe");
        let written = std::fs::write(&path, [0; PROBE]);
        let removed = std::fs::remove_file(&path);
        written.and(removed)
    }

    /// An index that has learned everything up to the end of the journal as it was a moment ago.
    fn learn(&self) -> Result<Arc<Index>, StoreError> {
        let (view, backlog) = (&self.shared.view, &self.shared.backlog);
        view.detach();
        let stage = view.stage();
        stage.wait_while_held();
        let mut index = Index::open(&self.folder, |done, of| {
            stage.wait_while_held();
            stage.set(IndexState::Checking { done, of });
            !backlog.is_stopping()
        })?;
        // It may name a place that this journal never had: then nothing it holds can be believed.
        if index.position() != Position::START && !self.shared.log.has(&index.position())? {
            drop(index);
            index = Index::anew(&self.folder)?;
        }
        // By number: a new era begins without a commit of its own.
        while index.position().revision.number < view.end().number {
            if !self.replay(&index, view.end())? {
                self.remember(&index)?;
                break;
            }
        }
        Ok(Arc::new(index))
    }

    /// What the index has no room for is kept in memory, if it is not too much, until there is some.
    fn remember(&self, index: &Index) -> Result<(), StoreError> {
        let (mut changes, mut reached) = (Changes::default(), None);
        self.shared.log.replay(index.position().revision, self.shared.view.end(), |position, commits| {
            for mut commit in commits {
                commit.writes.retain(|write| !is_resident(write.key()));
                changes.prepare_from(commit.writes.iter(), |key| index.get(key))?;
                changes.make(commit.writes, commit.revision);
            }
            reached = Some(position);
            let is_much = changes.octets() > MOST_REMEMBERED;
            if is_much {
                Err(StoreError("there is no space on the disk for the index".to_owned()))
            } else {
                Ok(ControlFlow::Continue(()))
            }
        })?;
        if let Some(position) = reached {
            let changes = Arc::new(changes);
            self.shared.view.cover(&changes, position);
            self.shared.backlog.push_instead(changes, position);
        }
        Ok(())
    }

    /// Has the index learn everything up to `end`; false where it has no room for that.
    fn replay(&self, index: &Index, end: Revision) -> Result<bool, StoreError> {
        let from = index.position().revision;
        let mut learning = Learning { index, changes: Changes::default(), reached: None };
        let of = end.number.saturating_sub(from.number);
        let stage = self.shared.view.stage();
        stage.set(IndexState::Learning { done: 0, of });
        let mut has_room = true;
        self.shared.log.replay(from, end, |position, commits| {
            stage.wait_while_held();
            learning.take(position, commits)?;
            if learning.changes.octets() >= BATCH {
                has_room = learning.give()?;
                stage.set(IndexState::Learning { done: position.revision.number.saturating_sub(from.number), of });
            }
            if self.shared.backlog.is_stopping() {
                return Err(StoreError("the store is stopping".to_owned()));
            }
            Ok(if has_room { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        if !has_room || !learning.give()? {
            return Ok(false);
        }
        match index.position().revision {
            reached if reached.number >= end.number => Ok(true),
            reached => Err(StoreError(format!("the journal could be read to {reached} only, not to {end}"))),
        }
    }
}

/// Groups on their way from the journal into the index.
struct Learning<'a> {
    index: &'a Index,
    changes: Changes,
    reached: Option<Position>,
}

impl Learning<'_> {
    fn take(&mut self, position: Position, commits: Vec<Recorded>) -> Result<(), StoreError> {
        for mut commit in commits {
            commit.writes.retain(|write| !is_resident(write.key()));
            self.changes.prepare_from(commit.writes.iter(), |key| self.index.get(key))?;
            self.changes.make(commit.writes, commit.revision);
        }
        self.reached = Some(position);
        Ok(())
    }

    /// Gives what was taken to the index; false where that has no room for it.
    fn give(&mut self) -> Result<bool, StoreError> {
        if self.index.room().ensure().is_err() {
            return Ok(false);
        }
        let changes = std::mem::take(&mut self.changes);
        self.reached.take().map_or(Ok(()), |position| self.index.apply(changes.beyond_resident(), position))?;
        Ok(true)
    }
}
