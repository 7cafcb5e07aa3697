//! Certificate revocation lists: which entries, which number, when.
//!
//! A list's number is the era and revision of the fact that announced it, so no two lists ever share one, also across a
//! restore (RFC 5280 §5.2.3). A list reflects everything before its number. Lists are signed anew every hour, and at
//! once when something is cut off; revocations that come while one is being made are in the next.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;

mod away;
mod encoded;

use encoded::{Chunks, Encoded};

use super::roll::Roll;
use crate::access::{Actor, Part, Permission, Permit, Scope};
use crate::ca::keys::{Issuer, Keyring};
use crate::command::{Code, Command, Rejected};
use crate::directory::identities::Made;
use crate::engine::Engine;
use crate::ident::IssuerName;
use crate::journal::Event;
use crate::standing::Revision;
use crate::status::Statuses;
use crate::store::record::{Record, Table};
use crate::store::txn::Txn;
use crate::world::{Moment, Timestamp};
use crate::x509::certificate::Certificate;
use crate::x509::crl::{Crl, ToBeSigned};

/// How often a list is signed anew.
pub const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// How long a list may be used (RFC 5280 §5.1.2.5).
pub const VALIDITY: Duration = Duration::from_secs(72 * 60 * 60);

/// The root's list changes only when an authority ends; its key may be away for long.
pub const ROOT_VALIDITY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A revoked certificate stays listed this long after it expired: at least one list beyond (RFC 5280 §3.3).
const KEPT: Duration = VALIDITY.saturating_add(INTERVAL);

/// How long a list waits for the statuses to come to its number.
const PATIENCE: Duration = Duration::from_secs(10);

/// The newest list of every issuer.
#[derive(Debug)]
pub struct Lists {
    engine: Arc<Engine>,
    keyring: Arc<Keyring>,
    statuses: Arc<Statuses>,
    roll: Arc<Roll>,
    folder: PathBuf,
    published: RwLock<HashMap<IssuerName, Published>>,
    encoded: Mutex<HashMap<IssuerName, Arc<Mutex<Encoded>>>>,
    /// The memory of lists that were replaced while nobody read them, for the next ones.
    spare: Mutex<HashMap<IssuerName, Vec<u8>>>,
    /// Held from the look at what is published to the end of the writing, which readers need not wait for.
    publishing: Mutex<()>,
    /// Whose newest list is not in the folder.
    unwritten: Mutex<BTreeSet<IssuerName>>,
}

/// A list as it is served.
#[derive(Clone, Debug)]
pub struct Published {
    /// The list in DER.
    pub der: Bytes,
    /// Its number.
    pub number: Revision,
    /// Its `thisUpdate`.
    pub this_update: Timestamp,
    /// Its `nextUpdate`.
    pub next_update: Timestamp,
}

