//! Lists of certificates that never were, of any length.
#![allow(dead_code, reason = "each bench uses another part of this")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench that cannot go on has failed")]

use std::time::Duration;

use portcullis::ca::keys::Issuer;
use portcullis::ident::Serial;
use portcullis::world::{Clock as _, SystemClock};
use portcullis::x509::crl::{Entry, ToBeSigned, encode_entry};
use portcullis::x509::reason::Reason;

use super::support::mixed;

/// Entries that are kept encoded in one piece.
const CHUNK: usize = 4096;

/// The serial number of the certificate with this number.
pub(crate) fn serial(number: u64) -> Serial {
    let mut octets = [0; 20];
    octets[..8].copy_from_slice(&mixed(number).to_be_bytes());
    octets[8..16].copy_from_slice(&mixed(number ^ (1 << 62)).to_be_bytes());
    Serial::from_random(octets)
}

/// Entries with a reason, sorted and encoded.
pub(crate) fn chunks(mut serials: Vec<Serial>) -> Vec<Vec<u8>> {
    let revoked_at = SystemClock.now();
    serials.sort_unstable();
    let encode = |serials: &[Serial]| {
        let mut out = Vec::new();
        for serial in serials {
            let reason = Some(Reason::KeyCompromise);
            encode_entry(&Entry { serial: *serial, revoked_at, reason }, &mut out);
        }
        out
    };
    serials.chunks(CHUNK).map(encode).collect()
}

/// A list of this issuer's, without its entries.
pub(crate) fn fields(issuer: &Issuer) -> ToBeSigned {
    let this_update = SystemClock.now().whole_seconds();
    ToBeSigned {
        issuer: issuer.certificate.subject_der.clone(),
        authority_key_id: issuer.certificate.extensions.subject_key_id.clone().unwrap(),
        number: vec![1],
        this_update,
        next_update: this_update.after(Duration::from_hours(72)),
    }
}
