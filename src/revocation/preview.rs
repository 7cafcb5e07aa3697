//! What a revocation hits.

use super::wish::{Known, Target, known, scope_of};
use crate::access::{Permission, Permit, Scope};
use crate::ca::{authorities, look};
use crate::command::{Query, Rejected};
use crate::ident::ClusterName;
use crate::ledger::credentials;
use crate::ledger::rows::{CertificateRole, CertificateRow, LockRow, Recorded};
use crate::store::txn::Txn;
use crate::world::Moment;

/// Asks which certificates a revocation is about, whether they stand or not.
#[derive(Clone, Debug)]
pub struct Preview {
    /// What would be revoked.
    pub target: Target,
    /// On this cluster only.
    pub cluster: Option<ClusterName>,
}

/// What a revocation is about.
#[derive(Clone, Debug)]
pub struct Affected {
    /// What is known of the ID.
    pub known: Known,
    /// Its certificates; none while the record cannot be read.
    pub certificates: Option<Certificates>,
    /// Whether the holder is locked everywhere.
    pub is_locked: bool,
}

/// The certificates of whatever a revocation is about.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// Every one that the revocation would cut off or has cut off.
    pub hit: Vec<Recorded>,
    /// The holder's others.
    pub spared: Vec<Recorded>,
}

impl Query for Preview {
    type Answer = Affected;

    fn permission(&self) -> Permission {
        Permission::CertificateRead
    }

    fn scope(&self, txn: &mut Txn<'_>) -> Result<Scope, Rejected> {
        scope_of(&self.target, self.cluster.as_ref(), txn)
    }

    fn answer(&self, _: &Permit, txn: &mut Txn<'_>, _: &Moment<'_>) -> Result<Affected, Rejected> {
        let id = match &self.target {
            Target::User(id) | Target::Agency(id) => id.clone(),
            Target::Certificate(reference) => {
                let holder = look::present(txn, reference)?.value.subject;
                holder.parse().map_err(|_| Rejected::invalid("this certificate has no holder"))?
            }
            // There may be millions: whoever asks counts them on the roll.
            Target::Authority(issuer) => {
                authorities::present(txn, issuer)?;
                return Ok(Affected { known: Known::Authority, certificates: None, is_locked: false });
            }
        };
        let is_locked = txn.peek::<LockRow>(&(id.clone(), None))?.is_some();
        let known = known(txn, &id)?;
        if known == Known::Unread {
            return Ok(Affected { known, certificates: None, is_locked });
        }
        let mut rows = credentials::of_holder(txn, id.as_str())?;
        if matches!(self.target, Target::Agency(_)) {
            rows.extend(credentials::of_agency(txn, id.as_str())?);
            rows.sort_unstable_by_key(|row| row.value.fingerprint);
            rows.dedup_by_key(|row| row.value.fingerprint);
        }
        let hit = self.hits(txn)?;
        let (hit, mut spared): (Vec<_>, Vec<_>) =
            rows.into_iter().map(Recorded::from).partition(|recorded| hit(&recorded.row));
        // A proxy may be called like a user.
        spared.retain(|recorded| matches!(recorded.row.role, CertificateRole::User | CertificateRole::Management));
        Ok(Affected { known, certificates: Some(Certificates { hit, spared }), is_locked })
    }
}

impl Preview {
    /// Whether a certificate is among those that die.
    fn hits(&self, txn: &mut Txn<'_>) -> Result<impl Fn(&CertificateRow) -> bool + use<>, Rejected> {
        let mut keys = self.target.cut_keys(self.cluster.as_ref());
        let mut one = None;
        if let Target::Certificate(reference) = &self.target {
            let fingerprint = look::present(txn, reference)?.value.fingerprint;
            keys.push(crate::standing::CutKey::Via(fingerprint));
            one = Some(fingerprint);
        }
        Ok(move |row: &CertificateRow| {
            one == Some(row.fingerprint) || row.cut_keys.iter().any(|key| keys.contains(key))
        })
    }
}
