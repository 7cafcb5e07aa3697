//! The authority's surfaces: the management API over HTTPS, and the public one over plain HTTP.
//!
//! Every route is a row of one table ([`routes`]) that names the permission it needs; the handler builds a wish and the
//! engine decides. Handlers are synchronous and run on blocking threads; a client that hangs up cancels nothing
//! half-done. Every answer says in `Portcullis-Revision` which revision it reflects.
//!
//! `wire` has the bodies, `problem` the refusals, `authenticate` who asks, `routes` the table, `management` and `proxies`
//! the handlers, `measures` what is counted, `server` the listener's side of it, `public` CRLs, OCSP and CA certificates.

pub mod authenticate;
pub mod management;
pub mod measures;
pub mod problem;
pub mod proxies;
pub mod public;
pub mod routes;
pub mod server;
pub mod wire;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::ca::authorities::Authorities;
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

use measures::Measures;

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
    /// What whoever watches is told.
    pub measures: Measures,
    /// Where counts are read from.
    pub metrics: Arc<Metrics>,
    /// The proxies in this process.
    pub proxies: Proxies,
    /// The proxies elsewhere: what they are told, and what they have confirmed.
    pub feed: Arc<Feed>,
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
