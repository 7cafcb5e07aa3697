//! After a restore: what witnesses know of the time after the backup is taken over, and whom it concerns is locked.
//!
//! A restore undoes more than can be told from cut-offs (leaving a group, a deletion, a lock), so every identity that one
//! of them concerns is locked until an admin has looked. What was obtained in the meantime with a credential that turns
//! out dead dies with it: `via/…` is cut anew. Locks come first, then `via/…`, then the facts themselves: interrupted,
//! the same facts are new again and all of it is done once more.

mod plan;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::access::{Actor, Permission, Permit, Role, Scope};
use crate::ca::authorities::retire;
use crate::ca::proxies::join::following;
use crate::command::{Command, Query, Rejected};
use crate::directory::rows::{DeletedRow, IdentityRow, RoleBindingRow};
use crate::directory::{admins, membership};
use crate::engine::Engine;
use crate::ident::{AnyId, ClusterName, IdentityId, ShortFingerprint};
use crate::journal::{Cause, Event, Witness};
use crate::ledger::cuts::{self, Why};
use crate::ledger::import::{self, Restores};
use crate::ledger::rows::ListedSerialRow;
use crate::standing::{Cut, CutKey, Revision};
use crate::status::Lock;
use crate::store::txn::Txn;
use crate::world::Moment;
use crate::x509::reason::Reason;

use plan::{Planning, Step};

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
    /// An identity had these roles in the end, and no other.
    Roles(IdentityId, Vec<Role>),
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
    /// Identities from whom a role was withdrawn again.
    pub roles: usize,
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
        self.roles += other.roles;
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
            Step::Withdraw(id, kept) => admins::keep_only(txn, id, kept),
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

const fn permission(cluster: Option<&ClusterName>) -> Permission {
    if cluster.is_some() { Permission::ProxyFollow } else { Permission::AuthorityUpkeep }
}

fn scope(cluster: Option<&ClusterName>) -> Scope {
    cluster.map_or(Scope::Everything, |cluster| Scope::Cluster(cluster.clone()))
}

