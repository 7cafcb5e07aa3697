//! A connection from its handshake to its end.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::Request;
use arc_swap::ArcSwap;
use hyper::body::Incoming;
use hyper::service::service_fn;

use crate::ident::{Fingerprint, is_reserved_by_kubernetes};
use crate::kube::identity::{Identity, Mode};
use crate::net::listen::{BoxFuture, Handler, Peer, Stream};
use crate::net::stop::{self, Stop, Stopper};
use crate::net::{http, http1};
use crate::status::frames::Incident;
use crate::world::Timestamp;
use crate::x509::certificate::Certificate;
use crate::x509::shape;

use super::connections::{Register, Registered};
use super::forward::Forwarder;
use super::incidents::Incidents;
use super::lane::Lane;
use super::miss::{Found, Misses};
use super::pool::Pools;
use super::refuse::{self, At, Refusal, Tally};
use super::tunnel;
use super::upstream::Upstream;

/// What every connection passes.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) register: Arc<Register>,
    pub(super) behind: ArcSwap<Behind>,
    pub(super) http: http1::Limits,
    pub(super) cut_time: Duration,
    pub(super) tally: Arc<Tally>,
    /// Who is asked about certificates that are not known; nobody where the answers are the authority's own.
    pub(super) misses: Option<Misses>,
    pub(super) incidents: Incidents,
}

/// The API server behind the gate, and how it is spoken to: for a connection the same from its beginning to its end,
/// because a header that one credential makes believed is nothing, or worse, with another.
#[derive(Debug)]
pub(super) struct Behind {
    pools: Arc<Pools>,
    mode: Mode,
    /// Says to those on HTTP/2 that another has taken its place.
    replaced: Stopper,
}

impl Behind {
    pub(super) fn new(upstream: Upstream, mode: Mode) -> Self {
        Self { pools: Arc::new(Pools::new(upstream)), mode, replaced: stop::channel().0 }
    }
}

impl Handler for Gate {
    fn handle(self: Arc<Self>, stream: Stream, peer: Peer, stop: Stop) -> BoxFuture {
        Box::pin(async move {
            match self.admit(&peer).await {
                Ok(admitted) => self.serve(stream, admitted, peer.addr.ip(), stop).await,
                Err((refusal, user)) => {
                    self.tally.refused(At::Handshake, refusal.word());
                    tracing::info!(addr = %peer.addr, user, reason = refusal.word(), "connection refused");
                    self.refuse(stream, refusal, user, stop).await;
                }
            }
        })
    }
}

impl Gate {
    /// From the next connection on, this is the API server. Who is connected by HTTP/2 is asked to connect again (RFC
    /// 9113 §6.8) and ends what is in progress; on HTTP/1.1 a connection stays with the one before until it ends.
    pub(super) fn stand_before(&self, behind: Behind) {
        self.behind.swap(Arc::new(behind)).replaced.stop();
    }

    /// Who it is, and whether they are let in; a refusal comes with the name to be used in words.
    async fn admit(self: &Arc<Self>, peer: &Peer) -> Result<Admitted, (Refusal, String)> {
        let presented = present(peer)?;
        let user = presented.identity.user().to_owned();
        let refusal = match self.let_in(&presented) {
            Ok(registered) => return Ok(presented.admitted(registered)),
            Err(Refusal::Unknown) => match self.look_up(presented.fingerprint).await {
                // It is among the answers now, and judged by them like any other.
                Ok(()) => match self.let_in(&presented) {
                    Ok(registered) => return Ok(presented.admitted(registered)),
                    Err(refusal) => refusal,
                },
                Err(refusal) => refusal,
            },
            Err(refusal) => refusal,
        };
        if refusal == Refusal::Unknown {
            let credential = presented.fingerprint;
            tracing::warn!(%credential, user, "validly signed and not on the record: was a CA key stolen?");
            self.incidents.report(Incident::UnknownCredential {
                fingerprint: *credential.octets(),
                user: user.clone(),
                at: self.register.now(),
            });
        }
        Err((refusal, user))
    }

    /// Registered first, judged afterwards: see `connections`.
    fn let_in(&self, presented: &Presented) -> Result<Registered, Refusal> {
        let Presented { fingerprint, identity, agency, not_after, .. } = presented;
        let registered = self.register.register(*fingerprint, identity.user(), agency.as_deref(), *not_after);
        self.stands_after_handshake(&registered).map(|()| registered)
    }

    /// Asks whoever knows earlier, if there is anybody.
    async fn look_up(&self, fingerprint: Fingerprint) -> Result<(), Refusal> {
        match &self.misses {
            None => Err(Refusal::Unknown),
            Some(misses) => match misses.ask(fingerprint).await {
                Found::Recorded => Ok(()),
                Found::Nothing => Err(Refusal::Unknown),
                Found::Unreachable(why) => Err(Refusal::Unreachable(why)),
            },
        }
    }

    /// The check after the handshake.
    fn stands_after_handshake(&self, registered: &Registered) -> Result<(), Refusal> {
        self.register.judge(registered.leash())
    }

