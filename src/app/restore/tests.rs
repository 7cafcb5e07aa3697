//! Restoring at the level of the library: eras, numbers, and what is taken over late.

use std::time::Duration;

use rcgen::KeyPair;

use super::*;
use crate::access::{Holder, Realm};
use crate::app::{backup, rolled_back};
use crate::ca::authorities::Authorities as Keys;
use crate::ca::clusters::{self, NewCluster};
use crate::ca::init::{create_authorities, first_admin, open_authorities};
use crate::ca::issue::{Issue, Purpose};
use crate::ca::keys::Issuer;
use crate::ca::proxies::join::{Equip, Invite};
use crate::ca::source::Source;
use crate::ca::vault::Vault;
use crate::config::passphrase::Passphrase;
use crate::directory::identities::AddIdentity;
use crate::follow::Following;
use crate::ident::IssuerName;
use crate::journal::{Cause, IdentityKind};
use crate::ledger::rows::CertificateRow;
use crate::publish::crl::Lists as Published;
use crate::publish::feed::tail::Tail;
use crate::publish::roll::Roll;
use crate::publish::statuses::StatusFollower;
use crate::revocation::wish::{Revoke, Target, Unlock};
use crate::secret::Secret;
use crate::standing::{Cut, CutKey};
use crate::status::{Lock, LockKey, Status, Statuses};
use crate::store::Store as _;
use crate::store::local::{IndexState, LocalStore, OpenError};
use crate::x509::crl::ToBeSigned;
use crate::x509::public_key::PublicKey;
use crate::x509::reason::Reason;

const INIT: Actor = Actor::System(Part::Initialisation);

/// An installation that lies in a folder.
struct Site {
    folder: tempfile::TempDir,
    places: Places,
    admin: Actor,
}

/// It, open.
struct Open {
    engine: Arc<Engine>,
    keys: Keys,
    statuses: Arc<Statuses>,
    roll: Arc<Roll>,
    lists: Published,
    _following: Following,
}

/// Waits for the second stage of a start.
fn indexed(opened: Result<LocalStore, OpenError>) -> LocalStore {
    let store = opened.unwrap();
    assert_eq!(store.wait_for_index(Duration::from_secs(60)), IndexState::Ready);
    store
}

fn options() -> Options {
    Options { segment: 4 * 1024 * 1024, pause: Duration::from_millis(5), ..Options::default() }
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        let world = World::system();
        let (disk, entropy) = (Arc::new(SystemDisk), Arc::clone(&world.entropy));
        let store = indexed(LocalStore::create(&places.store, 1_700_000_000, disk, entropy, options()));
        let engine = Engine::new(Arc::new(store), world);
        let keys = create_authorities(&engine, vault(&places), "http://127.0.0.1:7080", None).unwrap();
        let server = "https://prod.example:7444".to_owned();
        let new = NewCluster { name: "prod".parse().unwrap(), server, names: vec!["prod.example".to_owned()] };
        clusters::add(&engine, &INIT, None, &new, Source::Made, &keys).unwrap();
        for id in ["alice", "bob"] {
            let (groups, agency, role) = (Vec::new(), None, None);
            let kind = IdentityKind::User;
            let add = AddIdentity { id: id.parse().unwrap(), kind, groups, agency, role, reuse: false };
            engine.run(&INIT, &add).unwrap();
        }
        let key = PublicKey::of(&KeyPair::generate().unwrap()).unwrap();
        let row = first_admin(&engine, &keys, &"root-admin".parse().unwrap(), key).unwrap().row;
        Self { folder, places, admin: Actor::Holder(holder(&row, Realm::Management)) }
    }

    fn open(&self) -> Open {
        let (disk, world) = (Arc::new(SystemDisk), World::system());
        let store = indexed(LocalStore::open(&self.places.store, disk, Arc::clone(&world.entropy), options()));
        let engine = Arc::new(Engine::new(Arc::new(store), world));
        let keys = open_authorities(&engine, vault(&self.places)).unwrap();
        let (statuses, roll) = (Arc::new(Statuses::empty()), Arc::new(Roll::default()));
        let store = Arc::clone(engine.store());
        let tail = Arc::new(Tail::default());
        let follower =
            StatusFollower::load(&*store, Arc::clone(&statuses), Arc::clone(&roll), tail, Arc::default(), None)
                .unwrap();
        let (theirs, roll_of_lists) = (Arc::clone(&statuses), Arc::clone(&roll));
        let lists =
            Published::new(Arc::clone(&engine), Arc::clone(&keys.keyring), theirs, roll_of_lists, &self.places.crl);
        let _following = Following::start(store, follower).unwrap();
        Open { engine, keys, statuses, roll, lists: lists.unwrap(), _following }
    }

    fn backup(&self, name: &str) -> PathBuf {
        let out = self.folder.path().join(name);
        backup::take(&self.places, &out, World::system().clock.now(), &mut |_| {}).unwrap();
        out
    }

    fn restore(&self, from: &Path) -> Ended {
        restored(&self.places, from, true).unwrap()
    }
}

