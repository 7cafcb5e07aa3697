//! The rows of authorities and clusters.

use serde::{Deserialize, Serialize};

use crate::ident::{ClusterName, IssuerName};
use crate::store::record::{Record, Table};
use crate::world::Timestamp;

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
    /// Whether an API server trusts the issuing CA itself, so that revocations are not enforced there.
    pub shared_ca: bool,
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
