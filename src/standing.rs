//! What makes a credential good or dead: revisions, cut keys, cut-offs and the one rule that joins them.
//!
//! Everything here is pure. A credential is recorded at its *issue revision* and lists its *cut keys*; a *cut-off* is a
//! fact on one cut key. The credential is dead iff it is individually revoked, or one of its cut keys has a cut-off
//! committed after its issue revision, or its issuer was ever cut off ([`is_cut`]).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ident::{AnyId, ClusterName, Fingerprint, GroupName, IdentityId, IssuerName};
use crate::world::Timestamp;
use crate::x509::reason::Reason;

/// A commit's place in the journal: the one clock that orders facts.
///
/// Revisions compare by era first. Era 0 is before every journal: imported certificates are recorded as issued there.
/// Printed and read as `era-number` in decimal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revision {
    /// When the journal was begun or restored, in Unix seconds: never the same twice.
    pub era: u32,
    /// The commit's place in the journal, counted from 1 and never reset.
    pub number: u64,
}

impl Revision {
    /// Before every commit: the issue revision of what was imported.
    pub const IMPORTED: Self = Self { era: 0, number: 0 };

    /// 12 octets, big endian: the CRL number of a list published at this revision (RFC 5280 §5.2.3).
    pub fn octets(self) -> [u8; 12] {
        let mut octets = [0; 12];
        octets[..4].copy_from_slice(&self.era.to_be_bytes());
        octets[4..].copy_from_slice(&self.number.to_be_bytes());
        octets
    }

    /// The revision that a CRL number of ours stands for, given big endian without leading zeros; `None` for the number
    /// of somebody else's list, which is not made of 12 octets.
    pub fn from_crl_number(number: &[u8]) -> Option<Self> {
        let mut octets = [0; 12];
        let start = octets.len().checked_sub(number.len())?;
        octets.get_mut(start..)?.copy_from_slice(number);
        let (era, number) = octets.split_first_chunk::<4>()?;
        let number = u64::from_be_bytes(*number.first_chunk::<8>()?);
        let era = u32::from_be_bytes(*era);
        (era > 0).then_some(Self { era, number })
    }

    /// The revision of the commit that follows this one in the same era.
    #[must_use]
    pub const fn next(self) -> Self {
        Self { era: self.era, number: self.number.saturating_add(1) }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.era, self.number)
    }
}

/// The text is not a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("wanted a revision such as 1795000000-42: the era, a hyphen and the number")]
pub struct InvalidRevision;

impl FromStr for Revision {
    type Err = InvalidRevision;
    fn from_str(text: &str) -> Result<Self, InvalidRevision> {
        let (era, number) = text.split_once('-').ok_or(InvalidRevision)?;
        let era = era.parse().map_err(|_| InvalidRevision)?;
        let number = number.parse().map_err(|_| InvalidRevision)?;
        Ok(Self { era, number })
    }
}

/// One reason for which a credential may be cut off.
///
/// A credential lists all of its own; a cut-off names one. Stored as tagged, length-prefixed tuples and never as joined
/// strings, because IDs may hold `@` and groups `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CutKey {
    /// Every credential of this identity; the ID may be one that was never seen.
    Identity(AnyId),
    /// Its credentials on one cluster.
    IdentityOnCluster(AnyId, ClusterName),
    /// Every credential held under this agency.
    Agency(AnyId),
    /// Those on one cluster.
    AgencyOnCluster(AnyId, ClusterName),
    /// What this identity holds by being in this group.
    Member(IdentityId, GroupName),
    /// What anyone holds by being in this group.
    Group(GroupName),
    /// Every credential of this issuing CA; a cut-off here is terminal.
    Issuer(IssuerName),
    /// What was obtained with this credential.
    Via(Fingerprint),
}

impl CutKey {
    /// Whether a cut-off here also kills credentials recorded after it: only an issuing CA is retired for good.
    pub const fn is_terminal(&self) -> bool {
        matches!(self, Self::Issuer(_))
    }

    /// Appends the key's bytes: a tag, then each part with its length in two octets, big endian.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Identity(id) => tuple(out, 1, &[id.as_str().as_bytes()]),
            Self::IdentityOnCluster(id, cluster) => {
                tuple(out, 2, &[id.as_str().as_bytes(), cluster.as_str().as_bytes()]);
            }
            Self::Agency(id) => tuple(out, 3, &[id.as_str().as_bytes()]),
            Self::AgencyOnCluster(id, cluster) => {
                tuple(out, 4, &[id.as_str().as_bytes(), cluster.as_str().as_bytes()]);
            }
            Self::Member(id, group) => tuple(out, 5, &[id.as_str().as_bytes(), group.as_str().as_bytes()]),
            Self::Group(group) => tuple(out, 6, &[group.as_str().as_bytes()]),
            Self::Issuer(issuer) => tuple(out, 7, &[issuer.as_str().as_bytes()]),
            Self::Via(fingerprint) => tuple(out, 8, &[fingerprint.octets()]),
        }
    }
}

