//! An authority with two clusters and one admin, in memory or on disk, whose chance is seeded and whose clock stands.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use portcullis::access::{Actor, Holder, Part, Realm, Role};
use portcullis::ca::authorities::{self, Authorities};
use portcullis::ca::clusters::{self, NewCluster};
use portcullis::ca::init;
use portcullis::ca::issue::{Issue, Purpose};
use portcullis::ca::keys::Issuer;
use portcullis::ca::rows::{AuthorityRow, ClusterRow};
use portcullis::ca::sign::{self, Holding};
use portcullis::ca::source::Source;
use portcullis::ca::template::{ISSUING_LIFETIME, Wanted};
use portcullis::ca::vault::Vault;
use portcullis::command::{Command, Rejected};
use portcullis::directory::identities::{AddIdentity, AgencyChange, DeleteIdentity, EditIdentity};
use portcullis::disk::SystemDisk;
use portcullis::engine::{Done, Engine};
use portcullis::follow::catch_up;
use portcullis::ident::{GroupName, IdentityId, IssuerName};
use portcullis::journal::{Cause, Entry, Event, IdentityKind};
use portcullis::ledger::credentials::{self, Fallen, Reference, Standing};
use portcullis::ledger::cuts::{self, Why};
use portcullis::ledger::rows::{CertificateRole, CertificateRow};
use portcullis::publish::roll::Roll;
use portcullis::publish::statuses::StatusFollower;
use portcullis::revocation::wish::{Lock, Revoke, Target, Unlock};
use portcullis::secret::Secret;
use portcullis::standing::{CutKey, Revision};
use portcullis::status::{Status, Statuses};
use portcullis::store::local::{IndexState, LocalStore, Options};
use portcullis::store::memory::MemoryStore;
use portcullis::store::txn::Txn;
use portcullis::store::{Batch, KeyRange, Store, Timeline, Urgency, Write, entry};
use portcullis::world::{Clock, Entropy, NoEntropy, Timestamp, World as Outside};
use portcullis::x509::certificate::Certificate;
use portcullis::x509::name::Subject;
use portcullis::x509::public_key::PublicKey;
use rcgen::KeyPair;

use crate::gate::{Pending, Until};

/// The clusters there are.
pub(crate) const CLUSTERS: [&str; 2] = ["north", "south"];

const ERA: u32 = 1_800_000_000;

/// The authority.
pub(crate) struct World {
    /// `None` only while it is opened again.
    store: Option<Arc<dyn Store>>,
    home: Option<tempfile::TempDir>,
    outside: Outside,
    clock: Arc<HandClock>,
    statuses: Arc<Statuses>,
    follower: Mutex<StatusFollower>,
    admin: Option<Actor>,
}

impl World {
    /// In memory.
    pub(crate) fn in_memory(seed: u64) -> Self {
        Self::over(Arc::new(MemoryStore::new(ERA, Timeline([7; 16]))), None, seed)
    }

