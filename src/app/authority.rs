//! The authority: store, engine, statuses, publication, API.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::serving::Served;
use super::{AppError, Doing, recover, rolled_back, upkeep};
use crate::access::{Actor, Part};
use crate::api::measures::Measures;
use crate::api::public::Public;
use crate::api::server::{Health, Management};
use crate::api::{Api, Proxies};
use crate::ca::authorities::Authorities;
use crate::ca::init::open_authorities;
use crate::ca::proxies::instances::ListInstances;
use crate::ca::upkeep::AcceptClock;
use crate::ca::vault::Vault;
use crate::config::passphrase::Passphrase;
use crate::disk::SystemDisk;
use crate::engine::Engine;
use crate::follow::Following;
use crate::ident::IssuerName;
use crate::net::listen;
use crate::net::stop::{self, Stopper};
use crate::net::tls::{self, ClientAnchors, Versions};
use crate::observe::Metrics;
use crate::publish::crl::Lists;
use crate::publish::feed::Feed;
use crate::publish::feed::tail::Tail;
use crate::publish::kept::Kept;
use crate::publish::ocsp::Responders;
use crate::publish::roll::Roll;
use crate::publish::statuses::StatusFollower;
use crate::secret::Secret;
use crate::status::Statuses;
use crate::store::Store;
use crate::store::local::{LocalStore, OpenError, Options};
use crate::world::{SystemTicks, Timestamp, World};

/// Where the authority keeps what.
#[derive(Clone, Debug)]
pub struct Places {
    /// The store's folder.
    pub store: PathBuf,
    /// The folder of the CA keys.
    pub ca: PathBuf,
    /// The folder that every CRL is also written to.
    pub crl: PathBuf,
    /// Where the passphrase of the CA keys is.
    pub passphrase: Passphrase,
}

impl Places {
    /// The socket through which `recover admin` speaks to a running authority.
    pub fn recovery_socket(&self) -> PathBuf {
        self.ca.join("recover.sock")
    }
}

/// An open store with an engine over it, and the folder of the CA keys.
#[derive(Debug)]
pub struct Ground {
    /// Runs wishes.
    pub engine: Arc<Engine>,
    /// The key files.
    pub vault: Arc<Vault>,
    store: Arc<LocalStore>,
}

impl Ground {
    /// Waits until all of the record can be read, and says how far it is. Blocking.
    pub fn wait_for_index(&self) -> Result<(), AppError> {
        self.store.wait_to_be_complete(|state| tracing::info!("{state}")).doing("opening the index")
    }

    /// Makes an empty store in an era that begins now; the folders above it are made.
    fn create(places: &Places, world: &World) -> Result<Self, AppError> {
        rolled_back::must_not_be_between(places)?;
        let parent = places.store.parent().unwrap_or_else(|| Path::new("/"));
        std::fs::create_dir_all(parent).doing(format_args!("making {}", parent.display()))?;
        let era = u32::try_from(world.clock.now().unix_seconds()).doing("reading the clock")?;
        let store = LocalStore::create(
            &places.store,
            era,
            Arc::new(SystemDisk),
            Arc::clone(&world.entropy),
            Options::default(),
        );
        Self::over(places, world, store.doing("making the store")?)
    }

    /// Opens the store, or makes one where there is none or the making was interrupted.
    pub fn open_or_create(places: &Places, world: &World) -> Result<Self, AppError> {
        let disk = Arc::new(SystemDisk);
        match LocalStore::open(&places.store, disk, Arc::clone(&world.entropy), Options::default()) {
            Ok(store) => Self::over(places, world, store),
            Err(OpenError::NotAStore(_) | OpenError::Unfinished) => Self::create(places, world),
            Err(error) => Err(AppError::new("opening the store", error)),
        }
    }

    /// Opens the store.
    pub fn open(places: &Places, world: &World) -> Result<Self, AppError> {
        rolled_back::must_not_be_between(places)?;
        let store =
            LocalStore::open(&places.store, Arc::new(SystemDisk), Arc::clone(&world.entropy), Options::default());
        Self::over(places, world, store.doing("opening the store")?)
    }

