//! Where the CA of a cluster comes from: made here, brought with its key, or signed elsewhere for a key of ours.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};

use super::authorities::{self, Authorities, Named};
use super::brought::{self, Brought};
use super::sign;
use super::template;
use super::vault::Vault;
use crate::command::{Code, Rejected};
use crate::engine::Engine;
use crate::ident::{ClusterName, IssuerName};
use crate::store::txn::Txn;
use crate::world::Moment;
use crate::x509::certificate::Certificate;
use crate::x509::csr;
use crate::x509::name::Subject;

/// Where the CA of a cluster comes from.
#[derive(Debug, Default)]
pub enum Source {
    /// The key is made here, and our root signs it.
    #[default]
    Made,
    /// A CA of one's own.
    Brought {
        /// Its certificate.
        certificate: Box<Certificate>,
        /// Its key; without one, the key is the one that a request was made for here.
        key: Option<KeyPair>,
        /// Whether an API server trusts it too, so that revocations are not enforced there.
        is_shared: bool,
    },
}

/// A CA whose key is on disk, to be put on the record.
#[derive(Debug)]
pub(super) struct Prepared {
    issuer: IssuerName,
    key: KeyPair,
    certificate: Option<Certificate>,
    is_shared: bool,
    is_new_file: bool,
}

impl Prepared {
    /// Has the key on disk before anything is on the record: a CA without a key could never be revoked by us.
    pub(super) fn new(
        engine: &Engine,
        authorities: &Authorities,
        issuer: IssuerName,
        source: Source,
    ) -> Result<Self, Rejected> {
        let vault = &authorities.vault;
        if authorities::is_present(engine, &issuer)? {
            // Asked for again, or to be refused: either way its key stays what it is.
            let key = vault.load(&issuer).map_err(|error| no_key(&error))?;
            return Ok(Self { issuer, key, certificate: None, is_shared: false, is_new_file: false });
        }
        let is_new_file = !vault.holds(&issuer);
        let is_shared = matches!(source, Source::Brought { is_shared: true, .. });
        let (key, certificate) = match source {
            Source::Made => (made(vault, &issuer)?, None),
            Source::Brought { certificate, key, is_shared } => {
                if brought::is_kubeadms(&certificate) && !is_shared {
                    return Err(Rejected::invalid(
                        "this looks like kubeadm's CA, which its API servers trust: whoever has one of its certificates \
                         gets in there directly, revoked or not; say --shared-ca if that is understood",
                    ));
                }
                let key = match key {
                    Some(key) => key,
                    None if is_new_file => return Err(no_request(&issuer)),
                    None => vault.load(&issuer).map_err(|error| no_key(&error))?,
                };
                let now = engine.world().clock.now();
                let (certificate, key) = Brought::check(*certificate, key, now)?.into_parts();
                (key, Some(certificate))
            }
        };
        if !is_new_file && vault.load(&issuer).map_err(|error| no_key(&error))?.serialized_der() != key.serialized_der()
        {
            // A key without a record is what a request that was given up leaves behind.
            vault.remove(&issuer).map_err(|error| no_key(&error))?;
        }
        if !vault.holds(&issuer) {
            vault.store(&issuer, &key, &*engine.world().entropy).map_err(|error| no_key(&error))?;
        }
        Ok(Self { issuer, key, certificate, is_shared, is_new_file })
    }

    /// Whether an API server trusts it too.
    pub(super) const fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Its name.
    pub(super) const fn issuer(&self) -> &IssuerName {
        &self.issuer
    }

    /// Puts it on the record: signed by our root, or as it was brought.
    pub(super) fn record(
        &self,
        txn: &mut Txn<'_>,
        moment: &Moment<'_>,
        authorities: &Authorities,
        cluster: &ClusterName,
    ) -> Result<(), Rejected> {
        let Some(certificate) = &self.certificate else {
            let named = Named {
                issuer: self.issuer.clone(),
                title: template::title(&self.issuer),
                cluster: Some(cluster.clone()),
                key: &self.key,
            };
            return authorities::issue(txn, moment, &authorities.keyring, &authorities.places, &named);
        };
        let root = authorities::present(txn, &IssuerName::root())?.certificate()?;
        if certificate.verify_signed_by(&root).is_ok() {
            let signed = sign::by_root(certificate)?;
            return authorities::record(txn, &self.issuer, Some(cluster), &signed);
        }
        authorities::record_brought(txn, &self.issuer, Some(cluster), certificate)
    }

    /// Lets it sign, after the commit that recorded it, or takes its key back after one that failed.
    pub(super) fn settle<T>(
        self,
        engine: &Engine,
        authorities: &Authorities,
        done: Result<T, Rejected>,
    ) -> Result<T, Rejected> {
        let Err(rejected) = done else {
            authorities::open(engine, &authorities.keyring, self.issuer, self.key)?;
            return done;
        };
        // After an unknown outcome the key must stay: the authority may be there.
        if self.is_new_file && rejected.code != Code::OutcomeUnknown {
            authorities.vault.remove(&self.issuer).map_err(|error| no_key(&error))?;
        }
        Err(rejected)
    }
}

/// A key of our own: the one that a request was made for, if there is one; never one that somebody had brought.
fn made(vault: &Vault, issuer: &IssuerName) -> Result<KeyPair, Rejected> {
    if vault.holds(issuer) {
        let key = vault.load(issuer).map_err(|error| no_key(&error))?;
        if key.is_compatible(&PKCS_ECDSA_P256_SHA256) {
            return Ok(key);
        }
    }
    KeyPair::generate().map_err(|error| no_key(&error))
}

/// A request, in DER, for a CA whose key is made here and stays here; the same key until one is signed.
pub(super) fn request(engine: &Engine, authorities: &Authorities, issuer: &IssuerName) -> Result<Vec<u8>, Rejected> {
    let vault = &authorities.vault;
    let key = if vault.holds(issuer) {
        vault.load(issuer).map_err(|error| no_key(&error))?
    } else {
        let key = KeyPair::generate().map_err(|error| no_key(&error))?;
        vault.store(issuer, &key, &*engine.world().entropy).map_err(|error| no_key(&error))?;
        key
    };
    csr::write(&Subject::common_name(template::title(issuer)), &key).map_err(|error| no_key(&error))
}

fn no_key(error: &dyn std::fmt::Display) -> Rejected {
    Rejected::new(Code::Unavailable, format!("no key could be made or read: {error}"))
}

fn no_request(issuer: &IssuerName) -> Rejected {
    let cluster = issuer.as_str().rsplit_once('-').map_or(issuer.as_str(), |(cluster, _)| cluster);
    Rejected::invalid(format!(
        "wanted the CA's key as well, or a certificate for a request made here: `portcullis cluster request {cluster}`"
    ))
}
