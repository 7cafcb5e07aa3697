//! PEM, in which certificates, requests and keys come.

use portcullis::x509::pem::{self, Label};

/// What was read, written and read again is what was read.
pub(crate) fn target(octets: &[u8]) {
    for label in [Label::Certificate, Label::Request] {
        let Ok(blocks) = pem::read_all(label, octets) else { continue };
        assert!(!blocks.is_empty());
        let written: String = blocks.iter().map(|block| pem::write(label, block)).collect();
        assert_eq!(pem::read_all(label, written.as_bytes()).expect("what we wrote"), blocks);
    }
}
