//! Revoke, lock, unlock.

use serde::{Deserialize, Serialize};

use crate::access::{Permission, Permit, Scope};
use crate::ca::rows::ClusterRow;
use crate::ca::{authorities, look};
use crate::command::{Code, Command, Rejected};
use crate::directory::admins;
use crate::directory::rows::{DeletedRow, IdentityRow};
use crate::ident::{AnyId, ClusterName, IdentityId, IssuerName};
use crate::journal::{Cause, IdentityKind};
use crate::ledger::credentials::Reference;
use crate::ledger::cuts::{self, Why};
use crate::ledger::rows::{CertificateRole, LockRow};
use crate::standing::CutKey;
use crate::store::txn::Txn;
use crate::world::{Moment, Timestamp};

/// What is to be revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every credential of a user, or of an agency itself.
    User(AnyId),
    /// Every credential of an agency and of its members.
    Agency(AnyId),
    /// One certificate, and what was obtained with it.
    Certificate(Reference),
    /// An issuing CA with everything that it signed, or signs.
    Authority(IssuerName),
}

impl Target {
    /// The keys that a revocation cuts off; none for a certificate, which is revoked by itself.
    pub fn cut_keys(&self, cluster: Option<&ClusterName>) -> Vec<CutKey> {
        let identity = |id: &AnyId| match cluster {
            Some(cluster) => CutKey::IdentityOnCluster(id.clone(), cluster.clone()),
            None => CutKey::Identity(id.clone()),
        };
        let agency = |id: &AnyId| match cluster {
            Some(cluster) => CutKey::AgencyOnCluster(id.clone(), cluster.clone()),
            None => CutKey::Agency(id.clone()),
        };
        match self {
            Self::User(id) => vec![identity(id)],
            Self::Agency(id) => vec![identity(id), agency(id)],
            Self::Certificate(_) => Vec::new(),
            Self::Authority(issuer) => vec![CutKey::Issuer(issuer.clone())],
        }
    }
}

/// Ends credentials for good.
#[derive(Clone, Debug)]
pub struct Revoke {
    /// What.
    pub target: Target,
    /// On this cluster only.
    pub cluster: Option<ClusterName>,
    /// Why.
    pub why: Why,
    /// Also lock the identity, in the same commit.
    pub lock: bool,
    /// Even the last admin.
    pub force: bool,
}

/// A revocation was committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// What is known of the ID; a certificate is always present.
    pub known: Known,
}

/// What is known of an ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Known {
    /// It exists.
    Present(IdentityKind),
    /// It was deleted.
    Deleted(IdentityKind, Timestamp),
    /// It was never seen.
    Never,
    /// The directory cannot be read yet; a revocation does not wait for that.
    Unread,
    /// It is no ID: an issuing CA was revoked.
    Authority,
}

impl Command for Revoke {
    type Outcome = Revoked;

    fn permission(&self) -> Permission {
        match self.target {
            Target::Authority(_) => Permission::AuthorityRevoke,
            _ if self.lock => Permission::IdentityLock,
            Target::User(_) => Permission::IdentityRevoke,
            Target::Agency(_) => Permission::AgencyRevoke,
            Target::Certificate(_) => Permission::CertificateRevoke,
        }
    }

