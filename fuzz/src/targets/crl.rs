//! Revocation lists, which a restore takes as witnesses.

use portcullis::x509::crl::Crl;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

/// Another parser finds the same serial numbers, where it reads the list: it looks into extensions that we pass over.
pub(crate) fn target(octets: &[u8]) {
    let Ok(ours) = Crl::from_der(octets) else { return };
    assert_eq!(ours.der(), octets);
    let Ok((left, theirs)) = CertificateRevocationList::from_der(octets) else { return };
    assert!(left.is_empty());
    let theirs: Vec<String> = theirs.iter_revoked_certificates().map(|entry| hex(entry.raw_serial())).collect();
    let ours: Vec<String> =
        ours.entries.iter().map(|entry| entry.serial.to_string().trim_start_matches('0').to_owned()).collect();
    assert_eq!(ours, theirs);
}

fn hex(octets: &[u8]) -> String {
    let digits: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    digits.trim_start_matches('0').to_owned()
}
