//! What every engine must do, as tests with the same bodies over all of them.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use super::local::LocalStore;
use super::local::tests::{folder, made};
use super::memory::MemoryStore;
use super::{Assertion, Batch, CommitError, KeyRange, MAX_COMMIT, MAX_KEY, MAX_OPERATIONS, Store, Timeline, Write};
use crate::standing::Revision;

/// A resident key and one that is not.
const KEYS: [&[u8]; 2] = [b"\x01cut", b"\x80row"];

pub(super) fn put(key: &[u8], value: &[u8]) -> Write {
    Write::Put { key: key.to_vec(), value: value.to_vec() }
}

pub(super) fn delete(key: &[u8]) -> Write {
    Write::Delete { key: key.to_vec() }
}

pub(super) fn writes(writes: Vec<Write>) -> Batch {
    Batch { writes, entry: b"entry".to_vec(), ..Batch::default() }
}

fn asserting(key: &[u8], modified: Option<Revision>, batch: Batch) -> Batch {
    Batch { assertions: vec![Assertion { key: key.to_vec(), modified }], ..batch }
}

fn everything() -> KeyRange {
    KeyRange { start: Vec::new(), end: Vec::new() }
}

/// One test for each engine.
macro_rules! on_every_engine {
    ($($(#[$attribute:meta])* fn $name:ident($store:ident: &dyn Store) $body:block)*) => {
        $(
            mod $name {
                use super::*;
                fn promise($store: &dyn Store) $body
                #[test]
                fn in_memory() {
                    promise(&MemoryStore::new(7, Timeline([1; 16])));
                }
                #[test]
                fn on_the_local_disk() {
                    let folder = folder();
                    promise(&made(&folder));
                }
            }
        )*
    };
}

on_every_engine! {
    fn a_new_store_is_empty_and_healthy(store: &dyn Store) {
        assert_eq!(store.end(), Revision { era: 7, number: 0 });
        assert_eq!(store.scan(&everything(), 10), Ok(vec![]));
        assert_eq!(store.entries_after(Revision::IMPORTED, 10), Ok(vec![]));
        assert_eq!(store.health(), Ok(()));
        for key in KEYS {
            assert_eq!(store.get(key), Ok(None));
        }
    }

    fn a_value_carries_the_revisions_that_made_it(store: &dyn Store) {
        for key in KEYS {
            let one = store.commit(writes(vec![put(key, b"1")])).unwrap();
            let two = store.commit(writes(vec![put(key, b"2")])).unwrap();
            assert_eq!(two, one.next());
            let held = store.get(key).unwrap().unwrap();
            assert_eq!((held.value.as_slice(), held.created, held.modified), (b"2".as_slice(), one, two));
            store.commit(writes(vec![delete(key)])).unwrap();
            assert_eq!(store.get(key), Ok(None));
            let four = store.commit(writes(vec![put(key, b"")])).unwrap();
            let held = store.get(key).unwrap().unwrap();
            assert_eq!((held.value.as_slice(), held.created, held.modified), (b"".as_slice(), four, four));
        }
    }

    fn what_moved_since_it_was_read_is_a_conflict(store: &dyn Store) {
        for key in KEYS {
            let one = store.commit(writes(vec![put(key, b"1")])).unwrap();
            let two = store.commit(asserting(key, Some(one), writes(vec![put(key, b"2")]))).unwrap();
            let stale = store.commit(asserting(key, Some(one), writes(vec![put(key, b"3"), put(b"\x80other", b"")])));
            assert_eq!(stale, Err(CommitError::Conflict));
            assert_eq!((store.end(), store.get(b"\x80other")), (two, Ok(None)));
            assert_eq!(store.get(key).unwrap().unwrap().value, b"2");
        }
    }

    fn what_appeared_or_vanished_since_it_was_read_is_a_conflict(store: &dyn Store) {
        for key in KEYS {
            let one = store.commit(asserting(key, None, writes(vec![put(key, b"1")]))).unwrap();
            assert_eq!(store.commit(asserting(key, None, writes(vec![]))), Err(CommitError::Conflict));
            store.commit(asserting(key, Some(one), writes(vec![delete(key)]))).unwrap();
            assert_eq!(store.commit(asserting(key, Some(one), writes(vec![]))), Err(CommitError::Conflict));
            store.commit(asserting(key, None, writes(vec![delete(key)]))).unwrap();
            let again = store.commit(writes(vec![put(key, b"1")])).unwrap();
            assert_eq!(store.commit(asserting(key, Some(one), writes(vec![]))), Err(CommitError::Conflict));
            store.commit(asserting(key, Some(again), writes(vec![]))).unwrap();
        }
    }

    fn one_stale_assertion_among_many_is_a_conflict(store: &dyn Store) {
        let one = store.commit(writes(vec![put(KEYS[0], b"1"), put(KEYS[1], b"1")])).unwrap();
        let two = store.commit(writes(vec![put(KEYS[1], b"2")])).unwrap();
        let both = |second| {
            let assertion = |key: &[u8], modified| Assertion { key: key.to_vec(), modified: Some(modified) };
            let assertions = vec![assertion(KEYS[0], one), assertion(KEYS[1], second)];
            Batch { assertions, ..writes(vec![put(b"\x80x", b"")]) }
        };
        assert_eq!(store.commit(both(one)), Err(CommitError::Conflict));
        store.commit(both(two)).unwrap();
    }

    fn a_scan_gives_a_range_in_order_up_to_its_limit(store: &dyn Store) {
        let keys: [&[u8]; 7] = [b"\x01a", b"\x3f\xff", b"\x40", b"\x41a", b"\x41ab", b"\x41b", b"\xff\xff"];
        let mut shuffled = keys;
        shuffled.swap(0, 5);
        shuffled.swap(2, 3);
        store.commit(writes(shuffled.iter().map(|key| put(key, key)).collect())).unwrap();
        let scan = |range: &KeyRange, limit| -> Vec<Vec<u8>> {
            store.scan(range, limit).unwrap().into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(scan(&everything(), 100), keys);
        assert_eq!(scan(&everything(), 3), &keys[..3]);
        assert_eq!(scan(&everything(), 0), Vec::<Vec<u8>>::new());
        assert_eq!(scan(&KeyRange::prefix(b"\x41a"), 100), &keys[3..5]);
        assert_eq!(scan(&KeyRange::prefix(b"\xff"), 100), &keys[6..]);
        assert_eq!(scan(&KeyRange { start: b"\x3f".to_vec(), end: b"\x41ab".to_vec() }, 100), &keys[1..4]);
        assert_eq!(scan(&KeyRange { start: b"\x01".to_vec(), end: b"\x40".to_vec() }, 100), &keys[..2]);
        assert_eq!(scan(&KeyRange { start: b"\x42".to_vec(), end: b"\x41".to_vec() }, 100), Vec::<Vec<u8>>::new());
        assert_eq!(scan(&everything().after(b"\x40"), 2), &keys[3..5]);
    }

    fn entries_come_back_in_order_from_any_place(store: &dyn Store) {
        let entry = |number: u8| Batch { entry: vec![number; 3], ..writes(vec![put(KEYS[1], &[number])]) };
        let revisions: Vec<_> = (1..=9).map(|number| store.commit(entry(number)).unwrap()).collect();
        let all = store.entries_after(Revision::IMPORTED, 100).unwrap();
        assert_eq!(all.iter().map(|(at, _)| *at).collect::<Vec<_>>(), revisions);
        assert_eq!(all.iter().map(|(_, entry)| entry[0]).collect::<Vec<_>>(), (1..=9).collect::<Vec<_>>());
        assert_eq!(store.entries_after(revisions[3], 2).unwrap(), &all[4..6]);
        assert_eq!(store.entries_after(revisions[8], 2).unwrap(), vec![]);
        assert_eq!(store.entries_after(Revision { era: 6, number: 99 }, 1).unwrap(), &all[..1]);
        assert_eq!(store.entries_after(Revision { era: 8, number: 0 }, 1).unwrap(), vec![]);
    }

    fn whoever_waits_is_woken_by_a_commit(store: &dyn Store) {
        assert_eq!(store.wait_beyond(store.end(), Duration::ZERO), store.end());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| store.wait_beyond(Revision { era: 7, number: 1 }, Duration::from_secs(60)));
            store.commit(writes(vec![])).unwrap();
            store.commit(writes(vec![])).unwrap();
            assert_eq!(waiting.join().unwrap(), Revision { era: 7, number: 2 });
        });
        assert_eq!(store.wait_beyond(Revision::IMPORTED, Duration::from_secs(60)).number, 2);
    }

    fn a_batch_beyond_the_bounds_is_refused(store: &dyn Store) {
        let key = vec![0x80; MAX_KEY];
        let long = vec![0x80; MAX_KEY + 1];
        assert_eq!(store.commit(writes(vec![put(&long, b"")])), Err(CommitError::TooLarge));
        let value = vec![7; MAX_COMMIT - MAX_KEY];
        let full = Batch { entry: Vec::new(), ..writes(vec![put(&key, &value)]) };
        assert_eq!(store.commit(Batch { entry: vec![1], ..full.clone() }), Err(CommitError::TooLarge));
        store.commit(full).unwrap();
        assert_eq!(store.get(&key).unwrap().unwrap().value, value);
        let many = |count: usize| (0..count).map(|at| put(&[0x80, (at >> 8) as u8, at as u8], b"")).collect();
        assert_eq!(store.commit(writes(many(MAX_OPERATIONS + 1))), Err(CommitError::TooLarge));
        store.commit(writes(many(MAX_OPERATIONS))).unwrap();
        assert_eq!(store.end().number, 2);
    }

    fn of_commits_that_assert_the_same_exactly_one_lands(store: &dyn Store) {
        const THREADS: u8 = 8;
        const ROUNDS: u8 = 25;
        let barrier = Barrier::new(usize::from(THREADS));
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let barrier = &barrier;
                scope.spawn(move || {
                    for _ in 0..ROUNDS {
                        barrier.wait();
                        increment(store, thread);
                    }
                });
            }
        });
        let total = u32::from(THREADS) * u32::from(ROUNDS);
        for key in KEYS {
            assert_eq!(store.get(key).unwrap().unwrap().value, total.to_be_bytes());
        }
        assert_eq!(store.end().number, u64::from(total));
        let entries = store.entries_after(Revision::IMPORTED, 1000).unwrap();
        assert!(entries.iter().map(|(at, _)| at.number).eq(1..=u64::from(total)));
    }

    fn no_read_sees_a_part_of_a_commit(store: &dyn Store) {
        store.commit(writes(KEYS.map(|key| put(key, b"0")).to_vec())).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for round in 0..100_u8 {
                    store.commit(writes(KEYS.map(|key| put(key, &[round])).to_vec())).unwrap();
                }
            });
            while !writer.is_finished() {
                let seen = store.scan(&everything(), 10).unwrap();
                assert_eq!(seen[0].1, seen[1].1);
                let end = store.end();
                assert!(store.get(KEYS[0]).unwrap().unwrap().modified >= end);
            }
        });
    }
}

