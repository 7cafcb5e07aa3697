//! The authority alone, as `portcullis init` makes it and `portcullis serve` runs it.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::authority::{Authority, Ground, Listeners, Places};
use super::first_start::{self, FirstAdmin};
use super::manager::{Notifier, Sockets};
use super::reload::{Host, Signals, must_be_none};
use super::{AppError, Doing};
use crate::ca::init::request_root as request_root_of;
use crate::ca::vault::Vault;
use crate::config::authority::Settings;
use crate::config::log::Format;
use crate::ident::IdentityId;
use crate::net::listen::{self, Allowed};
use crate::net::stop;
use crate::observe::{self, LogFormat, Logs};
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

/// Serves until a signal asks it to stop; SIGHUP has the configuration read again.
///
/// `accept_clock`: nothing is issued while the wall clock is more than a minute before the newest entry of the record; this
/// accepts it once.
pub fn run(settings: &Settings, accept_clock: bool, host: &Host<Settings>) -> Result<(), AppError> {
    let format = match settings.log.format {
        Format::Text => LogFormat::Text,
        Format::Json => LogFormat::Json,
    };
    let logs = observe::start_logs(format, settings.log.level.as_str()).doing("starting the log")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().doing("starting")?;
    runtime.block_on(async {
        let signals = Signals::listen()?;
        let notifier = Notifier::new(&host.manager)?;
        notifier.status("reading the record");
        let limits = Allowances::of(settings);
        let authority = start(settings, accept_clock, host, &limits).await?;
        let (api, public) = (settings.api, settings.public);
        tracing::info!(%api, %public, "the authority serves");
        notifier.ready("serving");
        let (alive, stop) = stop::channel();
        if let Some(within) = host.manager.watchdog {
            tokio::spawn(Arc::clone(&notifier).stay_alive(within, stop));
        }
        let mut now = settings.clone();
        let apply = async |new: Settings| {
            change(&authority, &now, &new, &limits, &logs).await?;
            now = new;
            Ok(())
        };
        let Ok(()) = signals.serve(host, &notifier, std::future::pending::<Infallible>(), apply).await;
        authority.stop().await;
        alive.stop();
        Ok(())
    })
}

/// How many connections each listener takes on, which can change.
struct Allowances {
    api: Allowed,
    public: Allowed,
}

impl Allowances {
    fn of(settings: &Settings) -> Self {
        Self {
            api: Allowed::of(number(settings.limits.api_connections)),
            public: Allowed::of(number(settings.limits.public_connections)),
        }
    }
}

fn number(connections: NonZeroU32) -> usize {
    usize::try_from(connections.get()).unwrap_or(usize::MAX)
}

/// Uses new settings; on an error nothing has changed.
async fn change(
    authority: &Authority,
    now: &Settings,
    new: &Settings,
    limits: &Allowances,
    logs: &Logs,
) -> Result<(), String> {
    must_be_none(&now.fixed_differences(new))?;
    if now.api_url != new.api_url {
        let (served, api, names) = (Arc::clone(&authority.served), Arc::clone(&authority.api), names(new));
        let renamed = spawn_blocking(move || served.rename(&api.engine, &api.authorities, names));
        renamed.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    }
    limits.api.set(number(new.limits.api_connections));
    limits.public.set(number(new.limits.public_connections));
    logs.set_level(new.log.level.as_str()).map_err(|error| error.to_string())
}

/// What the API's server certificate is for.
fn names(settings: &Settings) -> Vec<String> {
    vec![settings.api_url.host().to_owned(), "localhost".to_owned()]
}

async fn start(
    settings: &Settings,
    accept_clock: bool,
    host: &Host<Settings>,
    limits: &Allowances,
) -> Result<Authority, AppError> {
    let places = Places::from(settings);
    let of = |connections: &Allowed| listen::Limits { connections: connections.clone(), ..listen::Limits::default() };
    let mut sockets = Sockets::given(&host.manager)?;
    let listeners = Listeners {
        api: sockets.listener("api", settings.api).await?,
        public: sockets.listener("public", settings.public).await?,
        health: sockets.optional("health", settings.health).await?,
        api_limits: of(&limits.api),
        public_limits: of(&limits.public),
    };
    sockets.must_be_used_up("api, public or health")?;
    let opening = places.clone();
    let loaded = spawn_blocking(move || {
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
    Authority::start(loaded, listeners, names(settings), Vec::new(), &places, passphrase)
}
