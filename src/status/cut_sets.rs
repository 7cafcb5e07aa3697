//! Cut keys and sets of them, each kept once and named by its place: the certificates of one holder share their set, and
//! whoever asks after a key of a set compares numbers.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

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
    /// The place of what has this hash; where there is none yet, it gets this one.
    fn find_or_insert(&mut self, hash: u64, place: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        match self.0.entry(hash, |(of, place)| *of == hash && is_it(*place), |(hash, _)| *hash) {
            Entry::Occupied(found) => Some(found.get().1),
            Entry::Vacant(vacant) => {
                vacant.insert((hash, place));
                None
            }
        }
    }
}

impl CutSets {
    /// The place of a set, in whatever order its keys come; it is new unless it was there.
    pub(super) fn place(&mut self, cut_keys: Vec<CutKey>) -> u32 {
        let members = cut_keys.into_iter().map(|key| self.key_place(key)).collect();
        self.set_place(members)
    }

    /// The place of the set of the keys at these places; `None` where there is no such key.
    pub(super) fn checked_set_place(&mut self, members: Vec<u32>) -> Option<u32> {
        members.iter().all(|key| self.key(*key).is_some()).then(|| self.set_place(members))
    }

    fn set_place(&mut self, mut members: Vec<u32>) -> u32 {
        members.sort_unstable();
        let (hash, place) = (self.hasher.hash_one(members.as_slice()), next(&self.ends));
        let Self { members: all, ends, set_places, .. } = self;
        let known = set_places.find_or_insert(hash, place, |place| set(all, ends, place) == members);
        known.unwrap_or_else(|| {
            all.extend(members);
            ends.push(next(all));
            place
        })
    }

    /// The place of a key; it is new unless it was there.
    pub(super) fn key_place(&mut self, key: CutKey) -> u32 {
        let (hash, place) = (self.hasher.hash_one(&key), next(&self.keys));
        let Self { keys, key_places, .. } = self;
        let is_it = |place| usize::try_from(place).is_ok_and(|place: usize| keys.get(place) == Some(&key));
        let known = key_places.find_or_insert(hash, place, is_it);
        known.unwrap_or_else(|| {
            keys.push(key);
            place
        })
    }

    /// The key at a place.
    pub(super) fn key(&self, place: u32) -> Option<&CutKey> {
        self.keys.get(usize::try_from(place).ok()?)
    }

    /// The places of the keys of the set at a place; none of a place that is not taken.
    pub(super) fn set(&self, place: u32) -> &[u32] {
        set(&self.members, &self.ends, place)
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

    /// At most so many keys from a place on, in the order of their places.
    pub(super) fn key_page(&self, from: usize, limit: usize) -> Vec<CutKey> {
        self.keys.iter().skip(from).take(limit).cloned().collect()
    }

    /// At most so many sets from a place on, in the order of their places: the places of their keys.
    pub(super) fn page(&self, from: usize, limit: usize) -> Vec<Vec<u32>> {
        let until = from.saturating_add(limit).min(self.ends.len());
        (from..until).filter_map(|place| u32::try_from(place).ok()).map(|place| self.set(place).to_vec()).collect()
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
}

fn set<'m>(members: &'m [u32], ends: &[u32], place: u32) -> &'m [u32] {
    let end = |place: usize| usize::try_from(*ends.get(place)?).ok();
    let bounds = usize::try_from(place).ok().and_then(|place| {
        let from = place.checked_sub(1).map_or(Some(0), end)?;
        Some(from..end(place)?)
    });
    bounds.and_then(|bounds| members.get(bounds)).unwrap_or_default()
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
            // Keys and sets, put into others in their order, get the places that they have here.
            let mut others = CutSets::default();
            for (place, key) in (0..).zip(sets.key_page(0, usize::MAX)) {
                prop_assert_eq!(others.key_place(key), place);
            }
            for (place, set) in (0..).zip(sets.page(0, usize::MAX)) {
                prop_assert_eq!(others.checked_set_place(set), Some(place));
            }
            let beyond = u32::try_from(sets.key_page(0, usize::MAX).len()).unwrap();
            prop_assert_eq!(others.checked_set_place(vec![beyond]), None);
            for (place, set) in (0..).zip(&known) {
                prop_assert_eq!(&sets.sorted(place), set);
                prop_assert_eq!(&others.sorted(place), set);
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
