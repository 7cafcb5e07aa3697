//! Profiles: where the authority is and with what to speak to it, in one file that only its owner may read.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::url::ServiceUrl;
use crate::secret::Secret;

/// A profile, read and checked in form; the PEM inside is checked where it is used.
#[derive(Debug)]
pub struct Profile {
    /// The address of the management API.
    pub server: ServiceUrl,
    /// The infrastructure CA in PEM.
    pub ca: String,
    /// The certificate in PEM, with those that signed it behind it.
    pub certificate: String,
    /// The private key in PEM (PKCS #8).
    pub key: Secret<String>,
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum NoProfile {
    /// A name that could lead elsewhere.
    #[error(
        "wanted the name of a profile, of a-z A-Z 0-9 . _ - and not starting with a dot, or a path with a slash, found {0:?}"
    )]
    Name(String),
    /// No place for profiles.
    #[error("the folder of profiles is unknown as HOME is not set; name a file: --profile /path/to/profile.toml")]
    NoHome,
    /// Nothing there.
    #[error(
        "there is no profile {0}; quickstart and init write one (use it with --profile FILE), and an admin makes one with: portcullis issue ID --management --out FILE"
    )]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("the profile {0} cannot be read: {1}")]
    Unreadable(PathBuf, io::Error),
    /// Others may read the key in it.
    #[error("the profile {0} may be read by others (mode {1:04o}); if its key is still yours alone: chmod 600 {0}")]
    Exposed(PathBuf, u32),
    /// Not a profile.
    #[error("the profile {0} is not right: {1}")]
    Wrong(PathBuf, String),
}

impl Profile {
    /// Where the profile called `name` is; a text with a slash or ending in `.toml` is a path already.
    ///
    /// `config_home` and `home` are the environment's `XDG_CONFIG_HOME` and `HOME`.
    pub fn locate(name: &str, config_home: Option<&Path>, home: Option<&Path>) -> Result<PathBuf, NoProfile> {
        if name.contains('/') || name.ends_with(".toml") {
            return Ok(PathBuf::from(name));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(allowed) {
            return Err(NoProfile::Name(name.chars().take(70).collect()));
        }
        let config_home = config_home.filter(|path| path.is_absolute()).map(Path::to_path_buf);
        let folder = config_home.or_else(|| home.map(|home| home.join(".config"))).ok_or(NoProfile::NoHome)?;
        Ok(folder.join("portcullis/profiles").join(format!("{name}.toml")))
    }

    /// Reads a profile; refuses one that others may read.
    pub fn read(path: &Path) -> Result<Self, NoProfile> {
        let unreadable = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => NoProfile::Missing(path.into()),
            _ => NoProfile::Unreadable(path.into(), error),
        };
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(NoProfile::Wrong(path.into(), "wanted a file".to_owned()));
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(NoProfile::Exposed(path.into(), metadata.mode() & 0o7777));
        }
        let mut text = zeroize::Zeroizing::new(String::new());
        file.take(MOST_BYTES).read_to_string(&mut text).map_err(unreadable)?;
        Self::from_toml(&text).map_err(|why| NoProfile::Wrong(path.into(), why))
    }

    /// Reads a profile's text.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        // Only the message: the error's own form would show the line, and with it perhaps the key.
        let raw: Raw = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let key = Secret::new(raw.key);
        let server = ServiceUrl::https(&raw.server).map_err(|error| format!("server: {error}"))?;
        for (name, text) in [("ca", &raw.ca), ("certificate", &raw.certificate)] {
            if !text.contains("-----BEGIN CERTIFICATE-----") {
                return Err(format!("{name}: wanted certificates in PEM"));
            }
        }
        if !key.expose().contains("-----BEGIN PRIVATE KEY-----") {
            return Err("key: wanted a private key in PEM (PKCS #8)".to_owned());
        }
        Ok(Self { server, ca: raw.ca, certificate: raw.certificate, key })
    }

    /// The profile as [`Profile::from_toml`] reads it; holds the key, so it belongs into a file of mode 0600.
    pub fn to_toml(&self) -> Secret<String> {
        // PEM needs no escapes; what is none of it gets them, so that nothing can end the text early.
        let plain = |c: char| c == '\n' || (' '..='~').contains(&c) && c != '\'';
        let block = |text: &str| match text.chars().all(plain) {
            true => format!("'''\n{}\n'''", text.trim_end()),
            false => toml::Value::String(text.to_owned()).to_string(),
        };
        Secret::new(format!(
            "# A profile of portcullis: whoever can read this file can use it.\nserver = \"{}\"\nca = {}\ncertificate = {}\nkey = {}\n",
            self.server,
            block(&self.ca),
            block(&self.certificate),
            block(self.key.expose()),
        ))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    server: String,
    ca: String,
    certificate: String,
    key: String,
}

/// Twenty times a profile with three certificates.
const MOST_BYTES: u64 = 256 * 1024;

#[cfg(test)]
mod tests;
