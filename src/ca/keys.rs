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

/// Every authority whose key is at hand.
#[derive(Debug, Default)]
pub struct Keyring {
    issuers: RwLock<HashMap<IssuerName, Arc<Issuer>>>,
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
            Rejected::new(Code::Unavailable, format!("the key of the authority {name} is not on this host"))
        })
    }

    /// Every authority, by name.
    pub fn all(&self) -> Vec<Arc<Issuer>> {
        let issuers = self.issuers.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = issuers.values().cloned().collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all
    }
}
