//! What a disk that fails or is full may do to the store, and what it may not.

use std::sync::Arc;
use std::time::Duration;

use super::faulty::FaultyDisk;
use super::{acknowledged, commit, folder, indexed, made, make, open, opened, options};
use crate::disk::SystemDisk;
use crate::standing::Revision;
use crate::store::conformance::{put, writes};
use crate::store::local::{IndexState, LocalStore, OpenError};
use crate::store::{Assertion, Batch, CommitError, KeyRange, MAX_COMMIT, Store, Urgency};
use crate::world::SystemEntropy;

#[test]
fn after_a_failed_sync_nothing_is_committed_and_reads_go_on() {
    for fault in [FaultyDisk::fail_sync_of, FaultyDisk::fail_write_of] {
        let folder = folder();
        let disk = FaultyDisk::default();
        let store = make(folder.path(), Arc::new(disk.clone())).unwrap();
        commit(&store, 1).unwrap();
        fault(&disk, "");
        assert!(matches!(commit(&store, 2), Err(CommitError::OutcomeUnknown(_))));
        assert!(matches!(commit(&store, 3), Err(CommitError::Unavailable(_))));
        assert!(store.health().is_err());
        acknowledged(&store, &[1]);
        assert_eq!(store.end().number, 1);
        drop(store);
        let store = opened(&folder);
        let unknown = store.end().number == 2;
        acknowledged(&store, if unknown { &[1, 2] } else { &[1] });
        commit(&store, 4).unwrap();
    }
}

#[test]
fn a_mark_that_cannot_be_synced_ends_commits() {
    let folder = folder();
    let disk = FaultyDisk::default();
    let store = make(folder.path(), Arc::new(disk.clone())).unwrap();
    disk.fail_sync_of("mark");
    commit(&store, 1).unwrap();
    assert!(matches!(commit(&store, 2), Err(CommitError::OutcomeUnknown(_))));
    assert!(store.health().is_err());
    drop(store);
    acknowledged(&opened(&folder), &[1]);
}

#[test]
fn nothing_acknowledged_is_lost_whichever_change_of_the_disk_fails_first() {
    for working in 1.. {
        let folder = folder();
        let mut done = Vec::new();
        let disk = Arc::new(FaultyDisk::only(working));
        match make(folder.path(), disk) {
            Ok(store) => {
                done = (1..=4).filter(|number| commit(&store, *number).is_ok()).collect();
                drop(store);
            }
            Err(_) => match open(folder.path(), Arc::new(SystemDisk)) {
                Ok(store) => drop(store),
                Err(_) => drop(made(&folder)),
            },
        }
        let store = opened(&folder);
        acknowledged(&store, &done);
        commit(&store, 9).unwrap();
        if done.len() == 4 {
            break;
        }
    }
}

#[test]
fn on_a_full_disk_issuing_stops_and_revoking_goes_on_until_there_is_space_again() {
    let folder = folder();
    let disk = FaultyDisk::default();
    let store = make(folder.path(), Arc::new(disk.clone())).unwrap();
    let large =
        |number: u8, urgency| Batch { urgency, ..writes(vec![put(&[0x80, number], &vec![number; MAX_COMMIT - 1024])]) };
    let until_full = (1..20).find(|number| {
        disk.set_full(*number > 1);
        let outcome = store.commit(large(*number, Urgency::Ordinary));
        assert!(matches!(outcome, Ok(_) | Err(CommitError::Full)), "{outcome:?}");
        outcome.is_err()
    });
    assert!(until_full.is_some());
    assert_eq!(commit(&store, 1), Err(CommitError::Full));
    assert_eq!(store.health(), Ok(()));
    let revoke =
        |number| store.commit(Batch { urgency: Urgency::Urgent, ..writes(vec![put(&[0x01, number], b"cut")]) });
    for number in 0..200 {
        revoke(number).unwrap();
    }
    disk.set_full(false);
    while commit(&store, 250) == Err(CommitError::Full) {
        std::thread::yield_now();
    }
    drop(store);
    let store = opened(&folder);
    assert_eq!(store.scan(&KeyRange::prefix(&[0x01]), 1000).unwrap().len(), 201);
}

