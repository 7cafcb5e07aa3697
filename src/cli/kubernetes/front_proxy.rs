//! `portcullis kubernetes front-proxy-ca`: certificates for an API server that believes the proxy itself.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde_json::json;

use crate::ca::vault::{private_pem, write_new_private};
use crate::cli::args::FrontProxyCa;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::files;
use crate::cli::format::Format;
use crate::cli::output;
use crate::kube::front_proxy;
use crate::world::{Moment, World};
use crate::x509::certificate::Certificate;
use crate::x509::pem::{self, Label};

pub(super) fn make(context: &Context, args: &FrontProxyCa) -> Result<Exit, Failure> {
    let folder = prepared(&args.out_dir)?;
    let (ca, proxy) = (Pair::of(&folder, CA), Pair::of(&folder, args.name.as_str()));
    let world = World::system();
    made(&ca, &proxy, args.name.as_str(), &world.moment())?;
    output::words(&format!(
        "whoever has {} is anybody at an API server that is set up like this, system:masters included: keep it on the \
         proxy's host alone; {} is not needed there",
        proxy.key.display(),
        ca.key.display()
    ));
    let flags = flags(&ca.certificate, args.name.as_str());
    let settings = settings(&proxy)?;
    let text = match context.format() {
        Format::Table { .. } => {
            format!("{}{}\n\n# proxy.toml\n{settings}", apiserver_comment(args.name.as_str()), flags.join("\n"))
        }
        Format::Json => output::json(&json!({"kube_apiserver": flags, "proxy_toml": settings}))?,
        Format::Yaml => output::yaml(&json!({"kube_apiserver": flags, "proxy_toml": settings}))?,
        Format::Name => [&ca.certificate, &ca.key, &proxy.certificate, &proxy.key]
            .map(|path| format!("{}\n", path.display()))
            .concat(),
        Format::Template(template) => template.fill(&json!({"kube_apiserver": flags, "proxy_toml": settings}))?,
    };
    output::write_out(text.as_bytes())?;
    Ok(Exit::Done)
}

/// A certificate and its key, in two files.
#[derive(Debug)]
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn of(folder: &Path, name: &str) -> Self {
        Self { certificate: folder.join(format!("{name}.crt")), key: folder.join(format!("{name}.key")) }
    }

    /// Both are there, or neither; one alone is somebody's mistake.
    fn exists(&self) -> Result<bool, Failure> {
        // Anything in the place counts, a dangling link too.
        let there = |path: &Path| fs::symlink_metadata(path).is_ok();
        match (there(&self.certificate), there(&self.key)) {
            (true, true) => Ok(true),
            (false, false) => Ok(false),
            (true, false) => Err(half(&self.certificate, &self.key)),
            (false, true) => Err(half(&self.key, &self.certificate)),
        }
    }

    /// The key first, so that there is no certificate without one.
    fn write(&self, key: &KeyPair, certificate: &[u8]) -> Result<(), Failure> {
        let certificate = pem::write(Label::Certificate, certificate);
        write_new_private(&self.key, private_pem(key).expose().as_bytes()).map_err(Failure::failed)?;
        write_new_private(&self.certificate, certificate.as_bytes()).map_err(Failure::failed)
    }

    fn read(&self) -> Result<(Certificate, KeyPair), Failure> {
        let wrong =
            |path: &Path, error: &dyn std::fmt::Display| Failure::failed(format!("{}: {error}", path.display()));
        let mode = fs::metadata(&self.key).map_err(|error| wrong(&self.key, &error))?.mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = self.key.display();
            return Err(Failure::failed(format!("{path} can be read by others (mode {mode:o}): chmod 600 {path}")));
        }
        let key = pem::read_private_key(&files::read(&self.key)?).map_err(|error| wrong(&self.key, &error))?;
        let key = KeyPair::try_from(&PrivatePkcs8KeyDer::from(key.expose().as_slice()));
        let certificate = pem::read(Label::Certificate, &files::read(&self.certificate)?);
        let certificate = certificate.map_err(|error| wrong(&self.certificate, &error))?;
        let certificate = Certificate::from_der(&certificate).map_err(|error| wrong(&self.certificate, &error))?;
        Ok((certificate, key.map_err(|error| wrong(&self.key, &error))?))
    }
}

fn half(there: &Path, missing: &Path) -> Failure {
    Failure::failed(format!(
        "{} is there and {} is not: bring that back, or move this away",
        there.display(),
        missing.display()
    ))
}

/// The folder by its whole path, which is what the settings name.
fn prepared(folder: &Path) -> Result<PathBuf, Failure> {
    let unusable = |error: &std::io::Error| Failure::failed(format!("cannot make {}: {error}", folder.display()));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| unusable(&error))?;
    let folder = folder.canonicalize().map_err(|error| unusable(&error))?;
    files::check_folder(&folder.join(CA))?;
    Ok(folder)
}

