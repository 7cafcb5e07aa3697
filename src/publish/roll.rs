//! Every recorded certificate by issuer and serial: what CRLs and OCSP name certificates by.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use tokio::sync::watch;

use crate::ident::{Fingerprint, IssuerName, Serial};
use crate::standing::Cut;
use crate::world::Timestamp;

/// Certificates by issuer and serial, in the order that a CRL lists them.
#[derive(Debug)]
pub struct Roll {
    issuers: RwLock<HashMap<IssuerName, BTreeMap<Serial, Member>>>,
    listed: RwLock<HashMap<IssuerName, BTreeMap<Serial, Listed>>>,
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

/// A revoked certificate that is not on the record: a list named it before a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// When and why it was revoked.
    pub cut: Cut,
    /// Until when it stays on every list.
    pub until: Timestamp,
}

impl Default for Roll {
    fn default() -> Self {
        Self { issuers: RwLock::default(), listed: RwLock::default(), cuts: watch::Sender::new(0) }
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

    /// Takes a certificate off.
    pub fn remove(&self, issuer: &IssuerName, serial: Serial) {
        let mut issuers = self.issuers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(members) = issuers.get_mut(issuer) {
            members.remove(&serial);
        }
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

    /// Adds a revoked certificate that is not on the record.
    pub fn add_listed(&self, issuer: &IssuerName, serial: Serial, listed: Listed) {
        let mut issuers = self.listed.write().unwrap_or_else(PoisonError::into_inner);
        issuers.entry(issuer.clone()).or_default().insert(serial, listed);
    }

    /// The revoked certificate without a record that an issuer gave this serial.
    pub fn listed(&self, issuer: &IssuerName, serial: Serial) -> Option<Listed> {
        let issuers = self.listed.read().unwrap_or_else(PoisonError::into_inner);
        issuers.get(issuer)?.get(&serial).cloned()
    }

    /// Every revoked certificate of an issuer that is not on the record.
    pub fn all_listed(&self, issuer: &IssuerName) -> Vec<(Serial, Listed)> {
        let issuers = self.listed.read().unwrap_or_else(PoisonError::into_inner);
        let listed = issuers.get(issuer).into_iter().flatten();
        listed.map(|(serial, listed)| (*serial, listed.clone())).collect()
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
