//! The proxy as a process of its own: joining an authority once, and running.

pub mod invitation;
mod joined;
mod renewal;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

use super::manager::{Notifier, Sockets};
use super::reload::{Host, Signals, must_be_none};
use super::{AppError, Doing};
use crate::config::log::Format;
use crate::config::proxy::{Credential as Shown, Identity, Mode, OldestTls, Settings, Upstream};
use crate::disk::{Disk, DiskFile, SystemDisk};
use crate::ident::{AnyId, ClusterName, ProxyName};
use crate::kube::identity;
use crate::net::stop::{self, Stop, Stopper};
use crate::net::tls::{ClientAnchors, Serving, Versions};
use crate::observe::{self, LogFormat, Logs, Metrics};
use crate::proxy::authority::Authority;
use crate::proxy::believed::{self, Doubt};
use crate::proxy::deny::{Denial, DenyList};
use crate::proxy::follow::{Conversation, Known, Link};
use crate::proxy::health::{self, Health};
use crate::proxy::incidents::Incidents;
use crate::proxy::settings::{self, Credential};
use crate::proxy::{Parts, Proxy, Remote};
use crate::status::Statuses;
use crate::status::freshness::{self, Freshness};
use crate::status::mirror::Mirror;
use crate::world::{SystemTicks, World};

use invitation::Invitation;
use joined::{Joined, certificates};
use renewal::{Ends, Renewal};

