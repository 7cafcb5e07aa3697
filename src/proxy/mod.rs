//! The gate in front of one API server: mutual TLS, and the question "does this credential stand?" for every
//! connection, every request and every live stream.
//!
//! It knows a credential by the fingerprint of the certificate that was presented and asks [`Statuses`] alone: the
//! authority's own where both are one process, else what [`follow`] keeps up from the authority's feed.
//!
//! Three checks, each in a place of its own, each with a test that fails without it:
//! * after the handshake, once the connection is registered: `admit::stands_after_handshake`
//! * on every request: `forward::stands_for_this_request`
//! * on every change of the answers, for whatever is open: `connections::Register::judge_all`
//!
//! A client speaks HTTP/2 or HTTP/1.1, whichever it agreed on in the handshake, and so does the proxy with the API
//! server; neither depends on the other. Connections to the API server belong to a credential: its connections here
//! share them, no other's requests ever go there, and they close with the last of those connections or when the
//! credential dies, and then before any of them counts as ended. On HTTP/2 at most 80 streams go on one, on HTTP/1.1
//! one exchange at a time.
//!
//! A request to speak WebSocket or SPDY/3.1 instead (`kubectl exec`, `attach`, `port-forward`; HTTP/1.1 only) goes on a
//! connection of its own; once the API server agrees, octets go both ways and the tunnel is the live session of that
//! connection, cut like any other. Where it does not agree, its answer is passed back and both connections close.
//!
//! A cut ends the API server's side first, by a reset or a socket that closes, never by an end; then each watch in JSON
//! is told at the end of a line; on HTTP/2 follow a reset for each stream and GOAWAY; then the connection closes, within
//! [`Settings::cut_time`] whatever the client reads. One connection has one certificate, so all of it ends.
//!
//! Deliberately absent: other upgrades (h2c above all), CONNECT in every form (RFC 8441 too), a cache of any answer, a
//! list of paths that need no credential, following redirects, and a way to pass a client's word on who it is.
//!
//! Read `admit` first (what happens to a connection), then `connections` (who is open; cutting), `forward` (a request),
//! `headers`, `relay` (bodies), `lane` and `pool` (whose connections to the API server), `upstream`, `upgrade` and
//! `websocket`, `spdy`, `last_words` (other protocols), `tunnel`, `refuse`, `deny` (by whoever runs the proxy), `miss`
//! (what is not known yet), `authority`, `history` and `follow` (the feed), `incidents`, `health`, `settings`, `believed`
//! (does the API server look at who we say a request is for?).

pub mod deny;
pub mod miss;
pub mod incidents;
mod sync;
mod refuse;
mod connections;
mod relay;
mod websocket;
mod spdy;
pub mod headers;
mod last_words;
mod upgrade;
mod upstream;
mod pool;
mod lane;
mod forward;
mod tunnel;
mod admit;
pub mod authority;
mod hand_in;
mod history;
pub mod follow;
pub mod health;
pub mod settings;
pub mod believed;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::kube::identity::Mode;
use crate::net::listen;
use crate::net::stop::{self, Stopper};
use crate::net::tls::{self, ClientAnchors, Serving, TlsError};
use crate::observe::Metrics;
use crate::standing::Revision;
use crate::status::Statuses;
use crate::world::Clock;

use admit::{Behind, Gate};
use connections::Register;
use deny::{Denied, DenyList};
use follow::{Conversation, FeedTally, Link};
use incidents::Incidents;
use miss::{LookUp, Misses};
use refuse::Tally;
use settings::Settings;
use upstream::Upstream;

pub use connections::{Enforced, NotEnforced};

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    register: Arc<Register>,
    stopper: Stopper,
    /// Said last: a change still cuts whatever ends within the listener's grace.
    watch_stopper: Stopper,
    gate: Arc<Gate>,
    serving: JoinHandle<()>,
    watching: JoinHandle<()>,
}