    /// In a folder of its own on the disk.
    pub(crate) fn on_disk(seed: u64) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (outside, _) = outside(seed);
        let store =
            LocalStore::create(&folder(&home), ERA, Arc::new(SystemDisk), Arc::clone(&outside.entropy), options());
        Self::over(Arc::new(indexed(store.unwrap())), Some(home), seed)
    }

    fn over(store: Arc<dyn Store>, home: Option<tempfile::TempDir>, seed: u64) -> Self {
        let base = base();
        let batch = Batch {
            assertions: Vec::new(),
            writes: base.rows.clone(),
            entry: base.entry.clone(),
            urgency: Urgency::Ordinary,
        };
        store.commit(batch).unwrap();
        let (outside, clock) = outside(seed);
        let (statuses, follower) = follow(&*store);
        let store = Some(store);
        let mut world = Self { store, home, outside, clock, statuses, follower: Mutex::new(follower), admin: None };
        world.admin = Some(world.new_admin("root-admin"));
        world
    }

    /// Everything that lives in memory is lost and read again.
    pub(crate) fn restart(&mut self) {
        if let Some(home) = &self.home {
            self.store = None;
            let entropy = Arc::clone(&self.outside.entropy);
            let store = LocalStore::open(&folder(home), Arc::new(SystemDisk), entropy, options()).unwrap();
            self.store = Some(Arc::new(indexed(store)));
        }
        let (statuses, follower) = follow(&**self.store());
        self.statuses = statuses;
        self.follower = Mutex::new(follower);
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        self.store.as_ref().unwrap()
    }

    pub(crate) fn outside(&self) -> &Outside {
        &self.outside
    }

    pub(crate) fn engine(&self) -> Engine {
        Engine::new(Arc::clone(self.store()), self.outside.clone())
    }

    pub(crate) fn admin(&self) -> Actor {
        self.admin.clone().unwrap()
    }

    /// Lets the clock go on.
    pub(crate) fn pass(&self, time: Duration) {
        let milliseconds = i64::try_from(time.as_millis()).unwrap();
        self.clock.0.fetch_add(milliseconds, Ordering::SeqCst);
    }

    /// Fulfils a wish of the admin.
    pub(crate) fn run<C: Command>(&self, command: &C) -> Result<Done<C::Outcome>, Rejected> {
        self.engine().run(&self.admin(), command)
    }

    /// Fulfils a wish of somebody.
    pub(crate) fn run_as<C: Command>(&self, actor: &Actor, command: &C) -> Result<Done<C::Outcome>, Rejected> {
        self.engine().run(actor, command)
    }

    /// Lets somebody's wish be decided, and stops it before it is committed.
    pub(crate) fn begin<C>(&self, actor: &Actor, command: C) -> Pending<Result<Done<C::Outcome>, Rejected>>
    where
        C: Command + Send + 'static,
        C::Outcome: Send,
    {
        let actor = actor.clone();
        Pending::start(self.store(), &self.outside, Until::Commit, move |engine| engine.run(&actor, &command))
    }

    /// Has the admin issue a certificate on the first cluster.
    pub(crate) fn issued(&self, id: &str) -> CertificateRow {
        self.run(&issue(id, CLUSTERS[0])).unwrap().outcome.row
    }

    /// Lets a holder renew with what they hold.
    pub(crate) fn renewed(&self, row: &CertificateRow) -> Result<CertificateRow, Rejected> {
        self.run_as(&holder(row), &renewal(row)).map(|done| done.outcome.row)
    }

    /// A new admin with a management certificate.
    pub(crate) fn new_admin(&self, id: &str) -> Actor {
        let key = PublicKey::of(&KeyPair::generate().unwrap()).unwrap();
        let authorities = authorities();
        let issued = init::first_admin(&self.engine(), authorities, &id.parse().unwrap(), key).unwrap();
        holder(&issued.row)
    }

    /// One more management certificate.
    pub(crate) fn management(&self, id: &str) -> Result<CertificateRow, Rejected> {
        self.run(&Issue { purpose: Purpose::Management, ..issue(id, CLUSTERS[0]) }).map(|done| done.outcome.row)
    }

    /// The status of a certificate; every channel that there is must agree about it.
    pub(crate) fn status(&self, row: &CertificateRow) -> Status {
        catch_up(&**self.store(), &mut *self.follower.lock().unwrap()).unwrap();
        let now = self.outside.clock.now();
        let followed = self.statuses.status(&row.fingerprint, now).unwrap();
        let mut txn = Txn::begin(&**self.store());
        let stored = credentials::find(&mut txn, &Reference::Fingerprint(row.fingerprint)).unwrap();
        let read = stored.map(|stored| credentials::standing(&mut txn, &stored, now));
        let agrees = match (&read, &followed) {
            (None, Status::Unknown) => true,
            (Some(Ok(())), Status::Good) => true,
            (Some(Err(Standing::Fallen(fallen))), status) => matches!(
                (fallen, status),
                (Fallen::Revoked, Status::Revoked(_))
                    | (Fallen::Expired, Status::Expired { .. })
                    | (Fallen::Locked, Status::Locked(_))
            ),
            _ => false,
        };
        assert!(agrees, "the store says {read:?}, the statuses say {followed:?}");
        followed
    }

    pub(crate) fn is_good(&self, row: &CertificateRow) -> bool {
        self.status(row).is_good()
    }

    pub(crate) fn is_dead(&self, row: &CertificateRow) -> bool {
        matches!(self.status(row), Status::Revoked(_))
    }

    /// Writes facts that no command writes yet.
    pub(crate) fn write(&self, decide: impl FnOnce(&mut Txn<'_>)) -> Revision {
        let mut txn = Txn::begin(&**self.store());
        decide(&mut txn);
        txn.commit(self.outside.clock.now(), &Actor::System(Part::Upkeep)).unwrap()
    }

    /// Cuts off an issuing CA.
    pub(crate) fn cut_issuer(&self, issuer: &IssuerName) {
        self.write(|txn| {
            let key = CutKey::Issuer(issuer.clone());
            cuts::cut_off(txn, &self.outside.moment(), key, Cause::Revoked, &Why::default()).unwrap();
        });
    }

    /// Gives the first cluster its second issuing CA, which signs from now on.
    pub(crate) fn rotate(&self) -> IssuerName {
        let row = base().successor.clone();
        let name = row.name.clone();
        self.write(|txn| {
            let cluster = CLUSTERS[0].parse().unwrap();
            let mut found = txn.get::<ClusterRow>(&cluster).unwrap().unwrap().value;
            found.issuers.push(row.name.clone());
            txn.put(&cluster, &found).unwrap();
            txn.put(&row.name, &row).unwrap();
        });
        name
    }

    /// The certificate of an authority.
    pub(crate) fn authority_der(&self, issuer: &IssuerName) -> Vec<u8> {
        authorities::certificate_of(&self.engine(), issuer).unwrap().der().to_vec()
    }

    /// Every entry of the journal after a revision.
    pub(crate) fn entries_after(&self, revision: Revision) -> Vec<(Revision, Entry)> {
        let entries = self.store().entries_after(revision, usize::MAX).unwrap();
        entries.into_iter().map(|(at, bytes)| (at, entry::decode(&bytes).unwrap())).collect()
    }
}

