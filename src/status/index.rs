//! The index behind [`Statuses`](super::Statuses): fingerprints to what is needed to judge them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::cut_sets::CutSets;
use super::places::Places;
use super::touched::{Fact, FactLog, Touched};
use super::{Change, Credential, Lock, LockKey, Status};
use crate::ident::{ClusterName, ShortFingerprint};
use crate::standing::{Cut, CutKey, Revision, is_cut};
use crate::world::Timestamp;

/// Credentials, cut-offs, individual revocations and locks.
#[derive(Debug, Default)]
pub(super) struct Index {
    credentials: Credentials,
    cut_sets: CutSets,
    cuts: HashMap<CutKey, Vec<Cut>>,
    revoked: HashMap<ShortFingerprint, Cut>,
    locks: HashMap<LockKey, Lock>,
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
        let cut_keys = self.cut_sets.set(slot.cut_set);
        if let Some(cut) = self.first_cut(key, slot.issued(), cut_keys) {
            return Status::Revoked(cut.clone());
        }
        let not_after = slot.not_after();
        if now.whole_seconds() > not_after {
            return Status::Expired { not_after };
        }
        match self.lock_on(cut_keys) {
            Some(lock) => Status::Locked(lock.clone()),
            None => Status::Good,
        }
    }

    /// A lock that covers one of the cut keys; with no locks at all, none of the keys is looked at.
    fn lock_on(&self, cut_keys: &[CutKey]) -> Option<&Lock> {
        if self.locks.is_empty() {
            return None;
        }
        cut_keys.iter().filter_map(LockKey::covering).find_map(|key| self.locks.get(&key))
    }

    pub(super) fn count(&self) -> usize {
        self.credentials.count()
    }

    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Recorded(credential) => self.record(credential),
            Change::CutOff(key, cut) => {
                let cuts = self.cuts.entry(key.clone()).or_default();
                if let Err(place) = cuts.binary_search_by_key(&cut.revision, |known| known.revision) {
                    cuts.insert(place, cut);
                    self.killing.note(Fact::CutOff(key));
                }
            }
            Change::Revoked(key, cut) => {
                if let Entry::Vacant(vacant) = self.revoked.entry(key) {
                    vacant.insert(cut);
                    self.killing.note(Fact::Revoked(key));
                }
            }
            Change::Locked(lock) => {
                self.locks.insert(lock.key.clone(), lock);
            }
            Change::Unlocked(key) => {
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

    /// The earliest fact that kills the credential: it gives date and reason.
    fn first_cut(&self, key: &ShortFingerprint, issued: Revision, cut_keys: &[CutKey]) -> Option<&Cut> {
        let by_key = cut_keys.iter().filter_map(|key| {
            let cuts = self.cuts.get(key)?;
            cuts.iter().find(|cut| is_cut(key, issued, cut.revision))
        });
        by_key.chain(self.revoked.get(key)).min_by_key(|cut| cut.revision)
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
            let cut_keys = self.cut_sets.set(slot.cut_set);
            if slot.not_after() >= now.whole_seconds() && cluster.is_none_or(|cluster| is_of(cut_keys, cluster)) {
                let (issued, not_after) = (slot.issued(), slot.not_after());
                page.push(Credential { key: slot.key, issued, not_after, cut_keys: cut_keys.to_vec() });
            }
        }
        (page, Some(until))
    }

    /// When a credential was recorded, and the place of its cut keys among the cut sets.
    pub(super) fn placed(&self, key: &ShortFingerprint) -> Option<(Revision, u32)> {
        self.credentials.find(key).map(|slot| (slot.issued(), slot.cut_set))
    }

    /// Cut sets in the order of their places.
    pub(super) fn cut_sets(&self, from: usize, limit: usize) -> Vec<Arc<[CutKey]>> {
        self.cut_sets.page(from, limit)
    }

    /// The place of a set of cut keys, which is new unless it was there.
    pub(super) fn cut_set(&mut self, cut_keys: Vec<CutKey>) -> u32 {
        self.cut_sets.place(cut_keys)
    }

    /// Takes the cut sets of another in the place of its own.
    pub(super) fn take_cut_sets(&mut self, other: Self) {
        self.cut_sets = other.cut_sets;
    }

    /// How many facts that can kill were taken in.
    pub(super) const fn killing(&self) -> u64 {
        self.killing.count()
    }

    /// The keys that were cut off after so many facts, sorted, and the cut sets of what was revoked by itself; `None`
    /// where that is forgotten.
    pub(super) fn touched_since(&self, facts: u64) -> Option<(Vec<CutKey>, Touched)> {
        let (mut keys, mut touched) = (Vec::new(), Touched::default());
        for fact in self.killing.since(facts)? {
            match fact {
                Fact::CutOff(key) => keys.push(key.clone()),
                Fact::Revoked(key) => {
                    if let Some(slot) = self.credentials.find(key) {
                        touched.add(slot.cut_set);
                    }
                }
            }
        }
        keys.sort_unstable();
        keys.dedup();
        Some((keys, touched))
    }

    /// Adds those of the next `places` cut sets from a place on that hold one of these keys, which are sorted; says
    /// where to go on.
    pub(super) fn touch(&self, keys: &[CutKey], from: usize, places: usize, touched: &mut Touched) -> Option<usize> {
        self.cut_sets.touch(keys, from, places, touched)
    }

    /// Goes on from another index, whose place it takes.
    pub(super) fn follow(&mut self, older: &Self) {
        self.killing.follow(&older.killing);
    }

    /// Every cut-off, revocation and lock.
    pub(super) fn facts(&self) -> Vec<Change> {
        let cuts = self.cuts.iter().flat_map(|(key, cuts)| cuts.iter().map(|cut| (key.clone(), cut.clone())));
        let mut facts: Vec<Change> = cuts.map(|(key, cut)| Change::CutOff(key, cut)).collect();
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
            self.record(Credential {
                key: slot.key,
                issued: slot.issued(),
                not_after: slot.not_after(),
                cut_keys: older.cut_sets.set(slot.cut_set).to_vec(),
            });
        }
    }
}

