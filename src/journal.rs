//! Every fact the product knows how to state.
//!
//! A commit is one [`Entry`]: when, by whom, and which [`Event`]s. Followers read entries in order; nothing else tells
//! them anything. Facts are in the past tense and are never changed: a new shape is a new variant at the end of the
//! enum, because entries are stored by the position of their variant.

use serde::{Deserialize, Serialize};

use crate::access::{Actor, Permission, Role};
use crate::ident::{AnyId, ClusterName, Fingerprint, GroupName, IdentityId, IssuerName, ProxyName, Serial};
use crate::standing::{Cut, CutKey, Revision};
use crate::status::frames::Incident;
use crate::world::Timestamp;
use crate::x509::reason::Reason;

/// One commit as the journal keeps it; its revision is its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The wall clock at the commit: for people.
    pub at: Timestamp,
    /// Who asked for it.
    pub actor: Actor,
    /// What is so from now on, in order.
    pub events: Vec<Event>,
}

/// A fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A user or agency exists.
    IdentityAdded {
        /// Its ID.
        id: IdentityId,
        /// What it is.
        kind: IdentityKind,
    },
    /// It no longer exists; its ID stays known.
    IdentityDeleted {
        /// Its ID.
        id: IdentityId,
        /// What it was.
        kind: IdentityKind,
    },
    /// An identity is in a group.
    GroupJoined {
        /// Who.
        id: IdentityId,
        /// Which group.
        group: GroupName,
    },
    /// It no longer is.
    GroupLeft {
        /// Who.
        id: IdentityId,
        /// Which group.
        group: GroupName,
    },
    /// A group exists no more, and nobody is in it.
    GroupDeleted {
        /// Which group.
        group: GroupName,
    },
    /// A user is in an agency.
    AgencyJoined {
        /// The user.
        id: IdentityId,
        /// The agency.
        agency: IdentityId,
    },
    /// A user is in no agency.
    AgencyLeft {
        /// The user.
        id: IdentityId,
        /// The agency left.
        agency: IdentityId,
    },
    /// An identity has a role.
    RoleGranted {
        /// Who.
        id: IdentityId,
        /// Which role.
        role: Role,
    },
    /// It no longer has it.
    RoleWithdrawn {
        /// Who.
        id: IdentityId,
        /// Which role.
        role: Role,
    },
    /// A certificate authority exists.
    AuthorityCreated {
        /// Its name.
        issuer: IssuerName,
        /// The SHA-256 of its certificate.
        fingerprint: Fingerprint,
    },
    /// A cluster exists.
    ClusterAdded {
        /// Its name.
        cluster: ClusterName,
    },
    /// A certificate is on the record.
    CertificateIssued(Issued),
    /// Everything that carries the key and was recorded before is dead.
    CutOff {
        /// The key.
        key: CutKey,
        /// Why, in the words of RFC 5280.
        reason: Reason,
        /// Why, in the words of the product.
        cause: Cause,
        /// Why, in the words of whoever did it.
        comment: Option<String>,
    },
    /// One certificate is dead.
    CertificateRevoked {
        /// Its serial number.
        serial: Serial,
        /// Its SHA-256.
        fingerprint: Fingerprint,
        /// Why, in the words of RFC 5280.
        reason: Reason,
        /// Why, in the words of whoever did it.
        comment: Option<String>,
    },
    /// An identity is locked.
    Locked {
        /// Its ID, known or not.
        id: AnyId,
        /// On this cluster only.
        cluster: Option<ClusterName>,
    },
    /// It no longer is.
    Unlocked {
        /// Its ID, known or not.
        id: AnyId,
        /// On this cluster only.
        cluster: Option<ClusterName>,
    },
    /// A list was signed: its number is this entry's revision.
    CrlIssued {
        /// Whose list.
        issuer: IssuerName,
        /// Its `thisUpdate`.
        this_update: Timestamp,
    },
    /// An authenticated actor was refused.
    Refused {
        /// What they lacked.
        permission: Permission,
        /// How many refusals this one stands for, when there were too many to write each.
        count: u64,
    },
    /// A proxy may join with a token that was made for it.
    ProxyInvited {
        /// What it will be called.
        proxy: ProxyName,
        /// The cluster it is for.
        cluster: ClusterName,
    },
    /// A proxy has joined.
    ProxyJoined {
        /// What it is called.
        proxy: ProxyName,
        /// The cluster it stands in front of.
        cluster: ClusterName,
    },
    /// It may follow no more.
    ProxyRemoved {
        /// What it was called.
        proxy: ProxyName,
    },
    /// A process of a proxy follows, or says anew what binds it.
    ProxyFollows {
        /// What the proxy is called.
        proxy: ProxyName,
        /// The process.
        instance: [u8; 16],
        /// How long its answers are fresh, in milliseconds.
        bound_ms: u64,
        /// Whether it serves on after that for a while.
        is_best_effort: bool,
    },
    /// A process of a proxy is gone, and can serve nobody on what it knew.
    ProxyGone {
        /// What the proxy is called.
        proxy: ProxyName,
        /// The process.
        instance: [u8; 16],
    },
    /// A proxy tells of something that belongs on the record.
    ProxyReported {
        /// What the proxy is called.
        proxy: ProxyName,
        /// What happened.
        incident: Incident,
    },
    /// The store was put back from a backup; this entry's era began with it.
    Restored {
        /// The last revision that was in the backup.
        backup: Revision,
    },
    /// A cut-off that was committed after the backup that the store was put back from: it counts from where it was
    /// committed then.
    CutOffTakenOver {
        /// The key.
        key: CutKey,
        /// When it was committed, with the date and reason it had then.
        cut: Cut,
        /// Why, in the words of the product.
        cause: Cause,
        /// Who knew of it.
        witness: Witness,
    },
    /// An individual revocation of that kind.
    RevocationTakenOver {
        /// Its serial number.
        serial: Serial,
        /// Its SHA-256.
        fingerprint: Fingerprint,
        /// When it was committed, with the date and reason it had then.
        cut: Cut,
        /// Who knew of it.
        witness: Witness,
    },
    /// A revoked certificate that is not on the record, because it was issued after the backup: only what a list said.
    SerialTakenOver {
        /// Who signed it.
        issuer: IssuerName,
        /// Its serial number.
        serial: Serial,
        /// When it was committed, with the date and reason it had then.
        cut: Cut,
        /// Until when it stays on every list.
        until: Timestamp,
    },
    /// An identity is locked until an admin has looked: something about it happened after the backup.
    LockedByRestore {
        /// Its ID, known or not.
        id: AnyId,
        /// On this cluster only.
        cluster: Option<ClusterName>,
        /// Who knew of it.
        witness: Witness,
    },
    /// The clock was accepted as it was, at the time of this entry, though there were later ones.
    ClockAccepted {
        /// The newest time on the record until then.
        newest: Timestamp,
    },
    /// Certificates that ended long ago left the index; the journal has them still.
    CertificatesForgotten {
        /// Which.
        certificates: Vec<Forgotten>,
    },
    /// Another CA signs for a cluster from now on; what the others signed stands.
    ClusterRotated {
        /// The cluster.
        cluster: ClusterName,
        /// Who signs.
        issuer: IssuerName,
    },
    /// A certificate that a CA had issued before it was brought is on the record, as issued before everything else.
    CertificateImported(Issued),
    /// An authority's key was taken off the host.
    AuthorityDetached {
        /// Its name.
        issuer: IssuerName,
    },
    /// It is back.
    AuthorityAttached {
        /// Its name.
        issuer: IssuerName,
    },
}

