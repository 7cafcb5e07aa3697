//! Taking over facts that were committed after the backup that a store was put back from.
//!
//! A cut-off keeps its C: a credential of the new era, issued after it, is not hit. Everything is written at most once,
//! however many witnesses tell of it.

use super::rows::{CutHeadRow, CutOffRow, ListedSerialRow, LockRow, LockTakenOverRow, RestoreRow, RevokedRow};
use crate::command::Rejected;
use crate::ident::Fingerprint;
use crate::journal::{Cause, Event, Witness};
use crate::standing::{Cut, CutKey, Revision};
use crate::status::{Lock, LockKey};
use crate::store::txn::Txn;
use crate::world::Timestamp;

/// The restores that a store has behind it: which revisions of earlier eras are not in its journal.
#[derive(Clone, Debug, Default)]
pub struct Restores(Vec<RestoreRow>);

impl Restores {
    /// Reads them.
    pub fn read(txn: &Txn<'_>) -> Result<Self, Rejected> {
        let mut rows: Vec<_> = txn.scan_all::<RestoreRow>(&[])?.into_iter().map(|row| row.value).collect();
        rows.sort_unstable_by_key(|row| row.era);
        Ok(Self(rows))
    }

    /// The oldest place that the journal was ever put back to: whoever has followed before knows no earlier gap.
    pub fn oldest(&self) -> Option<Revision> {
        self.0.iter().map(|row| row.backup).min()
    }

    /// Whether a row that appeared then is of an era before the last of them.
    pub fn have_come_after(&self, created: Option<Revision>) -> bool {
        self.0.last().zip(created).is_some_and(|(last, created)| created.era < last.era)
    }

    /// Whether a commit at this revision was lost by one of them: only such a fact may be taken over.
    pub fn has_lost(&self, revision: Revision) -> bool {
        let Some(current) = self.0.last().map(|row| row.era) else { return false };
        match self.0.iter().find(|row| row.backup.era == revision.era) {
            // The era is in the journal, up to where it was put back to.
            Some(ended) => revision > ended.backup,
            // It is not: of another clone of an earlier backup.
            None => revision.era < current,
        }
    }
}

/// A new era begins on what a backup held.
pub fn begin_era(txn: &mut Txn<'_>, at: Timestamp, era: u32, backup: Revision) -> Result<(), Rejected> {
    txn.put(&era.to_be_bytes(), &RestoreRow { era, backup, at })?;
    txn.record(Event::Restored { backup });
    Ok(())
}

/// Whether this cut-off was taken over before; asserted.
pub fn has_cut_off(txn: &mut Txn<'_>, key: &CutKey, revision: Revision) -> Result<bool, Rejected> {
    Ok(txn.get::<CutOffRow>(&(key.clone(), place(revision)))?.is_some())
}

/// Takes over a cut-off, which keeps its C.
pub fn cut_off(txn: &mut Txn<'_>, key: &CutKey, cut: &Cut, cause: Cause, witness: &Witness) -> Result<(), Rejected> {
    if has_cut_off(txn, key, cut.revision)? {
        return Ok(());
    }
    let row = CutOffRow { key: key.clone(), at: cut.at, reason: cut.reason, cause, cut: Some(cut.revision) };
    txn.put(&(key.clone(), place(cut.revision)), &row)?;
    let newest = match txn.get::<CutHeadRow>(key)? {
        None => Some(cut.revision),
        // What this transaction has cut off itself is newer than anything that it takes over.
        Some(head) => head.value.cut.or(head.modified).map(|known| known.max(cut.revision)),
    };
    txn.put(key, &CutHeadRow { cut: newest })?;
    let (key, cut, witness) = (key.clone(), cut.clone(), witness.clone());
    txn.record(Event::CutOffTakenOver { key, cut, cause, witness });
    Ok(())
}

