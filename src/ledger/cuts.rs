//! Writing cut-offs, individual revocations and locks; asserting that there are none.

use super::rows::{CutHeadRow, CutOffRow, Judged, LockRow, RevokedRow};
use crate::command::Rejected;
use crate::ident::{AnyId, ClusterName, Fingerprint, Serial};
use crate::journal::{Cause, Event};
use crate::standing::CutKey;
use crate::status::LockKey;
use crate::store::record::Stored;
use crate::store::txn::Txn;
use crate::world::{Moment, random};
use crate::x509::reason::Reason;

/// Why something is cut off.
#[derive(Clone, Debug, Default)]
pub struct Why {
    /// In the words of RFC 5280 §5.3.1.
    pub reason: Reason,
    /// In the words of whoever asked.
    pub comment: Option<String>,
}

/// Cuts the key off: always written, never skipped because nothing seems alive.
pub fn cut_off(txn: &mut Txn<'_>, moment: &Moment<'_>, key: CutKey, cause: Cause, why: &Why) -> Result<(), Rejected> {
    let nonce = random::<16>(moment.entropy)?;
    let row = CutOffRow { key: key.clone(), at: moment.now, reason: why.reason, cause, cut: None };
    txn.put(&(key.clone(), nonce), &row)?;
    txn.put(&key, &CutHeadRow::default())?;
    txn.record(Event::CutOff { key, reason: why.reason, cause, comment: why.comment.clone() });
    Ok(())
}

/// Revokes one certificate and cuts off what was obtained with it; the first revocation's date and reason stay.
///
/// Its absence is asserted, so that of two at once the later is decided again and does not write over the earlier.
pub fn revoke(
    txn: &mut Txn<'_>,
    moment: &Moment<'_>,
    fingerprint: Fingerprint,
    serial: Serial,
    why: &Why,
) -> Result<(), Rejected> {
    revoke_alone(txn, moment, fingerprint, serial, why)?;
    cut_off(txn, moment, CutKey::Via(fingerprint), Cause::Revoked, why)
}

/// Revokes one certificate with which nothing can have been obtained.
pub fn revoke_alone(
    txn: &mut Txn<'_>,
    moment: &Moment<'_>,
    fingerprint: Fingerprint,
    serial: Serial,
    why: &Why,
) -> Result<(), Rejected> {
    if txn.get::<RevokedRow>(&fingerprint)?.is_none() {
        let revoked = RevokedRow { fingerprint, serial, at: moment.now, reason: why.reason, cut: None };
        txn.put(&fingerprint, &revoked)?;
        let comment = why.comment.clone();
        txn.record(Event::CertificateRevoked { serial, fingerprint, reason: why.reason, comment });
    }
    Ok(())
}

/// Locks an identity; what is locked stays locked since it first was.
///
/// The lock that it found is asserted: taken back meanwhile, it must be written again.
pub fn lock(txn: &mut Txn<'_>, moment: &Moment<'_>, id: &AnyId, cluster: Option<&ClusterName>) -> Result<(), Rejected> {
    let key = (id.clone(), cluster.cloned());
    if txn.get::<LockRow>(&key)?.is_none() {
        txn.put(&key, &LockRow { id: id.clone(), cluster: cluster.cloned(), at: moment.now, by_restore: false })?;
        txn.record(Event::Locked { id: id.clone(), cluster: cluster.cloned() });
    }
    Ok(())
}

/// Unlocks an identity; whether it was locked.
pub fn unlock(txn: &mut Txn<'_>, id: &AnyId, cluster: Option<&ClusterName>) -> Result<bool, Rejected> {
    let key = (id.clone(), cluster.cloned());
    let was_locked = txn.get::<LockRow>(&key)?.is_some();
    if was_locked {
        txn.delete::<LockRow>(&key);
        txn.record(Event::Unlocked { id: id.clone(), cluster: cluster.cloned() });
    }
    Ok(was_locked)
}

/// The first lock that covers any of the cut keys; asserts every one that was absent.
pub fn lock_covering(txn: &mut Txn<'_>, cut_keys: &[CutKey]) -> Result<Option<LockRow>, Rejected> {
    for key in cut_keys.iter().filter_map(LockKey::covering) {
        if let Some(lock) = txn.get::<LockRow>(&(key.id, key.cluster))? {
            return Ok(Some(lock.value));
        }
    }
    Ok(None)
}

/// Asserts the newest cut-off of each key, or that there is none.
pub fn assert_heads(txn: &mut Txn<'_>, cut_keys: &[CutKey]) -> Result<(), Rejected> {
    for key in cut_keys {
        txn.get::<CutHeadRow>(key)?;
    }
    Ok(())
}

/// Whether a key was cut off after the row was recorded; asserts what it read.
pub fn is_cut_since<R: Judged>(txn: &mut Txn<'_>, key: &CutKey, row: &Stored<R>) -> Result<bool, Rejected> {
    let head = txn.get::<CutHeadRow>(key)?;
    Ok(match (head, R::issued(row)) {
        (None, _) => false,
        // The row is this transaction's own: nothing can be later, and a cut-off beside it does not kill it.
        (Some(_), None) => key.is_terminal(),
        (Some(head), Some(issued)) => {
            // A cut-off that was taken over after a restore counts from where it was committed first.
            let cut = head.value.cut.or(head.modified);
            key.is_terminal() || cut.is_none_or(|cut| crate::standing::is_cut(key, issued, cut))
        }
    })
}
