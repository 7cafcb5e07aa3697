//! Older segments move aside, and what needs them says so when they are not there.

use std::path::PathBuf;

use super::*;
use crate::store::local::Paths;
use crate::store::{Batch, KeyRange};

/// A store of which all but the newest two segments are archived; each has some four of its forty commits.
fn archived(home: &TempDir) -> PathBuf {
    let options = Options { keep: 2, ..options() };
    let folder = home.path().join("store");
    let store = LocalStore::create(&folder, 7, Arc::new(SystemDisk), Arc::new(SystemEntropy), options).map(indexed);
    let store = store.unwrap();
    let archive = folder.join("journal/archive");
    let count = || std::fs::read_dir(&archive).map_or(0, Iterator::count);
    for number in 0..40 {
        let keys = vec![put(&[0x01, number], &[number]), put(&[0x80, number], &[number])];
        store.commit(Batch { entry: vec![number; 900_000], ..writes(keys) }).unwrap();
        // The checkpointer goes by itself; it is not to be overtaken by all of the segments.
        let wanted = store.status().segments.saturating_sub(4);
        let until = std::time::Instant::now() + Duration::from_secs(60);
        while count() < wanted && std::time::Instant::now() < until {
            std::thread::yield_now();
        }
        assert!(count() >= wanted, "{} archived of {}", count(), store.status().segments);
    }
    let moved: Vec<_> = SystemDisk.list(&archive).unwrap();
    assert!(moved.len() >= 4 && !Paths::of(&folder).journal.join(&moved[0]).exists());
    archive
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
fn a_segment_that_a_crash_left_under_either_name_is_found() {
    let home = folder();
    let archive = archived(&home);
    let name = "0000000000000002.segment";
    std::fs::rename(archive.join(name), archive.parent().unwrap().join(name)).unwrap();
    is_all_there(&opened(&home));
    std::fs::copy(archive.parent().unwrap().join(name), archive.join(name)).unwrap();
    is_all_there(&opened(&home));
}

#[test]
fn an_archive_that_was_taken_away_is_missed_only_by_what_needs_it() {
    let home = folder();
    let archive = archived(&home);
    let elsewhere = home.path().join("elsewhere");
    std::fs::rename(&archive, &elsewhere).unwrap();
    let store = opened(&home);
    assert_eq!(store.get(&[0x80, 0]).unwrap().unwrap().value, [0]);
    let refused = store.entries_after(Revision::IMPORTED, 1).unwrap_err();
    assert!(refused.0.contains("put those before it back") && refused.0.contains("archive"), "{refused}");
    commit(&store, 200).unwrap();
    drop(store);
    // Without the index the resident keys are all there is, until somebody puts the archive back.
    std::fs::remove_dir_all(home.path().join("store/index")).unwrap();
    let store = open(home.path(), Arc::new(SystemDisk)).unwrap();
    let state = store.wait_for_index(Duration::from_millis(50)).to_string();
    assert!(store.complete().is_err_and(|why| why.0.contains("archive") || why.0.contains("checked")), "{state}");
    assert_eq!(store.get(&[0x01, 0]).unwrap().unwrap().value, [0]);
    drop(store);
    std::fs::rename(&elsewhere, &archive).unwrap();
    let store = opened(&home);
    assert_eq!(store.get(&[0x80, 0]).unwrap().unwrap().value, [0]);
    drop(store);
    // Nor does a start do without it when the checkpoint cannot be read.
    std::fs::remove_file(home.path().join("store/checkpoint")).unwrap();
    drop(opened(&home));
    std::fs::remove_file(home.path().join("store/checkpoint")).unwrap();
    std::fs::rename(&archive, &elsewhere).unwrap();
    let refused = open(home.path(), Arc::new(SystemDisk)).unwrap_err();
    assert!(matches!(&refused, OpenError::Damaged { file, .. } if file.starts_with(&archive)), "{refused}");
}
