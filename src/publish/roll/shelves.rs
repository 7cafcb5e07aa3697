//! One issuer's certificates by serial, on shelves of some hundreds: each says when something on it has changed, so that
//! what was made of the others still holds.

use std::collections::BTreeMap;

use super::{Listed, Member};
use crate::ident::Serial;

/// Shelves by the first serial that may stand on each; one without a first serial is before all others. A shelf that is
/// full becomes two, and none ever goes.
#[derive(Debug)]
pub(super) struct Shelves {
    shelves: BTreeMap<Option<Serial>, Contents>,
    changes: u64,
}

/// What stands on a shelf, by serial.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    /// Which of all changes was the last one here.
    pub(super) change: u64,
    pub(super) members: Vec<(Serial, Member)>,
    pub(super) listed: BTreeMap<Serial, Listed>,
}

impl Default for Shelves {
    fn default() -> Self {
        Self { shelves: BTreeMap::from([(None, Contents::default())]), changes: 0 }
    }
}

impl Shelves {
    pub(super) fn insert(&mut self, serial: Serial, member: Member) {
        self.change(serial, |shelf| match shelf.place(serial) {
            Ok(place) => shelf.members.get_mut(place).into_iter().for_each(|known| known.1 = member),
            Err(place) => shelf.members.insert(place, (serial, member)),
        });
    }

    /// Puts many in; of two with the same serial the later one stays.
    pub(super) fn insert_all(&mut self, mut members: Vec<(Serial, Member)>) {
        let is_empty = self.shelves.len() == 1
            && self.shelves.values().all(|shelf| shelf.members.is_empty() && shelf.listed.is_empty());
        if !is_empty {
            members.into_iter().for_each(|(serial, member)| self.insert(serial, member));
            return;
        }
        members.sort_by_key(|(serial, _)| *serial);
        members.dedup_by(|later, known| {
            let is_same = later.0 == known.0;
            if is_same {
                *known = *later;
            }
            is_same
        });
        self.changes += 1;
        for (number, members) in members.chunks(USUAL).enumerate() {
            let first = members.first().filter(|_| number > 0).map(|(serial, _)| *serial);
            let contents = Contents { change: self.changes, members: members.to_vec(), listed: BTreeMap::new() };
            self.shelves.insert(first, contents);
        }
    }

    pub(super) fn remove(&mut self, serial: Serial) {
        self.change(serial, |shelf| {
            if let Ok(place) = shelf.place(serial) {
                shelf.members.remove(place);
            }
        });
    }

    pub(super) fn insert_listed(&mut self, serial: Serial, listed: Listed) {
        self.change(serial, |shelf| {
            shelf.listed.insert(serial, listed);
        });
    }

    pub(super) fn member(&self, serial: Serial) -> Option<&Member> {
        let shelf = self.of(serial)?;
        shelf.members.get(shelf.place(serial).ok()?).map(|(_, member)| member)
    }

    pub(super) fn listed(&self, serial: Serial) -> Option<&Listed> {
        self.of(serial)?.listed.get(&serial)
    }

    /// All members by serial, those after a serial.
    pub(super) fn after(&self, after: Option<Serial>) -> impl Iterator<Item = &(Serial, Member)> {
        let first = self.shelves.range(..=after).next_back().and_then(|(first, _)| *first);
        let members = self.shelves.range(first..).flat_map(|(_, shelf)| &shelf.members);
        members.skip_while(move |(serial, _)| after.is_some_and(|after| *serial <= after))
    }

    /// The shelf that begins with a serial, and where the next one begins.
    pub(super) fn shelf(&self, first: Option<Serial>) -> Option<(&Contents, Option<Serial>)> {
        let mut shelves = self.shelves.range(first..);
        let (_, contents) = shelves.next().filter(|(found, _)| **found == first)?;
        Some((contents, shelves.next().and_then(|(next, _)| *next)))
    }

    fn of(&self, serial: Serial) -> Option<&Contents> {
        self.shelves.range(..=Some(serial)).next_back().map(|(_, shelf)| shelf)
    }

    fn change(&mut self, serial: Serial, change: impl FnOnce(&mut Contents)) {
        let Some((_, shelf)) = self.shelves.range_mut(..=Some(serial)).next_back() else { return };
        self.changes += 1;
        shelf.change = self.changes;
        change(shelf);
        if let Some((first, upper)) = shelf.split() {
            self.shelves.insert(Some(first), upper);
        }
    }
}

impl Contents {
    fn place(&self, serial: Serial) -> Result<usize, usize> {
        self.members.binary_search_by_key(&serial, |(serial, _)| *serial)
    }

    /// Takes the upper half off, with its first serial, where there is too much.
    fn split(&mut self) -> Option<(Serial, Self)> {
        if self.members.len() <= MOST {
            return None;
        }
        let members = self.members.split_off(self.members.len() / 2);
        let (first, _) = *members.first()?;
        Some((first, Self { change: self.change, members, listed: self.listed.split_off(&first) }))
    }
}

/// Certificates on a shelf: putting one in moves half of them, and what is made of a shelf is made anew when one changes.
const MOST: usize = 512;
/// Those on one that is filled at a start, so that not all of them become two at once.
const USUAL: usize = 384;

#[cfg(test)]
mod tests;
