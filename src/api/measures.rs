//! What whoever watches the authority is told: counts as things happen, everything else when somebody looks.
//!
//! Labels are from closed lists, or name issuers, proxies and clusters; never people.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::Api;
use crate::access::Actor;
use crate::ca::proxies::look::WatchProxies;
use crate::command::{Code, Rejected};
use crate::directory::look::WatchAdmins;
use crate::ident::IssuerName;
use crate::observe::{Fractional, Metrics};
use crate::world::Timestamp;

/// The authority's metrics.
#[derive(Debug)]
pub struct Measures {
    requests: Family<Outcome, Counter>,
    issuing: Histogram,
    revoking: Histogram,
    certificates: Gauge,
    store: Store,
    issuers: Issuers,
    admins: Gauge,
    admins_until: Gauge,
    feed: Feed,
    /// Held from the first gauge to the last letter: two who look at once would each see the other half done.
    looking: Mutex<()>,
}

#[derive(Debug)]
struct Store {
    revision: Gauge,
    is_ready: Gauge,
    is_index_ready: Gauge,
}

#[derive(Debug)]
struct Issuers {
    not_after: Family<OfIssuer, Gauge>,
    this_update: Family<OfIssuer, Gauge>,
    next_update: Family<OfIssuer, Gauge>,
    crl_age: Gauge,
    unwritten: Gauge,
}

