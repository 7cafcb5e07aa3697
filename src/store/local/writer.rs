//! The one thread that commits: it gathers a group, writes it as one frame, syncs, makes it visible and answers.
//!
//! The next group is written only after the sync of the one before returned. After anything fails on the way to the
//! disk nothing is written any more: what a failed sync left behind is decided by the next start, not by trying again.

use std::sync::Arc;

use super::backlog::{Backlog, Intake};
use super::frame::{HEAD, Position, seal, span};
use super::log::Log;
use super::mark::Keeper;
use super::queue::{Queue, Waiting};
use super::recover::Active;
use super::segment::{self, FrameAt, Header};
use super::spare::{self, Spares};
use super::state::{Changes, View};
use super::{Options, Paths};
use crate::disk::Disk;
use crate::standing::Revision;
use crate::store::CommitError;
use crate::world::{Entropy, random};

/// What the writer shares with readers and callers.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) view: View,
    pub(super) log: Log,
    pub(super) queue: Queue,
    pub(super) backlog: Backlog,
}

/// The writer's own.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) paths: Paths,
    pub(super) options: Options,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) active: Active,
    pub(super) end: Position,
    pub(super) keeper: Keeper,
    pub(super) spares: Spares,
    /// Tells the checkpointer that a segment was begun.
    pub(super) begun: std::sync::mpsc::SyncSender<()>,
}

/// Whose commits there is room for.
enum Room {
    Everyone,
    Urgent,
}

/// A commit that will land, and its revision.
type Admitted = (Revision, Waiting);

impl Writer {
    /// Commits groups until the queue is closed and empty, or the disk fails.
    pub(super) fn run(mut self) {
        let closing = Closing(Arc::clone(&self.shared));
        while let Some(group) = self.shared.queue.take() {
            if let Err(reason) = self.group(group) {
                self.shared.queue.refuse(&reason);
                break;
            }
        }
        self.spares.stop();
        self.keeper.stop();
        drop(closing);
    }

    /// One group; an error means that nothing may be written any more.
    fn group(&mut self, group: Vec<Waiting>) -> Result<(), String> {
        let group = self.take_in(group);
        let group = match self.make_room(group) {
            Ok(group) => group,
            Err((group, reason)) => {
                self.shared.queue.close(&reason);
                refuse(group, &CommitError::Unavailable(reason.clone()));
                return Err(reason);
            }
        };
        let mut changes = Changes::default();
        let (admitted, conflicting) = self.admit(group, &mut changes);
        let committed = if admitted.is_empty() { Ok(()) } else { self.commit(admitted, changes) };
        // Only now: who conflicts with this very group reads again at once, and is to see it. Also where the group failed,
        // for what was not written is not of unknown outcome.
        refuse(conflicting, &CommitError::Conflict);
        committed
    }

    /// Refuses those whom an index that is away, or has no space, leaves no way; the others go on.
    fn take_in(&self, group: Vec<Waiting>) -> Vec<Waiting> {
        let (outcome, is_closed) = match self.shared.backlog.intake(&self.shared.view) {
            Intake::Open => return group,
            Intake::Full => (CommitError::Full, false),
            Intake::Urgent(reason) => (CommitError::Unavailable(reason), false),
            Intake::Closed(reason) => (CommitError::Unavailable(reason), true),
        };
        let (kept, refused): (Vec<_>, Vec<_>) = group.into_iter().partition(|it| it.is_urgent() && !is_closed);
        refuse(refused, &outcome);
        kept
    }

    /// Decides the commits in order, each on top of those before it.
    fn admit(&self, group: Vec<Waiting>, changes: &mut Changes) -> (Vec<Admitted>, Vec<Waiting>) {
        let applied = self.shared.view.read();
        let mut revision = Revision { era: self.active.header.era, number: self.end.revision.number };
        let (mut admitted, mut conflicting) = (Vec::new(), Vec::new());
        for mut waiting in group {
            let agrees = changes.agree_with(&waiting.batch.assertions, &applied);
            let decided = agrees.and_then(|agrees| {
                if agrees {
                    changes.prepare(&waiting.batch.writes, &applied)?;
                }
                Ok(agrees)
            });
            match decided {
                Ok(true) => {
                    revision = revision.next();
                    changes.make(std::mem::take(&mut waiting.batch.writes), revision);
                    admitted.push((revision, waiting));
                }
                Ok(false) => conflicting.push(waiting),
                Err(error) => waiting.answer(Err(CommitError::Unavailable(error.0))),
            }
        }
        (admitted, conflicting)
    }

