//! Whose client certificates a server verifies.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::x509::certificate::Certificate;

use super::{TlsError, WebPkiClientVerifier, provider, roots};

/// The CAs whose client certificates are accepted, which can be replaced while connections are accepted.
///
/// The chain is judged at the earlier of now and the end of the leaf's validity: whoever comes with an expired
/// certificate completes the handshake, so that they can be told in words, and the handler must refuse them.
/// At most three certificates and 16 KiB are looked at, before any signature is checked: stock verifiers spend 87 ms
/// on a chain of a hundred.
pub struct ClientAnchors {
    current: ArcSwap<Verifier>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// `None` when no CA is trusted: then nobody's certificate is good.
struct Verifier(Option<Arc<dyn ClientCertVerifier>>);

impl ClientAnchors {
    /// These CAs, which need not be self-signed: issuing CAs are anchors in their own right.
    pub fn new(anchors: &[CertificateDer<'static>]) -> Result<Arc<Self>, TlsError> {
        let algorithms = provider().signature_verification_algorithms;
        Ok(Arc::new(Self { current: ArcSwap::from_pointee(verifier(anchors)?), algorithms }))
    }

    /// Accepts these CAs from the next handshake on; on an error the old ones stay.
    pub fn replace(&self, anchors: &[CertificateDer<'static>]) -> Result<(), TlsError> {
        self.current.store(Arc::new(verifier(anchors)?));
        Ok(())
    }
}

fn verifier(anchors: &[CertificateDer<'static>]) -> Result<Verifier, TlsError> {
    if anchors.is_empty() {
        return Ok(Verifier(None));
    }
    let roots = Arc::new(roots(anchors)?);
    let built = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| TlsError::Configuration(Error::General(error.to_string())))?;
    Ok(Verifier(Some(built)))
}

impl ClientCertVerifier for ClientAnchors {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// No hints: clients then send what they have, and the set can change between handshakes.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let octets: usize = intermediates.iter().map(|one| one.len()).sum::<usize>().saturating_add(leaf.len());
        if intermediates.len() >= MOST_CERTIFICATES || octets > MOST_OCTETS {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        let current = self.current.load_full();
        let Verifier(Some(verifier)) = &*current else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        verifier.verify_client_cert(leaf, intermediates, now.min(not_after(leaf)?))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for ClientAnchors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAnchors").finish_non_exhaustive()
    }
}

fn not_after(leaf: &CertificateDer<'_>) -> Result<UnixTime, Error> {
    let leaf = Certificate::from_der(leaf).map_err(|_| CertificateError::BadEncoding)?;
    let seconds = u64::try_from(leaf.not_after.unix_seconds()).map_err(|_| CertificateError::Expired)?;
    Ok(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
}

/// Leaf, issuing CA, and one above it.
const MOST_CERTIFICATES: usize = 3;
/// Ten times what ours take.
const MOST_OCTETS: usize = 16 * 1024;
