//! The spare: one segment, all zeros, that exists before it is needed.
//!
//! A thread of its own makes it, so that no commit waits for zeros. While none can be made, ordinary commits are
//! refused and what is left of the newest segment belongs to revocations.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::frame::BLOCK;
use super::segment::{SHORTEST, is_zeros};
use crate::disk::{Disk, DiskFile, read_whole};

/// The spare's name in the journal's folder; it gets a segment's name when it becomes one.
const NAME: &str = "spare";

/// Its name while its zeros are written.
const UNFINISHED: &str = "spare.new";

/// The name of the thread that makes spares.
pub(super) const THREAD: &str = "store-spare";

/// Where the spare lies.
pub(super) fn path(journal: &Path) -> PathBuf {
    journal.join(NAME)
}

/// The spare that was left here, wiped, or else a new one.
pub(super) fn ready(disk: &dyn Disk, journal: &Path, length: u64) -> io::Result<Box<dyn DiskFile>> {
    match disk.open(&path(journal)) {
        Ok(file) if file.length()? >= SHORTEST => {
            wipe(&*file)?;
            return Ok(file);
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    make(disk, journal, length)
}

fn make(disk: &dyn Disk, journal: &Path, length: u64) -> io::Result<Box<dyn DiskFile>> {
    let unfinished = journal.join(UNFINISHED);
    match disk.remove(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let made = disk.create_new(&unfinished).and_then(|file| {
        file.preallocate(length)?;
        file.sync_data()?;
        disk.rename(&unfinished, &path(journal))?;
        disk.sync_dir(journal)?;
        Ok(file)
    });
    if made.is_err() {
        // What was begun takes space that others need; if it cannot be removed either, the next attempt tries again.
        drop(disk.remove(&unfinished));
    }
    made
}

/// A spare may carry what a crash left of a segment's beginning: zeros are the end, so all of it must be zeros again.
fn wipe(file: &dyn DiskFile) -> io::Result<()> {
    let bytes = read_whole(file, u64::MAX)?;
    let zeros = [0; BLOCK];
    let mut offset = 0;
    for block in bytes.chunks(BLOCK) {
        if !is_zeros(block) {
            file.write_at(zeros.get(..block.len()).unwrap_or_default(), offset)?;
        }
        offset = offset.saturating_add(block.len() as u64);
    }
    file.sync_data()
}

/// Whether there is a spare.
#[derive(Debug)]
enum Spare {
    Ready(Box<dyn DiskFile>),
    /// It is being made.
    Making,
    /// The writer has it and is about to make a segment of it.
    Taken,
    /// It could not be made, for this reason; it is tried again after a while.
    Failed(String),
}

/// The thread that makes spares.
#[derive(Debug)]
pub(super) struct Spares {
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
    spare: Spare,
    stopping: bool,
}

impl Spares {
    /// Starts the thread, which makes a spare if there is none.
    pub(super) fn start(disk: Arc<dyn Disk>, journal: PathBuf, length: u64, pause: Duration) -> io::Result<Self> {
        let state = Mutex::new(State { spare: Spare::Making, stopping: false });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name(THREAD.to_owned());
        let thread = thread.spawn(move || theirs.work(&*disk, &journal, length, pause))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Whether a spare is there; `None` while it is being made, the reason if it cannot be.
    pub(super) fn state(&self) -> Option<Result<(), String>> {
        match &self.shared.state().spare {
            Spare::Ready(_) => Some(Ok(())),
            Spare::Making | Spare::Taken => None,
            Spare::Failed(reason) => Some(Err(reason.clone())),
        }
    }

    /// Waits until it is known whether a spare can be made.
    pub(super) fn wait(&self) -> Result<(), String> {
        let making = |state: &mut State| matches!(state.spare, Spare::Making) && !state.stopping;
        let waited = self.shared.changed.wait_while(self.shared.state(), making);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.state().unwrap_or_else(|| Err("the store is stopping".to_owned()))
    }

    /// Takes the spare, if there is one; the next is begun once [`Spares::replace`] is called.
    pub(super) fn take(&self) -> Option<Box<dyn DiskFile>> {
        let mut state = self.shared.state();
        match std::mem::replace(&mut state.spare, Spare::Taken) {
            Spare::Ready(file) => Some(file),
            other => {
                state.spare = other;
                None
            }
        }
    }

    /// The spare that was taken has another name now: a new one may be made.
    pub(super) fn replace(&self) {
        self.shared.state().spare = Spare::Making;
        self.shared.changed.notify_all();
    }

    /// Ends the thread.
    pub(super) fn stop(&mut self) {
        self.shared.state().stopping = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, disk: &dyn Disk, journal: &Path, length: u64, pause: Duration) {
        while self.wanted(pause) {
            let made = ready(disk, journal, length);
            self.state().spare = match made {
                Ok(file) => Spare::Ready(file),
                Err(error) => Spare::Failed(error.to_string()),
            };
            self.changed.notify_all();
        }
    }

    /// Waits until a spare is to be made; false when the store stops.
    fn wanted(&self, pause: Duration) -> bool {
        let mut state = self.state();
        loop {
            if state.stopping {
                return false;
            }
            match state.spare {
                Spare::Making => return true,
                Spare::Ready(_) | Spare::Taken => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
                }
                Spare::Failed(_) => {
                    let waited = self.changed.wait_timeout_while(state, pause, |state| {
                        matches!(state.spare, Spare::Failed(_)) && !state.stopping
                    });
                    let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                    state = again;
                    if timeout.timed_out() && matches!(state.spare, Spare::Failed(_)) {
                        return true;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SystemDisk;

    #[test]
    fn a_spare_that_was_left_behind_is_zeros_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = ready(&SystemDisk, folder.path(), SHORTEST).unwrap();
        for offset in [0, 5000, SHORTEST - 1] {
            file.write_at(b"x", offset).unwrap();
        }
        let again = ready(&SystemDisk, folder.path(), 2 * SHORTEST).unwrap();
        assert_eq!(again.length().unwrap(), SHORTEST);
        assert!(read_whole(&*again, SHORTEST).unwrap().iter().all(|octet| *octet == 0));
        assert_eq!(SystemDisk.list(folder.path()).unwrap(), [NAME]);
    }
}
