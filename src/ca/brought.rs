//! A CA of one's own: what it must be to issue here.

use rcgen::KeyPair;

use crate::command::{Code, Rejected};
use crate::world::Timestamp;
use crate::x509::certificate::Certificate;
use crate::x509::extensions::{ExtendedKeyUsage, KeyUsage, SubjectAltName};
use crate::x509::public_key::PublicKey;

/// A CA of one's own with its key, fit to issue: nothing else builds one.
#[derive(Debug)]
pub(super) struct Brought {
    certificate: Certificate,
    key: KeyPair,
}

impl Brought {
    /// Checks the certificate and that the key is its own; says what was wanted and found.
    pub(super) fn check(certificate: Certificate, key: KeyPair, now: Timestamp) -> Result<Self, Rejected> {
        may_issue(&certificate, now).map_err(|why| Rejected::invalid(format!("this CA cannot issue here: {why}")))?;
        let own = PublicKey::of(&key).map_err(|error| Rejected::new(Code::Internal, error.to_string()))?;
        if own != certificate.public_key {
            return Err(Rejected::invalid(
                "the key is not that of the CA's certificate: bring the two that belong together",
            ));
        }
        Ok(Self { certificate, key })
    }

    /// The two, to be stored and recorded.
    pub(super) fn into_parts(self) -> (Certificate, KeyPair) {
        (self.certificate, self.key)
    }
}

/// Whether a CA signs lists: a CA that does not say what it may do may do everything (RFC 5280 §4.2.1.3).
pub(super) fn signs_lists(certificate: &Certificate) -> bool {
    certificate.extensions.key_usage.is_none_or(|usages| usages.contains(KeyUsage::CrlSign))
}

/// Whether it looks like the CA that kubeadm makes, which every API server that kubeadm sets up trusts.
pub(super) fn is_kubeadms(certificate: &Certificate) -> bool {
    let name = SubjectAltName::Dns(KUBEADM.to_owned());
    certificate.subject.common_names() == [KUBEADM] || certificate.extensions.subject_alt_names.contains(&name)
}

/// A root signs issuing CAs and its own list, so it needs room below it, and cRLSign.
pub(super) fn must_be_a_root(certificate: &Certificate) -> Result<(), Rejected> {
    if certificate.path_len() == Some(0) {
        return Err(Rejected::invalid(
            "this CA cannot be our root: its path length is 0, and issuing CAs come below it",
        ));
    }
    if !signs_lists(certificate) {
        return Err(Rejected::invalid("this CA cannot be our root: its key usage is without cRLSign"));
    }
    Ok(())
}

fn may_issue(certificate: &Certificate, now: Timestamp) -> Result<(), String> {
    if certificate.version != 3 || !certificate.is_ca() {
        return Err("wanted a CA's certificate (version 3, basicConstraints CA:TRUE)".to_owned());
    }
    let extensions = &certificate.extensions;
    if extensions.key_usage.is_some_and(|usages| !usages.contains(KeyUsage::KeyCertSign)) {
        return Err("its key usage is without keyCertSign (RFC 5280 §4.2.1.3)".to_owned());
    }
    certificate.public_key.kind().map_err(|error| error.to_string())?;
    if let Some(unknown) = certificate.unknown_critical.first() {
        return Err(format!("its critical extension {unknown} limits it in a way that is not understood here"));
    }
    if let Some(twice) = &certificate.duplicate_extension {
        return Err(format!("its extension {twice} is there twice"));
    }
    let is_for_clients = |purpose: &ExtendedKeyUsage| match purpose {
        ExtendedKeyUsage::ClientAuth => true,
        ExtendedKeyUsage::Other(any) => any == ANY_PURPOSE,
        ExtendedKeyUsage::ServerAuth | ExtendedKeyUsage::OcspSigning => false,
    };
    let purposes = &extensions.extended_key_usage;
    if !purposes.is_empty() && !purposes.iter().any(is_for_clients) {
        return Err("its extended key usage is without clientAuth, so its clients would be refused".to_owned());
    }
    if certificate.subject.is_empty() {
        return Err("its subject is empty (RFC 5280 §4.1.2.6)".to_owned());
    }
    if extensions.subject_key_id.is_none() {
        return Err("it has no subjectKeyIdentifier (RFC 5280 §4.2.1.2)".to_owned());
    }
    if now < certificate.not_before || certificate.not_after < now {
        return Err(format!(
            "it is valid from {} to {}, and it is {now}",
            certificate.not_before, certificate.not_after
        ));
    }
    Ok(())
}

/// anyExtendedKeyUsage (RFC 5280 §4.2.1.12).
const ANY_PURPOSE: &str = "2.5.29.37.0";
/// What kubeadm calls its CA, as CN and as DNS name.
const KUBEADM: &str = "kubernetes";
