//! Certificate revocation lists (RFC 5280 §5), version 2, whole and unsharded.
//!
//! A list of a million entries is 49 MB, and its price is one SHA-256 over them. So entries are encoded once, kept as
//! octets in sorted chunks, and copied once into the list; see [`encode_entry`] and [`ToBeSigned::sign_into`].

use rcgen::SigningKey;

use crate::ident::Serial;
use crate::world::Timestamp;

use super::Malformed;
use super::decode::Reader;
use super::encode::{self, tag};
use super::extensions::{self, RawExtension};
use super::moment;
use super::name::Name;
use super::oid;
use super::public_key::{BadSignature, PublicKey};
use super::reason::Reason;
use super::signature::{self, Algorithm, Signed, SigningError};

/// One revoked certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its serial number.
    pub serial: Serial,
    /// When it was revoked; whole seconds are written.
    pub revoked_at: Timestamp,
    /// Why; `unspecified` is not written (RFC 5280 §5.3.1) and reads back as `None`.
    pub reason: Option<Reason>,
}

/// Appends an entry's DER: 36 to 55 octets.
pub fn encode_entry(entry: &Entry, out: &mut Vec<u8>) {
    encode::sequence(out, |out| {
        encode::unsigned(out, entry.serial.octets());
        moment::write(out, entry.revoked_at);
        if let Some(reason) = entry.reason.filter(|reason| *reason != Reason::Unspecified) {
            encode::sequence(out, |out| {
                extensions::extension(out, oid::REASON_CODE, false, |out| {
                    encode::primitive(out, tag::ENUMERATED, &[reason.code()]);
                });
            });
        }
    });
}

/// Reads encoded entries, one after the other.
pub fn read_entries(octets: &[u8]) -> Result<Vec<Entry>, Malformed> {
    let (mut list, mut entries) = (Reader::new(octets), Vec::new());
    while !list.is_empty() {
        entries.push(Entry::read(list.sequence()?)?);
    }
    Ok(entries)
}

/// The fields of a list besides its entries.
#[derive(Debug, Clone)]
pub struct ToBeSigned {
    /// The issuer's Name in DER, byte for byte the subject of the CA's certificate.
    pub issuer: Vec<u8>,
    /// The CA's subjectKeyIdentifier (RFC 5280 §5.2.1).
    pub authority_key_id: Vec<u8>,
    /// The CRL number, big endian: grows with every list, at most 20 octets of which the first is below 128
    /// (RFC 5280 §5.2.3).
    pub number: Vec<u8>,
    /// When the list was made.
    pub this_update: Timestamp,
    /// When the next one will be there at the latest.
    pub next_update: Timestamp,
}

