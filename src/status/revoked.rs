//! What was revoked by itself: a hash table for keys that are random already, as most look-ups find nothing in it.

use hashbrown::HashTable;

use crate::ident::ShortFingerprint;
use crate::standing::Cut;

/// Individual revocations by credential.
#[derive(Debug, Default)]
pub(super) struct Revoked(HashTable<(ShortFingerprint, Cut)>);

impl Revoked {
    pub(super) fn get(&self, key: &ShortFingerprint) -> Option<&Cut> {
        self.0.find(hash(key), |(known, _)| known == key).map(|(_, cut)| cut)
    }

    /// Notes a revocation; false where there is one already, which stays.
    pub(super) fn insert(&mut self, key: ShortFingerprint, cut: Cut) -> bool {
        let is_new = self.get(&key).is_none();
        if is_new {
            self.0.insert_unique(hash(&key), (key, cut), |(key, _)| hash(key));
        }
        is_new
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(ShortFingerprint, Cut)> {
        self.0.iter()
    }
}

/// The key's last 64 bits: part of a SHA-256 that nobody chooses.
fn hash(key: &ShortFingerprint) -> u64 {
    let (_, last) = key.0.split_last_chunk::<8>().unwrap_or((&[], &[0; 8]));
    u64::from_be_bytes(*last)
}
