//! What of the facts that are told is new, whom it concerns, and what follows from it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{TakenOver, Told, permission, scope};
use crate::access::{Permission, Permit, Role, Scope};
use crate::ca::rows::AuthorityRow;
use crate::command::{Query, Rejected};
use crate::directory::membership;
use crate::directory::rows::{DeletedRow, RoleBindingRow};
use crate::ident::{AnyId, ClusterName, Fingerprint, IdentityId, ShortFingerprint};
use crate::journal::{Cause, Witness};
use crate::ledger::credentials::{self, Fallen, Standing};
use crate::ledger::import::{self, Restores};
use crate::ledger::rows::{CertificateRole, CertificateRow, Judged, ListedSerialRow, RevokedRow};
use crate::standing::{Cut, CutKey, Revision, is_cut};
use crate::status::{Lock, LockKey};
use crate::store::record::Stored;
use crate::store::txn::Txn;
use crate::world::Moment;

/// The part of what is told that is new, and what follows from it.
pub(super) struct Planning<'t> {
    pub(super) told: &'t [Told],
    pub(super) witness: &'t Witness,
    pub(super) cluster: Option<&'t ClusterName>,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) counts: TakenOver,
}

/// What one or a few operations of a commit do.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Lock(LockKey),
    CutAnew(Fingerprint),
    Delete(DeletedRow),
    Withdraw(IdentityId, Vec<Role>),
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
    pub(super) fn may_tell(&self, txn: &Txn<'_>, told: &Told) -> Result<bool, Rejected> {
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
            Told::Roles(id, kept) => {
                let had = txn.peek::<RoleBindingRow>(id)?.map(|row| row.value.roles).unwrap_or_default();
                if had.iter().any(|role| !kept.contains(role)) {
                    self.locks.insert(LockKey { id: AnyId::from(id), cluster: None });
                    self.facts.push(Step::Withdraw(id.clone(), kept.clone()));
                }
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
        let issued = <CertificateRow as Judged>::issued(row).unwrap_or_default();
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
            roles: count(|step| matches!(step, Step::Withdraw(..))),
            locked: self.locks.iter().map(shown).collect(),
        };
        let mut steps: Vec<Step> = self.locks.into_iter().map(Step::Lock).collect();
        steps.extend(self.anew.into_iter().map(Step::CutAnew));
        steps.extend(self.deletions.into_values().map(Step::Delete));
        steps.extend(self.facts);
        Plan { steps, counts }
    }
}

fn shown(key: &LockKey) -> String {
    key.cluster.as_ref().map_or_else(|| key.id.to_string(), |cluster| format!("{} on {cluster}", key.id))
}

/// Certificates read at once: some 5 MiB.
const PAGE: usize = 5000;