/// A path for people, such as `id/alice@prod`; never parsed back.
impl fmt::Display for CutKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(id) => write!(f, "id/{id}"),
            Self::IdentityOnCluster(id, cluster) => write!(f, "id/{id}@{cluster}"),
            Self::Agency(id) => write!(f, "agency/{id}"),
            Self::AgencyOnCluster(id, cluster) => write!(f, "agency/{id}@{cluster}"),
            Self::Member(id, group) => write!(f, "member/{id}/{group}"),
            Self::Group(group) => write!(f, "group/{group}"),
            Self::Issuer(issuer) => write!(f, "issuer/{issuer}"),
            Self::Via(fingerprint) => write!(f, "via/{fingerprint}"),
        }
    }
}

/// A cut-off or an individual revocation as it is told to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The commit: what decides.
    pub revision: Revision,
    /// The wall clock then: what people are told.
    pub at: Timestamp,
    /// Why, in the words of RFC 5280 §5.3.1.
    pub reason: Reason,
}

/// Whether a cut-off committed at `cut` kills a credential that was recorded at `issued`.
///
/// A cut-off in the credential's own commit does not (a reset cuts the old and makes the new at once); one on an
/// issuing CA kills whatever the order.
pub fn is_cut(key: &CutKey, issued: Revision, cut: Revision) -> bool {
    cut > issued || key.is_terminal()
}

fn tuple(out: &mut Vec<u8>, tag: u8, parts: &[&[u8]]) {
    out.push(tag);
    for part in parts {
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(key: &CutKey) -> Vec<u8> {
        let mut out = Vec::new();
        key.encode(&mut out);
        out
    }

    fn revision(number: u64) -> Revision {
        Revision { era: 7, number }
    }

    #[test]
    fn an_id_that_holds_an_at_sign_is_not_an_id_on_a_cluster() {
        let id = |text: &str| text.parse::<AnyId>().unwrap();
        let one = CutKey::Identity(id("alice@prod"));
        let two = CutKey::IdentityOnCluster(id("alice"), "prod".parse().unwrap());
        assert_eq!(one.to_string(), two.to_string());
        assert_ne!(bytes(&one), bytes(&two));
    }

    #[test]
    fn no_cut_key_is_the_beginning_of_another() {
        let id: AnyId = "a".parse().unwrap();
        let longer: AnyId = "ab".parse().unwrap();
        let (one, two) = (bytes(&CutKey::Identity(id)), bytes(&CutKey::Identity(longer)));
        assert!(!two.starts_with(&one));
    }

    #[test]
    fn a_cut_off_kills_what_was_recorded_before_it_and_nothing_later() {
        let key = CutKey::Group("dev".parse().unwrap());
        assert!(is_cut(&key, revision(4), revision(5)));
        assert!(!is_cut(&key, revision(5), revision(5)));
        assert!(!is_cut(&key, revision(6), revision(5)));
    }

    #[test]
    fn an_issuer_cut_off_kills_what_is_recorded_later_too() {
        let key = CutKey::Issuer("prod-1".parse().unwrap());
        assert!(is_cut(&key, revision(6), revision(5)));
    }

    #[test]
    fn a_later_era_is_later_whatever_the_number() {
        assert!(Revision { era: 8, number: 1 } > Revision { era: 7, number: 900 });
        assert_eq!("7-900".parse(), Ok(revision(900)));
        assert!("7".parse::<Revision>().is_err());
    }

    #[test]
    fn a_crl_number_says_the_revision_it_was_made_of() {
        for found in [Revision { era: 1_795_000_000, number: 42 }, Revision { era: 1, number: u64::MAX }] {
            let octets = found.octets();
            let significant = octets.iter().position(|octet| *octet != 0).unwrap();
            assert_eq!(Revision::from_crl_number(&octets[significant..]), Some(found));
        }
        assert_eq!(Revision::from_crl_number(&[0x10, 0]), None, "a list of another CA");
        assert_eq!(Revision::from_crl_number(&[1; 13]), None);
    }
}
