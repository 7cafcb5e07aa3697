//! The index: every key that is not resident, in sled; it may lag, be lost and be made again from the journal.
//!
//! Each batch carries, beside the records, the place in the journal it brings the index to and an order-free hash over
//! all records: the sum of each record's own hash. Opening adds them up again, so an index that lost something is
//! noticed and made anew.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::frame::Position;
use super::octets::{Octets, digest, length};
use super::room::Room;
use crate::standing::Revision;
use crate::store::{KeyRange, RESIDENT_END, StoreError, Versioned};

/// sled's cache: enough for the upper levels of a few million records.
const CACHE: u64 = 64 * 1024 * 1024;

/// How long another handle's lock on the index is waited for: sled lets go of it a moment after it was dropped.
const PATIENCE: Duration = Duration::from_secs(1);

/// Records looked at between two words on how far it is.
const TOLD_EVERY: u64 = 4096;

/// Where the index keeps what it says about itself; resident keys are never in it, so none is in the way.
const SUMMARY: &[u8] = &[0];

/// The index, open.
#[derive(Debug)]
pub(super) struct Index {
    tree: sled::Db,
    room: Room,
    summary: Mutex<Summary>,
}

/// What an index says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexSum {
    /// The place in the journal that it reflects.
    pub revision: Revision,
    /// The order-free hash over all of its records.
    pub hash: u128,
    /// How many records it has.
    pub records: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Summary {
    position: Position,
    hash: u128,
    count: u64,
}

impl Index {
    /// Opens the index if it is whole; one that is damaged, or is not there, gives way to an empty one. `tell` hears how
    /// many records of how many were looked at, and says whether to go on. What the system refuses at present, for want of
    /// descriptors or memory, says nothing against an index: nothing is thrown away for that.
    pub(super) fn open(folder: &Path, mut tell: impl FnMut(u64, u64) -> bool) -> Result<Self, StoreError> {
        if !folder.is_dir() {
            return Self::anew(folder);
        }
        let opened = catch_unwind(AssertUnwindSafe(|| Self::open_whole(folder, &mut tell)));
        match opened.unwrap_or(Err(Fault::Damage)) {
            Ok(index) => Ok(index),
            Err(Fault::Damage) => Self::anew(folder),
            Err(Fault::Refused(error)) => Err(error),
        }
    }

