//! Certificates on the record as issuing puts them there, without the signing: rows and keys of real size, of made-up octets.
#![allow(dead_code, reason = "each bench uses another part of this")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::sync::atomic::{AtomicU64, Ordering};

use portcullis::access::{Actor, Holder, Realm};
use portcullis::ident::{AnyId, Fingerprint, IdentityId, IssuerName, Serial};
use portcullis::journal::Cause;
use portcullis::ledger::rows::{CertificateRole, CertificateRow};
use portcullis::ledger::{credentials, cuts};
use portcullis::standing::CutKey;
use portcullis::store::Store;
use portcullis::store::txn::Txn;
use portcullis::world::{Clock as _, Moment, SystemClock, SystemEntropy, Timestamp};

use super::support::mixed;

/// Certificates that each user has.
pub(crate) const OF_A_USER: u64 = 4;
/// One of so many users is revoked.
const REVOKED: u64 = 20;
/// A certificate with a P-256 key, a group and the usual extensions takes about so many octets.
const DER: usize = 600;
/// How many commit at once while many are made.
const COMMITTERS: usize = 256;
/// Long after any run of a bench.
const FAR: Timestamp = Timestamp::from_unix_seconds(4_000_000_000);
const CLUSTER: &str = "north";

/// Octets that look random, the same in every run.
fn octets<const N: usize>(number: u64, salt: u64) -> [u8; N] {
    let mut out = [0; N];
    for (place, piece) in (0_u64..).zip(out.chunks_mut(8)) {
        let piece_of = mixed(mixed(number ^ (salt << 56)) ^ place).to_be_bytes();
        piece.copy_from_slice(&piece_of[..piece.len()]);
    }
    out
}

/// The certificate with this number.
pub(crate) fn fingerprint(number: u64) -> Fingerprint {
    Fingerprint::from_octets(octets(number, 1))
}

/// Whether its user is one of those that [`revoke`] revokes.
pub(crate) const fn is_revoked(number: u64) -> bool {
    (number / OF_A_USER).is_multiple_of(REVOKED)
}

fn user(number: u64) -> IdentityId {
    format!("user-{}", number / OF_A_USER).parse().unwrap()
}

/// Records the certificate with this number; its commit is acknowledged.
pub(crate) fn record(store: &dyn Store, number: u64) {
    let (id, cluster) = (user(number), CLUSTER.parse().unwrap());
    let issuer = IssuerName::of_cluster(&cluster, 1);
    let group: portcullis::ident::GroupName = format!("team-{}", number % 100).parse().unwrap();
    let mut cut_keys = vec![
        CutKey::Identity(AnyId::from(&id)),
        CutKey::IdentityOnCluster(AnyId::from(&id), cluster.clone()),
        CutKey::Member(id.clone(), group.clone()),
        CutKey::Group(group.clone()),
        CutKey::Issuer(issuer.clone()),
    ];
    cut_keys.sort_unstable();
    let now = SystemClock.now();
    let row = CertificateRow {
        serial: Serial::from_random(octets(number, 2)),
        fingerprint: fingerprint(number),
        issuer,
        role: CertificateRole::User,
        subject: id.as_str().to_owned(),
        cluster: Some(cluster),
        groups: vec![group],
        agency: None,
        not_before: now,
        not_after: FAR,
        cut_keys,
        der: octets::<DER>(number, 3).to_vec(),
        is_imported: false,
    };
    let mut txn = Txn::begin(store);
    cuts::assert_heads(&mut txn, &row.cut_keys).unwrap();
    cuts::lock_covering(&mut txn, &row.cut_keys).unwrap();
    credentials::record(&mut txn, octets(number, 4), &row).unwrap();
    txn.commit(now, &admin()).unwrap();
}

/// Revokes the user who has the certificate with this number.
fn revoke(store: &dyn Store, number: u64) {
    let moment = Moment { now: SystemClock.now(), entropy: &SystemEntropy };
    let mut txn = Txn::begin(store);
    let key = CutKey::Identity(AnyId::from(&user(number)));
    cuts::cut_off(&mut txn, &moment, key, Cause::Revoked, &cuts::Why::default()).unwrap();
    txn.commit(moment.now, &admin()).unwrap();
}

fn admin() -> Actor {
    Actor::Holder(Holder {
        id: "root-admin".parse().unwrap(),
        serial: Serial::from_random(octets(0, 5)),
        fingerprint: Fingerprint::from_octets(octets(0, 6)),
        realm: Realm::Management,
    })
}

/// Records the first `count` certificates, then revokes a share of their users.
pub(crate) fn fill(store: &dyn Store, count: u64) {
    many(count, |number| record(store, number));
    let users = count.div_ceil(OF_A_USER * REVOKED);
    many(users, |number| revoke(store, number * OF_A_USER * REVOKED));
}

/// Does so many things from many threads, so that groups form.
fn many(count: u64, what: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..COMMITTERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    what(number);
                }
            });
        }
    });
}
