use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::ident::Fingerprint;
use crate::standing::{Cut, Revision};
use crate::world::Timestamp;
use crate::x509::reason::Reason;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

fn serial(n: u16) -> Serial {
    // Zero is no serial.
    Serial::from_integer(&[[1].as_slice(), &n.to_be_bytes()].concat()).unwrap()
}

fn member(n: u8) -> Member {
    Member { fingerprint: Fingerprint::from_octets([n; 32]), not_after: NOW }
}

fn listed() -> Listed {
    let cut = Cut { revision: Revision { era: 1, number: 1 }, at: NOW, reason: Reason::KeyCompromise };
    Listed { cut, until: NOW }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u16, u8),
    Remove(u16),
    List(u16),
    /// Many from one serial on, as an importer brings them.
    Run(u16, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let serial = || prop_oneof![0_u16..40, any::<u16>()];
    prop_oneof![
        4 => (serial(), any::<u8>()).prop_map(|(serial, of)| Step::Insert(serial, of)),
        2 => serial().prop_map(Step::Remove),
        1 => serial().prop_map(Step::List),
        1 => (serial(), any::<u8>()).prop_map(|(serial, of)| Step::Run(serial, of)),
    ]
}

/// Every shelf from the first on: where it begins, and what it holds.
fn walk(shelves: &Shelves) -> Vec<(Option<Serial>, Contents)> {
    let (mut found, mut first) = (Vec::new(), None);
    loop {
        let (contents, next) = shelves.shelf(first).unwrap();
        found.push((first, contents.clone()));
        match next {
            Some(next) => first = Some(next),
            None => return found,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Shelves hold what a plain map holds, in its order, each within its bounds; and a shelf whose change is the one
    /// that was seen before holds what it held then.
    #[test]
    fn shelves_are_one_map_and_say_what_has_changed(
        at_first in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..1500),
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let (mut members, mut others) = (BTreeMap::new(), BTreeMap::new());
        let mut shelves = Shelves::default();
        members.extend(at_first.iter().map(|(n, of)| (serial(*n), member(*of))));
        shelves.insert_all(at_first.iter().map(|(n, of)| (serial(*n), member(*of))).collect());
        for step in steps {
            let before = walk(&shelves);
            match step {
                Step::Insert(n, of) => {
                    members.insert(serial(n), member(of));
                    shelves.insert(serial(n), member(of));
                }
                Step::Remove(n) => {
                    members.remove(&serial(n));
                    shelves.remove(serial(n));
                }
                Step::List(n) => {
                    others.insert(serial(n), listed());
                    shelves.insert_listed(serial(n), listed());
                }
                Step::Run(from, of) => {
                    let run: Vec<_> = (0..300).map(|n| (serial(from.saturating_add(n)), member(of))).collect();
                    members.extend(run.clone());
                    shelves.insert_all(run);
                }
            }
            let after = walk(&shelves);
            for (first, contents) in &after {
                let known = before.iter().find(|(known, was)| known == first && was.change == contents.change);
                if let Some((_, was)) = known {
                    prop_assert_eq!(&was.members, &contents.members);
                    prop_assert_eq!(&was.listed, &contents.listed);
                }
            }
            for (number, (first, contents)) in after.iter().enumerate() {
                let next = after.get(number + 1).map(|(next, _)| next.unwrap());
                let is_here = |serial: &Serial| first.is_none_or(|first| *serial >= first) && next.is_none_or(|next| *serial < next);
                prop_assert!(contents.members.iter().all(|(serial, _)| is_here(serial)));
                prop_assert!(contents.listed.keys().all(is_here));
                prop_assert!(contents.members.len() <= MOST);
            }
        }
        let expected: Vec<_> = members.iter().map(|(serial, member)| (*serial, *member)).collect();
        prop_assert_eq!(shelves.after(None).copied().collect::<Vec<_>>(), expected.clone());
        if let Some((middle, _)) = expected.get(expected.len() / 2) {
            let rest: Vec<_> = expected.iter().filter(|(serial, _)| serial > middle).copied().collect();
            prop_assert_eq!(shelves.after(Some(*middle)).copied().collect::<Vec<_>>(), rest);
        }
        for n in (0..40).chain([77, u16::MAX]) {
            prop_assert_eq!(shelves.member(serial(n)), members.get(&serial(n)));
            prop_assert_eq!(shelves.listed(serial(n)), others.get(&serial(n)));
        }
    }
}
