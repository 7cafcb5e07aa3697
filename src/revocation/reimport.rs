//! After a restore: what witnesses know of the time after the backup is taken over, and whom it concerns is locked.
//!
//! A restore undoes more than can be told from cut-offs (leaving a group, a deletion, a lock), so every identity that one
//! of them concerns is locked until an admin has looked. What was obtained in the meantime with a credential that turns
//! out dead dies with it: `via/…` is cut anew. Locks come first, then `via/…`, then the facts themselves: interrupted,
//! the same facts are new again and all of it is done once more.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::access::{Actor, Permission, Permit, Scope};
use crate::ca::proxies::join::following;
use crate::ca::rows::AuthorityRow;
use crate::command::{Command, Query, Rejected};
use crate::directory::rows::{DeletedRow, IdentityRow, RoleBindingRow};
use crate::directory::{admins, membership};
use crate::engine::Engine;
use crate::ident::{AnyId, ClusterName, Fingerprint, IssuerName, ShortFingerprint};
use crate::journal::{Cause, Event, Witness};
use crate::ledger::credentials::{self, Fallen, Standing};
use crate::ledger::cuts::{self, Why};
use crate::ledger::import::{self, Restores};
use crate::ledger::rows::{CertificateRole, CertificateRow, ListedSerialRow, RevokedRow};
use crate::standing::{Cut, CutKey, Revision, is_cut};
use crate::status::{Lock, LockKey};
use crate::store::record::Stored;
use crate::store::txn::Txn;
use crate::world::Moment;
use crate::x509::reason::Reason;

/// A fact of the time after the backup.
#[derive(Clone, Debug)]
pub enum Told {
    /// A key was cut off.
    CutOff(CutKey, Cut, Cause),
    /// A certificate was revoked.
    Revoked(ShortFingerprint, Cut),
    /// An identity was locked.
    Locked(Lock),
    /// An identity was deleted.
    Deleted(DeletedRow),
    /// A certificate without a record was revoked.
    Listed(ListedSerialRow),
}

/// What was taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOver {
    /// Cut-offs that were not on the record.
    pub cut_offs: usize,
    /// Certificates on the record that are revoked now.
    pub revocations: usize,
    /// Revoked certificates that are not on the record.
    pub serials: usize,
    /// Identities that were deleted again.
    pub deletions: usize,
    /// Locks that were not on the record.
    pub locks: usize,
    /// Who is locked until an admin has looked, sorted.
    pub locked: Vec<String>,
}

impl TakenOver {
    /// Both together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.cut_offs += other.cut_offs;
        self.revocations += other.revocations;
        self.serials += other.serials;
        self.deletions += other.deletions;
        self.locks += other.locks;
        let all: BTreeSet<_> = self.locked.into_iter().chain(other.locked).collect();
        self.locked = all.into_iter().collect();
        self
    }

    /// Whether there was nothing to take over.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Takes over what the record does not have; as `actor`, which is the restore itself or a proxy of `cluster`. Blocking.
pub fn take_over(
    engine: &Engine,
    actor: &Actor,
    witness: &Witness,
    cluster: Option<&ClusterName>,
    told: &[Told],
) -> Result<TakenOver, Rejected> {
    let plan = engine.ask(actor, &Planning { told, witness, cluster })?.outcome;
    for steps in batches(&plan.steps) {
        engine.run(actor, &TakeOver { steps, witness, cluster })?;
    }
    Ok(plan.counts)
}

/// The first commit of a new era.
#[derive(Clone, Copy, Debug)]
pub struct BeginEra {
    /// The era.
    pub era: u32,
    /// The last revision that was in the backup.
    pub backup: Revision,
}

/// The oldest place that the journal was ever put back to, for a proxy.
#[derive(Clone, Debug)]
pub struct RestoredTo(pub ClusterName);

impl Query for RestoredTo {
    type Answer = Option<Revision>;

    fn permission(&self) -> Permission {
        Permission::ProxyFollow
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Cluster(self.0.clone()))
    }

    fn answer(&self, _: &Permit, txn: &mut Txn<'_>, _: &Moment<'_>) -> Result<Self::Answer, Rejected> {
        Ok(Restores::read(txn)?.oldest())
    }
}

