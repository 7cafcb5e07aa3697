//! The wish for a cluster, and finding one.

use std::sync::Arc;

use rcgen::KeyPair;

use super::issue::must_sign;
use super::keys::{Issuer, Keyring};
use super::rows::{AuthorityRow, ClusterRow};
use super::sign::{self, Holding};
use super::template::{ISSUING_LIFETIME, Places, Wanted};
use super::vault::Vault;
use crate::access::{Actor, Permission, Permit, Scope};
use crate::command::{Code, Command, Rejected};
use crate::engine::{Done, Engine, Repeatable};
use crate::ident::{ClusterName, IssuerName};
use crate::journal::Event;
use crate::ledger::credentials;
use crate::ledger::rows::CertificateRole;
use crate::store::txn::Txn;
use crate::world::Moment;
use crate::x509::certificate::Certificate;
use crate::x509::name::Subject;
use crate::x509::public_key::PublicKey;

/// Adds a cluster with an issuing CA of its own.
#[derive(Debug)]
struct AddCluster<'a> {
    new: &'a NewCluster,
    issuer: IssuerName,
    key: &'a KeyPair,
    keyring: &'a Keyring,
    places: &'a Places,
}

/// A cluster to be added.
#[derive(Clone, Debug)]
pub struct NewCluster {
    /// Its name.
    pub name: ClusterName,
    /// The address of its proxy, `https://host:port`.
    pub server: String,
    /// The names and addresses its proxy may have in its server certificate; never empty.
    pub names: Vec<String>,
}

/// Makes the issuing CA's key, writes it to disk, and adds the cluster; takes the key back when that fails.
pub fn add(
    engine: &Engine,
    actor: &Actor,
    repeatable: Option<&Repeatable>,
    new: &NewCluster,
    authorities: &Authorities,
) -> Result<Done<ClusterRow>, Rejected> {
    engine.may(actor, Permission::ClusterWrite)?;
    let issuer = IssuerName::of_cluster(&new.name, 1);
    let Authorities { keyring, vault, places } = authorities;
    let fault =
        |error: &dyn std::fmt::Display| Rejected::new(Code::Unavailable, format!("no key could be made: {error}"));
    let is_new_file = !vault.holds(&issuer);
    let key = if is_new_file {
        let key = KeyPair::generate().map_err(|error| fault(&error))?;
        // The key is on disk before the cluster is on the record: a CA without a key could never be revoked by us.
        vault.store(&issuer, &key, &*engine.world().entropy).map_err(|error| fault(&error))?;
        key
    } else {
        vault.load(&issuer).map_err(|error| fault(&error))?
    };
    let command = AddCluster { new, issuer: issuer.clone(), key: &key, keyring, places };
    let done = match repeatable {
        Some(repeatable) => engine.run_once(actor, repeatable, &command),
        None => engine.run(actor, &command),
    };
    match done {
        Ok(done) => {
            let certificate = certificate_of(engine, &issuer)?;
            keyring.insert(Issuer { name: issuer, certificate, key });
            Ok(done)
        }
        Err(rejected) => {
            // After an unknown outcome the key must stay: the cluster may be there.
            if is_new_file && rejected.code != Code::OutcomeUnknown {
                vault.remove(&issuer).map_err(|error| fault(&error))?;
            }
            Err(rejected)
        }
    }
}

/// What signing needs: the keys in memory, their files, and where relying parties look.
#[derive(Clone, Debug)]
pub struct Authorities {
    /// The keys in memory.
    pub keyring: Arc<Keyring>,
    /// Their files.
    pub vault: Arc<Vault>,
    /// Where relying parties look.
    pub places: Places,
}

impl Command for AddCluster<'_> {
    type Outcome = ClusterRow;

    fn permission(&self) -> Permission {
        Permission::ClusterWrite
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<ClusterRow, Rejected> {
        let name = &self.new.name;
        if txn.get::<ClusterRow>(name)?.is_some() {
            return Err(Rejected::new(Code::AlreadyExists, format!("there is already a cluster {name}")));
        }
        let title = format!("Portcullis {name} CA 1");
        issue_authority(
            txn,
            moment,
            self.keyring,
            self.places,
            &Named { issuer: self.issuer.clone(), title, cluster: Some(name.clone()), key: self.key },
        )?;
        let row = ClusterRow {
            name: name.clone(),
            server: self.new.server.clone(),
            names: self.new.names.clone(),
            issuers: vec![self.issuer.clone()],
            shared_ca: false,
        };
        txn.put(name, &row)?;
        txn.record(Event::ClusterAdded { cluster: name.clone() });
        Ok(row)
    }
}

