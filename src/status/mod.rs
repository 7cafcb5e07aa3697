//! What a proxy needs to know of every credential, and nothing of the store it comes from.
//!
//! [`Statuses`] is the one read-only answer for a credential: the first that applies of unknown, revoked, expired,
//! locked and good; it also tells when answers change. Whoever feeds it (the authority's follower, or a proxy's end of
//! the feed) applies [`Change`]s in the order of their revisions and then says how far it has come. Answers that come
//! from elsewhere are used only while [`freshness::Freshness`] says so.
//!
//! Read `index` for how an answer is found (`places`, `cut_sets`, `revoked` and `marks` are its parts, `fact_log` what
//! came last), `freshness` for how long it holds, `frames` for what authority and proxy
//! say to each other, `joining` for how a proxy gets its certificates, `mirror` for what a proxy keeps of it on disk.

mod cut_sets;
mod index;
mod fact_log;
mod marks;
mod places;
mod revoked;
pub mod freshness;
pub mod frames;
pub mod joining;
pub mod mirror;

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::ident::{AnyId, ClusterName, Fingerprint, ShortFingerprint};
use crate::standing::{Cut, CutKey, Revision};
use crate::world::Timestamp;

use freshness::{Age, Freshness};
use index::Index;
pub use marks::Marks;

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// What is locked.
    pub key: LockKey,
    /// Since when, for people.
    pub at: Timestamp,
    /// The commit that locked it.
    pub revision: Revision,
}

/// What a lock covers: an identity (an agency with its members), everywhere or on one cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LockKey {
    /// The identity's ID.
    pub id: AnyId,
    /// One cluster, or all of them.
    pub cluster: Option<ClusterName>,
}

impl LockKey {
    /// The cut keys that it covers: what has one of them is stopped.
    pub fn cut_keys(&self) -> [CutKey; 2] {
        let id = || self.id.clone();
        match &self.cluster {
            None => [CutKey::Identity(id()), CutKey::Agency(id())],
            Some(on) => [CutKey::IdentityOnCluster(id(), on.clone()), CutKey::AgencyOnCluster(id(), on.clone())],
        }
    }

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The first half of the SHA-256 of the certificate.
    pub key: ShortFingerprint,
    /// The revision that recorded it.
    pub issued: Revision,
    /// The last moment of its validity.
    pub not_after: Timestamp,
    /// Every cut key on its record.
    pub cut_keys: Vec<CutKey>,
}