/// Joins an authority: makes keys, has them certified, and keeps them beside the mirror.
pub fn join(settings: &Settings, invitation: &Invitation) -> Result<(ProxyName, ClusterName), AppError> {
    let _lock = open_folder(&settings.mirror_dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing("starting")?;
    let joined = runtime.block_on(Joined::join(&settings.mirror_dir, invitation))?;
    must_be_of(settings, &joined)?;
    Ok((joined.proxy().clone(), joined.cluster().clone()))
}

/// Puts an ID on the list of whom this proxy denies, or takes it off; whether that changed anything.
pub fn deny(settings: &Settings, id: &AnyId, is_denied: bool) -> Result<bool, AppError> {
    make_folder(&settings.mirror_dir)?;
    let now = World::system().clock.now();
    DenyList::new(&settings.mirror_dir).change(id, is_denied, now).doing("changing the list of whom to deny")
}

/// Whom this proxy denies.
pub fn denied(settings: &Settings) -> Result<Vec<Denial>, AppError> {
    DenyList::new(&settings.mirror_dir).read().doing("reading the list of whom to deny")
}

/// Runs until a signal asks it to stop; SIGHUP has the configuration read again.
pub fn run(settings: &Settings, host: &Host<Settings>) -> Result<(), AppError> {
    let format = match settings.log.format {
        Format::Text => LogFormat::Text,
        Format::Json => LogFormat::Json,
    };
    let logs = observe::start_logs(format, settings.log.level.as_str()).doing("starting the log")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().doing("starting")?;
    runtime.block_on(async {
        let signals = Signals::listen()?;
        let notifier = Notifier::new(&host.manager)?;
        let running = Running::start(settings, World::system(), host, &notifier).await?;
        let (proxy, health) = (settings.listen, settings.health);
        tracing::info!(%proxy, %health, "the proxy serves");
        notifier.ready("serving");
        let (changed, settings_now) = watch::channel(settings.clone());
        let apply = async |new: Settings| {
            running.change(&changed.borrow().clone(), &new, &logs).await?;
            changed.send_replace(new);
            Ok(())
        };
        let doubted = async { AppError::new("asking the API server", doubted(settings_now).await) };
        let ended = signals.serve(host, &notifier, doubted, apply).await;
        running.stop().await;
        ended
    })
}

/// Asks the API server whether it believes the proxy until it says; resolves when it does not. Whoever it does not
/// believe would have every request run as the proxy itself, so that nobody may be let in.
async fn doubted(mut settings: watch::Receiver<Settings>) -> Doubt {
    loop {
        let now = settings.borrow_and_update().clone();
        let doubt = match checked(&now) {
            Ok(checked) => believed::ask(&checked).await.err(),
            Err(error) => Some(Doubt::Unanswered(error.to_string())),
        };
        match doubt {
            None => {
                tracing::info!("the API server believes who the proxy says a request is for");
                return std::future::pending().await;
            }
            // Changed meanwhile: new ones are used only where the API server believes them.
            Some(Doubt::Ignored { .. }) if settings.has_changed().unwrap_or(false) => {}
            Some(doubt @ Doubt::Ignored { .. }) => return doubt,
            Some(doubt @ (Doubt::Refused | Doubt::Unanswered(_))) => {
                tracing::warn!(%doubt, "it is asked again");
                tokio::time::sleep(DOUBT_PAUSE).await;
            }
        }
    }
}

struct Running {
    proxy: Proxy,
    upkeep: Stopper,
    /// Held as long as the process lives: one process a mirror.
    _lock: Box<dyn DiskFile>,
}

impl Running {
    async fn start(
        settings: &Settings,
        world: World,
        host: &Host<Settings>,
        notifier: &Arc<Notifier>,
    ) -> Result<Self, AppError> {
        let lock = open_folder(&settings.mirror_dir)?;
        let joined = Joined::read(&settings.mirror_dir)?;
        must_be_of(settings, &joined)?;
        let proxy_settings = checked(settings)?;
        // Before anybody is let in. One that gives no answer is asked again beside: it runs nobody's requests either.
        if let Err(doubt @ Doubt::Ignored { .. }) = believed::ask(&proxy_settings).await {
            return Err(AppError::new("asking the API server", doubt));
        }
        let mut sockets = Sockets::given(&host.manager)?;
        let listener = sockets.listener("proxy", settings.listen).await?;
        let health = sockets.listener("health", settings.health).await?;
        sockets.must_be_used_up("proxy or health")?;
        let metrics = Arc::new(Metrics::new());
        let freshness = Freshness::new(Arc::new(SystemTicks), settings.freshness.bound, mode(settings));
        let statuses = Arc::new(Statuses::bounded(Arc::clone(&freshness)));
        let (mirror, known) = restore(settings, &statuses, &freshness)?;
        let trusted = known.as_ref().map_or_else(|| joined.authorities(), |known| Ok(known.authorities.clone()))?;
        let trusted: Vec<_> = trusted.into_iter().map(CertificateDer::from).collect();
        let anchors = ClientAnchors::new(&trusted).doing("trusting the cluster's authorities")?;
        let authority = Arc::new(Authority::new(joined.address()?, &*joined.client()?));
        let (chain, key) = joined.serving()?;
        let serving = Serving::new(chain, key).doing("using the proxy's certificate")?;
        let (incidents, reported) = Incidents::channel();
        let cut_time = proxy_settings.cut_time;
        let parts = Parts {
            listener,
            serving: &serving,
            anchors: &anchors,
            statuses: Arc::clone(&statuses),
            clock: Arc::clone(&world.clock),
            metrics: &metrics,
            remote: Remote {
                source: Some(Arc::clone(&authority) as _),
                deny_list: Some(DenyList::new(&settings.mirror_dir)),
                incidents: incidents.clone(),
            },
        };
        let proxy = Proxy::start(parts, proxy_settings).doing("starting the proxy")?;
        let link = Link {
            authority: Arc::clone(&authority),
            cluster: settings.cluster.clone(),
            statuses: Arc::clone(&statuses),
            freshness,
            anchors,
            mirror,
            known,
            incidents: (incidents, reported),
            clock: Arc::clone(&world.clock),
            entropy: Arc::clone(&world.entropy),
            cut_time,
        };
        let conversation = proxy.follow(link, &metrics);
        let (upkeep, stop) = stop::channel();
        tokio::spawn(tell(conversation.clone(), Arc::clone(notifier), stop.clone()));
        if let Some(within) = host.manager.watchdog {
            tokio::spawn(Arc::clone(notifier).stay_alive(within, stop.clone()));
        }
        let ends = Ends::new(&metrics);
        let bound = i64::try_from(settings.freshness.bound.as_secs()).unwrap_or(i64::MAX);
        metrics
            .gauge("proxy_answers_bound_seconds", "How old answers may be, best-effort's time not counted")
            .set(bound);
        let health_of = Health { statuses, metrics, conversation: Some(conversation) };
        tokio::spawn(health::serve(health, health_of, stop.clone()));
        tokio::spawn(Renewal { joined, ends, authority, serving, world }.run(stop));
        Ok(Self { proxy, upkeep, _lock: lock })
    }

    /// Uses new settings; on an error nothing has changed.
    async fn change(&self, now: &Settings, new: &Settings, logs: &Logs) -> Result<(), String> {
        must_be_none(&now.fixed_differences(new))?;
        let checked = checked(new).map_err(|error| error.to_string())?;
        // Nobody's request may run as the proxy itself, and a credential that opens nothing helps nobody.
        let asked = believed::ask(&checked).await;
        asked.map_err(|doubt| format!("asking the API server: {doubt}"))?;
        let stood = self.proxy.stand_before(&checked.upstream, checked.identity);
        stood.map_err(|error| format!("preparing TLS to the API server: {error}"))?;
        logs.set_level(new.log.level.as_str()).map_err(|error| error.to_string())
    }

    async fn stop(self) {
        self.proxy.stop().await;
        self.upkeep.stop();
    }
}

/// Tells the service manager how it is with the authority, until `stop`.
async fn tell(mut conversation: watch::Receiver<Conversation>, notifier: Arc<Notifier>, mut stop: Stop) {
    loop {
        let status = match &*conversation.borrow_and_update() {
            Conversation::Following => "serving; following the authority".to_owned(),
            Conversation::Away(why) => format!("serving; the authority is away: {why}"),
            Conversation::Alarm(why) => format!("ALARM: {why}"),
        };
        notifier.status(&status);
        tokio::select! {
            () = stop.stopped() => return,
            changed = conversation.changed() => if changed.is_err() { return },
        }
    }
}

/// What an earlier process knew, if it can be used.
fn restore(
    settings: &Settings,
    statuses: &Statuses,
    freshness: &Freshness,
) -> Result<(Mirror, Option<Known>), AppError> {
    let opened = Mirror::open(Arc::new(SystemDisk), &settings.mirror_dir, &settings.cluster);
    let (mirror, found) = opened.doing("opening the mirror")?;
    let Some(found) = found else { return Ok((mirror, None)) };
    statuses.replace(found.snapshot, found.cursor.revision);
    if let Some((asked, bound)) = found.confirmed {
        freshness.resume(asked, bound);
    }
    Ok((mirror, Some(Known { cursor: found.cursor, authorities: found.authorities })))
}

fn must_be_of(settings: &Settings, joined: &Joined) -> Result<(), AppError> {
    if *joined.cluster() == settings.cluster {
        return Ok(());
    }
    Err(AppError::new(
        "starting",
        format!(
            "this proxy has joined for the cluster {}, and cluster.name says {}: change it, or join with another token",
            joined.cluster(),
            settings.cluster
        ),
    ))
}

fn make_folder(dir: &Path) -> Result<(), AppError> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).doing(format_args!("making {}", dir.display()))
}

