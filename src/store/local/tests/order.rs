//! The order of writes and syncs, as the disk saw it.

use std::sync::Arc;

use super::faulty::FaultyDisk;
use super::{commit, folder, make};

/// A segment keeps the name it was opened under, which is the spare's.
fn is_journal(name: &str) -> bool {
    name == "spare.new" || name == "spare" || name.ends_with(".segment")
}

fn first(history: &[(&str, String)], what: &str, name: &str) -> usize {
    history.iter().position(|(done, file)| *done == what && file == name).unwrap()
}

#[test]
fn the_first_mark_is_durable_before_the_first_segment_exists() {
    let folder = folder();
    let disk = FaultyDisk::default();
    make(folder.path(), Arc::new(disk.clone())).unwrap();
    let history = disk.history();
    let mark = [
        first(&history, "sync", "mark.new"),
        first(&history, "rename", "mark"),
        history
            .iter()
            .enumerate()
            .skip(first(&history, "rename", "mark"))
            .find(|(_, it)| it.0 == "sync_dir")
            .unwrap()
            .0,
        first(&history, "create", "spare.new"),
        first(&history, "preallocate", "spare.new"),
        first(&history, "sync", "spare.new"),
        first(&history, "rename", "0000000000000001.segment"),
    ];
    assert!(mark.is_sorted(), "{mark:?} in {history:?}");
}

#[test]
fn a_mark_is_written_after_the_group_it_names_is_synced_and_after_the_other_slot_is() {
    let folder = folder();
    let disk = FaultyDisk::default();
    let store = make(folder.path(), Arc::new(disk.clone())).unwrap();
    // The first spare is made meanwhile, and looks like the first segment here.
    while disk.history().iter().filter(|(what, name)| *what == "rename" && name == "spare").count() < 2 {
        std::thread::yield_now();
    }
    let before = disk.history().len();
    for number in 1..=30 {
        commit(&store, number).unwrap();
    }
    drop(store);
    let (mut written, mut synced, mut marks, mut unsynced_slots) = (0, 0, 0, 0);
    for (what, name) in disk.history().split_off(before) {
        match what {
            "write" if is_journal(&name) => {
                assert_eq!(written, synced, "a group is written only after the sync of the one before");
                written += 1;
            }
            "sync" if is_journal(&name) => synced = written,
            "write" if name == "mark" => {
                marks += 1;
                unsynced_slots += 1;
                assert!(marks <= synced, "mark {marks} of {synced} synced groups");
                assert_eq!(unsynced_slots, 1);
            }
            "sync" if name == "mark" => unsynced_slots = 0,
            _ => {}
        }
    }
    assert_eq!((written, synced, unsynced_slots), (30, 30, 0));
    assert!(marks > 0);
}