/// Whoever presents a certificate.
pub(crate) fn holder(row: &CertificateRow) -> Actor {
    Actor::Holder(Holder {
        id: row.subject.parse().unwrap(),
        serial: row.serial,
        fingerprint: row.fingerprint,
        realm: row.cluster.clone().map_or(Realm::Management, Realm::Cluster),
    })
}

/// The wish for a certificate with a fresh key.
pub(crate) fn issue(id: &str, cluster: &str) -> Issue {
    let authorities = authorities();
    Issue {
        id: id.parse().unwrap(),
        purpose: Purpose::Cluster(Some(cluster.parse().unwrap())),
        public_key: PublicKey::of(&KeyPair::generate().unwrap()).unwrap(),
        lifetime: None,
        keyring: Arc::clone(&authorities.keyring),
        places: authorities.places.clone(),
    }
}

/// The wish for another certificate like this one.
pub(crate) fn renewal(row: &CertificateRow) -> Issue {
    issue(&row.subject, row.cluster.as_ref().map_or(CLUSTERS[0], |cluster| cluster.as_str()))
}

pub(crate) fn add_user(id: &str, groups: &[&str], agency: Option<&str>) -> AddIdentity {
    AddIdentity {
        id: id.parse().unwrap(),
        kind: IdentityKind::User,
        groups: names(groups),
        agency: agency.map(|agency| agency.parse().unwrap()),
        role: None,
        reuse: false,
    }
}

