//! Certificates on the record: writing one, finding one, and whether it stands.

use super::cuts;
use super::rows::{
    ByAgencyRow, ByHolderRow, BySerialRow, CallerRow, CertificateRole, CertificateRow, Judged, PublicKeyRow, RevokedRow,
};
use crate::command::{Code, Rejected};
use crate::ident::{Fingerprint, IdentityId, IssuerName, Serial};
use crate::journal::{Event, Issued};
use crate::store::record::Stored;
use crate::store::txn::Txn;
use crate::world::Timestamp;

/// How a certificate is named by people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// By its serial number, whoever issued it.
    Serial(Serial),
    /// By its SHA-256, as Kubernetes logs it.
    Fingerprint(Fingerprint),
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Serial(serial) => serial.fmt(f),
            Self::Fingerprint(fingerprint) => fingerprint.fmt(f),
        }
    }
}

impl std::str::FromStr for Reference {
    type Err = crate::ident::InvalidName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim_start().starts_with("X509SHA256=") {
            text.parse().map(Self::Fingerprint)
        } else {
            text.parse().map(Self::Serial)
        }
    }
}

/// Puts a certificate on the record; refuses a public key, a serial or a certificate that is there already.
pub fn record(txn: &mut Txn<'_>, key_hash: [u8; 32], row: &CertificateRow) -> Result<(), Rejected> {
    if txn.get::<PublicKeyRow>(&key_hash)?.is_some() {
        return Err(Rejected::new(
            Code::KeyReused,
            "this public key was certified before: a key is certified once, make a new one",
        ));
    }
    let by_serial = (row.serial, row.issuer.clone());
    let taken = txn.get::<BySerialRow>(&by_serial)?.is_some() || txn.get::<CertificateRow>(&row.fingerprint)?.is_some();
    if taken {
        return Err(Rejected::new(Code::Busy, "the serial number drawn is taken: try again"));
    }
    write(txn, key_hash, row)
}

/// Puts a certificate of our own on the record, for a key that was just made. It goes on where others must wait: without
/// its server's certificate, an authority could not be asked for a revocation.
pub fn record_own(txn: &mut Txn<'_>, key_hash: [u8; 32], row: &CertificateRow) -> Result<(), Rejected> {
    write(txn, key_hash, row)?;
    txn.hurry();
    Ok(())
}

/// Everything here is new, or it is a conflict.
fn write(txn: &mut Txn<'_>, key_hash: [u8; 32], row: &CertificateRow) -> Result<(), Rejected> {
    txn.create(&key_hash, &PublicKeyRow(row.fingerprint))?;
    txn.create(&(row.serial, row.issuer.clone()), &BySerialRow(row.fingerprint))?;
    txn.put(&(row.subject.clone(), row.fingerprint), &ByHolderRow(row.fingerprint))?;
    if let Some(agency) = &row.agency {
        txn.put(&(agency.as_str().to_owned(), row.fingerprint), &ByAgencyRow(row.fingerprint))?;
    }
    if let Some(caller) = CallerRow::of(row) {
        txn.put(&(row.subject.clone(), row.fingerprint), &caller)?;
    }
    txn.create(&row.fingerprint, row)?;
    let issued = Issued {
        serial: row.serial,
        fingerprint: row.fingerprint,
        issuer: row.issuer.clone(),
        subject: row.subject.clone(),
        not_after: row.not_after,
        cut_keys: row.cut_keys.clone(),
    };
    txn.record(if row.is_imported { Event::CertificateImported(issued) } else { Event::CertificateIssued(issued) });
    Ok(())
}

/// Takes a certificate off the record, but for its public key, which is never certified again.
pub fn forget(txn: &mut Txn<'_>, row: &CertificateRow) {
    txn.delete::<BySerialRow>(&(row.serial, row.issuer.clone()));
    txn.delete::<ByHolderRow>(&(row.subject.clone(), row.fingerprint));
    if let Some(agency) = &row.agency {
        txn.delete::<ByAgencyRow>(&(agency.as_str().to_owned(), row.fingerprint));
    }
    if CallerRow::of(row).is_some() {
        txn.delete::<CallerRow>(&(row.subject.clone(), row.fingerprint));
    }
    txn.delete::<RevokedRow>(&row.fingerprint);
    txn.delete::<CertificateRow>(&row.fingerprint);
}

/// Finds a certificate on the record. A serial that two issuers have used names neither: say which by fingerprint.
pub fn find(txn: &mut Txn<'_>, reference: &Reference) -> Result<Option<Stored<CertificateRow>>, Rejected> {
    let fingerprint = match reference {
        Reference::Fingerprint(fingerprint) => *fingerprint,
        Reference::Serial(serial) => {
            let found = txn.scan::<BySerialRow>(&[serial.octets()], None, 2)?;
            match found.as_slice() {
                [] => return Ok(None),
                [one] => one.value.0,
                _ => {
                    return Err(Rejected::invalid(format!(
                        "two issuers have used the serial {serial}: name the certificate by X509SHA256=…"
                    )));
                }
            }
        }
    };
    Ok(txn.get::<CertificateRow>(&fingerprint)?)
}