#[test]
fn while_the_index_is_away_issuing_waits_and_revoking_goes_on() {
    let folder = folder();
    let store = made(&folder);
    commit(&store, 1).unwrap();
    drop(store);
    let index = folder.path().join("store/index");
    std::fs::remove_dir_all(&index).unwrap();
    std::fs::write(&index, "not a folder").unwrap();
    let path = folder.path().join("store");
    let store = LocalStore::open(&path, Arc::new(SystemDisk), Arc::new(SystemEntropy), options()).unwrap();
    let state = store.wait_for_index(Duration::from_millis(20));
    assert!(matches!(&state, IndexState::Waiting(_) | IndexState::Checking { .. }), "{state}");
    assert!(store.health().is_err() && store.complete().is_err());
    assert_eq!(store.get(&[0x01, 1]).unwrap().unwrap().value, [1]);
    let unread = [store.get(&[0x80, 1]).map(drop), store.scan(&KeyRange::prefix(&[0x80]), 9).map(drop)];
    assert!(unread.iter().all(|read| read.as_ref().is_err_and(|error| error.0.contains("revoking does not"))));
    assert!(matches!(commit(&store, 2), Err(CommitError::Unavailable(why)) if why.contains("revoking does not")));
    let absent = Assertion { key: vec![0x80, 3], modified: None };
    let both = writes(vec![put(&[0x01, 3], &[3]), put(&[0x80, 3], &[3])]);
    store.commit(Batch { urgency: Urgency::Urgent, assertions: vec![absent], ..both }).unwrap();
    assert_eq!(store.get(&[0x80, 3]).unwrap().unwrap().value, [3]);
    // Nobody has to start it again.
    std::fs::remove_file(&index).unwrap();
    let store = indexed(store);
    assert_eq!(store.health(), Ok(()));
    acknowledged(&store, &[1, 3]);
    commit(&store, 4).unwrap();
    drop(store);
    let store = opened(&folder);
    acknowledged(&store, &[1, 3, 4]);
    let learned = store.status().sum;
    drop(store);
    std::fs::remove_dir_all(&index).unwrap();
    assert_eq!(opened(&folder).status().sum, learned);
}

#[test]
fn when_even_the_last_segment_is_full_revoking_says_so_and_nothing_is_written() {
    let folder = folder();
    let disk = FaultyDisk::default();
    let store = make(folder.path(), Arc::new(disk.clone())).unwrap();
    let large = |number: u8| Batch {
        urgency: Urgency::Urgent,
        ..writes(vec![put(&[0x01, number], &vec![number; MAX_COMMIT - 1024])])
    };
    disk.set_full(true);
    let landed = (1..100).take_while(|number| store.commit(large(*number)).is_ok()).count();
    assert!(landed > 2);
    assert_eq!(store.commit(large(100)), Err(CommitError::Full));
    assert_eq!(store.end(), Revision { era: 7, number: landed as u64 });
    drop(store);
    assert_eq!(opened(&folder).end().number, landed as u64);
}

#[test]
fn a_store_on_a_network_file_system_is_neither_made_nor_opened() {
    let folder = folder();
    let disk = FaultyDisk::default();
    disk.set_on_network();
    let refused = make(folder.path(), Arc::new(disk.clone())).unwrap_err();
    assert!(matches!(refused, OpenError::Network { kind: "NFS", .. }), "{refused}");
    assert_eq!(disk.history(), []);
    drop(made(&folder));
    let refused = open(folder.path(), Arc::new(disk.clone())).unwrap_err();
    assert!(refused.to_string().contains("network file system (NFS)"), "{refused}");
    assert_eq!(disk.history(), []);
}
