//! Values with a type: which table they live in, how their key and their bytes look.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{RESIDENT_END, StoreError, Versioned};
use crate::ident::{AnyId, ClusterName, Fingerprint, GroupName, IdentityId, IssuerName, ProxyName, Serial};
use crate::standing::{CutKey, Revision};

/// The first octet of a key. Numbers are final: they are on disk.
///
/// Below [`RESIDENT_END`] is first what permits something by its absence, then what an authority must know to be asked
/// for a revocation before the rest can be read; there is little of either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Table {
    /// The newest cut-off of each cut key.
    CutHead = 0x01,
    /// Every cut-off.
    CutOff = 0x02,
    /// Individually revoked certificates.
    Revoked = 0x03,
    /// Locks.
    Lock = 0x04,
    /// Identities that were deleted.
    Deleted = 0x05,
    /// Processes of proxies that may still serve on what they know: a revocation waits for each.
    ProxyInstance = 0x06,
    /// Who has which role.
    RoleBinding = 0x10,
    /// Counters that every writer of a set bumps.
    Generation = 0x11,
    /// Certificates that may call the API in a role of their own: of management and of proxies.
    Caller = 0x12,
    /// Certificate authorities.
    Authority = 0x13,
    /// Clusters.
    Cluster = 0x14,
    /// The newest list of each issuer.
    Crl = 0x15,
    /// What was fixed when the store was initialised.
    Installation = 0x16,
    /// Proxies.
    Proxy = 0x17,
    /// The restores that this store has behind it.
    Restore = 0x18,
    /// Revoked certificates without a record, which a list named.
    ListedSerial = 0x19,
    /// Locks that were taken over after a restore.
    LockTakenOver = 0x1a,
    /// Users and agencies.
    Identity = 0x40,
    /// Who is in which group.
    Membership = 0x41,
    /// Which agency a user is in.
    AgencyMembership = 0x42,
    /// Groups.
    Group = 0x43,
    /// Who is in a group: memberships the other way round.
    MemberOfGroup = 0x46,
    /// Who is in an agency: memberships the other way round.
    MemberOfAgency = 0x47,
    /// Certificates, by fingerprint.
    Certificate = 0x50,
    /// Certificates, by serial and issuer.
    CertificateBySerial = 0x51,
    /// Certificates, by holder.
    CertificateByHolder = 0x52,
    /// Public keys that were ever certified.
    PublicKey = 0x53,
    /// Certificates, by the agency they are held under.
    CertificateByAgency = 0x54,
    /// Tokens with which a proxy may join, by the SHA-256 of their secret.
    JoinToken = 0x65,
    /// Answers kept for repeated requests.
    Idempotency = 0x70,
}

impl Table {
    /// Whether its rows are held in memory, where damage to the index cannot touch them.
    pub const fn is_resident(self) -> bool {
        (self as u8) < RESIDENT_END
    }
}

/// A stored value.
///
/// Its bytes are the format version and the postcard of the value; a reader refuses versions it does not know.
pub trait Record: Serialize + DeserializeOwned {
    /// Where rows of this kind live.
    const TABLE: Table;
    /// The version of the bytes; raised when the shape changes.
    const VERSION: u8 = 1;
    /// What a row is found by.
    type Key: RowKey;
}

/// What a row is found by.
pub trait RowKey {
    /// Appends the key's bytes.
    fn encode(&self, key: &mut KeyBytes);
}

/// One part of a key.
pub trait KeyPart {
    /// Its bytes.
    fn bytes(&self) -> Cow<'_, [u8]>;
}

macro_rules! text_part {
    ($($name:ty),*) => {$(
        impl KeyPart for $name {
            fn bytes(&self) -> Cow<'_, [u8]> {
                Cow::Borrowed(self.as_str().as_bytes())
            }
        }
    )*};
}

text_part!(IdentityId, AnyId, GroupName, ClusterName, IssuerName, ProxyName, String);

impl KeyPart for Serial {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.octets())
    }
}

impl KeyPart for Revision {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.octets().to_vec())
    }
}

impl KeyPart for Fingerprint {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.octets())
    }
}

impl KeyPart for CutKey {
    fn bytes(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        Cow::Owned(bytes)
    }
}

impl<const N: usize> KeyPart for [u8; N] {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self)
    }
}

impl<P: KeyPart> KeyPart for Option<P> {
    fn bytes(&self) -> Cow<'_, [u8]> {
        self.as_ref().map_or(Cow::Borrowed(&[]), KeyPart::bytes)
    }
}

impl<P: KeyPart> RowKey for P {
    fn encode(&self, key: &mut KeyBytes) {
        key.last(&self.bytes());
    }
}

impl<A: KeyPart, B: KeyPart> RowKey for (A, B) {
    fn encode(&self, key: &mut KeyBytes) {
        key.part(&self.0.bytes()).last(&self.1.bytes());
    }
}

/// The bytes of a key while it is built.
#[derive(Debug)]
pub struct KeyBytes(Vec<u8>);

impl KeyBytes {
    /// The start of every key of a table.
    pub fn of_table(table: Table) -> Self {
        Self(vec![table as u8])
    }

    /// Appends a part that others follow: its length in two octets, then its bytes.
    pub fn part(&mut self, bytes: &[u8]) -> &mut Self {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.last(bytes)
    }

    /// Appends the last part, as it is: rows sort by it.
    pub fn last(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The bytes.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// The bytes of a record's key.
pub fn key_of<R: Record>(key: &R::Key) -> Vec<u8> {
    let mut bytes = KeyBytes::of_table(R::TABLE);
    key.encode(&mut bytes);
    bytes.finish()
}

/// The bytes of a record.
pub fn encode<R: Record>(record: &R) -> Result<Vec<u8>, StoreError> {
    postcard::to_extend(record, vec![R::VERSION])
        .map_err(|error| StoreError(format!("a row of {:?} cannot be written: {error}", R::TABLE)))
}

/// A record from its bytes.
pub fn decode<R: Record>(bytes: &[u8]) -> Result<R, StoreError> {
    match bytes.split_first() {
        Some((version, rest)) if *version == R::VERSION => postcard::from_bytes(rest)
            .map_err(|error| StoreError(format!("a row of {:?} cannot be read: {error}", R::TABLE))),
        Some((version, _)) => Err(StoreError(format!(
            "a row of {:?} has format {version}, this version reads {}: it was written by a newer one",
            R::TABLE,
            R::VERSION
        ))),
        None => Err(StoreError(format!("a row of {:?} is empty", R::TABLE))),
    }
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<R> {
    /// The value.
    pub value: R,
    /// The commit that made the row appear; `None` is the transaction's own.
    pub created: Option<Revision>,
    /// The commit that last wrote it; `None` is the transaction's own.
    pub modified: Option<Revision>,
}

impl<R: Record> Stored<R> {
    pub(super) fn from_versioned(versioned: &Versioned) -> Result<Self, StoreError> {
        let value = decode(&versioned.value)?;
        Ok(Self { value, created: Some(versioned.created), modified: Some(versioned.modified) })
    }
}