/// Adds one to the counters under both keys, however often others come in between.
fn increment(store: &dyn Store, thread: u8) {
    loop {
        let held = KEYS.map(|key| store.get(key).unwrap());
        let count = held[0].as_ref().map_or(0, |held| u32::from_be_bytes(held.value[..].try_into().unwrap()));
        let next = (count + 1).to_be_bytes();
        let assertions = KEYS.iter().zip(&held);
        let assertions = assertions
            .map(|(key, held)| Assertion { key: key.to_vec(), modified: held.as_ref().map(|held| held.modified) });
        let batch = Batch {
            assertions: assertions.collect(),
            entry: vec![thread],
            ..writes(KEYS.map(|key| put(key, &next)).to_vec())
        };
        match store.commit(batch) {
            Ok(_) => return,
            Err(error) => assert_eq!(error, CommitError::Conflict),
        }
    }
}

#[test]
fn both_engines_can_be_shared_between_threads() {
    fn shared<S: Store + 'static>(store: S) -> Arc<dyn Store> {
        Arc::new(store)
    }
    let folder = folder();
    let engines = [shared(MemoryStore::new(7, Timeline([1; 16]))), shared::<LocalStore>(made(&folder))];
    for store in engines {
        assert_eq!(store.end().era, 7);
    }
}
