//! Looking credentials up, each chosen by the answer before it, and the memory that a credential takes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the figures")]

#[path = "support/record.rs"]
mod record;
mod support;

use std::hint::black_box;
use std::time::Instant;

use portcullis::ident::AnyId;
use portcullis::standing::{Cut, CutKey, Revision};
use portcullis::status::{Change, Lock, LockKey, Statuses};
use portcullis::world::Timestamp;
use portcullis::x509::reason::Reason;

use record::{fill, fingerprint};
use support::mixed;

const MILLION: u64 = 1_000_000;
/// Users that share the credentials among them, where cut sets are shared.
const USERS: u64 = 100_000;
/// Users who were cut off, and certificates that were revoked.
const GONE: u64 = 100_000;
const LOOK_UPS: u32 = 5_000_000;
const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

fn main() {
    // Each in a process of its own: what one frees, the next would not ask for.
    match support::case().as_deref() {
        None => {}
        Some("1") => measure(MILLION, USERS),
        Some("10") => measure(10 * MILLION, USERS),
        Some("distinct") => measure(MILLION, MILLION),
        Some(_) => ["1", "10", "distinct"].into_iter().for_each(support::run),
    }
}

fn measure(credentials: u64, users: u64) {
    let statuses = Statuses::empty();
    let before = support::resident(std::process::id());
    fill(&statuses, 0..credentials, users);
    let taken = support::resident(std::process::id()).saturating_sub(before);
    let choosing = choosing(credentials);
    let octets = taken as f64 / credentials as f64;
    let tell = |what: &str| {
        let mut rounds: Vec<f64> = (0..3).map(|round| look_up(&statuses, credentials, round)).collect();
        rounds.sort_by(f64::total_cmp);
        println!(
            "{credentials} credentials of {users} users, {what}: look-up {:.0} ns ({:.0} to {:.0}, of which {choosing:.0} \
             choosing), {octets:.1} octets each; {}",
            rounds[1],
            rounds[0],
            rounds[2],
            support::load(),
        );
    };
    tell("nothing else");
    burden(&statuses);
    tell("with revocations and a lock");
}

/// Cut-offs of users who hold nothing any more, as many revocations of single certificates, and a lock.
fn burden(statuses: &Statuses) {
    let id = |number: u64| -> AnyId { format!("gone-{number}").parse().unwrap() };
    let cut = Cut { revision: Revision { era: 2, number: 1 }, at: NOW, reason: Reason::Unspecified };
    statuses.apply((0..GONE).map(|number| Change::CutOff(CutKey::Identity(id(number)), cut.clone())));
    let gone = |number: u64| fingerprint(number | 1 << 40).short();
    statuses.apply((0..GONE).map(|number| Change::Revoked(gone(number), cut.clone())));
    let key = LockKey { id: id(0), cluster: None };
    statuses.apply([Change::Locked(Lock { key, at: NOW, revision: cut.revision })]);
}

/// Nanoseconds for each of many look-ups.
fn look_up(statuses: &Statuses, credentials: u64, round: u64) -> f64 {
    let (mut place, start) = (mixed(round) % credentials, Instant::now());
    for _ in 0..LOOK_UPS {
        let is_good = statuses.status(&fingerprint(place), NOW).is_ok_and(|status| status.is_good());
        assert!(black_box(is_good));
        place = mixed(place + u64::from(is_good)) % credentials;
    }
    start.elapsed().as_nanos() as f64 / f64::from(LOOK_UPS)
}

/// What the bench itself takes of that: making the next fingerprint.
fn choosing(credentials: u64) -> f64 {
    let (mut place, start) = (0, Instant::now());
    for _ in 0..LOOK_UPS {
        let octets = black_box(fingerprint(place));
        place = mixed(place + u64::from(octets.octets()[31] == 0)) % credentials;
    }
    start.elapsed().as_nanos() as f64 / f64::from(LOOK_UPS)
}
