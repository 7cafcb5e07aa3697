//! Every recorded certificate by issuer and serial: what CRLs and OCSP name certificates by.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::watch;

mod shelves;

use shelves::Shelves;

use crate::ident::{Fingerprint, IssuerName, Serial};
use crate::standing::Cut;
use crate::world::Timestamp;

/// Certificates by issuer and serial, in the order that a CRL lists them.
#[derive(Debug)]
pub struct Roll {
    issuers: RwLock<HashMap<IssuerName, Shelves>>,
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

/// Part of an issuer's certificates.
#[derive(Clone, Debug)]
pub struct Shelf {
    /// The first serial behind it; none behind the last part.
    pub until: Option<Serial>,
    /// Another one whenever something in it has changed.
    pub change: u64,
    /// What is in it, unless that is known.
    pub contents: Option<ShelfContents>,
}

/// What is in a part, by serial.
#[derive(Clone, Debug)]
pub struct ShelfContents {
    /// Certificates on the record: some hundreds at most.
    pub members: Vec<(Serial, Member)>,
    /// Revoked ones that are not.
    pub listed: Vec<(Serial, Listed)>,
}

impl Default for Roll {
    fn default() -> Self {
        Self { issuers: RwLock::default(), cuts: watch::Sender::new(0) }
    }
}

impl Roll {
    /// Adds a certificate.
    pub fn add(&self, issuer: &IssuerName, serial: Serial, member: Member) {
        self.change(issuer, |shelves| shelves.insert(serial, member));
    }

    /// Adds an issuer's certificates.
    pub fn add_all(&self, issuer: &IssuerName, members: Vec<(Serial, Member)>) {
        self.change(issuer, |shelves| shelves.insert_all(members));
    }

    /// Takes a certificate off.
    pub fn remove(&self, issuer: &IssuerName, serial: Serial) {
        self.change(issuer, |shelves| shelves.remove(serial));
    }

    /// Every issuer that has certificates here.
    pub fn issuers(&self) -> Vec<IssuerName> {
        self.read().keys().cloned().collect()
    }

    /// At most `limit` of an issuer's certificates in the order of their serials, those after a serial.
    pub fn page(&self, issuer: &IssuerName, after: Option<Serial>, limit: usize) -> Vec<(Serial, Member)> {
        let issuers = self.read();
        let Some(shelves) = issuers.get(issuer) else { return Vec::new() };
        shelves.after(after).take(limit).copied().collect()
    }

    /// The part of an issuer's certificates that begins with a serial that another part gave as its end, or the first
    /// part; its contents only where its change is not the known one. Parts from the first to the last, each from the
    /// end of the one before, hold every certificate that was there all the while, once.
    pub fn shelf(&self, issuer: &IssuerName, from: Option<Serial>, known: Option<u64>) -> Option<Shelf> {
        let issuers = self.read();
        let (found, until) = issuers.get(issuer)?.shelf(from)?;
        let contents = (known != Some(found.change)).then(|| ShelfContents {
            members: found.members.clone(),
            listed: found.listed.iter().map(|(serial, listed)| (*serial, listed.clone())).collect(),
        });
        Some(Shelf { until, change: found.change, contents })
    }

    /// The certificate that an issuer gave this serial.
    pub fn member(&self, issuer: &IssuerName, serial: Serial) -> Option<Member> {
        self.read().get(issuer)?.member(serial).copied()
    }

    /// Goes through an issuer's certificates by serial and keeps what `pick` makes of each.
    pub fn pick<T>(&self, issuer: &IssuerName, mut pick: impl FnMut(Serial, &Member) -> Option<T>) -> Vec<T> {
        let issuers = self.read();
        let Some(shelves) = issuers.get(issuer) else { return Vec::new() };
        shelves.after(None).filter_map(|(serial, member)| pick(*serial, member)).collect()
    }

    /// Adds a revoked certificate that is not on the record.
    pub fn add_listed(&self, issuer: &IssuerName, serial: Serial, listed: Listed) {
        self.change(issuer, |shelves| shelves.insert_listed(serial, listed));
    }

    /// The revoked certificate without a record that an issuer gave this serial.
    pub fn listed(&self, issuer: &IssuerName, serial: Serial) -> Option<Listed> {
        self.read().get(issuer)?.listed(serial).cloned()
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<IssuerName, Shelves>> {
        self.issuers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, issuer: &IssuerName, change: impl FnOnce(&mut Shelves)) {
        let mut issuers = self.issuers.write().unwrap_or_else(PoisonError::into_inner);
        match issuers.get_mut(issuer) {
            Some(shelves) => change(shelves),
            None => change(issuers.entry(issuer.clone()).or_default()),
        }
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
