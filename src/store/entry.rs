//! The bytes of a journal entry: a format version and its postcard.

use super::StoreError;
use crate::journal::Entry;

const VERSION: u8 = 1;

/// The bytes of an entry.
pub fn encode(entry: &Entry) -> Result<Vec<u8>, StoreError> {
    postcard::to_extend(entry, vec![VERSION])
        .map_err(|error| StoreError(format!("a journal entry cannot be written: {error}")))
}

/// An entry from its bytes.
pub fn decode(bytes: &[u8]) -> Result<Entry, StoreError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => {
            postcard::from_bytes(rest).map_err(|error| StoreError(format!("a journal entry cannot be read: {error}")))
        }
        Some((version, _)) => {
            Err(StoreError(format!("a journal entry has format {version}, this version reads {VERSION}")))
        }
        None => Err(StoreError("a journal entry is empty".to_owned())),
    }
}