    fn over(places: &Places, world: &World, store: LocalStore) -> Result<Self, AppError> {
        rolled_back::must_not_be(store.end(), &places.crl)?;
        let passphrase = places.passphrase.read().doing("reading the passphrase of the CA keys")?;
        let vault = Vault::open(&places.ca, passphrase).doing("opening the folder of the CA keys")?;
        let store = Arc::new(store);
        let engine = Engine::new(Arc::clone(&store) as Arc<dyn Store>, world.clone());
        Ok(Self { engine: Arc::new(engine), vault: Arc::new(vault), store })
    }
}

/// Where the authority listens, bound.
#[derive(Debug)]
pub struct Listeners {
    /// The management API.
    pub api: TcpListener,
    /// CRLs, OCSP and CA certificates.
    pub public: TcpListener,
    /// Health without TLS, if it is wanted.
    pub health: Option<TcpListener>,
    /// How much the API takes on.
    pub api_limits: listen::Limits,
    /// How much the public listener takes on.
    pub public_limits: listen::Limits,
}

/// A running authority.
#[derive(Debug)]
pub struct Authority {
    /// What the handlers stand on, and the rest of the process with them.
    pub api: Arc<Api>,
    /// The API's server certificate.
    pub served: Arc<Served>,
    stopper: Stopper,
    tasks: Vec<JoinHandle<()>>,
    following: Option<Following>,
}

impl Authority {
    /// Opens the authorities over the ground and loads what is on record; nothing is served yet. Blocking.
    pub fn load(ground: &Ground, places: &Places) -> Result<Loaded, AppError> {
        let authorities =
            open_authorities(&ground.engine, Arc::clone(&ground.vault)).doing("opening the authorities")?;
        let (statuses, roll, tail) =
            (Arc::new(Statuses::empty()), Arc::new(Roll::default()), Arc::new(Tail::default()));
        let store = Arc::clone(ground.engine.store());
        let kept = Kept::new(Arc::new(SystemDisk), &places.store);
        let hold = ground.store.hold_index();
        let follower = StatusFollower::load(
            &*store,
            Arc::clone(&statuses),
            Arc::clone(&roll),
            Arc::clone(&tail),
            Arc::clone(ground.engine.newest()),
            Some(&kept),
        );
        drop(hold);
        let follower = follower.doing("reading what is on record")?;
        let following = Following::start(store, follower).doing("following the journal")?;
        let earlier = ground.engine.ask(&Actor::System(Part::Upkeep), &ListInstances);
        let earlier = earlier.doing("reading which proxies follow")?.outcome;
        let feed = Arc::new(Feed::new(Arc::clone(&statuses), tail, Arc::new(SystemTicks), earlier));
        let lists = Lists::new(
            Arc::clone(&ground.engine),
            Arc::clone(&authorities.keyring),
            Arc::clone(&statuses),
            Arc::clone(&roll),
            &places.crl,
        );
        let lists = Arc::new(lists.doing("opening the folder of the CRLs")?);
        let responders = Arc::new(Responders::new(
            Arc::clone(&ground.engine),
            authorities.clone(),
            Arc::clone(&statuses),
            Arc::clone(&roll),
        ));
        // Neither keeps statuses and revoking waiting: a full disk, or an authority that was retired, is dealt with later.
        if let Err(error) = responders.renew() {
            tracing::error!(%error, "not every OCSP responder was made");
        }
        for absent in authorities.keyring.absent() {
            if let Err(error) = lists.take_up(&absent) {
                tracing::error!(%error, "the list of an authority whose key is elsewhere is not served");
            }
        }
        if let Err(error) = lists.publish_all() {
            tracing::error!(%error, "not every CRL was published");
        }
        Ok(Loaded {
            kept: Arc::new(kept),
            engine: Arc::clone(&ground.engine),
            authorities,
            statuses,
            roll,
            lists,
            responders,
            feed,
            following,
        })
    }

