//! The index behind [`Statuses`](super::Statuses): fingerprints to what is needed to judge them.

use std::collections::HashMap;

use super::cut_sets::CutSets;
use super::fact_log::{Fact, FactLog};
use super::marks::Marks;
use super::places::Places;
use super::revoked::Revoked;
use super::{Change, Credential, Lock, LockKey, Status};
use crate::ident::{ClusterName, ShortFingerprint};
use crate::standing::{Cut, CutKey, Revision, is_cut};
use crate::world::Timestamp;

/// Credentials, cut-offs, individual revocations and locks.
#[derive(Debug, Default)]
pub(super) struct Index {
    credentials: Credentials,
    cut_sets: CutSets,
    /// By the place of the cut key, in the order of their revisions.
    cuts: HashMap<u32, Vec<Cut>>,
    revoked: Revoked,
    locks: HashMap<LockKey, Lock>,
    /// What there is on the cut key at a place: nearly always nothing on any of a credential's.
    on_keys: Marks,
    killing: FactLog,
}

/// Credentials in the order in which they came, in blocks that never move, and their places: below 50 octets each.
#[derive(Debug, Default)]
struct Credentials {
    blocks: Vec<Vec<Slot>>,
    places: Places,
}

/// In halves and quarters of 64 bits, so that a million of them waste nothing on alignment.
#[derive(Clone, Debug)]
struct Slot {
    key: ShortFingerprint,
    era: u32,
    number: [u32; 2],
    /// Unix seconds; certificates end before 2106.
    not_after: u32,
    cut_set: u32,
}

impl Index {
    pub(super) fn status(&self, key: &ShortFingerprint, now: Timestamp) -> Status {
        self.credentials.find(key).map_or(Status::Unknown, |slot| self.status_of(key, slot, now))
    }

    /// The status of a credential, and the place of its cut keys among the cut sets where it is on record.
    pub(super) fn judge(&self, key: &ShortFingerprint, now: Timestamp) -> (Status, Option<u32>) {
        match self.credentials.find(key) {
            Some(slot) => (self.status_of(key, slot, now), Some(slot.cut_set)),
            None => (Status::Unknown, None),
        }
    }

    fn status_of(&self, key: &ShortFingerprint, slot: &Slot, now: Timestamp) -> Status {
        let cut_set = self.cut_sets.set(slot.cut_set);
        let on_keys = cut_set.iter().fold(0, |marks, key| marks | self.on_keys.of(*key));
        let by_key = if on_keys & CUT == 0 { None } else { self.first_cut(slot.issued(), cut_set) };
        // The earliest fact that kills the credential gives date and reason.
        if let Some(cut) = by_key.into_iter().chain(self.revoked.get(key)).min_by_key(|cut| cut.revision) {
            return Status::Revoked(cut.clone());
        }
        let not_after = slot.not_after();
        if now.whole_seconds() > not_after {
            return Status::Expired { not_after };
        }
        let lock = if on_keys & LOCKED == 0 { None } else { self.lock_on(cut_set) };
        lock.map_or(Status::Good, |lock| Status::Locked(lock.clone()))
    }

    /// A lock that covers one of the cut keys at these places; of several, that on the first key.
    fn lock_on(&self, cut_set: &[u32]) -> Option<&Lock> {
        let locks = cut_set.iter().filter_map(|key| {
            let key = self.cut_sets.key(*key)?;
            Some((key, self.locks.get(&LockKey::covering(key)?)?))
        });
        locks.min_by_key(|(key, _)| *key).map(|(_, lock)| lock)
    }