/// A change was made.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Made;

impl Command for BeginEra {
    type Outcome = Made;

    fn permission(&self) -> Permission {
        Permission::AuthorityUpkeep
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Made, Rejected> {
        import::begin_era(txn, moment.now, self.era, self.backup)?;
        Ok(Made)
    }
}

/// The part of what is told that is new, and what follows from it.
struct Planning<'t> {
    told: &'t [Told],
    witness: &'t Witness,
    cluster: Option<&'t ClusterName>,
}

#[derive(Debug, Default)]
struct Plan {
    steps: Vec<Step>,
    counts: TakenOver,
}

/// What one or a few operations of a commit do.
#[derive(Clone, Debug)]
enum Step {
    Lock(LockKey),
    CutAnew(Fingerprint),
    Delete(DeletedRow),
    CutOff(CutKey, Cut, Cause),
    Revoke(RevokedRow),
    NoteLock(Lock),
    List(ListedSerialRow),
}

impl Query for Planning<'_> {
    type Answer = Plan;

    fn permission(&self) -> Permission {
        permission(self.cluster)
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(scope(self.cluster))
    }

    fn answer(&self, _: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Plan, Rejected> {
        let mut new = New::default();
        let restores = Restores::read(txn)?;
        for told in self.told {
            if self.may_tell(txn, told)? {
                new.take(txn, &restores, told)?;
            }
        }
        if !new.cuts.is_empty() || !new.revoked.is_empty() {
            // The journal that was replaced saw nothing obtained after what it tells of; others may be late.
            let is_late = *self.witness != Witness::Journal;
            new.go_through_certificates(txn, moment, is_late)?;
        }
        Ok(new.into_plan())
    }
}

impl Planning<'_> {
    /// A proxy tells of any identity and group, but of its own cluster's authorities only: ending one cannot be undone,
    /// and the infrastructure's would end every proxy and every admin.
    fn may_tell(&self, txn: &Txn<'_>, told: &Told) -> Result<bool, Rejected> {
        let (Some(cluster), Told::CutOff(CutKey::Issuer(issuer), ..)) = (self.cluster, told) else { return Ok(true) };
        let row = txn.peek::<AuthorityRow>(issuer)?;
        Ok(row.is_some_and(|row| row.value.cluster.as_ref() == Some(cluster)))
    }
}

/// What is new.
#[derive(Default)]
struct New {
    cuts: HashMap<CutKey, Vec<Revision>>,
    revoked: HashMap<ShortFingerprint, Cut>,
    locks: BTreeSet<LockKey>,
    anew: Vec<Fingerprint>,
    deletions: BTreeMap<String, DeletedRow>,
    facts: Vec<Step>,
    seen: HashSet<(CutKey, Revision)>,
}

impl New {
    fn take(&mut self, txn: &mut Txn<'_>, restores: &Restores, told: &Told) -> Result<(), Rejected> {
        match told {
            Told::CutOff(key, cut, cause) => {
                let is_first = self.seen.insert((key.clone(), cut.revision));
                if is_first && restores.has_lost(cut.revision) && !import::has_cut_off(txn, key, cut.revision)? {
                    self.lock_whom(txn, key)?;
                    self.cuts.entry(key.clone()).or_default().push(cut.revision);
                    self.facts.push(Step::CutOff(key.clone(), cut.clone(), *cause));
                }
            }
            Told::Revoked(key, cut) => {
                if restores.has_lost(cut.revision) {
                    self.revoked.entry(*key).or_insert_with(|| cut.clone());
                }
            }
            Told::Locked(lock) => {
                if restores.has_lost(lock.revision) && !import::has_lock(txn, lock)? {
                    self.locks.insert(lock.key.clone());
                    self.facts.push(Step::NoteLock(lock.clone()));
                }
            }
            Told::Deleted(row) => {
                self.locks.insert(LockKey { id: AnyId::from(&row.id), cluster: None });
                self.deletions.insert(row.id.to_string(), row.clone());
            }
            Told::Listed(row) => {
                if restores.has_lost(row.cut.revision)
                    && txn.peek::<ListedSerialRow>(&(row.issuer.clone(), row.serial))?.is_none()
                {
                    self.facts.push(Step::List(row.clone()));
                }
            }
        }
        Ok(())
    }

