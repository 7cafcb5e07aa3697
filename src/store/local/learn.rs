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
use super::index::{Index, no_room};
use super::stage::IndexState;
use super::state::{Changes, is_resident};
use super::writer::Shared;
use crate::standing::Revision;
use crate::store::StoreError;

/// How many octets there must be room for before the index is opened again: what sled takes at the least.
const PROBE: usize = 1024 * 1024;

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
        let mut index = Index::open(&self.folder, |done, of| {
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
            self.replay(&index, view.end())?;
        }
        Ok(Arc::new(index))
    }

    fn replay(&self, index: &Index, end: Revision) -> Result<(), StoreError> {
        let from = index.position().revision;
        let mut learning = Learning { index, changes: Changes::default(), reached: None };
        let of = end.number.saturating_sub(from.number);
        let stage = self.shared.view.stage();
        stage.set(IndexState::Learning { done: 0, of });
        self.shared.log.replay(from, end, |position, commits| {
            if learning.take(position, commits)? {
                stage.set(IndexState::Learning { done: position.revision.number.saturating_sub(from.number), of });
            }
            if self.shared.backlog.is_stopping() {
                return Err(StoreError("the store is stopping".to_owned()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        learning.give()?;
        match index.position().revision {
            reached if reached.number >= end.number => Ok(()),
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
    /// Takes a group; whether what was taken is in the index now.
    fn take(&mut self, position: Position, commits: Vec<Recorded>) -> Result<bool, StoreError> {
        for mut commit in commits {
            commit.writes.retain(|write| !is_resident(write.key()));
            self.changes.prepare_from(commit.writes.iter(), |key| self.index.get(key))?;
            self.changes.make(commit.writes, commit.revision);
        }
        self.reached = Some(position);
        let is_due = self.changes.octets() >= BATCH;
        if is_due {
            self.give()?;
        }
        Ok(is_due)
    }

    fn give(&mut self) -> Result<(), StoreError> {
        self.index.room().ensure().map_err(no_room)?;
        let changes = std::mem::take(&mut self.changes);
        self.reached.take().map_or(Ok(()), |position| self.index.apply(changes.beyond_resident(), position))
    }
}
