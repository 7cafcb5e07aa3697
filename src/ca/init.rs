//! The first start: the root, the infrastructure CA, and the first admin.

use std::sync::Arc;

use rcgen::KeyPair;

use super::authorities::{self, Authorities, certificate_of};
use super::brought::{self, Brought};
use super::issue::{Issue, IssuedCertificate, Purpose};
use super::keys::{Issuer, Keyring};
use super::rows::{AuthorityRow, INSTALLATION, InstallationRow};
use super::sign;
use super::template::{ISSUING_LIFETIME, Places, ROOT_LIFETIME, Wanted};
use super::vault::{Vault, VaultError};
use crate::access::{Actor, Part, Permission, Permit, Role, Scope};
use crate::command::{Code, Command, Rejected};
use crate::directory::identities::{AddIdentity, Made};
use crate::engine::Engine;
use crate::ident::{IdentityId, IssuerName};
use crate::journal::IdentityKind;
use crate::ledger::rows::CertificateRole;
use crate::store::txn::Txn;
use crate::world::{Entropy, Moment};
use crate::x509::certificate::Certificate;
use crate::x509::csr;
use crate::x509::name::Subject;
use crate::x509::public_key::PublicKey;

/// A request, in DER, to have the root signed by somebody else; its key is made here and stays here until it is.
pub fn request_root(vault: &Vault, entropy: &dyn Entropy) -> Result<Vec<u8>, InitError> {
    let name = IssuerName::root();
    let key = if vault.holds(&name) {
        vault.load(&name)?
    } else {
        let key = KeyPair::generate().map_err(|error| InitError::Key(error.to_string()))?;
        vault.store(&name, &key, entropy)?;
        key
    };
    csr::write(&Subject::common_name(ROOT), &key).map_err(|error| InitError::Key(error.to_string()))
}

/// Makes the root, unless somebody else has signed it, and the infrastructure CA; their keys are on disk before they are
/// on the record.
pub fn create_authorities(
    engine: &Engine,
    vault: Arc<Vault>,
    public_url: &str,
    signed_root: Option<Certificate>,
) -> Result<Authorities, InitError> {
    let places = Places { public_url: public_url.to_owned() };
    let (root_name, infra_name) = (IssuerName::root(), IssuerName::infra());
    let key = |name: &IssuerName| -> Result<KeyPair, InitError> {
        // A key without a record is what an interrupted start leaves behind.
        if vault.holds(name) {
            vault.remove(name)?;
        }
        let key = KeyPair::generate().map_err(|error| InitError::Key(error.to_string()))?;
        vault.store(name, &key, &*engine.world().entropy)?;
        Ok(key)
    };
    let (root, signed_root) = match signed_root {
        None => (key(&root_name)?, None),
        Some(certificate) if vault.holds(&root_name) => {
            let fit = Brought::check(certificate, vault.load(&root_name)?, engine.world().clock.now())?;
            let (certificate, key) = fit.into_parts();
            brought::must_be_a_root(&certificate)?;
            (key, Some(certificate))
        }
        Some(_) => return Err(InitError::NotRequested),
    };
    let infra = key(&infra_name)?;
    engine.run(
        &Actor::System(Part::Initialisation),
        &CreateAuthorities { root: &root, signed_root: signed_root.as_ref(), infra: &infra, places: &places },
    )?;
    let keyring = Keyring::default();
    for (name, key) in [(root_name, root), (infra_name, infra)] {
        let certificate = certificate_of(engine, &name)?;
        keyring.insert(Issuer { name, certificate, key });
    }
    Ok(Authorities { keyring: Arc::new(keyring), vault, places })
}

/// Reads the keys of every authority on the record, but for one that was taken away; fails when one is missing or the
/// passphrase is wrong.
pub fn open_authorities(engine: &Engine, vault: Arc<Vault>) -> Result<Authorities, InitError> {
    let txn = Txn::begin(&**engine.store());
    let installation = txn.peek::<InstallationRow>(&INSTALLATION.to_owned()).map_err(Rejected::from)?;
    let public_url = installation.ok_or(InitError::NotInitialised)?.value.public_url;
    let keyring = Keyring::default();
    for row in txn.scan_all::<AuthorityRow>(&[]).map_err(Rejected::from)? {
        let certificate = Certificate::from_der(&row.value.der).map_err(VaultError::from)?;
        if row.value.is_detached {
            keyring.insert_absent(row.value.name, certificate);
            continue;
        }
        let key = vault.load(&row.value.name)?;
        let stored = PublicKey::of(&key).map_err(VaultError::from)?;
        if stored.spki() != certificate.public_key.spki() {
            return Err(InitError::OtherKey(row.value.name));
        }
        keyring.insert(Issuer { name: row.value.name, certificate, key });
    }
    Ok(Authorities { keyring: Arc::new(keyring), vault, places: Places { public_url } })
}

