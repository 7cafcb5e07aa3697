//! Certificate extensions (RFC 5280 §4.2): those that we write, and the same ones when read.

use std::net::IpAddr;

use super::Malformed;
use super::decode::{Reader, Value};
use super::encode::{self, tag};
use super::oid;

/// The extensions of a certificate; what is `None`, empty or false is not written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extensions {
    /// Whether it is a CA; written critical, an end entity as the empty SEQUENCE (RFC 5280 §4.2.1.9).
    pub basic_constraints: Option<BasicConstraints>,
    /// What the key may do; written critical.
    pub key_usage: Option<KeyUsages>,
    /// What the certificate is for, in order.
    pub extended_key_usage: Vec<ExtendedKeyUsage>,
    /// Further names of the subject, in order.
    pub subject_alt_names: Vec<SubjectAltName>,
    /// The issuer's subjectKeyIdentifier, as the issuer's certificate has it.
    pub authority_key_id: Option<Vec<u8>>,
    /// This key's identifier.
    pub subject_key_id: Option<Vec<u8>>,
    /// Where the CRL is; the first URI of the first point when read.
    pub crl_distribution_point: Option<String>,
    /// Where OCSP is answered.
    pub ocsp: Option<String>,
    /// Where the issuer's certificate is.
    pub ca_issuers: Option<String>,
    /// That the status of this OCSP responder's certificate is not asked (RFC 6960 §4.2.2.2.1).
    pub ocsp_no_check: bool,
}

/// RFC 5280 §4.2.1.9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BasicConstraints {
    /// A CA.
    Ca {
        /// How many intermediate CAs may follow it.
        path_len: Option<u8>,
    },
    /// Anything else.
    EndEntity,
}

/// One use of a key; the number is the bit of RFC 5280 §4.2.1.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyUsage {
    /// Signing in a handshake.
    DigitalSignature = 0,
    /// Non-repudiation.
    ContentCommitment = 1,
    /// RSA key transport.
    KeyEncipherment = 2,
    /// Encrypting data itself.
    DataEncipherment = 3,
    /// Diffie-Hellman.
    KeyAgreement = 4,
    /// Signing certificates.
    KeyCertSign = 5,
    /// Signing CRLs.
    CrlSign = 6,
    /// With `KeyAgreement`: only encrypting.
    EncipherOnly = 7,
    /// With `KeyAgreement`: only decrypting.
    DecipherOnly = 8,
}

/// A set of [`KeyUsage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyUsages(u16);

impl KeyUsages {
    /// The set of these uses.
    pub fn of(usages: &[KeyUsage]) -> Self {
        Self(usages.iter().fold(0, |bits, usage| bits | 1 << (*usage as u8)))
    }

    /// Whether the use is in the set.
    pub const fn contains(self, usage: KeyUsage) -> bool {
        self.0 & 1 << (usage as u8) != 0
    }
}

/// RFC 5280 §4.2.1.12.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExtendedKeyUsage {
    /// A TLS client.
    ClientAuth,
    /// A TLS server.
    ServerAuth,
    /// A delegated OCSP responder.
    OcspSigning,
    /// Anything else, by its dotted object identifier; read only.
    Other(String),
}

/// RFC 5280 §4.2.1.6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectAltName {
    /// A DNS name.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
    /// A URI.
    Uri(String),
    /// Anything else, by its context tag; read only.
    Other(u8),
}

/// One extension as it stands in a certificate or in a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawExtension<'a> {
    pub(super) oid: &'a [u8],
    pub(super) critical: bool,
    pub(super) value: &'a [u8],
}

impl<'a> RawExtension<'a> {
    pub(super) fn read(list: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut fields = list.sequence()?;
        let oid = fields.oid()?;
        let critical = fields.boolean_default_false()?;
        let value = fields.octet_string()?;
        fields.end()?;
        Ok(Self { oid, critical, value })
    }
}

