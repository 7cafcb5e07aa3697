//! The first start: the passphrase, the authorities, and the first admin's profile.
//!
//! Every step can be interrupted and done again: a key is on disk before it is certified, and the profile appears whole
//! or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rcgen::KeyPair;
use rustls_pki_types::PrivatePkcs8KeyDer;

use super::authority::Ground;
use super::{AppError, Doing};
use crate::access::{Actor, Part};
use crate::ca::authorities::Authorities;
use crate::ca::init::{create_authorities, first_admin, is_initialised, open_authorities};
use crate::ca::issue::IssuedCertificate;
use crate::ca::look::ListCertificates;
use crate::ca::vault::{private_pem, write_new_private};
use crate::config::profile::Profile;
use crate::config::url::ServiceUrl;
use crate::ident::{IdentityId, IssuerName};
use crate::ledger::rows::CertificateRole;
use crate::world::{Entropy, random};
use crate::x509::certificate::Certificate;
use crate::x509::pem;
use crate::x509::public_key::PublicKey;

/// Who the first admin is and where their profile goes.
#[derive(Clone, Debug)]
pub struct FirstAdmin {
    /// Their ID.
    pub id: IdentityId,
    /// A new file.
    pub profile: PathBuf,
    /// Where the API will be.
    pub api_url: ServiceUrl,
}

/// Makes the authorities, or opens those an interrupted first start has made. Blocking.
///
/// `signed_root` is the root's certificate where somebody else has signed it.
pub fn authorities(
    ground: &Ground,
    public_url: &str,
    signed_root: Option<Certificate>,
) -> Result<Authorities, AppError> {
    let vault = std::sync::Arc::clone(&ground.vault);
    if is_initialised(&ground.engine).doing("reading the store")? {
        let authorities = open_authorities(&ground.engine, vault).doing("opening the authorities")?;
        let fixed = &authorities.places.public_url;
        if fixed != public_url {
            return Err(AppError::new(
                "starting",
                format!("the public address is in every certificate and is fixed: it is {fixed}, not {public_url}"),
            ));
        }
        return Ok(authorities);
    }
    create_authorities(&ground.engine, vault, public_url, signed_root).doing("making the authorities")
}

/// Refuses where somebody was given the keys already: the way back in is another. Blocking.
pub fn must_have_no_admin(ground: &Ground) -> Result<(), AppError> {
    let everyone = ListCertificates { limit: usize::MAX, ..ListCertificates::default() };
    let issued = ground.engine.ask(&Actor::System(Part::Publisher), &everyone).doing("reading the record")?.outcome;
    match issued.iter().find(|recorded| recorded.row.role == CertificateRole::Management) {
        None => Ok(()),
        Some(recorded) => Err(AppError::new(
            "initialising",
            format!(
                "this store is initialised, and {} has a certificate to manage it: run `portcullis serve`, and \
                 `portcullis recover admin` if nobody can get in",
                recorded.row.subject
            ),
        )),
    }
}

/// Issues the first admin's certificate for a key made here, and writes their profile. Blocking.
pub fn admin(ground: &Ground, authorities: &Authorities, admin: &FirstAdmin) -> Result<(), AppError> {
    let pending = admin.profile.with_extension("key.pending");
    let key = pending_key(&pending)?;
    let public_key = PublicKey::of(&key).doing("reading the admin's key")?;
    let issued = first_admin(&ground.engine, authorities, &admin.id, public_key).doing("issuing to the first admin")?;
    write_profile(authorities, admin, &key, &issued)?;
    fs::remove_file(&pending).doing(format_args!("removing {}", pending.display()))
}

/// A new key, on disk before anybody certifies it; a key left by an interrupted start was never certified or is
/// refused as such, and a new one takes its place.
fn pending_key(path: &Path) -> Result<KeyPair, AppError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(AppError::new(format_args!("removing {}", path.display()), error));
        }
        _ => {}
    }
    let key = KeyPair::generate().doing("making the admin's key")?;
    write_new_private(path, private_pem(&key).expose().as_bytes()).doing("writing the admin's key")?;
    // Read back, so that what is certified is what is on disk.
    let text = fs::read(path).doing(format_args!("reading {}", path.display()))?;
    let pkcs8 = pem::read_private_key(&text).doing(format_args!("reading {}", path.display()))?;
    KeyPair::try_from(&PrivatePkcs8KeyDer::from(pkcs8.expose().as_slice())).doing("reading the admin's key")
}

/// Writes a profile under another name and renames it; never over an existing file.
pub(super) fn write_profile(
    authorities: &Authorities,
    admin: &FirstAdmin,
    key: &KeyPair,
    issued: &IssuedCertificate,
) -> Result<(), AppError> {
    let infra = authorities.keyring.issuer(&IssuerName::infra()).doing("writing the admin's profile")?;
    let chain = [issued.row.der.as_slice(), issued.issuer_der.as_slice()];
    let profile = Profile {
        server: admin.api_url.clone(),
        ca: pem::write_certificates([infra.certificate.der()]),
        certificate: pem::write_certificates(chain),
        key: private_pem(key),
    };
    let path = &admin.profile;
    let unfinished = path.with_extension("toml.new");
    let _ = fs::remove_file(&unfinished);
    write_new_private(&unfinished, profile.to_toml().expose().as_bytes()).doing("writing the admin's profile")?;
    fs::hard_link(&unfinished, path).doing(format_args!("writing {}", path.display()))?;
    fs::remove_file(&unfinished).doing("writing the admin's profile")?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).doing(format_args!("writing {}", path.display()))
}

/// Makes a passphrase of 256 random bits in a file that only its owner may read, if there is none.
pub fn passphrase(path: &Path, entropy: &dyn Entropy) -> Result<(), AppError> {
    if path.exists() {
        return Ok(());
    }
    let secret = random::<32>(entropy).doing("making a passphrase")?;
    let mut text = hex::encode(secret);
    text.push('\n');
    write_new_private(path, text.as_bytes()).doing("writing the passphrase")
}
