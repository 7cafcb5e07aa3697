//! Where in a list a credential stands: a hash table of places, made for keys that are random already.
//!
//! The list itself only grows, in blocks that never move, so that it can be read page by page while it does. A place
//! costs 9 to 12 octets here: 32 bits of the key, to tell most strangers apart without looking at the list, and the
//! place.

use crate::ident::ShortFingerprint;

/// Places by key; the keys themselves are in the caller's list.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The key's last 32 bits and the place plus one; 0 is empty. Searched from where the key's first 64 bits point to.
    slots: Vec<u64>,
    count: usize,
}

impl Places {
    /// The place of a key, if it has one; `key_at` says which key stands at a place.
    pub(super) fn find(&self, key: &ShortFingerprint, key_at: impl Fn(u32) -> Option<ShortFingerprint>) -> Option<u32> {
        let wanted = tag(key);
        let mut slots = self.slots.iter().cycle().skip(self.first(key)).take(self.slots.len());
        slots.find_map(|slot| match *slot {
            0 => Some(None),
            slot => {
                let (found, place) = split(slot);
                (found == wanted && key_at(place).as_ref() == Some(key)).then_some(Some(place))
            }
        })?
    }

    /// Notes the place of a key that has none yet.
    pub(super) fn insert(
        &mut self,
        key: &ShortFingerprint,
        place: u32,
        key_at: impl Fn(u32) -> Option<ShortFingerprint>,
    ) {
        if self.count.saturating_mul(20) >= self.slots.len().saturating_mul(17) {
            self.grow(key_at);
        }
        self.put(key, place);
        self.count += 1;
    }

    fn put(&mut self, key: &ShortFingerprint, place: u32) {
        let first = self.first(key);
        let (before, from) = self.slots.split_at_mut(first);
        if let Some(slot) = from.iter_mut().chain(before).find(|slot| **slot == 0) {
            *slot = join(tag(key), place);
        }
    }

    /// A quarter more room, and everything put in anew.
    fn grow(&mut self, key_at: impl Fn(u32) -> Option<ShortFingerprint>) {
        let room = (self.slots.len() / 4 * 5).max(SMALLEST);
        let slots = std::mem::replace(&mut self.slots, vec![0; room]);
        for (_, place) in slots.into_iter().filter(|slot| *slot != 0).map(split) {
            if let Some(key) = key_at(place) {
                self.put(&key, place);
            }
        }
    }

    /// The key's first 64 bits, scaled to the table.
    fn first(&self, key: &ShortFingerprint) -> usize {
        let (head, _) = key.0.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        let scaled = (u128::from(u64::from_be_bytes(*head)) * self.slots.len() as u128) >> 64;
        usize::try_from(scaled).unwrap_or(0)
    }
}

fn tag(key: &ShortFingerprint) -> u32 {
    let (_, tail) = key.0.split_last_chunk::<4>().unwrap_or((&[], &[0; 4]));
    u32::from_be_bytes(*tail)
}

fn join(tag: u32, place: u32) -> u64 {
    u64::from(tag) << 32 | u64::from(place.saturating_add(1))
}

fn split(slot: u64) -> (u32, u32) {
    let low = u32::try_from(slot & u64::from(u32::MAX)).unwrap_or(0);
    (u32::try_from(slot >> 32).unwrap_or(0), low.saturating_sub(1))
}

const SMALLEST: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few first octets, so that many keys point to the same slot, and the last slots run over to the first.
        #[test]
        fn a_key_has_its_place_and_a_stranger_none(
            keys in proptest::collection::hash_set((prop_oneof![Just(0_u8), Just(255), any::<u8>()], 0_u16..400), 0..600)
        ) {
            let key = |&(head, tail): &(u8, u16)| {
                let mut octets = [head; 16];
                octets[14..].copy_from_slice(&tail.to_be_bytes());
                ShortFingerprint(octets)
            };
            let known: Vec<_> = keys.iter().map(key).collect();
            let key_at = |place: u32| known.get(place as usize).copied();
            let mut places = Places::default();
            for (place, key) in known.iter().enumerate() {
                prop_assert_eq!(places.find(key, key_at), None);
                places.insert(key, u32::try_from(place).unwrap(), key_at);
            }
            for (place, key) in known.iter().enumerate() {
                prop_assert_eq!(places.find(key, key_at), Some(u32::try_from(place).unwrap()));
            }
            prop_assert_eq!(places.find(&ShortFingerprint([7; 16]), key_at), None);
        }
    }
}
