//! Everything in one process and one folder: authority, proxy, and a small API server to try them on.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use super::authority::{Authority, Ground, Listeners, Loaded, Places};
use super::first_start::{self, FirstAdmin};
use super::serving::Served;
use super::{AppError, Doing, asked_to_stop};
use crate::access::{Actor, Part};
use crate::api::Embedded;
use crate::ca::clusters::{self, NewCluster};
use crate::ca::look::ShowCluster;
use crate::ca::source::Source;
use crate::ca::vault::write_new_private;
use crate::command::Code;
use crate::config::passphrase::Passphrase;
use crate::config::quickstart::Settings;
use crate::config::url::ServiceUrl;
use crate::demo::Demo;
use crate::ident::{ClusterName, IdentityId, IssuerName};
use crate::net::listen;
use crate::net::stop::{self, Stopper};
use crate::net::tls::ClientAnchors;
use crate::proxy::health::{self, Health};
use crate::proxy::settings::{Credential, Settings as ProxySettings, Upstream};
use crate::proxy::{Parts, Proxy, Remote};
use crate::secret::Secret;
use crate::world::{World, random};

/// Where everything listens, as written to `addresses.json`: `host:port` each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// The management API.
    pub api: SocketAddr,
    /// CRLs, OCSP and CA certificates.
    pub public: SocketAddr,
    /// The proxy: what kubeconfigs point at.
    pub proxy: SocketAddr,
    /// The demo API server.
    pub upstream: SocketAddr,
    /// The proxy's health.
    pub health: SocketAddr,
}

/// What whoever started it is told once everything answers.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Where everything listens.
    pub addresses: Addresses,
    /// The admin's profile.
    pub profile: PathBuf,
}

/// Starts everything, calls `on_ready` once, and runs until a signal asks it to stop.
pub fn run(settings: &Settings, on_ready: impl FnOnce(&Ready)) -> Result<(), AppError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().doing("starting")?;
    runtime.block_on(async {
        // Before anything else, so that an early signal is not lost.
        let stopping = asked_to_stop()?;
        let running = Running::start(settings, &World::system()).await?;
        on_ready(&running.ready);
        stopping.await;
        running.stop().await;
        Ok(())
    })
}

/// Where the quickstart in `dir` keeps what, and where its API is: for `recover admin`.
pub fn recovery(dir: &Path) -> Result<(Places, SocketAddr), AppError> {
    let doing = || format!("reading {}", dir.join("addresses.json").display());
    let text = fs::read(dir.join("addresses.json")).doing(doing())?;
    let addresses: Addresses = serde_json::from_slice(&text).doing(doing())?;
    Ok((Dir::names(dir).places, addresses.api))
}

/// Where the quickstart in `dir` keeps what, running or not.
pub fn places(dir: &Path) -> Result<Places, AppError> {
    let dir = dir.canonicalize().doing(format_args!("looking for {}", dir.display()))?;
    Ok(Dir::names(&dir).places)
}

struct Running {
    ready: Ready,
    authority: Authority,
    proxy: Arc<Proxy>,
    demo: Demo,
    health: Stopper,
}

struct Bound {
    api: TcpListener,
    public: TcpListener,
    proxy: TcpListener,
    upstream: TcpListener,
    health: TcpListener,
}

