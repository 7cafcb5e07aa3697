//! Certificate signing requests (PKCS #10, RFC 2986): the public key is taken, the rest is named and dropped.
//!
//! The key must be strong and the request signed with it. What a requester may not even ask for is refused: being a CA.

use rcgen::SigningKey;

use super::Malformed;
use super::decode::Reader;
use super::encode::{self, tag};
use super::extensions::{BasicConstraints, Extensions, KeyUsage, RawExtension};
use super::name::{Name, Subject};
use super::oid;
use super::pem::{self, Label, PemError};
use super::public_key::{BadSignature, PublicKey, WeakKey};
use super::signature::{self, Algorithm, Signed, SigningError, UnsupportedAlgorithm};

/// A request whose key is strong and whose sender has the private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The key to be certified.
    pub public_key: PublicKey,
    /// What was asked for besides and is not used, one line each: printable, each at most 300 characters, at most 33.
    pub ignored: Vec<String>,
}

/// Why a request was refused; never repeats the request's octets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// More than [`MOST_OCTETS`].
    #[error("wanted a certificate request of at most {MOST_OCTETS} octets, found {0}")]
    TooLarge(usize),
    /// The private key was sent instead of the request.
    #[error(
        "wanted a certificate request, found a private key: it never leaves its owner, so treat it as exposed and make a new one"
    )]
    PrivateKey,
    /// Not one PEM block with the right label.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// Not the DER of a request.
    #[error("wanted a certificate request (PKCS #10): {0}")]
    Malformed(#[from] Malformed),
    /// The key is weak or of an unknown kind.
    #[error(transparent)]
    Key(#[from] WeakKey),
    /// The signature algorithm is not accepted.
    #[error("the certificate request is {0}")]
    Algorithm(#[from] UnsupportedAlgorithm),
    /// The proof of possession fails.
    #[error("the certificate request is not signed with its own key; make it anew with the private key at hand")]
    Signature(#[from] BadSignature),
    /// CA:TRUE is asked for.
    #[error("the certificate request asks for a CA (basicConstraints CA:TRUE), which is refused; ask without it")]
    AsksForCa,
    /// keyCertSign is asked for.
    #[error("the certificate request asks for the key usage keyCertSign, which is refused; ask without it")]
    AsksForCertSign,
}

impl Request {
    /// Reads and checks one request in PEM or in DER.
    pub fn from_pem_or_der(bytes: &[u8]) -> Result<Self, CsrError> {
        if bytes.len() > MOST_OCTETS {
            return Err(CsrError::TooLarge(bytes.len()));
        }
        if pem::holds_private_key(bytes) || is_private_key(bytes) {
            return Err(CsrError::PrivateKey);
        }
        if bytes.first() == Some(&tag::SEQUENCE) {
            return Self::from_der(bytes);
        }
        Self::from_der(&pem::read(Label::Request, bytes)?)
    }

    fn from_der(der: &[u8]) -> Result<Self, CsrError> {
        if is_private_key(der) {
            return Err(CsrError::PrivateKey);
        }
        let signed = Signed::read(der)?;
        let mut fields = Reader::of_sequence(signed.tbs)?;
        if fields.small_integer()? != 0 {
            return Err(Malformed::wanted("version 1 of a certificate request").into());
        }
        let subject = Name::from_der(fields.value(tag::SEQUENCE, "a subject")?.raw)?;
        let public_key = PublicKey::from_spki(fields.value(tag::SEQUENCE, "a public key")?.raw)?;
        // RFC 2986 §4.1 demands the attributes; some tools leave them out when there are none.
        let attributes = Reader::new(fields.optional(tag::context_constructed(0))?.unwrap_or_default());
        fields.end()?;

        public_key.kind()?;
        public_key.verify(signed.algorithm()?, signed.tbs, signed.signature)?;
        let mut ignored = Ignored::default();
        if !subject.is_empty() {
            ignored.push(format!("subject {subject}"));
        }
        read_attributes(attributes, &mut ignored)?;
        Ok(Self { public_key, ignored: ignored.finish() })
    }
}

/// Writes a request for a key, with this subject and nothing else; gives DER.
pub fn write(subject: &Subject, key: &impl SigningKey) -> Result<Vec<u8>, SigningError> {
    let algorithm = Algorithm::of(key)?;
    let mut tbs = Vec::with_capacity(256);
    encode::sequence(&mut tbs, |out| {
        encode::unsigned(out, &[0]);
        out.extend_from_slice(&subject.to_der());
        out.extend_from_slice(&key.subject_public_key_info());
        encode::nested(out, tag::context_constructed(0), |_| {});
    });
    signature::sign(&tbs, algorithm, key)
}

fn read_attributes(mut attributes: Reader<'_>, ignored: &mut Ignored) -> Result<(), CsrError> {
    while !attributes.is_empty() {
        let mut attribute = attributes.sequence()?;
        let kind = attribute.oid()?;
        let mut values = Reader::new(attribute.content(tag::SET, "a SET of values")?);
        attribute.end()?;
        if !matches!(kind, oid::EXTENSION_REQUEST | oid::MICROSOFT_EXTENSIONS) {
            ignored.push(format!("attribute {}", oid::shown(kind)));
            continue;
        }
        while !values.is_empty() {
            let mut extensions = values.sequence()?;
            while !extensions.is_empty() {
                let extension = RawExtension::read(&mut extensions)?;
                check_extension(extension)?;
                ignored.push(format!("extension {}", oid::shown(extension.oid)));
            }
        }
    }
    Ok(())
}

fn check_extension(raw: RawExtension<'_>) -> Result<(), CsrError> {
    let mut asked = Extensions::default();
    asked.take(raw)?;
    if matches!(asked.basic_constraints, Some(BasicConstraints::Ca { .. })) {
        return Err(CsrError::AsksForCa);
    }
    if asked.key_usage.is_some_and(|usages| usages.contains(KeyUsage::KeyCertSign)) {
        return Err(CsrError::AsksForCertSign);
    }
    Ok(())
}

/// Whether this is the DER of a private key: PKCS #8, PKCS #1 or SEC 1 begin with a version where a request has a
/// SEQUENCE, and an encrypted PKCS #8 has two fields.
fn is_private_key(der: &[u8]) -> bool {
    let Ok(mut fields) = Reader::of_sequence(der) else { return false };
    match fields.any() {
        Ok(first) if first.tag == tag::INTEGER => true,
        Ok(first) if first.tag == tag::SEQUENCE => fields.octet_string().is_ok() && fields.is_empty(),
        _ => false,
    }
}

/// Lines for people, bounded: a request of 64 KiB can hold thousands of names.
#[derive(Default)]
struct Ignored {
    lines: Vec<String>,
    beyond: usize,
}

impl Ignored {
    fn push(&mut self, line: String) {
        if self.lines.len() == 32 {
            self.beyond += 1;
        } else if line.chars().nth(300).is_some() {
            self.lines.push(line.chars().take(299).chain(['…']).collect());
        } else {
            self.lines.push(line);
        }
    }

    fn finish(mut self) -> Vec<String> {
        if self.beyond > 0 {
            self.lines.push(format!("and {} more", self.beyond));
        }
        self.lines
    }
}

/// Some 20 times a request for an RSA key of 4096 bits.
pub const MOST_OCTETS: usize = 64 * 1024;

#[cfg(test)]
mod tests;