/// An authority below the root that is to be.
pub(super) struct Named<'k> {
    pub(super) issuer: IssuerName,
    pub(super) title: String,
    pub(super) cluster: Option<ClusterName>,
    pub(super) key: &'k KeyPair,
}

/// Has the root sign an authority, and records it.
pub(super) fn issue_authority(
    txn: &mut Txn<'_>,
    moment: &Moment<'_>,
    keyring: &Keyring,
    places: &Places,
    named: &Named<'_>,
) -> Result<(), Rejected> {
    let root = keyring.issuer(&IssuerName::root())?;
    must_sign(txn, &root.name)?;
    let wanted = Wanted {
        role: CertificateRole::Authority,
        subject: Subject::common_name(named.title.clone()),
        public_key: PublicKey::of(named.key).map_err(|error| Rejected::new(Code::Internal, error.to_string()))?,
        names: Vec::new(),
        lifetime: ISSUING_LIFETIME,
    };
    let signed = sign::sign(&wanted, &root, places, Holding::default(), moment)?;
    record_authority(txn, named, &signed)
}

/// Records an authority and its certificate.
pub(super) fn record_authority(txn: &mut Txn<'_>, named: &Named<'_>, signed: &sign::Signed) -> Result<(), Rejected> {
    if txn.get::<AuthorityRow>(&named.issuer)?.is_some() {
        return Err(Rejected::new(Code::AlreadyExists, format!("there is already an authority {}", named.issuer)));
    }
    let row = AuthorityRow {
        name: named.issuer.clone(),
        cluster: named.cluster.clone(),
        der: signed.row.der.clone(),
        not_after: signed.row.not_after,
        retired: false,
    };
    txn.put(&named.issuer, &row)?;
    credentials::record(txn, signed.key_hash, &signed.row)?;
    txn.record(Event::AuthorityCreated { issuer: named.issuer.clone(), fingerprint: signed.row.fingerprint });
    Ok(())
}

/// The certificate of an authority on the record.
pub fn certificate_of(engine: &Engine, issuer: &IssuerName) -> Result<Certificate, Rejected> {
    let txn = Txn::begin(&**engine.store());
    let row = txn.peek::<AuthorityRow>(issuer)?;
    let row =
        row.ok_or_else(|| Rejected::new(Code::Internal, format!("the authority {issuer} is not on the record")))?;
    Certificate::from_der(&row.value.der)
        .map_err(|error| Rejected::new(Code::Internal, format!("the certificate of {issuer} is unreadable: {error}")))
}

/// A cluster, asserted.
pub fn present(txn: &mut Txn<'_>, name: &ClusterName) -> Result<ClusterRow, Rejected> {
    match txn.get::<ClusterRow>(name)? {
        Some(row) => Ok(row.value),
        None => Err(Rejected::not_found(format_args!("cluster {name}"))),
    }
}

/// The only cluster, if there is exactly one.
pub fn only(txn: &Txn<'_>) -> Result<Option<ClusterName>, Rejected> {
    let rows = txn.scan::<ClusterRow>(&[], None, 2)?;
    Ok(match rows.as_slice() {
        [one] => Some(one.value.name.clone()),
        _ => None,
    })
}

/// The only cluster, or a refusal that says which there are.
pub fn only_or_named(txn: &Txn<'_>) -> Result<ClusterName, Rejected> {
    if let Some(only) = only(txn)? {
        return Ok(only);
    }
    let rows = txn.scan::<ClusterRow>(&[], None, 20)?;
    let names: Vec<&str> = rows.iter().map(|row| row.value.name.as_str()).collect();
    Err(if names.is_empty() {
        Rejected::new(Code::NotFound, "there is no cluster yet: add one with `portcullis cluster add`")
    } else {
        Rejected::invalid(format!("there are several clusters: say which with --cluster ({})", names.join(", ")))
    })
}
