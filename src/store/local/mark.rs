//! The mark: a lower bound of what the journal must hold, in a file of its own.
//!
//! Two slots, written in turn. A slot is written only after the group it names is synced and after the other slot is
//! synced, so whatever a crash leaves, one slot is whole and true. A thread of its own writes it while the writer
//! gathers the next group: [`Keeper::name`] starts that, [`Keeper::wait`] bounds how far it may lag.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::OpenError;
use super::frame::{BLOCK, Position};
use super::octets::{Octets, digest};
use super::segment::{FORMAT, checked};
use crate::disk::{Disk, DiskFile, read_whole, replace};
use crate::store::Timeline;

const MAGIC: &[u8; 8] = b"PCLSMARK";

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// How often a mark was written before this one; its lowest bit names the slot.
    pub(super) count: u64,
    /// The era that the journal was in.
    pub(super) timeline: Timeline,
    /// What the journal must hold.
    pub(super) position: Position,
}

impl Mark {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(CHECKED.saturating_add(32));
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&self.timeline.0);
        out.extend_from_slice(&self.position.revision.octets());
        out.extend_from_slice(&self.position.link);
        let checksum = digest(&[&out]);
        out.extend_from_slice(&checksum);
        out
    }

    pub(super) fn decode(slot: &[u8], file: &Path) -> Option<Result<Self, OpenError>> {
        let body = match checked(slot, MAGIC, CHECKED, file)? {
            Ok(body) => body,
            Err(newer) => return Some(Err(newer)),
        };
        let mut octets = Octets(body);
        let count = octets.u64()?;
        let timeline = Timeline(octets.array()?);
        let position = Position { revision: octets.revision()?, link: octets.array()? };
        Some(Ok(Self { count, timeline, position }))
    }

    /// Writes the slot and makes it durable.
    pub(super) fn store(&self, file: &dyn DiskFile) -> std::io::Result<()> {
        let slot = if self.count.is_multiple_of(2) { 0 } else { BLOCK as u64 };
        file.write_at(&self.encode(), slot)?;
        file.sync_data()
    }
}

/// Makes the file with its first mark; a crash leaves all of it or none.
pub(super) fn create(disk: &dyn Disk, path: &Path, temporary: &Path, mark: &Mark) -> std::io::Result<()> {
    let mut bytes = mark.encode();
    bytes.resize(2 * BLOCK, 0);
    replace(disk, path, temporary, &bytes)
}

/// The newer of the whole slots, and the open file.
pub(super) fn read(disk: &dyn Disk, path: &Path) -> Result<(Mark, Box<dyn DiskFile>), OpenError> {
    let doing = || format!("reading {}", path.display());
    let file = disk.open(path).map_err(|error| OpenError::disk(doing(), error))?;
    Ok((newest(&*file, path)?, file))
}

/// The newer of the whole slots, of a file that may be another process's or take no writes.
pub(super) fn read_only(disk: &dyn Disk, path: &Path) -> Result<Mark, OpenError> {
    let doing = || format!("reading {}", path.display());
    let file = disk.open_to_read(path).map_err(|error| OpenError::disk(doing(), error))?;
    newest(&*file, path)
}

fn newest(file: &dyn DiskFile, path: &Path) -> Result<Mark, OpenError> {
    let doing = || format!("reading {}", path.display());
    let bytes = read_whole(file, 4 * BLOCK as u64).map_err(|error| OpenError::disk(doing(), error))?;
    let mut newest: Option<Mark> = None;
    for slot in bytes.chunks(BLOCK).take(2) {
        if let Some(mark) = Mark::decode(slot, path).transpose()? {
            newest = Some(newest.filter(|other| other.count > mark.count).unwrap_or(mark));
        }
    }
    newest.ok_or_else(|| OpenError::damaged(path, "neither of its two slots is whole"))
}

/// The thread that keeps the mark.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// The newest group that may be named, and how many were before it.
    wanted: (u64, Position),
    /// How many of them the mark covers durably.
    kept: u64,
    failed: Option<String>,
    stopping: bool,
}

