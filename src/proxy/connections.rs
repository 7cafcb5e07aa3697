//! Who is connected, and cutting them.
//!
//! A connection is registered first and judged afterwards; a change of the answers is applied first and the register
//! gone through afterwards. So whichever of the two comes first, the other sees it: no connection slips between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::ident::Fingerprint;
use crate::net::stop::Stop;
use crate::standing::Revision;
use crate::status::freshness::Age;
use crate::status::{Progress, Statuses};
use crate::world::{Clock, Timestamp};

use super::deny::Denied;
use super::refuse::{Refusal, Tally};
use super::sync::{Mutex, MutexGuard};

/// All connections that are let in.
#[derive(Debug)]
pub(super) struct Register {
    statuses: Arc<Statuses>,
    denied: Denied,
    clock: Arc<dyn Clock>,
    tally: Arc<Tally>,
    open: Mutex<Open>,
    /// The revision at which everything open was last judged.
    judged: watch::Sender<Option<Revision>>,
    /// Changes whenever a connection has ended.
    ended: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    leashes: BTreeMap<u64, Arc<Leash>>,
    /// Connections cut by the fact of a revision; of the last [`COUNTS_KEPT`] such revisions.
    cut: BTreeMap<Revision, u64>,
}

/// What holds one connection and can end it.
#[derive(Debug)]
pub(super) struct Leash {
    id: u64,
    fingerprint: Fingerprint,
    user: String,
    agency: Option<String>,
    not_after: Timestamp,
    cut: watch::Sender<Option<Refusal>>,
}

/// A place in the register; dropped when the connection's tasks are joined and its sockets closed.
#[derive(Debug)]
pub(super) struct Registered {
    register: Arc<Register>,
    leash: Arc<Leash>,
}

/// A revision is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enforced {
    /// Connections that were open and were cut because of it.
    pub closed: u64,
    /// How long it took from the asking.
    pub after: Duration,
}

/// A revision is not yet enforced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotEnforced {
    /// The answers have not come so far.
    #[error("wanted revision {wanted} to be enforced, found the proxy at {}", .reached.map_or("none".to_owned(), |at| at.to_string()))]
    Behind {
        /// The revision that was asked for.
        wanted: Revision,
        /// How far the proxy has come.
        reached: Option<Revision>,
    },
    /// Connections that were cut have not ended.
    #[error("wanted every connection that was cut to have ended, found {0} still open")]
    StillOpen(usize),
}

impl Register {
    pub(super) fn new(statuses: Arc<Statuses>, denied: Denied, clock: Arc<dyn Clock>, tally: Arc<Tally>) -> Self {
        Self {
            statuses,
            denied,
            clock,
            tally,
            open: Mutex::default(),
            judged: watch::Sender::new(None),
            ended: watch::Sender::new(0),
        }
    }

    /// Takes a connection in; it must be judged after this and not before.
    pub(super) fn register(
        self: &Arc<Self>,
        fingerprint: Fingerprint,
        user: &str,
        agency: Option<&str>,
        not_after: Timestamp,
    ) -> Registered {
        let mut open = self.lock();
        let id = open.next;
        open.next += 1;
        let leash = Arc::new(Leash {
            id,
            fingerprint,
            user: user.to_owned(),
            agency: agency.map(str::to_owned),
            not_after,
            cut: watch::Sender::new(None),
        });
        open.leashes.insert(id, Arc::clone(&leash));
        self.tally.open(open.leashes.len());
        Registered { register: Arc::clone(self), leash }
    }

    /// What the answers, and whoever runs this proxy, say of a connection's credential at this moment.
    pub(super) fn judge(&self, leash: &Leash) -> Result<(), Refusal> {
        if let Some(refusal) = Refusal::of(self.statuses.status(&leash.fingerprint, self.clock.now())) {
            return Err(refusal);
        }
        match self.denied.covering(&leash.user, leash.agency.as_deref()) {
            None => Ok(()),
            Some(denial) => Err(Refusal::Denied(denial)),
        }
    }

    /// The clock check before each write: whether what is read for this connection may still be passed on.
    pub(super) fn may_pass(&self, leash: &Leash) -> bool {
        if leash.is_cut() {
            return false;
        }
        let refusal = match self.statuses.check_usable() {
            Err(stale) => Refusal::Stale(stale),
            Ok(()) if self.clock.now().whole_seconds() > leash.not_after => {
                Refusal::Expired { not_after: leash.not_after }
            }
            Ok(()) => return true,
        };
        self.cut(leash, refusal);
        false
    }

    /// Ends a connection, once; the first reason stays.
    pub(super) fn cut(&self, leash: &Leash, refusal: Refusal) {
        cut(&mut self.lock(), &self.tally, leash, refusal);
    }

