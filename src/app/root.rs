//! The root's key away from the authority: taking it off, bringing it back, and signing with it where it is.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::authority::{Authority, Ground, Places};
use super::{AppError, Doing};
use crate::access::{Actor, Part};
use crate::ca::authorities::certificate_of;
use crate::ca::detach::Move;
use crate::ca::keys::Issuer;
use crate::ca::sign::{self, Holding};
use crate::ca::template::{self, ISSUING_LIFETIME, Wanted};
use crate::ca::vault::{Vault, write_new_private};
use crate::config::passphrase::Passphrase;
use crate::ident::IssuerName;
use crate::ledger::rows::CertificateRole;
use crate::world::{Timestamp, World};
use crate::x509::certificate::Certificate;
use crate::x509::crl;
use crate::x509::csr::Request;
use crate::x509::name::Subject;
use crate::x509::pem::{self, Label};
use crate::x509::public_key::PublicKey;

/// Takes the root's key off this host, into `out`; gives until when the root's list, signed once more before, is good.
/// The authority must not run. Blocking.
pub fn detach(places: &Places, out: &Path) -> Result<Timestamp, AppError> {
    let ground = Ground::open(places, &World::system())?;
    ground.wait_for_index()?;
    let root = IssuerName::root();
    let loaded = Authority::load(&ground, places)?;
    let was_detached = loaded.authorities.keyring.issuer(&root).is_err();
    if was_detached && !ground.vault.holds(&root) {
        return Err(AppError::new("detaching the root's key", "it was taken off this host before"));
    }
    let list = loaded.root_list().ok_or_else(|| {
        AppError::new("detaching the root's key", "its list was not signed, or not written to its folder")
    })?;
    let certificate = certificate_of(&ground.engine, &root).doing("reading the root's certificate")?;
    let place = Place { public_url: loaded.authorities.places.public_url.clone() };
    drop(loaded);
    carry(&places.ca, out, &certificate, &place)?;
    // What was carried must open, with this passphrase, before the one here goes.
    let passphrase = places.passphrase.read().doing("reading the passphrase of the CA keys")?;
    must_fit(&Vault::open(out, passphrase).doing("opening what was carried away")?, &certificate)?;
    if !was_detached {
        ground.engine.run(&Actor::System(Part::Upkeep), &Move::Detach).doing("recording that it is away")?;
    }
    ground.vault.remove(&root).doing("removing the root's key from this host")?;
    sync(&places.ca)?;
    Ok(list)
}

/// Brings the root's key back from `from`, where it stays too. The authority must not run. Blocking.
pub fn attach(places: &Places, from: &Path) -> Result<(), AppError> {
    let ground = Ground::open(places, &World::system())?;
    ground.wait_for_index()?;
    let root = IssuerName::root();
    let certificate = certificate_of(&ground.engine, &root).doing("reading the root's certificate")?;
    let passphrase = places.passphrase.read().doing("reading the passphrase of the CA keys")?;
    must_fit(&Vault::open(from, passphrase).doing("opening the root's key")?, &certificate)?;
    if !ground.vault.holds(&root) {
        copy(from, &places.ca, KEY)?;
        sync(&places.ca)?;
    }
    ground.engine.run(&Actor::System(Part::Upkeep), &Move::Attach).doing("recording that it is back")?;
    Ok(())
}

/// What is to be signed with the root's key.
#[derive(Debug)]
pub enum ToSign {
    /// An issuing CA for which a request was made.
    Authority(IssuerName, Box<Request>),
    /// The root's list, as the authority prepared it.
    List(Vec<u8>),
}

/// Signs with the root's key where it is, without an authority; gives PEM.
pub fn sign(from: &Path, passphrase: &Passphrase, what: &ToSign) -> Result<String, AppError> {
    let world = World::system();
    let passphrase = passphrase.read().doing("reading the passphrase")?;
    let read = |name: &str| {
        let path = from.join(name);
        fs::read(&path).doing(format_args!("reading {}", path.display()))
    };
    let der = pem::read(Label::Certificate, &read(CERTIFICATE)?).doing("reading the root's certificate")?;
    let certificate = Certificate::from_der(&der).doing("reading the root's certificate")?;
    let place: Place = serde_json::from_slice(&read(PLACE)?).doing(format_args!("reading {PLACE}"))?;
    let name = IssuerName::root();
    let vault = Vault::open(from, passphrase).doing("opening the root's key")?;
    must_fit(&vault, &certificate)?;
    let key = vault.load(&name).doing("opening the root's key")?;
    match what {
        ToSign::Authority(issuer, request) => {
            let wanted = Wanted {
                role: CertificateRole::Authority,
                subject: Subject::common_name(template::title(issuer)),
                public_key: request.public_key.clone(),
                names: Vec::new(),
                lifetime: ISSUING_LIFETIME,
            };
            let places = template::Places { public_url: place.public_url };
            let root = Issuer { name, certificate, key };
            let signed = sign::sign(&wanted, &root, &places, Holding::default(), &world.moment());
            Ok(pem::write(Label::Certificate, &signed.doing("signing")?.row.der))
        }
        ToSign::List(tbs) => {
            let list = crl::sign_unsigned(tbs, &key).doing("signing")?;
            if list.issuer != certificate.subject_der {
                return Err(AppError::new("signing", "this list is another CA's, not the root's"));
            }
            Ok(pem::write(Label::Crl, list.der()))
        }
    }
}

/// What a certificate needs to know of the authority, beside the key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    public_url: String,
}

/// Everything that signing elsewhere takes, in a folder of its own.
fn carry(ca: &Path, out: &Path, certificate: &Certificate, place: &Place) -> Result<(), AppError> {
    let doing = || format!("making {}", out.display());
    DirBuilder::new().recursive(true).mode(0o700).create(out).doing(doing())?;
    copy(ca, out, KEY)?;
    let place = serde_json::to_vec_pretty(place).doing("writing what is carried away")?;
    let certificate = pem::write(Label::Certificate, certificate.der());
    for (name, content) in [(CERTIFICATE, certificate.as_bytes()), (PLACE, &place)] {
        write_same(&out.join(name), content)?;
    }
    sync(out)
}

fn copy(from: &Path, to: &Path, name: &str) -> Result<(), AppError> {
    let path = from.join(name);
    let bytes = fs::read(&path).doing(format_args!("reading {}", path.display()))?;
    write_same(&to.join(name), &bytes)
}

/// Writes a new file; one that says the same is left by an interruption, any other is never overwritten.
fn write_same(path: &Path, content: &[u8]) -> Result<(), AppError> {
    match fs::read(path) {
        Ok(there) if there == content => Ok(()),
        Ok(_) => Err(AppError::new(format_args!("writing {}", path.display()), "there is something else in its place")),
        Err(_) => write_new_private(path, content).doing(format_args!("writing {}", path.display())),
    }
}

fn must_fit(vault: &Vault, certificate: &Certificate) -> Result<(), AppError> {
    let key = vault.load(&IssuerName::root()).doing("opening the root's key")?;
    if PublicKey::of(&key).doing("opening the root's key")? == certificate.public_key {
        return Ok(());
    }
    Err(AppError::new("opening the root's key", "it is not the key of the root's certificate"))
}

fn sync(folder: &Path) -> Result<(), AppError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.doing(format_args!("syncing {}", folder.display()))
}

const KEY: &str = "root.key";
const CERTIFICATE: &str = "root.crt";
const PLACE: &str = "root.json";
