//! The engine on the local disk: the journal is the truth, everything else follows from it.
//!
//! A group of commits is one frame, appended to the newest segment and synced before any of them is acknowledged.
//! Frames carry the raw writes, so the index (sled) can be lost and made again without knowing what the bytes mean.
//! The mark, in a file of its own, says up to where the journal must be whole; a start that does not find it so is
//! refused by name. Resident keys are held in memory, from the checkpoint and the journal behind it.
//!
//! A start has two stages. [`LocalStore::open`] returns after the first: the journal is whole, resident keys can be read
//! and urgent commits made. The second brings the index to the journal's end, by a thread of its own, however long that
//! takes and whatever the disk says to it; until then reading anything else is an error that says how far it is.
//!
//! Left out on purpose: trying again after a failed sync, repairing what lies before the mark, network file systems.
//!
//! Read [`LocalStore`] first, then `writer` (a commit's way), `recover` and `learn` (a start's two stages), `frame` and
//! `segment` (the bytes). `copy` makes backups and begins eras on them, `witness` reads what is not open.
//!
//! # The folder
//!
//! Folders are 0700, files 0600.
//!
//! | name | holds |
//! |---|---|
//! | `lock` | nothing; locked for as long as a process has the store open |
//! | `mark` | two slots, each in a 4 KiB block of its own |
//! | `checkpoint` | the resident keys at one place of the journal |
//! | `journal/0000000000000001.segment` … | header and frames; the numbers have no gap |
//! | `journal/0000000000000001.archived` … | older segments, which a start does not read |
//! | `journal/spare` | zeros: the next segment |
//! | `index/` | sled |
//! | `quarantine/` | what a crash left unreadable at the journal's end |
//!
//! # The bytes, format 1
//!
//! Numbers are big endian; a revision is its era (4) and number (8); a digest is SHA-256. Segment header, mark slot and
//! checkpoint begin alike in every format: magic (8), format (2), two zeros; a digest of all before it ends them.
//!
//! | segment header | octets | | mark slot | octets | | checkpoint | octets |
//! |---|---|---|---|---|---|---|---|
//! | `PCLSSEGM`, 1, 0 | 12 | | `PCLSMARK`, 1, 0 | 12 | | `PCLSCHCK`, 1, 0 | 12 |
//! | sequence number | 8 | | how often a mark was written | 8 | | timeline | 16 |
//! | era | 4 | | timeline | 16 | | revision it stands at | 12 |
//! | timeline | 16 | | revision | 12 | | link of that frame | 32 |
//! | last revision before it | 12 | | link of that frame | 32 | | number of keys | 8 |
//! | link of that frame | 32 | | digest | 32 | | per key: length (2), key, created (12), modified (12), length (4), value | |
//! | nonce | 16 | | | | | digest | 32 |
//! | digest | 32 | | | | | | |
//!
//! Frames begin behind the header's 4 KiB block, each at a multiple of 4 KiB; zeros fill them up, and zeros are the end.
//! A segment ends where its successor's header says, whatever lies behind.
//!
//! | frame | octets | |
//! |---|---|---|
//! | `PCLSFRAM` | 8 | |
//! | length of the payload | 4 | |
//! | number of commits | 4 | at least 1 |
//! | first revision | 12 | the others count up from it |
//! | zeros | 4 | |
//! | previous link | 32 | zeros before the first frame |
//! | link | 32 | digest of `portcullis frame`, previous link, first revision, number, length, payload |
//! | checksum | 32 | digest of the segment's nonce and the 96 octets before |
//! | payload | | per commit: length (4), entry, number of writes (2), writes |
//! | a write | | 1, length (2), key, length (4), value; or 2, length (2), key |
//!
//! A record in the index is created (12), modified (12) and the value, under its key. The key of one zero octet holds
//! what the index says about itself: revision (12), link (32), sum of the records' hashes modulo 2^128 (16), their
//! number (8); a record's hash is the first 16 octets of the digest of the key's length (4), the key and the record.

