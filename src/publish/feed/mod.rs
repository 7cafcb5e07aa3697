//! The authority's end of the feed: what proxies are told, and what they have confirmed.
//!
//! The follower that keeps the answers also keeps a [`tail::Tail`] of the last changes, from which any number of
//! sessions read; whoever is further behind gets a snapshot. [`Feed`] remembers of each process of a proxy how far it
//! enforces and when it was last told what, and so can say of a revocation whether that process *confirmed* it, is
//! *fenced* by time, or neither.
//!
//! Nothing here does any input or output: `api` carries the frames.
//!
//! Read `instance` for the arithmetic of a fence, then `tail`.

pub mod instance;
pub mod tail;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::ca::proxies::rows::InstanceRow;
use crate::ident::ClusterName;
use crate::standing::Revision;
use crate::status::frames::{Confirm, SnapshotPage};
use crate::status::{Statuses, concerns};
use crate::world::{Ticks, Timestamp};

use instance::{Enforcement, Instance};
use tail::Tail;

/// What proxies are told and what they have confirmed.
#[derive(Debug)]
pub struct Feed {
    /// The last changes.
    pub tail: Arc<Tail>,
    statuses: Arc<Statuses>,
    ticks: Arc<dyn Ticks>,
    instances: Mutex<BTreeMap<[u8; 16], Instance>>,
    /// Changes whenever a process has confirmed something, came or went.
    moved: watch::Sender<u64>,
    /// Changes whenever sessions should look whether they may go on.
    recalled: watch::Sender<u64>,
    is_closed: AtomicBool,
}

/// How far one process of a proxy is with a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The process.
    pub instance: [u8; 16],
    /// What binds it.
    pub row: InstanceRow,
    /// How far it is.
    pub enforcement: Enforcement,
    /// Whether it is connected.
    pub is_connected: bool,
    /// How long ago that revision may have become durable, where this process does not enforce it yet; else zero.
    pub behind: Duration,
    /// Everything up to it is enforced by this process, as far as is known.
    pub confirmed: Option<Revision>,
    /// How long ago it was last heard; since the start of this authority at most.
    pub heard: Duration,
}

impl Feed {
    /// A feed of these answers; `earlier` are the processes that an earlier authority has served and that may still
    /// serve on what they knew.
    pub fn new(statuses: Arc<Statuses>, tail: Arc<Tail>, ticks: Arc<dyn Ticks>, earlier: Vec<InstanceRow>) -> Self {
        let start = ticks.uptime();
        let instances = earlier.into_iter().map(|row| (row.instance, Instance::of_earlier_authority(row, start)));
        Self {
            tail,
            statuses,
            instances: Mutex::new(instances.collect()),
            ticks,
            moved: watch::Sender::new(0),
            recalled: watch::Sender::new(0),
            is_closed: AtomicBool::new(false),
        }
    }

    /// The answers that are told.
    pub const fn statuses(&self) -> &Arc<Statuses> {
        &self.statuses
    }

    /// A process is connected, on the terms that are on the record. A second connection of the same process takes the
    /// place of the first: the number tells them apart.
    pub fn connect(&self, row: InstanceRow) -> u64 {
        let connection = {
            let now = self.ticks.uptime();
            let mut instances = self.lock();
            instances.entry(row.instance).or_insert_with(|| Instance::new(row.clone(), now)).connect(row, now)
        };
        self.announce();
        connection
    }

    /// That connection is over.
    pub fn disconnect(&self, instance: [u8; 16], connection: u64) {
        if let Some(found) = self.lock().get_mut(&instance) {
            found.disconnect(connection);
        }
        self.announce();
    }

    /// A process asks how far the authority is: the moment is noted, then `durable` is read, and that is the answer.
    /// None when this connection was replaced.
    ///
    /// Both are one step for whoever asks for [`states`](Self::states): a revocation that is durable only after `durable`
    /// was read finds the moment noted, so that a process which was never told anything before is not taken for one that
    /// need not be waited for.
    pub fn ping(&self, instance: [u8; 16], connection: u64, durable: impl FnOnce() -> Revision) -> Option<Revision> {
        let mut instances = self.lock();
        let found = instances.get_mut(&instance).filter(|found| found.is_connection(connection))?;
        let now = self.ticks.uptime();
        let revision = durable();
        found.register(now, revision);
        Some(revision)
    }

    /// A process enforces everything up to a revision.
    pub fn confirm(&self, instance: [u8; 16], confirm: &Confirm) {
        if let Some(found) = self.lock().get_mut(&instance) {
            found.confirm(confirm, self.ticks.uptime());
        }
        self.announce();
    }

    /// Every process that is known, and how far it is with a revision.
    pub fn states(&self, revision: Revision) -> Vec<State> {
        let now = self.ticks.uptime();
        self.lock().values().map(|found| found.state(revision, now)).collect()
    }

    /// Wakes whoever waits for confirmations.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// Has every session look whether it may go on: a proxy was removed, or has another certificate.
    pub fn recall(&self) {
        self.recalled.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Wakes sessions that should look whether they may go on.
    pub fn recalled(&self) -> watch::Receiver<u64> {
        self.recalled.subscribe()
    }

    /// Has every session end.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.recall();
    }

    /// Whether sessions must end.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// The processes that are gone and can serve nobody on what they knew.
    pub fn gone(&self) -> Vec<InstanceRow> {
        let now = self.ticks.uptime();
        self.lock().values().filter(|found| found.is_gone(now)).map(|found| found.row().clone()).collect()
    }

