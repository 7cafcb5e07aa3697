//! The key files of the authorities: PKCS #8 under a passphrase, readable by their owner only.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rcgen::KeyPair;
use rustls_pki_types::PrivatePkcs8KeyDer;

use crate::ident::IssuerName;
use crate::secret::Secret;
use crate::world::Entropy;
use crate::x509::key::{self, DEFAULT_ITERATIONS, KeyError};
use crate::x509::{Malformed, pem};

/// A folder of key files and the passphrase they are under.
#[derive(Debug)]
pub struct Vault {
    folder: PathBuf,
    passphrase: Secret<String>,
    iterations: NonZeroU32,
    changing: Mutex<()>,
}

/// A key file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The file system refused.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// What it said.
        error: io::Error,
    },
    /// Others may read it.
    #[error("{path} can be read by others (mode {mode:o}): chmod 600 {path}")]
    Exposed {
        /// The file.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// It could not be decrypted.
    #[error("{path}: {error}")]
    Key {
        /// The file.
        path: String,
        /// Why.
        error: KeyError,
    },
    /// What was decrypted is no key that we can sign with.
    #[error("{path}: the key cannot be used: {error}")]
    Unusable {
        /// The file.
        path: String,
        /// Why.
        error: rcgen::Error,
    },
    /// The certificate beside the key cannot be read.
    #[error("a certificate of an authority cannot be read: {0}")]
    Certificate(#[from] Malformed),
}

impl Vault {
    /// The folder `folder`, made with mode 0700 if it does not exist.
    pub fn open(folder: &Path, passphrase: Secret<String>) -> Result<Self, VaultError> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io_at(folder))?;
        Ok(Self { folder: folder.to_owned(), passphrase, iterations: DEFAULT_ITERATIONS, changing: Mutex::default() })
    }

    /// The same with so few rounds that a test need not wait.
    #[cfg(test)]
    pub(crate) fn with_few_rounds(mut self) -> Self {
        self.iterations = NonZeroU32::MIN;
        self
    }

    /// Held by whoever makes or replaces a key until its authority is on the record, or is not to be: two at once would
    /// leave the one's key with the other's certificate.
    pub fn exclusively(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an authority's key; it is on disk, synced, when this returns. Never overwrites one.
    pub fn store(&self, name: &IssuerName, pair: &KeyPair, entropy: &dyn Entropy) -> Result<(), VaultError> {
        let path = self.path(name);
        let pkcs8 = Secret::new(pair.serialize_der());
        let text = key::encrypt(&pkcs8, &self.passphrase, self.iterations, entropy)
            .map_err(|error| VaultError::Key { path: path.display().to_string(), error })?;
        write_new_private(&path, text.as_bytes())?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(io_at(&self.folder))
    }

    /// Reads an authority's key.
    pub fn load(&self, name: &IssuerName) -> Result<KeyPair, VaultError> {
        let path = self.path(name);
        let text = read_private(&path)?;
        let shown = || path.display().to_string();
        let pkcs8 = key::decrypt(text.expose().as_bytes(), &self.passphrase)
            .map_err(|error| VaultError::Key { path: shown(), error })?;
        let pkcs8 = PrivatePkcs8KeyDer::from(pkcs8.expose().as_slice());
        KeyPair::try_from(&pkcs8).map_err(|error| VaultError::Unusable { path: shown(), error })
    }

    /// Removes the key of an authority that never came to be.
    pub fn remove(&self, name: &IssuerName) -> Result<(), VaultError> {
        let path = self.path(name);
        fs::remove_file(&path).map_err(io_at(&path))
    }

    /// Whether there is a key of this name.
    pub fn holds(&self, name: &IssuerName) -> bool {
        self.path(name).exists()
    }

    fn path(&self, name: &IssuerName) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }
}

/// Writes a file that only its owner may read: created with its mode, never over another or through a link, synced.
pub fn write_new_private(path: &Path, bytes: &[u8]) -> Result<(), VaultError> {
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(0o600).custom_flags(no_follow).open(path).map_err(io_at(path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_at(path))
}

fn read_private(path: &Path) -> Result<Secret<String>, VaultError> {
    let mode = fs::metadata(path).map_err(io_at(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(VaultError::Exposed { path: path.display().to_string(), mode });
    }
    fs::read_to_string(path).map(Secret::new).map_err(io_at(path))
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> VaultError + '_ {
    move |error| VaultError::Io { path: path.display().to_string(), error }
}

/// A private key in PEM, unencrypted, for whoever it belongs to.
pub fn private_pem(pair: &KeyPair) -> Secret<String> {
    pem::write_private_key(&Secret::new(pair.serialize_der()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::SystemEntropy;

    fn vault(folder: &Path, passphrase: &str) -> Vault {
        Vault::open(folder, Secret::new(passphrase.to_owned())).unwrap().with_few_rounds()
    }

    #[test]
    fn a_key_is_read_back_with_its_passphrase_only() {
        let folder = tempfile::tempdir().unwrap();
        let pair = KeyPair::generate().unwrap();
        let root = IssuerName::root();
        vault(folder.path(), "correct horse").store(&root, &pair, &SystemEntropy).unwrap();
        let read = vault(folder.path(), "correct horse").load(&root).unwrap();
        assert_eq!(read.public_key_raw(), pair.public_key_raw());
        let wrong = vault(folder.path(), "battery staple").load(&root);
        assert!(wrong.unwrap_err().to_string().contains("passphrase is wrong"));
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let root = IssuerName::root();
        let vault = vault(folder.path(), "correct horse");
        vault.store(&root, &KeyPair::generate().unwrap(), &SystemEntropy).unwrap();
        let path = folder.path().join("root.key");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(vault.load(&root), Err(VaultError::Exposed { .. })));
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let vault = vault(folder.path(), "correct horse");
        let pair = KeyPair::generate().unwrap();
        vault.store(&IssuerName::root(), &pair, &SystemEntropy).unwrap();
        assert!(vault.store(&IssuerName::root(), &pair, &SystemEntropy).is_err());
    }
}