    /// Serves requests, and a tunnel if one of them opens it, until the connection ends or is cut; returns when both
    /// sockets are closed.
    async fn serve(
        self: Arc<Self>,
        stream: Stream,
        Admitted { registered, identity, ending_from }: Admitted,
        client: IpAddr,
        mut stop: Stop,
    ) {
        let leash = Arc::clone(registered.leash());
        let behind = self.behind.load_full();
        let mut replaced = behind.replaced.listener();
        // On HTTP/1.1 the end of a connection can cross a request on its way, on HTTP/2 it is agreed on.
        let mut is_movable = stream.is_http2();
        let lane = Arc::new(Lane::new(&behind.pools, leash.fingerprint()));
        let forwarder = Arc::new(Forwarder {
            register: Arc::clone(&self.register),
            leash: Arc::clone(&leash),
            lane: Arc::clone(&lane),
            upstream: Arc::clone(behind.pools.upstream()),
            identity,
            mode: behind.mode,
            ending_from,
            client,
            tally: Arc::clone(&self.tally),
        });
        let (no_more, listener) = stop::channel();
        let service = service_fn(move |request| Arc::clone(&forwarder).answer(request));
        let mut serving = Box::pin(http::serve(stream, service, self.http.clone(), listener));
        let mut is_stopping = false;
        let switched = loop {
            tokio::select! {
                // First, so that the API server's side ends before the client is told.
                biased;
                () = leash.until_cut() => {
                    lane.close_all().await;
                    no_more.stop();
                    // Whatever the client reads or does not read.
                    let _ = tokio::time::timeout(self.cut_time, serving.as_mut()).await;
                    break None;
                }
                switched = serving.as_mut() => break switched,
                () = replaced.stopped(), if is_movable => {
                    is_movable = false;
                    no_more.stop();
                }
                () = stop.stopped(), if !is_stopping => {
                    is_stopping = true;
                    no_more.stop();
                }
            }
        };
        drop(serving);
        if let (Some(near), Some(far)) = (switched, lane.take_far_end()) {
            // Nothing more goes the way of the requests before.
            lane.close().await;
            // Does not hear `stop`: the listener ends what is still open after its grace.
            Box::pin(tunnel::carry(near, far, &self.register, &leash, self.cut_time)).await;
        }
        if leash.is_cut() {
            lane.close_all().await;
        }
        lane.close().await;
        drop(registered);
    }

    /// Answers whatever is asked with the refusal, once, and closes.
    async fn refuse(&self, stream: Stream, refusal: Refusal, user: String, stop: Stop) {
        let failure = Arc::new(refusal.failure(&user));
        let service = service_fn(move |request: Request<Incoming>| {
            let failure = Arc::clone(&failure);
            async move {
                refuse::drain(request).await;
                Ok::<_, Infallible>(refuse::response(&failure))
            }
        });
        let limits = http1::Limits { idle_time: self.http.head_time, ..self.http.clone() };
        http::serve(stream, service, limits, stop).await;
    }
}

/// A certificate that passed the gate of shape.
struct Presented {
    fingerprint: Fingerprint,
    identity: Identity,
    agency: Option<String>,
    not_after: Timestamp,
    /// From when on it is in the last tenth of its life.
    ending_from: Timestamp,
}

impl Presented {
    fn admitted(self, registered: Registered) -> Admitted {
        Admitted { registered, identity: self.identity, ending_from: self.ending_from }
    }
}

/// Somebody who is let in.
struct Admitted {
    registered: Registered,
    identity: Identity,
    ending_from: Timestamp,
}

fn present(peer: &Peer) -> Result<Presented, (Refusal, String)> {
    let Some(leaf) = peer.certificates.first() else {
        return Err((Refusal::NoCertificate, String::new()));
    };
    let refused = |rule: String, user: &str| (Refusal::Misshapen(rule), user.to_owned());
    shape::check_chain_length(peer.certificates.len()).map_err(|rule| refused(rule.to_string(), NAMELESS))?;
    let certificate = Certificate::from_der(leaf).map_err(|error| refused(error.to_string(), NAMELESS))?;
    shape::check(&certificate).map_err(|rule| refused(rule.to_string(), NAMELESS))?;
    let names = certificate.subject.common_names();
    let user = names.first().copied().unwrap_or(NAMELESS);
    let groups = certificate.subject.organizations();
    if let Some(name) = std::iter::once(&user).chain(&groups).find(|name| is_reserved_by_kubernetes(name)) {
        let shown: String = name.escape_debug().take(64).collect();
        return Err(refused(format!("the name \"{shown}\" belongs to Kubernetes itself"), NAMELESS));
    }
    let fingerprint = Fingerprint::of(leaf);
    let identity = Identity::new(user, groups.into_iter().map(str::to_owned), fingerprint);
    let identity = identity.map_err(|error| refused(error.to_string(), NAMELESS))?;
    let agency = certificate.subject.organizational_units().first().map(|&agency| agency.to_owned());
    let (not_before, not_after) = (certificate.not_before, certificate.not_after);
    let ending_from = not_after.before(not_after.since(not_before) / 10);
    Ok(Presented { fingerprint, identity, agency, not_after, ending_from })
}

/// What somebody is called whose certificate does not say it plainly.
const NAMELESS: &str = "(unnamed)";