/// Takes over the revocation of one certificate.
pub fn revocation(txn: &mut Txn<'_>, row: &RevokedRow, witness: &Witness) -> Result<(), Rejected> {
    if txn.get::<RevokedRow>(&row.fingerprint)?.is_none() {
        txn.put(&row.fingerprint, row)?;
        txn.record(Event::RevocationTakenOver {
            serial: row.serial,
            fingerprint: row.fingerprint,
            cut: Cut { revision: row.cut.unwrap_or_default(), at: row.at, reason: row.reason },
            witness: witness.clone(),
        });
    }
    Ok(())
}

/// Takes over that a certificate which is not on the record is revoked.
pub fn listed(txn: &mut Txn<'_>, row: &ListedSerialRow) -> Result<(), Rejected> {
    let key = (row.issuer.clone(), row.serial);
    if txn.get::<ListedSerialRow>(&key)?.is_none() {
        txn.put(&key, row)?;
        let ListedSerialRow { issuer, serial, cut, until } = row.clone();
        txn.record(Event::SerialTakenOver { issuer, serial, cut, until });
    }
    Ok(())
}

/// Locks an identity until an admin has looked.
pub fn lock(txn: &mut Txn<'_>, at: Timestamp, key: &LockKey, witness: &Witness) -> Result<(), Rejected> {
    let LockKey { id, cluster } = key.clone();
    if txn.get::<LockRow>(&(id.clone(), cluster.clone()))?.is_none() {
        let row = LockRow { id: id.clone(), cluster: cluster.clone(), at, by_restore: true };
        txn.put(&(id.clone(), cluster.clone()), &row)?;
        txn.record(Event::LockedByRestore { id, cluster, witness: witness.clone() });
    }
    Ok(())
}

/// Whether this lock was taken over before, also if it was taken back since; asserted.
pub fn has_lock(txn: &mut Txn<'_>, lock: &Lock) -> Result<bool, Rejected> {
    Ok(txn.get::<LockTakenOverRow>(&(as_cut_key(&lock.key), lock.revision))?.is_some())
}

/// Notes that a lock was taken over.
pub fn note_lock(txn: &mut Txn<'_>, lock: &Lock) -> Result<(), Rejected> {
    Ok(txn.put(&(as_cut_key(&lock.key), lock.revision), &LockTakenOverRow)?)
}

/// An identity, everywhere or on a cluster, in the one form that can be the first part of a row's key.
fn as_cut_key(key: &LockKey) -> CutKey {
    match &key.cluster {
        None => CutKey::Identity(key.id.clone()),
        Some(cluster) => CutKey::IdentityOnCluster(key.id.clone(), cluster.clone()),
    }
}

/// Where a cut-off that keeps its C lies under its key, so that every witness names the same row.
fn place(revision: Revision) -> [u8; 16] {
    Fingerprint::of(&revision.octets()).short().0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(era: u32, number: u64) -> Revision {
        Revision { era, number }
    }

    fn restores(rows: &[(u32, Revision)]) -> Restores {
        let at = Timestamp::from_unix_seconds(1);
        Restores(rows.iter().map(|(era, backup)| RestoreRow { era: *era, backup: *backup, at }).collect())
    }

    #[test]
    fn only_what_lies_beyond_a_backup_was_lost() {
        let twice = restores(&[(20, at(10, 90)), (30, at(20, 95))]);
        for lost in [at(10, 91), at(20, 96), at(15, 3), at(25, 1)] {
            assert!(twice.has_lost(lost), "{lost}");
        }
        for kept in [at(10, 1), at(10, 90), at(20, 91), at(20, 95), at(30, 96), at(31, 1)] {
            assert!(!twice.has_lost(kept), "{kept}");
        }
        assert!(!restores(&[]).has_lost(at(10, 1)));
        assert!(twice.have_come_after(Some(at(20, 95))) && !twice.have_come_after(Some(at(30, 96))));
        assert!(!twice.have_come_after(None) && !restores(&[]).have_come_after(Some(at(10, 1))));
        assert_eq!(twice.oldest(), Some(at(10, 90)));
    }
}