impl ToBeSigned {
    /// Signs a list of entries, which are to come sorted by serial number; gives the CRL in DER.
    pub fn sign_entries<'e>(
        &self,
        entries: impl IntoIterator<Item = &'e Entry>,
        key: &impl SigningKey,
    ) -> Result<Vec<u8>, SigningError> {
        let mut encoded = Vec::new();
        entries.into_iter().for_each(|entry| encode_entry(entry, &mut encoded));
        self.sign(&[&encoded], key)
    }

    /// Signs a list of already encoded entries, given in any number of chunks; gives the CRL in DER.
    pub fn sign(&self, chunks: &[impl AsRef<[u8]>], key: &impl SigningKey) -> Result<Vec<u8>, SigningError> {
        let mut out = Vec::new();
        self.sign_into(chunks, key, &mut out)?;
        Ok(out)
    }

    /// As [`sign`](Self::sign), into a buffer whose content is replaced and whose memory is used again, where it is enough.
    ///
    /// Costs one copy of the entries and the signature over them. With a million entries, 50 MB of memory fresh from
    /// the system cost more than the signature; the buffer of the list before last saves that.
    pub fn sign_into(
        &self,
        chunks: &[impl AsRef<[u8]>],
        key: &impl SigningKey,
        out: &mut Vec<u8>,
    ) -> Result<(), SigningError> {
        let algorithm = Algorithm::of(key)?;
        let entries: usize = chunks.iter().map(|chunk| chunk.as_ref().len()).sum();
        let (head, tail) = (self.head(algorithm, entries), self.tail());
        let tbs_content = head.len() + entries + tail.len();
        let tbs_length = encode::header_length(tbs_content) + tbs_content;

        // What is signed must lie in one piece, and so must the list: the outer header goes in front afterwards, into
        // room left for it. Its length hardly ever depends on the signature's.
        let room = encode::header_length(tbs_length + USUAL_SIGNATURE);
        let needed = room + tbs_length + MOST_SIGNATURE;
        if out.capacity() < needed {
            // And a little more: the next list is a little longer.
            *out = Vec::with_capacity(needed + needed / 64);
        }
        out.clear();
        out.resize(room, 0);
        encode::header(out, tag::SEQUENCE, tbs_content);
        out.extend_from_slice(&head);
        chunks.iter().for_each(|chunk| out.extend_from_slice(chunk.as_ref()));
        out.extend_from_slice(&tail);
        let signature = key.sign(out.get(room..).unwrap_or_default())?;
        out.extend_from_slice(algorithm.der());
        encode::bit_string(out, &signature);

        let mut header = Vec::with_capacity(room);
        encode::header(&mut header, tag::SEQUENCE, out.len() - room);
        out.splice(..room, header);
        Ok(())
    }

    /// The list before its signature, for a key that is elsewhere; `algorithm` is what that key signs with.
    pub fn unsigned(&self, chunks: &[impl AsRef<[u8]>], algorithm: Algorithm) -> Vec<u8> {
        let entries: usize = chunks.iter().map(|chunk| chunk.as_ref().len()).sum();
        let (head, tail) = (self.head(algorithm, entries), self.tail());
        let mut out = Vec::with_capacity(head.len() + entries + tail.len() + 8);
        encode::header(&mut out, tag::SEQUENCE, head.len() + entries + tail.len());
        out.extend_from_slice(&head);
        chunks.iter().for_each(|chunk| out.extend_from_slice(chunk.as_ref()));
        out.extend_from_slice(&tail);
        out
    }

    /// Everything before the first entry, without the TBSCertList's own header.
    fn head(&self, algorithm: Algorithm, entries: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        encode::unsigned(&mut out, &[1]);
        out.extend_from_slice(algorithm.der());
        out.extend_from_slice(&self.issuer);
        moment::write(&mut out, self.this_update);
        moment::write(&mut out, self.next_update);
        // RFC 5280 §5.1.2.6: absent when nothing is revoked.
        if entries > 0 {
            encode::header(&mut out, tag::SEQUENCE, entries);
        }
        out
    }

    /// Everything behind the last entry: the extensions.
    fn tail(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        encode::nested(&mut out, tag::context_constructed(0), |out| {
            encode::sequence(out, |out| {
                extensions::write_authority_key_id(out, &self.authority_key_id);
                extensions::extension(out, oid::CRL_NUMBER, false, |out| encode::unsigned(out, &self.number));
            });
        });
        out
    }
}

/// Signs what [`ToBeSigned::unsigned`] gave, once it reads as a list; gives the list.
pub fn sign_unsigned(tbs: &[u8], key: &impl SigningKey) -> Result<Crl, UnsignedError> {
    let der = signature::sign(tbs, Algorithm::of(key)?, key)?;
    Ok(Crl::from_der(&der)?)
}

