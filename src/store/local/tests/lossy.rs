//! A disk in memory that keeps what was synced, and of the rest whatever chance leaves when the power goes.
//!
//! Of what was written and not synced, each page may be there, in any state it ever had, or not, or in part, by sectors;
//! a file may be as long as it was or as it would have been; a name that was given, changed or removed may be so or not.
//! A sync that fails may drop what it should have written for good: later syncs succeed without it, while whoever reads
//! finds it in memory. Folders are made in the real place too, for the index, which has files of its own.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::super::spare::THREAD;
use super::dice::Dice;
use super::witness;
use crate::disk::{Disk, DiskFile, SystemDisk};

pub(super) const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// Clones are the same disk.
#[derive(Clone, Debug)]
pub(super) struct LossyDisk(Arc<Mutex<State>>);

/// What is on the disk, and what whoever reads believes to be on it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) files: Vec<File>,
    pub(super) names: BTreeMap<PathBuf, usize>,
    pub(super) durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names that were not synced, oldest first.
    pub(super) pending: Vec<Renaming>,
    /// Names of segments that whoever gave them has not synced yet. What the thread that makes spares syncs along does not
    /// count: whether it comes in between is chance.
    pub(super) owed: Vec<PathBuf>,
    root: PathBuf,
    dice: Dice,
    /// After so many more calls the power goes; where yes, only writes and syncs of segments count.
    until_cut: Option<(u64, bool)>,
    /// The so manieth sync from now on fails.
    until_bad_sync: Option<u64>,
    is_off: bool,
    /// Broken rules of order.
    broken: Vec<String>,
    /// How many marks and frames the rules were held against.
    pub(super) witnessed: (u64, u64),
}

/// The content of a file.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) now: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// Each page that was written since the last sync, as it was after each write.
    pub(super) dirty: BTreeMap<usize, Vec<Vec<u8>>>,
}

/// A name that went, one that came, or both at once.
#[derive(Debug)]
pub(super) struct Renaming {
    folder: PathBuf,
    gone: Option<PathBuf>,
    pub(super) come: Option<(PathBuf, usize)>,
}

impl LossyDisk {
    /// An empty disk whose only folder is `root`.
    pub(super) fn new(root: &Path, dice: Dice) -> Self {
        let files = vec![File::default()];
        let names = BTreeMap::from([(root.to_owned(), 0)]);
        Self(Arc::new(Mutex::new(State {
            files,
            durable_names: names.clone(),
            names,
            pending: Vec::new(),
            owed: Vec::new(),
            root: root.to_owned(),
            dice,
            until_cut: None,
            until_bad_sync: None,
            is_off: false,
            broken: Vec::new(),
            witnessed: (0, 0),
        })))
    }

    /// The power goes in the middle of the so manieth call from now on, counted from 1, or of the so manieth write or sync
    /// of a segment.
    pub(super) fn cut_at(&self, call: u64, of_segments: bool) {
        self.state().until_cut = Some((call, of_segments));
    }

    /// The so manieth sync from now on fails, counted from 1.
    pub(super) fn fail_sync_at(&self, sync: Option<u64>) {
        self.state().until_bad_sync = sync;
    }

    /// Whether that sync is still to come.
    pub(super) fn is_sync_to_fail(&self) -> bool {
        self.state().until_bad_sync.is_some()
    }

    pub(super) fn is_off(&self) -> bool {
        self.state().is_off
    }

    /// What the cut left is there; nothing is planned.
    pub(super) fn power_on(&self) {
        let mut state = self.state();
        (state.is_off, state.until_cut, state.until_bad_sync) = (false, None, None);
    }

    /// The rules of order that were broken.
    pub(super) fn broken(&self) -> Vec<String> {
        self.state().broken.clone()
    }

    /// How many marks and frames they were held against.
    pub(super) fn witnessed(&self) -> (u64, u64) {
        self.state().witnessed
    }

    /// How many names there are in a folder.
    pub(super) fn count(&self, folder: &Path) -> usize {
        self.list(folder).map_or(0, |names| names.len())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The state, unless the power is off.
    fn on(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.is_off { Err(io::Error::other("the power is off")) } else { Ok(state) }
    }
}

impl State {
    /// The end of a call that changed something in memory, or the beginning of a sync.
    fn done(&mut self) -> io::Result<()> {
        self.done_to(None)
    }

