//! Making the index anew from the journal, for whoever doubts it.

use std::path::Path;
use std::sync::Arc;

use super::index::Index;
use super::{LocalStore, OpenError, Options, Paths, take_lock};
use crate::disk::Disk;
use crate::standing::Revision;
use crate::world::Entropy;

/// What an index says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexState {
    /// The place in the journal that it reflects.
    pub revision: Revision,
    /// The order-free hash over all of its records.
    pub hash: u128,
    /// How many records it has.
    pub records: u64,
}

/// Throws the index of a store that is not running away and makes it again from the journal; gives what it was before,
/// if it was whole, and what it is now.
pub fn rebuild(
    folder: &Path,
    disk: Arc<dyn Disk>,
    entropy: Arc<dyn Entropy>,
    options: Options,
) -> Result<(Option<IndexState>, IndexState), OpenError> {
    let paths = Paths::of(folder);
    if !paths.journal.is_dir() {
        return Err(OpenError::NotAStore(folder.to_owned()));
    }
    let lock = take_lock(&*disk, &paths)?;
    let before = Index::whole(&paths.index).map(|index| index.state());
    drop(Index::anew(&paths.index).map_err(OpenError::index)?);
    drop(lock);
    let store = LocalStore::open(folder, disk, entropy, options)?;
    let index = store.shared.view.index();
    Ok((before, index.state()))
}
