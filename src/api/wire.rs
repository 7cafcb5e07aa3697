//! The bodies of the management API: JSON that strangers depend on.
//!
//! Fields are only ever added. Times are RFC 3339 in UTC, serials 40 lower-case hex digits, revisions `era-number`.
//! Requests refuse fields they do not know; answers may gain some.

use serde::{Deserialize, Serialize};

mod clusters;

pub use clusters::{
    AddCluster, BroughtCa, CaRequest, Cluster, ImportAnswer, ImportRequest, Issuer, KeyPem, RotateRequest, Rotated,
    SignedList, UnsignedList,
};

/// A list's page.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Pass it as `after` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// `POST /v1/certificates`: wants a certificate.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssueRequest {
    /// To whom.
    pub id: String,
    /// For which cluster; may be left out where there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// A management certificate instead: it speaks to this API with its holder's roles.
    #[serde(default)]
    pub management: bool,
    /// A certificate signing request in PEM; only its public key is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csr: Option<String>,
    /// Make the key on the server instead; it is answered once and never kept.
    #[serde(default)]
    pub server_key: bool,
    /// How long it is to be valid, in seconds; 30 days by default, a year at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<u64>,
}

/// The answer to [`IssueRequest`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IssueAnswer {
    /// What was recorded.
    pub certificate: Certificate,
    /// The certificate in PEM.
    pub certificate_pem: String,
    /// The certificate of the CA that signed it, in PEM.
    pub issuer_pem: String,
    /// The infrastructure CA in PEM: what the proxy's and this API's server certificates chain to.
    pub ca_pem: String,
    /// The address of the cluster's proxy, `https://…`; absent for a management certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The private key in PEM, only when `server_key` was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key_pem: Option<String>,
    /// What the request asked for and did not get, such as its subject.
    #[serde(default)]
    pub ignored: Vec<String>,
}

/// A certificate on the record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Certificate {
    /// Its serial number.
    pub serial: String,
    /// Its SHA-256 as Kubernetes logs it, `X509SHA256=…`.
    pub credential_id: String,
    /// The identity in its CN.
    pub id: String,
    /// The cluster it is for; absent for management and infrastructure certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// What it is for: `user`, `management`, `server`, `proxy`, `ocsp` or `authority`.
    pub role: String,
    /// Its groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The agency it is held under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agency: Option<String>,
    /// The CA that signed it.
    pub issuer: String,
    /// The first moment of its validity.
    pub not_before: String,
    /// The last moment of its validity.
    pub not_after: String,
    /// The revision that recorded it; `0-0`, before every other, for one that was imported.
    pub revision: String,
    /// Whether its CA issued it before that was brought.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
    /// Its standing.
    pub status: Status,
}

/// A credential's standing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// `good`, `locked`, `expired`, `revoked` or `unknown`.
    pub state: String,
    /// Since when it has not been good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Why it was revoked, as RFC 5280 §5.3.1 spells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The revision that this answer reflects.
    pub revision: String,
}

/// `POST /v1/revocations`: ends credentials for good.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// What.
    pub target: Target,
    /// On this cluster only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Why, as RFC 5280 §5.3.1 spells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, in your words; at most 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Also lock the identity in the same commit.
    #[serde(default)]
    pub lock: bool,
    /// Even the last admin.
    #[serde(default)]
    pub force: bool,
    /// Change nothing and answer with [`RevokePreview`].
    #[serde(default)]
    pub dry_run: bool,
    /// Answer as soon as it is durable, without waiting for proxies.
    #[serde(default)]
    pub no_wait: bool,
    /// How long to wait for proxies, in milliseconds; the largest bound and two seconds by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

/// What a revocation is aimed at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// `user`, `agency`, `certificate` or `authority`.
    pub kind: String,
    /// The identity's ID; for a certificate its serial or `X509SHA256=…`; for an authority its name, such as `prod-1`.
    pub id: String,
}

/// The answer to [`RevokeRequest`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevokeAnswer {
    /// The commit that made it so.
    pub revision: String,
    /// What was aimed at.
    pub target: Target,
    /// Whether nothing that stood was hit: it had been revoked before, or there was nothing.
    pub already: bool,
    /// How many certificates it hit that had expired anyway; none while the record cannot be read to count them.
    pub expired: Option<u64>,
    /// How many certificates that stood it ended; none likewise.
    pub certificates: Option<u64>,
    /// How many tokens it ended.
    pub tokens: u64,
    /// Every proxy that enforces it.
    pub proxies: Vec<ProxyEnforcement>,
    /// What it means, in a sentence or two.
    pub meaning: String,
}

/// How far one proxy is with a revocation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProxyEnforcement {
    /// The proxy.
    pub name: String,
    /// `confirmed`, `fenced` or `unconfirmed`.
    pub state: String,
    /// How long after the commit it was so, in milliseconds.
    pub after_ms: u64,
    /// How many live connections it ended.
    pub closed: u64,
    /// Why it is not confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How long it may go on at most, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_ms: Option<u64>,
}

