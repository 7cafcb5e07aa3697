//! Who an OCSP question is about: the issuer's hashes (RFC 6960 §4.1.1).

use aws_lc_rs::digest::{self, Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use super::request::{CertId, HashAlgorithm};
use crate::x509::certificate::Certificate;
use crate::x509::public_key::PublicKey;

/// The hashes by which clients name an issuer. SHA-1 serves as a name here, not as protection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerHashes {
    /// SHA-1 of the issuer's Name.
    pub name_sha1: [u8; 20],
    /// SHA-1 of the issuer's public key.
    pub key_sha1: [u8; 20],
    /// SHA-256 of the issuer's Name.
    pub name_sha256: [u8; 32],
    /// SHA-256 of the issuer's public key.
    pub key_sha256: [u8; 32],
}

impl IssuerHashes {
    /// The hashes of an issuer's certificate.
    pub fn of(issuer: &Certificate) -> Self {
        Self {
            name_sha1: hash(&SHA1_FOR_LEGACY_USE_ONLY, &issuer.subject_der),
            key_sha1: key_sha1(&issuer.public_key),
            name_sha256: hash(&SHA256, &issuer.subject_der),
            key_sha256: hash(&SHA256, issuer.public_key.octets()),
        }
    }

    /// Whether the question is about a certificate of this issuer.
    pub fn matches(&self, id: &CertId) -> bool {
        match id.hash {
            HashAlgorithm::Sha1 => id.issuer_name_hash == self.name_sha1 && id.issuer_key_hash == self.key_sha1,
            HashAlgorithm::Sha256 => id.issuer_name_hash == self.name_sha256 && id.issuer_key_hash == self.key_sha256,
            HashAlgorithm::Other => false,
        }
    }
}

/// SHA-1 of a public key's octets: how a responder names itself (RFC 6960 §4.2.1, `KeyHash`).
pub fn key_sha1(key: &PublicKey) -> [u8; 20] {
    hash(&SHA1_FOR_LEGACY_USE_ONLY, key.octets())
}

fn hash<const N: usize>(algorithm: &'static Algorithm, octets: &[u8]) -> [u8; N] {
    let digest = digest::digest(algorithm, octets);
    let mut out = [0; N];
    out.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    out
}