fn places(folder: &Path) -> Places {
    Places {
        store: folder.join("store"),
        ca: folder.join("ca"),
        crl: folder.join("crl"),
        passphrase: Passphrase { file: folder.join("passphrase"), by_systemd: false },
    }
}

fn vault(places: &Places) -> Arc<Vault> {
    Arc::new(Vault::open(&places.ca, Secret::new("correct horse".to_owned())).unwrap().with_few_rounds())
}

fn restored(places: &Places, from: &Path, accept_rollback: bool) -> Result<Ended, AppError> {
    let (places, from, lists) = (places.clone(), from.to_owned(), Vec::new());
    let wish = Wish { places, from, lists, accept_rollback, options: options() };
    restore(&wish, &World::system(), &mut |_| {}, &mut |_| true)
}

impl Open {
    fn issue(&self, actor: &Actor, id: &str) -> CertificateRow {
        let key = PublicKey::of(&KeyPair::generate().unwrap()).unwrap();
        let issue = Issue {
            id: id.parse().unwrap(),
            purpose: Purpose::Cluster(Some("prod".parse().unwrap())),
            public_key: key,
            lifetime: None,
            keyring: Arc::clone(&self.keys.keyring),
            places: self.keys.places.clone(),
        };
        self.engine.run(actor, &issue).unwrap().outcome.row
    }

    fn status(&self, row: &CertificateRow) -> Status {
        self.statuses.wait_for(self.engine.store().end(), Duration::from_secs(10)).unwrap();
        self.statuses.status(&row.fingerprint, World::system().clock.now()).unwrap()
    }

    fn hand_in(&self, told: &[Told]) -> TakenOver {
        let witness = Witness::Proxy("prod-a".parse().unwrap());
        take_over(&self.engine, &Actor::System(Part::Restore), &witness, None, told).unwrap()
    }
}

fn holder(row: &CertificateRow, realm: Realm) -> Holder {
    Holder { id: row.subject.parse().unwrap(), serial: row.serial, fingerprint: row.fingerprint, realm }
}

/// Whoever has this certificate, at the API.
fn with(row: &CertificateRow) -> Actor {
    Actor::Holder(holder(row, Realm::Cluster("prod".parse().unwrap())))
}

fn number(site: &Site, issuer: &str) -> Revision {
    let bytes = fs::read(site.places.crl.join(format!("{issuer}.crl"))).unwrap();
    backup::list_number(&bytes).unwrap()
}

#[test]
fn over_a_hundred_restores_and_clones_the_number_of_a_list_only_grows() {
    let site = Site::new();
    let mut newest = Revision::default();
    let mut timelines = std::collections::HashSet::new();
    for round in 0..100 {
        let open = site.open();
        assert!(timelines.insert(open.engine.store().timeline().0), "round {round}: a timeline came twice");
        open.lists.publish(&open.keys.keyring.issuer(&IssuerName::infra()).unwrap()).unwrap();
        let found = number(&site, "infra");
        assert!(found > newest, "round {round}: {found} after {newest}");
        newest = found;
        drop(open);
        // Every third backup is an old one, which is put back again.
        let from = site.folder.path().join(format!("backup-{}", round / 3));
        if !from.exists() {
            site.backup(&format!("backup-{}", round / 3));
        }
        // A clone of it elsewhere knows of nothing here, and is told apart by its timeline.
        if round % 10 == 0 {
            let clone = places(&site.folder.path().join(format!("clone-{round}")));
            restored(&clone, &from, true).unwrap();
            let (disk, world) = (Arc::new(SystemDisk), World::system());
            let store = indexed(LocalStore::open(&clone.store, disk, world.entropy, options()));
            assert!(timelines.insert(store.timeline().0));
        }
        site.restore(&from);
        let aside = fs::read_dir(site.folder.path()).unwrap().filter_map(Result::ok);
        let aside = aside.filter(|entry| entry.file_name().to_string_lossy().starts_with("store.replaced-"));
        aside.for_each(|entry| fs::remove_dir_all(entry.path()).unwrap());
    }
}

