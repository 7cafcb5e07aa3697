//! The rows of certificates, cut-offs, revocations and locks.

use serde::{Deserialize, Serialize};

use crate::ident::{AnyId, ClusterName, Fingerprint, GroupName, IdentityId, IssuerName, Serial};
use crate::journal::Cause;
use crate::standing::{Cut, CutKey, Revision};
use crate::store::record::{Record, Stored, Table};
use crate::world::Timestamp;
use crate::x509::reason::Reason;

/// A certificate as it was recorded; never written twice. The revision that created the row is its issue revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRow {
    /// Its serial number.
    pub serial: Serial,
    /// Its SHA-256.
    pub fingerprint: Fingerprint,
    /// Who signed it.
    pub issuer: IssuerName,
    /// What it is for.
    pub role: CertificateRole,
    /// Its CN.
    pub subject: String,
    /// The cluster it is for.
    pub cluster: Option<ClusterName>,
    /// Its groups, sorted.
    pub groups: Vec<GroupName>,
    /// The agency it is held under.
    pub agency: Option<IdentityId>,
    /// The first moment of its validity.
    pub not_before: Timestamp,
    /// The last moment of its validity.
    pub not_after: Timestamp,
    /// Everything that can cut it off.
    pub cut_keys: Vec<CutKey>,
    /// The certificate itself.
    pub der: Vec<u8>,
    /// Whether its CA issued it before that was brought: then it was issued before every commit, and any cut-off kills it.
    pub is_imported: bool,
}

impl Record for CertificateRow {
    const TABLE: Table = Table::Certificate;
    type Key = Fingerprint;
}

/// A certificate that may call the API in a role of its own, as it is on the record: what is needed to know its holder
/// before all of the record can be read. Never written twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerRow {
    /// Its serial number.
    pub serial: Serial,
    /// Its SHA-256.
    pub fingerprint: Fingerprint,
    /// What it is for.
    pub role: CertificateRole,
    /// Its CN.
    pub subject: String,
    /// The cluster it is for.
    pub cluster: Option<ClusterName>,
    /// The last moment of its validity.
    pub not_after: Timestamp,
    /// Everything that can cut it off.
    pub cut_keys: Vec<CutKey>,
}

impl Record for CallerRow {
    const TABLE: Table = Table::Caller;
    type Key = (String, Fingerprint);
}

impl CallerRow {
    /// What is kept of a certificate's record, if it may call at all: of management, or a proxy's.
    pub fn of(row: &CertificateRow) -> Option<Self> {
        matches!(row.role, CertificateRole::Management | CertificateRole::Proxy).then(|| Self {
            serial: row.serial,
            fingerprint: row.fingerprint,
            role: row.role,
            subject: row.subject.clone(),
            cluster: row.cluster.clone(),
            not_after: row.not_after,
            cut_keys: row.cut_keys.clone(),
        })
    }
}

/// What it takes to say whether a certificate stands.
pub trait Judged: Record {
    /// Its SHA-256.
    fn fingerprint(&self) -> &Fingerprint;
    /// The last moment of its validity.
    fn not_after(&self) -> Timestamp;
    /// Everything that can cut it off.
    fn cut_keys(&self) -> &[CutKey];
    /// Whether it was issued before every commit, the one that recorded it included.
    fn is_imported(&self) -> bool;

    /// The issue revision of a row; none while its transaction is not committed.
    fn issued(row: &Stored<Self>) -> Option<Revision> {
        if row.value.is_imported() { Some(Revision::IMPORTED) } else { row.created }
    }
}

macro_rules! judged {
    ($($row:ty: $is_imported:expr),*) => {$(
        impl Judged for $row {
            fn fingerprint(&self) -> &Fingerprint {
                &self.fingerprint
            }
            fn not_after(&self) -> Timestamp {
                self.not_after
            }
            fn cut_keys(&self) -> &[CutKey] {
                &self.cut_keys
            }
            fn is_imported(&self) -> bool {
                $is_imported(self)
            }
        }
    )*};
}

judged!(CertificateRow: |row: &CertificateRow| row.is_imported, CallerRow: |_| false);

/// A certificate on the record, with its issue revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// What was recorded.
    pub row: CertificateRow,
    /// The commit that recorded it; before every commit for one that was imported.
    pub revision: Revision,
}

