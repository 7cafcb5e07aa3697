//! The wish for a certificate of one's own or of somebody else's.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::authorities::must_sign;
use super::clusters;
use super::keys::Keyring;
use super::rows::ClusterRow;
use super::sign::{self, Holding};
use super::template::{INFRASTRUCTURE_LIFETIME, MAX_LIFETIME, MIN_LIFETIME, Places, USER_LIFETIME, Wanted};
use crate::access::{Actor, Holder, Permission, Permit, Realm, Scope};
use crate::command::{Code, Command, Rejected};
use crate::directory::rows::{DeletedRow, IdentityRow};
use crate::directory::{admins, membership};
use crate::ident::{AnyId, ClusterName, GroupName, IdentityId, IssuerName};
use crate::journal::IdentityKind;
use crate::ledger::credentials;
use crate::ledger::cuts;
use crate::ledger::rows::{CertificateRole, CertificateRow};
use crate::standing::CutKey;
use crate::store::txn::Txn;
use crate::world::Moment;
use crate::x509::name::Subject;
use crate::x509::public_key::PublicKey;

/// Has a certificate issued to a user or an agency.
#[derive(Debug)]
pub struct Issue {
    /// To whom.
    pub id: IdentityId,
    /// What for.
    pub purpose: Purpose,
    /// The key, whose owner has proved to have it.
    pub public_key: PublicKey,
    /// How long it is to be valid.
    pub lifetime: Option<Duration>,
    /// The authorities.
    pub keyring: Arc<Keyring>,
    /// Where relying parties look things up.
    pub places: Places,
}

/// What a certificate is wanted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A cluster; the only one, where none is named.
    Cluster(Option<ClusterName>),
    /// The management API.
    Management,
}

/// A certificate is on the record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IssuedCertificate {
    /// Its record.
    pub row: CertificateRow,
    /// The certificate of its issuer.
    pub issuer_der: Vec<u8>,
    /// The address of the cluster's proxy.
    pub server: Option<String>,
}

/// A chain of renewals longer than this ends: a new issue is needed.
pub const MAX_ANCESTORS: usize = 16;

impl Command for Issue {
    type Outcome = IssuedCertificate;

    fn permission(&self) -> Permission {
        match self.purpose {
            Purpose::Cluster(_) => Permission::CertificateIssue,
            Purpose::Management => Permission::CertificateIssueManagement,
        }
    }

    fn scope(&self, txn: &mut Txn<'_>) -> Result<Scope, Rejected> {
        let cluster = match &self.purpose {
            Purpose::Cluster(Some(cluster)) => Some(cluster.clone()),
            Purpose::Cluster(None) => clusters::only(txn)?,
            Purpose::Management => None,
        };
        Ok(Scope::Of(AnyId::from(&self.id), cluster))
    }

    fn decide(&self, permit: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<IssuedCertificate, Rejected> {
        let kind = self.must_exist(txn)?;
        let (role, cluster) = self.target(permit, txn)?;
        let groups = if cluster.is_some() { membership::groups_of(txn, &self.id)? } else { Vec::new() };
        // An agency's own credentials are held under itself.
        let own_agency = (kind == IdentityKind::Agency).then(|| self.id.clone());
        let agency = membership::agency_of(txn, &self.id)?.or(own_agency);
        let name = cluster.as_ref().map(|row| &row.name);
        let issuer = cluster.as_ref().and_then(|row| row.issuers.last().cloned()).unwrap_or_else(IssuerName::infra);

        let mut cut_keys = sign::cut_keys(&self.id, name, agency.as_ref(), &groups);
        cut_keys.extend(self.inherited(permit, txn)?);
        cut_keys.sort_unstable();
        cut_keys.dedup();
        // Every head is read and asserted: a cut-off that lands first makes this decision run again.
        cuts::assert_heads(txn, &cut_keys)?;
        if let Some(lock) = cuts::lock_covering(txn, &cut_keys)? {
            return Err(Rejected::new(
                Code::Locked,
                format!("{} is locked since {}: nothing is issued until it is unlocked", lock.id, lock.at),
            ));
        }
        must_sign(txn, &issuer)?;

        let wanted = self.wanted(role, agency.as_ref(), &groups)?;
        let server = cluster.as_ref().map(|row| row.server.clone());
        let holding = Holding { cluster: cluster.map(|row| row.name), groups, agency, cut_keys };
        let issuer = self.keyring.issuer(&issuer)?;
        let signed = sign::sign(&wanted, &issuer, &self.places, holding, moment)?;
        credentials::record(txn, signed.key_hash, &signed.row)?;
        Ok(IssuedCertificate { row: signed.row, issuer_der: issuer.certificate.der().to_vec(), server })
    }
}

impl Issue {
    /// Whether it is for a user or an agency; refuses whoever is not there.
    fn must_exist(&self, txn: &mut Txn<'_>) -> Result<IdentityKind, Rejected> {
        if let Some(row) = txn.get::<IdentityRow>(&self.id)? {
            return Ok(row.value.kind);
        }
        let id = &self.id;
        Err(match txn.get::<DeletedRow>(&AnyId::from(id))? {
            Some(deleted) => {
                let DeletedRow { kind, at, .. } = deleted.value;
                Rejected::new(
                    Code::NotFound,
                    format!(
                        "the {kind} {id} was deleted at {at}: `portcullis {kind} add {id} --reuse` gives the ID to \
                         somebody new"
                    ),
                )
            }
            None => Rejected::new(
                Code::NotFound,
                format!("there is no user or agency {id}: add it with `portcullis user add {id}`"),
            ),
        })
    }