impl Running {
    async fn start(settings: &Settings, world: &World) -> Result<Self, AppError> {
        let dir = Dir::open(&settings.dir)?;
        let (here, there) = (dir.clone(), world.clone());
        // The store is locked first: nothing of a process that runs in this folder already is touched.
        let ground = tokio::task::spawn_blocking(move || open(&here, &there)).await.doing("starting")??;
        dir.is_not_ready();
        let (bound, addresses) = bind(settings, &dir).await?;
        let (here, listening) = (dir.clone(), addresses.clone());
        let loaded =
            tokio::task::spawn_blocking(move || load(&here, &ground, &listening)).await.doing("starting")??;
        let Bound { api, public, proxy, upstream, health } = bound;
        let statuses = Arc::clone(&loaded.statuses);
        let equipped = equip(&loaded, &addresses)?;
        let passphrase = dir.places.passphrase.read().doing("reading the passphrase of the CA keys")?;
        let names = names_of(addresses.api);
        let others = vec![Arc::clone(&equipped.proxy), Arc::clone(&equipped.upstream)];
        let (api_limits, public_limits) = Default::default();
        let listeners = Listeners { api, public, health: None, api_limits, public_limits };
        let authority = Authority::start(loaded, listeners, names, others, &dir.places, passphrase)?;
        let clock = Arc::clone(&world.clock);
        let token =
            Secret::new(fs::read_to_string(&dir.token).doing("reading the upstream's token")?.trim().to_owned());
        let demo = Demo::start(upstream, &equipped.upstream.serving, token, Arc::clone(&clock));
        let demo = demo.doing("starting the demo upstream")?;
        let parts = Parts {
            listener: proxy,
            serving: &equipped.proxy.serving,
            anchors: &equipped.anchors,
            statuses: Arc::clone(&statuses),
            clock,
            metrics: &authority.api.metrics,
            remote: Remote::default(),
        };
        let url = ServiceUrl::of_listener(true, addresses.upstream).to_string();
        let credential = Credential::TokenFile(dir.token.clone());
        let upstream = Upstream::new(&url, vec![equipped.infra], credential).doing("reaching the demo upstream")?;
        let proxy = Proxy::start(parts, ProxySettings::new(demo_cluster()?, upstream)).doing("starting the proxy")?;
        let proxy = Arc::new(proxy);
        let name = "demo".to_owned();
        let anchors = Arc::clone(&equipped.anchors);
        authority.api.proxies.add(Embedded { name, cluster: demo_cluster()?, proxy: Arc::clone(&proxy), anchors });
        authority.api.trust_all().doing("trusting the authorities")?;
        let (stopper, stop) = stop::channel();
        let metrics = Arc::clone(&authority.api.metrics);
        tokio::spawn(health::serve(health, Health { statuses, metrics, conversation: None }, stop));
        dir.announce(&addresses)?;
        let ready = Ready { addresses, profile: dir.profile };
        Ok(Self { ready, authority, proxy, demo, health: stopper })
    }

    async fn stop(self) {
        self.health.stop();
        self.authority.stop().await;
        if let Ok(proxy) = Arc::try_unwrap(self.proxy) {
            proxy.stop().await;
        }
        self.demo.stop().await;
    }
}

/// The folder and the names in it.
#[derive(Clone, Debug)]
struct Dir {
    places: Places,
    profile: PathBuf,
    token: PathBuf,
    addresses: PathBuf,
    ports: PathBuf,
}

impl Dir {
    fn open(dir: &Path) -> Result<Self, AppError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let doing = || format!("making {}", dir.display());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).doing(doing())?;
        Ok(Self::names(&dir.canonicalize().doing(doing())?))
    }

    /// The file of addresses means ready, which is not so yet.
    fn is_not_ready(&self) {
        let _ = fs::remove_file(&self.addresses);
    }

    /// Whether nobody has come as far as a profile here.
    fn is_new(&self) -> bool {
        !self.profile.exists() && !self.ports.exists()
    }

    fn names(dir: &Path) -> Self {
        let places = Places {
            store: dir.join("store"),
            ca: dir.join("ca"),
            crl: dir.join("crl"),
            passphrase: Passphrase { file: dir.join("passphrase"), by_systemd: false },
        };
        Self {
            places,
            profile: dir.join("profile.toml"),
            token: dir.join("upstream.token"),
            addresses: dir.join("addresses.json"),
            ports: dir.join("ports.json"),
        }
    }

    /// The ports that an earlier start was given.
    fn earlier(&self) -> Option<Addresses> {
        serde_json::from_slice(&fs::read(&self.ports).ok()?).ok()
    }

    fn announce(&self, addresses: &Addresses) -> Result<(), AppError> {
        write(&self.ports, addresses)?;
        write(&self.addresses, addresses)
    }
}

/// Written under another name and renamed: whoever waits for the file never reads half of it.
fn write(path: &Path, addresses: &Addresses) -> Result<(), AppError> {
    let unfinished = path.with_extension("new");
    let text = serde_json::to_vec_pretty(addresses).doing("writing the addresses")?;
    fs::write(&unfinished, text).doing("writing the addresses")?;
    fs::rename(&unfinished, path).doing("writing the addresses")
}

async fn bind(settings: &Settings, dir: &Dir) -> Result<(Bound, Addresses), AppError> {
    let earlier = dir.earlier();
    let again = |wanted: SocketAddr, earlier: Option<SocketAddr>| match earlier {
        Some(earlier) if wanted.port() == 0 => SocketAddr::new(wanted.ip(), earlier.port()),
        _ => wanted,
    };
    let listener = |name: &'static str, wanted: SocketAddr, earlier: Option<SocketAddr>| async move {
        let address = again(wanted, earlier);
        let hint = format!("listening on {address} (another address: --{name}-listen)");
        listen::bind(address).await.doing(hint)
    };
    let was = earlier.as_ref();
    let bound = Bound {
        api: listener("api", settings.api, was.map(|was| was.api)).await?,
        public: listener("public", settings.public, was.map(|was| was.public)).await?,
        proxy: listener("proxy", settings.proxy, was.map(|was| was.proxy)).await?,
        upstream: listener("upstream", settings.upstream, was.map(|was| was.upstream)).await?,
        health: listener("health", settings.health, was.map(|was| was.health)).await?,
    };
    let address = |listener: &TcpListener| listener.local_addr().doing("listening");
    let addresses = Addresses {
        api: address(&bound.api)?,
        public: address(&bound.public)?,
        proxy: address(&bound.proxy)?,
        upstream: address(&bound.upstream)?,
        health: address(&bound.health)?,
    };
    Ok((bound, addresses))
}

