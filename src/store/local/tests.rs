//! Stories of the local store: what a restart keeps, and what each kind of failure may and may not do.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::{LocalStore, OpenError, Options};
use crate::disk::{Disk, SystemDisk};
use crate::world::SystemEntropy;

pub(in crate::store) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Small segments, an exact mark and quick retries.
fn options() -> Options {
    Options { segment: 4 * 1024 * 1024, checkpoint_every: 1, mark_lag: 0, spare_pause: Duration::from_millis(5) }
}

fn make(folder: &Path, disk: Arc<dyn Disk>) -> Result<LocalStore, OpenError> {
    LocalStore::create(&folder.join("store"), 7, disk, Arc::new(SystemEntropy), options())
}

fn open(folder: &Path, disk: Arc<dyn Disk>) -> Result<LocalStore, OpenError> {
    LocalStore::open(&folder.join("store"), disk, Arc::new(SystemEntropy), options())
}

pub(in crate::store) fn made(folder: &TempDir) -> LocalStore {
    make(folder.path(), Arc::new(SystemDisk)).unwrap()
}

fn opened(folder: &TempDir) -> LocalStore {
    open(folder.path(), Arc::new(SystemDisk)).unwrap()
}

mod model;
