//! X.509 certificates: read strictly here, built in [`to_be_signed`].

use crate::ident::{Fingerprint, Serial};
use crate::world::Timestamp;

use super::Malformed;
use super::decode::Reader;
use super::encode::tag;
use super::extensions::{BasicConstraints, Extensions, KeyUsage, RawExtension};
use super::moment;
use super::name::Name;
use super::oid;
use super::public_key::{BadSignature, PublicKey};
use super::signature::{Signed, UnsupportedAlgorithm};

pub mod to_be_signed;

/// A certificate as it was read (RFC 5280 §4.1); owns its octets.
///
/// Strict about DER, tolerant about content: whether it is fit for anything is for [`super::shape`] and others to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    /// 1, 2 or 3.
    pub version: u8,
    /// The serial number, if it is positive and at most 20 octets.
    pub serial: Option<Serial>,
    /// The issuer's Name, byte for byte.
    pub issuer_der: Vec<u8>,
    /// The issuer.
    pub issuer: Name,
    /// The subject's Name, byte for byte.
    pub subject_der: Vec<u8>,
    /// The subject.
    pub subject: Name,
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity, itself included.
    pub not_after: Timestamp,
    /// The subject's key.
    pub public_key: PublicKey,
    /// The extensions that we know.
    pub extensions: Extensions,
    /// Critical extensions that we do not know, by name or object identifier.
    pub unknown_critical: Vec<String>,
    /// The first extension that is there twice (RFC 5280 §4.2 forbids it), by name or object identifier.
    pub duplicate_extension: Option<String>,
}

/// Why a certificate is not the issuer's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSignedBy {
    /// The issuer named is another.
    #[error("the certificate names the issuer {named}, not {wanted}")]
    OtherIssuer {
        /// The issuer in the certificate.
        named: String,
        /// The issuer that it was held against.
        wanted: String,
    },
    /// The algorithm is not accepted.
    #[error("the certificate is {0}")]
    Algorithm(#[from] UnsupportedAlgorithm),
    /// The signature is wrong.
    #[error("the certificate's signature is not by its issuer's key")]
    Signature(#[from] BadSignature),
}

impl Certificate {
    /// Reads one certificate in DER without anything behind it.
    pub fn from_der(der: &[u8]) -> Result<Self, Malformed> {
        let signed = Signed::read(der)?;
        let mut fields = Reader::of_sequence(signed.tbs)?;
        let version = read_version(&mut fields)?;
        let serial = fields.integer()?;
        // RFC 5280 §4.1.2.2: at most 20 octets, which a sign octet must not exceed.
        let serial = if serial.len() <= 20 { Serial::from_integer(serial) } else { None };
        if fields.value(tag::SEQUENCE, "a signature algorithm")?.raw != signed.algorithm_der {
            return Err(Malformed::wanted("the same signature algorithm inside and outside"));
        }
        let issuer_der = fields.value(tag::SEQUENCE, "an issuer")?.raw.to_vec();
        let mut validity = fields.sequence()?;
        let (not_before, not_after) = (moment::read(&mut validity)?, moment::read(&mut validity)?);
        validity.end()?;
        let subject_der = fields.value(tag::SEQUENCE, "a subject")?.raw.to_vec();
        let public_key = PublicKey::from_spki(fields.value(tag::SEQUENCE, "a public key")?.raw)?;
        // issuerUniqueID and subjectUniqueID: read over (RFC 5280 §4.1.2.8).
        fields.optional(tag::context(1))?;
        fields.optional(tag::context(2))?;
        let mut certificate = Self {
            der: der.to_vec(),
            version,
            serial,
            issuer: Name::from_der(&issuer_der)?,
            issuer_der,
            subject: Name::from_der(&subject_der)?,
            subject_der,
            not_before,
            not_after,
            public_key,
            extensions: Extensions::default(),
            unknown_critical: Vec::new(),
            duplicate_extension: None,
        };
        if let Some(list) = fields.optional(tag::context_constructed(3))? {
            certificate.take_extensions(Reader::of_sequence(list)?)?;
        }
        fields.end()?;
        Ok(certificate)
    }

    fn take_extensions(&mut self, mut list: Reader<'_>) -> Result<(), Malformed> {
        let mut seen: Vec<&[u8]> = Vec::with_capacity(16);
        while !list.is_empty() {
            let extension = RawExtension::read(&mut list)?;
            if seen.len() == MOST_EXTENSIONS {
                return Err(Malformed::wanted("at most 64 extensions"));
            }
            if seen.contains(&extension.oid) {
                self.duplicate_extension.get_or_insert_with(|| oid::shown(extension.oid));
                continue;
            }
            seen.push(extension.oid);
            if !self.extensions.take(extension)? && extension.critical {
                self.unknown_critical.push(oid::shown(extension.oid));
            }
        }
        Ok(())
    }

    /// The certificate's octets.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the certificate's octets.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.der)
    }

    /// Whether basicConstraints says CA.
    pub const fn is_ca(&self) -> bool {
        matches!(self.extensions.basic_constraints, Some(BasicConstraints::Ca { .. }))
    }

    /// How many intermediate CAs may follow; `None` for no limit or no CA.
    pub const fn path_len(&self) -> Option<u8> {
        match self.extensions.basic_constraints {
            Some(BasicConstraints::Ca { path_len }) => path_len,
            Some(BasicConstraints::EndEntity) | None => None,
        }
    }

    /// Whether keyUsage names this use; false also without the extension.
    pub fn may(&self, usage: KeyUsage) -> bool {
        self.extensions.key_usage.is_some_and(|usages| usages.contains(usage))
    }

    /// Checks that `issuer` is named as the issuer and that its key made the signature; nothing else.
    pub fn verify_signed_by(&self, issuer: &Self) -> Result<(), NotSignedBy> {
        if self.issuer_der != issuer.subject_der {
            return Err(NotSignedBy::OtherIssuer {
                named: self.issuer.to_string(),
                wanted: issuer.subject.to_string(),
            });
        }
        let signed = Signed::read(&self.der).map_err(|_| BadSignature)?;
        issuer.public_key.verify(signed.algorithm()?, signed.tbs, signed.signature)?;
        Ok(())
    }
}

fn read_version(fields: &mut Reader<'_>) -> Result<u8, Malformed> {
    let Some(explicit) = fields.optional(tag::context_constructed(0))? else { return Ok(1) };
    let mut explicit = Reader::new(explicit);
    let version = explicit.small_integer()?;
    explicit.end()?;
    match version {
        0 => Ok(1),
        1 => Ok(2),
        2 => Ok(3),
        _ => Err(Malformed::wanted("version 1, 2 or 3")),
    }
}

/// Three times what the largest certificates in use carry; keeps the search for duplicates short.
const MOST_EXTENSIONS: usize = 64;

#[cfg(test)]
pub(in crate::x509) mod tests;