    /// An empty index, whatever was there.
    pub(super) fn anew(folder: &Path) -> Result<Self, StoreError> {
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError(format!("the index {} cannot be removed: {error}", folder.display())));
            }
            _ => {}
        }
        guarded(|| {
            let made = DirBuilder::new().mode(0o700).create(folder);
            made.map_err(|error| StoreError(format!("the index {} cannot be made: {error}", folder.display())))?;
            let summary = Summary { position: Position::START, hash: 0, count: 0 };
            let tree = open_patiently(folder).map_err(trouble)?;
            Ok(Self { tree, room: Room::of(folder).map_err(no_room)?, summary: Mutex::new(summary) })
        })
    }

    /// The index as it lies there, if it is whole.
    pub(super) fn whole(folder: &Path) -> Option<Self> {
        let open = AssertUnwindSafe(|| Self::open_whole(folder, &mut |_, _| true).ok());
        folder.is_dir().then(|| catch_unwind(open).ok().flatten()).flatten()
    }

    fn open_whole(folder: &Path, tell: &mut impl FnMut(u64, u64) -> bool) -> Result<Self, Fault> {
        let tree = open_patiently(folder)?;
        let room = Room::of(folder).map_err(|error| Fault::Refused(no_room(error)))?;
        let summary = match tree.get(SUMMARY)? {
            Some(bytes) => Summary::decode(&bytes).ok_or(Fault::Damage)?,
            None => Summary { position: Position::START, hash: 0, count: 0 },
        };
        let (mut hash, mut count) = (0_u128, 0_u64);
        for record in tree.range([RESIDENT_END]..) {
            let (key, bytes) = record?;
            hash = hash.wrapping_add(record_hash(&key, &bytes));
            count = count.saturating_add(1);
            if count % TOLD_EVERY == 0 && !tell(count, summary.count) {
                return Err(Fault::Refused(StoreError("the store is stopping".to_owned())));
            }
        }
        if (hash, count) != (summary.hash, summary.count) {
            return Err(Fault::Damage);
        }
        Ok(Self { tree, room, summary: Mutex::new(summary) })
    }

    /// What it says of itself.
    pub(super) fn sum(&self) -> IndexSum {
        let Summary { position, hash, count } = *self.summary();
        IndexSum { revision: position.revision, hash, records: count }
    }

    /// The room that it has to grow into.
    pub(super) const fn room(&self) -> &Room {
        &self.room
    }

    /// The place in the journal that it reflects.
    pub(super) fn position(&self) -> Position {
        self.summary().position
    }

    fn summary(&self) -> MutexGuard<'_, Summary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        let found = guarded(|| self.tree.get(key).map_err(trouble))?;
        found.map(|bytes| decode(&bytes)).transpose()
    }

    /// The first `limit` keys of the range as they are with `above` on top: keys in order, `None` where one is gone.
    pub(super) fn scan_under<'a>(
        &self,
        above: impl Iterator<Item = (&'a [u8], Option<&'a Versioned>)>,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, StoreError> {
        let start = range.start.clone().max(vec![RESIDENT_END]);
        guarded(|| {
            let (mut found, mut above) = (Vec::new(), above.peekable());
            let mut below = self.tree.range(start..);
            let mut next_below = next_within(&mut below, range)?;
            while found.len() < limit {
                let upper = above.next_if(|(key, _)| next_below.as_ref().is_none_or(|(below, _)| *key <= &**below));
                let covered =
                    upper.is_none_or(|(key, _)| next_below.as_ref().is_some_and(|(below, _)| key == &**below));
                let lower = if covered { next_below.take() } else { None };
                match (upper, lower) {
                    (None, None) => break,
                    (Some((key, now)), _) => found.extend(now.map(|now| (key.to_vec(), now.clone()))),
                    (None, Some((key, bytes))) => found.push((key.to_vec(), decode(&bytes)?)),
                }
                if covered {
                    next_below = next_within(&mut below, range)?;
                }
            }
            Ok(found)
        })
    }

    /// Makes the changes of a group and moves on to its place, all at once.
    pub(super) fn apply<'a>(
        &self,
        changes: impl Iterator<Item = (&'a Vec<u8>, &'a Option<Versioned>)>,
        position: Position,
    ) -> Result<(), StoreError> {
        let mut held = self.summary();
        let mut summary = Summary { position, ..*held };
        let mut batch = sled::Batch::default();
        for (key, now) in changes {
            if let Some(before) = guarded(|| self.tree.get(key).map_err(trouble))? {
                summary.hash = summary.hash.wrapping_sub(record_hash(key, &before));
                summary.count = summary.count.saturating_sub(1);
            }
            match now {
                Some(now) => {
                    let bytes = encode(now);
                    summary.hash = summary.hash.wrapping_add(record_hash(key, &bytes));
                    summary.count = summary.count.saturating_add(1);
                    batch.insert(key.as_slice(), bytes);
                }
                None => batch.remove(key.as_slice()),
            }
        }
        batch.insert(SUMMARY, summary.encode());
        guarded(|| self.tree.apply_batch(batch).map_err(trouble))?;
        *held = summary;
        Ok(())
    }

    /// Writes out what sled still holds back, so that the next start has less to catch up.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        guarded(|| self.tree.flush().map_err(trouble)).map(|_| ())
    }
}

impl Summary {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(68);
        out.extend_from_slice(&self.position.revision.octets());
        out.extend_from_slice(&self.position.link);
        out.extend_from_slice(&self.hash.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut octets = Octets(bytes);
        let position = Position { revision: octets.revision()?, link: octets.array()? };
        let hash = octets.array().map(u128::from_be_bytes)?;
        let count = octets.u64()?;
        octets.0.is_empty().then_some(Self { position, hash, count })
    }
}

fn next_within(records: &mut sled::Iter, range: &KeyRange) -> Result<Option<(sled::IVec, sled::IVec)>, StoreError> {
    let next = records.next().transpose().map_err(trouble)?;
    Ok(next.filter(|(key, _)| range.contains(key)))
}

