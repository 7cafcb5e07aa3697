//! What came last that can kill: whoever made something of all statuses makes only what it touched anew.

use std::collections::VecDeque;

use crate::ident::ShortFingerprint;

/// A fact that can kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// A cut-off on the cut key at this place.
    CutOff(u32),
    /// The revocation of one credential.
    Revoked(ShortFingerprint),
}

/// The newest of these facts, and how many there were.
#[derive(Debug, Default)]
pub(super) struct FactLog {
    count: u64,
    newest: VecDeque<Fact>,
}

impl FactLog {
    pub(super) fn note(&mut self, fact: Fact) {
        self.count = self.count.saturating_add(1);
        if self.newest.len() == REMEMBERED {
            self.newest.pop_front();
        }
        self.newest.push_back(fact);
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// The facts after so many; `None` where some of them are forgotten.
    pub(super) fn since(&self, count: u64) -> Option<impl Iterator<Item = &Fact>> {
        let wanted = usize::try_from(self.count.checked_sub(count)?).ok()?;
        Some(self.newest.iter().skip(self.newest.len().checked_sub(wanted)?))
    }

    /// Goes on from another log, for answers that take the place of others: what came before is forgotten.
    pub(super) fn follow(&mut self, other: &Self) {
        self.count = self.count.max(other.count).saturating_add(1);
        self.newest.clear();
    }
}

/// Facts that are remembered: those between two lists, on any day but the worst.
const REMEMBERED: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(n: u16) -> Fact {
        let mut octets = [0; 16];
        octets[..2].copy_from_slice(&n.to_be_bytes());
        Fact::Revoked(ShortFingerprint(octets))
    }

    fn since(log: &FactLog, count: u64) -> Option<Vec<Fact>> {
        log.since(count).map(|facts| facts.cloned().collect())
    }

    #[test]
    fn it_says_what_came_since_and_when_it_has_forgotten() {
        let mut log = FactLog::default();
        assert_eq!(since(&log, 0), Some(Vec::new()));
        assert_eq!(since(&log, 1), None, "nobody has seen more than there was");
        (0..3).for_each(|n| log.note(fact(n)));
        assert_eq!(since(&log, 1), Some(vec![fact(1), fact(2)]));
        (3..=1024).for_each(|n| log.note(fact(n)));
        assert_eq!(since(&log, 0), None, "the first is forgotten");
        assert_eq!(since(&log, 1).unwrap().len(), 1024);
    }

    #[test]
    fn what_takes_the_place_of_others_has_forgotten_all() {
        let (mut older, mut newer) = (FactLog::default(), FactLog::default());
        older.note(fact(1));
        newer.note(fact(2));
        newer.follow(&older);
        assert_eq!([since(&newer, 0), since(&newer, 1)], [None, None]);
        assert_eq!(since(&newer, newer.count()), Some(Vec::new()));
    }
}