/// Whether the store has its authorities.
pub fn is_initialised(engine: &Engine) -> Result<bool, Rejected> {
    let txn = Txn::begin(&**engine.store());
    Ok(txn.peek::<InstallationRow>(&INSTALLATION.to_owned())?.is_some())
}

/// Adds the first admin and issues their management certificate for a key that they made.
pub fn first_admin(
    engine: &Engine,
    authorities: &Authorities,
    id: &IdentityId,
    public_key: PublicKey,
) -> Result<IssuedCertificate, Rejected> {
    let actor = Actor::System(Part::Initialisation);
    let add = AddIdentity {
        id: id.clone(),
        kind: IdentityKind::User,
        groups: Vec::new(),
        agency: None,
        role: Some(Role::Admin),
        reuse: false,
    };
    match engine.run(&actor, &add) {
        Ok(_) => {}
        // A start that was interrupted after this step goes on from here.
        Err(rejected) if rejected.code == Code::AlreadyExists => {}
        Err(rejected) => return Err(rejected),
    }
    let issue = Issue {
        id: id.clone(),
        purpose: Purpose::Management,
        public_key,
        lifetime: None,
        keyring: Arc::clone(&authorities.keyring),
        places: authorities.places.clone(),
    };
    Ok(engine.run(&actor, &issue)?.outcome)
}

/// The authorities could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is nothing to open.
    #[error("this store has no authorities yet: run `portcullis init` first")]
    NotInitialised,
    /// The key file belongs to another certificate.
    #[error("the key file of the authority {0} does not fit its certificate: put the right file back")]
    OtherKey(IssuerName),
    /// There is no key that a signed root could be for.
    #[error("there is no request for a root here: `portcullis init --root-request FILE` makes one")]
    NotRequested,
    /// No key could be made.
    #[error("no key could be made: {0}")]
    Key(String),
    /// A key file could not be written or read.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The engine refused.
    #[error(transparent)]
    Rejected(#[from] Rejected),
}

/// Makes the root and the infrastructure CA, each of which signs itself, in one commit.
///
/// Below the root the infrastructure CA could not be trusted alone by what insists on a self-signed anchor (OpenSSL, and
/// with it Python), and trusting the root would let an issuing CA's key pose as the proxy.
#[derive(Debug)]
struct CreateAuthorities<'a> {
    root: &'a KeyPair,
    signed_root: Option<&'a Certificate>,
    infra: &'a KeyPair,
    places: &'a Places,
}

impl Command for CreateAuthorities<'_> {
    type Outcome = Made;

    fn permission(&self) -> Permission {
        Permission::AuthorityUpkeep
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Made, Rejected> {
        let key = INSTALLATION.to_owned();
        if txn.get::<InstallationRow>(&key)?.is_some() {
            return Err(Rejected::new(Code::AlreadyExists, "this store is initialised already"));
        }
        txn.put(&key, &InstallationRow { public_url: self.places.public_url.clone() })?;
        let public =
            |key: &KeyPair| PublicKey::of(key).map_err(|error| Rejected::new(Code::Internal, error.to_string()));
        let wanted = |title: &str, public_key, lifetime| Wanted {
            role: CertificateRole::Authority,
            subject: Subject::common_name(title),
            public_key,
            names: Vec::new(),
            lifetime,
        };
        let root = wanted(ROOT, public(self.root)?, ROOT_LIFETIME);
        let infra = wanted("Portcullis infrastructure CA", public(self.infra)?, ISSUING_LIFETIME);
        let ours = [(IssuerName::root(), root, None, self.root), (IssuerName::infra(), infra, Some(0), self.infra)];
        for (issuer, wanted, path_len, key) in ours {
            if let Some(signed) = self.signed_root.filter(|_| issuer == IssuerName::root()) {
                authorities::record_brought(txn, &issuer, None, signed)?;
                continue;
            }
            let signed = sign::sign_self(&issuer, &wanted, path_len, key, moment)?;
            authorities::record(txn, &issuer, None, &signed)?;
        }
        Ok(Made)
    }
}

/// What the root calls itself.
const ROOT: &str = "Portcullis root CA";