    /// Whom a cut-off concerns by its key alone; a restore has undone what it was written for.
    fn lock_whom(&mut self, txn: &mut Txn<'_>, key: &CutKey) -> Result<(), Rejected> {
        self.locks.extend(LockKey::covering(key));
        match key {
            CutKey::Member(id, _) => {
                self.locks.insert(LockKey { id: AnyId::from(id), cluster: None });
            }
            CutKey::Group(group) => {
                let members = membership::members_of_group(txn, group)?;
                self.locks.extend(members.iter().map(|id| LockKey { id: AnyId::from(id), cluster: None }));
            }
            CutKey::Identity(_)
            | CutKey::IdentityOnCluster(..)
            | CutKey::Agency(_)
            | CutKey::AgencyOnCluster(..)
            | CutKey::Issuer(_)
            | CutKey::Via(_) => {}
        }
        Ok(())
    }

    /// Finds what the new facts kill: one pass, as a revocation may concern any of them.
    fn go_through_certificates(
        &mut self,
        txn: &mut Txn<'_>,
        moment: &Moment<'_>,
        is_late: bool,
    ) -> Result<(), Rejected> {
        let mut after: Option<Fingerprint> = None;
        loop {
            let page = txn.scan::<CertificateRow>(&[], after.as_ref(), PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.value.fingerprint);
            for row in page {
                self.certificate(txn, moment, &row, is_late)?;
            }
        }
    }

    fn certificate(
        &mut self,
        txn: &Txn<'_>,
        moment: &Moment<'_>,
        row: &Stored<CertificateRow>,
        is_late: bool,
    ) -> Result<(), Rejected> {
        let issued = row.created.unwrap_or_default();
        let found = &row.value;
        let revoked = match self.revoked.get(&found.fingerprint.short()) {
            // One that is on the record already tells nothing new.
            Some(_) if txn.peek::<RevokedRow>(&found.fingerprint)?.is_some() => None,
            found => found.cloned(),
        };
        let killing: Vec<&CutKey> = found.cut_keys.iter().filter(|key| self.kills(key, issued)).collect();
        if revoked.is_none() && killing.is_empty() {
            return Ok(());
        }
        // Those that name whom they concern have locked them already.
        let is_unnamed = |key: &&CutKey| matches!(key, CutKey::Group(_) | CutKey::Via(_));
        let is_somebodys = matches!(found.role, CertificateRole::User | CertificateRole::Management);
        if is_somebodys
            && (revoked.is_some() || killing.iter().any(is_unnamed))
            && let Ok(id) = found.subject.parse::<AnyId>()
        {
            self.locks.insert(LockKey { id, cluster: None });
        }
        let stood = credentials::standing(&mut txn.aside(), row, moment.now);
        if is_late && stood != Err(Standing::Fallen(Fallen::Revoked)) {
            self.anew.push(found.fingerprint);
        }
        if let Some(cut) = revoked {
            let (fingerprint, serial) = (found.fingerprint, found.serial);
            let row = RevokedRow { fingerprint, serial, at: cut.at, reason: cut.reason, cut: Some(cut.revision) };
            self.facts.push(Step::Revoke(row));
        }
        Ok(())
    }

    fn kills(&self, key: &CutKey, issued: Revision) -> bool {
        self.cuts.get(key).is_some_and(|cuts| cuts.iter().any(|cut| is_cut(key, issued, *cut)))
    }

    fn into_plan(self) -> Plan {
        let count = |is_it: fn(&Step) -> bool| self.facts.iter().filter(|step| is_it(step)).count();
        let counts = TakenOver {
            cut_offs: count(|step| matches!(step, Step::CutOff(..))),
            revocations: count(|step| matches!(step, Step::Revoke(_))),
            serials: count(|step| matches!(step, Step::List(_))),
            deletions: self.deletions.len(),
            locks: count(|step| matches!(step, Step::NoteLock(_))),
            locked: self.locks.iter().map(shown).collect(),
        };
        let mut steps: Vec<Step> = self.locks.into_iter().map(Step::Lock).collect();
        steps.extend(self.anew.into_iter().map(Step::CutAnew));
        steps.extend(self.deletions.into_values().map(Step::Delete));
        steps.extend(self.facts);
        Plan { steps, counts }
    }
}

