//! Cut keys and sets of them, each kept once and named by its place: the certificates of one holder share their set, and
//! whoever asks after a key of a set compares numbers.

use std::hash::{BuildHasher as _, Hash, RandomState};

use hashbrown::HashTable;

use super::marks::Marks;
use crate::standing::CutKey;

/// Keys and sets in the order in which they came; the place of one never changes.
#[derive(Debug, Default)]
pub(super) struct CutSets {
    keys: Vec<CutKey>,
    key_places: Table,
    /// The sets one behind the other: the places of their keys, in order.
    members: Vec<u32>,
    /// Where each set ends among the members.
    ends: Vec<u32>,
    set_places: Table,
    hasher: RandomState,
}

/// Places by what stands there, of which only the hash is kept beside them: where the table grows, nothing is looked at
/// again, as that would be a walk through all of the memory that it is scattered over.
#[derive(Debug, Default)]
struct Table(HashTable<(u64, u32)>);

impl Table {
    fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.0.find(hash, |(of, place)| *of == hash && is_it(*place)).map(|(_, place)| *place)
    }

    fn insert(&mut self, hash: u64, place: u32) {
        self.0.insert_unique(hash, (hash, place), |(hash, _)| *hash);
    }
}

impl CutSets {
    /// The place of a set, in whatever order its keys come; it is new unless it was there.
    pub(super) fn place(&mut self, cut_keys: Vec<CutKey>) -> u32 {
        let mut members: Vec<u32> = cut_keys.into_iter().map(|key| self.key_place(key)).collect();
        members.sort_unstable();
        let hash = self.hash(members.as_slice());
        if let Some(place) = self.set_places.find(hash, |place| self.set(place) == members) {
            return place;
        }
        let place = next(&self.ends);
        self.members.extend(members);
        self.ends.push(next(&self.members));
        self.set_places.insert(hash, place);
        place
    }

    /// The place of a key; it is new unless it was there.
    pub(super) fn key_place(&mut self, key: CutKey) -> u32 {
        let hash = self.hash(&key);
        if let Some(place) = self.key_places.find(hash, |place| self.key(place) == Some(&key)) {
            return place;
        }
        let place = next(&self.keys);
        self.keys.push(key);
        self.key_places.insert(hash, place);
        place
    }

    /// The key at a place.
    pub(super) fn key(&self, place: u32) -> Option<&CutKey> {
        self.keys.get(usize::try_from(place).ok()?)
    }

    /// The places of the keys of the set at a place; none of a place that is not taken.
    pub(super) fn set(&self, place: u32) -> &[u32] {
        let end = |place: usize| usize::try_from(*self.ends.get(place)?).ok();
        let bounds = usize::try_from(place).ok().and_then(|place| {
            let from = place.checked_sub(1).map_or(Some(0), end)?;
            Some(from..end(place)?)
        });
        bounds.and_then(|bounds| self.members.get(bounds)).unwrap_or_default()
    }

    /// The keys of the set at a place.
    pub(super) fn keys(&self, place: u32) -> impl Iterator<Item = &CutKey> {
        self.set(place).iter().filter_map(|key| self.key(*key))
    }

    /// The keys of the set at a place, sorted.
    pub(super) fn sorted(&self, place: u32) -> Vec<CutKey> {
        let mut keys: Vec<CutKey> = self.keys(place).cloned().collect();
        keys.sort_unstable();
        keys
    }

    /// At most so many sets from a place on, in the order of their places, each sorted.
    pub(super) fn page(&self, from: usize, limit: usize) -> Vec<Vec<CutKey>> {
        let until = from.saturating_add(limit).min(self.ends.len());
        (from..until).filter_map(|place| u32::try_from(place).ok()).map(|place| self.sorted(place)).collect()
    }

    /// Marks those of the next `limit` sets from a place on that hold one of these keys, whose places are sorted; says
    /// where to go on.
    pub(super) fn mark(&self, keys: &[u32], from: usize, limit: usize, bit: u8, marks: &mut Marks) -> Option<usize> {
        let until = from.saturating_add(limit).min(self.ends.len());
        for place in (from..until).filter_map(|place| u32::try_from(place).ok()) {
            if self.set(place).iter().any(|key| keys.binary_search(key).is_ok()) {
                marks.mark(place, bit);
            }
        }
        (until < self.ends.len()).then_some(until)
    }

    fn hash(&self, of: &(impl Hash + ?Sized)) -> u64 {
        self.hasher.hash_one(of)
    }
}

/// The place that the next one gets. Four thousand million do not fit into the memory of any machine.
fn next<T>(of: &[T]) -> u32 {
    u32::try_from(of.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(octets: &[u8]) -> Vec<CutKey> {
        octets.iter().map(|octet| CutKey::Identity(format!("user-{octet}").parse().unwrap())).collect()
    }

    proptest! {
        #[test]
        fn equal_sets_have_one_place_and_others_another(
            all in proptest::collection::vec(proptest::collection::hash_set(0_u8..6, 0..4), 0..200)
        ) {
            let mut sets = CutSets::default();
            let mut known: Vec<Vec<CutKey>> = Vec::new();
            for chosen in all {
                // A hash set's order is chance.
                let given = keys(&chosen.into_iter().collect::<Vec<_>>());
                let mut sorted = given.clone();
                sorted.sort_unstable();
                let place = usize::try_from(sets.place(given)).unwrap();
                match known.iter().position(|it| *it == sorted) {
                    Some(first) => prop_assert_eq!(place, first),
                    None => {
                        prop_assert_eq!(place, known.len());
                        known.push(sorted);
                    }
                }
            }
            prop_assert_eq!(&sets.page(0, usize::MAX), &known);
            for (place, set) in (0..).zip(&known) {
                prop_assert_eq!(&sets.sorted(place), set);
            }
            prop_assert_eq!(sets.set(u32::try_from(known.len()).unwrap()), &[] as &[u32]);
            // Page by page, the sets that hold a key are those that hold it.
            let key = keys(&[3]).remove(0);
            let (place, mut marks, mut from) = (sets.key_place(key.clone()), Marks::default(), Some(0));
            while let Some(first) = from {
                from = sets.mark(&[place], first, 7, 1, &mut marks);
            }
            for (place, set) in (0..).zip(&known) {
                prop_assert_eq!(marks.of(place) == 1, set.contains(&key));
            }
        }
    }
}
