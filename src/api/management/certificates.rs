//! Certificates: issue, list, show.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::access::{Actor, Holder, Permission, Realm};
use crate::api::Api;
use crate::api::routes::{Call, Reply};
use crate::api::wire;
use crate::ca::issue::{Issue, Purpose};
use crate::ca::look::{ListCertificates, ShowCertificate};
use crate::ca::sign::key_hash;
use crate::command::{Code, Rejected};
use crate::ident::{Fingerprint, IdentityId, IssuerName};
use crate::ledger::rows::{CertificateRow, Recorded};
use crate::secret::Secret;
use crate::status::Status;
use crate::x509::certificate::Certificate;
use crate::x509::csr::Request;
use crate::x509::fresh_key::FreshKey;
use crate::x509::pem::{self, Label};
use crate::x509::public_key::PublicKey;

/// `POST /v1/certificates`.
pub fn issue(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    let began = Instant::now();
    let reply = issue_now(api, call)?;
    api.measures.issued(began.elapsed());
    Ok(reply)
}

fn issue_now(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    let request: wire::IssueRequest = call.read()?;
    let id: IdentityId = request.id.parse()?;
    let wanted_key = key(&request)?;
    let command = Issue {
        id,
        purpose: purpose(&request, &call.actor)?,
        public_key: wanted_key.public.clone(),
        lifetime: request.lifetime_seconds.map(Duration::from_secs),
        keyring: Arc::clone(&api.authorities.keyring),
        places: api.authorities.places.clone(),
    };
    let done = api.run(call, &command)?;
    let issued = done.outcome;
    if wanted_key.private.is_some() && !certifies(&issued.row, &wanted_key.public)? {
        return Err(Rejected::new(
            Code::IdempotencyMismatch,
            "this request was answered before, and a key made on the server is shown once: ask with a new idempotency key",
        ));
    }
    let infra = api.authorities.keyring.issuer(&IssuerName::infra())?;
    let answer = wire::IssueAnswer {
        certificate_pem: pem::write(Label::Certificate, &issued.row.der),
        issuer_pem: pem::write(Label::Certificate, &issued.issuer_der),
        ca_pem: pem::write(Label::Certificate, infra.certificate.der()),
        server: issued.server,
        private_key_pem: wanted_key.private.map(|key| pem::write_private_key(&key).expose().clone()),
        ignored: wanted_key.ignored,
        certificate: body(api, &issued.row, done.revision.to_string())?,
    };
    Reply::created(&answer, done.revision)
}

struct WantedKey {
    public: PublicKey,
    /// PKCS #8, where it was made here.
    private: Option<Secret<Vec<u8>>>,
    ignored: Vec<String>,
}

/// The key of a request, or one made here where that was asked for.
fn key(request: &wire::IssueRequest) -> Result<WantedKey, Rejected> {
    match (&request.csr, request.server_key) {
        (Some(csr), false) => {
            let csr = Request::from_pem_or_der(csr.as_bytes())
                .map_err(|error| Rejected::new(Code::RequestRefused, error.to_string()))?;
            Ok(WantedKey { public: csr.public_key, private: None, ignored: csr.ignored })
        }
        (None, true) => {
            let FreshKey { private, public } =
                FreshKey::make().map_err(|error| Rejected::new(Code::Internal, error.to_string()))?;
            Ok(WantedKey { public, private: Some(private), ignored: Vec::new() })
        }
        (Some(_), true) => Err(Rejected::invalid("wanted either a csr or server_key, found both")),
        (None, false) => Err(Rejected::invalid("wanted a certificate signing request in csr, found none")),
    }
}

/// What it is for; a cluster certificate speaks for its own cluster only.
fn purpose(request: &wire::IssueRequest, actor: &Actor) -> Result<Purpose, Rejected> {
    if request.management {
        return match &request.cluster {
            Some(_) => Err(Rejected::invalid("a management certificate is for no cluster: leave cluster out")),
            None => Ok(Purpose::Management),
        };
    }
    let named = request.cluster.as_deref().map(str::parse).transpose()?;
    Ok(Purpose::Cluster(named.or_else(|| own_cluster(actor))))
}