    /// Serves on the listeners; the API's certificate is for `names`. The certificates of `others` are renewed with it.
    pub fn start(
        loaded: Loaded,
        listeners: Listeners,
        names: Vec<String>,
        others: Vec<Arc<Served>>,
        places: &Places,
        passphrase: Secret<String>,
    ) -> Result<Self, AppError> {
        let Loaded { engine, authorities, statuses, roll, lists, responders, feed, following, kept } = loaded;
        let metrics = Arc::new(Metrics::new());
        let api = Arc::new(Api {
            engine: Arc::clone(&engine),
            authorities: authorities.clone(),
            statuses: Arc::clone(&statuses),
            roll: Arc::clone(&roll),
            lists: Arc::clone(&lists),
            responders: Arc::clone(&responders),
            anchors: ClientAnchors::new(&[]).doing("trusting the authorities")?,
            measures: Measures::new(&metrics),
            metrics,
            proxies: Proxies::default(),
            feed,
        });
        api.trust_all().doing("trusting the authorities")?;
        let served = Served::new(&engine, &authorities, "authority", names)?;
        let clock = Arc::clone(&engine.world().clock);
        let config = tls::server_config(&served.serving, Some(&api.anchors), Versions::Tls13, Arc::clone(&clock));
        let config = tls::offering_http2(&*config.doing("preparing the API's TLS")?);
        let public = Arc::new(Public { lists, responders, keyring: Arc::clone(&authorities.keyring), statuses, clock });
        let (stopper, stop) = stop::channel();
        let all = others.into_iter().chain([Arc::clone(&served)]).collect();
        let management = Arc::new(Management(Arc::clone(&api)));
        let mut tasks = vec![
            tokio::spawn(listen::serve(listeners.api, config, management, listeners.api_limits, stop.clone())),
            tokio::spawn(listen::serve_plain(listeners.public, public, listeners.public_limits, stop.clone())),
            tokio::spawn(upkeep::publish(Arc::clone(&api), stop.clone())),
            tokio::spawn(upkeep::renew(Arc::clone(&api), all, stop.clone())),
            tokio::spawn(upkeep::forget(Arc::clone(&api), stop.clone())),
            tokio::spawn(upkeep::forget_ended(Arc::clone(&api), stop.clone())),
            tokio::spawn(upkeep::tell_index(Arc::clone(&api), stop.clone())),
            tokio::spawn(upkeep::keep(Arc::clone(&api), kept, stop.clone())),
        ];
        if let Some(listener) = listeners.health {
            let health = Arc::new(Health(Arc::clone(&api)));
            tasks.push(tokio::spawn(listen::serve_plain(listener, health, listen::Limits::default(), stop.clone())));
        }
        tasks.push(recover::serve(Arc::clone(&api), &places.recovery_socket(), passphrase, stop)?);
        Ok(Self { api, served, stopper, tasks, following: Some(following) })
    }

    /// Stops serving, then following; the store closes when the last part lets go of it.
    pub async fn stop(mut self) {
        self.api.proxies.clear();
        self.api.feed.close();
        self.stopper.stop();
        for task in self.tasks.drain(..) {
            // An error means that the task is gone already.
            let _ = task.await;
        }
        if let Some(following) = self.following.take() {
            // Joining a thread blocks.
            let _ = tokio::task::spawn_blocking(move || drop(following)).await;
        }
    }
}

/// An authority that knows what is on record and serves nothing yet.
#[derive(Debug)]
pub struct Loaded {
    /// Runs wishes.
    pub engine: Arc<Engine>,
    /// What signing needs.
    pub authorities: Authorities,
    /// The standing of every credential.
    pub statuses: Arc<Statuses>,
    roll: Arc<Roll>,
    lists: Arc<Lists>,
    responders: Arc<Responders>,
    feed: Arc<Feed>,
    following: Following,
    kept: Arc<Kept>,
}

impl Loaded {
    /// Until when the root's list is good, if there is one and no list waits to be written to the folder: without the
    /// root's key, the next start has the folder's alone.
    pub fn root_list(&self) -> Option<Timestamp> {
        if self.lists.has_unwritten() {
            return None;
        }
        self.lists.published(&IssuerName::root()).map(|list| list.next_update)
    }

    /// Accepts the clock as it is, on the record, where that has entries of a later time. Blocking.
    pub fn accept_clock(&self) -> Result<(), AppError> {
        let newest = self.engine.newest();
        if !newest.is_ahead_of(self.engine.world().clock.now()) {
            return Ok(());
        }
        let accept = AcceptClock { newest: newest.get() };
        self.engine.run(&Actor::System(Part::Upkeep), &accept).doing("accepting the clock")?;
        tracing::warn!(newest = %accept.newest, "the clock was accepted, though the record has later entries");
        Ok(())
    }
}
