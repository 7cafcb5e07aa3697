//! `authority.toml`: what `portcullis init` and `portcullis serve` run with.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use super::log;
use super::passphrase::Passphrase;
use super::source::{Mistakes, Source};
use super::url::ServiceUrl;

/// The authority's settings, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the management API listens.
    pub api: SocketAddr,
    /// Where CRL, OCSP and CA certificates are served over plain HTTP.
    pub public: SocketAddr,
    /// Where `/healthz` and `/readyz` are served without TLS, if anywhere; the API serves them too.
    pub health: Option<SocketAddr>,
    /// The address under which others reach the API; its host is in the API's server certificate.
    pub api_url: ServiceUrl,
    /// The address under which others reach the public listener; fixed at `init`, as certificates carry it.
    pub public_url: ServiceUrl,
    /// The folder that every CRL is also written to.
    pub crl_dir: PathBuf,
    /// The store's folder.
    pub store_dir: PathBuf,
    /// The folder of the CA keys and certificates.
    pub ca_dir: PathBuf,
    /// Where the passphrase of the CA keys is.
    pub passphrase: Passphrase,
    /// How to log.
    pub log: log::Settings,
    /// How much at once.
    pub limits: Limits,
}

impl Settings {
    /// The keys in which `other` differs and that need a new start: what is open, where things are, the form of the log.
    pub fn fixed_differences(&self, other: &Self) -> Vec<&'static str> {
        // Named one by one, so that a new setting must be thought about. The rest can change while the authority runs.
        let Self {
            api,
            public,
            health,
            api_url: _,
            public_url,
            crl_dir,
            store_dir,
            ca_dir,
            passphrase,
            log,
            limits: _,
        } = self;
        let differences = [
            ("listen.api", *api != other.api),
            ("listen.public", *public != other.public),
            ("listen.health", *health != other.health),
            ("public.url", *public_url != other.public_url),
            ("public.crl_dir", *crl_dir != other.crl_dir),
            ("store.dir", *store_dir != other.store_dir),
            ("ca.dir", *ca_dir != other.ca_dir),
            ("ca.passphrase_file", *passphrase != other.passphrase),
            ("log.format", log.format != other.log.format),
        ];
        differences.into_iter().filter(|(_, is_other)| *is_other).map(|(key, _)| key).collect()
    }
}

/// How much the authority takes on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections to the management API.
    pub api_connections: NonZeroU32,
    /// Open connections to the public listener.
    pub public_connections: NonZeroU32,
}

impl Default for Limits {
    /// Some 20 KiB of memory per TLS connection, of which each proxy has one; the public listener's are smaller.
    fn default() -> Self {
        Self {
            api_connections: NonZeroU32::MIN.saturating_add(2047),
            public_connections: NonZeroU32::MIN.saturating_add(2047),
        }
    }
}

