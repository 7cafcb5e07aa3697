//! The rules that every certificate is read back against before it is signed.
//!
//! The reader here is not the writer: `x509-parser` reads what our own encoder wrote. A rule that fails is a fault of
//! ours; nothing is signed and the fault is named.

use x509_parser::certificate::{TbsCertificate, TbsCertificateParser};
use x509_parser::error::X509Error;
use x509_parser::extensions::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, GeneralName, KeyIdentifier, KeyUsage,
    SubjectAlternativeName,
};
use x509_parser::nom::Parser as _;
use x509_parser::oid_registry::{
    OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_EXTENDED_KEY_USAGE,
    OID_X509_EXT_KEY_USAGE, OID_X509_EXT_SUBJECT_ALT_NAME, OID_X509_EXT_SUBJECT_KEY_IDENTIFIER, Oid,
};
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Version};

use super::keys::Issuer;
use super::template::{MAX_LIFETIME, Wanted, role_urn};
use crate::command::{Code, Rejected};
use crate::ident::is_reserved_by_kubernetes;
use crate::ledger::rows::CertificateRole;
use crate::x509::certificate::to_be_signed::Encoded;

/// A certificate that broke no rule: the one thing that may be signed.
#[derive(Debug)]
pub struct Linted<'e>(&'e Encoded);

impl Linted<'_> {
    /// What may be signed.
    pub fn encoded(&self) -> &Encoded {
        self.0
    }
}

/// Reads a certificate back before it is signed. `issuer` is absent for an authority that signs itself.
pub fn lint<'e>(encoded: &'e Encoded, wanted: &Wanted, issuer: Option<&Issuer>) -> Result<Linted<'e>, Rejected> {
    let broken = |rule: &str| {
        Rejected::new(Code::Internal, format!("a certificate was not signed because it breaks a rule: {rule}"))
    };
    // The rules read the values of those extensions that they are about.
    let mut parser = TbsCertificateParser::new().with_deep_parse_extensions(false);
    let (rest, tbs) = parser.parse(encoded.der()).map_err(|_| broken("it is not DER"))?;
    if !rest.is_empty() {
        return Err(broken("something follows it"));
    }
    for rule in [rule_of_form, rule_of_subject, rule_of_use, rule_of_key] {
        rule(&tbs, wanted).map_err(broken)?;
    }
    match issuer {
        Some(issuer) => rule_of_issuer(&tbs, wanted, issuer).map_err(broken)?,
        None if tbs.issuer.as_raw() == tbs.subject.as_raw() => {}
        None => return Err(broken("the root is its own issuer (RFC 5280 §3.2)")),
    }
    Ok(Linted(encoded))
}

type Broken = &'static str;

/// RFC 5280 §4.1.2.1, §4.1.2.2, §4.1.2.5, §4.2.
fn rule_of_form(tbs: &TbsCertificate<'_>, wanted: &Wanted) -> Result<(), Broken> {
    ensure(tbs.version == X509Version::V3, "it is version 3")?;
    let serial = tbs.raw_serial();
    ensure(serial.len() == 20, "its serial has 20 octets")?;
    ensure(serial.first().is_some_and(|first| first & 0x80 == 0), "its serial is positive")?;
    let validity = tbs.validity.not_after.timestamp().saturating_sub(tbs.validity.not_before.timestamp());
    ensure(validity > 0, "it ends after it begins")?;
    let longest = i64::try_from(wanted.lifetime.as_secs()).unwrap_or(i64::MAX).saturating_add(300);
    ensure(validity < longest, "it is not valid for longer than asked")?;
    let mut extensions = tbs.extensions().iter().enumerate();
    let is_earlier = |at, kind: &Oid<'_>| tbs.extensions().iter().take(at).any(|earlier| earlier.oid == *kind);
    ensure(!extensions.any(|(at, extension)| is_earlier(at, &extension.oid)), "each extension is there once")
}

/// One CN, which is what was wanted, and nothing that Kubernetes keeps for itself.
fn rule_of_subject(tbs: &TbsCertificate<'_>, wanted: &Wanted) -> Result<(), Broken> {
    let names: Vec<&str> = tbs.subject.iter_common_name().map(text).collect();
    ensure(names == [&wanted.subject.common_name], "its subject has the one CN that was wanted")?;
    let groups: Vec<&str> = tbs.subject.iter_organization().map(text).collect();
    ensure(groups == wanted.subject.organizations, "its subject has an O for each group and no other")?;
    ensure(groups.is_sorted(), "its groups are sorted")?;
    let reserved = names.iter().chain(&groups).any(|name| is_reserved_by_kubernetes(name));
    ensure(!reserved, "it names nothing that begins with system:")
}

