//! Certificate requests, as `issue --csr` and the API take them.

use portcullis::x509::csr::Request;
use portcullis::x509::pem::{self, Label};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::error::X509Error;
use x509_parser::prelude::FromDer;

/// Whatever is accepted, another parser reads too, with the same key and a good signature; what was dropped is said in
/// lines that a terminal can show.
pub(crate) fn target(octets: &[u8]) {
    let Ok(request) = Request::from_pem_or_der(octets) else { return };
    let der = if octets.first() == Some(&0x30) { octets.to_vec() } else { pem::read(Label::Request, octets).unwrap() };
    let (left, theirs) = X509CertificationRequest::from_der(&der).expect("another parser reads it");
    assert!(left.is_empty());
    assert_eq!(theirs.certification_request_info.subject_pki.raw, request.public_key.spki());
    // The other verifier does not know every digest that a curve goes with.
    assert!(matches!(theirs.verify_signature(), Ok(()) | Err(X509Error::SignatureUnsupportedAlgorithm)));
    assert!(request.ignored.len() <= 33);
    for line in &request.ignored {
        assert!(line.chars().count() <= 300 && !line.chars().any(char::is_control), "{line:?}");
    }
}
