//! An authority with one cluster and one admin, in memory.
#![allow(dead_code, reason = "each bench uses another part of this")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::sync::Arc;

use portcullis::access::{Actor, Holder, Part, Realm};
use portcullis::ca::authorities::Authorities;
use portcullis::ca::clusters::{self, NewCluster};
use portcullis::ca::init;
use portcullis::ca::issue::{Issue, Purpose};
use portcullis::ca::keys::Issuer;
use portcullis::ca::source::Source;
use portcullis::ca::vault::Vault;
use portcullis::directory::identities::AddIdentity;
use portcullis::engine::Engine;
use portcullis::follow::Following;
use portcullis::ident::IssuerName;
use portcullis::journal::IdentityKind;
use portcullis::ledger::rows::CertificateRow;
use portcullis::publish::roll::Roll;
use portcullis::publish::statuses::StatusFollower;
use portcullis::secret::Secret;
use portcullis::status::Statuses;
use portcullis::store::memory::MemoryStore;
use portcullis::store::{Store, Timeline};
use portcullis::world::World;
use portcullis::x509::fresh_key::FreshKey;
use portcullis::x509::pem::{self, Label};
use portcullis::x509::public_key::PublicKey;
use tempfile::TempDir;

const ERA: u32 = 1_800_000_000;
const CLUSTER: &str = "north";
/// The user who is issued certificates, and the group that they are in.
pub(crate) const USER: &str = "alice";
pub(crate) const GROUP: &str = "team";
/// The first admin.
pub(crate) const ADMIN: &str = "root-admin";

/// The authority, and the answers that follow its journal.
pub(crate) struct Authority {
    pub(crate) engine: Arc<Engine>,
    pub(crate) authorities: Authorities,
    pub(crate) statuses: Arc<Statuses>,
    pub(crate) roll: Arc<Roll>,
    pub(crate) admin: Actor,
    _following: Following,
    _home: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(ERA, Timeline([7; 16])));
        let engine = Arc::new(Engine::new(Arc::clone(&store), World::system()));
        let (statuses, roll) = (Arc::new(Statuses::empty()), Arc::new(Roll::default()));
        let follower = StatusFollower::load(
            &*store,
            Arc::clone(&statuses),
            Arc::clone(&roll),
            Arc::default(),
            Arc::clone(engine.newest()),
            None,
        );
        let following = Following::start(store, follower.unwrap()).unwrap();
        let home = tempfile::tempdir().unwrap();
        let vault = Vault::open(&home.path().join("ca"), Secret::new("correct horse".to_owned())).unwrap();
        let authorities = init::create_authorities(&engine, Arc::new(vault), "http://127.0.0.1:7080", None).unwrap();
        let new = NewCluster {
            name: CLUSTER.parse().unwrap(),
            server: "https://north.example:7444".to_owned(),
            names: vec!["north.example".to_owned()],
        };
        let beginning = Actor::System(Part::Initialisation);
        clusters::add(&engine, &beginning, None, &new, Source::Made, &authorities).unwrap();
        let user = AddIdentity {
            id: USER.parse().unwrap(),
            kind: IdentityKind::User,
            groups: vec![GROUP.parse().unwrap()],
            agency: None,
            role: None,
            reuse: false,
        };
        engine.run(&beginning, &user).unwrap();
        let admin = ADMIN.parse().unwrap();
        let row = init::first_admin(&engine, &authorities, &admin, fresh()).unwrap().row;
        let (serial, fingerprint) = (row.serial, row.fingerprint);
        let admin = Actor::Holder(Holder { id: admin, serial, fingerprint, realm: Realm::Management });
        Self { engine, authorities, statuses, roll, admin, _following: following, _home: home }
    }

    /// The CA of the cluster.
    pub(crate) fn issuer(&self) -> Arc<Issuer> {
        self.authorities.keyring.issuer(&IssuerName::of_cluster(&CLUSTER.parse().unwrap(), 1)).unwrap()
    }

    /// Its certificate and the root's, in PEM.
    pub(crate) fn chain(&self) -> String {
        let root = self.authorities.keyring.issuer(&IssuerName::root()).unwrap();
        [&*self.issuer(), &*root].map(|issuer| pem::write(Label::Certificate, issuer.certificate.der())).concat()
    }

    /// The wish for a certificate of the user for this key.
    pub(crate) fn wish(&self, public_key: PublicKey) -> Issue {
        Issue {
            id: USER.parse().unwrap(),
            purpose: Purpose::Cluster(Some(CLUSTER.parse().unwrap())),
            public_key,
            lifetime: None,
            keyring: Arc::clone(&self.authorities.keyring),
            places: self.authorities.places.clone(),
        }
    }

    /// A certificate of the user.
    pub(crate) fn issue(&self, public_key: PublicKey) -> CertificateRow {
        self.engine.run(&self.admin, &self.wish(public_key)).unwrap().outcome.row
    }
}

/// A key of its own as the authority makes it for a user, of which the private part is dropped.
pub(crate) fn fresh() -> PublicKey {
    FreshKey::make().unwrap().public
}
