//! The rules of the journal and its mark, each with the history that breaks a store without it.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::super::OpenError;
use super::super::frame::{BLOCK, Position};
use super::super::mark;
use super::model::copy;
use super::{acknowledged, commit, folder, made, open, opened, options};
use crate::disk::{Disk, SystemDisk};
use crate::standing::Revision;
use crate::store::local::LocalStore;
use crate::store::{CommitError, Store, StoreError};
use crate::world::SystemEntropy;
use std::sync::Arc;

fn segment(folder: &Path, sequence: u64) -> PathBuf {
    folder.join(format!("store/journal/{sequence:016}.segment"))
}

/// Changes one octet of the n-th frame's payload; each test commit is one frame of one block.
fn rot(folder: &Path, frame: u64) {
    rot_at(&segment(folder, 1), frame * BLOCK as u64 + 140);
}

fn rot_at(path: &Path, offset: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut octet = [0];
    file.read_exact_at(&mut octet, offset).unwrap();
    file.write_all_at(&[octet[0] ^ 0x20], offset).unwrap();
}

/// Puts the mark back to where the journal's n-th frame ends, as a crash before the next mark would.
fn set_mark(folder: &Path, number: u64) {
    let path = folder.join("store/mark");
    let (mark, _) = mark::read(&SystemDisk, &path).unwrap();
    let bytes = std::fs::read(segment(folder, 1)).unwrap();
    let head = usize::try_from(number).unwrap() * BLOCK;
    let link = if number == 0 { [0; 32] } else { bytes[head + 64..head + 96].try_into().unwrap() };
    let position = Position { revision: Revision { era: 7, number }, link };
    mark::create(&SystemDisk, &path, &path.with_extension("new"), &mark::Mark { count: 0, position, ..mark }).unwrap();
}

/// What is left of a store with commits 1 to `count` after the process was killed, with the mark at `marked`.
fn killed(count: u8, marked: u64) -> tempfile::TempDir {
    let (living, dead) = (folder(), folder());
    let store = made(&living);
    for number in 1..=count {
        commit(&store, number).unwrap();
    }
    copy(&living.path().join("store"), &dead.path().join("store"));
    drop(store);
    set_mark(dead.path(), marked);
    dead
}

fn refused(folder: &tempfile::TempDir) -> OpenError {
    open(folder.path(), Arc::new(SystemDisk)).unwrap_err()
}

fn damaged(folder: &tempfile::TempDir, name: &str) {
    let error = refused(folder);
    assert!(matches!(&error, OpenError::Damaged { file, .. } if file.ends_with(name)), "{error}");
}

const FIRST: &str = "0000000000000001.segment";

#[test]
fn a_killed_process_leaves_everything_it_acknowledged() {
    for marked in 0..=4 {
        let dead = killed(4, marked);
        acknowledged(&opened(&dead), &[1, 2, 3, 4]);
        acknowledged(&opened(&dead), &[1, 2, 3, 4]);
    }
}

#[test]
fn damage_at_or_before_the_mark_is_refused_by_name() {
    for frame in 1..=3 {
        let dead = killed(4, 3);
        rot(dead.path(), frame);
        damaged(&dead, FIRST);
    }
}

#[test]
fn a_damaged_last_group_beyond_the_mark_is_put_aside() {
    let dead = killed(4, 3);
    rot(dead.path(), 4);
    let store = opened(&dead);
    acknowledged(&store, &[1, 2, 3]);
    assert_eq!(store.end().number, 3);
    commit(&store, 5).unwrap();
    drop(store);
    acknowledged(&opened(&dead), &[1, 2, 3, 5]);
    let quarantine = dead.path().join("store/quarantine");
    assert_eq!(SystemDisk.list(&quarantine).unwrap(), [FIRST]);
    assert!(std::fs::read(quarantine.join(FIRST)).unwrap().starts_with(b"PCLSFRAM"));
}

#[test]
fn a_whole_group_behind_a_damaged_one_proves_rot() {
    for (marked, frame) in [(0, 1), (1, 2), (2, 3), (1, 3)] {
        let dead = killed(4, marked);
        rot(dead.path(), frame);
        damaged(&dead, FIRST);
    }
}

#[test]
fn a_last_group_whose_first_block_never_arrived_is_the_end() {
    let dead = killed(4, 3);
    let file = std::fs::OpenOptions::new().write(true).open(segment(dead.path(), 1)).unwrap();
    file.write_all_at(&[0; BLOCK], 4 * BLOCK as u64).unwrap();
    file.write_all_at(b"torn", 5 * BLOCK as u64).unwrap();
    let store = opened(&dead);
    acknowledged(&store, &[1, 2, 3]);
    assert_eq!(store.status().segments, 2);
}

