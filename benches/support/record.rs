//! Records of any size, with credentials whose fingerprints are as random as real ones.
#![allow(dead_code, reason = "each bench uses another part of this")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::ops::Range;

use portcullis::ident::{AnyId, Fingerprint};
use portcullis::standing::{CutKey, Revision};
use portcullis::status::{Change, Credential, Statuses};
use portcullis::world::Timestamp;

use super::support::mixed;

/// Long after any run of a bench.
pub(crate) const FAR: Timestamp = Timestamp::from_unix_seconds(4_000_000_000);

/// The fingerprint of the credential with this number.
pub(crate) fn fingerprint(number: u64) -> Fingerprint {
    let [first, second] = [mixed(number).to_be_bytes(), mixed(number ^ (1 << 63)).to_be_bytes()];
    let mut octets = [0; 32];
    octets[..8].copy_from_slice(&first);
    octets[8..16].copy_from_slice(&second);
    Fingerprint::from_octets(octets)
}

/// Puts the credentials with these numbers, of so many users, on a record; those of one user share their cut keys.
pub(crate) fn fill(statuses: &Statuses, numbers: Range<u64>, users: u64) {
    let last = numbers.end;
    statuses.apply(numbers.map(|number| {
        let id: AnyId = format!("user-{}", number % users).parse().unwrap();
        Change::Recorded(Credential {
            key: fingerprint(number).short(),
            issued: Revision { era: 1, number },
            not_after: FAR,
            cut_keys: vec![CutKey::Identity(id.clone()), CutKey::IdentityOnCluster(id, "prod".parse().unwrap())],
        })
    }));
    statuses.reached(Revision { era: 1, number: last });
}
