//! A disk on which one chosen call fails: the so manieth of its kind, once, or from then on everything.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::disk::{Disk, DiskFile, SystemDisk};

/// What is done to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Write,
    Sync,
    SyncFolder,
    Rename,
    Preallocate,
    Create,
    CreateFolder,
    Remove,
    Open,
}

impl Call {
    pub(super) const ALL: [Self; 9] = [
        Self::Write,
        Self::Sync,
        Self::SyncFolder,
        Self::Rename,
        Self::Preallocate,
        Self::Create,
        Self::CreateFolder,
        Self::Remove,
        Self::Open,
    ];

    /// Whether it may need space that the disk does not have.
    fn takes_space(self) -> bool {
        matches!(self, Self::Write | Self::Preallocate | Self::Create | Self::CreateFolder)
    }
}

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Once, with an I/O error; nothing of a write lands.
    Once,
    /// Once; half of a write lands.
    Half,
    /// With an I/O error, and after it everything fails.
    Lasting,
    /// For want of space, once.
    FullOnce,
    /// For want of space, and so does from then on whatever needs more of it: what was preallocated can be written.
    Full,
}

/// Which call fails, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) call: Call,
    /// The so manieth of its kind, counted from 1.
    pub(super) nth: u64,
    pub(super) how: How,
}

/// Wraps the system's disk; clones share what happened.
#[derive(Clone, Debug)]
pub(super) struct InjectedDisk {
    rule: Rule,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    seen: u64,
    /// What the first failure was about.
    fired: Option<PathBuf>,
    /// Files that are open, by the name they have now.
    open: Vec<Arc<Mutex<PathBuf>>>,
}

impl InjectedDisk {
    pub(super) fn new(rule: Rule) -> Self {
        Self { rule, state: Arc::default() }
    }

    /// Whether the call that was to fail was made.
    pub(super) fn fired(&self) -> bool {
        self.state().fired.is_some()
    }

    /// Whether the first that failed was a write or a sync of a group of commits.
    pub(super) fn failed_group(&self) -> bool {
        self.failed(|path| path.extension().is_some_and(|end| end == "segment"))
    }

    /// The same, or one of the mark: either way no commit may be acknowledged any more.
    pub(super) fn ended_commits(&self) -> bool {
        self.failed_group() || self.failed(|path| path.ends_with("mark"))
    }

    fn failed(&self, of: impl Fn(&PathBuf) -> bool) -> bool {
        matches!(self.rule.call, Call::Write | Call::Sync) && self.state().fired.as_ref().is_some_and(of)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Counts the call and says whether it works; `grows` if it needs more space than its file has.
    fn made(&self, call: Call, grows: bool, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let counts = call == self.rule.call && (self.rule.how != How::Full || grows);
        state.seen += u64::from(counts);
        let first = counts && state.seen == self.rule.nth;
        if first {
            state.fired = Some(path.to_owned());
        }
        let full = || Err(io::ErrorKind::StorageFull.into());
        match self.rule.how {
            How::Once | How::Half if first => Err(io::Error::other("injected")),
            How::Lasting if state.fired.is_some() => Err(io::Error::other("injected")),
            How::FullOnce if first => full(),
            How::Full if state.fired.is_some() && grows && call.takes_space() => full(),
            _ => Ok(()),
        }
    }

    fn wrap(&self, path: &Path, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let path = Arc::new(Mutex::new(path.to_owned()));
        self.state().open.push(Arc::clone(&path));
        Box::new(InjectedFile { disk: self.clone(), path, file })
    }
}

impl Disk for InjectedDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.made(Call::CreateFolder, !path.exists(), path)?;
        SystemDisk.create_dir(path)
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.made(Call::Create, true, path)?;
        Ok(self.wrap(path, SystemDisk.create_new(path)?))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = SystemDisk.open(path)?;
        self.made(Call::Open, false, path)?;
        Ok(self.wrap(path, file))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.made(Call::Rename, false, to)?;
        SystemDisk.rename(from, to)?;
        for path in &self.state().open {
            let mut path = path.lock().unwrap();
            if *path == from {
                *path = to.to_owned();
            }
        }
        Ok(())
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.made(Call::SyncFolder, false, path)?;
        SystemDisk.sync_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        SystemDisk.list(path)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.made(Call::Remove, false, path)?;
        SystemDisk.remove(path)
    }
    fn network_file_system(&self, path: &Path) -> io::Result<Option<&'static str>> {
        SystemDisk.network_file_system(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        SystemDisk.lock(path)
    }
}

#[derive(Debug)]
struct InjectedFile {
    disk: InjectedDisk,
    path: Arc<Mutex<PathBuf>>,
    file: Box<dyn DiskFile>,
}

impl InjectedFile {
    fn made(&self, call: Call, grows: bool) -> io::Result<()> {
        let path = self.path.lock().unwrap().clone();
        self.disk.made(call, grows, &path)
    }
}

impl DiskFile for InjectedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let made = self.made(Call::Write, offset + bytes.len() as u64 > self.file.length()?);
        if made.is_err() && self.disk.rule.how == How::Half {
            self.file.write_at(&bytes[..bytes.len() / 2], offset)?;
        }
        made.and_then(|()| self.file.write_at(bytes, offset))
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
    fn sync_data(&self) -> io::Result<()> {
        self.made(Call::Sync, false)?;
        self.file.sync_data()
    }
    fn preallocate(&self, length: u64) -> io::Result<()> {
        self.made(Call::Preallocate, true)?;
        self.file.preallocate(length)
    }
}
