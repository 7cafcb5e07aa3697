//! The keys of the authorities in memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rcgen::KeyPair;

use crate::command::{Code, Rejected};
use crate::ident::IssuerName;
use crate::x509::certificate::Certificate;

/// An authority that can sign: its certificate and its key.
pub struct Issuer {
    /// Its name.
    pub name: IssuerName,
    /// Its certificate.
    pub certificate: Certificate,
    /// Its key.
    pub key: KeyPair,
}

impl Issuer {
    /// Whether it signs lists; a CA that was brought may not (RFC 5280 §4.2.1.3), and only OCSP tells of it then.
    pub fn signs_lists(&self) -> bool {
        super::brought::signs_lists(&self.certificate)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Every authority whose key is at hand, and the certificates of those whose key is not.
#[derive(Debug, Default)]
pub struct Keyring {
    issuers: RwLock<HashMap<IssuerName, Arc<Issuer>>>,
    absent: RwLock<HashMap<IssuerName, Arc<Certificate>>>,
}

impl Keyring {
    /// Adds an authority.
    pub fn insert(&self, issuer: Issuer) -> Arc<Issuer> {
        let issuer = Arc::new(issuer);
        let mut issuers = self.issuers.write().unwrap_or_else(PoisonError::into_inner);
        issuers.insert(issuer.name.clone(), Arc::clone(&issuer));
        issuer
    }

    /// The authority of this name; refuses when its key is not here.
    pub fn issuer(&self, name: &IssuerName) -> Result<Arc<Issuer>, Rejected> {
        let issuers = self.issuers.read().unwrap_or_else(PoisonError::into_inner);
        issuers.get(name).cloned().ok_or_else(|| {
            Rejected::new(Code::Unavailable, format!(
                "the key of the authority {name} is not on this host: bring it back with `portcullis root attach`, or have \
                 what it is to sign signed where it is, with `portcullis root sign`"
            ))
        })
    }

    /// Knows the certificate of an authority whose key is elsewhere.
    pub fn insert_absent(&self, name: IssuerName, certificate: Certificate) {
        self.absent.write().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::new(certificate));
    }

    /// The names of those whose key is elsewhere.
    pub fn absent(&self) -> Vec<IssuerName> {
        let absent = self.absent.read().unwrap_or_else(PoisonError::into_inner);
        absent.keys().cloned().collect()
    }

    /// The certificate of an authority, wherever its key is.
    pub fn certificate(&self, name: &IssuerName) -> Option<Certificate> {
        if let Ok(issuer) = self.issuer(name) {
            return Some(issuer.certificate.clone());
        }
        self.absent.read().unwrap_or_else(PoisonError::into_inner).get(name).map(|found| Certificate::clone(found))
    }

    /// Every authority whose key is at hand, by name.
    pub fn all(&self) -> Vec<Arc<Issuer>> {
        let issuers = self.issuers.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = issuers.values().cloned().collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all
    }
}
