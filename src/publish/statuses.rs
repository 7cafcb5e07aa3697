//! The follower that keeps the authority's own statuses and the roll.

use std::sync::Arc;

use super::feed::tail::Tail;
use super::roll::{Listed, Member, Roll};
use crate::command::Rejected;
use crate::follow::{Follower, catch_up};
use crate::ident::Fingerprint;
use crate::journal::{Entry, Event, Issued};
use crate::ledger::rows::{CertificateRow, CutOffRow, ListedSerialRow, LockRow, RevokedRow};
use crate::standing::{Cut, Revision};
use crate::status::{Change, Credential, Lock, LockKey, Statuses};
use crate::store::txn::Txn;
use crate::store::{Store, StoreError};

/// Follows the journal into [`Statuses`] and [`Roll`].
#[derive(Debug)]
pub struct StatusFollower {
    statuses: Arc<Statuses>,
    roll: Arc<Roll>,
    tail: Arc<Tail>,
    cursor: Revision,
}

impl StatusFollower {
    /// Reads the record as it is, then everything that was committed meanwhile; the statuses answer when it returns.
    pub fn load(
        store: &dyn Store,
        statuses: Arc<Statuses>,
        roll: Arc<Roll>,
        tail: Arc<Tail>,
    ) -> Result<Self, Rejected> {
        // Rows written after this revision may be read too; their entries come again, which changes nothing.
        let cursor = store.end();
        let txn = Txn::begin(store);
        load_certificates(&txn, &statuses, &roll)?;
        let mut changes = Vec::new();
        for row in txn.scan_all::<CutOffRow>(&[])? {
            let CutOffRow { key, at, reason, cut, .. } = row.value;
            let revision = cut.or(row.created).unwrap_or_default();
            changes.push(Change::CutOff(key, Cut { revision, at, reason }));
        }
        for row in txn.scan_all::<RevokedRow>(&[])? {
            let RevokedRow { fingerprint, at, reason, cut, .. } = row.value;
            let revision = cut.or(row.created).unwrap_or_default();
            changes.push(Change::Revoked(fingerprint.short(), Cut { revision, at, reason }));
        }
        for row in txn.scan_all::<LockRow>(&[])? {
            let revision = row.created.unwrap_or_default();
            let LockRow { id, cluster, at, .. } = row.value;
            changes.push(Change::Locked(Lock { key: LockKey { id, cluster }, at, revision }));
        }
        statuses.apply(changes);
        for row in txn.scan_all::<ListedSerialRow>(&[])? {
            let ListedSerialRow { issuer, serial, cut, until } = row.value;
            roll.add_listed(&issuer, serial, Listed { cut, until });
        }
        let began = Revision { number: cursor.number.saturating_sub(REMEMBERED), ..cursor };
        tail.begin(began);
        // The last entries once more: a proxy that was away for the restart is told the changes alone.
        let mut follower = Self { statuses, roll, tail, cursor: began };
        catch_up(store, &mut follower)?;
        follower.statuses.reached(follower.cursor);
        Ok(follower)
    }

    fn change(&self, revision: Revision, entry: &Entry, event: &Event) -> Option<Change> {
        match event {
            Event::CertificateIssued(issued) => {
                let Issued { serial, fingerprint, issuer, not_after, cut_keys, .. } = issued;
                self.roll.add(issuer, *serial, Member { fingerprint: *fingerprint, not_after: *not_after });
                Some(Change::Recorded(Credential {
                    key: fingerprint.short(),
                    issued: revision,
                    not_after: *not_after,
                    cut_keys: cut_keys.clone(),
                }))
            }
            Event::CutOff { key, reason, .. } => {
                Some(Change::CutOff(key.clone(), Cut { revision, at: entry.at, reason: *reason }))
            }
            Event::CertificateRevoked { fingerprint, reason, .. } => {
                Some(Change::Revoked(fingerprint.short(), Cut { revision, at: entry.at, reason: *reason }))
            }
            Event::Locked { id, cluster } | Event::LockedByRestore { id, cluster, .. } => {
                let key = LockKey { id: id.clone(), cluster: cluster.clone() };
                Some(Change::Locked(Lock { key, at: entry.at, revision }))
            }
            Event::CutOffTakenOver { key, cut, .. } => Some(Change::CutOff(key.clone(), cut.clone())),
            Event::RevocationTakenOver { fingerprint, cut, .. } => {
                Some(Change::Revoked(fingerprint.short(), cut.clone()))
            }
            Event::SerialTakenOver { issuer, serial, cut, until } => {
                self.roll.add_listed(issuer, *serial, Listed { cut: cut.clone(), until: *until });
                None
            }
            Event::Unlocked { id, cluster } => {
                Some(Change::Unlocked(LockKey { id: id.clone(), cluster: cluster.clone() }))
            }
            Event::IdentityAdded { .. }
            | Event::IdentityDeleted { .. }
            | Event::GroupJoined { .. }
            | Event::GroupLeft { .. }
            | Event::GroupDeleted { .. }
            | Event::AgencyJoined { .. }
            | Event::AgencyLeft { .. }
            | Event::RoleGranted { .. }
            | Event::RoleWithdrawn { .. }
            | Event::AuthorityCreated { .. }
            | Event::ClusterAdded { .. }
            | Event::CrlIssued { .. }
            | Event::Refused { .. }
            | Event::ProxyInvited { .. }
            | Event::ProxyJoined { .. }
            | Event::ProxyRemoved { .. }
            | Event::ProxyFollows { .. }
            | Event::ProxyGone { .. }
            | Event::ProxyReported { .. }
            | Event::Restored { .. } => None,
        }
    }
}

impl Follower for StatusFollower {
    fn name(&self) -> &'static str {
        "statuses"
    }

    fn cursor(&self) -> Revision {
        self.cursor
    }

    fn take(&mut self, entries: &[(Revision, Entry)]) -> Result<(), StoreError> {
        let mut changes = Vec::new();
        for (revision, entry) in entries {
            changes.extend(entry.events.iter().filter_map(|event| self.change(*revision, entry, event)));
            self.cursor = *revision;
        }
        let has_cuts = changes.iter().any(|change| matches!(change, Change::CutOff(..) | Change::Revoked(..)));
        self.tail.push(self.cursor, changes.clone());
        self.statuses.apply(changes);
        // Before it is announced: whoever hears that a revocation is in force finds no older answer ready.
        if has_cuts {
            self.roll.note_cut();
        }
        self.statuses.reached(self.cursor);
        Ok(())
    }

    fn stopped(&mut self, why: &str) {
        self.statuses.stop(why);
    }
}

/// Certificates are read in pages, so that a large record is never in memory twice.
fn load_certificates(txn: &Txn<'_>, statuses: &Statuses, roll: &Roll) -> Result<(), Rejected> {
    let mut after: Option<Fingerprint> = None;
    loop {
        let page = txn.scan::<CertificateRow>(&[], after.as_ref(), PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.value.fingerprint);
        let mut changes = Vec::with_capacity(page.len());
        for row in page {
            let issued = row.created.unwrap_or_default();
            let CertificateRow { fingerprint, serial, issuer, not_after, cut_keys, .. } = row.value;
            roll.add(&issuer, serial, Member { fingerprint, not_after });
            changes.push(Change::Recorded(Credential { key: fingerprint.short(), issued, not_after, cut_keys }));
        }
        statuses.apply(changes);
    }
}

/// Certificates read at once: some 5 MiB.
const PAGE: usize = 5000;
/// Entries read again at a start, for proxies that were told what came before them.
const REMEMBERED: u64 = 10_000;
