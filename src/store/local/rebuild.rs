//! Making the index anew from the journal, for whoever doubts it.

use std::path::Path;
use std::sync::Arc;

use super::copy::Done;
use super::index::{Index, IndexSum};
use super::stage::IndexState;
use super::{LocalStore, OpenError, Options, Paths, take_lock};
use crate::disk::Disk;
use crate::world::Entropy;

/// Throws the index of a store that is not running away and makes it again from the journal; gives what it was before,
/// if it was whole, and what it is now.
pub fn rebuild(
    folder: &Path,
    disk: &Arc<dyn Disk>,
    entropy: Arc<dyn Entropy>,
    options: Options,
    progress: impl Fn(Done),
) -> Result<(Option<IndexSum>, IndexSum), OpenError> {
    let paths = Paths::of(folder);
    if !paths.journal.is_dir() {
        return Err(OpenError::NotAStore(folder.to_owned()));
    }
    let lock = take_lock(&**disk, &paths)?;
    let before = Index::whole(&paths.index).map(|index| index.sum());
    drop(Index::anew(&paths.index).map_err(|error| OpenError::Index(error.0))?);
    drop(lock);
    let store = LocalStore::open(folder, Arc::clone(disk), entropy, options)?;
    store.wait_to_be_complete(|state| {
        if let IndexState::Learning { done, of } = state {
            progress(Done { octets: *done, of: *of });
        }
    })?;
    let sum = store.status().sum.ok_or_else(|| OpenError::Index("it went away as it was made".to_owned()))?;
    Ok((before, sum))
}
