//! The index behind [`Statuses`](super::Statuses): fingerprints to what is needed to judge them.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Change, Credential, Lock, LockKey, Status};
use crate::ident::Fingerprint;
use crate::standing::{Cut, CutKey, Revision, is_cut};
use crate::world::Timestamp;

/// The first half of a fingerprint: 128 bits are enough to tell recorded certificates apart, and a certificate that
/// collides with another on purpose would have to be signed by us first.
type Half = [u8; 16];

/// Credentials, cut-offs, individual revocations and locks.
#[derive(Debug, Default)]
pub(super) struct Index {
    credentials: HashMap<Half, Slot>,
    cut_sets: CutSets,
    cuts: HashMap<CutKey, Vec<Cut>>,
    revoked: HashMap<Half, Cut>,
    locks: HashMap<LockKey, Lock>,
}

#[derive(Debug)]
struct Slot {
    issued: Revision,
    /// Unix seconds; certificates end before 2106.
    not_after: u32,
    cut_set: u32,
}

/// Sets of cut keys, each kept once: the certificates of one holder share theirs.
#[derive(Debug, Default)]
struct CutSets {
    sets: Vec<Arc<[CutKey]>>,
    places: HashMap<Arc<[CutKey]>, u32>,
}

impl Index {
    pub(super) fn status(&self, fingerprint: &Fingerprint, now: Timestamp) -> Status {
        let half = half(fingerprint);
        let Some(slot) = self.credentials.get(&half) else {
            return Status::Unknown;
        };
        let cut_keys = self.cut_sets.set(slot.cut_set);
        if let Some(cut) = self.first_cut(&half, slot.issued, cut_keys) {
            return Status::Revoked(cut.clone());
        }
        let not_after = slot.not_after();
        if now.whole_seconds() > not_after {
            return Status::Expired { not_after };
        }
        match cut_keys.iter().filter_map(LockKey::covering).find_map(|key| self.locks.get(&key)) {
            Some(lock) => Status::Locked(lock.clone()),
            None => Status::Good,
        }
    }

    pub(super) fn not_after(&self, fingerprint: &Fingerprint) -> Option<Timestamp> {
        self.credentials.get(&half(fingerprint)).map(Slot::not_after)
    }

    pub(super) fn count(&self) -> usize {
        self.credentials.len()
    }

    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Recorded(credential) => self.record(credential),
            Change::CutOff(key, cut) => {
                let cuts = self.cuts.entry(key).or_default();
                if let Err(place) = cuts.binary_search_by_key(&cut.revision, |known| known.revision) {
                    cuts.insert(place, cut);
                }
            }
            Change::Revoked(fingerprint, cut) => {
                self.revoked.entry(half(&fingerprint)).or_insert(cut);
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
        let cut_set = self.cut_sets.place(credential.cut_keys);
        let not_after = u32::try_from(credential.not_after.unix_seconds()).unwrap_or(u32::MAX);
        let slot = Slot { issued: credential.issued, not_after, cut_set };
        self.credentials.entry(half(&credential.fingerprint)).or_insert(slot);
    }

    /// The earliest fact that kills the credential: it gives date and reason.
    fn first_cut(&self, half: &Half, issued: Revision, cut_keys: &[CutKey]) -> Option<&Cut> {
        let by_key = cut_keys.iter().filter_map(|key| {
            let cuts = self.cuts.get(key)?;
            cuts.iter().find(|cut| is_cut(key, issued, cut.revision))
        });
        by_key.chain(self.revoked.get(half)).min_by_key(|cut| cut.revision)
    }
}

impl Slot {
    fn not_after(&self) -> Timestamp {
        Timestamp::from_unix_seconds(i64::from(self.not_after))
    }
}

impl CutSets {
    fn place(&mut self, mut cut_keys: Vec<CutKey>) -> u32 {
        cut_keys.sort_unstable();
        if let Some(place) = self.places.get(cut_keys.as_slice()) {
            return *place;
        }
        let set: Arc<[CutKey]> = cut_keys.into();
        let place = u32::try_from(self.sets.len()).unwrap_or(u32::MAX);
        self.sets.push(Arc::clone(&set));
        self.places.insert(set, place);
        place
    }

    fn set(&self, place: u32) -> &[CutKey] {
        usize::try_from(place).ok().and_then(|place| self.sets.get(place)).map_or(&[], |set| set)
    }
}

fn half(fingerprint: &Fingerprint) -> Half {
    let mut half = [0; 16];
    half.copy_from_slice(fingerprint.octets().split_at(16).0);
    half
}

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

    fn fingerprint(n: u8) -> Fingerprint {
        Fingerprint::from_octets([n; 32])
    }

    fn of(id: &str) -> CutKey {
        CutKey::Identity(id.parse().unwrap())
    }

    fn index_with(n: u8, issued: u64, keys: &[CutKey]) -> Index {
        let mut index = Index::default();
        index.apply(Change::Recorded(Credential {
            fingerprint: fingerprint(n),
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
}
