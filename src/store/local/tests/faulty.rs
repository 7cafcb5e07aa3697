//! A disk that fails where a test says so.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::disk::{Disk, DiskFile, SystemDisk};

/// Wraps the system's disk; clones share their faults.
#[derive(Clone, Debug, Default)]
pub(super) struct FaultyDisk(Arc<Faults>);

#[derive(Debug, Default)]
struct Faults {
    /// Operations that change something, counted from the start.
    changes: AtomicU64,
    /// This many of them work, all later ones fail; 0 stands for no limit.
    working: AtomicU64,
    /// Syncs of files whose path holds this text fail.
    bad_sync: Mutex<Option<&'static str>>,
    /// Writes too, in their middle.
    bad_write: Mutex<Option<&'static str>>,
    full: AtomicBool,
    on_network: AtomicBool,
    /// What was done, in order: the operation and the file's name.
    history: Mutex<Vec<(&'static str, String)>>,
}

impl FaultyDisk {
    /// Lets this many changes work and fails every one after them.
    pub(super) fn only(working: u64) -> Self {
        let disk = Self::default();
        disk.0.working.store(working, Ordering::SeqCst);
        disk
    }

    pub(super) fn fail_sync_of(&self, part: &'static str) {
        *self.0.bad_sync.lock().unwrap() = Some(part);
    }

    pub(super) fn fail_write_of(&self, part: &'static str) {
        *self.0.bad_write.lock().unwrap() = Some(part);
    }

    pub(super) fn set_full(&self, full: bool) {
        self.0.full.store(full, Ordering::SeqCst);
    }

    pub(super) fn set_on_network(&self) {
        self.0.on_network.store(true, Ordering::SeqCst);
    }

    /// What was done so far, in order, and the file it was done to.
    pub(super) fn history(&self) -> Vec<(&'static str, String)> {
        self.0.history.lock().unwrap().clone()
    }

    fn change(&self, what: &'static str, path: &Path) -> io::Result<()> {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        self.0.history.lock().unwrap().push((what, name));
        let working = self.0.working.load(Ordering::SeqCst);
        if self.0.changes.fetch_add(1, Ordering::SeqCst) >= working && working > 0 {
            return Err(io::Error::other("injected"));
        }
        Ok(())
    }

    fn space(&self) -> io::Result<()> {
        if self.0.full.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn wrap(&self, path: &Path, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(FaultyFile { disk: self.clone(), path: path.to_owned(), file })
    }
}

impl Disk for FaultyDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.change("create_dir", path)?;
        SystemDisk.create_dir(path)
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.change("create", path)?;
        self.space()?;
        Ok(self.wrap(path, SystemDisk.create_new(path)?))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.wrap(path, SystemDisk.open(path)?))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change("rename", to)?;
        SystemDisk.rename(from, to)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.change("sync_dir", path)?;
        SystemDisk.sync_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        SystemDisk.list(path)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change("remove", path)?;
        SystemDisk.remove(path)
    }
    fn network_file_system(&self, path: &Path) -> io::Result<Option<&'static str>> {
        let found = SystemDisk.network_file_system(path)?;
        Ok(if self.0.on_network.load(Ordering::SeqCst) { Some("NFS") } else { found })
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        SystemDisk.lock(path)
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    path: PathBuf,
    file: Box<dyn DiskFile>,
}

impl FaultyFile {
    fn is_bad(&self, rule: &Mutex<Option<&'static str>>) -> bool {
        rule.lock().unwrap().is_some_and(|part| self.path.to_string_lossy().contains(part))
    }
}

impl DiskFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let allowed = self.disk.change("write", &self.path);
        if allowed.is_err() || self.is_bad(&self.disk.0.bad_write) {
            self.file.write_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(io::Error::other("injected"));
        }
        self.file.write_at(bytes, offset)
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
    fn sync_data(&self) -> io::Result<()> {
        self.disk.change("sync", &self.path)?;
        if self.is_bad(&self.disk.0.bad_sync) {
            return Err(io::Error::other("injected"));
        }
        self.file.sync_data()
    }
    fn preallocate(&self, length: u64) -> io::Result<()> {
        self.disk.change("preallocate", &self.path)?;
        self.disk.space()?;
        self.file.preallocate(length)
    }
}