    pub(super) fn count(&self) -> usize {
        self.credentials.count()
    }

    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Recorded(credential) => self.record(credential),
            Change::CutOff(key, cut) => {
                let key = self.cut_sets.key_place(key);
                let cuts = self.cuts.entry(key).or_default();
                if let Err(place) = cuts.binary_search_by_key(&cut.revision, |known| known.revision) {
                    cuts.insert(place, cut);
                    self.on_keys.mark(key, CUT);
                    self.killing.note(Fact::CutOff(key));
                }
            }
            Change::Revoked(key, cut) => {
                if self.revoked.insert(key, cut) {
                    self.killing.note(Fact::Revoked(key));
                }
            }
            Change::Locked(lock) => {
                for key in lock.key.cut_keys() {
                    self.on_keys.mark(self.cut_sets.key_place(key), LOCKED);
                }
                self.locks.insert(lock.key.clone(), lock);
            }
            Change::Unlocked(key) => {
                for key in key.cut_keys() {
                    self.on_keys.unmark(self.cut_sets.key_place(key), LOCKED);
                }
                self.locks.remove(&key);
            }
        }
    }

    fn record(&mut self, credential: Credential) {
        if self.credentials.find(&credential.key).is_none() {
            let cut_set = self.cut_sets.place(credential.cut_keys);
            self.place(credential.key, credential.issued, credential.not_after, cut_set);
        }
    }

    /// Puts in a credential that is not here yet, whose cut keys are at this place.
    pub(super) fn place(&mut self, key: ShortFingerprint, issued: Revision, not_after: Timestamp, cut_set: u32) {
        let Revision { era, number } = issued;
        let low = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        let number = [low(number >> 32), low(number)];
        let not_after = u32::try_from(not_after.unix_seconds()).unwrap_or(u32::MAX);
        self.credentials.add(Slot { key, era, number, not_after, cut_set });
    }

    /// The earliest cut-off on the cut keys at these places that kills what was recorded at `issued`.
    fn first_cut(&self, issued: Revision, cut_set: &[u32]) -> Option<&Cut> {
        let cuts = cut_set.iter().filter_map(|place| {
            let (key, cuts) = (self.cut_sets.key(*place)?, self.cuts.get(place)?);
            cuts.iter().find(|cut| is_cut(key, issued, cut.revision))
        });
        cuts.min_by_key(|cut| cut.revision)
    }

    /// The credentials from a place on, at most so many places further, and the place after them; of one cluster, where
    /// one is named, and those that end after `now` only.
    pub(super) fn page(
        &self,
        from: usize,
        places: usize,
        cluster: Option<&ClusterName>,
        now: Timestamp,
    ) -> (Vec<Credential>, Option<usize>) {
        let mut page = Vec::new();
        let until = from.saturating_add(places);
        for place in from..until {
            let Some(slot) = self.credentials.slot(place) else { return (page, None) };
            let is_its = |cluster| is_of(self.cut_sets.keys(slot.cut_set), cluster);
            if slot.not_after() >= now.whole_seconds() && cluster.is_none_or(is_its) {
                page.push(slot.credential(&self.cut_sets));
            }
        }
        (page, Some(until))
    }

    /// When a credential was recorded, and the place of its cut keys among the cut sets.
    pub(super) fn placed(&self, key: &ShortFingerprint) -> Option<(Revision, u32)> {
        self.credentials.find(key).map(|slot| (slot.issued(), slot.cut_set))
    }

    /// Cut keys in the order of their places.
    pub(super) fn cut_keys(&self, from: usize, limit: usize) -> Vec<CutKey> {
        self.cut_sets.key_page(from, limit)
    }

    /// Cut sets in the order of their places: the places of their keys.
    pub(super) fn cut_sets(&self, from: usize, limit: usize) -> Vec<Vec<u32>> {
        self.cut_sets.page(from, limit)
    }

    /// The place of a cut key, which is new unless it was there.
    pub(super) fn cut_key(&mut self, key: CutKey) -> u32 {
        self.cut_sets.key_place(key)
    }

    /// The place of the set of the keys at these places, which is new unless it was there; `None` where there is no such
    /// key.
    pub(super) fn cut_set(&mut self, keys: Vec<u32>) -> Option<u32> {
        self.cut_sets.checked_set_place(keys)
    }

    /// Takes the credentials of another in the place of its own; they name cut sets that are here.
    pub(super) fn take_credentials(&mut self, other: Self) {
        self.credentials = other.credentials;
    }

    /// How many facts that can kill were taken in.
    pub(super) const fn killing(&self) -> u64 {
        self.killing.count()
    }

    /// The places of the keys that were cut off after so many facts, sorted, and the cut sets of what was revoked by
    /// itself; `None` where that is forgotten.
    pub(super) fn touched_since(&self, facts: u64) -> Option<(Vec<u32>, Marks)> {
        let (mut keys, mut touched) = (Vec::new(), Marks::default());
        for fact in self.killing.since(facts)? {
            match fact {
                Fact::CutOff(key) => keys.push(*key),
                Fact::Revoked(key) => {
                    if let Some(slot) = self.credentials.find(key) {
                        touched.mark(slot.cut_set, TOUCHED);
                    }
                }
            }
        }
        keys.sort_unstable();
        Some((keys, touched))
    }

    /// Marks those of the next `limit` cut sets from a place on that hold one of these keys; says where to go on.
    pub(super) fn mark_sets(&self, keys: &[u32], from: usize, limit: usize, marks: &mut Marks) -> Option<usize> {
        self.cut_sets.mark(keys, from, limit, TOUCHED, marks)
    }

    /// Goes on from another index, whose place it takes.
    pub(super) fn follow(&mut self, older: &Self) {
        self.killing.follow(&older.killing);
    }

    /// Every cut-off, revocation and lock.
    pub(super) fn facts(&self) -> Vec<Change> {
        let keys = self.cuts.iter().filter_map(|(key, cuts)| Some((self.cut_sets.key(*key)?, cuts)));
        let cuts = keys.flat_map(|(key, cuts)| cuts.iter().map(|cut| Change::CutOff(key.clone(), cut.clone())));
        let mut facts: Vec<Change> = cuts.collect();
        facts.extend(self.revoked.iter().map(|(key, cut)| Change::Revoked(*key, cut.clone())));
        facts.extend(self.locks.values().cloned().map(Change::Locked));
        facts
    }

    /// Takes over what an older index knows and this one, which is at `revision`, must not forget: what is dead stays
    /// dead, and what was looked up ahead of the revision stays known. Its locks are history.
    pub(super) fn inherit(&mut self, older: Self, revision: Revision) {
        self.follow(&older);
        for fact in older.facts() {
            match fact {
                Change::CutOff(..) | Change::Revoked(..) => self.apply(fact),
                Change::Recorded(_) | Change::Locked(_) | Change::Unlocked(_) => {}
            }
        }
        for slot in older.credentials.blocks.iter().flatten().filter(|slot| slot.issued() > revision) {
            self.record(slot.credential(&older.cut_sets));
        }
    }
}

