//! The follower that keeps the authority's own statuses and the roll.

use std::sync::Arc;

use super::feed::tail::Tail;
use super::kept::Kept;
use super::roll::{Listed, Member, Roll};
use crate::command::{Code, Rejected};
use crate::engine::Newest;
use crate::follow::{Follower, catch_up};
use crate::journal::{Entry, Event, Issued};
use crate::ledger::rows::ListedSerialRow;
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
    newest: Arc<Newest>,
    cursor: Revision,
}

impl StatusFollower {
    /// Takes what was kept, if that is of this store, then everything that was committed after it; the statuses answer
    /// when it returns.
    pub fn load(
        store: &dyn Store,
        statuses: Arc<Statuses>,
        roll: Arc<Roll>,
        tail: Arc<Tail>,
        newest: Arc<Newest>,
        kept: Option<&Kept>,
    ) -> Result<Self, Rejected> {
        let found = kept.map_or(Ok(None), |kept| kept.read(store.timeline()));
        let found = found.unwrap_or_else(|error| {
            tracing::warn!(%error, "the answers that were kept cannot be read: all of the journal is read instead");
            None
        });
        let (end, mut cursor) = (store.end(), Revision::IMPORTED);
        if let Some(found) = found {
            cursor = found.cursor;
            if cursor > end {
                return Err(Rejected::new(
                    Code::Unavailable,
                    format!(
                        "the answers that were kept reflect revision {cursor}, and the store ends at {end}: it is an older \
                         one, or has lost something; see `portcullis store restore`"
                    ),
                ));
            }
            newest.note(found.newest);
            statuses.fill(found.snapshot);
            found.members.into_iter().for_each(|(issuer, members)| roll.add_all(&issuer, members));
        }
        for row in Txn::begin(store).scan_all::<ListedSerialRow>(&[])? {
            let ListedSerialRow { issuer, serial, cut, until } = row.value;
            roll.add_listed(&issuer, serial, Listed { cut, until });
        }
        // The last entries once more: a proxy that was away for the restart is told the changes alone.
        let remembered = Revision { number: end.number.saturating_sub(REMEMBERED), ..end };
        let began = cursor.min(remembered);
        tail.begin(began);
        let mut follower = Self { statuses, roll, tail, newest, cursor: began };
        catch_up(store, &mut follower)?;
        follower.cursor = follower.cursor.max(end);
        follower.statuses.reached(follower.cursor);
        Ok(follower)
    }

    /// A certificate that is on the record by now, as issued at this revision.
    fn recorded(&self, recorded: &Issued, issued: Revision) -> Change {
        let Issued { serial, fingerprint, issuer, not_after, cut_keys, .. } = recorded;
        self.roll.add(issuer, *serial, Member { fingerprint: *fingerprint, not_after: *not_after });
        Change::Recorded(Credential {
            key: fingerprint.short(),
            issued,
            not_after: *not_after,
            cut_keys: cut_keys.clone(),
        })
    }

    fn change(&self, revision: Revision, entry: &Entry, event: &Event) -> Option<Change> {
        match event {
            Event::CertificateIssued(issued) => Some(self.recorded(issued, revision)),
            Event::CertificateImported(issued) => Some(self.recorded(issued, Revision::IMPORTED)),
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
            Event::AuthorityCreated { .. } => {
                self.tail.note_authority(revision);
                None
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
            | Event::ClusterAdded { .. }
            | Event::ClusterRotated { .. }
            | Event::AuthorityDetached { .. }
            | Event::AuthorityAttached { .. }
            | Event::CrlIssued { .. }
            | Event::Refused { .. }
            | Event::ProxyInvited { .. }
            | Event::ProxyJoined { .. }
            | Event::ProxyRemoved { .. }
            | Event::ProxyFollows { .. }
            | Event::ProxyGone { .. }
            | Event::ProxyReported { .. }
            | Event::Restored { .. } => None,
            Event::CertificatesForgotten { certificates } => {
                certificates.iter().for_each(|gone| self.roll.remove(&gone.issuer, gone.serial));
                None
            }
            Event::ClockAccepted { .. } => {
                self.newest.accept(entry.at);
                None
            }
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
            self.newest.note(entry.at);
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

/// Entries read again at a start, for proxies that were told what came before them.
const REMEMBERED: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SystemDisk;
    use crate::publish::kept::Answers;
    use crate::store::Timeline;
    use crate::store::memory::MemoryStore;
    use crate::world::Timestamp;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    #[test]
    fn a_store_that_ends_before_what_was_kept_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::new(Arc::new(SystemDisk), folder.path());
        let timeline = Timeline([1; 16]);
        let load = |kept: &Kept| {
            let store = MemoryStore::new(7, timeline);
            StatusFollower::load(
                &store,
                Arc::new(Statuses::empty()),
                Arc::default(),
                Arc::default(),
                Arc::default(),
                Some(kept),
            )
        };
        let statuses = Statuses::empty();
        let write = |number| {
            statuses.reached(Revision { era: 7, number });
            let roll = Roll::default();
            kept.write(&Answers { timeline, statuses: &statuses, roll: &roll, newest: NOW }, NOW).unwrap();
        };
        write(0);
        assert!(load(&kept).is_ok());
        write(9);
        let refused = load(&kept).unwrap_err();
        assert!(refused.detail.contains("reflect revision 7-9, and the store ends at 7-0"), "{refused:?}");
    }
}
