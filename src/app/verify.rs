//! Looking whether a store or a backup is whole, and making the index anew.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::authority::Places;
use super::backup::Backup;
use super::{AppError, Doing, Progress};
use crate::disk::{Disk, SystemDisk};
use crate::standing::Revision;
use crate::store::entry;
use crate::store::local::copy::lock;
use crate::store::local::witness::{self, Seen, SegmentRead};
use crate::store::local::{OpenError, Options, rebuild};
use crate::world::World;

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// What was looked at.
    pub folder: String,
    /// Its last revision.
    pub revision: String,
    /// How far it must reach, by its mark or manifest.
    pub must_reach: String,
    /// Each segment of the journal.
    pub segments: Vec<SegmentRead>,
    /// How many commits there are.
    pub commits: u64,
    /// How many facts they state.
    pub facts: u64,
    /// Where the checkpoint stands and how many keys it holds.
    pub checkpoint: Option<String>,
    /// Whether a process has it open: what it writes just now is not looked at.
    pub is_running: bool,
    /// What has to be said besides.
    pub notes: Vec<String>,
    /// What is damaged, by name; empty when all is well.
    pub damage: Vec<String>,
}

/// Facts counted on the way.
#[derive(Default)]
struct Count {
    facts: u64,
    unreadable: Option<String>,
}

impl Count {
    fn take(&mut self, seen: &Seen) {
        match entry::decode(&seen.entry) {
            Ok(entry) => self.facts = self.facts.saturating_add(entry.events.len() as u64),
            Err(error) => drop(self.unreadable.get_or_insert_with(|| format!("revision {}: {error}", seen.revision))),
        }
    }
}

/// Reads every frame of a store, running or not. Blocking.
pub fn store(places: &Places) -> Result<Found, AppError> {
    let folder = &places.store;
    let doing = || format!("reading {}", folder.display());
    if !folder.is_dir() {
        return Err(AppError::new(doing(), "there is no store"));
    }
    let is_running = match lock(&SystemDisk, folder) {
        Ok(_) => false,
        Err(OpenError::Locked(_)) => true,
        Err(error) => return Err(AppError::new(doing(), error)),
    };
    let mut count = Count::default();
    let read = witness::read(&SystemDisk, folder, Revision::IMPORTED, &mut |seen| count.take(&seen)).doing(doing())?;
    let (mut notes, mut damage) = (Vec::new(), Vec::new());
    match (&read.damage, read.mark) {
        (Some(what), Some(mark)) if read.end >= mark && is_running => {
            notes.push(format!("beyond the mark, something is being written: {what}"));
        }
        (Some(what), Some(mark)) if read.end >= mark => {
            notes.push(format!("a crash left this behind the mark; the next start puts it into quarantine: {what}"));
        }
        (Some(what), _) => damage.push(what.clone()),
        (None, Some(mark)) if read.end < mark => {
            damage.push(format!("the journal ends at {}, and the mark says {mark}", read.end));
        }
        (None, _) => {}
    }
    damage.extend(count.unreadable);
    let checkpoint = match witness::read_checkpoint(&SystemDisk, folder) {
        Ok(found) => found.map(|(at, keys)| format!("{keys} keys at {at}")),
        Err(error) => {
            notes.push(error.to_string());
            None
        }
    };
    if is_running {
        notes.push("it is running: what it writes meanwhile is not in this".to_owned());
    }
    Ok(Found {
        folder: folder.display().to_string(),
        revision: read.end.to_string(),
        must_reach: read.mark.map(|mark| mark.to_string()).unwrap_or_default(),
        commits: read.segments.iter().map(|segment| segment.commits).sum(),
        segments: read.segments,
        facts: count.facts,
        checkpoint,
        is_running,
        notes,
        damage,
    })
}

/// Reads every file of a backup. Blocking.
pub fn backup(folder: &Path) -> Result<Found, AppError> {
    let backup = Backup::open(folder)?;
    let mut count = Count::default();
    let segments = backup.read_journal(&mut |seen| count.take(&seen))?;
    let keys = backup.keys().count();
    Ok(Found {
        folder: folder.display().to_string(),
        revision: backup.manifest.revision.clone(),
        must_reach: backup.manifest.revision.clone(),
        commits: segments.iter().map(|segment| segment.commits).sum(),
        segments,
        facts: count.facts,
        checkpoint: None,
        is_running: false,
        notes: vec![format!("taken {}, with {keys} key files; the passphrase is not in it", backup.manifest.taken)],
        damage: count.unreadable.into_iter().collect(),
    })
}

/// An index before and after it was made anew.
#[derive(Clone, Debug, Serialize)]
pub struct Rebuilt {
    /// The place in the journal that it reflected; none where it was not whole.
    pub before_revision: Option<String>,
    /// The hash over its records, in hex.
    pub before: Option<String>,
    /// The place that it reflects now.
    pub revision: String,
    /// How many records it has.
    pub records: u64,
    /// The hash over them, in hex.
    pub after: String,
    /// Whether both are the same.
    pub is_same: bool,
}

/// Makes the index anew from the journal; the store must not be running. Blocking.
pub fn rebuild_index(
    places: &Places,
    world: &World,
    progress: impl Fn(Progress) + Send + Sync + 'static,
) -> Result<Rebuilt, AppError> {
    let (entropy, disk): (_, Arc<dyn Disk>) = (Arc::clone(&world.entropy), Arc::new(SystemDisk));
    let rebuilt =
        rebuild::rebuild(&places.store, &disk, entropy, Options::default(), move |done| progress(done.into()));
    let (before, after) = rebuilt.doing("making the index anew")?;
    let hash = |hash: u128| format!("{hash:032x}");
    Ok(Rebuilt {
        before_revision: before.map(|state| state.revision.to_string()),
        before: before.map(|state| hash(state.hash)),
        revision: after.revision.to_string(),
        records: after.records,
        after: hash(after.hash),
        is_same: before == Some(after),
    })
}