#[test]
fn what_a_proxy_hands_in_late_keeps_its_place_and_reaches_what_was_obtained_since() {
    let site = Site::new();
    let open = site.open();
    let first = open.issue(&site.admin, "alice");
    let spared = open.issue(&site.admin, "bob");
    drop(open);
    let from = site.backup("backup");
    let backup = Backup::open(&from).unwrap().journal.revision;
    site.restore(&from);
    let open = site.open();
    // In the new era, before anybody tells of the revocation: one obtained with the dead one, one from an admin.
    let renewed = open.issue(&with(&first), "alice");
    let fresh = open.issue(&site.admin, "alice");
    let at = World::system().clock.now();
    let cut = |number| Cut { revision: Revision { number, ..backup }, at, reason: Reason::KeyCompromise };
    let key = CutKey::Identity("alice".parse().unwrap());
    let bobs = CutKey::Identity("bob".parse().unwrap());
    let told = [
        Told::CutOff(key.clone(), cut(backup.number + 5), Cause::TakenOver),
        // No later than the backup: whoever says so is wrong, or lies.
        Told::CutOff(bobs, cut(backup.number), Cause::TakenOver),
    ];
    let taken = open.hand_in(&told);
    assert_eq!((taken.cut_offs, taken.locked.as_slice()), (1, ["alice".to_owned()].as_slice()));
    assert_eq!(open.status(&first), Status::Revoked(cut(backup.number + 5)), "with the date and reason it had");
    assert!(matches!(open.status(&renewed), Status::Revoked(_)), "it was obtained with a dead one");
    assert!(matches!(open.status(&fresh), Status::Locked(_)), "until somebody has looked");
    assert_eq!(open.status(&spared), Status::Good);
    let unlock = Unlock { id: "alice".parse().unwrap(), kind: IdentityKind::User, cluster: None };
    open.engine.run(&Actor::Recovery, &unlock).unwrap();
    assert_eq!(open.status(&fresh), Status::Good, "it was issued after the cut-off");
    // Told once more by the next proxy, it is no news.
    assert_eq!(open.hand_in(&told), TakenOver::default());
    assert_eq!(open.status(&fresh), Status::Good);
    // And so it is after a restart.
    drop(open);
    let open = site.open();
    assert_eq!(open.status(&first), Status::Revoked(cut(backup.number + 5)));
    assert!(matches!(open.status(&renewed), Status::Revoked(_)));
    assert_eq!(open.status(&fresh), Status::Good);
    // The decision side agrees: only what stands may ask for more.
    let renew = |row: &CertificateRow| {
        let key = PublicKey::of(&KeyPair::generate().unwrap()).unwrap();
        let (purpose, lifetime) = (Purpose::Cluster(None), None);
        let (keyring, places) = (Arc::clone(&open.keys.keyring), open.keys.places.clone());
        let issue = Issue { id: row.subject.parse().unwrap(), purpose, public_key: key, lifetime, keyring, places };
        open.engine.run(&with(row), &issue).is_ok()
    };
    assert_eq!([renew(&first), renew(&renewed), renew(&fresh)], [false, false, true]);
}

#[test]
fn a_lock_that_is_handed_in_holds_until_somebody_takes_it_back_and_no_longer() {
    let site = Site::new();
    let open = site.open();
    let row = open.issue(&site.admin, "bob");
    drop(open);
    let from = site.backup("backup");
    let backup = Backup::open(&from).unwrap().journal.revision;
    site.restore(&from);
    let open = site.open();
    let key = LockKey { id: "bob".parse().unwrap(), cluster: None };
    let revision = Revision { number: backup.number + 1, ..backup };
    let told = [Told::Locked(Lock { key, at: World::system().clock.now(), revision })];
    assert_eq!(open.hand_in(&told).locks, 1);
    assert!(matches!(open.status(&row), Status::Locked(_)));
    let unlock = Unlock { id: "bob".parse().unwrap(), kind: IdentityKind::User, cluster: None };
    open.engine.run(&Actor::Recovery, &unlock).unwrap();
    assert!(open.hand_in(&told).is_empty(), "a second proxy knows the same");
    assert_eq!(open.status(&row), Status::Good);
}

