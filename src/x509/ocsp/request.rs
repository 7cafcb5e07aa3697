//! OCSP requests (RFC 6960 §4.1), from a POST body or a GET path.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::ident::Serial;
use crate::x509::Malformed;
use crate::x509::decode::Reader;
use crate::x509::encode::tag;
use crate::x509::extensions::RawExtension;
use crate::x509::oid;

/// A question about one or more certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The certificates asked about: 1 to [`MOST_CERT_IDS`].
    pub cert_ids: Vec<CertId>,
    /// The nonce extension's value, to be echoed byte for byte.
    pub nonce: Option<Nonce>,
}

/// One certificate asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertId {
    /// The whole CertID in DER, to be echoed byte for byte.
    pub der: Vec<u8>,
    /// How the issuer is named.
    pub hash: HashAlgorithm,
    /// The hash of the issuer's Name.
    pub issuer_name_hash: Vec<u8>,
    /// The hash of the issuer's public key.
    pub issuer_key_hash: Vec<u8>,
    /// The serial number, if it is one that a certificate may have.
    pub serial: Option<Serial>,
}

/// The hash function of a CertID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// SHA-1, which most clients still use to name an issuer (RFC 5019 §2.1.1).
    Sha1,
    /// SHA-256 (RFC 9654, RFC 5754).
    Sha256,
    /// One that we hold no hashes of; the issuer is then a foreign one.
    Other,
}

/// A nonce extension's value: an OCTET STRING of 1 to 128 octets (RFC 9654 §2.1), header included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(Vec<u8>);

impl Nonce {
    /// The OCTET STRING in DER.
    pub fn der(&self) -> &[u8] {
        &self.0
    }
}

impl Request {
    /// Reads a request in DER of at most [`MOST_OCTETS`]. A signature on it is allowed and not looked at.
    pub fn from_der(der: &[u8]) -> Result<Self, Malformed> {
        if der.len() > MOST_OCTETS {
            return Err(Malformed::wanted("an OCSP request of at most 16 KiB"));
        }
        let mut request = Reader::of_sequence(der)?;
        let mut tbs = request.sequence()?;
        request.optional(tag::context_constructed(0))?;
        request.end()?;
        if let Some(version) = tbs.optional(tag::context_constructed(0))?
            && Reader::new(version).small_integer()? != 0
        {
            return Err(Malformed::wanted("version 1 of an OCSP request"));
        }
        tbs.optional(tag::context_constructed(1))?;
        let mut list = tbs.sequence()?;
        let extensions = tbs.optional(tag::context_constructed(2))?;
        tbs.end()?;
        Ok(Self { cert_ids: read_cert_ids(&mut list)?, nonce: extensions.map(read_nonce).transpose()?.flatten() })
    }
}

fn read_cert_ids(list: &mut Reader<'_>) -> Result<Vec<CertId>, Malformed> {
    let mut cert_ids = Vec::new();
    while !list.is_empty() {
        if cert_ids.len() == MOST_CERT_IDS {
            return Err(Malformed::wanted("an OCSP request about at most 16 certificates"));
        }
        let mut single = list.sequence()?;
        cert_ids.push(CertId::read(&mut single)?);
        single.optional(tag::context_constructed(0))?;
        single.end()?;
    }
    if cert_ids.is_empty() { Err(Malformed::wanted("an OCSP request about a certificate")) } else { Ok(cert_ids) }
}

impl CertId {
    fn read(single: &mut Reader<'_>) -> Result<Self, Malformed> {
        let value = single.value(tag::SEQUENCE, "a CertID")?;
        let mut fields = Reader::new(value.content);
        let mut algorithm = fields.sequence()?;
        let hash = match algorithm.oid()? {
            oid::SHA1 => HashAlgorithm::Sha1,
            oid::SHA256 => HashAlgorithm::Sha256,
            _ => HashAlgorithm::Other,
        };
        let issuer_name_hash = fields.octet_string()?.to_vec();
        let issuer_key_hash = fields.octet_string()?.to_vec();
        let serial = fields.integer()?;
        fields.end()?;
        let serial = Serial::from_integer(serial).filter(|_| serial.len() <= 20);
        Ok(Self { der: value.raw.to_vec(), hash, issuer_name_hash, issuer_key_hash, serial })
    }
}

fn read_nonce(extensions: &[u8]) -> Result<Option<Nonce>, Malformed> {
    let mut list = Reader::of_sequence(extensions)?;
    let mut nonce = None;
    while !list.is_empty() {
        let extension = RawExtension::read(&mut list)?;
        if extension.oid == oid::OCSP_NONCE {
            let mut value = Reader::new(extension.value);
            let octets = value.octet_string()?;
            value.end()?;
            if nonce.is_some() || !(1..=128).contains(&octets.len()) {
                return Err(Malformed::wanted("one nonce of 1 to 128 octets"));
            }
            nonce = Some(Nonce(extension.value.to_vec()));
        } else if extension.critical {
            return Err(Malformed::wanted("an OCSP request without unknown critical extensions"));
        }
    }
    Ok(nonce)
}

/// Decodes what stands behind `/ocsp/` in a GET (RFC 6960 appendix A.1): percent-encoding over base64.
///
/// Takes the path as it was sent, not one that a router has unescaped or cleaned, since base64 holds `/` and `+`.
/// Padding may be missing.
pub fn decode_get_path(raw_path: &str) -> Result<Vec<u8>, Malformed> {
    const WANTED: Malformed = Malformed::wanted("an OCSP request in base64");
    if raw_path.len() > 4 * MOST_OCTETS {
        return Err(Malformed::wanted("an OCSP request of at most 16 KiB"));
    }
    let mut text = Vec::with_capacity(raw_path.len());
    let mut rest = raw_path.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            text.push(*first);
            continue;
        }
        let (digits, behind) = behind.split_at_checked(2).ok_or(WANTED)?;
        let mut octet = [0];
        hex::decode_to_slice(digits, &mut octet).map_err(|_| WANTED)?;
        text.extend_from_slice(&octet);
        rest = behind;
    }
    BASE64.decode(&text).map_err(|_| WANTED)
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Sixteen questions are below 2 KiB; the rest is room for a requestor's name, certificate and signature.
pub const MOST_OCTETS: usize = 16 * 1024;

/// Clients ask about one certificate, some about a chain.
pub const MOST_CERT_IDS: usize = 16;
