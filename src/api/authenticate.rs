//! Who asks: from the certificate that a client presented to an actor.
//!
//! The TLS stack has verified the chain; here the certificate must have the right shape, be on the record, and be of a
//! kind that may speak to this API. Whether it stands is decided by the engine, inside the transaction.

use rustls_pki_types::CertificateDer;

use crate::access::{Actor, Holder, ProxyHolder, Realm};
use crate::ca::template::role_urn;
use crate::command::{Code, Rejected};
use crate::engine::Engine;
use crate::ident::Fingerprint;
use crate::ledger::rows::{CertificateRole, CertificateRow};
use crate::x509::certificate::Certificate;
use crate::x509::extensions::SubjectAltName;
use crate::x509::shape;

/// The actor behind a connection. Blocking.
pub fn actor(engine: &Engine, presented: &[CertificateDer<'static>]) -> Result<Actor, Rejected> {
    let Some(leaf) = presented.first() else {
        return Err(refused("no client certificate was presented: use a profile or a kubeconfig with one"));
    };
    let certificate = Certificate::from_der(leaf).map_err(|_| refused("the client certificate cannot be read"))?;
    shape::check(&certificate).map_err(|error| refused(&format!("the client certificate is refused: {error}")))?;
    let row = recorded(engine, certificate.fingerprint())?;
    if let (CertificateRole::Proxy, Some(cluster)) = (row.role, &row.cluster) {
        let name = row.subject.parse().map_err(|_| refused("the client certificate names no proxy"))?;
        if !has_role(&certificate, &row) {
            return Err(refused("the client certificate does not say that it is a proxy's"));
        }
        let (cluster, fingerprint) = (cluster.clone(), row.fingerprint);
        return Ok(Actor::Proxy(ProxyHolder { name, cluster, fingerprint }));
    }
    let id = row.subject.parse().map_err(|_| refused("the client certificate names no identity"))?;
    let realm = match (row.role, &row.cluster) {
        (CertificateRole::Management, _) if has_role(&certificate, &row) => Realm::Management,
        (CertificateRole::User, Some(cluster)) => Realm::Cluster(cluster.clone()),
        _ => return Err(refused("this certificate is not for this API: use one of a user")),
    };
    Ok(Actor::Holder(Holder { id, serial: row.serial, fingerprint: row.fingerprint, realm }))
}

/// What is not on the record is refused, however validly it is signed.
fn recorded(engine: &Engine, fingerprint: Fingerprint) -> Result<CertificateRow, Rejected> {
    match engine.recorded(&fingerprint)? {
        Some(row) => Ok(row),
        None => {
            tracing::warn!(%fingerprint, "a validly signed certificate that is not on the record was presented");
            Err(refused("your certificate is not on the record: get a new one from an administrator"))
        }
    }
}

/// The role of an infrastructure certificate is in its names and must be the one on the record.
fn has_role(certificate: &Certificate, row: &CertificateRow) -> bool {
    let urn = role_urn(row.role, &row.subject);
    certificate.extensions.subject_alt_names.iter().any(|name| *name == SubjectAltName::Uri(urn.clone()))
}

fn refused(why: &str) -> Rejected {
    Rejected::new(Code::Unauthenticated, why)
}