/// An empty list under the name of an authority, signed with any key.
fn signed_list(issuer: &Issuer, key: &KeyPair, number: Revision) -> Vec<u8> {
    let now = World::system().clock.now();
    let list = ToBeSigned {
        issuer: issuer.certificate.subject_der.clone(),
        authority_key_id: issuer.certificate.extensions.subject_key_id.clone().unwrap(),
        number: number.octets().to_vec(),
        this_update: now,
        next_update: now.after(Duration::from_secs(60)),
    };
    list.sign_entries(&[], key).unwrap()
}

#[test]
fn the_era_is_later_than_any_that_was_seen() {
    let site = Site::new();
    drop(site.open());
    let from = site.backup("backup");
    // A list from a clock that was far ahead.
    let open = site.open();
    let issuer = open.keys.keyring.issuer(&IssuerName::infra()).unwrap();
    let far = Revision { era: 4_000_000_000, number: 9 };
    fs::write(site.places.crl.join("infra.crl"), signed_list(&issuer, &issuer.key, far)).unwrap();
    drop(open);
    let refused = restored(&site.places, &from, false).unwrap_err().to_string();
    assert!(refused.contains("4000000000-9") && refused.contains("--accept-rollback"), "{refused}");
    let Ended::Restored(end) = restored(&site.places, &from, true).unwrap() else { panic!("it was restored") };
    assert_eq!(end.era, 4_000_000_001);
}

#[test]
fn a_store_behind_its_lists_is_refused_and_replaces_none_of_them() {
    let site = Site::new();
    let open = site.open();
    let issuer = open.keys.keyring.issuer(&IssuerName::infra()).unwrap();
    open.lists.publish(&issuer).unwrap();
    let found = number(&site, "infra");
    assert!(rolled_back::must_not_be(found, &site.places.crl).is_ok());
    let before = Revision { number: found.number - 1, ..found };
    let refused = rolled_back::must_not_be(before, &site.places.crl).unwrap_err().to_string();
    assert!(refused.contains("store restore") && refused.contains(&found.to_string()), "{refused}");
    drop(open);
    let far = Revision { era: 4_000_000_000, number: 9 };
    fs::write(site.places.crl.join("infra.crl"), signed_list(&issuer, &issuer.key, far)).unwrap();
    let open = site.open();
    assert!(open.lists.publish(&issuer).unwrap_err().to_string().contains("its number is"));
    assert_eq!(number(&site, "infra"), far);
}

#[test]
fn a_list_that_somebody_else_signed_is_no_witness() {
    let site = Site::new();
    let open = site.open();
    let issuer = open.keys.keyring.issuer(&IssuerName::infra()).unwrap();
    drop(open);
    let from = site.backup("backup");
    let list = site.folder.path().join("given.crl");
    let number = Revision { era: 1_700_000_000, number: 99 };
    let given = |key: &KeyPair| {
        fs::write(&list, signed_list(&issuer, key, number)).unwrap();
        let wish =
            Wish { options: options(), ..Wish::new(site.places.clone(), from.clone(), vec![list.clone()], true) };
        restore(&wish, &World::system(), &mut |_| {}, &mut |_| false)
    };
    let refused = given(&KeyPair::generate().unwrap()).unwrap_err().to_string();
    assert!(refused.contains("not signed by an authority"), "{refused}");
    assert_eq!(given(&issuer.key).unwrap(), Ended::Declined);
}

#[test]
fn a_journal_that_may_end_too_early_is_not_enough() {
    let site = Site::new();
    let from = site.backup("backup");
    drop(site.open());
    fs::remove_file(site.places.store.join("mark")).unwrap();
    let refused = restored(&site.places, &from, false).unwrap_err().to_string();
    assert!(refused.contains("may end too early"), "{refused}");
    assert!(site.places.store.join("journal").is_dir(), "nothing was touched");
    assert!(matches!(restored(&site.places, &from, true), Ok(Ended::Restored(_))));
}