impl Lists {
    /// No list yet; lists are also written to `folder`, which is made if it does not exist.
    pub fn new(
        engine: Arc<Engine>,
        keyring: Arc<Keyring>,
        statuses: Arc<Statuses>,
        roll: Arc<Roll>,
        folder: &Path,
    ) -> Result<Self, std::io::Error> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            engine,
            keyring,
            statuses,
            roll,
            folder: folder.to_owned(),
            published: RwLock::default(),
            encoded: Mutex::default(),
            spare: Mutex::default(),
            publishing: Mutex::default(),
            unwritten: Mutex::default(),
        })
    }

    /// The newest list of an issuer.
    pub fn published(&self, issuer: &IssuerName) -> Option<Published> {
        self.published.read().unwrap_or_else(PoisonError::into_inner).get(issuer).cloned()
    }

    /// The newest list of every issuer that has one, by name.
    pub fn all(&self) -> Vec<(IssuerName, Published)> {
        let published = self.published.read().unwrap_or_else(PoisonError::into_inner);
        published.iter().map(|(name, list)| (name.clone(), list.clone())).collect()
    }

    /// When the oldest list was made; not the root's, which lasts a year.
    pub fn oldest(&self) -> Option<Timestamp> {
        let published = self.published.read().unwrap_or_else(PoisonError::into_inner);
        published.iter().filter(|(name, _)| **name != IssuerName::root()).map(|(_, list)| list.this_update).min()
    }

    /// Signs and publishes the list of every issuer; blocking.
    pub fn publish_all(&self) -> Result<(), Rejected> {
        self.signing().iter().try_for_each(|issuer| self.publish(issuer).map(drop))
    }

    /// The same without the root's, which lists authorities only and is good for a year.
    pub fn publish_issuing(&self) -> Result<(), Rejected> {
        let all = self.signing();
        let mut issuing = all.iter().filter(|issuer| issuer.name != IssuerName::root());
        issuing.try_for_each(|issuer| self.publish(issuer).map(drop))
    }

    /// Signs and publishes the root's list, if its key is at hand; tried again like every other. Blocking.
    pub fn publish_root(&self) {
        let Ok(root) = self.keyring.issuer(&IssuerName::root()) else { return };
        if let Err(error) = self.publish(&root) {
            tracing::error!(%error, "the root's CRL was not published");
        }
    }

    /// Signs and publishes one issuer's list; blocking.
    pub fn publish(&self, issuer: &Issuer) -> Result<Published, Rejected> {
        let (number, list, entries) = self.compose(&issuer.name, &issuer.certificate)?;
        let this_update = list.this_update;
        let mut der = self.spare().remove(&issuer.name).unwrap_or_default();
        list.sign_into(&entries, &issuer.key, &mut der).map_err(|error| {
            Rejected::new(Code::Internal, format!("the list of {} was not signed: {error}", issuer.name))
        })?;
        let published = Published { der: der.into(), number, this_update, next_update: list.next_update };
        // Two runs may overlap; a list never replaces a newer one, neither in memory nor in the folder.
        let _publishing = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(present) = self.published(&issuer.name).filter(|present| present.number > number) {
            return Ok(present);
        }
        self.must_grow(&issuer.name, number)?;
        self.serve(&issuer.name, &published);
        self.put_into_folder(&issuer.name, &published);
        Ok(published)
    }

    /// From now on this is the list of an issuer.
    fn serve(&self, name: &IssuerName, list: &Published) {
        let mut published = self.published.write().unwrap_or_else(PoisonError::into_inner);
        let before = published.insert(name.clone(), list.clone()).map(|before| before.der);
        drop(published);
        if let Some(before) = before.filter(Bytes::is_unique) {
            self.spare().insert(name.clone(), before.into());
        }
    }

    fn spare(&self) -> MutexGuard<'_, HashMap<IssuerName, Vec<u8>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces a list, and says what is to be in it.
    fn compose(
        &self,
        name: &IssuerName,
        certificate: &Certificate,
    ) -> Result<(Revision, ToBeSigned, Chunks), Rejected> {
        let announce = Announce { issuer: name.clone() };
        let number = self.engine.run(&Actor::System(Part::Publisher), &announce)?.revision;
        // A list reflects everything before its number.
        self.statuses
            .wait_for(number, PATIENCE)
            .map_err(|stale| Rejected::new(Code::Unavailable, stale.to_string()))?;
        let this_update = self.engine.world().clock.now().whole_seconds();
        let next_update = this_update.after(if *name == IssuerName::root() { ROOT_VALIDITY } else { VALIDITY });
        let list = ToBeSigned {
            issuer: certificate.subject_der.clone(),
            authority_key_id: certificate.extensions.subject_key_id.clone().unwrap_or_default(),
            number: number.octets().to_vec(),
            this_update,
            next_update: next_update.min(certificate.not_after),
        };
        Ok((number, list, self.entries(name, this_update)?))
    }

    /// Every issuer that signs lists.
    fn signing(&self) -> Vec<Arc<Issuer>> {
        let mut all = self.keyring.all();
        all.retain(|issuer| issuer.signs_lists());
        all
    }

    /// Whether every issuer has a list.
    pub fn is_complete(&self) -> bool {
        self.signing().iter().all(|issuer| self.published(&issuer.name).is_some())
    }

    /// Whether the folder lacks a list that is served.
    pub fn has_unwritten(&self) -> bool {
        !self.unwritten().is_empty()
    }

    /// Tries again to write the lists that the folder lacks; no list is signed anew for that. Blocking.
    pub fn write_again(&self) {
        let _publishing = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<IssuerName> = self.unwritten().iter().cloned().collect();
        for name in names {
            if let Some(published) = self.published(&name) {
                self.put_into_folder(&name, &published);
            }
        }
    }

    /// A list that cannot be written is served all the same.
    fn put_into_folder(&self, name: &IssuerName, published: &Published) {
        match self.write(name, &published.der) {
            Ok(()) => drop(self.unwritten().remove(name)),
            Err(error) => {
                if self.unwritten().insert(name.clone()) {
                    tracing::error!(issuer = %name, %error, "a CRL was not written to its folder; it is tried again");
                }
            }
        }
    }

    fn unwritten(&self) -> MutexGuard<'_, BTreeSet<IssuerName>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The dead certificates of an issuer as encoded entries, by serial.
    fn entries(&self, issuer: &IssuerName, now: Timestamp) -> Result<Chunks, Rejected> {
        let mut all = self.encoded.lock().unwrap_or_else(PoisonError::into_inner);
        let encoded = Arc::clone(all.entry(issuer.clone()).or_default());
        drop(all);
        let mut encoded = encoded.lock().unwrap_or_else(PoisonError::into_inner);
        let chunks = encoded.chunks(issuer, &self.roll, &self.statuses, now);
        chunks.map_err(|stale| Rejected::new(Code::Unavailable, stale.to_string()))
    }

    /// The first list of this process takes the place of an earlier one's, which must not have a higher number: relying
    /// parties would go on with that.
    fn must_grow(&self, issuer: &IssuerName, number: Revision) -> Result<(), Rejected> {
        let path = self.folder.join(format!("{issuer}.crl"));
        if self.published(issuer).is_some() || !path.exists() {
            return Ok(());
        }
        let fault = |error: &dyn std::fmt::Display| {
            Rejected::new(Code::Unavailable, format!("{} was not replaced: {error}", path.display()))
        };
        let der = fs::read(&path).map_err(|error| fault(&error))?;
        let present = Crl::from_der(&der).ok().and_then(|list| Revision::from_crl_number(&list.number?));
        match present {
            Some(present) if present >= number => {
                Err(fault(&format_args!("its number is {present}, and ours {number}")))
            }
            _ => Ok(()),
        }
    }

    /// Written under another name, synced, renamed: whoever reads the folder never sees half a list.
    fn write(&self, issuer: &IssuerName, der: &[u8]) -> Result<(), std::io::Error> {
        let temporary = self.folder.join(format!(".{issuer}.crl.new"));
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(der)?;
            file.sync_all()?;
            fs::rename(&temporary, self.folder.join(format!("{issuer}.crl")))
        });
        if written.is_err() {
            // It takes space that others need.
            drop(fs::remove_file(&temporary));
        }
        written?;
        File::open(&self.folder)?.sync_all()
    }
}

/// States that a list is about to be made; the commit's revision is the list's number.
#[derive(Debug)]
struct Announce {
    issuer: IssuerName,
}

/// The newest announced list of an issuer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct CrlRow {
    this_update: Timestamp,
}

impl Record for CrlRow {
    const TABLE: Table = Table::Crl;
    type Key = IssuerName;
}

impl Command for Announce {
    type Outcome = Made;

    fn permission(&self) -> Permission {
        Permission::AuthorityUpkeep
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Made, Rejected> {
        let this_update = moment.now.whole_seconds();
        txn.put(&self.issuer, &CrlRow { this_update })?;
        // The list is how relying parties hear of a revocation that was let through.
        txn.hurry();
        txn.record(Event::CrlIssued { issuer: self.issuer.clone(), this_update });
        Ok(Made)
    }
}
