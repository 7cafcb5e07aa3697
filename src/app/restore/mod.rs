//! Putting a store back from a backup, without letting anybody in again who was kept out since.
//!
//! The new store is made beside the old one: the backup's journal, a new era behind it, and whatever witnesses know of
//! the time after the backup. Only when all of that is durable, and was agreed to, the old store is moved aside and the
//! new one takes its place; interrupted between the two, the same command goes on from there. Nothing is deleted but an
//! attempt that was not finished.
//!
//! `witnesses` has who knows what; this has the order of things.

mod witnesses;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::authority::Places;
use super::backup::Backup;
use super::rolled_back::{READY, beside, folder_of, is_between, staging};
use super::{AppError, Doing, Progress};
use crate::access::{Actor, Part};
use crate::ca::rows::AuthorityRow;
use crate::ca::vault::write_new_private;
use crate::disk::{Disk as _, DiskFile, SystemDisk};
use crate::engine::Engine;
use crate::journal::Witness;
use crate::ledger::credentials::{Fallen, Standing, find_by_issuer, standing};
use crate::revocation::reimport::{BeginEra, TakenOver, Told, take_over};
use crate::standing::Revision;
use crate::store::local::Options;
use crate::store::local::copy::{New, begin_era, lock};
use crate::store::local::witness::read_mark;
use crate::store::txn::Txn;
use crate::world::World;

use witnesses::{Authorities, List, Lists, OldJournal, lists, old_journal, shown};

/// What is to be restored.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Where the authority keeps what.
    pub places: Places,
    /// The backup.
    pub from: PathBuf,
    /// Lists that were published after it, besides those in the authority's folder.
    pub lists: Vec<PathBuf>,
    /// Whether to go on where nobody tells what happened after the backup.
    pub accept_rollback: bool,
    options: Options,
}

impl Wish {
    /// A wish for the authority whose files are in `places`.
    pub fn new(places: Places, from: PathBuf, lists: Vec<PathBuf>, accept_rollback: bool) -> Self {
        Self { places, from, lists, accept_rollback, options: Options::default() }
    }
}

/// What a restore does, for whoever has to agree to it.
#[derive(Clone, Debug, Serialize)]
pub struct Preview {
    /// The last revision in the backup.
    pub backup: String,
    /// When it was taken.
    pub taken: String,
    /// The newest revision that anything here proves to have been, and what proves it.
    pub newest: String,
    /// Up to where witnesses tell what happened; none without any.
    pub known_to: Option<String>,
    /// Who they are.
    pub witnesses: Vec<String>,
    /// The era that begins.
    pub era: u32,
    /// What they told and the backup did not have.
    pub taken_over: TakenOver,
    /// What is lost.
    pub lost: Vec<String>,
    /// Key files that are put back.
    pub keys: Vec<String>,
    /// Where the store in place is moved to.
    pub replaced: Option<PathBuf>,
}

/// How a restore ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The store is in place; its first revisions in the new era are up to this one.
    Restored(Revision),
    /// An earlier restore was interrupted before its last step, which is done now.
    GoneOn,
    /// Whoever was asked did not agree; nothing has changed.
    Declined,
}

/// Restores; `agree` is shown what will be before anything is. Blocking.
pub fn restore(
    wish: &Wish,
    world: &World,
    progress: &mut dyn FnMut(Progress),
    agree: &mut dyn FnMut(&Preview) -> bool,
) -> Result<Ended, AppError> {
    let place = Place::take(&wish.places)?;
    if place.go_on()? {
        return Ok(Ended::GoneOn);
    }
    let backup = Backup::open(&wish.from)?;
    let mut authorities = Authorities::default();
    backup.read_journal(&mut |seen| authorities.take(&seen))?;
    let authorities = authorities.into_rows();
    let sight = Sight::look(wish, &backup, &authorities)?;
    let known_to = sight.known_to(wish, &backup, &authorities)?;
    let era = sight.era(&backup, world)?;
    place.clear()?;
    let new = New {
        folder: &place.staging,
        era,
        disk: Arc::new(SystemDisk),
        entropy: Arc::clone(&world.entropy),
        options: wish.options.clone(),
    };
    let store = begin_era(&backup.folder, &backup.journal, new, &mut |done| progress(done.into()));
    let store = store.doing("making the new store")?;
    store.wait_to_be_complete(|_| {}).doing("making the new store's index")?;
    let engine = Engine::new(Arc::new(store), world.clone());
    let taken_over = sight.take_over(&engine, era, backup.journal.revision)?;
    let end = engine.store().end();
    let missing = missing_keys(&backup, &wish.places);
    let replaced = place.is_occupied().then(|| place.aside(&sight));
    let preview = sight.preview(&backup, era, taken_over, known_to, &missing, replaced.clone());
    // Dropped, it is closed: everything of it is on disk.
    drop(engine);
    if !agree(&preview) {
        place.clear()?;
        return Ok(Ended::Declined);
    }
    put_back_keys(&backup, &wish.places, &missing)?;
    place.swap(replaced.as_deref())?;
    Ok(Ended::Restored(end))
}