/// Whether cut keys are those of a credential on a cluster.
pub(super) fn is_of(cut_keys: &[CutKey], cluster: &ClusterName) -> bool {
    cut_keys.iter().any(|key| matches!(key, CutKey::IdentityOnCluster(_, on) if on == cluster))
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

    fn not_after(&self) -> Timestamp {
        Timestamp::from_unix_seconds(i64::from(self.not_after))
    }
}

/// Credentials in a block.
const BLOCK: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::reason::Reason;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    fn revision(number: u64) -> Revision {
        Revision { era: 1, number }
    }

    fn cut(number: u64) -> Cut {
        Cut { revision: revision(number), at: NOW, reason: Reason::Unspecified }
    }

    fn fingerprint(n: u8) -> ShortFingerprint {
        ShortFingerprint([n; 16])
    }

    fn of(id: &str) -> CutKey {
        CutKey::Identity(id.parse().unwrap())
    }

    fn index_with(n: u8, issued: u64, keys: &[CutKey]) -> Index {
        let mut index = Index::default();
        index.apply(Change::Recorded(Credential {
            key: fingerprint(n),
            issued: revision(issued),
            not_after: NOW,
            cut_keys: keys.to_vec(),
        }));
        index
    }

    #[test]
    fn what_is_not_on_the_record_is_unknown() {
        assert_eq!(index_with(1, 1, &[of("a")]).status(&fingerprint(2), NOW), Status::Unknown);
    }

    #[test]
    fn the_earliest_later_cut_off_gives_the_date() {
        let mut index = index_with(1, 5, &[of("a")]);
        for number in [9, 3, 7] {
            index.apply(Change::CutOff(of("a"), cut(number)));
        }
        assert_eq!(index.status(&fingerprint(1), NOW), Status::Revoked(cut(7)));
    }

    #[test]
    fn a_cut_off_before_the_record_does_not_kill() {
        let mut index = index_with(1, 5, &[of("a")]);
        index.apply(Change::CutOff(of("a"), cut(4)));
        assert_eq!(index.status(&fingerprint(1), NOW), Status::Good);
    }

    #[test]
    fn revoked_comes_before_expired_and_expired_before_locked() {
        let late = NOW.after(std::time::Duration::from_secs(1));
        let mut index = index_with(1, 5, &[of("a")]);
        let key = LockKey { id: "a".parse().unwrap(), cluster: None };
        index.apply(Change::Locked(Lock { key: key.clone(), at: NOW, revision: revision(6) }));
        assert!(matches!(index.status(&fingerprint(1), NOW), Status::Locked(_)));
        assert_eq!(index.status(&fingerprint(1), late), Status::Expired { not_after: NOW });
        index.apply(Change::Unlocked(key));
        assert_eq!(index.status(&fingerprint(1), NOW), Status::Good);
        index.apply(Change::Revoked(fingerprint(1), cut(8)));
        assert_eq!(index.status(&fingerprint(1), late), Status::Revoked(cut(8)));
    }

    #[test]
    fn an_agency_lock_covers_what_is_held_under_it() {
        let mut index = index_with(1, 5, &[of("a"), CutKey::Agency("acme".parse().unwrap())]);
        let key = LockKey { id: "acme".parse().unwrap(), cluster: None };
        index.apply(Change::Locked(Lock { key, at: NOW, revision: revision(6) }));
        assert!(matches!(index.status(&fingerprint(1), NOW), Status::Locked(_)));
    }

    #[test]
    fn a_snapshot_forgets_no_dead_and_nothing_that_was_looked_up_ahead_of_it() {
        let mut older = index_with(1, 3, &[of("a")]);
        older.apply(Change::CutOff(of("a"), cut(5)));
        older.apply(Change::Revoked(fingerprint(2), cut(6)));
        let ahead = Credential { key: fingerprint(3), issued: revision(9), not_after: NOW, cut_keys: vec![of("c")] };
        older.apply(Change::Recorded(ahead));
        let key = LockKey { id: "a".parse().unwrap(), cluster: None };
        older.apply(Change::Locked(Lock { key, at: NOW, revision: revision(6) }));
        // A restored authority, in a new era, has forgotten the cut-off, the revocation and the lock.
        let new_era = Revision { era: 2, number: 1 };
        let mut snapshot = index_with(1, 3, &[of("a")]);
        snapshot.record(Credential { key: fingerprint(2), issued: revision(3), not_after: NOW, cut_keys: Vec::new() });
        snapshot.inherit(older, new_era);
        assert_eq!(snapshot.status(&fingerprint(1), NOW), Status::Revoked(cut(5)));
        assert_eq!(snapshot.status(&fingerprint(2), NOW), Status::Revoked(cut(6)));
        assert_eq!(snapshot.status(&fingerprint(3), NOW), Status::Unknown);
        // In the same era, what was looked up ahead of the snapshot stays known, and what was unlocked is unlocked.
        let mut older = index_with(3, 9, &[of("c")]);
        let key = LockKey { id: "c".parse().unwrap(), cluster: None };
        older.apply(Change::Locked(Lock { key, at: NOW, revision: revision(4) }));
        let mut snapshot = Index::default();
        snapshot.inherit(older, revision(8));
        assert_eq!(snapshot.status(&fingerprint(3), NOW), Status::Good);
    }
}