    /// Judges everything that is open whenever the answers change, and four times a second cuts what has expired, and
    /// everything once the answers are too old or the list of whom to deny has changed.
    pub(super) async fn keep_judging(self: Arc<Self>, mut stop: Stop) {
        let mut progress = self.statuses.subscribe();
        let mut tick = tokio::time::interval(EXPIRY_TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let reached = match &*progress.borrow_and_update() {
                Progress::Reached(revision) => Some(*revision),
                Progress::Stopped(_) => None,
            };
            self.judge_all();
            self.judged.send_replace(reached);
            loop {
                tokio::select! {
                    () = stop.stopped() => return,
                    changed = progress.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    _ = tick.tick() => {
                        self.tally.reached(self.statuses.revision().ok(), self.statuses.reached_revision().ok());
                        if self.statuses.is_remote() {
                            self.tally.aged(self.statuses.since_confirmed());
                        }
                        if self.denied.look() || self.statuses.check_usable().is_err() {
                            self.judge_all();
                        }
                        self.cut_expired();
                    }
                }
            }
        }
    }

    /// The check on every change: cuts each open connection whose credential no longer stands.
    pub(super) fn judge_all(&self) {
        let mut open = self.lock();
        for leash in open.alive() {
            if let Err(refusal) = self.judge(&leash) {
                cut(&mut open, &self.tally, &leash, refusal);
            }
        }
    }

    /// Wall time may jump, so it is compared anew each time instead of being slept through.
    fn cut_expired(&self) {
        let now = self.clock.now().whole_seconds();
        let mut open = self.lock();
        for leash in open.alive() {
            if now > leash.not_after {
                cut(&mut open, &self.tally, &leash, Refusal::Expired { not_after: leash.not_after });
            }
        }
    }

    pub(super) async fn enforced(&self, revision: Revision, deadline: Duration) -> Result<Enforced, NotEnforced> {
        let start = Instant::now();
        let deadline = start + deadline;
        let mut judged = self.judged.subscribe();
        let reached = judged.wait_for(|at| at.is_some_and(|at| at >= revision));
        if tokio::time::timeout_at(deadline, reached).await.is_err() {
            return Err(NotEnforced::Behind { wanted: revision, reached: *self.judged.borrow() });
        }
        let mut ended = self.ended.subscribe();
        let dying = self.lock().dying();
        loop {
            ended.mark_unchanged();
            let left = self.lock().dying().intersection(&dying).count();
            if left == 0 {
                break;
            }
            if tokio::time::timeout_at(deadline, ended.changed()).await.is_err() {
                return Err(NotEnforced::StillOpen(left));
            }
        }
        let closed = self.lock().cut.get(&revision).copied().unwrap_or(0);
        Ok(Enforced { closed, after: start.elapsed() })
    }

    /// How old the answers are.
    pub(super) fn age(&self) -> Age {
        self.statuses.age()
    }

    /// Wall time.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The connections that each revision after one and up to another has ended.
    pub(super) fn closed_between(&self, after: Option<Revision>, until: Revision) -> Vec<(Revision, u64)> {
        let open = self.lock();
        let ended = open.cut.range(..=until).filter(|(revision, _)| after.is_none_or(|after| **revision > after));
        ended.map(|(revision, count)| (*revision, *count)).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.lock().leashes.len()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn alive(&self) -> Vec<Arc<Leash>> {
        self.leashes.values().filter(|leash| !leash.is_cut()).map(Arc::clone).collect()
    }

    fn dying(&self) -> BTreeSet<u64> {
        self.leashes.values().filter(|leash| leash.is_cut()).map(|leash| leash.id).collect()
    }

    fn count(&mut self, revision: Revision) {
        *self.cut.entry(revision).or_default() += 1;
        while self.cut.len() > COUNTS_KEPT {
            self.cut.pop_first();
        }
    }
}

fn cut(open: &mut Open, tally: &Tally, leash: &Leash, refusal: Refusal) {
    if leash.is_cut() {
        return;
    }
    match &refusal {
        Refusal::Revoked(cut) => open.count(cut.revision),
        Refusal::Locked(lock) => open.count(lock.revision),
        Refusal::NoCertificate
        | Refusal::Misshapen(_)
        | Refusal::Unknown
        | Refusal::Expired { .. }
        | Refusal::Stale(_)
        | Refusal::Unreachable(_)
        | Refusal::Denied(_) => {}
    }
    tally.cut(refusal.word());
    tracing::info!(user = leash.user, credential = %leash.fingerprint, reason = refusal.word(), "connection cut");
    leash.cut.send_replace(Some(refusal));
}

impl Leash {
    pub(super) fn is_cut(&self) -> bool {
        self.cut.borrow().is_some()
    }

    pub(super) const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(super) const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// Why the connection was cut, if it was.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.cut.borrow().clone()
    }

    /// Resolves once the connection is cut; at once when it already is.
    pub(super) fn until_cut(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut cut = self.cut.subscribe();
        async move {
            // An error means that the leash is gone, and the connection with it.
            let _ = cut.wait_for(Option::is_some).await;
        }
    }
}

impl Registered {
    pub(super) const fn leash(&self) -> &Arc<Leash> {
        &self.leash
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut open = self.register.lock();
        open.leashes.remove(&self.leash.id);
        self.register.tally.open(open.leashes.len());
        drop(open);
        self.register.ended.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// A quarter of the second within which an expired connection is closed.
const EXPIRY_TICK: Duration = Duration::from_millis(250);
/// Far more revocations than anyone waits for at the same time.
const COUNTS_KEPT: usize = 1024;