/// Why a list was not signed.
#[derive(Debug, thiserror::Error)]
pub enum UnsignedError {
    /// It is no list, or one for another kind of key.
    #[error("wanted a list to be signed with this key: {0}")]
    Malformed(#[from] Malformed),
    /// The key failed.
    #[error(transparent)]
    Signing(#[from] SigningError),
}

/// A list as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crl {
    der: Vec<u8>,
    /// The issuer's Name, byte for byte.
    pub issuer: Vec<u8>,
    /// When it was made.
    pub this_update: Timestamp,
    /// When the next one is due.
    pub next_update: Option<Timestamp>,
    /// The CRL number without leading zeros.
    pub number: Option<Vec<u8>>,
    /// The authorityKeyIdentifier.
    pub authority_key_id: Option<Vec<u8>>,
    /// The entries in the order of the list.
    pub entries: Vec<Entry>,
}

impl Crl {
    /// Reads a CRL in DER without anything behind it.
    ///
    /// Refuses critical extensions that it does not know, such as those of partial and delta lists: taking one of
    /// those for a whole list would un-revoke.
    pub fn from_der(der: &[u8]) -> Result<Self, Malformed> {
        let signed = Signed::read(der)?;
        let mut fields = Reader::of_sequence(signed.tbs)?;
        if fields.next_is(tag::INTEGER) && fields.small_integer()? != 1 {
            return Err(Malformed::wanted("a CRL of version 2"));
        }
        if fields.value(tag::SEQUENCE, "a signature algorithm")?.raw != signed.algorithm_der {
            return Err(Malformed::wanted("the same signature algorithm inside and outside"));
        }
        let issuer = fields.value(tag::SEQUENCE, "an issuer")?.raw.to_vec();
        Name::from_der(&issuer)?;
        let this_update = moment::read(&mut fields)?;
        let dated = fields.next_is(tag::UTC_TIME) || fields.next_is(tag::GENERALIZED_TIME);
        let next_update = if dated { Some(moment::read(&mut fields)?) } else { None };
        let entries = read_entries(fields.optional(tag::SEQUENCE)?.unwrap_or_default())?;
        let mut crl =
            Self { der: der.to_vec(), issuer, this_update, next_update, number: None, authority_key_id: None, entries };
        if let Some(list) = fields.optional(tag::context_constructed(0))? {
            crl.take_extensions(Reader::of_sequence(list)?)?;
        }
        fields.end()?;
        Ok(crl)
    }

    fn take_extensions(&mut self, mut list: Reader<'_>) -> Result<(), Malformed> {
        while !list.is_empty() {
            let extension = RawExtension::read(&mut list)?;
            let mut value = Reader::new(extension.value);
            match extension.oid {
                oid::CRL_NUMBER => self.number = Some(unsigned(value.integer()?)?),
                oid::AUTHORITY_KEY_ID => {
                    self.authority_key_id = value.sequence()?.optional(tag::context(0))?.map(<[u8]>::to_vec);
                }
                _ if extension.critical => {
                    return Err(Malformed::wanted("a whole CRL without further critical extensions"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The list's octets.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Checks that this key signed the list.
    pub fn verify(&self, key: &PublicKey) -> Result<(), BadSignature> {
        let signed = Signed::read(&self.der).map_err(|_| BadSignature)?;
        let algorithm = signed.algorithm().map_err(|_| BadSignature)?;
        key.verify(algorithm, signed.tbs, signed.signature)
    }
}

impl Entry {
    fn read(mut fields: Reader<'_>) -> Result<Self, Malformed> {
        let serial = fields.integer()?;
        let serial = Serial::from_integer(serial).filter(|_| serial.len() <= 20);
        let serial = serial.ok_or(Malformed::wanted("a positive serial number of at most 20 octets"))?;
        let revoked_at = moment::read(&mut fields)?;
        let mut reason = None;
        if let Some(list) = fields.optional(tag::SEQUENCE)? {
            let mut list = Reader::new(list);
            while !list.is_empty() {
                let extension = RawExtension::read(&mut list)?;
                match extension.oid {
                    oid::REASON_CODE => reason = read_reason(extension.value)?,
                    _ if extension.critical => {
                        return Err(Malformed::wanted("an entry without further critical extensions"));
                    }
                    _ => {}
                }
            }
        }
        fields.end()?;
        Ok(Self { serial, revoked_at, reason })
    }
}

/// Reasons that we do not know, such as certificateHold, count as none: the entry stands all the same.
fn read_reason(value: &[u8]) -> Result<Option<Reason>, Malformed> {
    match Reader::new(value).content(tag::ENUMERATED, "a reason code")? {
        [code] => Ok(Reason::from_code(*code).filter(|reason| *reason != Reason::Unspecified)),
        _ => Err(Malformed::wanted("a reason code of one octet")),
    }
}

fn unsigned(content: &[u8]) -> Result<Vec<u8>, Malformed> {
    match content {
        [0x80..=0xff, ..] => Err(Malformed::wanted("a positive number")),
        [0, rest @ ..] => Ok(rest.to_vec()),
        _ => Ok(content.to_vec()),
    }
}

/// Algorithm and signature of P-256, the most common.
const USUAL_SIGNATURE: usize = 12 + 74;
/// Algorithm and signature of RSA with 4096 bits, the longest.
const MOST_SIGNATURE: usize = 15 + 4 + 1 + 512;

#[cfg(test)]
mod tests;
