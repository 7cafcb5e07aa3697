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
use crate::ledger::rows::{CallerRow, CertificateRole, CertificateRow};
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
    let fingerprint = certificate.fingerprint();
    let subject = certificate.subject.common_names();
    if let Some(caller) = subject.first().map(|subject| engine.caller(subject, &fingerprint)).transpose()?.flatten() {
        return called(&certificate, caller);
    }
    let row = recorded(engine, fingerprint)?;
    if row.is_imported {
        return Err(refused(
            "this certificate was imported, and is for its cluster alone: get one with `portcullis kubeconfig`",
        ));
    }
    let id = row.subject.parse().map_err(|_| refused("the client certificate names no identity"))?;
    let realm = match (row.role, row.cluster) {
        (CertificateRole::User, Some(cluster)) => Realm::Cluster(cluster),
        _ => return Err(refused("this certificate is not for this API: use one of a user")),
    };
    Ok(Actor::Holder(Holder { id, serial: row.serial, fingerprint, realm }))
}

/// Who comes in a role of their own; it is in the certificate's names and must be the one on the record.
fn called(certificate: &Certificate, caller: CallerRow) -> Result<Actor, Rejected> {
    let CallerRow { serial, fingerprint, role, subject, cluster, .. } = caller;
    let urn = role_urn(role, &subject);
    if !certificate.extensions.subject_alt_names.iter().any(|name| *name == SubjectAltName::Uri(urn.clone())) {
        return Err(refused(&format!("the client certificate does not say that it is one of a {}", role.name())));
    }
    if let (CertificateRole::Proxy, Some(cluster)) = (role, cluster) {
        let name = subject.parse().map_err(|_| refused("the client certificate names no proxy"))?;
        return Ok(Actor::Proxy(ProxyHolder { name, cluster, fingerprint }));
    }
    let id = subject.parse().map_err(|_| refused("the client certificate names no identity"))?;
    Ok(Actor::Holder(Holder { id, serial, fingerprint, realm: Realm::Management }))
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

fn refused(why: &str) -> Rejected {
    Rejected::new(Code::Unauthenticated, why)
}