/// RFC 5280 §4.2.1.3, §4.2.1.9, §4.2.1.12: a CA signs certificates, everything else has exactly one purpose.
fn rule_of_use(tbs: &TbsCertificate<'_>, wanted: &Wanted) -> Result<(), Broken> {
    let is_authority = wanted.role == CertificateRole::Authority;
    let constraints =
        extension::<BasicConstraints>(tbs, &OID_X509_EXT_BASIC_CONSTRAINTS)?.ok_or("it has basicConstraints")?;
    ensure(constraints.is_critical, "its basicConstraints are critical")?;
    ensure(constraints.value.ca == is_authority, "only an authority is a CA")?;
    let usage = extension::<KeyUsage>(tbs, &OID_X509_EXT_KEY_USAGE)?.ok_or("it has keyUsage")?;
    ensure(usage.is_critical, "its keyUsage is critical")?;
    ensure(usage.value.key_cert_sign() == is_authority, "only an authority signs certificates")?;
    ensure(usage.value.digital_signature() != is_authority, "only an end entity signs handshakes")?;
    let purposes = extension::<ExtendedKeyUsage<'_>>(tbs, &OID_X509_EXT_EXTENDED_KEY_USAGE)?.map(|found| found.value);
    let (client, server, responder) =
        purposes.as_ref().map_or((false, false, false), |eku| (eku.client_auth, eku.server_auth, eku.ocsp_signing));
    let has_other = purposes.as_ref().is_some_and(|eku| eku.any || !eku.other.is_empty());
    ensure(!has_other, "it has no other purpose")?;
    match wanted.role {
        CertificateRole::User | CertificateRole::Management | CertificateRole::Proxy => {
            ensure((client, server, responder) == (true, false, false), "it is for clients only")
        }
        CertificateRole::Server => {
            ensure((client, server, responder) == (false, true, false), "it is for servers only")
        }
        CertificateRole::Ocsp => ensure((client, server, responder) == (false, false, true), "it is for OCSP only"),
        CertificateRole::Authority => ensure(purposes.is_none(), "an authority has no purpose of its own"),
    }?;
    rule_of_lifetime(wanted)
}

fn rule_of_lifetime(wanted: &Wanted) -> Result<(), Broken> {
    let bounded = wanted.role != CertificateRole::User || wanted.lifetime <= MAX_LIFETIME;
    ensure(bounded, "a user's certificate is valid for a year at most")
}

/// The key is the one that was wanted, and the identifier is its own (RFC 7093 §2, method 1).
fn rule_of_key(tbs: &TbsCertificate<'_>, wanted: &Wanted) -> Result<(), Broken> {
    ensure(tbs.subject_pki.raw == wanted.public_key.spki(), "it has the key that was wanted")?;
    let identifier = extension::<KeyIdentifier<'_>>(tbs, &OID_X509_EXT_SUBJECT_KEY_IDENTIFIER)?;
    let is_its_own = identifier.is_some_and(|found| found.value.0 == wanted.public_key.id().octets());
    ensure(is_its_own, "its subjectKeyIdentifier is the key's")
}

/// RFC 5280 §4.1.2.4, §4.2.1.1: it names its issuer, ends no later, and does not carry the issuer's own key.
fn rule_of_issuer(tbs: &TbsCertificate<'_>, wanted: &Wanted, issuer: &Issuer) -> Result<(), Broken> {
    ensure(tbs.issuer.as_raw() == issuer.certificate.subject_der, "it names its issuer byte for byte")?;
    let ends = tbs.validity.not_after.timestamp();
    ensure(ends <= issuer.certificate.not_after.unix_seconds(), "it ends no later than its issuer")?;
    ensure(wanted.public_key.spki() != issuer.certificate.public_key.spki(), "its key is not its issuer's")?;
    let authority = extension::<AuthorityKeyIdentifier<'_>>(tbs, &OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER)?;
    let named = authority.and_then(|found| found.value.key_identifier).map(|id| id.0);
    let own = issuer.certificate.extensions.subject_key_id.as_deref();
    ensure(named == own, "its authorityKeyIdentifier is its issuer's")?;
    let infrastructure =
        matches!(wanted.role, CertificateRole::Management | CertificateRole::Server | CertificateRole::Proxy);
    if !infrastructure {
        return Ok(());
    }
    let urn = role_urn(wanted.role, &wanted.subject.common_name);
    let names =
        extension::<SubjectAlternativeName<'_>>(tbs, &OID_X509_EXT_SUBJECT_ALT_NAME)?.ok_or("it names its role")?;
    let has_role = names.value.general_names.iter().any(|name| matches!(name, GeneralName::URI(uri) if *uri == urn));
    ensure(has_role, "it names its role")
}

/// An extension as the other reader understands it.
struct Extension<T> {
    is_critical: bool,
    value: T,
}

/// The extension of this kind, if there is one; its value has nothing behind it.
fn extension<'a, T: FromDer<'a, X509Error>>(
    tbs: &TbsCertificate<'a>,
    kind: &Oid<'_>,
) -> Result<Option<Extension<T>>, Broken> {
    let Some(found) = tbs.iter_extensions().find(|extension| extension.oid == *kind) else { return Ok(None) };
    match T::from_der(found.value) {
        Ok(([], value)) => Ok(Some(Extension { is_critical: found.critical, value })),
        _ => Err("its extensions are readable"),
    }
}

fn text<'a>(attribute: &AttributeTypeAndValue<'a>) -> &'a str {
    attribute.as_str().unwrap_or_default()
}

fn ensure(holds: bool, rule: Broken) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(rule) }
}

#[cfg(test)]
mod tests;