/// Steps that fit one commit each.
fn batches(mut steps: &[Step]) -> Vec<&[Step]> {
    let mut found = Vec::new();
    while !steps.is_empty() {
        // A deletion takes its memberships with it, and a commit for itself.
        let is_large = |step: &Step| matches!(step, Step::Delete(_));
        let alone = steps.iter().take(STEPS).position(is_large).map(|place| place.max(1));
        let (batch, rest) = steps.split_at(alone.unwrap_or(STEPS).min(steps.len()));
        found.push(batch);
        steps = rest;
    }
    found
}

fn shown(key: &LockKey) -> String {
    key.cluster.as_ref().map_or_else(|| key.id.to_string(), |cluster| format!("{} on {cluster}", key.id))
}

/// Some of the steps, in one commit.
struct TakeOver<'s> {
    steps: &'s [Step],
    witness: &'s Witness,
    cluster: Option<&'s ClusterName>,
}

impl Command for TakeOver<'_> {
    type Outcome = Made;

    fn permission(&self) -> Permission {
        permission(self.cluster)
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(scope(self.cluster))
    }

    fn decide(&self, permit: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Made, Rejected> {
        if self.cluster.is_some() {
            following(permit, txn)?;
        }
        for step in self.steps {
            self.step(txn, moment, step)?;
        }
        Ok(Made)
    }
}

impl TakeOver<'_> {
    fn step(&self, txn: &mut Txn<'_>, moment: &Moment<'_>, step: &Step) -> Result<(), Rejected> {
        let why = Why { reason: Reason::Unspecified, comment: Some("found dead after a restore".to_owned()) };
        match step {
            Step::Lock(key) => import::lock(txn, moment.now, key, self.witness),
            Step::CutAnew(fingerprint) => cuts::cut_off(txn, moment, CutKey::Via(*fingerprint), Cause::TakenOver, &why),
            Step::Delete(row) => delete(txn, row),
            Step::CutOff(key, cut, cause) => {
                if let CutKey::Issuer(issuer) = key {
                    retire(txn, issuer)?;
                }
                import::cut_off(txn, key, cut, *cause, self.witness)
            }
            Step::Revoke(row) => import::revocation(txn, row, self.witness),
            Step::NoteLock(lock) => import::note_lock(txn, lock),
            Step::List(row) => import::listed(txn, row),
        }
    }
}

/// Deletes an identity that the backup brought back.
fn delete(txn: &mut Txn<'_>, row: &DeletedRow) -> Result<(), Rejected> {
    if txn.get::<IdentityRow>(&row.id)?.is_some() {
        membership::forget_all(txn, &row.id)?;
        if txn.get::<RoleBindingRow>(&row.id)?.is_some() {
            admins::forget(txn, &row.id)?;
        }
        txn.delete::<IdentityRow>(&row.id);
        txn.record(Event::IdentityDeleted { id: row.id.clone(), kind: row.kind });
    }
    Ok(txn.put(&AnyId::from(&row.id), row)?)
}

/// A cut-off of an issuing CA retires it in the same commit.
fn retire(txn: &mut Txn<'_>, issuer: &IssuerName) -> Result<(), Rejected> {
    if let Some(row) = txn.get::<AuthorityRow>(issuer)? {
        txn.put(issuer, &AuthorityRow { retired: true, ..row.value })?;
    }
    Ok(())
}

const fn permission(cluster: Option<&ClusterName>) -> Permission {
    if cluster.is_some() { Permission::ProxyFollow } else { Permission::AuthorityUpkeep }
}

fn scope(cluster: Option<&ClusterName>) -> Scope {
    cluster.map_or(Scope::Everything, |cluster| Scope::Cluster(cluster.clone()))
}

/// Steps in one commit: each is four operations at most, but for a deletion's memberships, and a commit holds 256.
const STEPS: usize = 20;

/// Certificates read at once: some 5 MiB.
const PAGE: usize = 5000;

#[cfg(test)]
mod tests;
