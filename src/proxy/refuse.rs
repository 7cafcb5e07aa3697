//! Why a client is refused, in words for the person who reads them.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::kube::status::{Failure, Reason};
use crate::observe::Metrics;
use crate::standing::{Cut, Revision};
use crate::status::{Lock, Stale, Status};
use crate::world::Timestamp;

use super::deny::Denial;
use super::miss::Unreachable;

/// Why a credential is not let in, or no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    NoCertificate,
    Misshapen(String),
    Unknown,
    Revoked(Cut),
    Expired {
        not_after: Timestamp,
    },
    Locked(Lock),
    Stale(Stale),
    /// Not known here, and nobody could be asked.
    Unreachable(Unreachable),
    /// Whoever runs the proxy refuses it.
    Denied(Denial),
}

impl Refusal {
    /// The refusal that an answer calls for, if it does.
    pub(super) fn of(answer: Result<Status, Stale>) -> Option<Self> {
        match answer {
            Ok(Status::Good) => None,
            Ok(Status::Unknown) => Some(Self::Unknown),
            Ok(Status::Revoked(cut)) => Some(Self::Revoked(cut)),
            Ok(Status::Expired { not_after }) => Some(Self::Expired { not_after }),
            Ok(Status::Locked(lock)) => Some(Self::Locked(lock)),
            Err(stale) => Some(Self::Stale(stale)),
        }
    }

    /// What the client is told. A credential that is refused gives 401 whatever the cause: kubectl hides the words of a
    /// 403, and plugins fetch a new credential on a 401 only.
    pub(super) fn failure(&self, user: &str) -> Failure {
        let unauthorized = |message: String| Failure::new(401, Reason::Unauthorized, message);
        match self {
            Self::NoCertificate => unauthorized(format!("no client certificate was presented; {ASK}")),
            Self::Misshapen(rule) => unauthorized(format!("certificate refused for user {user}: {rule}; {ASK}")),
            Self::Unknown => unauthorized(format!("certificate not on the record for user {user}; {ASK}")),
            Self::Revoked(cut) => unauthorized(format!("certificate revoked {} for user {user}; {ASK}", cut.at)),
            Self::Expired { not_after } => {
                unauthorized(format!("certificate expired {not_after} for user {user}; {ASK}"))
            }
            Self::Locked(lock) => unauthorized(format!(
                "access locked since {} for user {user} (by the lock on {}); ask an administrator to unlock it",
                lock.at, lock.key.id
            )),
            Self::Denied(denial) => unauthorized(format!(
                "access denied at this proxy since {} for user {user} (by the denial of {}); ask whoever runs it",
                denial.since, denial.id
            )),
            Self::Unreachable(why) => Failure::new(
                503,
                Reason::ServiceUnavailable,
                format!(
                    "the certificate of user {user} is not known here yet, and the authority gave no answer: {why}"
                ),
            ),
            Self::Stale(stale) => Failure::new(
                503,
                Reason::ServiceUnavailable,
                format!("{stale}; nobody is let in until it is current again"),
            ),
        }
    }

    /// One word for logs and metrics.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::NoCertificate => "no-certificate",
            Self::Misshapen(_) => "misshapen",
            Self::Unknown => "unknown",
            Self::Revoked(_) => "revoked",
            Self::Expired { .. } => "expired",
            Self::Locked(_) => "locked",
            Self::Stale(_) => "stale",
            Self::Unreachable(_) => "unreachable",
            Self::Denied(_) => "denied",
        }
    }
}

/// A refusal as an HTTP response, after which the connection closes.
///
/// Never with `Retry-After`: kubectl would wait for it in silence.
pub(super) fn response(failure: &Failure) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(failure.to_json()));
    *response.status_mut() = StatusCode::from_u16(failure.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    response
}

/// Reads what little there may be of a refused request's body: closing a socket with unread octets resets it, and the
/// client would see that instead of the words.
pub(super) async fn drain(request: Request<Incoming>) {
    // Whoever waits to be told to go on has sent nothing, and reading would tell them.
    if request.headers().contains_key(header::EXPECT) {
        return;
    }
    let mut body = Limited::new(request.into_body(), DRAINED);
    let reading = async { while let Some(Ok(_)) = body.frame().await {} };
    // Out of time or not: the words follow.
    let _ = tokio::time::timeout(DRAIN_TIME, reading).await;
}

/// Where a refusal took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum At {
    Handshake,
    Request,
}

/// The proxy's counts.
pub(super) struct Tally {
    connections: Gauge,
    requests: Counter,
    refusals: Family<Labels, Counter>,
    cuts: Family<Cause, Counter>,
    age: Gauge,
    is_ready: Gauge,
    revision: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    at: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    reason: &'static str,
}

impl Tally {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let refusals = metrics.counters("proxy_refusals", "Refusals by place and reason");
        let cuts = metrics.counters("proxy_cuts", "Open connections cut, by reason");
        for reason in WORDS {
            for at in ["handshake", "request"] {
                drop(refusals.get_or_create(&Labels { at, reason }));
            }
            drop(cuts.get_or_create(&Cause { reason }));
        }
        Self {
            connections: metrics.gauge("proxy_connections", "Connections that are let in"),
            requests: metrics.counter("proxy_requests", "Requests handed to the API server"),
            refusals,
            cuts,
            is_ready: metrics.gauge("proxy_ready", "1 while the proxy may let anybody in"),
            revision: metrics.gauge("proxy_revision", "Number of the newest revision that the answers reflect"),
            age: metrics
                .gauge("proxy_answers_age_seconds", "Age of the answers; -1 before the authority was first heard"),
        }
    }

    pub(super) fn open(&self, count: usize) {
        self.connections.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Which revision may be answered with, if any; and which the answers reflect, usable or not.
    pub(super) fn reached(&self, usable: Option<Revision>, reached: Option<Revision>) {
        self.is_ready.set(usable.is_some().into());
        self.revision.set(reached.map_or(0, |reached| i64::try_from(reached.number).unwrap_or(i64::MAX)));
    }

    /// How old the answers are; none before the first confirmation.
    pub(super) fn aged(&self, age: Option<Duration>) {
        self.age.set(age.map_or(-1, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX)));
    }

    pub(super) fn requested(&self) {
        self.requests.inc();
    }

    pub(super) fn refused(&self, at: At, reason: &'static str) {
        let at = match at {
            At::Handshake => "handshake",
            At::Request => "request",
        };
        self.refusals.get_or_create(&Labels { at, reason }).inc();
    }

    pub(super) fn cut(&self, reason: &'static str) {
        self.cuts.get_or_create(&Cause { reason }).inc();
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tally").finish_non_exhaustive()
    }
}

/// What [`Refusal::word`] gives; each is counted from zero.
const WORDS: [&str; 9] =
    ["no-certificate", "misshapen", "unknown", "revoked", "expired", "locked", "stale", "unreachable", "denied"];
const ASK: &str = "ask an administrator for a new kubeconfig";
/// The review that kubectl posts is some 100 octets.
const DRAINED: usize = 64 * 1024;
/// Less than a cut may take, so that the words still follow within it.
const DRAIN_TIME: Duration = Duration::from_millis(150);