/// Steps in one commit: each is four operations at most, but for a deletion's memberships, and a commit holds 256.
const STEPS: usize = 20;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::plan::Planning;
    use super::*;
    use crate::access::Part;
    use crate::ca::rows::AuthorityRow;
    use crate::directory::identities::AddIdentity;
    use crate::ident::{IdentityId, IssuerName};
    use crate::journal::IdentityKind;
    use crate::ledger::rows::LockRow;
    use crate::store::Timeline;
    use crate::store::memory::MemoryStore;
    use crate::world::{Timestamp, World};

    const RESTORE: Actor = Actor::System(Part::Restore);
    const BACKUP: Revision = Revision { era: 10, number: 90 };
    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    /// A store in era 20, which began on a backup.
    fn restored() -> Engine {
        let engine = Engine::new(Arc::new(MemoryStore::new(20, Timeline([0; 16]))), World::system());
        engine.run(&RESTORE, &BeginEra { era: 20, backup: BACKUP }).unwrap();
        engine
    }

    fn add(engine: &Engine, id: &str, groups: &[String]) {
        let groups = groups.iter().map(|group| group.parse().unwrap()).collect();
        let (id, kind) = (id.parse().unwrap(), IdentityKind::User);
        let add = AddIdentity { id, kind, groups, agency: None, role: None, reuse: false };
        engine.run(&Actor::System(Part::Initialisation), &add).unwrap();
    }

    fn cut(number: u64) -> Cut {
        Cut { revision: Revision { number, ..BACKUP }, at: NOW, reason: Reason::Unspecified }
    }

    fn told(engine: &Engine, told: &[Told]) -> TakenOver {
        take_over(engine, &RESTORE, &Witness::Journal, None, told).unwrap()
    }

    fn is_locked(engine: &Engine, id: &str) -> bool {
        let key = (id.parse().unwrap(), None);
        Txn::begin(&**engine.store()).peek::<LockRow>(&key).unwrap().is_some_and(|lock| lock.value.by_restore)
    }

    #[test]
    fn whoever_was_in_a_group_that_comes_back_is_locked() {
        let engine = restored();
        add(&engine, "alice", &["dev".to_owned()]);
        add(&engine, "bob", &[]);
        let group = CutKey::Group("dev".parse().unwrap());
        let member = CutKey::Member("bob".parse().unwrap(), "ops".parse().unwrap());
        let taken = told(&engine, &[Told::CutOff(group, cut(95), Cause::Deleted)]);
        assert_eq!(taken.locked, ["alice"]);
        assert!(is_locked(&engine, "alice") && !is_locked(&engine, "bob"));
        assert_eq!(told(&engine, &[Told::CutOff(member, cut(96), Cause::Moved)]).locked, ["bob"]);
    }

    #[test]
    fn much_is_taken_over_in_many_commits_and_once() {
        let engine = restored();
        let groups: Vec<String> = (0..32).map(|number| format!("group-{number}")).collect();
        add(&engine, "erin", &groups);
        let mut facts: Vec<Told> = (0..150)
            .map(|number| {
                let key = CutKey::Identity(format!("user-{number}").parse().unwrap());
                Told::CutOff(key, cut(100 + number), Cause::Revoked)
            })
            .collect();
        let id: IdentityId = "erin".parse().unwrap();
        facts.push(Told::Deleted(DeletedRow { id: id.clone(), kind: IdentityKind::User, at: NOW }));
        let taken = told(&engine, &facts);
        assert_eq!((taken.cut_offs, taken.deletions, taken.locked.len()), (150, 1, 151));
        let txn = Txn::begin(&**engine.store());
        assert!(txn.peek::<IdentityRow>(&id).unwrap().is_none());
        assert!(txn.peek::<DeletedRow>(&AnyId::from(&id)).unwrap().is_some());
        let before = engine.store().end();
        facts.pop();
        assert!(told(&engine, &facts).is_empty());
        assert_eq!(engine.store().end(), before);
    }

    #[test]
    fn a_proxy_ends_no_authority_but_its_own_clusters() {
        let engine = restored();
        let prod: ClusterName = "prod".parse().unwrap();
        let mut txn = Txn::begin(&**engine.store());
        for (name, cluster) in [("infra", None), ("prod-1", Some("prod")), ("east-1", Some("east"))] {
            let name: IssuerName = name.parse().unwrap();
            let cluster = cluster.map(|cluster| cluster.parse().unwrap());
            let row = AuthorityRow {
                name: name.clone(),
                cluster,
                der: Vec::new(),
                not_after: NOW,
                retired: false,
                is_brought: false,
                is_detached: false,
            };
            txn.put(&name, &row).unwrap();
        }
        txn.commit(NOW, &RESTORE).unwrap();
        let may = |issuer: &str, cluster: Option<&ClusterName>| {
            let told = Told::CutOff(CutKey::Issuer(issuer.parse().unwrap()), cut(95), Cause::TakenOver);
            let witness = Witness::Proxy("prod-a".parse().unwrap());
            let planning = Planning { told: &[], witness: &witness, cluster };
            planning.may_tell(&Txn::begin(&**engine.store()), &told).unwrap()
        };
        assert_eq!(
            ["infra", "prod-1", "east-1", "west-1"].map(|issuer| may(issuer, Some(&prod))),
            [false, true, false, false]
        );
        assert!(may("infra", None), "the journal that was replaced may");
        // What was cut off like that signs no more.
        told(&engine, &[Told::CutOff(CutKey::Issuer("prod-1".parse().unwrap()), cut(95), Cause::Revoked)]);
        let row = Txn::begin(&**engine.store()).peek::<AuthorityRow>(&"prod-1".parse().unwrap()).unwrap().unwrap();
        assert!(row.value.retired);
    }
}