#[test]
fn groups_beyond_the_mark_are_in_a_new_segment_before_they_are_served() {
    let dead = killed(4, 2);
    let store = opened(&dead);
    assert_eq!(store.status().segments, 2);
    acknowledged(&store, &[1, 2, 3, 4]);
    commit(&store, 5).unwrap();
    drop(store);
    // What lies in the old segment behind its successor's beginning is ignored, whole or not.
    rot(dead.path(), 3);
    acknowledged(&opened(&dead), &[1, 2, 3, 4, 5]);
    rot(dead.path(), 2);
    std::fs::remove_file(dead.path().join("store/checkpoint")).unwrap();
    damaged(&dead, FIRST);
}

#[test]
fn a_start_that_is_interrupted_anywhere_loses_nothing() {
    let dead = killed(4, 1);
    rot(dead.path(), 4);
    for working in 1.. {
        let attempt = folder();
        copy(&dead.path().join("store"), &attempt.path().join("store"));
        let started = open(attempt.path(), Arc::new(super::faulty::FaultyDisk::only(working)));
        let done = started.as_ref().is_ok_and(|store| commit(store, 6).is_ok());
        drop(started);
        let store = opened(&attempt);
        acknowledged(&store, if done { &[1, 2, 3, 6] } else { &[1, 2, 3] });
        if done {
            break;
        }
    }
}

#[test]
fn a_journal_that_ends_before_the_mark_is_refused() {
    let dead = killed(4, 4);
    let file = std::fs::OpenOptions::new().write(true).open(segment(dead.path(), 1)).unwrap();
    file.write_all_at(&[0; BLOCK], 4 * BLOCK as u64).unwrap();
    damaged(&dead, FIRST);
    std::fs::remove_file(segment(dead.path(), 1)).unwrap();
    damaged(&dead, FIRST);
}

#[test]
fn another_journal_of_the_same_length_is_refused() {
    let (one, two) = (killed(4, 4), killed(4, 4));
    std::fs::copy(segment(two.path(), 1), segment(one.path(), 1)).unwrap();
    damaged(&one, FIRST);
}

#[test]
fn another_history_of_the_same_store_is_refused() {
    let (one, two) = (killed(3, 3), folder());
    copy(&one.path().join("store"), &two.path().join("store"));
    commit(&opened(&one), 4).unwrap();
    commit(&opened(&two), 5).unwrap();
    std::fs::copy(segment(two.path(), 1), segment(one.path(), 1)).unwrap();
    damaged(&one, FIRST);
}

#[test]
fn a_checkpoint_of_another_store_is_refused() {
    let (one, two) = (killed(4, 4), killed(4, 4));
    drop(opened(&one));
    std::fs::copy(one.path().join("store/checkpoint"), two.path().join("store/checkpoint")).unwrap();
    damaged(&two, "checkpoint");
}

#[test]
fn a_store_without_its_mark_is_refused() {
    let dead = killed(1, 1);
    std::fs::remove_file(dead.path().join("store/mark")).unwrap();
    damaged(&dead, "mark");
}

#[test]
fn one_damaged_slot_of_the_mark_is_survived_and_two_are_not() {
    let dead = killed(3, 3);
    let store = opened(&dead);
    commit(&store, 4).unwrap();
    drop(store);
    let path = dead.path().join("store/mark");
    rot_at(&path, 20);
    let store = opened(&dead);
    acknowledged(&store, &[1, 2, 3, 4]);
    drop(store);
    rot_at(&path, 20);
    rot_at(&path, 4096 + 20);
    rot_at(&path, 21);
    damaged(&dead, "mark");
}

#[test]
fn making_a_store_again_is_possible_only_while_nothing_can_be_in_it() {
    let unfinished = folder();
    drop(made(&unfinished));
    let make = |folder: &tempfile::TempDir| super::make(folder.path(), Arc::new(SystemDisk));
    assert!(matches!(make(&unfinished), Err(OpenError::Exists(_))));
    std::fs::remove_file(segment(unfinished.path(), 1)).unwrap();
    std::fs::remove_file(unfinished.path().join("store/checkpoint")).unwrap();
    assert!(matches!(refused(&unfinished), OpenError::Unfinished));
    commit(&make(&unfinished).unwrap(), 1).unwrap();
    std::fs::remove_file(segment(unfinished.path(), 1)).unwrap();
    std::fs::remove_file(unfinished.path().join("store/checkpoint")).unwrap();
    assert!(matches!(make(&unfinished), Err(OpenError::Exists(_))));
    damaged(&unfinished, FIRST);
}

