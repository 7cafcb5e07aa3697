//! Taking over certificates that a CA issued before it was brought.
//!
//! What is imported counts as issued before everything on the record, so any cut-off of its identity kills it, an earlier
//! one too: one that would be born dead is refused. What can cut it off comes from the directory, not from what the
//! certificate says of itself.

use super::authorities;
use super::clusters;
use super::rows::ClusterRow;
use super::sign::{cut_keys, key_hash};
use crate::access::{Permission, Permit, Scope};
use crate::command::{Code, Command, Rejected};
use crate::directory::membership;
use crate::directory::rows::IdentityRow;
use crate::ident::{ClusterName, GroupName, IdentityId, IssuerName};
use crate::journal::IdentityKind;
use crate::ledger::rows::{CertificateRole, CertificateRow, CutHeadRow, Recorded};
use crate::ledger::{credentials, cuts};
use crate::standing::{CutKey, Revision};
use crate::store::txn::Txn;
use crate::world::Moment;
use crate::x509::certificate::Certificate;
use crate::x509::shape;

/// Puts a certificate on the record that a cluster's CA issued elsewhere.
#[derive(Clone, Debug)]
pub struct Import {
    /// The cluster that it is for; the only one, where none is named.
    pub cluster: Option<ClusterName>,
    /// The certificate.
    pub certificate: Certificate,
}

impl Command for Import {
    type Outcome = Imported;

    fn permission(&self) -> Permission {
        Permission::ClusterWrite
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Imported, Rejected> {
        let certificate = &self.certificate;
        if let Some(row) = txn.get::<CertificateRow>(&certificate.fingerprint())? {
            return Ok(Imported { recorded: row.into(), already: true });
        }
        shape::check(certificate)
            .map_err(|error| Rejected::invalid(format!("proxies would refuse this certificate: {error}")))?;
        if certificate.not_after < moment.now {
            return Err(Rejected::invalid(format!("it expired at {}", certificate.not_after)));
        }
        let named = self.cluster.clone().map_or_else(|| clusters::only_or_named(txn), Ok)?;
        let cluster = clusters::present(txn, &named)?;
        let issuer = self.issuer(txn, &cluster)?;
        let row = self.row(txn, named, issuer)?;
        must_be_born_alive(txn, &row)?;
        credentials::record(txn, key_hash(certificate.public_key.spki()), &row)?;
        Ok(Imported { recorded: Recorded { row, revision: Revision::IMPORTED }, already: false })
    }
}

/// A certificate is on the record.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Imported {
    /// What was recorded.
    pub recorded: Recorded,
    /// Whether it was there before.
    pub already: bool,
}

impl Import {
    /// The brought CA of the cluster that signed it, asserted; what ours have signed is on the record or is not let in.
    fn issuer(&self, txn: &mut Txn<'_>, cluster: &ClusterRow) -> Result<IssuerName, Rejected> {
        let mut refused = None;
        for name in cluster.trusted() {
            let row = authorities::present(txn, name)?;
            match self.certificate.verify_signed_by(&row.certificate()?) {
                Ok(()) if row.is_brought => {
                    authorities::must_sign(txn, name)?;
                    return Ok(name.clone());
                }
                Ok(()) => {
                    return Err(Rejected::invalid(format!(
                        "it is signed by {name}, which has only ever signed here, and it is not on the record"
                    )));
                }
                Err(error) => refused = Some(error),
            }
        }
        let why = refused.map_or_else(|| "it has no CA".to_owned(), |error| error.to_string());
        Err(Rejected::invalid(format!("it is not signed by a CA that was brought for {}: {why}", cluster.name)))
    }

    /// Its record: whose it is as the directory says, and nothing that the directory does not say.
    fn row(&self, txn: &mut Txn<'_>, cluster: ClusterName, issuer: IssuerName) -> Result<CertificateRow, Rejected> {
        let certificate = &self.certificate;
        let names = certificate.subject.common_names();
        let id: IdentityId = names.first().copied().unwrap_or_default().parse().map_err(Rejected::from)?;
        let identity = txn.get::<IdentityRow>(&id)?.ok_or_else(|| {
            Rejected::new(Code::NotFound, format!("there is no user or agency {id}: add it first, then import"))
        })?;
        let groups = self.groups(txn, &id)?;
        let is_agency = identity.value.kind == IdentityKind::Agency;
        let agency = membership::agency_of(txn, &id)?.or_else(|| is_agency.then(|| id.clone()));
        let mut keys = cut_keys(&id, Some(&cluster), agency.as_ref(), &groups);
        keys.push(CutKey::Issuer(issuer.clone()));
        keys.sort_unstable();
        keys.dedup();
        Ok(CertificateRow {
            serial: certificate.serial.ok_or_else(|| Rejected::invalid("its serial number is none of RFC 5280"))?,
            fingerprint: certificate.fingerprint(),
            issuer,
            role: CertificateRole::User,
            subject: id.as_str().to_owned(),
            cluster: Some(cluster),
            groups,
            agency,
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            cut_keys: keys,
            der: certificate.der().to_vec(),
            is_imported: true,
        })
    }

    /// The groups that it carries, all of which the directory must have its holder in.
    fn groups(&self, txn: &mut Txn<'_>, id: &IdentityId) -> Result<Vec<GroupName>, Rejected> {
        let carried = self.certificate.subject.organizations();
        let carried: Result<Vec<GroupName>, _> = carried.into_iter().map(str::parse).collect();
        let mut carried = carried.map_err(Rejected::from)?;
        let held = membership::groups_of(txn, id)?;
        if let Some(group) = carried.iter().find(|group| !held.contains(group)) {
            return Err(Rejected::invalid(format!(
                "it carries the group {group}, which {id} is not in: `portcullis user edit {id} --add-group {group}`, if \
                 that is meant"
            )));
        }
        carried.sort_unstable();
        carried.dedup();
        Ok(carried)
    }
}

/// Nothing has ever cut it off, and nobody has locked its holder; asserted.
fn must_be_born_alive(txn: &mut Txn<'_>, row: &CertificateRow) -> Result<(), Rejected> {
    for key in &row.cut_keys {
        if txn.get::<CutHeadRow>(key)?.is_some() {
            return Err(Rejected::new(
                Code::Conflict,
                format!(
                    "{key} was cut off before, and an imported certificate counts as older than that: it would be refused \
                     everywhere; issue a new one to {}",
                    row.subject
                ),
            ));
        }
    }
    match cuts::lock_covering(txn, &row.cut_keys)? {
        Some(lock) => Err(Rejected::new(Code::Locked, format!("{} is locked since {}", lock.id, lock.at))),
        None => Ok(()),
    }
}