impl Extensions {
    /// Writes the SEQUENCE of extensions.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        encode::sequence(out, |out| {
            self.write_constraints(out);
            self.write_key_ids(out);
            self.write_places(out);
        });
    }

    fn write_constraints(&self, out: &mut Vec<u8>) {
        if let Some(constraints) = self.basic_constraints {
            extension(out, oid::BASIC_CONSTRAINTS, true, |out| encode::sequence(out, |out| constraints.write(out)));
        }
        if let Some(KeyUsages(bits)) = self.key_usage {
            extension(out, oid::KEY_USAGE, true, |out| encode::named_bits(out, bits));
        }
        let purposes: Vec<_> = self.extended_key_usage.iter().filter_map(ExtendedKeyUsage::oid).collect();
        if !purposes.is_empty() {
            extension(out, oid::EXTENDED_KEY_USAGE, false, |out| {
                encode::sequence(out, |out| purposes.iter().for_each(|purpose| encode::oid(out, purpose)));
            });
        }
        if !self.subject_alt_names.is_empty() {
            extension(out, oid::SUBJECT_ALT_NAME, false, |out| {
                encode::sequence(out, |out| self.subject_alt_names.iter().for_each(|name| name.write(out)));
            });
        }
    }

    fn write_key_ids(&self, out: &mut Vec<u8>) {
        if let Some(id) = &self.subject_key_id {
            extension(out, oid::SUBJECT_KEY_ID, false, |out| encode::octet_string(out, id));
        }
        if let Some(id) = &self.authority_key_id {
            write_authority_key_id(out, id);
        }
    }

    fn write_places(&self, out: &mut Vec<u8>) {
        if let Some(uri) = &self.crl_distribution_point {
            // DistributionPoint { distributionPoint [0] { fullName [0] { URI } } }
            extension(out, oid::CRL_DISTRIBUTION_POINTS, false, |out| {
                encode::sequence(out, |out| {
                    encode::sequence(out, |out| {
                        encode::nested(out, CONSTRUCTED_0, |out| {
                            encode::nested(out, CONSTRUCTED_0, |out| write_uri(out, uri));
                        });
                    });
                });
            });
        }
        if self.ocsp.is_some() || self.ca_issuers.is_some() {
            extension(out, oid::AUTHORITY_INFO_ACCESS, false, |out| {
                encode::sequence(out, |out| {
                    write_access(out, oid::ACCESS_OCSP, self.ocsp.as_deref());
                    write_access(out, oid::ACCESS_CA_ISSUERS, self.ca_issuers.as_deref());
                });
            });
        }
        if self.ocsp_no_check {
            extension(out, oid::OCSP_NO_CHECK, false, |out| encode::primitive(out, tag::NULL, &[]));
        }
    }

    /// Takes over one extension; false if it is of a kind that we do not know.
    pub(super) fn take(&mut self, extension: RawExtension<'_>) -> Result<bool, Malformed> {
        let mut value = Reader::new(extension.value);
        match extension.oid {
            oid::BASIC_CONSTRAINTS => self.basic_constraints = Some(BasicConstraints::read(value.sequence()?)?),
            oid::KEY_USAGE => self.key_usage = Some(KeyUsages(value.named_bits()?)),
            oid::EXTENDED_KEY_USAGE => {
                let mut purposes = value.sequence()?;
                while !purposes.is_empty() {
                    self.extended_key_usage.push(ExtendedKeyUsage::read(purposes.oid()?));
                }
            }
            oid::SUBJECT_ALT_NAME => {
                let mut names = value.sequence()?;
                while !names.is_empty() {
                    self.subject_alt_names.push(SubjectAltName::read(names.any()?)?);
                }
            }
            oid::SUBJECT_KEY_ID => self.subject_key_id = Some(value.octet_string()?.to_vec()),
            oid::AUTHORITY_KEY_ID => {
                let mut fields = value.sequence()?;
                self.authority_key_id = fields.optional(tag::context(0))?.map(<[u8]>::to_vec);
            }
            oid::CRL_DISTRIBUTION_POINTS => self.crl_distribution_point = read_distribution_points(value.sequence()?)?,
            oid::AUTHORITY_INFO_ACCESS => self.take_access(value.sequence()?)?,
            oid::OCSP_NO_CHECK => {
                value.content(tag::NULL, "NULL")?;
                self.ocsp_no_check = true;
            }
            _ => return Ok(false),
        }
        value.end()?;
        Ok(true)
    }

    fn take_access(&mut self, mut list: Reader<'_>) -> Result<(), Malformed> {
        while !list.is_empty() {
            let mut access = list.sequence()?;
            let method = access.oid()?;
            let uri = uri(access.any()?)?;
            access.end()?;
            match method {
                oid::ACCESS_OCSP if self.ocsp.is_none() => self.ocsp = uri,
                oid::ACCESS_CA_ISSUERS if self.ca_issuers.is_none() => self.ca_issuers = uri,
                _ => {}
            }
        }
        Ok(())
    }
}

impl BasicConstraints {
    fn write(self, out: &mut Vec<u8>) {
        if let Self::Ca { path_len } = self {
            encode::boolean_true(out);
            if let Some(length) = path_len {
                encode::unsigned(out, &[length]);
            }
        }
    }

