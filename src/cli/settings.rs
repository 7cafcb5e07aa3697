//! From what was typed to what the server programs run with.

use std::path::{Path, PathBuf};

use super::args;
use super::exit::Failure;
use super::files;
use crate::app;
use crate::app::authority::Places;
use crate::app::reload::Host;
use crate::config::manager::Manager;
use crate::config::url::ServiceUrl;
use crate::config::{authority, proxy, quickstart};
use crate::ident::IdentityId;
use crate::x509::certificate::Certificate;
use crate::x509::pem::{self, Label};

/// What `portcullis init` does.
#[derive(Debug)]
pub(super) struct Init {
    /// The authority's settings.
    pub(super) authority: authority::Settings,
    /// The first admin.
    pub(super) admin: IdentityId,
    /// Where the admin's profile goes; a new file.
    pub(super) profile: PathBuf,
    /// Where only a request for the root goes; a new file.
    pub(super) root_request: Option<PathBuf>,
    /// The root's certificate, where somebody else has signed it.
    pub(super) root_certificate: Option<Certificate>,
}

/// What `portcullis recover admin` does.
#[derive(Debug)]
pub(super) struct RecoverAdmin {
    /// Where the authority keeps what.
    pub(super) places: Places,
    /// Where its API is.
    pub(super) api_url: ServiceUrl,
    /// The admin.
    pub(super) admin: IdentityId,
    /// Where the profile goes; a new file.
    pub(super) profile: PathBuf,
}

pub(super) fn quickstart(args: args::Quickstart) -> Result<quickstart::Settings, Failure> {
    let settings = quickstart::Settings {
        dir: args.dir,
        api: args.api_listen,
        public: args.public_listen,
        proxy: args.proxy_listen,
        upstream: args.upstream_listen,
        health: args.health_listen,
    };
    match settings.collision() {
        Some((one, other)) => {
            Err(Failure::usage(format!("{one} and {other} are the same address; give another to one of them")))
        }
        None => Ok(settings),
    }
}

pub(super) fn init(args: args::Init) -> Result<Init, Failure> {
    let authority = authority(&args.config)?;
    let root_certificate = args.root_cert.as_deref().map(certificate).transpose()?;
    let (admin, profile, root_request) = (args.admin, args.out, args.root_request);
    Ok(Init { authority, admin, profile, root_request, root_certificate })
}

/// The one certificate in a file.
fn certificate(path: &Path) -> Result<Certificate, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::failed(format!("{}: {error}", path.display()));
    let der = pem::read(Label::Certificate, &files::read(path)?).map_err(|error| wrong(&error))?;
    Certificate::from_der(&der).map_err(|error| wrong(&error))
}

pub(super) fn recover_admin(args: args::RecoverAdmin) -> Result<RecoverAdmin, Failure> {
    let (admin, profile) = (args.id, args.out);
    if let Some(dir) = args.dir {
        let (places, api) = app::quickstart::recovery(&dir).map_err(Failure::failed)?;
        let api_url = ServiceUrl::of_listener(true, api);
        return Ok(RecoverAdmin { places, api_url, admin, profile });
    }
    let authority = authority(&args.config)?;
    Ok(RecoverAdmin { places: Places::from(&authority), api_url: authority.api_url, admin, profile })
}

/// Where an authority, or a quickstart, keeps what.
pub(super) fn places(place: &args::Where) -> Result<Places, Failure> {
    match &place.dir {
        Some(dir) => app::quickstart::places(dir).map_err(Failure::failed),
        None => Ok(Places::from(&authority(&place.config)?)),
    }
}

/// Reads the authority's configuration with the environment over it.
pub(super) fn authority(path: &Path) -> Result<authority::Settings, Failure> {
    authority::read(path, &text(path)?, environment()).map_err(Failure::failed)
}

/// Reads a proxy's configuration with the environment over it.
pub(super) fn proxy(path: &Path) -> Result<proxy::Settings, Failure> {
    proxy::read(path, &text(path)?, environment()).map_err(Failure::failed)
}

/// What a server program has of its host: the service manager, and a way to `read` its configuration again.
pub(super) fn host<S: 'static>(config: &Path, read: fn(&Path) -> Result<S, Failure>) -> Host<S> {
    let config = config.to_owned();
    let reread = move || read(&config).map_err(|failure| failure.to_string());
    Host { manager: Manager::read(environment()), reread: Box::new(reread) }
}

fn text(path: &Path) -> Result<String, Failure> {
    let text = std::str::from_utf8(&files::read(path)?).map(str::to_owned);
    text.map_err(|_| Failure::failed(format!("wanted UTF-8, found something else in {}", path.display())))
}

fn environment() -> impl Iterator<Item = (String, String)> {
    let utf8 = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(utf8)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn quickstart_of(line: &str) -> Result<quickstart::Settings, Failure> {
        match args::Cli::try_parse_from(line.split_whitespace()).unwrap().command {
            args::Command::Quickstart(args) => quickstart(args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn quickstart_listens_on_loopback_by_default() {
        let settings = quickstart_of("portcullis quickstart").unwrap();
        let ports = [settings.api, settings.public, settings.proxy, settings.upstream, settings.health];
        assert!(ports.iter().all(|address| address.ip().is_loopback()));
        assert_eq!(ports.map(|address| address.port()), [7443, 7080, 7444, 7445, 7081]);
    }

    #[test]
    fn two_listeners_cannot_have_one_address_but_may_both_take_any() {
        let line = "portcullis quickstart --api-listen 127.0.0.1:1 --proxy-listen 127.0.0.1:1";
        assert!(matches!(quickstart_of(line), Err(Failure::Usage(_))));
        let line = "portcullis quickstart --api-listen 127.0.0.1:0 --proxy-listen 127.0.0.1:0";
        assert!(quickstart_of(line).is_ok());
    }
}