#[derive(Debug)]
struct Feed {
    processes: Family<OfProxy, Gauge>,
    lag_revisions: Family<OfProxy, Gauge>,
    lag_seconds: Family<OfProxy, Fractional>,
    heard: Family<OfProxy, Fractional>,
    not_after: Family<OfProxy, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    /// `ok`, or the code of the refusal.
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfIssuer {
    issuer: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfProxy {
    proxy: String,
    cluster: String,
}

impl Measures {
    /// Nothing counted yet; every kind of refusal is there from the start, at zero.
    pub fn new(metrics: &Metrics) -> Self {
        let requests = metrics.counters("api_requests", "Requests to the management API by outcome");
        let ok = || Outcome { code: "ok".to_owned() };
        let codes = Code::ALL.map(|code| Outcome { code: code.to_string() });
        for outcome in [ok()].into_iter().chain(codes) {
            drop(requests.get_or_create(&outcome));
        }
        Self {
            requests,
            issuing: metrics.durations("issuance_duration_seconds", "From a request for a certificate to its answer"),
            revoking: metrics.durations(
                "revocation_duration_seconds",
                "From a request to revoke to its answer, waiting for proxies included",
            ),
            certificates: metrics.gauge("certificates", "Certificates on record"),
            store: Store::new(metrics),
            issuers: Issuers::new(metrics),
            admins: metrics.gauge("admins", "Admins who have a management certificate that stands"),
            admins_until: metrics.gauge(
                "admins_not_after_timestamp_seconds",
                "When the first of these admins is left without one, in Unix seconds; 0 where there is none",
            ),
            feed: Feed::new(metrics),
            looking: Mutex::default(),
        }
    }

    pub(super) fn answered(&self, refusal: Option<Code>) {
        let code = refusal.map_or_else(|| "ok".to_owned(), |code| code.to_string());
        self.requests.get_or_create(&Outcome { code }).inc();
    }

    pub(super) fn issued(&self, within: Duration) {
        self.issuing.observe(within.as_secs_f64());
    }

    pub(super) fn revoked(&self, within: Duration) {
        self.revoking.observe(within.as_secs_f64());
    }
}

impl Store {
    fn new(metrics: &Metrics) -> Self {
        Self {
            revision: metrics.gauge("store_revision", "Number of the newest durable revision"),
            is_ready: metrics.gauge(
                "store_ready",
                "1 while everything can be read and committed; 0 for good after a sync that failed",
            ),
            is_index_ready: metrics.gauge("store_index_ready", "1 while the index is there; issuing waits for it"),
        }
    }
}

impl Issuers {
    fn new(metrics: &Metrics) -> Self {
        Self {
            not_after: metrics
                .gauges("ca_not_after_timestamp_seconds", "When a CA's certificate ends, in Unix seconds"),
            this_update: metrics
                .gauges("crl_this_update_timestamp_seconds", "When the newest CRL was made, in Unix seconds"),
            next_update: metrics
                .gauges("crl_next_update_timestamp_seconds", "Until when the newest CRL may be used, in Unix seconds"),
            crl_age: metrics.gauge("crl_age_seconds", "Age of the oldest CRL but the root's, in seconds"),
            unwritten: metrics.gauge("crl_unwritten", "1 while a list that is served is not in the folder of the CRLs"),
        }
    }
}

impl Feed {
    fn new(metrics: &Metrics) -> Self {
        Self {
            processes: metrics.gauges("feed_connections", "Processes of a proxy that follow at this moment"),
            lag_revisions: metrics
                .gauges("feed_lag_revisions", "Revisions that the slowest process of a proxy does not enforce yet"),
            lag_seconds: metrics.gauges("feed_lag_seconds", "For how long it has not enforced them"),
            heard: metrics
                .gauges("feed_heard_age_seconds", "How long ago the most silent process of a proxy was heard"),
            not_after: metrics.gauges(
                "proxy_not_after_timestamp_seconds",
                "When a proxy's certificate for following ends, in Unix seconds",
            ),
        }
    }

    fn clear(&self) {
        self.processes.clear();
        self.lag_revisions.clear();
        self.lag_seconds.clear();
        self.heard.clear();
        self.not_after.clear();
    }
}

impl Api {
    /// Everything as text, as it is at this moment; `actor` may read metrics. Blocking.
    pub(super) fn measure(&self, actor: &Actor) -> Result<String, Rejected> {
        let measures = &self.measures;
        let _looking = measures.looking.lock().unwrap_or_else(PoisonError::into_inner);
        measures.certificates.set(whole(self.statuses.count()));
        measures.store.revision.set(whole(self.engine.store().end().number));
        measures.store.is_ready.set(self.engine.store().health().is_ok().into());
        measures.store.is_index_ready.set(self.engine.store().complete().is_ok().into());
        self.measure_issuers();
        let admins = self.engine.ask(actor, &WatchAdmins)?.outcome;
        measures.admins.set(whole(admins.count));
        measures.admins_until.set(admins.soonest.map_or(0, Timestamp::unix_seconds));
        self.measure_feed(actor)?;
        Ok(self.metrics.to_text())
    }

    fn measure_issuers(&self) {
        let issuers = &self.measures.issuers;
        let of = |issuer: &IssuerName| OfIssuer { issuer: issuer.to_string() };
        issuers.not_after.clear();
        for issuer in self.authorities.keyring.all() {
            let end = issuer.certificate.not_after.unix_seconds();
            issuers.not_after.get_or_create(&of(&issuer.name)).set(end);
        }
        for name in self.authorities.keyring.absent() {
            if let Some(certificate) = self.authorities.keyring.certificate(&name) {
                issuers.not_after.get_or_create(&of(&name)).set(certificate.not_after.unix_seconds());
            }
        }
        issuers.this_update.clear();
        issuers.next_update.clear();
        for (issuer, list) in self.lists.all() {
            issuers.this_update.get_or_create(&of(&issuer)).set(list.this_update.unix_seconds());
            issuers.next_update.get_or_create(&of(&issuer)).set(list.next_update.unix_seconds());
        }
        let now = self.engine.world().clock.now();
        let age = self.lists.oldest().map_or(0, |oldest| now.since(oldest).as_secs());
        issuers.crl_age.set(whole(age));
        issuers.unwritten.set(self.lists.has_unwritten().into());
    }

    fn measure_feed(&self, actor: &Actor) -> Result<(), Rejected> {
        let feed = &self.measures.feed;
        let proxies = self.engine.ask(actor, &WatchProxies)?.outcome;
        let end = self.engine.store().end();
        feed.clear();
        for (proxy, not_after) in proxies {
            let of = OfProxy { proxy: proxy.name.to_string(), cluster: proxy.cluster.to_string() };
            // One that was never heard, or not for long, is there too: with no connection.
            feed.processes.get_or_create(&of).set(0);
            if let Some(not_after) = not_after {
                feed.not_after.get_or_create(&of).set(not_after.unix_seconds());
            }
        }
        for state in self.feed.states(end) {
            let of = OfProxy { proxy: state.row.proxy.to_string(), cluster: state.row.cluster.to_string() };
            feed.processes.get_or_create(&of).inc_by(state.is_connected.into());
            let lag = end.number.saturating_sub(state.confirmed.map_or(0, |confirmed| confirmed.number));
            raise(&feed.lag_seconds, &of, state.behind);
            raise(&feed.heard, &of, state.heard);
            let behind = feed.lag_revisions.get_or_create(&of);
            behind.set(behind.get().max(whole(lag)));
        }
        Ok(())
    }
}

/// The worst of a proxy's processes is told.
fn raise(family: &Family<OfProxy, Fractional>, of: &OfProxy, duration: Duration) {
    let gauge = family.get_or_create(of);
    gauge.set(gauge.get().max(duration.as_secs_f64()));
}

fn whole<N: TryInto<i64>>(number: N) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