/// What a proxy stands on.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The bound listener.
    pub listener: TcpListener,
    /// The proxy's own certificate.
    pub serving: &'a Arc<Serving>,
    /// The cluster's issuing CAs.
    pub anchors: &'a Arc<ClientAnchors>,
    /// The answers.
    pub statuses: Arc<Statuses>,
    /// Wall time, which ends what has expired.
    pub clock: Arc<dyn Clock>,
    /// Where its counts go.
    pub metrics: &'a Metrics,
    /// What a proxy away from its authority needs besides.
    pub remote: Remote,
}

/// What a proxy away from its authority needs besides; nothing of it where the answers are the authority's own.
#[derive(Debug, Default)]
pub struct Remote {
    /// Who is asked about certificates that are not known.
    pub source: Option<Arc<dyn LookUp>>,
    /// Whom to deny whatever the authority says.
    pub deny_list: Option<DenyList>,
    /// Where incidents are reported.
    pub incidents: Incidents,
}

impl Proxy {
    /// Starts serving on the current runtime.
    pub fn start(parts: Parts<'_>, settings: Settings) -> Result<Self, TlsError> {
        let (stopper, stop) = stop::channel();
        tracing::info!(cluster = %settings.cluster, upstream = %settings.upstream.authority, "proxy starts");
        let config =
            tls::server_config(parts.serving, Some(parts.anchors), settings.versions, Arc::clone(&parts.clock))?;
        let config = tls::offering_http2(&config);
        let tally = Arc::new(Tally::new(parts.metrics));
        let Remote { source, deny_list, incidents } = parts.remote;
        let misses = source.map(|source| Misses::new(source, Arc::clone(&parts.statuses)));
        let denied = Denied::new(deny_list);
        let register = Arc::new(Register::new(parts.statuses, denied, parts.clock, Arc::clone(&tally)));
        let (watch_stopper, watch_stop) = stop::channel();
        let watching = tokio::spawn(Arc::clone(&register).keep_judging(watch_stop));
        let gate = Arc::new(Gate {
            register: Arc::clone(&register),
            behind: ArcSwap::from_pointee(Behind::new(Upstream::new(&settings.upstream)?, settings.identity)),
            http: settings.http,
            cut_time: settings.cut_time,
            tally,
            misses,
            incidents,
        });
        let handler = Arc::clone(&gate) as Arc<dyn listen::Handler>;
        let serving = tokio::spawn(listen::serve(parts.listener, config, handler, settings.listen, stop));
        Ok(Self { register, gate, stopper, watch_stopper, serving, watching })
    }

    /// From now on, this is the API server, and how it is told who the user is. No connection is cut for it: whoever has
    /// one to the proxy keeps the API server that it began with, and by HTTP/2 is asked to make a new one.
    pub fn stand_before(&self, upstream: &settings::Upstream, identity: Mode) -> Result<(), TlsError> {
        self.gate.stand_before(Behind::new(Upstream::new(upstream)?, identity));
        Ok(())
    }

    /// Waits until this proxy enforces `revision`: its answers are at that revision or beyond, and every connection
    /// killed up to then has ended, its tasks joined and its sockets closed on both sides.
    pub async fn enforced(&self, revision: Revision, deadline: Duration) -> Result<Enforced, NotEnforced> {
        self.register.enforced(revision, deadline).await
    }

    /// Follows the authority until the proxy stops.
    pub fn follow(&self, link: Link, metrics: &Metrics) -> watch::Receiver<Conversation> {
        let (state, watching) = watch::channel(Conversation::Away("it was not reached yet".to_owned()));
        let tally = FeedTally::new(metrics);
        let stop = self.watch_stopper.listener();
        tokio::spawn(follow::follow(link, Arc::clone(&self.register), tally, state, stop));
        watching
    }

    /// How many connections are let in at this moment.
    pub fn connections(&self) -> usize {
        self.register.count()
    }

    /// Stops accepting, lets requests in progress end within the listener's grace, and returns once all is closed.
    pub async fn stop(self) {
        self.stopper.stop();
        // An error here means that the task is gone already, which is what is wanted.
        let _ = self.serving.await;
        self.watch_stopper.stop();
        let _ = self.watching.await;
    }
}

#[cfg(test)]
mod tests;
