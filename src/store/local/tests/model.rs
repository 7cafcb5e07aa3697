//! Random histories: the store on disk does what the model in memory does, through restarts and crashes.

use std::sync::mpsc::Receiver;

use proptest::prelude::*;

use super::super::LocalStore;
use super::{folder, made, opened};
use crate::standing::Revision;
use crate::store::conformance::{delete, put};
use crate::store::memory::MemoryStore;
use crate::store::{Assertion, Batch, CommitError, KeyRange, Store};

#[derive(Clone, Debug)]
enum Step {
    Commit { asserted: Vec<(u8, bool)>, written: Vec<(u8, Option<u8>)> },
    Reopen,
    Crash,
}

fn key(number: u8) -> Vec<u8> {
    vec![if number.is_multiple_of(2) { 0x01 } else { 0x80 }, number]
}

fn step() -> impl Strategy<Value = Step> {
    let asserted = prop::collection::vec((0..10_u8, prop::bool::weighted(0.9)), 0..3);
    let written = prop::collection::btree_map(0..10_u8, prop::option::weighted(0.7, any::<u8>()), 0..4);
    let commit = (asserted, written)
        .prop_map(|(asserted, written)| Step::Commit { asserted, written: written.into_iter().collect() });
    prop_oneof![20 => commit, 1 => Just(Step::Reopen), 1 => Just(Step::Crash)]
}

fn batch(model: &MemoryStore, asserted: &[(u8, bool)], written: &[(u8, Option<u8>)]) -> Batch {
    let assertions = asserted.iter().map(|(number, right)| {
        let found = model.get(&key(*number)).unwrap().map(|held| held.modified);
        let modified = if *right { found } else { Some(Revision { era: 7, number: 999 }) };
        Assertion { key: key(*number), modified }
    });
    let writes = written.iter().map(|(number, value)| match value {
        Some(value) => put(&key(*number), &vec![*value; usize::from(*value) * 3]),
        None => delete(&key(*number)),
    });
    let entry = format!("{asserted:?}{written:?}").into_bytes();
    Batch { assertions: assertions.collect(), writes: writes.collect(), entry, ..Batch::default() }
}

type Outcome = Result<Revision, CommitError>;

fn agree(waiting: &mut Vec<(Outcome, Receiver<Outcome>)>) {
    for (meant, outcome) in waiting.drain(..) {
        assert_eq!(meant, outcome.recv().unwrap());
    }
}

fn compare(model: &MemoryStore, local: &LocalStore) {
    let everything = KeyRange { start: Vec::new(), end: Vec::new() };
    assert_eq!(model.scan(&everything, 100), local.scan(&everything, 100));
    for number in 0..10 {
        assert_eq!(model.get(&key(number)), local.get(&key(number)));
    }
    assert_eq!(model.end(), local.end());
    for after in [0, 3, model.end().number.saturating_sub(1)] {
        let after = Revision { era: 7, number: after };
        assert_eq!(model.entries_after(after, 7), local.entries_after(after, 7));
    }
}

/// A copy of a folder as it is now, as if its process had been killed.
pub(super) fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else if let Err(error) = std::fs::copy(entry.path(), to) {
            // sled and the spare come and go.
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_disk_does_what_the_model_does_through_restarts_and_crashes(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let mut place = folder();
        let mut local = made(&place);
        let model = MemoryStore::new(7, local.timeline());
        let mut waiting = Vec::new();
        for step in steps {
            if !matches!(step, Step::Commit { .. }) {
                agree(&mut waiting);
            }
            match step {
                // Not waited for, so that several become one group; the outcomes must be as if one came after another.
                Step::Commit { asserted, written } => {
                    let batch = batch(&model, &asserted, &written);
                    let outcome = local.shared.queue.push(batch.clone()).unwrap();
                    waiting.push((model.commit(batch), outcome));
                }
                Step::Reopen => {
                    drop(local);
                    local = opened(&place);
                    compare(&model, &local);
                }
                Step::Crash => {
                    let survivor = folder();
                    copy(&place.path().join("store"), &survivor.path().join("store"));
                    drop(local);
                    place = survivor;
                    local = opened(&place);
                    compare(&model, &local);
                }
            }
        }
        agree(&mut waiting);
        compare(&model, &local);
        assert_eq!(model.timeline(), local.timeline());
    }
}
