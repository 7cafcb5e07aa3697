//! The gate for client certificates behind the TLS stack: what a stock verifier lets pass and we do not.
//!
//! The TLS stack has verified the chain; this looks at the certificate itself. Each rule is one variant of [`Misshapen`].

use super::certificate::Certificate;
use super::extensions::{ExtendedKeyUsage, KeyUsage};
use super::public_key::WeakKey;

/// The rule that a client certificate breaks; the text is fit for a log line and for the person refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misshapen {
    /// RFC 5280 §4.1.2.1.
    #[error("wanted an X.509 version 3 certificate, found version {0}")]
    Version(u8),
    /// RFC 5280 §4.1.2.2.
    #[error("wanted a positive serial number of at most 20 octets")]
    Serial,
    /// Kubernetes takes the last of several CNs; others take the first.
    #[error("wanted exactly one CN in the subject, found {0}")]
    CommonNames(usize),
    /// An empty user name would be anonymous to some.
    #[error("wanted a CN that is not empty")]
    EmptyCommonName,
    /// Old string types read differently in different libraries.
    #[error("wanted CN, O and OU as UTF8String or PrintableString")]
    Text,
    /// RFC 5280 §4.2.1.9.
    #[error("wanted an end entity's certificate, found a CA's")]
    Ca,
    /// RFC 5280 §4.2.1.3.
    #[error("wanted the key usage digitalSignature")]
    NoDigitalSignature,
    /// RFC 5280 §4.2.1.3.
    #[error("the key usage keyCertSign is refused on a client certificate")]
    KeyCertSign,
    /// RFC 5280 §4.2.1.12: also neither anyExtendedKeyUsage nor none.
    #[error("wanted the extended key usage clientAuth and no other")]
    Purpose,
    /// The key.
    #[error(transparent)]
    Key(#[from] WeakKey),
    /// RFC 5280 §4.2.
    #[error("the critical extension {0} is not known here, so the certificate is refused")]
    UnknownCritical(String),
    /// RFC 5280 §4.2.
    #[error("the extension {0} is there twice")]
    DuplicateExtension(String),
    /// A hundred intermediates cost 87 ms of work before anyone is authenticated.
    #[error("wanted a chain of at most {MOST_CERTIFICATES} certificates, found {0}")]
    Chain(usize),
}

/// Checks every rule for a client certificate, in the order of [`Misshapen`].
pub fn check(certificate: &Certificate) -> Result<(), Misshapen> {
    if certificate.version != 3 {
        return Err(Misshapen::Version(certificate.version));
    }
    if certificate.serial.is_none() {
        return Err(Misshapen::Serial);
    }
    check_subject(certificate)?;
    check_uses(certificate)?;
    certificate.public_key.kind()?;
    if let Some(unknown) = certificate.unknown_critical.first() {
        return Err(Misshapen::UnknownCritical(unknown.clone()));
    }
    match &certificate.duplicate_extension {
        Some(twice) => Err(Misshapen::DuplicateExtension(twice.clone())),
        None => Ok(()),
    }
}

/// Checks how many certificates a client sent: its own and at most two intermediates.
pub fn check_chain_length(certificates: usize) -> Result<(), Misshapen> {
    if certificates > MOST_CERTIFICATES { Err(Misshapen::Chain(certificates)) } else { Ok(()) }
}

fn check_subject(certificate: &Certificate) -> Result<(), Misshapen> {
    match certificate.subject.common_names().as_slice() {
        [""] => Err(Misshapen::EmptyCommonName),
        [_] if certificate.subject.is_plain() => Ok(()),
        [_] => Err(Misshapen::Text),
        other => Err(Misshapen::CommonNames(other.len())),
    }
}

fn check_uses(certificate: &Certificate) -> Result<(), Misshapen> {
    if certificate.is_ca() {
        return Err(Misshapen::Ca);
    }
    if !certificate.may(KeyUsage::DigitalSignature) {
        return Err(Misshapen::NoDigitalSignature);
    }
    if certificate.may(KeyUsage::KeyCertSign) {
        return Err(Misshapen::KeyCertSign);
    }
    match certificate.extensions.extended_key_usage.as_slice() {
        [ExtendedKeyUsage::ClientAuth] => Ok(()),
        _ => Err(Misshapen::Purpose),
    }
}

/// Leaf, issuing CA, and one above it.
const MOST_CERTIFICATES: usize = 3;

#[cfg(test)]
mod tests;
