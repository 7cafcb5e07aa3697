//! `proxy.toml`: what a proxy in front of one API server runs with.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::source::{Mistakes, Source};
use super::url::ServiceUrl;
use super::{authority, duration, log};
use crate::ident::ClusterName;

/// The proxy's settings, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where users connect.
    pub listen: SocketAddr,
    /// Where the proxy's own health is served; never on the port above, whose `/healthz` is the API server's.
    pub health: SocketAddr,
    /// The oldest TLS that users may speak.
    pub oldest_tls: OldestTls,
    /// The cluster.
    pub cluster: ClusterName,
    /// The API server.
    pub upstream: Upstream,
    /// How the API server is told who it is.
    pub identity: Identity,
    /// How old statuses may be.
    pub freshness: Freshness,
    /// The folder of the mirror.
    pub mirror_dir: PathBuf,
    /// How to log.
    pub log: log::Settings,
}

impl Settings {
    /// The keys in which `other` differs and that need a new start: what is open, where things are, what the authority
    /// was told when this process began to follow it, the form of the log.
    pub fn fixed_differences(&self, other: &Self) -> Vec<&'static str> {
        // Named one by one, so that a new setting must be thought about. The rest can change while the proxy runs.
        let Self { listen, health, oldest_tls, cluster, upstream: _, identity: _, freshness, mirror_dir, log } = self;
        let differences = [
            ("listen.proxy", *listen != other.listen),
            ("listen.health", *health != other.health),
            ("listen.oldest_tls", *oldest_tls != other.oldest_tls),
            ("cluster.name", *cluster != other.cluster),
            ("freshness.bound", freshness.bound != other.freshness.bound),
            ("freshness.mode", freshness.mode != other.freshness.mode),
            ("mirror.dir", *mirror_dir != other.mirror_dir),
            ("log.format", log.format != other.log.format),
        ];
        differences.into_iter().filter(|(_, is_other)| *is_other).map(|(key, _)| key).collect()
    }
}

/// The oldest TLS version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OldestTls {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    #[default]
    Tls13,
}

/// The API server behind the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its address.
    pub url: ServiceUrl,
    /// The file with the CA of its server certificate, in PEM.
    pub ca: PathBuf,
    /// What the proxy shows it.
    pub credential: Credential,
}

/// The proxy's own credential at the API server; its owner's, never from our issuing CAs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A file with a service account's token, read again when it changes.
    Token(PathBuf),
    /// Files with a client certificate and its key, in PEM.
    Certificate {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
}

/// How the API server is told who a request is from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// `Impersonate-*` headers; works everywhere.
    #[default]
    Impersonation,
    /// `X-Remote-*` headers, for an API server with `--requestheader-client-ca-file`.
    RequestHeader,
}

/// How old statuses may be, and what happens then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// How long after they were last confirmed statuses count as fresh: 2 s to 10 min.
    pub bound: Duration,
    /// What happens after that.
    pub mode: Mode,
}

/// What a proxy does whose statuses are too old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It refuses and cuts everything.
    #[default]
    Strict,
    /// It serves on, 15 minutes at most, and says so everywhere.
    BestEffort,
}

