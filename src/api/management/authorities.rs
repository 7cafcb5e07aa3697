//! Issuing CAs: taking one's own in, letting a new one sign, importing what one had signed, and ending one.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;

use super::certificates::recorded_body;
use super::enforcement::{self, Of};
use super::revocations::blocking;
use crate::access::{Actor, Part};
use crate::api::Api;
use crate::api::routes::{Call, Reply};
use crate::api::wire;
use crate::ca::import::Import;
use crate::ca::look::{ShowCertificate, ShowCluster};
use crate::ca::rotation::{self, Announced, Switch};
use crate::ca::source::Source;
use crate::command::{Code, Rejected};
use crate::engine::Done;
use crate::ident::{ClusterName, Fingerprint, IssuerName};
use crate::ledger::credentials::Reference;
use crate::ledger::rows::Recorded;
use crate::standing::Revision;
use crate::status::Status;
use crate::x509::certificate::Certificate;
use crate::x509::pem::{self, Label};
use crate::x509::signing_key;

/// Where a CA comes from, checked as far as its form goes.
pub(super) fn source(brought: Option<&wire::BroughtCa>) -> Result<Source, Rejected> {
    let Some(brought) = brought else { return Ok(Source::Made) };
    let certificate = certificate("ca.certificate_pem", &brought.certificate_pem)?;
    let key = brought.key_pem.as_ref().map(|text| signing_key::read(text.0.as_bytes())).transpose();
    let key = key.map_err(|error| Rejected::invalid(format!("ca.key_pem: {error}")))?;
    Ok(Source::Brought { certificate: Box::new(certificate), key, is_shared: brought.shared })
}

fn certificate(field: &str, text: &str) -> Result<Certificate, Rejected> {
    let wrong = |error: &dyn std::fmt::Display| Rejected::invalid(format!("{field}: {error}"));
    let der = pem::read(Label::Certificate, text.as_bytes()).map_err(|error| wrong(&error))?;
    Certificate::from_der(&der).map_err(|error| wrong(&error))
}

/// Has everything of this node know an authority that was put on the record.
pub(super) fn begin(api: &Api, issuer: &IssuerName, revision: Revision) -> Result<(), Rejected> {
    api.enforced_here(revision)?;
    api.trust_all()?;
    api.responders.renew()?;
    // It has no list yet, and its first certificate may be checked in a moment.
    let issuer = api.authorities.keyring.issuer(issuer)?;
    if issuer.signs_lists() {
        api.lists.publish(&issuer)?;
    }
    Ok(())
}

impl Api {
    /// Lets the management listener verify certificates of every authority that signs for people, and each proxy in this
    /// process those of its cluster's.
    pub fn trust_all(&self) -> Result<(), Rejected> {
        let anchors = |names: &mut dyn Iterator<Item = IssuerName>| -> Vec<CertificateDer<'static>> {
            let issuers = names.filter_map(|name| self.authorities.keyring.issuer(&name).ok());
            issuers.map(|issuer| CertificateDer::from(issuer.certificate.der().to_vec())).collect()
        };
        let untrusted = |error: crate::net::tls::TlsError| {
            Rejected::new(Code::Internal, format!("an authority is not trusted: {error}"))
        };
        let all = self.authorities.keyring.all();
        let mut names = all.iter().map(|issuer| issuer.name.clone()).filter(|name| *name != IssuerName::root());
        self.anchors.replace(&anchors(&mut names)).map_err(untrusted)?;
        for embedded in self.proxies.all() {
            let row = self.engine.ask(&Actor::System(Part::Publisher), &ShowCluster(embedded.cluster))?.outcome.cluster;
            embedded.anchors.replace(&anchors(&mut row.trusted().cloned())).map_err(untrusted)?;
        }
        Ok(())
    }
}

/// `POST /v1/clusters/{name}/requests`.
pub fn request(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    let cluster: ClusterName = call.parameter("name").parse()?;
    let (issuer, der) = rotation::request(&api.engine, &call.actor, &cluster, &api.authorities)?;
    let answer = wire::CaRequest { issuer: issuer.to_string(), csr: pem::write(Label::Request, &der) };
    Reply::created(&answer, api.engine.store().end())
}

/// `POST /v1/clusters/{name}/rotations`: announces the next CA, waits until every proxy knows it, and lets it sign.
pub async fn rotate(api: Arc<Api>, call: Arc<Call>) -> Result<Reply, Rejected> {
    let request: wire::RotateRequest = call.read()?;
    let cluster: ClusterName = call.parameter("name").parse()?;
    let announced = {
        let (api, call, cluster, ca) = (Arc::clone(&api), Arc::clone(&call), cluster.clone(), request.ca.clone());
        blocking(move || announce(&api, &call, &cluster, ca.as_ref())).await?
    };
    let patience = request.wait_ms.map(Duration::from_millis);
    // Where nothing can be issued meanwhile, there is nobody to keep waiting.
    let is_urgent = announced.outcome.is_urgent || request.force;
    let patience = if is_urgent { Some(Duration::ZERO) } else { patience };
    let proxies = enforcement::wait(&api, Of::Cluster(&cluster), announced.revision, patience).await;
    let is_known = !proxies.iter().any(|proxy| proxy.state == "unconfirmed");
    blocking(move || switch(&api, &call.actor, cluster, announced, proxies, is_known || is_urgent)).await
}