#[test]
fn a_second_process_is_told_that_the_store_is_in_use() {
    let folder = folder();
    let store = made(&folder);
    let error = refused(&folder);
    assert!(matches!(error, OpenError::Locked(_)));
    assert!(error.to_string().contains("in use"));
    drop(store);
    opened(&folder);
}

#[test]
fn a_folder_without_a_store_is_left_as_it_is() {
    let folder = folder();
    assert!(matches!(refused(&folder), OpenError::NotAStore(_)));
    std::fs::create_dir(folder.path().join("store")).unwrap();
    assert!(matches!(refused(&folder), OpenError::NotAStore(_)));
    assert_eq!(std::fs::read_dir(folder.path().join("store")).unwrap().count(), 0);
}

#[test]
fn a_lost_or_damaged_index_is_made_again_from_the_journal() {
    let dead = killed(4, 4);
    let index = dead.path().join("store/index");
    std::fs::remove_dir_all(&index).unwrap();
    acknowledged(&opened(&dead), &[1, 2, 3, 4]);
    let bytes = std::fs::read(index.join("db")).unwrap();
    for place in (0..bytes.len().min(4000)).step_by(97) {
        let mut changed = bytes.clone();
        changed[place] ^= 0x41;
        std::fs::write(index.join("db"), &changed).unwrap();
        acknowledged(&opened(&dead), &[1, 2, 3, 4]);
    }
}

#[test]
fn an_index_of_another_store_is_not_believed() {
    let (one, two) = (killed(2, 2), killed(4, 4));
    let index = |folder: &tempfile::TempDir| folder.path().join("store/index");
    std::fs::remove_dir_all(index(&one)).unwrap();
    copy(&index(&two), &index(&one));
    let store = opened(&one);
    acknowledged(&store, &[1, 2]);
    assert_eq!(store.get(&[0x80, 3]), Ok(None));
}

#[test]
fn a_lost_or_damaged_checkpoint_costs_only_time() {
    let dead = killed(4, 4);
    drop(opened(&dead));
    let path = dead.path().join("store/checkpoint");
    rot_at(&path, 90);
    acknowledged(&opened(&dead), &[1, 2, 3, 4]);
    std::fs::remove_file(&path).unwrap();
    acknowledged(&opened(&dead), &[1, 2, 3, 4]);
}

#[test]
fn a_journal_of_many_segments_is_read_back_from_any_place() -> Result<(), Box<dyn std::error::Error>> {
    let folder = folder();
    let store = made(&folder);
    let mut revisions = Vec::new();
    for number in 0..12_u8 {
        let batch = crate::store::Batch { entry: vec![number; 900_000], ..crate::store::Batch::default() };
        revisions.push(store.commit(batch)?);
    }
    let read = |store: &LocalStore, after: Revision, limit| -> Result<Vec<u8>, StoreError> {
        Ok(store.entries_after(after, limit)?.into_iter().map(|(_, entry)| entry[0]).collect())
    };
    assert!(store.status().segments >= 3);
    assert_eq!(read(&store, Revision::IMPORTED, 100)?, (0..12).collect::<Vec<_>>());
    drop(store);
    let store = opened(&folder);
    for (place, after) in revisions.iter().enumerate() {
        let wanted: Vec<u8> = (0..12).skip(place + 1).take(5).collect();
        assert_eq!(read(&store, *after, 5)?, wanted);
    }
    drop(store);
    std::fs::remove_file(segment(folder.path(), 2))?;
    damaged(&folder, "0000000000000002.segment");
    Ok(())
}

#[test]
fn a_damaged_old_segment_is_an_error_to_whoever_reads_it() -> Result<(), Box<dyn std::error::Error>> {
    let folder = folder();
    let store = made(&folder);
    for number in 0..12_u8 {
        let batch = crate::store::Batch { entry: vec![number; 900_000], ..crate::store::Batch::default() };
        store.commit(batch)?;
    }
    drop(store);
    rot(folder.path(), 1);
    let store = opened(&folder);
    assert!(store.entries_after(Revision::IMPORTED, 1).is_err());
    commit(&store, 1)?;
    Ok(())
}

#[test]
fn a_commit_that_ended_before_a_clean_stop_is_refused_after_it() {
    let folder = folder();
    let store = made(&folder);
    store.shared.queue.close("the store is being closed");
    assert!(matches!(commit(&store, 1), Err(CommitError::Unavailable(_))));
    let again =
        LocalStore::open(&folder.path().join("store"), Arc::new(SystemDisk), Arc::new(SystemEntropy), options());
    assert!(matches!(again, Err(OpenError::Locked(_))));
}
