//! Runs wishes: authorise, decide, commit, and again when what was read has moved.
//!
//! One transaction holds everything a decision rests on: the standing of the credential that asks, the rights of its
//! holder, and what the decision itself reads. The engine is blocking; callers on the network run it on blocking
//! threads, and a caller that hangs up cancels nothing half-done.

mod newest;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::newest::Newest;
use crate::access::{Actor, Denied, Grants, Holder, Part, Permission, Permit, Realm, Scope, authorise};
use crate::command::{Code, Command, Query, Rejected};
use crate::directory::admins;
use crate::ident::Fingerprint;
use crate::journal::Event;
use crate::ledger::credentials;
use crate::ledger::rows::{CallerRow, CertificateRole, CertificateRow};
use crate::standing::Revision;
use crate::store::record::{Record, Table};
use crate::store::txn::Txn;
use crate::store::{CommitError, Store};
use crate::world::{Timestamp, World};

/// The one road from a wish to a commit.
#[derive(Debug)]
pub struct Engine {
    store: Arc<dyn Store>,
    world: World,
    refusals: Mutex<HashMap<Actor, Window>>,
    newest: Arc<Newest>,
}

/// A wish was fulfilled.
#[derive(Clone, Debug)]
pub struct Done<T> {
    /// What the wisher is told.
    pub outcome: T,
    /// The commit, or the newest one where there was nothing to commit.
    pub revision: Revision,
}

/// A request that may be sent again: its key, and the SHA-256 of what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeatable {
    /// Chosen by the client, 1 to 128 characters.
    pub key: String,
    /// What must be the same when the key is.
    pub digest: [u8; 32],
}

impl Engine {
    /// An engine over a store.
    pub fn new(store: Arc<dyn Store>, world: World) -> Self {
        Self { store, world, refusals: Mutex::default(), newest: Arc::default() }
    }

    /// The store, for followers.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The newest time on the record, for the follower that keeps it up.
    pub fn newest(&self) -> &Arc<Newest> {
        &self.newest
    }

    /// The outside world.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Fulfils a wish to change something, or changes nothing.
    pub fn run<C: Command>(&self, actor: &Actor, command: &C) -> Result<Done<C::Outcome>, Rejected> {
        self.attempt(actor, command, None)
    }

    /// The same for a request that may be sent again: the first answer is kept and given again.
    pub fn run_once<C: Command>(
        &self,
        actor: &Actor,
        repeatable: &Repeatable,
        command: &C,
    ) -> Result<Done<C::Outcome>, Rejected> {
        self.attempt(actor, command, Some(repeatable))
    }

    /// Fulfils a wish to know something.
    pub fn ask<Q: Query>(&self, actor: &Actor, query: &Q) -> Result<Done<Q::Answer>, Rejected> {
        let moment = self.world.moment();
        let revision = self.store.end();
        let mut txn = Txn::begin(&*self.store);
        let grants = grants(actor, &mut txn, moment.now)?;
        let answer = (|| {
            let scope = query.scope(&mut txn)?;
            let permit = self.permit(actor, &grants, query.permission(), &scope, moment.now)?;
            query.answer(&permit, &mut txn, &moment)
        })();
        let outcome = answer.map_err(|rejected| hide(rejected, &grants))?;
        Ok(Done { outcome, revision })
    }

    /// The certificate that somebody presented, if it may call in a role of its own; whether it stands is decided with
    /// each wish.
    pub fn caller(&self, subject: &str, fingerprint: &Fingerprint) -> Result<Option<CallerRow>, Rejected> {
        let key = (subject.to_owned(), *fingerprint);
        Ok(Txn::begin(&*self.store).peek::<CallerRow>(&key)?.map(|row| row.value))
    }

    /// The record of any other, so that its holder can be told apart from strangers.
    pub fn recorded(&self, fingerprint: &Fingerprint) -> Result<Option<CertificateRow>, Rejected> {
        Ok(Txn::begin(&*self.store).peek::<CertificateRow>(fingerprint)?.map(|row| row.value))
    }

    /// Whether an actor may, without doing anything: for what is answered from memory.
    pub fn may(&self, actor: &Actor, permission: Permission) -> Result<(), Rejected> {
        let now = self.world.clock.now();
        let grants = grants(actor, &mut Txn::begin(&*self.store), now)?;
        self.permit(actor, &grants, permission, &Scope::Everything, now).map(drop)
    }