/// Reads a configuration; tells every mistake at once.
pub fn read(
    file: &Path,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, Mistakes> {
    let mut source = Source::new(file, text, environment)?;
    let listen = authority::listener(&mut source, "proxy");
    let listen = if source.has("listen", "proxy") { listen } else { Some(SocketAddr::from(([0, 0, 0, 0], 7444))) };
    let health = authority::listener(&mut source, "health");
    let health = if source.has("listen", "health") { health } else { Some(SocketAddr::from(([127, 0, 0, 1], 7081))) };
    if listen.is_some() && listen == health {
        source.mistake("listen.health: wanted another address than listen.proxy, found the same for both");
    }
    let oldest_tls =
        choice(&mut source, "listen", "oldest_tls", &[("1.3", OldestTls::Tls13), ("1.2", OldestTls::Tls12)]);
    let cluster = source.text("cluster", "name", str::parse::<ClusterName>);
    if !source.has("cluster", "name") {
        source.mistake("cluster.name: wanted the name of the cluster as in `portcullis cluster list`, found nothing");
    }
    let upstream = Upstream::read(&mut source);
    let identity = choice(
        &mut source,
        "identity",
        "mode",
        &[("impersonation", Identity::Impersonation), ("request-header", Identity::RequestHeader)],
    );
    let by_token = upstream.as_ref().is_some_and(|upstream| matches!(upstream.credential, Credential::Token(_)));
    if identity == Identity::RequestHeader && by_token {
        // With a token it would not look at X-Remote-User, and run every request as the proxy itself.
        source.mistake(
            "identity.mode: request-header wanted upstream.certificate and upstream.key, found upstream.token_file; an \
             API server believes a front proxy's certificate alone (portcullis kubernetes front-proxy-ca makes one)",
        );
    }
    let freshness = Freshness::read(&mut source);
    let mirror_dir = source.path("mirror", "dir").unwrap_or_else(|| authority::library("mirror"));
    let log = log::Settings::read(&mut source);
    source.finish()?;
    let all = listen.zip(health).zip(cluster).zip(upstream);
    #[expect(clippy::expect_used, reason = "each is absent only beside a mistake, which `finish` has returned")]
    let (((listen, health), cluster), upstream) = all.expect("no mistakes");
    Ok(Settings { listen, health, oldest_tls, cluster, upstream, identity, freshness, mirror_dir, log })
}

impl Upstream {
    fn read(source: &mut Source) -> Option<Self> {
        let url = source.text("upstream", "url", ServiceUrl::https);
        if !source.has("upstream", "url") {
            source
                .mistake("upstream.url: wanted the API server's address, such as https://10.0.0.1:6443, found nothing");
        }
        let ca = source.path("upstream", "ca");
        if !source.has("upstream", "ca") {
            source.mistake("upstream.ca: wanted the file with the CA of the API server's certificate, found nothing");
        }
        let token = source.path("upstream", "token_file");
        let certificate = source.path("upstream", "certificate");
        let key = source.path("upstream", "key");
        let has = |key| source.has("upstream", key);
        let credential = match (has("token_file"), has("certificate"), has("key")) {
            (true, false, false) => token.map(Credential::Token),
            (false, true, true) => {
                certificate.zip(key).map(|(certificate, key)| Credential::Certificate { certificate, key })
            }
            (false, false, false) => {
                source.mistake("upstream: wanted token_file, or certificate and key, found none of them");
                None
            }
            (false, true, false) => {
                source.mistake("upstream.key: wanted the key of upstream.certificate, found nothing");
                None
            }
            (false, false, true) => {
                source.mistake("upstream.certificate: wanted the certificate of upstream.key, found nothing");
                None
            }
            (true, _, _) => {
                source.mistake("upstream: wanted either token_file, or certificate and key, found both");
                None
            }
        };
        let ((url, ca), credential) = url.zip(ca).zip(credential)?;
        Some(Self { url, ca, credential })
    }
}

impl Freshness {
    fn read(source: &mut Source) -> Self {
        let bound = source.text("freshness", "bound", |text| {
            let found = duration::parse(text).map_err(|error| error.to_string())?;
            match found {
                found if (SHORTEST_BOUND..=LONGEST_BOUND).contains(&found) => Ok(found),
                found => Err(format!("wanted a length of time from 2s to 10m, found {}", duration::show(found))),
            }
        });
        let modes = [("strict", Mode::Strict), ("best-effort", Mode::BestEffort)];
        Self { bound: bound.unwrap_or(DEFAULT_BOUND), mode: choice(source, "freshness", "mode", &modes) }
    }
}

fn choice<T: Copy + Default>(source: &mut Source, table: &'static str, key: &'static str, choices: &[(&str, T)]) -> T {
    let read = source.text(table, key, |text| {
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice);
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        found.ok_or_else(|| format!("wanted {}, found {text:?}", names.join(" or ")))
    });
    read.unwrap_or_default()
}

/// Below it, an ordinary pause of the network would count as an outage.
const SHORTEST_BOUND: Duration = Duration::from_secs(2);
/// Above it, a revocation that cannot reach a proxy would stay without effect for too long.
const LONGEST_BOUND: Duration = Duration::from_secs(600);
const DEFAULT_BOUND: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
