//! Making the index anew from the journal, for whoever doubts it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fmt, io};

use super::copy::Done;
use super::index::Index;
use super::reading::Journal;
use super::{LocalStore, OpenError, Options, Paths, take_lock};
use crate::disk::{Disk, DiskFile};
use crate::standing::Revision;
use crate::world::Entropy;

/// What an index says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexState {
    /// The place in the journal that it reflects.
    pub revision: Revision,
    /// The order-free hash over all of its records.
    pub hash: u128,
    /// How many records it has.
    pub records: u64,
}

/// Throws the index of a store that is not running away and makes it again from the journal; gives what it was before,
/// if it was whole, and what it is now.
pub fn rebuild(
    folder: &Path,
    disk: &Arc<dyn Disk>,
    entropy: Arc<dyn Entropy>,
    options: Options,
    progress: impl Fn(Done) + Send + Sync + 'static,
) -> Result<(Option<IndexState>, IndexState), OpenError> {
    let paths = Paths::of(folder);
    if !paths.journal.is_dir() {
        return Err(OpenError::NotAStore(folder.to_owned()));
    }
    let lock = take_lock(&**disk, &paths)?;
    let before = Index::whole(&paths.index).map(|index| index.state());
    drop(Index::anew(&paths.index).map_err(OpenError::index)?);
    // The journal is read twice: checked, then replayed.
    let of = Journal::open(&**disk, &paths.journal)?.octets().saturating_mul(2);
    drop(lock);
    let watched = Watched { disk: Arc::clone(disk), read: Arc::default(), of, progress: Arc::new(progress) };
    let store = LocalStore::open(folder, Arc::new(watched), entropy, options)?;
    let index = store.shared.view.index();
    Ok((before, index.state()))
}

type Tell = Arc<dyn Fn(Done) + Send + Sync>;

/// A disk that tells how much of it was read.
struct Watched {
    disk: Arc<dyn Disk>,
    read: Arc<AtomicU64>,
    of: u64,
    progress: Tell,
}

/// A file of it.
struct WatchedFile {
    file: Box<dyn DiskFile>,
    read: Arc<AtomicU64>,
    of: u64,
    progress: Tell,
}

impl Watched {
    fn watch(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let (read, progress) = (Arc::clone(&self.read), Arc::clone(&self.progress));
        Box::new(WatchedFile { file, read, of: self.of, progress })
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

impl fmt::Debug for WatchedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

impl Disk for Watched {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create_new(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.watch(self.disk.open(path)?))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.watch(self.disk.open_to_read(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn network_file_system(&self, path: &Path) -> io::Result<Option<&'static str>> {
        self.disk.network_file_system(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.lock(path)
    }
}

impl DiskFile for WatchedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)?;
        let length = buffer.len() as u64;
        let octets = self.read.fetch_add(length, Ordering::Relaxed).saturating_add(length);
        (self.progress)(Done { octets, of: self.of.max(octets) });
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn preallocate(&self, length: u64) -> io::Result<()> {
        self.file.preallocate(length)
    }
}