mod archive;
mod backlog;
mod checkpoint;
pub mod copy;
mod error;
pub mod frame;
mod index;
mod learn;
mod log;
mod mark;
mod octets;
mod paths;
mod queue;
mod reading;
pub mod rebuild;
mod recover;
mod room;
mod segment;
mod spare;
mod stage;
mod state;
#[cfg(test)]
pub(super) mod tests;
pub mod witness;
mod writer;

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::backlog::Backlog;
pub use self::error::OpenError;
use self::frame::{BLOCK, Position};
pub use self::index::IndexSum;
use self::learn::Indexer;
use self::mark::{Keeper, Mark};
use self::paths::{CHECKPOINT, JOURNAL, MARK, Paths, must_be_local, take_lock, without_mark};
use self::queue::Queue;
use self::recover::recover;
use self::segment::{Header, SHORTEST};
use self::spare::Spares;
pub use self::stage::{IndexHold, IndexState};
use self::state::{View, is_resident};
use self::writer::{Shared, Writer};
use super::memory::check_bounds;
use super::{Batch, CommitError, KeyRange, Store, StoreError, Timeline, Urgency, Versioned};
use crate::disk::{Disk, DiskFile};
use crate::standing::Revision;
use crate::world::{Entropy, random};

/// What may be chosen when a store is opened; the defaults are what the product runs with.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a new segment is, in octets: at least 4 MiB, a multiple of 4 KiB. A longer one costs more zeros at a
    /// time, a shorter one more files; 16 MiB are zeroed in some 80 ms.
    pub segment: u64,
    /// How many segments are begun before a new checkpoint is written: what a start has to read.
    pub checkpoint_every: usize,
    /// How many of the newest segments are not archived.
    pub keep: usize,
    /// How many more groups the mark may be behind. Its sync runs beside that of the next group, which at 0 is answered
    /// only when both are done: all but the newest acknowledged group are covered.
    pub mark_lag: u64,
    /// How long to wait before trying again what the disk refused beside the journal: a spare
    /// segment, the index, room for it.
    pub pause: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment: 16 * 1024 * 1024, checkpoint_every: 4, keep: 8, mark_lag: 2, pause: Duration::from_secs(1) }
    }
}

impl Options {
    fn segment_length(&self) -> u64 {
        self.segment.max(SHORTEST).next_multiple_of(BLOCK as u64)
    }
}

/// A store in a folder of the local disk.
///
/// Dropping it ends it cleanly: what waits is committed, the mark and a checkpoint are written, the lock is let go.
#[derive(Debug)]
pub struct LocalStore {
    era: u32,
    timeline: Timeline,
    paths: Paths,
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    checkpointer: Option<JoinHandle<()>>,
    indexer: Option<JoinHandle<()>>,
    /// Taken while a checkpoint is written, so that two never use the temporary name at once.
    checkpointing: Arc<Mutex<()>>,
    disk: Arc<dyn Disk>,
    opened: Instant,
    _lock: Box<dyn DiskFile>,
}

/// What a store says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalStatus {
    /// The era it is in.
    pub era: u32,
    /// The era's name.
    pub timeline: Timeline,
    /// The newest acknowledged commit.
    pub end: Revision,
    /// How many segments the journal has.
    pub segments: usize,
    /// How many resident keys there are.
    pub resident: usize,
    /// How the index stands to the journal.
    pub index: IndexState,
    /// What the index says of itself, while it is ready.
    pub sum: Option<IndexSum>,
}

