//! Older segments move aside, and what needs them says so when they are not there.

use std::path::PathBuf;

use super::*;
use crate::store::local::Paths;
use crate::store::{Batch, KeyRange};

/// A store of which all but the newest segments are archived; each has some four of its forty commits.
fn archived(home: &TempDir) -> PathBuf {
    let options = Options { keep: 2, ..options() };
    let folder = home.path().join("store");
    let store = LocalStore::create(&folder, 7, Arc::new(SystemDisk), Arc::new(SystemEntropy), options).map(indexed);
    let store = store.unwrap();
    let journal = Paths::of(&folder).journal;
    for number in 0..40 {
        let keys = vec![put(&[0x01, number], &[number]), put(&[0x80, number], &[number])];
        store.commit(Batch { entry: vec![number; 900_000], ..writes(keys) }).unwrap();
        // The checkpointer goes by itself; it is not to be overtaken by all of the segments.
        let wanted = store.status().segments.saturating_sub(4);
        let until = std::time::Instant::now() + Duration::from_secs(60);
        while names(&journal).len() < wanted && std::time::Instant::now() < until {
            std::thread::yield_now();
        }
        assert!(names(&journal).len() >= wanted, "{:?} of {}", names(&journal), store.status().segments);
    }
    assert!(names(&journal).len() >= 4 && !journal.join("0000000000000001.segment").exists());
    journal
}

/// The archived segments.
fn names(journal: &Path) -> Vec<String> {
    SystemDisk.list(journal).unwrap().into_iter().filter(|name| name.ends_with(".archived")).collect()
}

/// Moves them all.
fn carry(from: &Path, to: &Path) {
    for name in names(from) {
        std::fs::rename(from.join(&name), to.join(&name)).unwrap();
    }
}

fn is_all_there(store: &LocalStore) {
    for first in [0x01, 0x80] {
        assert_eq!(store.scan(&KeyRange::prefix(&[first]), 100).unwrap().len(), 40);
    }
    let entries = store.entries_after(Revision::IMPORTED, 100).unwrap();
    assert!(
        entries.iter().enumerate().all(|(place, (_, entry))| usize::from(entry[0]) == place) && entries.len() == 40
    );
}

#[test]
fn what_is_archived_is_read_from_there() {
    let home = folder();
    archived(&home);
    is_all_there(&opened(&home));
    std::fs::remove_dir_all(home.path().join("store/index")).unwrap();
    is_all_there(&opened(&home));
}

#[test]
fn a_segment_is_found_under_either_name() {
    let home = folder();
    let journal = archived(&home);
    std::fs::rename(journal.join("0000000000000002.archived"), journal.join("0000000000000002.segment")).unwrap();
    is_all_there(&opened(&home));
}

#[test]
fn archived_segments_that_were_taken_away_are_missed_only_by_what_needs_them() {
    let home = folder();
    let (journal, elsewhere) = (archived(&home), folder());
    carry(&journal, elsewhere.path());
    let store = opened(&home);
    assert_eq!(store.get(&[0x80, 0]).unwrap().unwrap().value, [0]);
    let refused = store.entries_after(Revision::IMPORTED, 1).unwrap_err();
    assert!(refused.0.contains("put those before it back"), "{refused}");
    commit(&store, 200).unwrap();
    drop(store);
    // Without the index the resident keys are all there is, until somebody puts them back.
    std::fs::remove_dir_all(home.path().join("store/index")).unwrap();
    let store = open(home.path(), Arc::new(SystemDisk)).unwrap();
    assert!(store.health().is_err() && store.get(&[0x80, 0]).is_err());
    assert_eq!(store.get(&[0x01, 0]).unwrap().unwrap().value, [0]);
    drop(store);
    carry(elsewhere.path(), &journal);
    assert_eq!(opened(&home).get(&[0x80, 0]).unwrap().unwrap().value, [0]);
    // Nor does a start do without them when the checkpoint cannot be read.
    carry(&journal, elsewhere.path());
    std::fs::remove_file(home.path().join("store/checkpoint")).unwrap();
    let refused = open(home.path(), Arc::new(SystemDisk)).unwrap_err();
    assert!(
        matches!(&refused, OpenError::Damaged { file, .. } if file.extension().unwrap() == "archived"),
        "{refused}"
    );
}