/// Where the store is, locked.
struct Place {
    store: PathBuf,
    staging: PathBuf,
    _locks: Vec<Box<dyn DiskFile>>,
}

impl Place {
    /// Takes the locks: of a store that is there, and of restoring it.
    fn take(places: &Places) -> Result<Self, AppError> {
        let store = places.store.clone();
        let parent = folder_of(&store);
        fs::create_dir_all(parent).doing(format_args!("making {}", parent.display()))?;
        let own = beside(&store, "restore-lock");
        let alone = SystemDisk.lock(&own);
        let mut locks = vec![alone.doing(format_args!("locking {} (another restore may be running)", own.display()))?];
        if store.exists() {
            locks.push(lock(&SystemDisk, &store).doing("locking the store")?);
        }
        Ok(Self { staging: staging(&store), store, _locks: locks })
    }

    fn is_occupied(&self) -> bool {
        self.store.exists()
    }

    /// Does the last step of a restore that was interrupted right before it.
    fn go_on(&self) -> Result<bool, AppError> {
        if !is_between(&self.store) {
            return Ok(false);
        }
        self.swap(None)?;
        Ok(true)
    }

    /// Removes an attempt that was not finished.
    fn clear(&self) -> Result<(), AppError> {
        match fs::remove_dir_all(&self.staging) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(AppError::new(format_args!("removing {}", self.staging.display()), error))
            }
            _ => Ok(()),
        }
    }

    /// A name for the store that is replaced, which nothing has yet.
    fn aside(&self, sight: &Sight) -> PathBuf {
        let name = sight.in_place().map_or_else(|| "replaced".to_owned(), |end| format!("replaced-{end}"));
        let mut path = beside(&self.store, &name);
        let mut count = 1;
        while path.exists() {
            count += 1;
            path = beside(&self.store, &format!("{name}-{count}"));
        }
        path
    }

    /// Moves the old store aside and the new one in its place; each of the two steps is durable before the next.
    fn swap(&self, replaced: Option<&Path>) -> Result<(), AppError> {
        let doing = "putting the new store in its place";
        let parent = folder_of(&self.store);
        let ready = self.staging.join(READY);
        if !ready.exists() {
            let name = replaced.and_then(Path::file_name).unwrap_or_default();
            write_new_private(&ready, name.as_encoded_bytes()).doing(doing)?;
            SystemDisk.sync_dir(&self.staging).doing(doing)?;
            SystemDisk.sync_dir(parent).doing(doing)?;
        }
        if let Some(replaced) = replaced {
            SystemDisk.rename(&self.store, replaced).doing(doing)?;
            SystemDisk.sync_dir(parent).doing(doing)?;
        }
        SystemDisk.rename(&self.staging, &self.store).doing(doing)?;
        SystemDisk.sync_dir(parent).doing(doing)?;
        SystemDisk.remove(&self.store.join(READY)).doing(doing)
    }
}

/// Everything that can be seen of the time after the backup.
struct Sight {
    journal: Option<OldJournal>,
    /// Why the journal of the store in place is no witness, if it is none.
    unreadable: Option<String>,
    mark: Option<Revision>,
    lists: Lists,
}