/// Whether cut keys are those of a credential on a cluster.
pub(super) fn is_of<'k>(mut cut_keys: impl Iterator<Item = &'k CutKey>, cluster: &ClusterName) -> bool {
    cut_keys.any(|key| matches!(key, CutKey::IdentityOnCluster(_, on) if on == cluster))
}

impl Credentials {
    fn slot(&self, place: usize) -> Option<&Slot> {
        self.blocks.get(place / BLOCK)?.get(place % BLOCK)
    }

    fn find(&self, key: &ShortFingerprint) -> Option<&Slot> {
        let place = self.places.find(key, |place| Some(self.slot(usize::try_from(place).ok()?)?.key))?;
        self.slot(usize::try_from(place).ok()?)
    }

    fn count(&self) -> usize {
        match self.blocks.split_last() {
            Some((last, full)) => full.len() * BLOCK + last.len(),
            None => 0,
        }
    }

    fn add(&mut self, slot: Slot) {
        // Beyond four thousand million it is not found, and so refused.
        let Ok(place) = u32::try_from(self.count()) else { return };
        let key = slot.key;
        match self.blocks.last_mut() {
            Some(block) if block.len() < BLOCK => block.push(slot),
            _ => {
                // The first block grows as it must; a proxy of ten people keeps no room for thousands.
                let room = if self.blocks.is_empty() { 0 } else { BLOCK };
                let mut block = Vec::with_capacity(room);
                block.push(slot);
                self.blocks.push(block);
            }
        }
        let Self { blocks, places } = self;
        let key_at = |place: u32| {
            let place = usize::try_from(place).ok()?;
            Some(blocks.get(place / BLOCK)?.get(place % BLOCK)?.key)
        };
        places.insert(&key, place, key_at);
    }
}

impl Slot {
    fn issued(&self) -> Revision {
        let [high, low] = self.number;
        Revision { era: self.era, number: u64::from(high) << 32 | u64::from(low) }
    }

    fn credential(&self, cut_sets: &CutSets) -> Credential {
        let (issued, not_after) = (self.issued(), self.not_after());
        Credential { key: self.key, issued, not_after, cut_keys: cut_sets.sorted(self.cut_set) }
    }

    fn not_after(&self) -> Timestamp {
        Timestamp::from_unix_seconds(i64::from(self.not_after))
    }
}

/// There is a cut-off on the key.
const CUT: u8 = 1;
/// A lock covers the key.
const LOCKED: u8 = 2;
/// A fact touched the set.
const TOUCHED: u8 = 1;

/// Credentials in a block.
const BLOCK: usize = 65_536;

#[cfg(test)]
mod tests;
