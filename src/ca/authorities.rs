//! Authorities on the record: putting one there, finding it, retiring it.

use std::sync::Arc;

use rcgen::KeyPair;

use super::keys::{Issuer, Keyring};
use super::rows::AuthorityRow;
use super::sign::{self, Holding, Signed, key_hash};
use super::template::{ISSUING_LIFETIME, Places, Wanted};
use super::vault::Vault;
use crate::command::{Code, Rejected};
use crate::engine::Engine;
use crate::ident::{ClusterName, IssuerName};
use crate::journal::Event;
use crate::ledger::credentials;
use crate::ledger::rows::{CertificateRole, CutHeadRow, PublicKeyRow};
use crate::standing::CutKey;
use crate::store::txn::Txn;
use crate::world::Moment;
use crate::x509::certificate::Certificate;
use crate::x509::name::Subject;
use crate::x509::public_key::PublicKey;

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

/// An authority that is to be.
pub(super) struct Named<'k> {
    pub(super) issuer: IssuerName,
    pub(super) title: String,
    pub(super) cluster: Option<ClusterName>,
    pub(super) key: &'k KeyPair,
}

/// Has the root sign an authority, and records it.
pub(super) fn issue(
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
    record(txn, &named.issuer, named.cluster.as_ref(), &signed)
}

/// Records an authority and its certificate, which one of ours has signed.
pub(super) fn record(
    txn: &mut Txn<'_>,
    issuer: &IssuerName,
    cluster: Option<&ClusterName>,
    signed: &Signed,
) -> Result<(), Rejected> {
    let row = AuthorityRow {
        name: issuer.clone(),
        cluster: cluster.cloned(),
        der: signed.row.der.clone(),
        not_after: signed.row.not_after,
        retired: false,
        is_brought: false,
        is_detached: false,
    };
    create(txn, row, signed.row.fingerprint)?;
    credentials::record(txn, signed.key_hash, &signed.row)
}

/// Records an authority that somebody else has signed: its key is certified once, like any other, and its certificate is
/// on nobody's list of ours.
pub(super) fn record_brought(
    txn: &mut Txn<'_>,
    issuer: &IssuerName,
    cluster: Option<&ClusterName>,
    certificate: &Certificate,
) -> Result<(), Rejected> {
    let (key, fingerprint) = (key_hash(certificate.public_key.spki()), certificate.fingerprint());
    if txn.get::<PublicKeyRow>(&key)?.is_some() {
        return Err(Rejected::new(
            Code::KeyReused,
            "this CA's key is on the record already: each cluster has an issuing CA of its own",
        ));
    }
    txn.create(&key, &PublicKeyRow(fingerprint))?;
    let row = AuthorityRow {
        name: issuer.clone(),
        cluster: cluster.cloned(),
        der: certificate.der().to_vec(),
        not_after: certificate.not_after,
        retired: false,
        is_brought: true,
        is_detached: false,
    };
    create(txn, row, fingerprint)
}

fn create(txn: &mut Txn<'_>, row: AuthorityRow, fingerprint: crate::ident::Fingerprint) -> Result<(), Rejected> {
    let issuer = row.name.clone();
    if txn.get::<AuthorityRow>(&issuer)?.is_some() {
        return Err(Rejected::new(Code::AlreadyExists, format!("there is already an authority {issuer}")));
    }
    txn.put(&issuer, &row)?;
    txn.record(Event::AuthorityCreated { issuer, fingerprint });
    Ok(())
}

/// Whether there is an authority of this name.
pub(super) fn is_present(engine: &Engine, issuer: &IssuerName) -> Result<bool, Rejected> {
    Ok(Txn::begin(&**engine.store()).peek::<AuthorityRow>(issuer)?.is_some())
}

/// An authority on the record, asserted.
pub fn present(txn: &mut Txn<'_>, issuer: &IssuerName) -> Result<AuthorityRow, Rejected> {
    match txn.get::<AuthorityRow>(issuer)? {
        Some(row) => Ok(row.value),
        None => Err(Rejected::not_found(format_args!("authority {issuer}"))),
    }
}

/// The authority exists, retired or not; asserted.
pub(super) fn must_be_recorded(txn: &mut Txn<'_>, issuer: &IssuerName) -> Result<(), Rejected> {
    match txn.get::<AuthorityRow>(issuer)? {
        Some(_) => Ok(()),
        None => Err(Rejected::new(Code::Unavailable, format!("the authority {issuer} is not on the record"))),
    }
}

/// The authority exists and has not been retired; asserted.
pub fn must_sign(txn: &mut Txn<'_>, issuer: &IssuerName) -> Result<(), Rejected> {
    let row = txn.get::<AuthorityRow>(issuer)?;
    let cut = txn.get::<CutHeadRow>(&CutKey::Issuer(issuer.clone()))?;
    if row.as_ref().is_some_and(|row| !row.value.retired) && cut.is_none() {
        return Ok(());
    }
    let way_out = match row.and_then(|row| row.value.cluster) {
        Some(cluster) => format!(": `portcullis cluster rotate {cluster}` makes a new one"),
        None => String::new(),
    };
    Err(Rejected::new(Code::Unavailable, format!("the authority {issuer} signs no more{way_out}")))
}

/// Ends an authority's signing; whoever cuts its key off does this in the same commit.
pub fn retire(txn: &mut Txn<'_>, issuer: &IssuerName) -> Result<(), Rejected> {
    if let Some(row) = txn.get::<AuthorityRow>(issuer)? {
        txn.put(issuer, &AuthorityRow { retired: true, ..row.value })?;
    }
    Ok(())
}

/// The certificate of an authority on the record.
pub fn certificate_of(engine: &Engine, issuer: &IssuerName) -> Result<Certificate, Rejected> {
    let txn = Txn::begin(&**engine.store());
    let row = txn.peek::<AuthorityRow>(issuer)?;
    let row =
        row.ok_or_else(|| Rejected::new(Code::Internal, format!("the authority {issuer} is not on the record")))?;
    row.value.certificate()
}

/// Puts an authority that has just come onto the record among those that sign.
pub(super) fn open(engine: &Engine, keyring: &Keyring, name: IssuerName, key: KeyPair) -> Result<(), Rejected> {
    let certificate = certificate_of(engine, &name)?;
    keyring.insert(Issuer { name, certificate, key });
    Ok(())
}