pub(crate) fn add_agency(id: &str) -> AddIdentity {
    AddIdentity { kind: IdentityKind::Agency, ..add_user(id, &[], None) }
}

pub(crate) fn delete(kind: IdentityKind, id: &str) -> DeleteIdentity {
    DeleteIdentity { id: id.parse().unwrap(), kind, force: false }
}

pub(crate) fn edit(id: &str) -> EditIdentity {
    EditIdentity {
        id: id.parse().unwrap(),
        kind: IdentityKind::User,
        add_groups: Vec::new(),
        remove_groups: Vec::new(),
        agency: AgencyChange::Stay,
        add_role: None,
        remove_role: None,
        force: false,
    }
}

pub(crate) fn join(id: &str, groups: &[&str]) -> EditIdentity {
    EditIdentity { add_groups: names(groups), ..edit(id) }
}

pub(crate) fn leave(id: &str, groups: &[&str]) -> EditIdentity {
    EditIdentity { remove_groups: names(groups), ..edit(id) }
}

/// Into an agency, or out of any.
pub(crate) fn move_to(id: &str, agency: Option<&str>) -> EditIdentity {
    let agency = agency.map_or(AgencyChange::Leave, |agency| AgencyChange::Join(agency.parse().unwrap()));
    EditIdentity { agency, ..edit(id) }
}

pub(crate) fn withdraw(id: &str) -> EditIdentity {
    EditIdentity { remove_role: Some(Role::Admin), ..edit(id) }
}

pub(crate) fn revoke(target: Target) -> Revoke {
    Revoke { target, cluster: None, why: Why::default(), lock: false, force: false }
}

pub(crate) fn revoke_user(id: &str) -> Revoke {
    revoke(Target::User(id.parse().unwrap()))
}

pub(crate) fn revoke_agency(id: &str) -> Revoke {
    revoke(Target::Agency(id.parse().unwrap()))
}

pub(crate) fn revoke_certificate(row: &CertificateRow) -> Revoke {
    revoke(Target::Certificate(Reference::Fingerprint(row.fingerprint)))
}

/// What an ID of these tests is: agencies are called acme or agency-something.
fn kind_of(id: &str) -> IdentityKind {
    if id == "acme" || id.contains("agency") { IdentityKind::Agency } else { IdentityKind::User }
}

pub(crate) fn lock(id: &str) -> Lock {
    Lock { id: id.parse().unwrap(), kind: kind_of(id), cluster: None }
}

pub(crate) fn unlock(id: &str) -> Unlock {
    Unlock { id: id.parse().unwrap(), kind: kind_of(id), cluster: None }
}

pub(crate) fn id(text: &str) -> IdentityId {
    text.parse().unwrap()
}

fn names(groups: &[&str]) -> Vec<GroupName> {
    groups.iter().map(|group| group.parse().unwrap()).collect()
}

fn follow(store: &dyn Store) -> (Arc<Statuses>, StatusFollower) {
    let statuses = Arc::new(Statuses::empty());
    let follower = StatusFollower::load(
        store,
        Arc::clone(&statuses),
        Arc::new(Roll::default()),
        Arc::default(),
        Arc::default(),
        None,
    )
    .unwrap();
    (statuses, follower)
}

/// Waits for the second stage of a start.
fn indexed(store: LocalStore) -> LocalStore {
    assert_eq!(store.wait_for_index(Duration::from_secs(60)), IndexState::Ready);
    store
}

fn folder(home: &tempfile::TempDir) -> PathBuf {
    home.path().join("store")
}

/// The shortest segments: making them is most of what a start on a test's disk costs.
fn options() -> Options {
    Options { segment: 4 * 1024 * 1024, ..Options::default() }
}

