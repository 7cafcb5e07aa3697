//! What a proxy needs to know of every credential, and nothing of the store it comes from.
//!
//! [`Statuses`] is the one read-only answer for a credential: the first that applies of unknown, revoked, expired,
//! locked and good; it also tells when answers change. Whoever feeds it (the authority's follower, later a proxy's
//! mirror) applies [`Change`]s in the order of their revisions and then says how far it has come.
//!
//! Read `index` for how an answer is found.

mod index;

use std::fmt;
use std::sync::{Condvar, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::sync::watch;

use crate::ident::{AnyId, ClusterName, Fingerprint};
use crate::standing::{Cut, CutKey, Revision};
use crate::world::Timestamp;

use index::Index;

/// The standing of a credential at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not on the record: refused, even when it is validly signed.
    Unknown,
    /// Cut off or individually revoked, for good.
    Revoked(Cut),
    /// Its `notAfter` has passed (RFC 5280 §4.1.2.5: the last second is still valid).
    Expired {
        /// The last moment it was valid.
        not_after: Timestamp,
    },
    /// Its holder or the holder's agency is locked; this can be undone.
    Locked(Lock),
    /// It stands.
    Good,
}

impl Status {
    /// Whether the credential may be used.
    pub const fn is_good(&self) -> bool {
        matches!(self, Self::Good)
    }
}

/// A lock in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// What is locked.
    pub key: LockKey,
    /// Since when, for people.
    pub at: Timestamp,
    /// The commit that locked it.
    pub revision: Revision,
}

/// What a lock covers: an identity (an agency with its members), everywhere or on one cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockKey {
    /// The identity's ID.
    pub id: AnyId,
    /// One cluster, or all of them.
    pub cluster: Option<ClusterName>,
}

impl LockKey {
    /// The lock that would stop a credential with this cut key, if there is such a lock.
    pub fn covering(key: &CutKey) -> Option<Self> {
        match key {
            CutKey::Identity(id) | CutKey::Agency(id) => Some(Self { id: id.clone(), cluster: None }),
            CutKey::IdentityOnCluster(id, cluster) | CutKey::AgencyOnCluster(id, cluster) => {
                Some(Self { id: id.clone(), cluster: Some(cluster.clone()) })
            }
            CutKey::Member(..) | CutKey::Group(_) | CutKey::Issuer(_) | CutKey::Via(_) => None,
        }
    }
}

/// What is remembered of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The SHA-256 of the certificate.
    pub fingerprint: Fingerprint,
    /// The revision that recorded it.
    pub issued: Revision,
    /// The last moment of its validity.
    pub not_after: Timestamp,
    /// Every cut key on its record.
    pub cut_keys: Vec<CutKey>,
}

/// A fact that changes answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A credential is on the record.
    Recorded(Credential),
    /// Everything that carries the key and was recorded before is dead.
    CutOff(CutKey, Cut),
    /// One credential is dead.
    Revoked(Fingerprint, Cut),
    /// Everything the lock covers is stopped.
    Locked(Lock),
    /// It may go on.
    Unlocked(LockKey),
}

/// The answers cannot be trusted: whoever feeds them has stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("revocation data is stale: {0}")]
pub struct Stale(pub String);

/// The statuses of all credentials in memory, for any number of readers.
pub struct Statuses {
    index: RwLock<Index>,
    progress: watch::Sender<Progress>,
    moving: Mutex<()>,
    moved: Condvar,
}

/// How far the answers have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything up to this revision is in the answers.
    Reached(Revision),
    /// They are no longer kept up; nothing may be let in.
    Stopped(Stale),
}

impl Statuses {
    /// Empty answers that must not be used yet: everything is refused as stale until [`reached`](Self::reached).
    pub fn empty() -> Self {
        let stopped = Progress::Stopped(Stale("the record is still being read".to_owned()));
        Self {
            index: RwLock::default(),
            progress: watch::Sender::new(stopped),
            moving: Mutex::default(),
            moved: Condvar::new(),
        }
    }

    /// The status of a credential at `now`.
    pub fn status(&self, fingerprint: &Fingerprint, now: Timestamp) -> Result<Status, Stale> {
        if let Progress::Stopped(stale) = &*self.progress.borrow() {
            return Err(stale.clone());
        }
        Ok(self.read().status(fingerprint, now))
    }

    /// The last moment of a recorded credential's validity.
    pub fn not_after(&self, fingerprint: &Fingerprint) -> Option<Timestamp> {
        self.read().not_after(fingerprint)
    }

    /// The revision that every answer reflects, if they are kept up.
    pub fn revision(&self) -> Result<Revision, Stale> {
        match &*self.progress.borrow() {
            Progress::Reached(revision) => Ok(*revision),
            Progress::Stopped(stale) => Err(stale.clone()),
        }
    }

    /// Wakes whoever must act when answers change.
    pub fn subscribe(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// How many credentials are on record.
    pub fn count(&self) -> usize {
        self.read().count()
    }

    /// Takes changes in; nothing is announced before [`reached`](Self::reached).
    pub fn apply(&self, changes: impl IntoIterator<Item = Change>) {
        let mut index = self.write();
        for change in changes {
            index.apply(change);
        }
    }

    /// Announces that everything up to `revision` is in the answers.
    pub fn reached(&self, revision: Revision) {
        self.announce(Progress::Reached(revision));
    }

    /// Announces that the answers are no longer kept up: from now on everything is refused.
    pub fn stop(&self, why: impl Into<String>) {
        self.announce(Progress::Stopped(Stale(why.into())));
    }

    /// Blocks until everything up to `revision` is in the answers.
    pub fn wait_for(&self, revision: Revision, timeout: Duration) -> Result<(), Stale> {
        let waiting = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        let is_behind = |_: &mut ()| self.revision().is_ok_and(|reached| reached < revision);
        drop(self.moved.wait_timeout_while(waiting, timeout, is_behind));
        match self.revision()? {
            reached if reached >= revision => Ok(()),
            reached => Err(Stale(format!("they reflect {reached} and have not come to {revision}"))),
        }
    }

    fn announce(&self, progress: Progress) {
        let moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        self.progress.send_replace(progress);
        drop(moving);
        self.moved.notify_all();
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statuses").field("progress", &*self.progress.borrow()).finish_non_exhaustive()
    }
}