    /// Makes a group durable, then visible, then answers.
    fn commit(&mut self, mut admitted: Vec<Admitted>, changes: Changes) -> Result<(), String> {
        let position = match self.write(&admitted) {
            Ok(position) => position,
            Err(reason) => {
                // Whoever hears of it finds the store unhealthy already.
                self.shared.queue.close(&reason);
                let unknown = CommitError::OutcomeUnknown(reason.clone());
                refuse(admitted.into_iter().map(|(_, waiting)| waiting), &unknown);
                return Err(reason);
            }
        };
        let entries = admitted.iter_mut().map(|(at, waiting)| (*at, std::mem::take(&mut waiting.batch.entry)));
        let entries = entries.collect();
        let changes = Arc::new(changes);
        self.shared.view.apply(&changes, entries, position);
        self.shared.backlog.push(changes, position);
        self.end = position;
        for (revision, waiting) in admitted {
            waiting.answer(Ok(revision));
        }
        Ok(())
    }

    /// Appends the group's frame and syncs it; the mark follows.
    fn write(&mut self, admitted: &[Admitted]) -> Result<Position, String> {
        let Some((first, _)) = admitted.first() else { return Ok(self.end) };
        let length: usize = admitted.iter().map(|(_, waiting)| waiting.encoded.len()).sum();
        let mut frame = Vec::with_capacity(span(length));
        frame.resize(HEAD, 0);
        for (_, waiting) in admitted {
            frame.extend_from_slice(&waiting.encoded);
        }
        let count = u32::try_from(admitted.len()).map_err(|error| error.to_string())?;
        let link = seal(&mut frame, &self.end.link, *first, count, &self.active.header.nonce);
        let failed = |error| format!("the journal could not be written: {error}");
        self.active.file.write_at(&frame, self.active.offset).map_err(failed)?;
        self.active.file.sync_data().map_err(failed)?;
        self.keeper.wait(self.options.mark_lag)?;
        let last = admitted.last().map_or(*first, |(revision, _)| *revision);
        let position = Position { revision: last, link };
        self.shared.log.add(FrameAt { first: *first, offset: self.active.offset });
        self.active.offset = self.active.offset.saturating_add(frame.len() as u64);
        self.keeper.name(position);
        Ok(position)
    }

    /// Sees to it that the whole group fits, or refuses those for whom there is no room and returns the rest.
    fn make_room(&mut self, mut group: Vec<Waiting>) -> Result<Vec<Waiting>, (Vec<Waiting>, String)> {
        let needed = span(group.iter().map(|waiting| waiting.encoded.len()).sum()) as u64;
        match self.room_for(needed) {
            Ok(Room::Everyone) => Ok(group),
            Ok(Room::Urgent) => {
                let free = self.active.length.saturating_sub(self.active.offset);
                let mut octets = 0_usize;
                let (kept, refused) = group.drain(..).partition(|waiting| {
                    let more = octets.saturating_add(waiting.encoded.len());
                    let fits = waiting.is_urgent() && span(more) as u64 <= free;
                    octets = if fits { more } else { octets };
                    fits
                });
                refuse::<Vec<_>>(refused, &CommitError::Full);
                Ok(kept)
            }
            Err(reason) => Err((group, reason)),
        }
    }

    fn room_for(&mut self, needed: u64) -> Result<Room, String> {
        let reaches = self.active.offset.saturating_add(needed);
        let fits = reaches <= self.active.length;
        let spare = match self.spares.state() {
            // Before it is known whether there will be a spare, half a segment is kept back for urgent ones.
            None if fits && reaches <= self.active.length / 2 => return Ok(Room::Everyone),
            None => self.spares.wait(),
            Some(known) => known,
        };
        if spare.is_err() {
            return Ok(Room::Urgent);
        }
        if !fits {
            self.rotate()?;
        }
        Ok(Room::Everyone)
    }

    /// Makes the spare the newest segment: durable with its header before it has its name.
    fn rotate(&mut self) -> Result<(), String> {
        let file = self.spares.take().ok_or("there is no spare segment")?;
        let failed = |error| format!("a new segment could not be begun: {error}");
        let nonce = random(&*self.entropy).map_err(|error| error.to_string())?;
        let sequence = self.active.header.sequence.saturating_add(1);
        let header = Header { sequence, previous: self.end, nonce, ..self.active.header };
        let block = header.encode();
        file.write_at(&block, 0).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        let journal = &self.paths.journal;
        self.disk.rename(&spare::path(journal), &segment::path(journal, sequence)).map_err(failed)?;
        self.disk.sync_dir(journal).map_err(failed)?;
        let length = file.length().map_err(failed)?;
        self.active = Active { file, header, offset: block.len() as u64, length };
        self.shared.log.begin(header);
        self.spares.replace();
        // A full channel means that the checkpointer has not come to the last one yet.
        let _ = self.begun.try_send(());
        Ok(())
    }
}

/// However the writer ends, nobody waits for it in vain.
struct Closing(Arc<Shared>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.queue.refuse("the writer has ended; restart the authority");
    }
}

fn refuse<G: IntoIterator<Item = Waiting>>(group: G, outcome: &CommitError) {
    for waiting in group {
        waiting.answer(Err(outcome.clone()));
    }
}