/// A fact that changes answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A credential is on the record.
    Recorded(Credential),
    /// Everything that carries the key and was recorded before is dead.
    CutOff(CutKey, Cut),
    /// One credential is dead.
    Revoked(ShortFingerprint, Cut),
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
    /// None where the answers are the authority's own.
    freshness: Option<Arc<Freshness>>,
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
            freshness: None,
        }
    }

    /// The same for answers that come from elsewhere, which are used only while they are fresh.
    pub fn bounded(freshness: Arc<Freshness>) -> Self {
        Self { freshness: Some(freshness), ..Self::empty() }
    }

    /// The status of a credential at `now`.
    pub fn status(&self, fingerprint: &Fingerprint, now: Timestamp) -> Result<Status, Stale> {
        self.check_usable()?;
        Ok(self.read().status(&fingerprint.short(), now))
    }

    /// The status of each of some credentials at `now`, all of one moment, with the place of its cut keys among
    /// [`cut_sets`](Self::cut_sets) where it is on record. They are to be some hundreds: changes wait meanwhile.
    pub fn judge<'f>(
        &self,
        all: impl Iterator<Item = &'f Fingerprint>,
        now: Timestamp,
    ) -> Result<Vec<(Status, Option<u32>)>, Stale> {
        self.check_usable()?;
        let index = self.read();
        Ok(all.map(|fingerprint| index.judge(&fingerprint.short(), now)).collect())
    }

    /// How many facts that can kill are in the answers.
    pub fn killing(&self) -> u64 {
        self.read().killing()
    }

    /// Which sets of cut keys the facts touched that came after so many of them: every credential that became dead since
    /// has one of these sets, or was recorded since. `None` where too many came: any may have been touched.
    pub fn touched_since(&self, killing: u64) -> Option<Marks> {
        let (keys, mut touched) = self.read().touched_since(killing)?;
        let mut from = if keys.is_empty() { None } else { Some(0) };
        while let Some(place) = from {
            from = self.read().mark_sets(&keys, place, SETS_AT_ONCE, &mut touched);
        }
        // Places are those of one index; what takes its place has forgotten what came before.
        self.read().touched_since(killing).map(|_| touched)
    }

    /// Whether answers may be used at this moment: the clock check before whatever is passed on.
    pub fn check_usable(&self) -> Result<(), Stale> {
        if let Progress::Stopped(stale) = &*self.progress.borrow() {
            return Err(stale.clone());
        }
        self.freshness.as_ref().map_or(Ok(()), |freshness| freshness.check())
    }

    /// How old the answers are; the authority's own are always fresh.
    pub fn age(&self) -> Age {
        self.freshness.as_ref().map_or(Age::Fresh, |freshness| freshness.age())
    }

    /// Whether the answers come from elsewhere.
    pub const fn is_remote(&self) -> bool {
        self.freshness.is_some()
    }

    /// How long ago answers that come from elsewhere were confirmed; none for the authority's own, and before the first
    /// time.
    pub fn since_confirmed(&self) -> Option<Duration> {
        self.freshness.as_ref()?.since_confirmed()
    }

    /// The revision that every answer reflects, if they are kept up and fresh.
    pub fn revision(&self) -> Result<Revision, Stale> {
        self.check_usable()?;
        self.reached_revision()
    }

    /// The revision that every answer reflects, whatever their age.
    pub fn reached_revision(&self) -> Result<Revision, Stale> {
        match &*self.progress.borrow() {
            Progress::Reached(revision) => Ok(*revision),
            Progress::Stopped(stale) => Err(stale.clone()),
        }
    }

    /// Some of the credentials that end after `now`, of one cluster where one is named: what stands in the next
    /// `places` places from `from` on, and where to go on. Credentials only ever come to the end, so whoever reads from
    /// 0 to the end sees every one that was there at the beginning.
    pub fn page(
        &self,
        from: usize,
        places: usize,
        cluster: Option<&ClusterName>,
        now: Timestamp,
    ) -> (Vec<Credential>, Option<usize>) {
        self.read().page(from, places, cluster, now)
    }

    /// Every cut-off, revocation and lock.
    pub fn facts(&self) -> Vec<Change> {
        self.read().facts()
    }

    /// When a credential was recorded, and the place of its cut keys among [`cut_sets`](Self::cut_sets).
    pub fn placed(&self, key: &ShortFingerprint) -> Option<(Revision, u32)> {
        self.read().placed(key)
    }

    /// At most `limit` cut keys from a place on, in the order of their places.
    pub fn cut_keys(&self, from: usize, limit: usize) -> Vec<CutKey> {
        self.read().cut_keys(from, limit)
    }

    /// At most `limit` sets of cut keys from a place on, in the order of their places: the places of their keys among
    /// [`cut_keys`](Self::cut_keys).
    pub fn cut_sets(&self, from: usize, limit: usize) -> Vec<Vec<u32>> {
        self.read().cut_sets(from, limit)
    }

    /// Puts a snapshot in the place of everything; nothing is announced before [`reached`](Self::reached).
    pub fn fill(&self, snapshot: Snapshot) {
        let mut index = self.write();
        let older = std::mem::replace(&mut *index, snapshot.0);
        index.follow(&older);
    }

    /// Puts a snapshot in the place of everything, and announces its revision. What was dead stays dead.
    pub fn replace(&self, snapshot: Snapshot, revision: Revision) {
        {
            let mut index = self.write();
            let older = std::mem::replace(&mut *index, snapshot.0);
            index.inherit(older, revision);
        }
        self.reached(revision);
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
        let is_behind = |_: &mut ()| self.reached_revision().is_ok_and(|reached| reached < revision);
        drop(self.moved.wait_timeout_while(waiting, timeout, is_behind));
        match self.reached_revision()? {
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

/// Answers that are being gathered, to replace others at once.
#[derive(Debug, Default)]
pub struct Snapshot(Index);

impl Snapshot {
    /// Takes changes in.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = Change>) {
        changes.into_iter().for_each(|change| self.0.apply(change));
    }

    /// The place of a cut key, which is new unless it was there.
    pub fn cut_key(&mut self, key: CutKey) -> u32 {
        self.0.cut_key(key)
    }

    /// The place of the set of the keys at these places, which is new unless it was there; `None` where there is no such
    /// key.
    pub fn cut_set(&mut self, keys: Vec<u32>) -> Option<u32> {
        self.0.cut_set(keys)
    }

    /// Takes the credentials of another in the place of its own; they name cut sets that are here, or will be.
    pub fn take_credentials(&mut self, other: Self) {
        self.0.take_credentials(other.0);
    }

    /// Puts in a credential that is not here yet, whose cut keys are, or will be, at this place.
    pub fn place(&mut self, key: ShortFingerprint, issued: Revision, not_after: Timestamp, cut_set: u32) {
        self.0.place(key, issued, not_after, cut_set);
    }
}

/// Sets that are looked through while changes wait.
const SETS_AT_ONCE: usize = 4096;

/// Whether a change concerns a proxy of this cluster: its own credentials, and whatever is dead or locked anywhere.
pub fn concerns(change: &Change, cluster: &ClusterName) -> bool {
    match change {
        Change::Recorded(credential) => index::is_of(credential.cut_keys.iter(), cluster),
        Change::CutOff(..) | Change::Revoked(..) | Change::Locked(_) | Change::Unlocked(_) => true,
    }
}

impl fmt::Debug for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statuses").field("progress", &*self.progress.borrow()).finish_non_exhaustive()
    }
}