impl From<Stored<CertificateRow>> for Recorded {
    fn from(stored: Stored<CertificateRow>) -> Self {
        let revision = CertificateRow::issued(&stored).unwrap_or_default();
        Self { row: stored.value, revision }
    }
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateRole {
    /// A person or machine on a cluster.
    User,
    /// A person at the management API.
    Management,
    /// A server of ours.
    Server,
    /// A proxy as client of the feed.
    Proxy,
    /// Signs OCSP answers.
    Ocsp,
    /// A certificate authority.
    Authority,
}

impl CertificateRole {
    /// Its name in the API and in the `urn:portcullis:<role>:<name>` of infrastructure certificates.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Management => "management",
            Self::Server => "server",
            Self::Proxy => "proxy",
            Self::Ocsp => "ocsp",
            Self::Authority => "authority",
        }
    }
}

/// Finds a certificate by its serial and issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BySerialRow(pub Fingerprint);

impl Record for BySerialRow {
    const TABLE: Table = Table::CertificateBySerial;
    type Key = (Serial, IssuerName);
}

/// Finds the certificates of a holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByHolderRow(pub Fingerprint);

impl Record for ByHolderRow {
    const TABLE: Table = Table::CertificateByHolder;
    type Key = (String, Fingerprint);
}

/// Finds the certificates held under an agency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByAgencyRow(pub Fingerprint);

impl Record for ByAgencyRow {
    const TABLE: Table = Table::CertificateByAgency;
    type Key = (String, Fingerprint);
}

/// A public key was certified; its key is the SHA-256 of the raw SubjectPublicKeyInfo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKeyRow(pub Fingerprint);

impl Record for PublicKeyRow {
    const TABLE: Table = Table::PublicKey;
    type Key = [u8; 32];
}

/// The newest cut-off of a cut key: the revision that last wrote the row, unless it says another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutHeadRow {
    /// The newest C, where a later commit has written the row: a cut-off that was taken over keeps its own.
    pub cut: Option<Revision>,
}

impl Record for CutHeadRow {
    const TABLE: Table = Table::CutHead;
    type Key = CutKey;
}

/// A cut-off; the revision that created the row is its C, unless it was taken over. Never written twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutOffRow {
    /// What it cuts.
    pub key: CutKey,
    /// When, for people.
    pub at: Timestamp,
    /// Why, in the words of RFC 5280.
    pub reason: Reason,
    /// Why, in the words of the product.
    pub cause: Cause,
    /// Its C where it was committed before a restore and taken over by a later commit.
    pub cut: Option<Revision>,
}

impl Record for CutOffRow {
    const TABLE: Table = Table::CutOff;
    /// The cut key and 16 random octets, so that cut-offs append and never overwrite.
    type Key = (CutKey, [u8; 16]);
}

/// A certificate was individually revoked. Never written twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedRow {
    /// Its SHA-256.
    pub fingerprint: Fingerprint,
    /// Its serial number.
    pub serial: Serial,
    /// When, for people.
    pub at: Timestamp,
    /// Why, in the words of RFC 5280.
    pub reason: Reason,
    /// Its revision where it was committed before a restore and taken over by a later commit.
    pub cut: Option<Revision>,
}

impl Record for RevokedRow {
    const TABLE: Table = Table::Revoked;
    type Key = Fingerprint;
}

/// An identity is locked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockRow {
    /// Its ID.
    pub id: AnyId,
    /// On this cluster only.
    pub cluster: Option<ClusterName>,
    /// Since when, for people.
    pub at: Timestamp,
    /// Whether a restore set it, for an admin to look.
    pub by_restore: bool,
}

impl Record for LockRow {
    const TABLE: Table = Table::Lock;
    type Key = (AnyId, Option<ClusterName>);
}

/// A restore: an era begun on what a backup held. The revision that created the row is the era's first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRow {
    /// The era that began.
    pub era: u32,
    /// The last revision that was in the backup; the era before ends here.
    pub backup: Revision,
    /// When, for people.
    pub at: Timestamp,
}

impl Record for RestoreRow {
    const TABLE: Table = Table::Restore;
    /// The era's number, big endian.
    type Key = [u8; 4];
}

/// A revoked certificate that is not on the record, because it was issued after the backup: a list named it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedSerialRow {
    /// Who signed it.
    pub issuer: IssuerName,
    /// Its serial number.
    pub serial: Serial,
    /// When and why it was revoked.
    pub cut: Cut,
    /// Until when it stays on every list: its end, or the latest that it can have.
    pub until: Timestamp,
}

impl Record for ListedSerialRow {
    const TABLE: Table = Table::ListedSerial;
    type Key = (IssuerName, Serial);
}

/// A lock that was taken over: whoever tells of it again tells nothing new, also once it was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockTakenOverRow;

impl Record for LockTakenOverRow {
    const TABLE: Table = Table::LockTakenOver;
    /// The ID with its cluster, as a cut key, and the revision that locked it.
    type Key = (CutKey, Revision);
}
