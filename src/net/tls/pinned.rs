//! A client that knows its server by the fingerprint of the CA above it, before it has that CA's certificate.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::ident::Fingerprint;

use super::{TlsError, Versions, provider, roots};

/// A client's configuration without a certificate of its own: the server's chain must contain the CA with this
/// SHA-256, and must be good under it.
pub fn pinned_client_config(ca: [u8; 32]) -> Result<Arc<ClientConfig>, TlsError> {
    let algorithms = provider().signature_verification_algorithms;
    let verifier = Arc::new(Pinned { ca: Fingerprint::from_octets(ca), algorithms });
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(Versions::Tls13.protocol_versions())
        .map_err(TlsError::Configuration)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Pinned {
    ca: Fingerprint,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let ca = intermediates.iter().find(|one| Fingerprint::of(one) == self.ca);
        let ca = ca.ok_or_else(|| Error::from(CertificateError::Other(OtherError(Arc::new(NotThere)))))?;
        let general = |error: &dyn fmt::Display| Error::General(error.to_string());
        let roots = roots(&[ca.clone().into_owned()]).map_err(|error| general(&error))?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| general(&error))?;
        verifier.verify_server_cert(leaf, intermediates, server_name, ocsp_response, now)
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

/// rustls shows what is wrong with a certificate as it is debugged, so that must be words too.
#[derive(thiserror::Error)]
#[error("{self:?}")]
struct NotThere;

impl fmt::Debug for NotThere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the CA that the token names is not in its chain: this is another server")
    }
}