/// A certificate that left the index.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Forgotten {
    /// Who signed it.
    pub issuer: IssuerName,
    /// Its serial number.
    pub serial: Serial,
    /// Its SHA-256.
    pub fingerprint: Fingerprint,
}

/// Who knew of a fact that a backup did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Witness {
    /// The journal of the store that was replaced.
    Journal,
    /// A list of revoked certificates.
    List,
    /// A proxy that followed before.
    Proxy(ProxyName),
}

/// What an identity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityKind {
    /// A person or a machine of one's own.
    User,
    /// A delegated account: it holds credentials and has members.
    Agency,
}

impl std::fmt::Display for IdentityKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::User => "user",
            Self::Agency => "agency",
        })
    }
}

/// Why a cut-off was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Somebody asked for it.
    Revoked,
    /// The identity or group was deleted.
    Deleted,
    /// The identity left the group or agency, or joined one.
    Moved,
    /// It came back after a restore, from a witness that does not know why it was written.
    TakenOver,
}

/// What is told of a certificate that was put on the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// Its serial number.
    pub serial: Serial,
    /// Its SHA-256.
    pub fingerprint: Fingerprint,
    /// Who signed it.
    pub issuer: IssuerName,
    /// Its CN.
    pub subject: String,
    /// The last moment of its validity.
    pub not_after: Timestamp,
    /// Every cut key on its record.
    pub cut_keys: Vec<CutKey>,
}