/// Makes what is not there yet: the CA, and the proxy's certificate always.
fn made(ca: &Pair, proxy: &Pair, name: &str, moment: &Moment<'_>) -> Result<(), Failure> {
    if name == CA {
        return Err(Failure::usage(format!("{CA} is the CA's own name; give the proxy another with --name")));
    }
    if proxy.exists()? {
        return Err(Failure::failed(format!(
            "{} exists already and is not overwritten; to renew it, move it and {} away and run this again: the CA \
             stays",
            proxy.certificate.display(),
            proxy.key.display()
        )));
    }
    if !ca.exists()? {
        let key = new_key()?;
        ca.write(&key, &front_proxy::authority(&key, moment).map_err(Failure::failed)?)?;
    }
    let (certificate, ca_key) = ca.read()?;
    let key = new_key()?;
    let client = front_proxy::client(name, &key, &certificate, &ca_key, moment);
    proxy.write(&key, &client.map_err(|error| Failure::failed(format!("{}: {error}", ca.certificate.display())))?)?;
    let folder = proxy.key.parent().unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| Failure::failed(format!("cannot write to {}: {error}", folder.display())))
}

fn new_key() -> Result<KeyPair, Failure> {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256);
    pair.map_err(|error| Failure::failed(format!("cannot make a key: {error}")))
}

/// What kube-apiserver is started with.
fn flags(ca: &Path, name: &str) -> Vec<String> {
    vec![
        format!("--requestheader-client-ca-file={}", ca.display()),
        format!("--requestheader-allowed-names={name}"),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
    ]
}

/// The lines of `proxy.toml`.
fn settings(proxy: &Pair) -> Result<String, Failure> {
    let line = |name: &str, path: &Path| {
        let value = path.to_str().map(|path| toml::Value::String(path.to_owned()));
        value
            .map(|value| format!("{name} = {value}\n"))
            .ok_or_else(|| Failure::failed(format!("wanted a folder whose name is UTF-8, found {}", path.display())))
    };
    let (certificate, key) = (line("certificate", &proxy.certificate)?, line("key", &proxy.key)?);
    Ok(format!("[upstream]\n{certificate}{key}\n[identity]\nmode = \"request-header\"\n"))
}

fn apiserver_comment(name: &str) -> String {
    format!(
        "# kube-apiserver, on every control-plane node, where {CA}.crt is to be copied.\n\
         # Where these flags are set already (kubeadm does), append the CA to the file of the first and {name} to the\n\
         # names of the second.\n"
    )
}

const CA: &str = "front-proxy-ca";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Site {
        _temporary: tempfile::TempDir,
        folder: PathBuf,
        world: World,
    }

    impl Site {
        fn new() -> Self {
            let temporary = tempfile::tempdir().unwrap();
            let folder = prepared(&temporary.path().join("new")).unwrap();
            Self { _temporary: temporary, folder, world: World::system() }
        }

        fn make(&self, name: &str) -> Result<(), Failure> {
            made(&self.pair(CA), &self.pair(name), name, &self.world.moment())
        }

        fn pair(&self, name: &str) -> Pair {
            Pair::of(&self.folder, name)
        }

        fn refused(&self, name: &str) -> String {
            self.make(name).unwrap_err().to_string()
        }
    }

    #[test]
    fn everything_is_its_owners_alone_and_nothing_is_overwritten() {
        let site = Site::new();
        site.make("proxy").unwrap();
        for pair in [site.pair(CA), site.pair("proxy")] {
            for path in [&pair.certificate, &pair.key] {
                assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
            }
            pair.read().unwrap();
        }
        let before = fs::read(site.pair("proxy").key).unwrap();
        assert!(site.refused("proxy").contains("exists already"));
        assert!(site.refused(CA).contains("--name"));
        assert_eq!(fs::read(site.pair("proxy").key).unwrap(), before);
    }

    #[test]
    fn a_ca_that_is_there_signs_the_next_certificate_too() {
        let site = Site::new();
        site.make("one").unwrap();
        let (ca, _) = site.pair(CA).read().unwrap();
        site.make("two").unwrap();
        for name in ["one", "two"] {
            let (certificate, _) = site.pair(name).read().unwrap();
            certificate.verify_signed_by(&ca).unwrap();
            assert_eq!(certificate.subject.common_names(), [name]);
        }
        // A CA without its key, or a key that others may read, signs nothing.
        fs::set_permissions(site.pair(CA).key, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(site.refused("three").contains("chmod 600"));
        fs::remove_file(site.pair(CA).key).unwrap();
        assert!(site.refused("three").contains("bring that back"));
        fs::remove_file(site.pair("two").certificate).unwrap();
        assert!(site.refused("two").contains("bring that back"));
    }

    #[test]
    fn the_settings_are_read_as_they_are_meant() {
        let pair = Pair::of(Path::new("/a \"b\"\\c"), "proxy");
        let settings: toml::Table = settings(&pair).unwrap().parse().unwrap();
        assert_eq!(settings["upstream"]["key"].as_str(), Some("/a \"b\"\\c/proxy.key"));
        assert_eq!(settings["identity"]["mode"].as_str(), Some("request-header"));
    }
}