    /// The same for a call to an open file.
    fn done_to(&mut self, file: Option<usize>) -> io::Result<()> {
        let is_segment = file.is_some_and(|id| self.name(id).is_some_and(is_segment));
        if let Some((calls, of_segments)) = &mut self.until_cut
            && (is_segment || !*of_segments)
        {
            *calls -= 1;
            if *calls == 0 {
                self.cut();
                return Err(io::Error::other("the power went"));
            }
        }
        Ok(())
    }

    /// The name that a file has.
    pub(super) fn name(&self, id: usize) -> Option<&Path> {
        self.names.iter().find(|(_, of)| **of == id).map(|(name, _)| name.as_path())
    }

    fn id(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&mut self, renaming: Renaming) {
        renaming.apply(&mut self.names);
        self.pending.push(renaming);
    }

    /// Leaves of everything unsynced what chance wants.
    fn cut(&mut self) {
        // Mostly of each a part, sometimes all or nothing.
        let mood = self.dice.below(4);
        let kept = |dice: &mut Dice| match mood {
            0 => true,
            1 => false,
            _ => dice.one_in(2),
        };
        for renaming in std::mem::take(&mut self.pending) {
            if kept(&mut self.dice) {
                renaming.apply(&mut self.durable_names);
            }
        }
        for file in &mut self.files {
            if kept(&mut self.dice) {
                file.durable.resize(file.now.len(), 0);
            }
            for (page, versions) in std::mem::take(&mut file.dirty) {
                if kept(&mut self.dice) {
                    let is_torn = self.dice.one_in(4);
                    file.land(page, &versions, is_torn, &mut self.dice);
                }
            }
            file.now.clone_from(&file.durable);
        }
        self.owed.clear();
        let names = std::mem::take(&mut self.durable_names);
        let is_reached = |path: &Path| {
            path.ancestors().skip(1).take_while(|it| it.starts_with(&self.root)).all(|it| names.contains_key(it))
        };
        self.durable_names =
            names.iter().filter(|(path, _)| is_reached(path)).map(|(path, id)| (path.clone(), *id)).collect();
        self.names.clone_from(&self.durable_names);
        self.is_off = true;
    }
}

impl Renaming {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        if let Some(gone) = &self.gone {
            // A file that came by another name meanwhile is not the one that goes.
            let other = self.come.as_ref().is_some_and(|(_, id)| names.get(gone).is_some_and(|found| found != id));
            if !other {
                names.remove(gone);
            }
        }
        if let Some((path, id)) = &self.come {
            names.insert(path.clone(), *id);
        }
    }
}

impl File {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        self.now[offset..end].copy_from_slice(bytes);
        for page in offset / PAGE..end.div_ceil(PAGE) {
            let version = self.now[page * PAGE..].chunks(PAGE).next().unwrap().to_vec();
            self.dirty.entry(page).or_default().push(version);
        }
    }

    fn sync(&mut self) {
        self.durable.resize(self.now.len(), 0);
        for page in std::mem::take(&mut self.dirty).into_keys() {
            let end = self.now.len().min((page + 1) * PAGE);
            self.durable[page * PAGE..end].copy_from_slice(&self.now[page * PAGE..end]);
        }
    }

    /// What a sync that fails does: some pages land, and of the others nobody knows any more that they should.
    fn lose(&mut self, dice: &mut Dice) {
        self.durable.resize(self.now.len(), 0);
        for (page, versions) in std::mem::take(&mut self.dirty) {
            if dice.one_in(2) {
                self.land(page, &versions[versions.len() - 1..], false, dice);
            }
        }
    }

    /// Puts one of the versions of a page on the disk, or sectors of several.
    fn land(&mut self, page: usize, versions: &[Vec<u8>], is_torn: bool, dice: &mut Dice) {
        let whole = dice.pick(versions);
        let Some(place) = self.durable.get_mut(page * PAGE..) else { return };
        for (at, sector) in place.chunks_mut(SECTOR).take(PAGE / SECTOR).enumerate() {
            if is_torn && dice.one_in(2) {
                continue;
            }
            let version = if is_torn { dice.pick(versions) } else { whole };
            let bytes = version.get(at * SECTOR..).unwrap_or_default();
            let length = bytes.len().min(sector.len());
            sector[..length].copy_from_slice(&bytes[..length]);
        }
    }
}