    pub(super) fn read(mut fields: Reader<'_>) -> Result<Self, Malformed> {
        let ca = fields.boolean_default_false()?;
        let path_len = if fields.is_empty() { None } else { Some(fields.small_integer()?) };
        fields.end()?;
        let path_len = path_len.map(|length| u8::try_from(length).unwrap_or(u8::MAX));
        Ok(if ca { Self::Ca { path_len } } else { Self::EndEntity })
    }
}

impl ExtendedKeyUsage {
    const fn oid(&self) -> Option<&'static [u8]> {
        match self {
            Self::ClientAuth => Some(oid::CLIENT_AUTH),
            Self::ServerAuth => Some(oid::SERVER_AUTH),
            Self::OcspSigning => Some(oid::OCSP_SIGNING),
            Self::Other(_) => None,
        }
    }

    fn read(content: &[u8]) -> Self {
        match content {
            oid::CLIENT_AUTH => Self::ClientAuth,
            oid::SERVER_AUTH => Self::ServerAuth,
            oid::OCSP_SIGNING => Self::OcspSigning,
            other => Self::Other(oid::shown(other)),
        }
    }
}

impl SubjectAltName {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Dns(name) => encode::primitive(out, DNS, name.as_bytes()),
            Self::Ip(IpAddr::V4(address)) => encode::primitive(out, IP, &address.octets()),
            Self::Ip(IpAddr::V6(address)) => encode::primitive(out, IP, &address.octets()),
            Self::Uri(uri) => write_uri(out, uri),
            Self::Other(_) => {}
        }
    }

    fn read(value: Value<'_>) -> Result<Self, Malformed> {
        match value.tag {
            DNS => Ok(Self::Dns(ascii(value.content)?)),
            URI => Ok(Self::Uri(ascii(value.content)?)),
            IP => {
                let v4 = <[u8; 4]>::try_from(value.content).map(IpAddr::from);
                let v6 = || <[u8; 16]>::try_from(value.content).map(IpAddr::from);
                v4.or_else(|_| v6()).map(Self::Ip).map_err(|_| Malformed::wanted("an IP address of 4 or 16 octets"))
            }
            other => Ok(Self::Other(other & 0x1f)),
        }
    }
}

/// One extension whose value the closure writes.
pub(super) fn extension(out: &mut Vec<u8>, kind: &[u8], critical: bool, value: impl FnOnce(&mut Vec<u8>)) {
    encode::sequence(out, |out| {
        encode::oid(out, kind);
        if critical {
            encode::boolean_true(out);
        }
        encode::nested(out, tag::OCTET_STRING, value);
    });
}

/// The authorityKeyIdentifier with a key identifier only (RFC 5280 §4.2.1.1).
pub(super) fn write_authority_key_id(out: &mut Vec<u8>, id: &[u8]) {
    extension(out, oid::AUTHORITY_KEY_ID, false, |out| {
        encode::sequence(out, |out| encode::primitive(out, tag::context(0), id));
    });
}

fn write_uri(out: &mut Vec<u8>, uri: &str) {
    encode::primitive(out, URI, uri.as_bytes());
}

fn write_access(out: &mut Vec<u8>, method: &[u8], uri: Option<&str>) {
    if let Some(uri) = uri {
        encode::sequence(out, |out| {
            encode::oid(out, method);
            write_uri(out, uri);
        });
    }
}

/// The first URI among the full names of the distribution points.
fn read_distribution_points(mut points: Reader<'_>) -> Result<Option<String>, Malformed> {
    let mut found = None;
    while !points.is_empty() {
        let mut point = points.sequence()?;
        let Some(name) = point.optional(CONSTRUCTED_0)? else { continue };
        let Some(full_name) = Reader::new(name).optional(CONSTRUCTED_0)? else { continue };
        let mut names = Reader::new(full_name);
        while found.is_none() && !names.is_empty() {
            found = uri(names.any()?)?;
        }
    }
    Ok(found)
}

fn uri(name: Value<'_>) -> Result<Option<String>, Malformed> {
    if name.tag == URI { ascii(name.content).map(Some) } else { Ok(None) }
}

fn ascii(content: &[u8]) -> Result<String, Malformed> {
    match std::str::from_utf8(content) {
        Ok(text) if text.is_ascii() => Ok(text.to_owned()),
        _ => Err(Malformed::wanted("an IA5String")),
    }
}

const CONSTRUCTED_0: u8 = tag::context_constructed(0);
/// GeneralName's alternatives (RFC 5280 §4.2.1.6).
const DNS: u8 = tag::context(2);
const URI: u8 = tag::context(6);
const IP: u8 = tag::context(7);