impl LocalStore {
    /// Makes an empty store in `folder` and opens it; `era` is the current Unix second.
    ///
    /// A folder in which an earlier attempt was interrupted before it was done is begun anew.
    pub fn create(
        folder: &Path,
        era: u32,
        disk: Arc<dyn Disk>,
        entropy: Arc<dyn Entropy>,
        options: Options,
    ) -> Result<Self, OpenError> {
        let paths = Paths::of(folder);
        let doing = |error| OpenError::disk(format!("making a store in {}", folder.display()), error);
        must_be_local(&*disk, folder.parent().unwrap_or_else(|| Path::new("/")))?;
        disk.create_dir(folder).map_err(doing)?;
        disk.sync_dir(folder.parent().unwrap_or_else(|| Path::new("/"))).map_err(doing)?;
        disk.create_dir(&paths.journal).map_err(doing)?;
        // Before there is a mark: with one, a folder that is missing would be damage.
        disk.sync_dir(folder).map_err(doing)?;
        let lock = take_lock(&*disk, &paths)?;
        let segments = disk.list(&paths.journal).map_err(doing)?.iter().any(|name| segment::sequence(name).is_some());
        let names = disk.list(folder).map_err(doing)?;
        if segments || names.iter().any(|name| name == CHECKPOINT) {
            return Err(OpenError::Exists(folder.to_owned()));
        }
        if names.iter().any(|name| name == MARK) && mark::read(&*disk, &paths.mark)?.0.position.revision.number > 0 {
            return Err(OpenError::Exists(folder.to_owned()));
        }
        let timeline = Timeline(random(&*entropy).map_err(|_| OpenError::NoEntropy)?);
        let nonce = random(&*entropy).map_err(|_| OpenError::NoEntropy)?;
        let first = Position { revision: Revision { era, number: 0 }, ..Position::START };
        let mark = Mark { count: 0, timeline, position: first };
        mark::create(&*disk, &paths.mark, &paths.mark_unfinished, &mark).map_err(doing)?;
        let header = Header { sequence: 1, era, timeline, previous: first, nonce };
        recover::begin(&*disk, &paths.journal, &header, options.segment_length()).map_err(doing)?;
        Self::start(paths, lock, disk, entropy, options)
    }

    /// Opens the store in `folder`.
    pub fn open(
        folder: &Path,
        disk: Arc<dyn Disk>,
        entropy: Arc<dyn Entropy>,
        options: Options,
    ) -> Result<Self, OpenError> {
        let paths = Paths::of(folder);
        let names = match disk.list(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            listed => listed.map_err(|error| OpenError::disk(format!("listing {}", folder.display()), error))?,
        };
        let has = |wanted| names.iter().any(|name| name == wanted);
        if !has(JOURNAL) && !has(MARK) {
            return Err(OpenError::NotAStore(folder.to_owned()));
        }
        must_be_local(&*disk, folder)?;
        let lock = take_lock(&*disk, &paths)?;
        if !has(JOURNAL) {
            return Err(OpenError::damaged(&paths.journal, "it is missing"));
        }
        if !has(MARK) {
            return Err(without_mark(&*disk, &paths));
        }
        Self::start(paths, lock, disk, entropy, options)
    }

