//! Stories of the local store: what a restart keeps, and what each kind of failure may and may not do.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::{IndexState, LocalStore, OpenError, Options};
use crate::disk::{Disk, SystemDisk};
use crate::standing::Revision;
use crate::store::conformance::{put, writes};
use crate::store::{CommitError, Store};
use crate::world::SystemEntropy;

pub(in crate::store) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Small segments, an exact mark and quick retries.
fn options() -> Options {
    Options { segment: 4 * 1024 * 1024, checkpoint_every: 1, keep: 8, mark_lag: 0, pause: Duration::from_millis(5) }
}

fn make(folder: &Path, disk: Arc<dyn Disk>) -> Result<LocalStore, OpenError> {
    LocalStore::create(&folder.join("store"), 7, disk, Arc::new(SystemEntropy), options()).map(settled)
}

/// Waits for the second stage of a start, or until a disk that goes on failing has kept it from that.
fn settled(store: LocalStore) -> LocalStore {
    let mut patience = 0..50;
    while matches!(
        store.wait_for_index(Duration::from_millis(10)),
        IndexState::Checking { .. } | IndexState::Learning { .. }
    ) || (store.complete().is_err() && patience.next().is_some())
    {}
    store
}

/// Waits for the second stage of a start.
fn indexed(store: LocalStore) -> LocalStore {
    assert_eq!(store.wait_for_index(Duration::from_secs(60)), IndexState::Ready);
    store
}

fn open(folder: &Path, disk: Arc<dyn Disk>) -> Result<LocalStore, OpenError> {
    LocalStore::open(&folder.join("store"), disk, Arc::new(SystemEntropy), options()).map(settled)
}

pub(in crate::store) fn made(folder: &TempDir) -> LocalStore {
    indexed(make(folder.path(), Arc::new(SystemDisk)).unwrap())
}

fn opened(folder: &TempDir) -> LocalStore {
    indexed(open(folder.path(), Arc::new(SystemDisk)).unwrap())
}

/// Commits a resident key and another, both of this number.
fn commit(store: &LocalStore, number: u8) -> Result<Revision, CommitError> {
    store.commit(writes(vec![put(&[0x01, number], &[number]), put(&[0x80, number], &[number])]))
}

/// Everything that [`commit`] acknowledged is there.
fn acknowledged(store: &LocalStore, numbers: &[u8]) {
    for number in numbers {
        let held = [0x01, 0x80].map(|first| store.get(&[first, *number]).unwrap().unwrap());
        assert_eq!(held[0], held[1]);
        assert_eq!(held[0].value, [*number]);
    }
    let entries = store.entries_after(Revision::IMPORTED, 1000).unwrap();
    assert!(entries.iter().map(|(at, _)| at.number).eq(1..=store.end().number));
    assert!(entries.len() >= numbers.len());
}

mod account;
mod copies;
mod archive;
mod damage;
mod dice;
mod every;
mod failure;
mod faulty;
mod harm;
mod injected;
mod losses;
mod lossy;
mod model;
mod order;
mod witness;
