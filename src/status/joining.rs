//! What a proxy says to have its certificates made, and what it is answered: JSON over the management API.

use serde::{Deserialize, Serialize};

/// `POST /v1/proxies/join` and `POST /v1/proxies/certificates`: wants the certificates of a proxy.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EquipRequest {
    /// A certificate signing request in PEM for the key with which it follows the authority.
    pub follower_csr: String,
    /// The same for the key with which it serves.
    pub server_csr: String,
}

/// The answer to [`EquipRequest`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Equipped {
    /// What the proxy is called.
    pub proxy: String,
    /// The cluster it stands in front of.
    pub cluster: String,
    /// The chain with which it follows, leaf first, in PEM.
    pub follower_pem: String,
    /// The chain with which it serves, leaf first, in PEM.
    pub server_pem: String,
    /// The infrastructure CA in PEM.
    pub ca_pem: String,
    /// The issuing CAs whose clients it lets in, in PEM.
    pub authorities_pem: String,
    /// The last moment at which both certificates are valid.
    pub not_after: String,
}