/// Reads a configuration; tells every mistake at once.
///
/// `file` is for messages and relative paths, `environment` all variables there are.
/// Without `ca.passphrase_file` the file is `passphrase` in systemd's `CREDENTIALS_DIRECTORY`.
pub fn read(
    file: &Path,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, Mistakes> {
    let environment: Vec<_> = environment.into_iter().collect();
    let credential = environment
        .iter()
        .find(|(name, folder)| name == "CREDENTIALS_DIRECTORY" && !folder.is_empty())
        .map(|(_, folder)| Passphrase { file: Path::new(folder).join("passphrase"), by_systemd: true });
    let mut source = Source::new(file, text, environment)?;
    let listen = Listen::read(&mut source);
    let api_url = source.text("api", "url", ServiceUrl::https);
    let api_url = if source.has("api", "url") { api_url } else { listen.default_url(&mut source) };
    let public_url = source.text("public", "url", ServiceUrl::http);
    if !source.has("public", "url") {
        source.mistake(
            "public.url: wanted the address that certificates will carry, such as http://crl.example.com:7080, found nothing",
        );
    }
    let crl_dir = source.path("public", "crl_dir").unwrap_or_else(|| library("crl"));
    let store_dir = source.path("store", "dir").unwrap_or_else(|| library("store"));
    let ca_dir = source.path("ca", "dir").unwrap_or_else(|| library("ca"));
    let passphrase = source.path("ca", "passphrase_file").map(|file| Passphrase { file, by_systemd: false });
    let passphrase = if source.has("ca", "passphrase_file") { passphrase } else { credential };
    if passphrase.is_none() && !source.has("ca", "passphrase_file") {
        source.mistake(
            "ca.passphrase_file: wanted the file with the passphrase of the CA keys, or systemd's LoadCredential=passphrase:…, found neither",
        );
    }
    if store_dir == ca_dir {
        source.mistake(format!("ca.dir: wanted another folder than store.dir, found {} for both", ca_dir.display()));
    }
    let log = log::Settings::read(&mut source);
    let limits = Limits::read(&mut source);
    source.finish()?;
    let all = listen.api.zip(listen.public).zip(api_url).zip(public_url).zip(passphrase);
    #[expect(clippy::expect_used, reason = "each is absent only beside a mistake, which `finish` has returned")]
    let ((((api, public), api_url), public_url), passphrase) = all.expect("no mistakes");
    Ok(Settings {
        api,
        public,
        health: listen.health,
        api_url,
        public_url,
        crl_dir,
        store_dir,
        ca_dir,
        passphrase,
        log,
        limits,
    })
}

struct Listen {
    api: Option<SocketAddr>,
    public: Option<SocketAddr>,
    health: Option<SocketAddr>,
}

impl Listen {
    fn read(source: &mut Source) -> Self {
        let api = listener_or(source, "api", 7443);
        let public = listener_or(source, "public", 7080);
        let found = Self { api, public, health: listener(source, "health") };
        let named = [("api", found.api), ("public", found.public), ("health", found.health)];
        for (at, (name, address)) in named.iter().enumerate() {
            let earlier = named.iter().take(at).find(|(_, other)| other.is_some() && other == address);
            if let (Some(address), Some((other, _))) = (address, earlier) {
                source.mistake(format!(
                    "listen.{name}: wanted another address than listen.{other}, found {address} for both"
                ));
            }
        }
        found
    }

    /// What others can reach without being told: the address that is listened on, unless that is every one.
    fn default_url(&self, source: &mut Source) -> Option<ServiceUrl> {
        let api = self.api?;
        if api.ip().is_unspecified() {
            source.mistake(format!(
                "api.url: wanted an address that others reach, such as https://authority.example.com:{}, as listen.api is every address of this host",
                api.port()
            ));
            return None;
        }
        Some(ServiceUrl::of_listener(true, api))
    }
}

impl Limits {
    fn read(source: &mut Source) -> Self {
        let mut read = |key, otherwise| {
            let number = source.number("limits", key, 1..=100_000).and_then(|number| u32::try_from(number).ok());
            number.and_then(NonZeroU32::new).unwrap_or(otherwise)
        };
        let default = Self::default();
        Self {
            api_connections: read("api_connections", default.api_connections),
            public_connections: read("public_connections", default.public_connections),
        }
    }
}

pub(super) fn listener(source: &mut Source, key: &'static str) -> Option<SocketAddr> {
    source.text("listen", key, |text| match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address),
        _ => Err(format!("wanted an IP address and a port such as 127.0.0.1:7443, found {text:?}")),
    })
}

fn listener_or(source: &mut Source, key: &'static str, port: u16) -> Option<SocketAddr> {
    let read = listener(source, key);
    if source.has("listen", key) { read } else { Some(SocketAddr::from(([127, 0, 0, 1], port))) }
}

/// A folder below the place where everything is kept by default.
pub(super) fn library(name: &str) -> PathBuf {
    Path::new("/var/lib/portcullis").join(name)
}

#[cfg(test)]
mod tests;
