//! The authority alone, as `portcullis init` makes it and `portcullis serve` runs it.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;

use tokio::net::TcpListener;

use super::authority::{Authority, Ground, Listeners, Places};
use super::first_start::{self, FirstAdmin};
use super::{AppError, Doing, asked_to_stop};
use crate::ca::init::request_root as request_root_of;
use crate::ca::vault::Vault;
use crate::config::authority::Settings;
use crate::config::log::Format;
use crate::ident::IdentityId;
use crate::net::listen;
use crate::observe::{self, LogFormat};
use crate::world::{SystemEntropy, World};
use crate::x509::certificate::Certificate;
use crate::x509::pem::{self, Label};

impl From<&Settings> for Places {
    fn from(settings: &Settings) -> Self {
        Self {
            store: settings.store_dir.clone(),
            ca: settings.ca_dir.clone(),
            crl: settings.crl_dir.clone(),
            passphrase: settings.passphrase.clone(),
        }
    }
}

/// Makes the store, the authorities and the first admin's profile; an interrupted start is gone on with. Blocking.
///
/// `signed_root` is the root's certificate where somebody else has signed it: [`request_root`] comes first.
pub fn init(
    settings: &Settings,
    admin: &IdentityId,
    profile: &Path,
    signed_root: Option<Certificate>,
) -> Result<(), AppError> {
    let world = World::system();
    let places = Places::from(settings);
    if profile.exists() {
        return Err(AppError::new("starting", format!("{} exists: choose another --out", profile.display())));
    }
    let ground = Ground::open_or_create(&places, &world)?;
    ground.wait_for_index()?;
    let authorities = first_start::authorities(&ground, &settings.public_url.to_string(), signed_root)?;
    first_start::must_have_no_admin(&ground)?;
    let api_url = settings.api_url.clone();
    first_start::admin(&ground, &authorities, &FirstAdmin { id: admin.clone(), profile: profile.to_owned(), api_url })
}

/// A request in PEM to have the root signed by somebody else, before anything else is made. Blocking.
pub fn request_root(settings: &Settings) -> Result<String, AppError> {
    let places = Places::from(settings);
    if places.store.exists() {
        return Err(AppError::new("starting", "the store is there already, and its root with it"));
    }
    let passphrase = places.passphrase.read().doing("reading the passphrase of the CA keys")?;
    let vault = Vault::open(&places.ca, passphrase).doing("opening the folder of the CA keys")?;
    let der = request_root_of(&vault, &SystemEntropy).doing("making a request for the root")?;
    Ok(pem::write(Label::Request, &der))
}

/// Serves until a signal asks it to stop.
///
/// `accept_clock`: nothing is issued while the wall clock is more than a minute before the newest entry of the record; this
/// accepts it once.
pub fn run(settings: &Settings, accept_clock: bool) -> Result<(), AppError> {
    let format = match settings.log.format {
        Format::Text => LogFormat::Text,
        Format::Json => LogFormat::Json,
    };
    observe::start_logs(format, settings.log.level.as_str()).doing("starting the log")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().doing("starting")?;
    runtime.block_on(async {
        let stopping = asked_to_stop()?;
        let authority = start(settings, accept_clock).await?;
        let (api, public) = (settings.api, settings.public);
        tracing::info!(%api, %public, "the authority serves");
        stopping.await;
        authority.stop().await;
        Ok(())
    })
}

async fn start(settings: &Settings, accept_clock: bool) -> Result<Authority, AppError> {
    let places = Places::from(settings);
    let limits = |connections: NonZeroU32| listen::Limits {
        connections: usize::try_from(connections.get()).unwrap_or(usize::MAX),
        ..listen::Limits::default()
    };
    let listeners = Listeners {
        api: bind(settings.api).await?,
        public: bind(settings.public).await?,
        health: match settings.health {
            Some(address) => Some(bind(address).await?),
            None => None,
        },
        api_limits: limits(settings.limits.api_connections),
        public_limits: limits(settings.limits.public_connections),
    };
    let opening = places.clone();
    let loaded = tokio::task::spawn_blocking(move || {
        let ground = Ground::open(&opening, &World::system())?;
        let loaded = Authority::load(&ground, &opening)?;
        if accept_clock {
            loaded.accept_clock()?;
        }
        Ok::<_, AppError>(loaded)
    });
    let loaded = loaded.await.doing("starting")??;
    let fixed = loaded.authorities.places.public_url.clone();
    if fixed != settings.public_url.to_string() {
        return Err(AppError::new(
            "starting",
            format!("public.url is fixed at init, because it is in every certificate: it is {fixed}"),
        ));
    }
    let passphrase = places.passphrase.read().doing("reading the passphrase of the CA keys")?;
    let names = vec![settings.api_url.host().to_owned(), "localhost".to_owned()];
    Authority::start(loaded, listeners, names, Vec::new(), &places, passphrase)
}

async fn bind(address: SocketAddr) -> Result<TcpListener, AppError> {
    listen::bind(address).await.doing(format_args!("listening on {address}"))
}