/// Whether a file of this name is a segment of the journal.
pub(super) fn is_segment(name: &Path) -> bool {
    name.extension().is_some_and(|end| end == "segment")
        && name.parent().is_some_and(|folder| folder.ends_with("journal"))
}

impl Disk for LossyDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.on()?;
        SystemDisk.create_dir(path)?;
        if state.names.contains_key(path) {
            return Ok(());
        }
        let id = state.files.len();
        state.files.push(File::default());
        let folder = path.parent().unwrap().to_owned();
        state.rename(Renaming { folder, gone: None, come: Some((path.to_owned(), id)) });
        state.done()
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.on()?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = state.files.len();
        state.files.push(File::default());
        let folder = path.parent().unwrap().to_owned();
        state.id(&folder)?;
        state.rename(Renaming { folder, gone: None, come: Some((path.to_owned(), id)) });
        state.done()?;
        Ok(Box::new(LossyFile { disk: self.clone(), id }))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let id = self.on()?.id(path)?;
        Ok(Box::new(LossyFile { disk: self.clone(), id }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.on()?;
        let id = state.id(from)?;
        let broken = witness::of_rename(&state, to);
        state.broken.extend(broken);
        let folder = from.parent().unwrap().to_owned();
        assert_eq!(to.parent(), Some(&*folder), "a rename into another folder");
        if is_segment(to) {
            state.owed.push(to.to_owned());
        }
        state.rename(Renaming { folder, gone: Some(from.to_owned()), come: Some((to.to_owned(), id)) });
        state.done()
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.on()?;
        state.done()?;
        let (synced, pending): (Vec<_>, _) =
            std::mem::take(&mut state.pending).into_iter().partition(|it| it.folder == path);
        state.pending = pending;
        if std::thread::current().name() != Some(THREAD) {
            state.owed.retain(|name| name.parent() != Some(path));
        }
        for renaming in synced {
            renaming.apply(&mut state.durable_names);
        }
        Ok(())
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.on()?;
        state.id(path)?;
        let within = state.names.keys().filter(|name| name.parent() == Some(path));
        Ok(within.map(|name| name.file_name().unwrap().to_string_lossy().into_owned()).collect())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.on()?;
        state.id(path)?;
        let folder = path.parent().unwrap().to_owned();
        state.rename(Renaming { folder, gone: Some(path.to_owned()), come: None });
        state.done()
    }
    fn network_file_system(&self, _: &Path) -> io::Result<Option<&'static str>> {
        Ok(None)
    }
    /// Nobody else is there.
    fn lock(&self, _: &Path) -> io::Result<Box<dyn DiskFile>> {
        drop(self.on()?);
        Ok(Box::new(LossyFile { disk: self.clone(), id: 0 }))
    }
}

#[derive(Debug)]
struct LossyFile {
    disk: LossyDisk,
    id: usize,
}

impl DiskFile for LossyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.on()?;
        let offset = usize::try_from(offset).unwrap();
        let broken = witness::of_write(&mut state, self.id, bytes, offset);
        state.broken.extend(broken);
        state.files[self.id].write(bytes, offset);
        state.done_to(Some(self.id))
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.disk.on()?;
        let offset = usize::try_from(offset).unwrap();
        let bytes = state.files[self.id].now.get(offset..offset + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.on()?.files[self.id].now.len() as u64)
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.on()?;
        state.done_to(Some(self.id))?;
        let state = &mut *state;
        state.until_bad_sync = state.until_bad_sync.map(|syncs| syncs - 1);
        if state.until_bad_sync == Some(0) {
            state.until_bad_sync = None;
            state.files[self.id].lose(&mut state.dice);
            return Err(io::Error::other("injected"));
        }
        state.files[self.id].sync();
        Ok(())
    }
    fn preallocate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.on()?;
        state.files[self.id].write(&vec![0; usize::try_from(length).unwrap()], 0);
        state.done()
    }
}