    /// Forgets a process that is gone; called once that is on the record.
    pub fn forget(&self, instance: [u8; 16]) {
        let now = self.ticks.uptime();
        let mut instances = self.lock();
        if instances.get(&instance).is_some_and(|found| found.is_gone(now)) {
            instances.remove(&instance);
        }
    }

    /// The pages of a snapshot for a cluster, one at a time; the last has none to follow. At least as new as the
    /// revision that the pages say.
    pub fn snapshot(&self, cluster: &ClusterName, now: Timestamp, at: &mut SnapshotPlace) -> Option<SnapshotPage> {
        let SnapshotPlace { revision, authorities, place } = at;
        match place {
            Place::From(from) => {
                let (credentials, next) = self.statuses.page(*from, PAGE, Some(cluster), now);
                *place = next.map_or(Place::Facts, Place::From);
                Some(SnapshotPage::new(*revision, authorities.clone(), credentials))
            }
            Place::Facts => {
                *place = Place::Over;
                let mut facts = self.statuses.facts();
                facts.retain(|fact| concerns(fact, cluster));
                let page = SnapshotPage::new(*revision, authorities.clone(), Vec::new());
                Some(SnapshotPage { facts, is_last: true, ..page })
            }
            Place::Over => None,
        }
    }

    fn announce(&self) {
        self.moved.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<[u8; 16], Instance>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the reading of a snapshot is.
#[derive(Debug)]
pub struct SnapshotPlace {
    revision: Revision,
    authorities: Vec<Vec<u8>>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    From(usize),
    Facts,
    Over,
}

impl SnapshotPlace {
    /// The beginning of a snapshot that everything up to `revision` is in.
    pub const fn beginning(revision: Revision, authorities: Vec<Vec<u8>>) -> Self {
        Self { revision, authorities, place: Place::From(0) }
    }

    /// The revision of the snapshot.
    pub const fn revision(&self) -> Revision {
        self.revision
    }
}

/// Credentials looked at for one page.
const PAGE: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::ShortFingerprint;
    use crate::standing::{Cut, CutKey};
    use crate::status::{Change, Credential};
    use crate::world::SystemTicks;
    use crate::x509::reason::Reason;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    fn revision(number: u64) -> Revision {
        Revision { era: 1, number }
    }

    fn credential(n: u8, cluster: &str, not_after: Timestamp) -> Change {
        let on = CutKey::IdentityOnCluster("a".parse().unwrap(), cluster.parse().unwrap());
        let key = ShortFingerprint([n; 16]);
        Change::Recorded(Credential { key, issued: revision(1), not_after, cut_keys: vec![on] })
    }

    #[test]
    fn a_revocation_beside_the_very_first_ping_waits_for_its_process() {
        let feed = Feed::new(Arc::new(Statuses::empty()), Arc::default(), Arc::new(SystemTicks), Vec::new());
        let row = InstanceRow {
            instance: [1; 16],
            proxy: "prod-a".parse().unwrap(),
            cluster: "prod".parse().unwrap(),
            bound: Duration::from_secs(30),
            mode: crate::status::freshness::Mode::Strict,
            cut_time: Duration::from_millis(250),
            since: NOW,
        };
        let connection = feed.connect(row);
        let (sender, states) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let feed = &feed;
            let told = feed.ping([1; 16], connection, || {
                // Revision 6 becomes durable right after 5 was read, and it is asked who has to be waited for.
                scope.spawn(move || sender.send(feed.states(revision(6))).unwrap());
                if let Ok(states) = states.recv_timeout(Duration::from_millis(200)) {
                    panic!("answered before the ping was noted: {states:?}");
                }
                revision(5)
            });
            assert_eq!(told, Some(revision(5)));
        });
        let found = states.recv().unwrap();
        assert!(matches!(found[0].enforcement, Enforcement::Unconfirmed { .. }), "{found:?}");
    }

    #[test]
    fn a_proxy_is_told_of_its_own_clusters_credentials_and_of_every_cut_off() {
        let statuses = Arc::new(Statuses::empty());
        let cut = Cut { revision: revision(2), at: NOW, reason: Reason::Unspecified };
        let anywhere = Change::CutOff(CutKey::Identity("b".parse().unwrap()), cut);
        let (own, other) = (credential(1, "prod", NOW), credential(2, "test", NOW));
        let expired = credential(3, "prod", NOW.before(Duration::from_secs(1)));
        statuses.apply([own.clone(), other.clone(), expired, anywhere.clone()]);
        statuses.reached(revision(2));
        let feed = Feed::new(statuses, Arc::default(), Arc::new(SystemTicks), Vec::new());
        let cluster = "prod".parse().unwrap();
        let mut place = SnapshotPlace::beginning(revision(2), vec![vec![7]]);
        let pages: Vec<_> = std::iter::from_fn(|| feed.snapshot(&cluster, NOW, &mut place)).collect();
        assert_eq!(pages.iter().filter(|page| page.is_last).count(), 1);
        assert!(pages.last().unwrap().is_last && pages.iter().all(|page| page.authorities == [[7]]));
        let told: Vec<_> = pages.into_iter().flat_map(|page| page.into_changes().unwrap()).collect();
        assert_eq!(told, [own.clone(), anywhere.clone()]);
        assert!(concerns(&own, &cluster) && concerns(&anywhere, &cluster) && !concerns(&other, &cluster));
    }
}
