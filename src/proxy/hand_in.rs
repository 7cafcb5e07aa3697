//! What this proxy knows of a time that the authority has lost: handed in as soon as it says that it was restored, and
//! before it is asked for anything.

use crate::status::frames::{AuthorityHello, Cursor, Known};
use crate::status::{Change, Statuses};

/// What to hand in, in pages; none where the authority was not restored since it was last followed.
pub(super) fn pages(known: Option<Cursor>, hello: &AuthorityHello, statuses: &Statuses) -> Vec<Known> {
    let (Some(cursor), Some(since)) = (known, hello.restored) else { return Vec::new() };
    if cursor.revision.era >= hello.revision.era {
        return Vec::new();
    }
    let mut facts = statuses.facts();
    facts.retain(|fact| match fact {
        Change::CutOff(_, cut) | Change::Revoked(_, cut) => cut.revision > since,
        Change::Locked(lock) => lock.revision > since,
        Change::Recorded(_) | Change::Unlocked(_) => false,
    });
    let mut pages: Vec<Known> =
        facts.chunks(FACTS).map(|facts| Known { facts: facts.to_vec(), is_last: false }).collect();
    match pages.last_mut() {
        Some(last) => last.is_last = true,
        None => pages.push(Known { facts, is_last: true }),
    }
    pages
}

/// Some 200 octets each.
const FACTS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standing::{Cut, CutKey, Revision};
    use crate::status::frames::VERSION;
    use crate::status::{Lock, LockKey};
    use crate::world::Timestamp;
    use crate::x509::reason::Reason;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    fn at(era: u32, number: u64) -> Revision {
        Revision { era, number }
    }

    fn cut(number: u64) -> Change {
        let cut = Cut { revision: at(1, number), at: NOW, reason: Reason::Unspecified };
        Change::CutOff(CutKey::Identity(format!("user-{number}").parse().unwrap()), cut)
    }

    #[test]
    fn what_lies_beyond_the_backup_is_handed_in_once_the_era_is_another() {
        let statuses = Statuses::empty();
        let key = LockKey { id: "dave".parse().unwrap(), cluster: None };
        let lock = Change::Locked(Lock { key, at: NOW, revision: at(1, 12) });
        statuses.apply([cut(9), cut(10), cut(11), lock.clone()]);
        let cursor = Some(Cursor { timeline: [1; 16], revision: at(1, 20) });
        let hello =
            |era, restored| AuthorityHello { version: VERSION, timeline: [2; 16], revision: at(era, 30), restored };
        let handed_in = pages(cursor, &hello(2, Some(at(1, 10))), &statuses);
        assert_eq!(handed_in, [Known { facts: vec![cut(11), lock], is_last: true }]);
        let nothing = pages(cursor, &hello(2, Some(at(1, 12))), &statuses);
        assert_eq!(nothing, [Known { facts: Vec::new(), is_last: true }], "that there is nothing is said too");
        for (cursor, hello) in
            [(cursor, hello(1, Some(at(1, 10)))), (cursor, hello(2, None)), (None, hello(2, Some(at(1, 10))))]
        {
            assert!(pages(cursor, &hello, &statuses).is_empty());
        }
    }
}