impl Keeper {
    /// Starts the thread; `mark` is what the file says now.
    pub(super) fn start(file: Box<dyn DiskFile>, mark: Mark) -> std::io::Result<Self> {
        let state = State { wanted: (0, mark.position), kept: 0, failed: None, stopping: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("store-mark".to_owned());
        let thread = thread.spawn(move || theirs.keep(&*file, mark))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Says that the group that ends here is synced.
    pub(super) fn name(&self, position: Position) {
        let mut state = self.shared.state();
        state.wanted = (state.wanted.0.saturating_add(1), position);
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Waits until at most `lag` of the groups named so far are not covered; the reason if that cannot be.
    pub(super) fn wait(&self, lag: u64) -> Result<(), String> {
        let behind = |state: &mut State| state.failed.is_none() && state.wanted.0.saturating_sub(state.kept) > lag;
        let waited = self.shared.changed.wait_while(self.shared.state(), behind);
        let state = waited.unwrap_or_else(PoisonError::into_inner);
        state.failed.clone().map_or(Ok(()), Err)
    }

    /// Writes what is still to be named, then ends the thread.
    pub(super) fn stop(&mut self) {
        self.shared.state().stopping = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, file: &dyn DiskFile, mut mark: Mark) {
        loop {
            let idle = |state: &mut State| state.wanted.0 == state.kept && !state.stopping;
            let waited = self.changed.wait_while(self.state(), idle);
            let state = waited.unwrap_or_else(PoisonError::into_inner);
            let (number, position) = state.wanted;
            if number == state.kept {
                return;
            }
            drop(state);
            mark = Mark { count: mark.count.saturating_add(1), position, ..mark };
            let stored = mark.store(file);
            let mut state = self.state();
            match stored {
                Ok(()) => state.kept = number,
                Err(error) => state.failed = Some(format!("the mark could not be written: {error}")),
            }
            let failed = state.failed.is_some();
            drop(state);
            self.changed.notify_all();
            if failed {
                return;
            }
        }
    }
}

/// The octets of a slot that its checksum covers.
const CHECKED: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SystemDisk;
    use crate::standing::Revision;

    fn mark(count: u64, number: u64) -> Mark {
        let position = Position { revision: Revision { era: 7, number }, link: [4; 32] };
        Mark { count, timeline: Timeline([1; 16]), position }
    }

    #[test]
    fn the_newer_slot_counts_and_a_damaged_one_leaves_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        create(&SystemDisk, &path, &folder.path().join("mark.new"), &mark(0, 0)).unwrap();
        let (first, file) = read(&SystemDisk, &path).unwrap();
        assert_eq!(first, mark(0, 0));
        mark(1, 9).store(&*file).unwrap();
        assert_eq!(read(&SystemDisk, &path).unwrap().0, mark(1, 9));
        file.write_at(b"x", BLOCK as u64 + 30).unwrap();
        assert_eq!(read(&SystemDisk, &path).unwrap().0, mark(0, 0));
        file.write_at(b"x", 30).unwrap();
        assert!(matches!(read(&SystemDisk, &path), Err(OpenError::Damaged { .. })));
    }

    #[test]
    fn the_keeper_writes_what_was_named_last_before_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        create(&SystemDisk, &path, &folder.path().join("mark.new"), &mark(0, 0)).unwrap();
        let (first, file) = read(&SystemDisk, &path).unwrap();
        let mut keeper = Keeper::start(file, first).unwrap();
        for number in 1..=20 {
            keeper.name(mark(0, number).position);
            keeper.wait(2).unwrap();
            let kept = read(&SystemDisk, &path).unwrap().0.position.revision.number;
            assert!(kept + 2 >= number && kept <= number);
        }
        keeper.stop();
        assert_eq!(read(&SystemDisk, &path).unwrap().0.position.revision.number, 20);
    }
}