    fn start(
        paths: Paths,
        lock: Box<dyn DiskFile>,
        disk: Arc<dyn Disk>,
        entropy: Arc<dyn Entropy>,
        options: Options,
    ) -> Result<Self, OpenError> {
        let options = Options { segment: options.segment_length(), ..options };
        let (mark, file) = mark::read(&*disk, &paths.mark)?;
        // What was read may never have reached the disk, and all that follows builds on it.
        let settling = |error| OpenError::disk("making sure of the mark and the journal's folder", error);
        mark.store(&*file).map_err(settling)?;
        disk.sync_dir(&paths.journal).map_err(settling)?;
        let recovered = recover(&disk, &paths, &options, mark, &*entropy)?;
        let header = recovered.active.header;
        let end = recovered.applied.position;
        let doing = |error| OpenError::disk("starting the store's threads", error);
        let keeper = Keeper::start(file, mark).map_err(doing)?;
        if end != mark.position {
            keeper.name(end);
        }
        let journal = paths.journal.clone();
        let spares = Spares::start(Arc::clone(&disk), journal, options.segment, options.pause).map_err(doing)?;
        let view = View::new(recovered.applied);
        let (queue, backlog) = (Queue::default(), Backlog::default());
        let shared = Arc::new(Shared { view, log: recovered.log, queue, backlog });
        let (begun, to_checkpoint) = sync_channel(1);
        let (schedule, pause) = (Schedule { every: options.checkpoint_every, keep: options.keep }, options.pause);
        let writer = Writer {
            shared: Arc::clone(&shared),
            disk: Arc::clone(&disk),
            paths: paths.clone(),
            options,
            entropy,
            active: recovered.active,
            end,
            keeper,
            spares,
            begun,
        };
        let writer = std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || writer.run());
        let mut store = Self {
            era: header.era,
            timeline: header.timeline,
            paths,
            shared,
            writer: Some(writer.map_err(doing)?),
            checkpointer: None,
            indexer: None,
            checkpointing: Arc::default(),
            disk,
            opened: Instant::now(),
            _lock: lock,
        };
        let indexer = Indexer { shared: Arc::clone(&store.shared), folder: store.paths.index.clone(), pause };
        let thread = std::thread::Builder::new().name("store-index".to_owned());
        store.indexer = Some(thread.spawn(move || indexer.run()).map_err(doing)?);
        store.checkpointer = Some(store.start_checkpointer(to_checkpoint, schedule).map_err(doing)?);
        Ok(store)
    }

    /// What the store says about itself.
    pub fn status(&self) -> LocalStatus {
        let applied = self.shared.view.read();
        LocalStatus {
            era: self.era,
            timeline: self.timeline,
            end: applied.position.revision,
            segments: self.shared.log.segments(),
            resident: applied.resident.len(),
            index: self.shared.view.stage().state(),
            sum: applied.index().ok().map(|index| index.sum()),
        }
    }

    /// Waits for the second stage of the start, until the index agrees with the journal or the time is over; how it
    /// stands then. Statuses, feed and revoking do not need it.
    pub fn wait_for_index(&self, timeout: Duration) -> IndexState {
        let stage = self.shared.view.stage();
        stage.wait(timeout)
    }

    /// Has the second stage of the start pause until what this returns is dropped: on few cores it would take half of the
    /// time from the answers that somebody waits for, and nobody waits for it yet.
    pub fn hold_index(&self) -> IndexHold<'_> {
        self.shared.view.stage().hold(self)
    }

    /// Waits for the second stage of the start; `tell` hears twice a second how far it is. An index that cannot be had is
    /// an error here, though it goes on being tried.
    pub fn wait_to_be_complete(&self, mut tell: impl FnMut(&IndexState)) -> Result<(), OpenError> {
        loop {
            match self.wait_for_index(TOLD_EVERY) {
                IndexState::Ready => return Ok(()),
                IndexState::Waiting(why) => return Err(OpenError::Index(why)),
                state => tell(&state),
            }
        }
    }

    /// Whoever comes right behind a start would rather wait than be told to come again, for most starts are done then.
    fn wait_a_moment(&self) {
        let left = GRACE.saturating_sub(self.opened.elapsed());
        if !left.is_zero() && self.complete().is_err() {
            self.shared.view.stage().wait_while_busy(left);
        }
    }

    /// A thread that writes a checkpoint every so many segments; it ends when the writer does.
    fn start_checkpointer(&self, begun: Receiver<()>, schedule: Schedule) -> std::io::Result<JoinHandle<()>> {
        let (shared, disk, paths) = (Arc::clone(&self.shared), Arc::clone(&self.disk), self.paths.clone());
        let (Schedule { every, keep }, journal) = (schedule, self.paths.journal.clone());
        let (checkpointing, timeline) = (Arc::clone(&self.checkpointing), self.timeline);
        let mut last = shared.log.segments();
        std::thread::Builder::new().name("store-checkpoint".to_owned()).spawn(move || {
            while begun.recv().is_ok() {
                let now = shared.log.segments();
                if now.saturating_sub(last) >= every {
                    let written = write_checkpoint(&shared, &*disk, &paths, timeline, &checkpointing);
                    let moved = |position| archive::archive_behind(&*disk, &journal, &shared.log, &position, keep);
                    // Without a checkpoint the next start reads more of the journal, nothing else.
                    drop(written.and_then(moved));
                    last = now;
                }
            }
        })
    }
}

