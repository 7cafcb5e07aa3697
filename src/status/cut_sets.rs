//! Sets of cut keys, each kept once: the certificates of one holder share theirs.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;

use super::touched::Touched;
use crate::standing::CutKey;

/// The sets in the order in which they came; the place of one never changes.
#[derive(Debug, Default)]
pub(super) struct CutSets {
    sets: Vec<Arc<[CutKey]>>,
    /// Each set's hash beside its place: where the table grows, no set is looked at again, as that would be a walk through
    /// all of the memory that they are scattered over.
    places: HashTable<(u64, u32)>,
    hasher: RandomState,
}

impl CutSets {
    /// The place of a set, in whatever order its keys come; it is new unless it was there.
    pub(super) fn place(&mut self, mut cut_keys: Vec<CutKey>) -> u32 {
        cut_keys.sort_unstable();
        let hash = self.hasher.hash_one(&cut_keys);
        let Self { sets, places, .. } = self;
        let is_it = |(of, place): &(u64, u32)| *of == hash && set(sets, *place) == cut_keys;
        if let Some((_, place)) = places.find(hash, is_it) {
            return *place;
        }
        let place = u32::try_from(sets.len()).unwrap_or(u32::MAX);
        sets.push(cut_keys.into());
        places.insert_unique(hash, (hash, place), |(hash, _)| *hash);
        place
    }

    /// The set at a place; none of a place that is not taken.
    pub(super) fn set(&self, place: u32) -> &[CutKey] {
        set(&self.sets, place)
    }

    /// At most so many sets from a place on, in the order of their places.
    pub(super) fn page(&self, from: usize, limit: usize) -> Vec<Arc<[CutKey]>> {
        self.sets.iter().skip(from).take(limit).cloned().collect()
    }

    /// Adds those of the next `limit` sets from a place on that hold one of these keys, which are sorted; says where to
    /// go on.
    pub(super) fn touch(&self, keys: &[CutKey], from: usize, limit: usize, touched: &mut Touched) -> Option<usize> {
        let until = from.saturating_add(limit).min(self.sets.len());
        for (place, set) in self.sets.iter().enumerate().take(until).skip(from) {
            if set.iter().any(|key| keys.binary_search(key).is_ok()) {
                touched.add(u32::try_from(place).unwrap_or(u32::MAX));
            }
        }
        (until < self.sets.len()).then_some(until)
    }
}

fn set(sets: &[Arc<[CutKey]>], place: u32) -> &[CutKey] {
    usize::try_from(place).ok().and_then(|place| sets.get(place)).map_or(&[], |set| set)
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
            let all: Vec<Vec<CutKey>> = sets.page(0, usize::MAX).iter().map(|set| set.to_vec()).collect();
            prop_assert_eq!(&all, &known);
            for (place, set) in (0..).zip(&known) {
                prop_assert_eq!(sets.set(place), set.as_slice());
            }
            prop_assert_eq!(sets.set(u32::try_from(known.len()).unwrap()), &[] as &[CutKey]);
        }
    }
}
