//! The questions about proxies.

use super::join::{authorities, following};
use super::rows::ProxyRow;
use crate::access::{Permission, Permit, Scope};
use crate::ca::clusters;
use crate::command::{Query, Rejected};
use crate::ident::{ClusterName, Fingerprint};
use crate::ledger::rows::{CallerRow, CertificateRole, CertificateRow, Recorded};
use crate::store::txn::Txn;
use crate::world::{Moment, Timestamp};

/// Every proxy, removed ones too.
#[derive(Clone, Copy, Debug)]
pub struct ListProxies;

impl Query for ListProxies {
    type Answer = Vec<ProxyRow>;

    fn permission(&self) -> Permission {
        Permission::ProxyRead
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn answer(&self, _: &Permit, txn: &mut Txn<'_>, _: &Moment<'_>) -> Result<Self::Answer, Rejected> {
        Ok(txn.scan_all::<ProxyRow>(&[])?.into_iter().map(|row| row.value).collect())
    }
}

/// Every proxy that has not been removed, with the last moment of its certificate for following, where that is on the
/// record.
#[derive(Clone, Copy, Debug)]
pub struct WatchProxies;

impl Query for WatchProxies {
    type Answer = Vec<(ProxyRow, Option<Timestamp>)>;

    fn permission(&self) -> Permission {
        Permission::MetricsRead
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn answer(&self, _: &Permit, txn: &mut Txn<'_>, _: &Moment<'_>) -> Result<Self::Answer, Rejected> {
        let proxies = txn.scan_all::<ProxyRow>(&[])?.into_iter().map(|row| row.value);
        let mut found = Vec::new();
        for proxy in proxies.filter(|proxy| !proxy.is_removed) {
            let caller = txn.get::<CallerRow>(&(proxy.name.as_str().to_owned(), proxy.certificate))?;
            found.push((proxy, caller.map(|caller| caller.value.not_after)));
        }
        Ok(found)
    }
}

/// The issuing CAs whose clients a proxy lets in, in DER.
#[derive(Clone, Debug)]
pub struct ClusterAuthorities(pub ClusterName);

impl Query for ClusterAuthorities {
    type Answer = Vec<Vec<u8>>;

    fn permission(&self) -> Permission {
        Permission::ProxyFollow
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Cluster(self.0.clone()))
    }

    fn answer(&self, permit: &Permit, txn: &mut Txn<'_>, _: &Moment<'_>) -> Result<Self::Answer, Rejected> {
        following(permit, txn)?;
        let row = clusters::present(txn, &self.0)?;
        authorities(txn, &row)
    }
}

/// A certificate that somebody has shown to a proxy which does not know it: was it issued a moment ago, for its
/// cluster? Read from the store, not from answers that may be behind it.
#[derive(Clone, Debug)]
pub struct LookUp {
    /// The proxy's cluster.
    pub cluster: ClusterName,
    /// The SHA-256 of the certificate.
    pub fingerprint: Fingerprint,
}

impl Query for LookUp {
    type Answer = Option<Recorded>;

    fn permission(&self) -> Permission {
        Permission::ProxyFollow
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Cluster(self.cluster.clone()))
    }

    fn answer(&self, permit: &Permit, txn: &mut Txn<'_>, _: &Moment<'_>) -> Result<Self::Answer, Rejected> {
        following(permit, txn)?;
        let row = txn.get::<CertificateRow>(&self.fingerprint)?;
        let is_theirs =
            |row: &CertificateRow| row.role == CertificateRole::User && row.cluster.as_ref() == Some(&self.cluster);
        Ok(row.filter(|row| is_theirs(&row.value)).map(Recorded::from))
    }
}