fn open_patiently(folder: &Path) -> Result<sled::Db, sled::Error> {
    let began = Instant::now();
    loop {
        let opened = sled::Config::new().path(folder).cache_capacity(CACHE).open();
        match opened {
            Err(error) if is_lock(&error) && began.elapsed() < PATIENCE => {
                std::thread::park_timeout(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

/// What the system may refuse for a while, whatever the index holds. Not for want of space: an index that sled cannot open
/// on a full disk leaves the space in which it is made again.
const PASSING: [Errno; 5] = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::ACCESS, Errno::ROFS];

/// Another handle, of an index that was open a moment ago, has not let go yet.
fn is_lock(error: &sled::Error) -> bool {
    error.to_string().contains("acquire lock")
}

/// Why an index could not be opened.
enum Fault {
    /// It is not whole.
    Damage,
    /// The system refused something, which says nothing about the index.
    Refused(StoreError),
}

impl From<sled::Error> for Fault {
    fn from(error: sled::Error) -> Self {
        let number = match &error {
            sled::Error::Io(io) => io.raw_os_error(),
            _ => None,
        };
        let refused = number.is_some_and(|number| PASSING.iter().any(|errno| errno.raw_os_error() == number));
        if refused || is_lock(&error) { Self::Refused(trouble(error)) } else { Self::Damage }
    }
}

/// sled panics on some kinds of damage; the index can be made again, so that is an error like others.
fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(StoreError("the index panicked".to_owned())))
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn trouble(error: sled::Error) -> StoreError {
    StoreError(format!("the index failed: {error}"))
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn no_room(error: std::io::Error) -> StoreError {
    StoreError(format!("the index's file has no room to grow: {error}"))
}

fn record_hash(key: &[u8], bytes: &[u8]) -> u128 {
    let digest = digest(&[&length(key), key, bytes]);
    digest.first_chunk().map_or(0, |half| u128::from_be_bytes(*half))
}

fn encode(held: &Versioned) -> Vec<u8> {
    let mut out = Vec::with_capacity(held.value.len().saturating_add(24));
    out.extend_from_slice(&held.created.octets());
    out.extend_from_slice(&held.modified.octets());
    out.extend_from_slice(&held.value);
    out
}

fn decode(bytes: &[u8]) -> Result<Versioned, StoreError> {
    let mut octets = Octets(bytes);
    let mut revisions = || Some((octets.revision()?, octets.revision()?));
    let read: Option<(Revision, Revision)> = revisions();
    let (created, modified) = read.ok_or_else(|| StoreError("the index holds a damaged record".to_owned()))?;
    Ok(Versioned { value: octets.0.to_vec(), created, modified })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn held(number: u64) -> Versioned {
        let revision = Revision { era: 7, number };
        Versioned { value: number.to_be_bytes().to_vec(), created: revision, modified: revision }
    }

    fn position(number: u64) -> Position {
        Position { revision: Revision { era: 7, number }, link: [3; 32] }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
        #[test]
        fn what_lies_in_memory_covers_what_lies_in_the_index(
            below in prop::collection::btree_set(0x40..0x60_u8, 0..20),
            above in prop::collection::btree_map(0x40..0x60_u8, any::<bool>(), 0..20),
            ranges in prop::collection::vec((0x30..0x62_u8, 0x30..0x62_u8, 0..12_usize), 1..20),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let index = Index::anew(&folder.path().join("index")).unwrap();
            let changes = below.iter().map(|key| (vec![*key], Some(held(1))));
            let changes: BTreeMap<_, _> = changes.collect();
            index.apply(changes.iter(), position(1)).unwrap();
            let above = above.iter().map(|(key, there)| (vec![*key], there.then(|| held(2))));
            let above: BTreeMap<_, _> = above.collect();
            let mut model: BTreeMap<_, _> = below.iter().map(|key| (vec![*key], held(1))).collect();
            for (key, now) in &above {
                match now {
                    Some(now) => drop(model.insert(key.clone(), now.clone())),
                    None => drop(model.remove(key)),
                }
            }
            for (start, end, limit) in ranges {
                let range = KeyRange { start: vec![start], end: vec![end] };
                let covering = above.iter().filter(|(key, _)| range.contains(key));
                let covering = covering.map(|(key, now)| (key.as_slice(), now.as_ref()));
                let found = index.scan_under(covering, &range, limit).unwrap();
                let meant = model.iter().filter(|(key, _)| range.contains(key)).take(limit);
                prop_assert_eq!(found, meant.map(|(key, now)| (key.clone(), now.clone())).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn an_index_that_does_not_hold_what_it_says_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let index = Index::anew(&path).unwrap();
        let changes = BTreeMap::from([(vec![0x80], Some(held(1)))]);
        index.apply(changes.iter(), position(1)).unwrap();
        drop(index);
        let index = Index::open(&path, |_, _| true).unwrap();
        assert_eq!(index.position(), position(1));
        index.tree.remove([0x80]).unwrap();
        drop(index);
        assert_eq!(Index::open(&path, |_, _| true).unwrap().position(), Position::START);
    }

    #[test]
    fn an_index_that_may_not_be_opened_now_is_not_thrown_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let index = Index::anew(&path).unwrap();
        let changes = BTreeMap::from([(vec![0x80], Some(held(1)))]);
        index.apply(changes.iter(), position(1)).unwrap();
        index.flush().unwrap();
        // It is open still.
        let refused = Index::open(&path, |_, _| true).unwrap_err();
        assert!(refused.0.contains("lock"), "{refused}");
        drop(index);
        for errno in PASSING {
            let error = sled::Error::Io(std::io::Error::from_raw_os_error(errno.raw_os_error()));
            assert!(matches!(Fault::from(error), Fault::Refused(_)), "{errno}");
        }
        let damage = [sled::Error::Corruption { at: None, bt: () }, sled::Error::Unsupported("x".to_owned())];
        assert!(damage.into_iter().all(|error| matches!(Fault::from(error), Fault::Damage)));
        assert_eq!(Index::open(&path, |_, _| true).unwrap().position(), position(1));
    }
}
