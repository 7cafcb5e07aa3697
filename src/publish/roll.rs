//! Every recorded certificate by issuer and serial: what CRLs and OCSP name certificates by.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use tokio::sync::watch;

use crate::ident::{Fingerprint, IssuerName, Serial};
use crate::world::Timestamp;

/// Certificates by issuer and serial, in the order that a CRL lists them.
#[derive(Debug)]
pub struct Roll {
    issuers: RwLock<HashMap<IssuerName, BTreeMap<Serial, Member>>>,
    cuts: watch::Sender<u64>,
}

/// A certificate on the roll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its SHA-256.
    pub fingerprint: Fingerprint,
    /// The last moment of its validity.
    pub not_after: Timestamp,
}

impl Default for Roll {
    fn default() -> Self {
        Self { issuers: RwLock::default(), cuts: watch::Sender::new(0) }
    }
}

impl Roll {
    /// Adds a certificate.
    pub fn add(&self, issuer: &IssuerName, serial: Serial, member: Member) {
        let mut issuers = self.issuers.write().unwrap_or_else(PoisonError::into_inner);
        match issuers.get_mut(issuer) {
            Some(members) => {
                members.insert(serial, member);
            }
            None => {
                issuers.insert(issuer.clone(), BTreeMap::from([(serial, member)]));
            }
        }
    }

    /// Adds an issuer's certificates, in the order of their serials.
    pub fn add_all(&self, issuer: IssuerName, members: Vec<(Serial, Member)>) {
        let members = members.into_iter().collect::<BTreeMap<_, _>>();
        let mut issuers = self.issuers.write().unwrap_or_else(PoisonError::into_inner);
        let known = issuers.entry(issuer).or_default();
        // An empty one is replaced rather than filled one by one.
        if known.is_empty() { *known = members } else { known.extend(members) }
    }

    /// Every issuer that has certificates here.
    pub fn issuers(&self) -> Vec<IssuerName> {
        self.issuers.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// At most `limit` of an issuer's certificates in the order of their serials, those after a serial.
    pub fn page(&self, issuer: &IssuerName, after: Option<Serial>, limit: usize) -> Vec<(Serial, Member)> {
        let issuers = self.issuers.read().unwrap_or_else(PoisonError::into_inner);
        let Some(members) = issuers.get(issuer) else { return Vec::new() };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        members.range((from, Bound::Unbounded)).take(limit).map(|(serial, member)| (*serial, *member)).collect()
    }

    /// The certificate that an issuer gave this serial.
    pub fn member(&self, issuer: &IssuerName, serial: Serial) -> Option<Member> {
        let issuers = self.issuers.read().unwrap_or_else(PoisonError::into_inner);
        issuers.get(issuer)?.get(&serial).copied()
    }

    /// Goes through an issuer's certificates by serial and keeps what `pick` makes of each.
    pub fn pick<T>(&self, issuer: &IssuerName, mut pick: impl FnMut(Serial, &Member) -> Option<T>) -> Vec<T> {
        let issuers = self.issuers.read().unwrap_or_else(PoisonError::into_inner);
        let Some(members) = issuers.get(issuer) else { return Vec::new() };
        members.iter().filter_map(|(serial, member)| pick(*serial, member)).collect()
    }

    /// Notes that something was cut off or revoked: answers and lists made before are out of date.
    pub(super) fn note_cut(&self) {
        self.cuts.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// How often something was cut off or revoked since the start.
    pub fn cuts(&self) -> u64 {
        *self.cuts.borrow()
    }

    /// Wakes whoever must publish when something is cut off.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.cuts.subscribe()
    }
}