/// The cluster that an actor is confined to.
pub(super) fn own_cluster(actor: &Actor) -> Option<crate::ident::ClusterName> {
    match actor {
        Actor::Holder(Holder { realm: Realm::Cluster(cluster), .. }) => Some(cluster.clone()),
        Actor::Holder(_) | Actor::Recovery | Actor::System(_) | Actor::Proxy(_) | Actor::Joiner { .. } => None,
    }
}

fn certifies(row: &CertificateRow, key: &PublicKey) -> Result<bool, Rejected> {
    let certificate = Certificate::from_der(&row.der)
        .map_err(|error| Rejected::new(Code::Internal, format!("a recorded certificate is unreadable: {error}")))?;
    Ok(key_hash(certificate.public_key.spki()) == key_hash(key.spki()))
}

/// `GET /v1/certificates`.
pub fn list(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    let limit = call.limit()?;
    let mut id = call.asked("id")?;
    // Without a role everyone sees their own, so that is what they mean.
    if id.is_none()
        && let Actor::Holder(holder) = &call.actor
        && !api.engine.holds(&call.actor, Permission::CertificateRead)?
    {
        id = Some((&holder.id).into());
    }
    let query = ListCertificates {
        id,
        cluster: call.asked("cluster")?.or_else(|| own_cluster(&call.actor)),
        expiring: call.asked::<u64>("expiring_seconds")?.map(Duration::from_secs),
        with_infrastructure: call.asked("all")?.unwrap_or(false),
        after: call.asked::<Fingerprint>("after")?,
        limit,
    };
    let done = api.engine.ask(&call.actor, &query)?;
    let next =
        (done.outcome.len() == limit).then(|| done.outcome.last().map(|recorded| recorded.row.fingerprint.to_string()));
    let items: Result<Vec<_>, _> = done.outcome.iter().map(|row| recorded_body(api, row)).collect();
    Reply::of(&wire::Page { items: items?, next: next.flatten() }, done.revision)
}

/// `GET /v1/certificates/{reference}`.
pub fn show(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    let reference = call.parameter("reference").parse()?;
    let done = api.engine.ask(&call.actor, &ShowCertificate(reference))?;
    Reply::of(&recorded_body(api, &done.outcome)?, done.revision)
}

/// A recorded certificate as a body, with its standing.
pub(super) fn recorded_body(api: &Api, recorded: &Recorded) -> Result<wire::Certificate, Rejected> {
    body(api, &recorded.row, recorded.revision.to_string())
}

fn body(api: &Api, row: &CertificateRow, revision: String) -> Result<wire::Certificate, Rejected> {
    Ok(wire::Certificate {
        serial: row.serial.to_string(),
        credential_id: row.fingerprint.to_string(),
        id: row.subject.clone(),
        cluster: row.cluster.as_ref().map(ToString::to_string),
        role: row.role.name().to_owned(),
        groups: row.groups.iter().map(ToString::to_string).collect(),
        agency: row.agency.as_ref().map(ToString::to_string),
        issuer: row.issuer.to_string(),
        not_before: row.not_before.to_string(),
        not_after: row.not_after.to_string(),
        revision,
        imported: row.is_imported,
        status: status(api, &row.fingerprint)?,
    })
}

fn status(api: &Api, fingerprint: &Fingerprint) -> Result<wire::Status, Rejected> {
    let unavailable = |stale: crate::status::Stale| Rejected::new(Code::Unavailable, stale.to_string());
    let revision = api.statuses.revision().map_err(unavailable)?.to_string();
    let status = api.statuses.status(fingerprint, api.engine.world().clock.now()).map_err(unavailable)?;
    let (state, since, reason) = match status {
        Status::Unknown => ("unknown", None, None),
        Status::Revoked(cut) => ("revoked", Some(cut.at), Some(cut.reason.to_string())),
        Status::Expired { not_after } => ("expired", Some(not_after), None),
        Status::Locked(lock) => ("locked", Some(lock.at), None),
        Status::Good => ("good", None, None),
    };
    Ok(wire::Status { state: state.to_owned(), since: since.map(|since| since.to_string()), reason, revision })
}
