//! The authority's surfaces: the management API over HTTPS, and the public one over plain HTTP.
//!
//! Every route is a row of one table ([`routes`]) that names the permission it needs; the handler builds a wish and the
//! engine decides. Handlers are synchronous and run on blocking threads; a client that hangs up cancels nothing
//! half-done. Every answer says in `Portcullis-Revision` which revision it reflects.
//!
//! `wire` has the bodies, `problem` the refusals, `authenticate` who asks, `routes` the table, `management` and `proxies`
//! the handlers, `server` the listener's side of it, `public` CRLs, OCSP and CA certificates.

pub mod authenticate;
pub mod management;
pub mod problem;
pub mod proxies;
pub mod public;
pub mod routes;
pub mod server;
pub mod wire;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::ca::authorities::Authorities;
use crate::command::Code;
use crate::engine::Engine;
use crate::ident::ClusterName;
use crate::net::tls::ClientAnchors;
use crate::observe::Metrics;
use crate::proxy::Proxy;
use crate::publish::crl::Lists;
use crate::publish::feed::Feed;
use crate::publish::ocsp::Responders;
use crate::publish::roll::Roll;
use crate::status::Statuses;

/// What the handlers stand on.
#[derive(Debug)]
pub struct Api {
    /// Runs wishes.
    pub engine: Arc<Engine>,
    /// What signing needs.
    pub authorities: Authorities,
    /// The standing of every credential.
    pub statuses: Arc<Statuses>,
    /// Certificates by issuer and serial.
    pub roll: Arc<Roll>,
    /// The published lists.
    pub lists: Arc<Lists>,
    /// Who answers OCSP; one more for each new cluster.
    pub responders: Arc<Responders>,
    /// Whose client certificates the management listener verifies; grows with each cluster.
    pub anchors: Arc<ClientAnchors>,
    /// Requests answered.
    pub requests: Requests,
    /// Where counts are read from.
    pub metrics: Arc<Metrics>,
    /// The proxies in this process.
    pub proxies: Proxies,
    /// The proxies elsewhere: what they are told, and what they have confirmed.
    pub feed: Arc<Feed>,
}

/// What is counted: requests by what became of them, and what is told of the record when somebody looks.
#[derive(Debug)]
pub struct Requests {
    by_outcome: Family<Outcome, Counter>,
    certificates: Gauge,
    revision: Gauge,
    crl_age: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    /// `ok`, or the code of the refusal.
    code: String,
}

impl Requests {
    /// None yet.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            by_outcome: metrics.counters("api_requests", "Requests to the management API by outcome"),
            certificates: metrics.gauge("certificates", "Certificates on record"),
            revision: metrics.gauge("store_revision", "Number of the newest durable revision"),
            crl_age: metrics.gauge("crl_age_seconds", "Age of the oldest CRL in seconds"),
        }
    }

    fn count(&self, refusal: Option<Code>) {
        let code = refusal.map_or_else(|| "ok".to_owned(), |code| code.to_string());
        self.by_outcome.get_or_create(&Outcome { code }).inc();
    }
}

impl Api {
    /// Brings the gauges up to now.
    fn measure(&self) {
        let now = self.engine.world().clock.now();
        let crl_age = self.lists.oldest().map_or(0, |oldest| now.since(oldest).as_secs());
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.requests.certificates.set(i64::try_from(self.statuses.count()).unwrap_or(i64::MAX));
        self.requests.revision.set(count(self.engine.store().end().number));
        self.requests.crl_age.set(count(crl_age));
    }
}

/// The proxies inside this process, which a revocation waits for.
#[derive(Debug, Default)]
pub struct Proxies(RwLock<Vec<Embedded>>);

/// A proxy inside this process, which asks the authority's own answers.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// What it is called.
    pub name: String,
    /// The cluster it stands in front of.
    pub cluster: ClusterName,
    /// The proxy.
    pub proxy: Arc<Proxy>,
    /// Whose clients it lets in; grows with each issuing CA of its cluster.
    pub anchors: Arc<ClientAnchors>,
}

impl Proxies {
    /// From now on revocations wait for this one too.
    pub fn add(&self, embedded: Embedded) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(embedded);
    }

    /// Those that enforce at this moment.
    pub fn all(&self) -> Vec<Embedded> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets them all; whoever stops them holds the last reference afterwards.
    pub fn clear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// How long a change waits until this node itself enforces it.
const OWN_ENFORCEMENT: Duration = Duration::from_secs(10);
