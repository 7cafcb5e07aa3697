//! Building a certificate: the fields, their DER, the signature.
//!
//! Three steps, so that the middle one can be looked at before it is signed: [`ToBeSigned`], [`Encoded`], certificate.

use rcgen::SigningKey;

use crate::ident::Serial;
use crate::world::Timestamp;
use crate::x509::encode;
use crate::x509::encode::tag;
use crate::x509::extensions::Extensions;
use crate::x509::moment;
use crate::x509::signature::{self, Algorithm, SigningError};

/// The fields of a certificate (RFC 5280 §4.1.2), always version 3.
#[derive(Debug, Clone)]
pub struct ToBeSigned {
    /// Its serial number.
    pub serial: Serial,
    /// The algorithm that the issuer's key signs with: [`Algorithm::of`] that key.
    pub algorithm: Algorithm,
    /// The issuer's Name in DER, byte for byte the subject of the issuer's certificate (RFC 5280 §4.1.2.4).
    pub issuer: Vec<u8>,
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity, itself included.
    pub not_after: Timestamp,
    /// The subject's Name in DER: [`Subject::to_der`](crate::x509::name::Subject::to_der).
    pub subject: Vec<u8>,
    /// The subject's key: a raw SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// The extensions.
    pub extensions: Extensions,
}

/// A TBSCertificate in DER, and the algorithm it names.
#[derive(Debug, Clone)]
pub struct Encoded {
    der: Vec<u8>,
    algorithm: Algorithm,
}

impl ToBeSigned {
    /// Writes the TBSCertificate.
    pub fn encode(&self) -> Encoded {
        let mut der = Vec::with_capacity(1024 + self.spki.len());
        encode::sequence(&mut der, |out| {
            out.extend_from_slice(VERSION_3);
            encode::unsigned(out, self.serial.octets());
            out.extend_from_slice(self.algorithm.der());
            out.extend_from_slice(&self.issuer);
            encode::sequence(out, |out| {
                moment::write(out, self.not_before);
                moment::write(out, self.not_after);
            });
            out.extend_from_slice(&self.subject);
            out.extend_from_slice(&self.spki);
            encode::nested(out, tag::context_constructed(3), |out| self.extensions.write(out));
        });
        Encoded { der, algorithm: self.algorithm }
    }
}

impl Encoded {
    /// The TBSCertificate's octets.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Signs it; gives the certificate in DER.
    pub fn sign(&self, key: &impl SigningKey) -> Result<Vec<u8>, SigningError> {
        if Algorithm::of(key)? != self.algorithm {
            return Err(SigningError::Mismatch);
        }
        signature::sign(&self.der, self.algorithm, key)
    }
}

/// `[0] EXPLICIT INTEGER 2`.
const VERSION_3: &[u8] = &[0xa0, 3, tag::INTEGER, 1, 2];