/// Makes the folder if need be, and takes its lock: two processes would write over each other.
fn open_folder(dir: &Path) -> Result<Box<dyn DiskFile>, AppError> {
    make_folder(dir)?;
    SystemDisk.lock(&dir.join("lock")).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => {
            AppError::new("starting", format!("another process uses the mirror {}", dir.display()))
        }
        _ => AppError::new(format_args!("locking {}", dir.display()), error),
    })
}

fn mode(settings: &Settings) -> freshness::Mode {
    match settings.freshness.mode {
        Mode::Strict => freshness::Mode::Strict,
        Mode::BestEffort => freshness::Mode::BestEffort,
    }
}

fn checked(settings: &Settings) -> Result<settings::Settings, AppError> {
    let Upstream { url, ca, credential } = &settings.upstream;
    let read = |path: &Path| fs::read_to_string(path).doing(format_args!("reading {}", path.display()));
    let credential = match credential {
        Shown::Token(path) => Credential::TokenFile(path.clone()),
        Shown::Certificate { certificate, key } => {
            let doing = format!("reading {}", key.display());
            // Of any kind that TLS takes: it is the owner's, not ours.
            let key = PrivateKeyDer::from_pem_slice(read(key)?.as_bytes()).doing(doing)?;
            Credential::Certificate(certificates(&read(certificate)?)?, key)
        }
    };
    let upstream = settings::Upstream::new(&url.to_string(), certificates(&read(ca)?)?, credential);
    let upstream = upstream.doing("reading upstream.url")?;
    let mut checked = settings::Settings::new(settings.cluster.clone(), upstream);
    checked.identity = match settings.identity {
        Identity::Impersonation => identity::Mode::Impersonation,
        Identity::RequestHeader => identity::Mode::RequestHeader,
    };
    checked.versions = match settings.oldest_tls {
        OldestTls::Tls12 => Versions::Tls12And13,
        OldestTls::Tls13 => Versions::Tls13,
    };
    Ok(checked)
}

/// How soon an API server that has not said whom it believes is asked again.
const DOUBT_PAUSE: Duration = Duration::from_secs(5);