    fn scope(&self, txn: &mut Txn<'_>) -> Result<Scope, Rejected> {
        scope_of(&self.target, self.cluster.as_ref(), txn)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Revoked, Rejected> {
        let id = match &self.target {
            Target::User(id) | Target::Agency(id) => id,
            Target::Certificate(reference) => return self.certificate(reference, txn, moment),
            Target::Authority(issuer) => return self.authority(issuer, txn, moment),
        };
        must_be_a_cluster(txn, self.cluster.as_ref())?;
        let keys = self.target.cut_keys(self.cluster.as_ref());
        admins::must_remain(txn, moment.now, &keys, self.force)?;
        for key in keys {
            cuts::cut_off(txn, moment, key, Cause::Revoked, &self.why)?;
        }
        if self.lock {
            lock(txn, moment, id, self.cluster.as_ref(), self.force)?;
        }
        Ok(Revoked { known: known(txn, id)? })
    }
}

impl Revoke {
    fn certificate(&self, reference: &Reference, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Revoked, Rejected> {
        let row = look::present(txn, reference)?.value;
        if matches!(row.role, CertificateRole::Authority) {
            return Err(Rejected::invalid(format!(
                "{} is the certificate of an authority: `portcullis cluster revoke-ca` ends one, and everything it signed",
                row.subject
            )));
        }
        admins::must_remain_without(txn, moment.now, &row, self.force)?;
        cuts::revoke(txn, moment, row.fingerprint, row.serial, &self.why)?;
        if self.lock {
            let id = row.subject.parse().map_err(|_| Rejected::invalid("this certificate has no holder to lock"))?;
            lock(txn, moment, &id, self.cluster.as_ref(), self.force)?;
        }
        Ok(Revoked { known: Known::Present(IdentityKind::User) })
    }
}

impl Revoke {
    /// One commit: the cut-off, the end of its signing, and its own certificate on the root's list.
    fn authority(&self, issuer: &IssuerName, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Revoked, Rejected> {
        let row = authorities::present(txn, issuer)?;
        if row.cluster.is_none() {
            return Err(Rejected::invalid(format!(
                "{issuer} is not a cluster's CA: everything rests on it, so it is replaced by starting anew; see \
                 docs/stolen-ca-key.md"
            )));
        }
        if self.lock {
            return Err(Rejected::invalid("lock: an authority is not locked, it is revoked for good"));
        }
        cuts::cut_off(txn, moment, CutKey::Issuer(issuer.clone()), Cause::Revoked, &self.why)?;
        authorities::retire(txn, issuer)?;
        if !row.is_brought {
            let certificate = row.certificate()?;
            let serial =
                certificate.serial.ok_or_else(|| Rejected::new(Code::Internal, "an authority has no serial"))?;
            cuts::revoke_alone(txn, moment, certificate.fingerprint(), serial, &self.why)?;
        }
        Ok(Revoked { known: Known::Authority })
    }
}

/// Whose credentials a revocation is about.
pub(super) fn scope_of(target: &Target, cluster: Option<&ClusterName>, txn: &mut Txn<'_>) -> Result<Scope, Rejected> {
    match target {
        Target::User(id) => Ok(Scope::Of(id.clone(), cluster.cloned())),
        Target::Agency(_) | Target::Authority(_) => Ok(Scope::Everything),
        Target::Certificate(reference) => Ok(look::scope_of(&look::present(txn, reference)?.value)),
    }
}

/// What is known of an ID; asserts nothing, because a revocation does not depend on it.
pub(super) fn known(txn: &Txn<'_>, id: &AnyId) -> Result<Known, Rejected> {
    if txn.complete().is_err() {
        return Ok(Known::Unread);
    }
    if let Ok(identity) = id.as_str().parse::<IdentityId>()
        && let Some(row) = txn.peek::<IdentityRow>(&identity)?
    {
        return Ok(Known::Present(row.value.kind));
    }
    Ok(match txn.peek::<DeletedRow>(id)? {
        Some(row) => Known::Deleted(row.value.kind, row.value.at),
        None => Known::Never,
    })
}

/// A cluster that is named exists: a mistyped one would end nothing and say that it had.
fn must_be_a_cluster(txn: &Txn<'_>, cluster: Option<&ClusterName>) -> Result<(), Rejected> {
    match cluster {
        Some(name) if txn.peek::<ClusterRow>(name)?.is_none() => {
            Err(Rejected::not_found(format_args!("cluster {name}")))
        }
        _ => Ok(()),
    }
}

/// The ID is, or was, of this kind, or is locked although it never was anything.
fn must_be(txn: &Txn<'_>, id: &AnyId, kind: IdentityKind) -> Result<(), Rejected> {
    match known(txn, id)? {
        Known::Present(found) | Known::Deleted(found, _) if found == kind => Ok(()),
        Known::Unread => txn.complete().map_err(Rejected::from),
        Known::Never if txn.peek::<LockRow>(&(id.clone(), None))?.is_some() => Ok(()),
        Known::Never => Err(Rejected::new(
            Code::NotFound,
            format!("{id} was never seen here: `revoke user {id} --lock` locks an ID all the same"),
        )),
        Known::Present(_) | Known::Deleted(..) | Known::Authority => {
            Err(Rejected::not_found(format_args!("{kind} {id}")))
        }
    }
}

/// Locks an identity, or an agency with its members: nothing is issued, nothing is let in, until it is unlocked.
#[derive(Clone, Debug)]
pub struct Lock {
    /// Its ID.
    pub id: AnyId,
    /// What it must be.
    pub kind: IdentityKind,
    /// On this cluster only.
    pub cluster: Option<ClusterName>,
}

/// Locks an ID, known or not, unless that would stop the last admin: it covers more than a revocation beside it may,
/// everything else of the holder and the members of an agency.
fn lock(
    txn: &mut Txn<'_>,
    moment: &Moment<'_>,
    id: &AnyId,
    cluster: Option<&ClusterName>,
    force: bool,
) -> Result<(), Rejected> {
    let covered = Target::Agency(id.clone()).cut_keys(cluster);
    admins::must_remain(txn, moment.now, &covered, force)?;
    cuts::lock(txn, moment, id, cluster)
}

/// Whether anything changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockChanged(pub bool);

impl Command for Lock {
    type Outcome = LockChanged;

    fn permission(&self) -> Permission {
        Permission::IdentityLock
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<LockChanged, Rejected> {
        must_be(txn, &self.id, self.kind)?;
        must_be_a_cluster(txn, self.cluster.as_ref())?;
        lock(txn, moment, &self.id, self.cluster.as_ref(), false)?;
        Ok(LockChanged(!txn.is_empty()))
    }
}

/// Unlocks an identity.
#[derive(Clone, Debug)]
pub struct Unlock {
    /// Its ID.
    pub id: AnyId,
    /// What it must be.
    pub kind: IdentityKind,
    /// The lock on this cluster; the lock everywhere is another one.
    pub cluster: Option<ClusterName>,
}

impl Command for Unlock {
    type Outcome = LockChanged;

    fn permission(&self) -> Permission {
        Permission::IdentityLock
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, _: &Moment<'_>) -> Result<LockChanged, Rejected> {
        must_be(txn, &self.id, self.kind)?;
        Ok(LockChanged(cuts::unlock(txn, &self.id, self.cluster.as_ref())?))
    }
}