#[test]
fn a_damaged_journal_tells_what_it_can_and_no_more_is_taken_for_told() {
    let site = Site::new();
    let from = site.backup("backup");
    let open = site.open();
    let row = open.issue(&site.admin, "alice");
    let target = Target::User("bob".parse().unwrap());
    let why = crate::ledger::cuts::Why::default();
    let revoke = Revoke { target, cluster: None, why: why.clone(), lock: false, force: false };
    open.engine.run(&site.admin, &revoke).unwrap();
    let target = Target::User("alice".parse().unwrap());
    open.engine.run(&site.admin, &Revoke { target, ..revoke }).unwrap();
    let end = open.engine.store().end();
    assert!(matches!(open.status(&row), Status::Revoked(_)));
    drop(open);
    // The last group is gone: what it said cannot be told by anybody.
    let segment = site.places.store.join("journal/0000000000000001.segment");
    let mut bytes = fs::read(&segment).unwrap();
    let last = bytes.chunks(4096).rposition(|block| block.starts_with(b"PCLSFRAM")).unwrap();
    bytes[last * 4096 + 20] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let refused = restored(&site.places, &from, false).unwrap_err().to_string();
    assert!(refused.contains(&end.to_string()), "{refused}");
    let (places, mut shown) = (site.places.clone(), None);
    let wish = Wish { options: options(), ..Wish::new(places, from, Vec::new(), true) };
    restore(&wish, &World::system(), &mut |_| {}, &mut |preview| {
        shown = Some(preview.clone());
        true
    })
    .unwrap();
    let preview = shown.unwrap();
    assert_eq!((preview.taken_over.cut_offs, preview.taken_over.locked), (1, vec!["bob".to_owned()]));
    assert!(preview.lost.iter().any(|lost| lost.contains("what was revoked after")), "{:?}", preview.lost);
}

#[test]
fn a_token_to_join_with_does_not_come_back_with_a_backup() {
    let site = Site::new();
    let open = site.open();
    let (token, proxy, cluster) = ([7; 32], "prod-a".parse().unwrap(), "prod".parse().unwrap());
    open.engine.run(&site.admin, &Invite { proxy, cluster, secret_hash: token }).unwrap();
    drop(open);
    let from = site.backup("backup");
    site.restore(&from);
    let open = site.open();
    let key = || PublicKey::of(&KeyPair::generate().unwrap()).unwrap();
    let (keyring, places) = (Arc::clone(&open.keys.keyring), open.keys.places.clone());
    let equip = Equip { follower_key: key(), server_key: key(), keyring, places };
    let refused = open.engine.run(&Actor::Joiner { token }, &equip.on_token(token)).unwrap_err().to_string();
    assert!(refused.contains("before a restore"), "{refused}");
}

#[test]
fn a_backup_that_was_changed_is_refused_by_the_name_of_the_file() {
    let site = Site::new();
    let from = site.backup("backup");
    for file in ["ca/infra.key", "journal/0000000000000001.segment"] {
        let path = from.join(file);
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 1;
        fs::write(&path, changed).unwrap();
        let refused = Backup::open(&from).unwrap_err().to_string();
        assert!(refused.contains(file), "{refused}");
        fs::write(&path, whole).unwrap();
    }
    Backup::open(&from).unwrap();
    assert!(backup::take(&site.places, &from, World::system().clock.now(), &mut |_| {}).is_err(), "never over another");
}

#[test]
fn a_store_of_another_installation_is_not_taken_for_a_witness() {
    let (ours, other) = (Site::new(), Site::new());
    let from = ours.backup("backup");
    let refused = restored(&other.places, &from, true).unwrap_err().to_string();
    assert!(refused.contains("another installation"), "{refused}");
}

#[test]
fn what_was_obtained_with_a_revoked_certificate_is_dead_after_a_restore_too() {
    let site = Site::new();
    let open = site.open();
    let first = open.issue(&site.admin, "alice");
    let renewed = open.issue(&with(&first), "alice");
    drop(open);
    let from = site.backup("backup");
    let open = site.open();
    let reference = crate::ledger::credentials::Reference::Fingerprint(first.fingerprint);
    let why = crate::ledger::cuts::Why::default();
    let revoke = Revoke { target: Target::Certificate(reference), cluster: None, why, lock: false, force: false };
    open.engine.run(&site.admin, &revoke).unwrap();
    let later = open.issue(&site.admin, "bob");
    drop(open);
    assert!(matches!(restored(&site.places, &from, false).unwrap(), Ended::Restored(_)));
    let open = site.open();
    for row in [&first, &renewed] {
        assert!(matches!(open.status(row), Status::Revoked(_)), "{}", row.serial);
    }
    assert_eq!(open.status(&later), Status::Unknown, "issued after the backup");
    assert!(open.roll.listed(&later.issuer, later.serial).is_none(), "and never revoked");
}