    /// Whether an actor has a right over everything; not being so is no refusal.
    pub fn holds(&self, actor: &Actor, permission: Permission) -> Result<bool, Rejected> {
        let grants = grants(actor, &mut Txn::begin(&*self.store), self.world.clock.now())?;
        Ok(authorise(actor, &grants, permission, &Scope::Everything).is_ok())
    }

    /// Forgets the answers that were kept for repeated requests for longer than a day; blocking.
    pub fn forget_answers(&self) -> Result<(), Rejected> {
        let now = self.world.clock.now();
        loop {
            let mut txn = Txn::begin(&*self.store);
            for row in txn.scan_all::<AnsweredRow>(&[])? {
                if now.since(row.value.at) > ANSWERS_KEPT && txn.writes() < FORGOTTEN_AT_ONCE {
                    txn.delete::<AnsweredRow>(&(row.value.actor, row.value.key));
                }
            }
            if txn.is_empty() {
                return Ok(());
            }
            txn.commit(now, &Actor::System(Part::Upkeep))?;
        }
    }

    fn attempt<C: Command>(
        &self,
        actor: &Actor,
        command: &C,
        repeatable: Option<&Repeatable>,
    ) -> Result<Done<C::Outcome>, Rejected> {
        // What does not wait for the rest of the record, such as a revocation, does not wait for the answers kept there.
        let repeatable = repeatable.filter(|_| self.store.complete().is_ok());
        for _ in 0..ATTEMPTS {
            let moment = self.world.moment();
            let mut txn = Txn::begin(&*self.store);
            let grants = grants(actor, &mut txn, moment.now)?;
            let permitted = command
                .scope(&mut txn)
                .and_then(|scope| self.permit(actor, &grants, command.permission(), &scope, moment.now));
            let permit = permitted.map_err(|rejected| hide(rejected, &grants))?;
            if command.permission().issues() {
                self.newest.check(moment.now)?;
            }
            if let Some(repeated) = repeatable.map(|wish| earlier::<C>(&mut txn, actor, wish)).transpose()?.flatten() {
                return Ok(repeated);
            }
            let outcome = command.decide(&permit, &mut txn, &moment).map_err(|rejected| hide(rejected, &grants))?;
            if txn.is_empty() {
                return Ok(Done { outcome, revision: self.store.end() });
            }
            if let Some(wish) = repeatable {
                remember::<C>(&mut txn, actor, wish, &outcome, moment.now)?;
            }
            match txn.commit(moment.now, actor) {
                Ok(revision) => return Ok(Done { outcome, revision }),
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Rejected::new(Code::Busy, "too many changes to the same things at once: try again"))
    }

    /// Authorises; a refusal is journaled.
    fn permit(
        &self,
        actor: &Actor,
        grants: &Grants,
        permission: Permission,
        scope: &Scope,
        now: Timestamp,
    ) -> Result<Permit, Rejected> {
        authorise(actor, grants, permission, scope).map_err(|denied| {
            self.journal_refusal(actor, permission, now);
            match denied {
                Denied::NotYours => Rejected::not_yours(),
                Denied::NoRight => Rejected::new(
                    Code::Forbidden,
                    format!("{actor} may not do this: it needs a role with {}", words(permission)),
                ),
            }
        })
    }

    /// Refusals of authenticated actors are facts too: each, up to a rate, and then their count.
    fn journal_refusal(&self, actor: &Actor, permission: Permission, now: Timestamp) {
        let count = {
            let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            if refusals.len() > MAX_WINDOWS {
                refusals.retain(|_, window| now.since(window.since) < Duration::from_secs(1));
            }
            refusals.entry(actor.clone()).or_default().count(now)
        };
        if let Some(count) = count {
            let mut txn = Txn::begin(&*self.store);
            txn.record(Event::Refused { permission, count });
            if let Err(error) = txn.commit(now, actor) {
                tracing::warn!(%error, "a refusal could not be journaled");
            }
        }
    }
}

/// The rights of an actor, whose credential must stand; only a management certificate brings roles.
fn grants(actor: &Actor, txn: &mut Txn<'_>, now: Timestamp) -> Result<Grants, Rejected> {
    if let Actor::Proxy(follower) = actor {
        let (name, fingerprint) = (follower.name.as_str(), &follower.fingerprint);
        credentials::must_be_caller(txn, name, fingerprint, CertificateRole::Proxy, now)?;
    }
    let Actor::Holder(Holder { id, fingerprint, realm, .. }) = actor else {
        return Ok(Grants::default());
    };
    match realm {
        Realm::Management => {
            credentials::must_be_caller(txn, id.as_str(), fingerprint, CertificateRole::Management, now)?;
            admins::grants_of(txn, id)
        }
        Realm::Cluster(_) => {
            credentials::must_be_holder(txn, id, fingerprint, now)?;
            Ok(Grants::default())
        }
    }
}

/// To whoever has no role, what is not theirs and what does not exist look the same.
fn hide(rejected: Rejected, grants: &Grants) -> Rejected {
    match rejected.code {
        Code::NotFound if grants.roles.is_empty() => Rejected::not_yours(),
        _ => rejected,
    }
}

fn words(permission: Permission) -> String {
    serde_json::to_value(permission).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The answer that was given to the same request before.
fn earlier<C: Command>(
    txn: &mut Txn<'_>,
    actor: &Actor,
    wish: &Repeatable,
) -> Result<Option<Done<C::Outcome>>, Rejected> {
    let Some(row) = txn.get::<AnsweredRow>(&(actor.to_string(), wish.key.clone()))? else {
        return Ok(None);
    };
    if row.value.digest != wish.digest {
        return Err(Rejected::new(
            Code::IdempotencyMismatch,
            "this idempotency key was used for a different request: use a new one",
        ));
    }
    let outcome = postcard::from_bytes(&row.value.outcome)
        .map_err(|error| Rejected::new(Code::Internal, format!("an answer that was kept cannot be read: {error}")))?;
    Ok(Some(Done { outcome, revision: row.modified.unwrap_or_default() }))
}

fn remember<C: Command>(
    txn: &mut Txn<'_>,
    actor: &Actor,
    wish: &Repeatable,
    outcome: &C::Outcome,
    at: Timestamp,
) -> Result<(), Rejected> {
    let outcome = postcard::to_allocvec(outcome)
        .map_err(|error| Rejected::new(Code::Internal, format!("an answer cannot be kept: {error}")))?;
    let row = AnsweredRow { actor: actor.to_string(), key: wish.key.clone(), digest: wish.digest, outcome, at };
    Ok(txn.put(&(actor.to_string(), wish.key.clone()), &row)?)
}

/// An answer kept for a repeated request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct AnsweredRow {
    actor: String,
    key: String,
    digest: [u8; 32],
    /// The outcome in postcard.
    outcome: Vec<u8>,
    at: Timestamp,
}

impl Record for AnsweredRow {
    const TABLE: Table = Table::Idempotency;
    type Key = (String, String);
}

/// The refusals of one actor within one second.
#[derive(Debug, Default)]
struct Window {
    since: Timestamp,
    written: u64,
    unwritten: u64,
}

impl Window {
    /// Whether to write an entry for one more refusal, and for how many it stands.
    fn count(&mut self, now: Timestamp) -> Option<u64> {
        if now.since(self.since) >= Duration::from_secs(1) {
            let missed = std::mem::take(&mut self.unwritten);
            *self = Self { since: now, written: 1, unwritten: 0 };
            return Some(missed.saturating_add(1));
        }
        if self.written < REFUSALS_PER_SECOND {
            self.written = self.written.saturating_add(1);
            return Some(1);
        }
        self.unwritten = self.unwritten.saturating_add(1);
        None
    }
}

/// How often a wish is decided again before its wisher is told to try later; each time somebody else got through.
const ATTEMPTS: usize = 100;

/// How long a request may be sent again and gets its first answer.
const ANSWERS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Answers forgotten in one commit.
const FORGOTTEN_AT_ONCE: usize = 100;

/// Entries one actor's refusals may make in a second; the rest are counted.
const REFUSALS_PER_SECOND: u64 = 10;

/// Actors whose refusals are counted at once before the idle ones are forgotten.
const MAX_WINDOWS: usize = 10_000;

#[cfg(test)]
mod tests;