/// The certificate that an issuer gave this serial.
pub fn find_by_issuer(
    txn: &Txn<'_>,
    issuer: &IssuerName,
    serial: Serial,
) -> Result<Option<Stored<CertificateRow>>, Rejected> {
    match txn.peek::<BySerialRow>(&(serial, issuer.clone()))? {
        Some(row) => Ok(txn.peek::<CertificateRow>(&row.value.0)?),
        None => Ok(None),
    }
}

/// Every certificate with this CN.
pub fn of_holder(txn: &Txn<'_>, id: &str) -> Result<Vec<Stored<CertificateRow>>, Rejected> {
    let mut rows = Vec::new();
    for by_holder in txn.scan_all::<ByHolderRow>(&[id.as_bytes()])? {
        rows.extend(txn.peek::<CertificateRow>(&by_holder.value.0)?);
    }
    Ok(rows)
}

/// Every certificate held under this agency.
pub fn of_agency(txn: &Txn<'_>, agency: &str) -> Result<Vec<Stored<CertificateRow>>, Rejected> {
    let mut rows = Vec::new();
    for by_agency in txn.scan_all::<ByAgencyRow>(&[agency.as_bytes()])? {
        rows.extend(txn.peek::<CertificateRow>(&by_agency.value.0)?);
    }
    Ok(rows)
}

/// Why a credential does not stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallen {
    /// Revoked or cut off.
    Revoked,
    /// Past its `notAfter`.
    Expired,
    /// Its holder is locked.
    Locked,
}

/// Whether a certificate stands at `now`; asserts its revocation, every head on its record and the locks that cover it.
pub fn standing<R: Judged>(txn: &mut Txn<'_>, row: &Stored<R>, now: Timestamp) -> Result<(), Standing> {
    if txn.get::<RevokedRow>(row.value.fingerprint()).map_err(Rejected::from)?.is_some() {
        return Err(Standing::Fallen(Fallen::Revoked));
    }
    let mut is_cut = false;
    for key in row.value.cut_keys() {
        is_cut |= cuts::is_cut_since(txn, key, row)?;
    }
    if is_cut {
        return Err(Standing::Fallen(Fallen::Revoked));
    }
    if now.whole_seconds() > row.value.not_after() {
        return Err(Standing::Fallen(Fallen::Expired));
    }
    if cuts::lock_covering(txn, row.value.cut_keys())?.is_some() {
        return Err(Standing::Fallen(Fallen::Locked));
    }
    Ok(())
}

/// A certificate does not stand, or it could not be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does not.
    Fallen(Fallen),
    /// It could not be read.
    Unknown(Rejected),
}

impl From<Rejected> for Standing {
    fn from(rejected: Rejected) -> Self {
        Self::Unknown(rejected)
    }
}

/// Refuses an actor whose certificate does not stand or is not theirs: a cluster's, which may do what its holder may.
pub fn must_be_holder(
    txn: &mut Txn<'_>,
    id: &IdentityId,
    fingerprint: &Fingerprint,
    now: Timestamp,
) -> Result<(), Rejected> {
    let row = txn.get::<CertificateRow>(fingerprint)?.filter(|row| row.value.subject == id.as_str());
    must_stand(txn, row, now)
}

/// Refuses an actor whose certificate does not stand, is not theirs, or is not for calling the API in this role.
pub fn must_be_caller(
    txn: &mut Txn<'_>,
    subject: &str,
    fingerprint: &Fingerprint,
    role: CertificateRole,
    now: Timestamp,
) -> Result<(), Rejected> {
    let row = txn.get::<CallerRow>(&(subject.to_owned(), *fingerprint))?.filter(|row| row.value.role == role);
    must_stand(txn, row, now)
}

fn must_stand<R: Judged>(txn: &mut Txn<'_>, row: Option<Stored<R>>, now: Timestamp) -> Result<(), Rejected> {
    let refused = |why: &str| Rejected::new(Code::Unauthenticated, format!("your certificate {why}"));
    let row = row.ok_or_else(|| refused("is not on the record: get a new one from an administrator"))?;
    match standing(txn, &row, now) {
        Ok(()) => Ok(()),
        Err(Standing::Unknown(rejected)) => Err(rejected),
        Err(Standing::Fallen(Fallen::Revoked)) => Err(refused("is revoked: ask an administrator for a new one")),
        Err(Standing::Fallen(Fallen::Expired)) => Err(refused("has expired: ask an administrator for a new one")),
        Err(Standing::Fallen(Fallen::Locked)) => Err(refused("is locked: ask an administrator to unlock you")),
    }
}
