//! Signatures over certificates, requests, CRLs and OCSP responses: which algorithms, how they are written.

use rcgen::SigningKey;

use super::Malformed;
use super::decode::Reader;
use super::encode::{self, tag};
use super::oid;
use super::public_key::Kind;

/// A signature algorithm that we make or accept (RFC 5758 §3.2, RFC 8410 §6, RFC 4055 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA over SHA-256.
    EcdsaSha256,
    /// ECDSA over SHA-384.
    EcdsaSha384,
    /// ECDSA over SHA-512.
    EcdsaSha512,
    /// Ed25519.
    Ed25519,
    /// RSA PKCS #1 v1.5 over SHA-256.
    RsaSha256,
    /// RSA PKCS #1 v1.5 over SHA-384.
    RsaSha384,
    /// RSA PKCS #1 v1.5 over SHA-512.
    RsaSha512,
}

/// A signature algorithm that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedAlgorithm {
    /// SHA-1 or MD5: signatures over them can be forged.
    #[error("signed over {0}, which is broken; wanted SHA-256, SHA-384 or SHA-512")]
    BrokenDigest(&'static str),
    /// RSASSA-PSS.
    #[error("signed with RSASSA-PSS; wanted ECDSA, Ed25519 or RSA PKCS #1 v1.5 over SHA-256, SHA-384 or SHA-512")]
    Pss,
    /// Anything else; holds its object identifier.
    #[error("signed with {0}; wanted ECDSA, Ed25519 or RSA PKCS #1 v1.5 over SHA-256, SHA-384 or SHA-512")]
    Other(String),
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The key's kind is none that we sign with.
    #[error("cannot sign with this kind of key; wanted P-256, P-384, Ed25519 or RSA")]
    Key,
    /// What is to be signed names another algorithm than the key has.
    #[error("what is to be signed names another signature algorithm than the issuer's key has")]
    Mismatch,
    /// The key, or what holds it, failed.
    #[error("the issuer's key did not sign: {0}")]
    Failed(#[from] rcgen::Error),
}

impl Algorithm {
    /// The algorithm that a key signs with: SHA-256 for P-256 and RSA, SHA-384 for P-384.
    pub fn of(key: &impl SigningKey) -> Result<Self, SigningError> {
        let algorithm = key.algorithm();
        [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Self::EcdsaSha256),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Self::EcdsaSha384),
            (&rcgen::PKCS_ED25519, Self::Ed25519),
            (&rcgen::PKCS_RSA_SHA256, Self::RsaSha256),
            (&rcgen::PKCS_RSA_SHA384, Self::RsaSha384),
            (&rcgen::PKCS_RSA_SHA512, Self::RsaSha512),
        ]
        .into_iter()
        .find_map(|(theirs, ours)| (theirs == algorithm).then_some(ours))
        .ok_or(SigningError::Key)
    }

    /// The algorithm that the private key to a public key of this kind signs with; see [`of`](Self::of).
    pub const fn of_kind(kind: Kind) -> Self {
        match kind {
            Kind::P256 => Self::EcdsaSha256,
            Kind::P384 => Self::EcdsaSha384,
            Kind::Ed25519 => Self::Ed25519,
            Kind::Rsa { .. } => Self::RsaSha256,
        }
    }

    /// The AlgorithmIdentifier, which has only one DER form.
    pub(super) const fn der(self) -> &'static [u8] {
        match self {
            Self::EcdsaSha256 => b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02",
            Self::EcdsaSha384 => b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03",
            Self::EcdsaSha512 => b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04",
            Self::Ed25519 => b"\x30\x05\x06\x03\x2b\x65\x70",
            Self::RsaSha256 => b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00",
            Self::RsaSha384 => b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00",
            Self::RsaSha512 => b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00",
        }
    }

    /// Reads a whole AlgorithmIdentifier.
    fn read(der: &[u8]) -> Result<Self, UnsupportedAlgorithm> {
        ALL.into_iter().find(|algorithm| algorithm.der() == der).ok_or_else(|| {
            match Reader::of_sequence(der).and_then(|mut fields| fields.oid()) {
                Ok(oid::RSA_SHA1 | oid::ECDSA_SHA1) => UnsupportedAlgorithm::BrokenDigest("SHA-1"),
                Ok(oid::RSA_MD5) => UnsupportedAlgorithm::BrokenDigest("MD5"),
                Ok(oid::RSA_PSS) => UnsupportedAlgorithm::Pss,
                Ok(other) => UnsupportedAlgorithm::Other(oid::shown(other)),
                Err(_) => UnsupportedAlgorithm::Other("an unreadable algorithm".to_owned()),
            }
        })
    }
}

const ALL: [Algorithm; 7] = [
    Algorithm::EcdsaSha256,
    Algorithm::EcdsaSha384,
    Algorithm::EcdsaSha512,
    Algorithm::Ed25519,
    Algorithm::RsaSha256,
    Algorithm::RsaSha384,
    Algorithm::RsaSha512,
];

/// `SIGNED{…}`: what was signed, with which algorithm, and the signature (RFC 5280 §4.1.1).
#[derive(Debug)]
pub(super) struct Signed<'a> {
    /// The signed octets, header included.
    pub(super) tbs: &'a [u8],
    pub(super) algorithm_der: &'a [u8],
    pub(super) signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Reads the three parts and refuses trailing data.
    pub(super) fn read(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut parts = Reader::of_sequence(der)?;
        let tbs = parts.value(tag::SEQUENCE, "a SEQUENCE to be signed")?.raw;
        let algorithm_der = parts.value(tag::SEQUENCE, "a signature algorithm")?.raw;
        let signature = parts.bit_string()?;
        parts.end()?;
        // RFC 5280 §4.1.1.2: an identifier and at most its parameters; which ones are accepted is asked later.
        let mut algorithm = Reader::of_sequence(algorithm_der)?;
        algorithm.oid()?;
        if !algorithm.is_empty() {
            algorithm.any()?;
        }
        algorithm.end()?;
        Ok(Self { tbs, algorithm_der, signature })
    }

    pub(super) fn algorithm(&self) -> Result<Algorithm, UnsupportedAlgorithm> {
        Algorithm::read(self.algorithm_der)
    }
}

/// Signs `tbs` and wraps the three parts.
pub(super) fn sign(tbs: &[u8], algorithm: Algorithm, key: &impl SigningKey) -> Result<Vec<u8>, SigningError> {
    let signature = key.sign(tbs)?;
    let algorithm = algorithm.der();
    let signature_length = encode::header_length(signature.len() + 1) + signature.len() + 1;
    let length = tbs.len() + algorithm.len() + signature_length;
    let mut out = Vec::with_capacity(encode::header_length(length) + length);
    encode::header(&mut out, tag::SEQUENCE, length);
    out.extend_from_slice(tbs);
    out.extend_from_slice(algorithm);
    encode::bit_string(&mut out, &signature);
    Ok(out)
}