/// When the checkpointer does what.
#[derive(Clone, Copy)]
struct Schedule {
    every: usize,
    keep: usize,
}

fn write_checkpoint(
    shared: &Shared,
    disk: &dyn Disk,
    paths: &Paths,
    timeline: Timeline,
    alone: &Mutex<()>,
) -> std::io::Result<Position> {
    let _alone = alone.lock().unwrap_or_else(PoisonError::into_inner);
    let applied = shared.view.read();
    let bytes = checkpoint::encode(timeline, &applied.position, &applied.resident);
    let position = applied.position;
    drop(applied);
    crate::disk::replace(disk, &paths.checkpoint, &paths.checkpoint_unfinished, &bytes).map(|()| position)
}

impl Drop for LocalStore {
    fn drop(&mut self) {
        let healthy = self.shared.queue.closed().is_none();
        self.shared.queue.close("the store is being closed");
        for thread in [self.writer.take(), self.checkpointer.take()].into_iter().flatten() {
            drop(thread.join());
        }
        self.shared.backlog.stop();
        if let Some(indexer) = self.indexer.take() {
            drop(indexer.join());
        }
        if healthy {
            // Both only spare the next start some reading.
            drop(write_checkpoint(&self.shared, &*self.disk, &self.paths, self.timeline, &self.checkpointing));
            drop(self.shared.view.read().index().map(|index| index.flush()));
        }
    }
}

impl Store for LocalStore {
    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        if !is_resident(key) {
            self.wait_a_moment();
        }
        self.shared.view.read().get(key)
    }

    fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<(Vec<u8>, Versioned)>, StoreError> {
        if !is_resident(&range.start) {
            self.wait_a_moment();
        }
        self.shared.view.read().scan(range, limit)
    }

    fn commit(&self, batch: Batch) -> Result<Revision, CommitError> {
        check_bounds(&batch)?;
        if batch.urgency == Urgency::Ordinary {
            self.wait_a_moment();
        }
        let outcome = self.shared.queue.push(batch)?;
        let ended = || CommitError::OutcomeUnknown("the writer has ended".to_owned());
        outcome.recv().unwrap_or_else(|_| Err(ended()))
    }

    fn entries_after(&self, revision: Revision, limit: usize) -> Result<Vec<(Revision, Vec<u8>)>, StoreError> {
        let applied = self.shared.view.read();
        let recent = applied.recent_after(revision, limit);
        let end = applied.position.revision;
        drop(applied);
        if let Some(recent) = recent {
            return Ok(recent);
        }
        let commits = self.shared.log.between(revision, end, limit)?;
        Ok(commits.into_iter().map(|commit| (commit.revision, commit.entry)).collect())
    }

    fn end(&self) -> Revision {
        self.shared.view.end()
    }

    fn wait_beyond(&self, revision: Revision, timeout: Duration) -> Revision {
        self.shared.view.wait_beyond(revision, timeout)
    }

    fn timeline(&self) -> Timeline {
        self.timeline
    }

    fn health(&self) -> Result<(), StoreError> {
        match (self.shared.queue.closed(), self.shared.view.stage().state()) {
            (Some(reason), _) => Err(StoreError(reason)),
            (None, IndexState::Ready) => Ok(()),
            (None, away) => Err(StoreError(away.to_string())),
        }
    }

    fn complete(&self) -> Result<(), StoreError> {
        self.shared.view.read().index().map(drop)
    }
}

/// How long after a start those who need the index wait for it.
const GRACE: Duration = Duration::from_secs(5);

/// How often it is said how far the index is.
const TOLD_EVERY: Duration = Duration::from_millis(500);