impl Sight {
    fn look(wish: &Wish, backup: &Backup, authorities: &[AuthorityRow]) -> Result<Self, AppError> {
        let store = &wish.places.store;
        let (mut journal, mut unreadable) = (None, None);
        if store.exists() {
            match old_journal(store, backup.journal.revision) {
                Ok(found) if found.read.origin != backup.journal.origin => {
                    return Err(AppError::new(
                        "restoring",
                        format!(
                            "the store in {} is of another installation than the backup: move it away yourself if it \
                             is to be replaced",
                            store.display()
                        ),
                    ));
                }
                Ok(found) => journal = Some(found),
                Err(error) => unreadable = Some(error.to_string()),
            }
        }
        let mark = read_mark(&SystemDisk, store);
        Ok(Self { journal, unreadable, mark, lists: lists(&wish.places.crl, &wish.lists, authorities)? })
    }

    /// How far the store in place had come, as far as can be told.
    fn in_place(&self) -> Option<Revision> {
        self.journal.as_ref().map(|journal| journal.read.end).max(self.mark)
    }

    /// The newest revision that anything proves to have been, and what.
    fn newest(&self, backup: &Backup) -> (Revision, String) {
        let mut proofs = vec![(backup.journal.revision, "the backup".to_owned())];
        proofs.extend(self.mark.map(|mark| (mark, "the mark of the store in place".to_owned())));
        let journal = self.journal.as_ref().map(|journal| journal.read.end);
        proofs.extend(journal.map(|end| (end, "the journal of the store in place".to_owned())));
        let numbers = self.lists.numbers.iter();
        proofs.extend(numbers.map(|(path, number)| (*number, format!("the CRL {}", path.display()))));
        proofs.into_iter().max_by_key(|(revision, _)| *revision).unwrap_or_default()
    }

    /// Up to where witnesses tell what happened; refuses where that is not far enough, unless that is accepted.
    fn known_to(
        &self,
        wish: &Wish,
        backup: &Backup,
        authorities: &[AuthorityRow],
    ) -> Result<Option<Revision>, AppError> {
        // Without its mark, nobody can say whether a journal ends where it did.
        let journal = self.journal.as_ref().map(|journal| journal.read.end).filter(|_| self.mark.is_some());
        let (listed, gap) = match self.lists.reach(authorities) {
            Ok(reach) => (reach, None),
            Err(issuer) => (None, Some(issuer)),
        };
        let known = journal.max(listed).map(|known| known.max(backup.journal.revision));
        let (newest, proof) = self.newest(backup);
        if wish.accept_rollback || known.is_some_and(|known| known >= newest) {
            return Ok(known);
        }
        let mut why = match known {
            None => "nothing here tells what was revoked after the backup".to_owned(),
            Some(known) => format!("{proof} proves revision {newest}, and what happened is told up to {known} only"),
        };
        if let Some(issuer) = gap {
            why.push_str(&format!("; there is no list of {issuer}, or only one that is older than the others"));
        }
        if self.journal.is_some() && self.mark.is_none() {
            why.push_str("; the mark of the store in place cannot be read, so that its journal may end too early");
        }
        if let Some(unreadable) = &self.unreadable {
            why.push_str(&format!("; {unreadable}"));
        }
        Err(AppError::new(
            "restoring",
            format!(
                "{why}. Everything between {} and {newest} would be forgotten: revocations, locks, deletions. Give the \
                 newest published lists with --crl, or go on without with --accept-rollback",
                backup.journal.revision
            ),
        ))
    }

    /// Later than every era that is known, and no earlier than now.
    fn era(&self, backup: &Backup, world: &World) -> Result<u32, AppError> {
        let mut eras = vec![backup.journal.era];
        eras.extend(self.mark.map(|mark| mark.era));
        eras.extend(self.journal.iter().flat_map(|journal| [journal.read.era, journal.read.end.era]));
        eras.extend(self.lists.numbers.iter().map(|(_, number)| number.era));
        let now = u32::try_from(world.clock.now().unix_seconds()).doing("reading the clock")?;
        let known = eras.into_iter().max().unwrap_or_default();
        let next = known.checked_add(1).ok_or_else(|| AppError::new("restoring", "there is no era after the last"))?;
        Ok(next.max(now))
    }