    /// What the certificate is for; only whoever has a role gets one for the management API.
    fn target(&self, permit: &Permit, txn: &mut Txn<'_>) -> Result<(CertificateRole, Option<ClusterRow>), Rejected> {
        let own_realm = match permit.actor() {
            Actor::Holder(Holder { realm: Realm::Cluster(cluster), .. }) => Some(cluster.clone()),
            _ => None,
        };
        match &self.purpose {
            Purpose::Cluster(named) => {
                let name = match named.clone().or(own_realm) {
                    Some(name) => name,
                    None => clusters::only_or_named(txn)?,
                };
                Ok((CertificateRole::User, Some(clusters::present(txn, &name)?)))
            }
            Purpose::Management if admins::grants_of(txn, &self.id)?.roles.is_empty() => Err(Rejected::invalid(
                format!("{} has no role: a management certificate is for whoever has one", self.id),
            )),
            Purpose::Management => Ok((CertificateRole::Management, None)),
        }
    }

    /// What a credential takes over from the one it was obtained with, when the holder asks for their own.
    fn inherited(&self, permit: &Permit, txn: &mut Txn<'_>) -> Result<Vec<CutKey>, Rejected> {
        let Actor::Holder(holder) = permit.actor() else { return Ok(Vec::new()) };
        if holder.id != self.id {
            return Ok(Vec::new());
        }
        let Some(earlier) = txn.get::<CertificateRow>(&holder.fingerprint)? else { return Ok(Vec::new()) };
        let mut keys = vec![CutKey::Via(holder.fingerprint)];
        keys.extend(earlier.value.cut_keys.into_iter().filter(|key| match key {
            CutKey::Via(_) | CutKey::Issuer(_) | CutKey::Member(..) | CutKey::Group(_) => true,
            CutKey::Identity(_) | CutKey::IdentityOnCluster(..) | CutKey::Agency(_) | CutKey::AgencyOnCluster(..) => {
                false
            }
        }));
        if keys.iter().filter(|key| matches!(key, CutKey::Via(_))).count() > MAX_ANCESTORS {
            return Err(Rejected::invalid(format!(
                "this credential was renewed {MAX_ANCESTORS} times in a row: ask an administrator for a new one"
            )));
        }
        Ok(keys)
    }

    fn wanted(
        &self,
        role: CertificateRole,
        agency: Option<&IdentityId>,
        groups: &[GroupName],
    ) -> Result<Wanted, Rejected> {
        let usual = if role == CertificateRole::User { USER_LIFETIME } else { INFRASTRUCTURE_LIFETIME };
        let longest = if role == CertificateRole::User { MAX_LIFETIME } else { INFRASTRUCTURE_LIFETIME };
        let lifetime = self.lifetime.unwrap_or(usual);
        if lifetime < MIN_LIFETIME || lifetime > longest {
            return Err(Rejected::invalid(format!(
                "wanted a lifetime of {} s to {} days, found {} s",
                MIN_LIFETIME.as_secs(),
                longest.as_secs() / 86_400,
                lifetime.as_secs()
            )));
        }
        let subject = Subject {
            common_name: self.id.as_str().to_owned(),
            organizations: groups.iter().map(|group| group.as_str().to_owned()).collect(),
            organizational_unit: agency.map(|agency| agency.as_str().to_owned()),
        };
        Ok(Wanted { role, subject, public_key: self.public_key.clone(), names: Vec::new(), lifetime })
    }
}
