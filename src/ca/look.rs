//! The questions about certificates and clusters.

use std::time::Duration;

use super::clusters;
use super::rows::{AuthorityRow, ClusterRow};
use crate::access::{Permission, Permit, Scope};
use crate::command::{Query, Rejected};
use crate::ident::{AnyId, ClusterName, Fingerprint};
use crate::ledger::credentials::{self, Reference};
use crate::ledger::rows::{CertificateRole, CertificateRow, Recorded};
use crate::store::record::Stored;
use crate::store::txn::Txn;
use crate::world::Moment;

/// Shows one certificate.
#[derive(Clone, Debug)]
pub struct ShowCertificate(pub Reference);

impl Query for ShowCertificate {
    type Answer = Recorded;

    fn permission(&self) -> Permission {
        Permission::CertificateRead
    }

    fn scope(&self, txn: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(scope_of(&present(txn, &self.0)?.value))
    }

    fn answer(&self, _: &Permit, txn: &mut Txn<'_>, _: &Moment<'_>) -> Result<Self::Answer, Rejected> {
        present(txn, &self.0).map(Recorded::from)
    }
}

/// A certificate on the record, asserted.
pub fn present(txn: &mut Txn<'_>, reference: &Reference) -> Result<Stored<CertificateRow>, Rejected> {
    credentials::find(txn, reference)?.ok_or_else(|| Rejected::not_found(format_args!("certificate {reference}")))
}

/// Whose a certificate is.
pub fn scope_of(row: &CertificateRow) -> Scope {
    match row.subject.parse::<AnyId>() {
        Ok(id) => Scope::Of(id, row.cluster.clone()),
        Err(_) => Scope::Everything,
    }
}

/// Lists certificates by fingerprint.
#[derive(Clone, Debug, Default)]
pub struct ListCertificates {
    /// Only those of this holder.
    pub id: Option<AnyId>,
    /// Only those for this cluster.
    pub cluster: Option<ClusterName>,
    /// Only those that end within this time and have not ended.
    pub expiring: Option<Duration>,
    /// Also those of authorities, servers, proxies and responders.
    pub with_infrastructure: bool,
    /// Only those after this one.
    pub after: Option<Fingerprint>,
    /// At most this many.
    pub limit: usize,
}

impl Query for ListCertificates {
    type Answer = Vec<Recorded>;

    fn permission(&self) -> Permission {
        Permission::CertificateRead
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(match &self.id {
            Some(id) => Scope::Of(id.clone(), self.cluster.clone()),
            None => Scope::Everything,
        })
    }

    fn answer(&self, _: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Self::Answer, Rejected> {
        let is_wanted = |row: &CertificateRow| {
            let is_personal = matches!(row.role, CertificateRole::User | CertificateRole::Management);
            (is_personal || self.with_infrastructure)
                && self.cluster.as_ref().is_none_or(|cluster| row.cluster.as_ref() == Some(cluster))
                && self
                    .expiring
                    .is_none_or(|within| row.not_after >= moment.now && row.not_after <= moment.now.after(within))
        };
        if let Some(id) = &self.id {
            let mut rows = credentials::of_holder(txn, id.as_str())?;
            rows.retain(|row| is_wanted(&row.value) && self.after.is_none_or(|after| row.value.fingerprint > after));
            rows.sort_unstable_by_key(|row| row.value.fingerprint);
            rows.truncate(self.limit);
            return Ok(rows.into_iter().map(Recorded::from).collect());
        }
        let mut found = Vec::new();
        let mut after = self.after;
        while found.len() < self.limit {
            let page = txn.scan::<CertificateRow>(&[], after.as_ref(), PAGE)?;
            let Some(last) = page.last() else { break };
            after = Some(last.value.fingerprint);
            let room = self.limit.saturating_sub(found.len());
            found.extend(page.into_iter().filter(|row| is_wanted(&row.value)).take(room).map(Recorded::from));
        }
        Ok(found)
    }
}

/// A cluster and its issuing CAs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterView {
    /// The cluster.
    pub cluster: ClusterRow,
    /// Its authorities, the one that signs last, but for one that is to sign next.
    pub authorities: Vec<AuthorityRow>,
}

/// Shows one cluster.
#[derive(Clone, Debug)]
pub struct ShowCluster(pub ClusterName);

impl Query for ShowCluster {
    type Answer = ClusterView;

    fn permission(&self) -> Permission {
        Permission::ClusterRead
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Cluster(self.0.clone()))
    }

    fn answer(&self, _: &Permit, txn: &mut Txn<'_>, _: &Moment<'_>) -> Result<ClusterView, Rejected> {
        let row = clusters::present(txn, &self.0)?;
        view(txn, row)
    }
}

/// Lists every cluster; there are few.
#[derive(Clone, Copy, Debug)]
pub struct ListClusters;

impl Query for ListClusters {
    type Answer = Vec<ClusterView>;

    fn permission(&self) -> Permission {
        Permission::ClusterRead
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn answer(&self, _: &Permit, txn: &mut Txn<'_>, _: &Moment<'_>) -> Result<Vec<ClusterView>, Rejected> {
        let rows = txn.scan_all::<ClusterRow>(&[])?;
        rows.into_iter().map(|row| view(txn, row.value)).collect()
    }
}

fn view(txn: &Txn<'_>, cluster: ClusterRow) -> Result<ClusterView, Rejected> {
    let mut authorities = Vec::new();
    for name in cluster.trusted() {
        authorities.extend(txn.peek::<AuthorityRow>(name)?.map(|row| row.value));
    }
    Ok(ClusterView { cluster, authorities })
}

/// Rows read at once.
const PAGE: usize = 500;
