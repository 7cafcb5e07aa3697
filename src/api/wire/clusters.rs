//! Clusters, and the CAs that issue for them.

use serde::{Deserialize, Serialize};

use super::{Certificate, ProxyEnforcement};

/// `POST /v1/clusters`: adds a cluster.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddCluster {
    /// Its name, a DNS label of at most 40 characters.
    pub name: String,
    /// The address of its proxy, `https://host:port`.
    pub server: String,
    /// Further names of its proxy.
    #[serde(default)]
    pub names: Vec<String>,
    /// Its issuing CA, where that is not to be made here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<BroughtCa>,
}

/// A CA of one's own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BroughtCa {
    /// Its certificate in PEM.
    pub certificate_pem: String,
    /// Its key in PEM, unencrypted; absent where the certificate is for a request of the authority's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_pem: Option<KeyPem>,
    /// That an API server trusts it too is understood.
    #[serde(default)]
    pub shared: bool,
}

/// A private key on its way to the authority: not shown, wiped when dropped.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyPem(pub String);

impl std::fmt::Debug for KeyPem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

impl Drop for KeyPem {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// `POST /v1/clusters/{name}/rotations`: wants another issuing CA for a cluster, or goes on with one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateRequest {
    /// The CA, where it is not to be made here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<BroughtCa>,
    /// How long to wait for proxies, in milliseconds; the largest bound and two seconds by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// Let it sign even where a proxy does not know it yet.
    #[serde(default)]
    pub force: bool,
}

/// The answer to [`RotateRequest`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rotated {
    /// The cluster as it is now.
    pub cluster: Cluster,
    /// The CA that is to sign.
    pub issuer: String,
    /// Whether it does.
    pub signs: bool,
    /// How far every proxy is with knowing it.
    pub proxies: Vec<ProxyEnforcement>,
    /// What it means, in a sentence or two.
    pub meaning: String,
}

/// The answer to `POST /v1/clusters/{name}/requests`: a request for the cluster's next issuing CA.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CaRequest {
    /// What the CA will be called.
    pub issuer: String,
    /// The request in PEM; its key stays with the authority.
    pub csr: String,
}

/// `POST /v1/certificates/imports`: puts a certificate on the record that a brought CA had issued before.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// The cluster; may be left out where there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The certificate in PEM.
    pub certificate_pem: String,
}

/// The answer to [`ImportRequest`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImportAnswer {
    /// What is on the record.
    pub certificate: Certificate,
    /// Whether it was there before.
    pub already: bool,
}

/// A cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// The address of its proxy.
    pub server: String,
    /// The names its proxy may have in its server certificate.
    pub names: Vec<String>,
    /// Its issuing CAs in the order in which they came.
    pub issuers: Vec<Issuer>,
    /// Whether an API server trusts the issuing CA itself, so that revocations are not enforced there.
    pub shared_ca: bool,
    /// The proxies of this cluster that follow the authority; without one, revocations show in CRL and OCSP only.
    #[serde(default)]
    pub proxies: Vec<String>,
}

/// A certificate authority.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Issuer {
    /// Its name, as in the addresses of its CRL and certificate.
    pub name: String,
    /// Its certificate's SHA-256.
    pub credential_id: String,
    /// The last moment of its validity.
    pub not_after: String,
    /// Its certificate in PEM.
    pub certificate_pem: String,
    /// `signs`, `next` until every proxy knows it, `stands` for an earlier one, or `revoked`.
    #[serde(default)]
    pub state: String,
    /// Whether somebody else has signed it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub brought: bool,
    /// Where its CRL is; absent where it signs none, so that OCSP alone tells of a revocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl: Option<String>,
}

/// The answer to `POST /v1/root/list-requests`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnsignedList {
    /// The root's list before its signature (RFC 5280 §5.1.2, TBSCertList), in PEM with the label PORTCULLIS UNSIGNED CRL.
    pub unsigned_pem: String,
}

/// `POST /v1/root/lists`: publishes the root's list, signed where its key is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedList {
    /// The list in PEM.
    pub list_pem: String,
}