fn announce(
    api: &Api,
    call: &Call,
    cluster: &ClusterName,
    ca: Option<&wire::BroughtCa>,
) -> Result<Done<Announced>, Rejected> {
    let (engine, repeatable, source) = (&api.engine, call.repeatable.as_ref(), source(ca)?);
    let done = rotation::announce(engine, &call.actor, repeatable, cluster, source, &api.authorities)?;
    begin(api, &done.outcome.issuer, done.revision)?;
    Ok(done)
}

fn switch(
    api: &Api,
    actor: &Actor,
    cluster: ClusterName,
    announced: Done<Announced>,
    proxies: Vec<wire::ProxyEnforcement>,
    signs: bool,
) -> Result<Reply, Rejected> {
    let issuer = announced.outcome.issuer;
    let mut revision = announced.revision;
    if signs {
        let switch = Switch { cluster: cluster.clone(), issuer: issuer.clone() };
        revision = revision.max(api.engine.run(actor, &switch)?.revision);
        api.enforced_here(revision)?;
    }
    let shown = api.engine.ask(actor, &ShowCluster(cluster.clone()))?.outcome;
    let meaning = if signs {
        format!("{issuer} signs from now on; what the CAs before it signed stands, until it ends or is renewed.")
    } else {
        format!(
            "{issuer} is known and does not sign yet, as a proxy has not confirmed that it knows it: `portcullis cluster \
             rotate {cluster}` goes on with it, --force does not wait."
        )
    };
    let cluster = super::clusters::body(api, &shown);
    Reply::created(&wire::Rotated { cluster, issuer: issuer.to_string(), signs, proxies, meaning }, revision)
}

/// `POST /v1/certificates/imports`.
pub fn import(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    let request: wire::ImportRequest = call.read()?;
    let cluster = request.cluster.as_deref().map(str::parse).transpose()?;
    let certificate = certificate("certificate_pem", &request.certificate_pem)?;
    let done = api.run(call, &Import { cluster, certificate })?;
    let certificate = recorded_body(api, &done.outcome.recorded)?;
    Reply::created(&wire::ImportAnswer { certificate, already: done.outcome.already }, done.revision)
}

/// What an authority signed that stands, and that has expired; and the first of the standing ones.
pub(super) struct Signed {
    pub(super) standing: u64,
    pub(super) expired: u64,
    pub(super) sample: Vec<Recorded>,
}

/// Counts what an authority signed. There may be millions: they are counted in memory, and only a few are read.
pub(super) fn signed(api: &Api, actor: &Actor, issuer: &IssuerName, most: usize) -> Result<Signed, Rejected> {
    let now = api.engine.world().clock.now();
    let (mut standing, mut expired) = (0_u64, 0_u64);
    let first: Vec<Fingerprint> = api.roll.pick(issuer, |_, member| {
        match api.statuses.status(&member.fingerprint, now) {
            Ok(Status::Good | Status::Locked(_)) => standing += 1,
            Ok(Status::Expired { .. }) => {
                expired += 1;
                return None;
            }
            Ok(Status::Revoked(_) | Status::Unknown) | Err(_) => return None,
        }
        (standing <= u64::try_from(most).unwrap_or(u64::MAX)).then_some(member.fingerprint)
    });
    let mut sample = Vec::new();
    for fingerprint in first {
        let query = ShowCertificate(Reference::Fingerprint(fingerprint));
        // While the record cannot be read there is nothing to show, and the count holds all the same.
        let Ok(found) = api.engine.ask(actor, &query) else { break };
        sample.push(found.outcome);
    }
    Ok(Signed { standing, expired, sample })
}

/// How many certificates the end of an authority at `revision` ended: of those that had not expired, and of the others.
pub(super) fn ended(api: &Api, issuer: &IssuerName, revision: Revision) -> (u64, u64) {
    let now = api.engine.world().clock.now();
    let (mut standing, mut expired) = (0_u64, 0_u64);
    api.roll.pick(issuer, |_, member| {
        if matches!(api.statuses.status(&member.fingerprint, now), Ok(Status::Revoked(cut)) if cut.revision == revision)
        {
            *(if member.not_after < now { &mut expired } else { &mut standing }) += 1;
        }
        None::<()>
    });
    (standing, expired)
}
