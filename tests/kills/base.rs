//! The store that every child begins with, and how both processes open it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portcullis::access::{Actor, Holder, Part, Realm};
use portcullis::ca::authorities;
use portcullis::ca::clusters::{self, NewCluster};
use portcullis::ca::init;
use portcullis::ca::issue::{Issue, Purpose};
use portcullis::ca::keys::{Issuer, Keyring};
use portcullis::ca::source::Source;
use portcullis::ca::template::Places;
use portcullis::ca::vault::Vault;
use portcullis::directory::identities::AddIdentity;
use portcullis::disk::SystemDisk;
use portcullis::engine::Engine;
use portcullis::ident::{Fingerprint, IssuerName};
use portcullis::journal::IdentityKind;
use portcullis::secret::Secret;
use portcullis::store::Store;
use portcullis::store::local::{IndexState, LocalStore, OpenError, Options};
use portcullis::world::{SystemClock, SystemEntropy, World};
use portcullis::x509::public_key::PublicKey;
use rcgen::KeyPair;

/// The only cluster.
const CLUSTER: &str = "north";

const PUBLIC_URL: &str = "http://127.0.0.1:7080";

const ERA: u32 = 1_800_000_000;

/// How many threads issue and revoke, each to a user of its own.
pub(crate) const CLERKS: usize = 6;

/// A folder with a store that has authorities and an admin, the CA's key beside it, and what the children are given.
pub(crate) struct Base {
    pub(crate) home: tempfile::TempDir,
}

impl Base {
    /// Takes seconds, most of them for the key files.
    pub(crate) fn make() -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("base");
        let entropy = Arc::new(SystemEntropy);
        let store = indexed(LocalStore::create(&folder, ERA, Arc::new(SystemDisk), entropy, options()).unwrap());
        let engine = engine(Arc::new(store));
        let vault = Arc::new(Vault::open(&home.path().join("ca"), Secret::new("correct horse".to_owned())).unwrap());
        let authorities = init::create_authorities(&engine, vault, PUBLIC_URL, None).unwrap();
        let new = NewCluster {
            name: CLUSTER.parse().unwrap(),
            server: "https://north.example:7444".to_owned(),
            names: vec!["north.example".to_owned()],
        };
        clusters::add(&engine, &Actor::System(Part::Initialisation), None, &new, Source::Made, &authorities).unwrap();
        let issuing = authorities.keyring.issuer(&issuer()).unwrap();
        std::fs::write(home.path().join("key"), issuing.key.serialize_der()).unwrap();
        let id = "root-admin".parse().unwrap();
        let admin = init::first_admin(&engine, &authorities, &id, fresh_key()).unwrap().row.fingerprint;
        for clerk in 0..CLERKS {
            let user = AddIdentity {
                id: user(clerk).parse().unwrap(),
                kind: IdentityKind::User,
                groups: Vec::new(),
                agency: None,
                role: None,
                reuse: false,
            };
            engine.run(&Actor::System(Part::Initialisation), &user).unwrap();
        }
        std::fs::write(home.path().join("admin"), admin.to_string()).unwrap();
        Self { home }
    }

    /// Another store like it, in the folder `store`, in place of what was there.
    pub(crate) fn lay_out(&self) -> PathBuf {
        let folder = self.home.path().join("store");
        if folder.exists() {
            std::fs::remove_dir_all(&folder).unwrap();
        }
        copy(&self.home.path().join("base"), &folder);
        folder
    }
}

/// What a child issues and revokes with.
pub(crate) struct Office {
    pub(crate) engine: Engine,
    pub(crate) admin: Actor,
    keyring: Arc<Keyring>,
}

impl Office {
    /// Over a store that was laid out in `home`.
    pub(crate) fn open(home: &Path, store: Arc<dyn Store>) -> Self {
        let engine = engine(store);
        let key = KeyPair::try_from(std::fs::read(home.join("key")).unwrap()).unwrap();
        let certificate = authorities::certificate_of(&engine, &issuer()).unwrap();
        let keyring = Arc::new(Keyring::default());
        keyring.insert(Issuer { name: issuer(), certificate, key });
        let fingerprint: Fingerprint = std::fs::read_to_string(home.join("admin")).unwrap().parse().unwrap();
        let row = engine.recorded(&fingerprint).unwrap().unwrap();
        let id = row.subject.parse().unwrap();
        let admin = Actor::Holder(Holder { id, serial: row.serial, fingerprint, realm: Realm::Management });
        Self { engine, admin, keyring }
    }

    /// A clerk's wish for a certificate with a fresh key.
    pub(crate) fn issue(&self, clerk: usize) -> Issue {
        Issue {
            id: user(clerk).parse().unwrap(),
            purpose: Purpose::Cluster(Some(CLUSTER.parse().unwrap())),
            public_key: fresh_key(),
            lifetime: None,
            keyring: Arc::clone(&self.keyring),
            places: Places { public_url: PUBLIC_URL.to_owned() },
        }
    }
}

/// An engine with the real clock and real chance.
pub(crate) fn engine(store: Arc<dyn Store>) -> Engine {
    Engine::new(store, World { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy) })
}

pub(crate) fn open(folder: &Path) -> Result<LocalStore, OpenError> {
    LocalStore::open(folder, Arc::new(SystemDisk), Arc::new(SystemEntropy), options()).map(indexed)
}

/// Waits for the second stage of a start.
fn indexed(store: LocalStore) -> LocalStore {
    assert_eq!(store.wait_for_index(Duration::from_secs(60)), IndexState::Ready);
    store
}

/// Short segments: many begin and end under load, and a start makes two of them.
fn options() -> Options {
    Options { segment: 4 * 1024 * 1024, ..Options::default() }
}

fn user(clerk: usize) -> String {
    format!("user-{clerk}")
}

fn issuer() -> IssuerName {
    IssuerName::of_cluster(&CLUSTER.parse().unwrap(), 1)
}

fn fresh_key() -> PublicKey {
    PublicKey::of(&KeyPair::generate().unwrap()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