fn outside(seed: u64) -> (Outside, Arc<HandClock>) {
    let clock = Arc::new(HandClock(AtomicI64::new(i64::from(ERA) * 1000)));
    let entropy = Arc::new(Seeded(Mutex::new(Dice::new(seed))));
    (Outside { clock: Arc::<HandClock>::clone(&clock), entropy }, clock)
}

/// What every world begins with: opening the keys of the authorities takes seconds, so it is done once.
struct Base {
    authorities: Authorities,
    /// The CA that [`World::rotate`] gives the first cluster.
    successor: AuthorityRow,
    rows: Vec<Write>,
    entry: Vec<u8>,
    _folder: tempfile::TempDir,
}

/// The authorities of every world.
pub(crate) fn authorities() -> &'static Authorities {
    &base().authorities
}

fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(ERA, Timeline([1; 16])));
        let (outside, _) = outside(u64::MAX);
        let engine = Engine::new(Arc::clone(&store), outside.clone());
        let home = tempfile::tempdir().unwrap();
        let vault = Arc::new(Vault::open(&home.path().join("ca"), Secret::new("correct horse".to_owned())).unwrap());
        let authorities = init::create_authorities(&engine, vault, "http://127.0.0.1:7080", None).unwrap();
        for name in CLUSTERS {
            let new = NewCluster {
                name: name.parse().unwrap(),
                server: format!("https://{name}.example:7444"),
                names: vec![format!("{name}.example")],
            };
            clusters::add(&engine, &Actor::System(Part::Initialisation), None, &new, Source::Made, &authorities)
                .unwrap();
        }
        let everything = store.scan(&KeyRange { start: Vec::new(), end: Vec::new() }, usize::MAX).unwrap();
        let rows = everything.into_iter().map(|(key, found)| Write::Put { key, value: found.value }).collect();
        let entries = store.entries_after(Revision { era: ERA, number: 0 }, usize::MAX).unwrap();
        let events: Vec<Event> = entries.iter().flat_map(|(_, bytes)| entry::decode(bytes).unwrap().events).collect();
        let entry = Entry { at: outside.clock.now(), actor: Actor::System(Part::Initialisation), events };
        let entry = entry::encode(&entry).unwrap();
        let successor = successor(&authorities, &outside);
        Base { authorities, successor, rows, entry, _folder: home }
    })
}

/// A second CA for the first cluster, whose key is at hand and which is not on the record.
fn successor(authorities: &Authorities, outside: &Outside) -> AuthorityRow {
    let cluster = CLUSTERS[0].parse().unwrap();
    let name = IssuerName::of_cluster(&cluster, 2);
    let key = KeyPair::generate().unwrap();
    let wanted = Wanted {
        role: CertificateRole::Authority,
        subject: Subject::common_name(format!("Portcullis {cluster} CA 2")),
        public_key: PublicKey::of(&key).unwrap(),
        names: Vec::new(),
        lifetime: ISSUING_LIFETIME,
    };
    let root = authorities.keyring.issuer(&IssuerName::root()).unwrap();
    let signed = sign::sign(&wanted, &root, &authorities.places, Holding::default(), &outside.moment()).unwrap();
    let certificate = Certificate::from_der(&signed.row.der).unwrap();
    authorities.keyring.insert(Issuer { name: name.clone(), certificate, key });
    AuthorityRow {
        name,
        cluster: Some(cluster),
        der: signed.row.der,
        not_after: signed.row.not_after,
        retired: false,
        is_brought: false,
        is_detached: false,
    }
}

/// A clock that stands until it is moved.
#[derive(Debug)]
struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_milliseconds(self.0.load(Ordering::SeqCst))
    }
}

/// Chance that is the same each time.
#[derive(Debug)]
struct Seeded(Mutex<Dice>);

impl Entropy for Seeded {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
        let mut dice = self.0.lock().unwrap();
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&dice.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// Vigna's splitmix64: good enough to choose what happens next.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True once in so many times.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// Seeds that no other world uses.
pub(crate) fn fresh_seed() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1 << 32);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