/// The answer to a [`RevokeRequest`] with `dry_run`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevokePreview {
    /// What would be aimed at.
    pub target: Target,
    /// Whether the ID exists, was deleted, or was never seen: `present`, `deleted` or `unknown`; `unread` while the
    /// directory cannot be read.
    pub known: String,
    /// How many standing certificates it would end; none while the record cannot be read to count them.
    pub certificates: Option<u64>,
    /// How many it would hit that have expired anyway; none likewise.
    pub expired: Option<u64>,
    /// How many tokens it would end.
    pub tokens: u64,
    /// The first of the standing certificates, at most 20.
    pub sample: Vec<Certificate>,
    /// Whether the holder can get in again unaided.
    pub can_return: bool,
    /// What it would mean, in a sentence or two.
    pub meaning: String,
}

/// `POST /v1/users`: adds a user.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddUser {
    /// The ID.
    pub id: String,
    /// The groups it is in.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The agency it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agency: Option<String>,
    /// The role it has: `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Use an ID that was deleted before.
    #[serde(default)]
    pub reuse: bool,
}

/// `POST /v1/agencies`: adds an agency.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddAgency {
    /// The ID.
    pub id: String,
    /// The groups that its own credentials carry.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Use an ID that was deleted before.
    #[serde(default)]
    pub reuse: bool,
}

/// `PATCH /v1/users/{id}` and `PATCH /v1/agencies/{id}`: changes what is named and nothing else.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditIdentity {
    /// Groups to join.
    #[serde(default)]
    pub add_groups: Vec<String>,
    /// Groups to leave; what carries them is dead.
    #[serde(default)]
    pub remove_groups: Vec<String>,
    /// The agency to move to; ends every credential of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agency: Option<String>,
    /// Leave the agency; ends every credential of the user.
    #[serde(default)]
    pub no_agency: bool,
    /// A role to grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_role: Option<String>,
    /// A role to withdraw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove_role: Option<String>,
    /// Even the last admin.
    #[serde(default)]
    pub force: bool,
}

/// A user or an agency.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// The ID.
    pub id: String,
    /// `user` or `agency`.
    pub kind: String,
    /// Its groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The agency it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agency: Option<String>,
    /// Its roles.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The clusters it is locked on; `*` is all of them.
    #[serde(default)]
    pub locked: Vec<String>,
    /// Whether one of these locks was set by a restore, for an admin to look.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub locked_by_restore: bool,
    /// The users in this agency; only when one agency is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// Since when it has existed.
    pub added: String,
}

/// `POST /v1/{users,agencies}/{id}/lock` and `…/unlock`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockRequest {
    /// On this cluster only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

/// A change was made, or there was nothing to change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Changed {
    /// The commit.
    pub revision: String,
    /// What it means, in a sentence; empty when the change says it all.
    #[serde(default)]
    pub meaning: String,
}

/// A group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Who is in it.
    pub members: Vec<String>,
}

/// `POST /v1/proxies/tokens`: wants a proxy to join.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InviteRequest {
    /// The cluster it will stand in front of.
    pub cluster: String,
    /// What it will be called; by default the cluster's name and six hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The SHA-256, in hex, of 32 random octets that the asker keeps: the authority never sees the secret itself before
    /// it is used.
    pub secret_hash: String,
}

/// The answer to [`InviteRequest`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invited {
    /// What the proxy will be called.
    pub proxy: String,
    /// The cluster it is for.
    pub cluster: String,
    /// The last moment at which it can join.
    pub expires: String,
    /// The SHA-256 of the infrastructure CA's certificate, in hex: what the authority is known by.
    pub ca_sha256: String,
}

/// A proxy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Proxy {
    /// What it is called.
    pub name: String,
    /// The cluster it stands in front of.
    pub cluster: String,
    /// `current`, `behind`, `disconnected`, `never seen` or `removed`.
    pub state: String,
    /// When it joined last; absent for one inside the authority's own process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<String>,
    /// Its processes that revocations wait for.
    #[serde(default)]
    pub processes: Vec<ProxyProcess>,
}

/// A process of a proxy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProxyProcess {
    /// Its random name, in hex.
    pub instance: String,
    /// Whether it follows at this moment.
    pub connected: bool,
    /// Everything up to this revision is enforced, as far as it has said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<String>,
    /// How long ago it was last heard, in milliseconds.
    pub heard_ms: u64,
    /// How long its answers are fresh, in milliseconds.
    pub bound_ms: u64,
    /// `strict` or `best-effort`.
    pub mode: String,
    /// When it came last.
    pub since: String,
}

/// `GET /v1/status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuthorityStatus {
    /// The program's version.
    pub version: String,
    /// The newest durable revision.
    pub revision: String,
    /// The revision that statuses reflect.
    pub statuses: String,
    /// The era's random name, in hex.
    pub timeline: String,
    /// How many certificates are on record.
    pub certificates: u64,
    /// The clusters.
    pub clusters: Vec<String>,
    /// Why the authority is not ready; empty when it is.
    pub problems: Vec<String>,
}

/// An RFC 9457 problem document.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:portcullis:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// One of a closed list.
    pub code: String,
    /// What was wanted, what was found, the way out.
    pub detail: String,
}