/// Opens or makes the store, and the secrets beside it. Blocking.
fn open(dir: &Dir, world: &World) -> Result<Ground, AppError> {
    first_start::passphrase(&dir.places.passphrase.file, &*world.entropy)?;
    if !dir.token.exists() {
        let token = hex::encode(random::<32>(&*world.entropy).doing("making a token")?);
        write_new_private(&dir.token, token.as_bytes()).doing("writing the upstream's token")?;
    }
    let ground =
        if dir.is_new() { Ground::open_or_create(&dir.places, world) } else { Ground::open(&dir.places, world) };
    let ground = ground?;
    ground.wait_for_index()?;
    Ok(ground)
}

/// Opens or makes the authorities, the admin's profile and the cluster. Blocking.
fn load(dir: &Dir, ground: &Ground, addresses: &Addresses) -> Result<Loaded, AppError> {
    let public_url = ServiceUrl::of_listener(false, addresses.public).to_string();
    let authorities = first_start::authorities(ground, &public_url, None)?;
    if dir.is_new() {
        let id: IdentityId = "admin".parse().doing("naming the first admin")?;
        let api_url = ServiceUrl::of_listener(true, addresses.api);
        first_start::admin(ground, &authorities, &FirstAdmin { id, profile: dir.profile.clone(), api_url })?;
    }
    let server = ServiceUrl::of_listener(true, addresses.proxy).to_string();
    let actor = Actor::System(Part::Initialisation);
    let new = NewCluster { name: demo_cluster()?, server: server.clone(), names: names_of(addresses.proxy) };
    match clusters::add(&ground.engine, &actor, None, &new, Source::Made, &authorities) {
        Ok(_) => {}
        Err(rejected) if rejected.code == Code::AlreadyExists => must_be_at(ground, &server)?,
        Err(rejected) => return Err(AppError::new("adding the cluster", rejected)),
    }
    Authority::load(ground, &dir.places)
}

/// Kubeconfigs point at the proxy, so it must be where it was.
fn must_be_at(ground: &Ground, server: &str) -> Result<(), AppError> {
    let actor = Actor::System(Part::Initialisation);
    let view = ground.engine.ask(&actor, &ShowCluster(demo_cluster()?)).doing("reading the cluster")?.outcome;
    if view.cluster.server == server {
        return Ok(());
    }
    Err(AppError::new(
        "starting the proxy",
        format!("kubeconfigs of this folder point at {}, not at {server}: use --proxy-listen", view.cluster.server),
    ))
}

struct Equipped {
    proxy: Arc<Served>,
    upstream: Arc<Served>,
    anchors: Arc<ClientAnchors>,
    infra: CertificateDer<'static>,
}

/// Certificates for the proxy and the demo upstream, and whose clients the proxy verifies.
fn equip(loaded: &Loaded, addresses: &Addresses) -> Result<Equipped, AppError> {
    let Loaded { engine, authorities, .. } = loaded;
    let infra = authorities.keyring.issuer(&IssuerName::infra()).doing("starting the proxy")?;
    // Nobody yet: whom it lets in is said once it is among those that are told.
    let anchors = ClientAnchors::new(&[]);
    Ok(Equipped {
        proxy: Served::new(engine, authorities, "demo proxy", names_of(addresses.proxy))?,
        upstream: Served::new(engine, authorities, "demo upstream", names_of(addresses.upstream))?,
        anchors: anchors.doing("starting the proxy")?,
        infra: CertificateDer::from(infra.certificate.der().to_vec()),
    })
}

fn names_of(address: SocketAddr) -> Vec<String> {
    let mut names = vec![address.ip().to_string()];
    if address.ip().is_loopback() || address.ip().is_unspecified() {
        names.push("localhost".to_owned());
    }
    names
}

fn demo_cluster() -> Result<ClusterName, AppError> {
    "demo".parse().doing("naming the cluster")
}
