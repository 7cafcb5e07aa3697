//! The rows of authorities and clusters.

use serde::{Deserialize, Serialize};

use super::brought::signs_lists;
use crate::command::{Code, Rejected};
use crate::ident::{ClusterName, IssuerName};
use crate::store::record::{Record, Table};
use crate::world::Timestamp;
use crate::x509::certificate::Certificate;

/// A certificate authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityRow {
    /// Its name.
    pub name: IssuerName,
    /// The cluster it issues for; none for the root and the infrastructure CA.
    pub cluster: Option<ClusterName>,
    /// Its certificate.
    pub der: Vec<u8>,
    /// The last moment of its validity.
    pub not_after: Timestamp,
    /// Whether it signs no more.
    pub retired: bool,
    /// Whether somebody else has signed it: then no list of ours would name its own certificate.
    pub is_brought: bool,
    /// Whether its key was taken off this host: only ever the root's.
    pub is_detached: bool,
}

impl AuthorityRow {
    /// Whether it signs lists; one that was brought may not (RFC 5280 §4.2.1.3).
    pub fn signs_lists(&self) -> bool {
        self.certificate().is_ok_and(|certificate| signs_lists(&certificate))
    }

    /// Its certificate, read.
    pub fn certificate(&self) -> Result<Certificate, Rejected> {
        Certificate::from_der(&self.der).map_err(|error| {
            Rejected::new(Code::Internal, format!("the certificate of {} is unreadable: {error}", self.name))
        })
    }
}

impl Record for AuthorityRow {
    const TABLE: Table = Table::Authority;
    type Key = IssuerName;
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRow {
    /// Its name.
    pub name: ClusterName,
    /// The address of its proxy, `https://host:port`.
    pub server: String,
    /// The names and addresses its proxy may have in its server certificate.
    pub names: Vec<String>,
    /// Its issuing CAs, the one that signs last.
    pub issuers: Vec<IssuerName>,
    /// The one that is to sign once every proxy knows it.
    pub next: Option<IssuerName>,
    /// Whether an API server trusts the issuing CA itself, so that revocations are not enforced there.
    pub shared_ca: bool,
}

impl ClusterRow {
    /// Every issuing CA whose credentials are let in, the next one included.
    pub fn trusted(&self) -> impl Iterator<Item = &IssuerName> {
        self.issuers.iter().chain(&self.next)
    }

    /// What the CA after these is called.
    pub fn successor(&self) -> IssuerName {
        let generation = self.trusted().count().saturating_add(1);
        IssuerName::of_cluster(&self.name, u32::try_from(generation).unwrap_or(u32::MAX))
    }
}

impl Record for ClusterRow {
    const TABLE: Table = Table::Cluster;
    type Key = ClusterName;
}

/// What was fixed at `init`, because it is baked into certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallationRow {
    /// Where CRLs, OCSP and CA certificates are served, `http://host:port` without a slash at the end.
    pub public_url: String,
}

impl Record for InstallationRow {
    const TABLE: Table = Table::Installation;
    type Key = String;
}

/// The key of the one [`InstallationRow`].
pub const INSTALLATION: &str = "installation";