    /// Begins the era and writes what the witnesses tell, before anything can be issued in it.
    fn take_over(&self, engine: &Engine, era: u32, backup: Revision) -> Result<TakenOver, AppError> {
        let actor = Actor::System(Part::Restore);
        engine.run(&actor, &BeginEra { era, backup }).doing("beginning the new era")?;
        let mut taken = TakenOver::default();
        if let Some(journal) = &self.journal {
            let found = take_over(engine, &actor, &Witness::Journal, None, &journal.told);
            taken = taken.and(found.doing("taking over what the old journal tells")?);
        }
        for list in self.lists.newest.values().filter(|list| list.number > backup) {
            let told = told_by(list, engine)?;
            let found = take_over(engine, &actor, &Witness::List, None, &told);
            taken = taken.and(found.doing(format_args!("taking over what {} tells", list.file.display()))?);
        }
        Ok(taken)
    }

    fn preview(
        &self,
        backup: &Backup,
        era: u32,
        taken_over: TakenOver,
        known_to: Option<Revision>,
        keys: &[String],
        replaced: Option<PathBuf>,
    ) -> Preview {
        let from = backup.journal.revision;
        let (newest, proof) = self.newest(backup);
        let mut witnesses = Vec::new();
        if let Some(journal) = &self.journal {
            witnesses.push(format!("the journal of the store in place, up to {}", journal.read.end));
        }
        for list in self.lists.newest.values() {
            let (issuer, number, made) = (&list.issuer, list.number, shown(list.crl.this_update));
            witnesses.push(format!("the list of {issuer} number {number}, made {made}"));
        }
        let mut lost = Vec::new();
        if newest > from {
            lost.push(format!(
                "what was issued or changed after {from}: such certificates are refused as unknown and have to be \
                 issued anew, and who was added has to be added again"
            ));
        }
        let told = self.journal.as_ref().map(|journal| journal.read.end);
        if told.is_none_or(|told| told < newest) {
            let since = told.map_or(from, |told| told.max(from));
            lost.push(format!(
                "locks made after {since}, who was deleted or left a group, and roles that were withdrawn: lists do not \
                 show them. Proxies that followed hand in what they know of locks"
            ));
        }
        if known_to.is_none_or(|known| known < newest) {
            let known = known_to.unwrap_or(from);
            lost.push(format!("what was revoked after {known}, unless a proxy hands it in"));
        }
        Preview {
            backup: from.to_string(),
            taken: backup.manifest.taken.clone(),
            newest: format!("{newest} ({proof})"),
            known_to: known_to.map(|known| known.to_string()),
            witnesses,
            era,
            taken_over,
            lost,
            keys: keys.to_vec(),
            replaced,
        }
    }
}

/// What a list tells that the store does not know: certificates that stand there, and serials that nobody recorded.
fn told_by(list: &List, engine: &Engine) -> Result<Vec<Told>, AppError> {
    let doing = || format!("comparing {} with the record", list.file.display());
    let now = engine.world().clock.now();
    let mut txn = Txn::begin(&**engine.store());
    let mut told = Vec::new();
    for entry in &list.crl.entries {
        match find_by_issuer(&txn, &list.issuer, entry.serial).doing(doing())? {
            None => told.push(Told::Listed(list.without_record(entry))),
            Some(row) => match standing(&mut txn, &row, now) {
                Err(Standing::Fallen(Fallen::Revoked)) => {}
                Err(Standing::Unknown(rejected)) => return Err(AppError::new(doing(), rejected)),
                Ok(()) | Err(Standing::Fallen(Fallen::Expired | Fallen::Locked)) => {
                    told.push(Told::Revoked(row.value.fingerprint.short(), list.cut(entry)));
                }
            },
        }
    }
    Ok(told)
}

/// The key files that the backup has and the authority has not.
fn missing_keys(backup: &Backup, places: &Places) -> Vec<String> {
    let names = backup.keys().filter_map(|file| file.name.strip_prefix("ca/"));
    names.filter(|name| !places.ca.join(name).exists()).map(str::to_owned).collect()
}

fn put_back_keys(backup: &Backup, places: &Places, missing: &[String]) -> Result<(), AppError> {
    if missing.is_empty() {
        return Ok(());
    }
    SystemDisk.create_dir(&places.ca).doing(format_args!("making {}", places.ca.display()))?;
    for name in missing {
        let bytes = fs::read(backup.folder.join("ca").join(name)).doing("reading the backup's keys")?;
        write_new_private(&places.ca.join(name), &bytes).doing("putting a key back")?;
    }
    SystemDisk.sync_dir(&places.ca).doing("putting the keys back")
}

#[cfg(test)]
mod tests;
