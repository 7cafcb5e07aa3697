//! A handshake and a revocation at the same moment, in every order that their locks allow: there is never a live
//! connection of a dead credential.
//!
//! The register of connections is the proxy's own source, built once more with a lock of `shuttle`'s, which hands over to
//! any other thread wherever one takes or gives up the lock. What `proxy/admit.rs` and `Register::keep_judging` do around
//! it, one line each, is done here.
#![expect(clippy::unwrap_used, reason = "what fails here is a failed test")]
#![allow(dead_code, unreachable_pub, reason = "the register is a part of something else")]

#[path = "../src/proxy/connections.rs"]
mod connections;
#[path = "../src/proxy/deny.rs"]
mod deny;
#[path = "../src/proxy/miss.rs"]
mod miss;
#[path = "../src/proxy/refuse.rs"]
mod refuse;

/// In the place of `proxy/sync.rs`.
mod sync {
    pub(crate) use shuttle::sync::{Mutex, MutexGuard};
}

pub(crate) use portcullis::{ident, kube, net, observe, standing, status, world};

use std::sync::Arc;

use connections::{Register, Registered};
use deny::Denied;
use ident::Fingerprint;
use observe::Metrics;
use refuse::Tally;
use shuttle::scheduler::DfsScheduler;
use shuttle::{Config, Runner, thread};
use standing::{Cut, CutKey, Revision};
use status::{Change, Credential, Statuses};
use world::{SystemClock, Timestamp};
use x509::reason::Reason;

use portcullis::x509;

const ALICE: u8 = 1;
const BOB: u8 = 2;
/// More orders than there are.
const MOST: usize = 500_000;

struct Proxy {
    register: Arc<Register>,
    statuses: Arc<Statuses>,
}

impl Proxy {
    fn new() -> Self {
        let statuses = Arc::new(Statuses::empty());
        for (one, id) in [(ALICE, "alice"), (BOB, "bob")] {
            statuses.apply([Change::Recorded(Credential {
                key: fingerprint(one).short(),
                issued: Revision { era: 1, number: u64::from(one) },
                not_after: far(),
                cut_keys: vec![CutKey::Identity(id.parse().unwrap())],
            })]);
        }
        statuses.reached(Revision { era: 1, number: 2 });
        let tally = Arc::new(Tally::new(&Metrics::new()));
        let register = Arc::new(Register::new(Arc::clone(&statuses), Denied::default(), Arc::new(SystemClock), tally));
        Self { register, statuses }
    }

    /// As `admit` does: registered first, judged afterwards.
    fn shake_hands(&self, one: u8) -> Option<Registered> {
        let registered = self.register.register(fingerprint(one), "somebody", None, far());
        thread::yield_now();
        self.register.judge(registered.leash()).is_ok().then_some(registered)
    }

    /// As `statuses` and `keep_judging` do: applied first, the register gone through afterwards.
    fn revoke(&self, id: &str, number: u64) {
        let revision = Revision { era: 1, number };
        let cut = Cut { revision, at: Timestamp::from_unix_seconds(1_800_000_000), reason: Reason::Unspecified };
        self.statuses.apply([Change::CutOff(CutKey::Identity(id.parse().unwrap()), cut)]);
        thread::yield_now();
        self.statuses.reached(revision);
        self.register.judge_all();
    }
}

fn fingerprint(one: u8) -> Fingerprint {
    Fingerprint::from_octets([one; 32])
}

fn far() -> Timestamp {
    Timestamp::from_unix_seconds(4_000_000_000)
}

/// Handshakes of alice's, and of bob's, while alice is revoked; the second of hers ends by itself.
fn race(alices: usize, bobs: usize) {
    let proxy = Arc::new(Proxy::new());
    let client = |one: u8, stays: bool| {
        let proxy = Arc::clone(&proxy);
        thread::spawn(move || proxy.shake_hands(one).filter(|_| stays))
    };
    let alices: Vec<_> = (0..alices).map(|number| client(ALICE, number != 1)).collect();
    let bobs: Vec<_> = (0..bobs).map(|_| client(BOB, true)).collect();
    let revoking = Arc::clone(&proxy);
    let revoking = thread::spawn(move || revoking.revoke("alice", 3));
    let let_in: Vec<Registered> = alices.into_iter().filter_map(|alice| alice.join().unwrap()).collect();
    let bobs: Vec<Registered> = bobs.into_iter().map(|bob| bob.join().unwrap().unwrap()).collect();
    revoking.join().unwrap();
    for registered in &let_in {
        assert!(registered.leash().is_cut(), "a live connection of a dead credential");
    }
    assert!(bobs.iter().all(|bob| !bob.leash().is_cut()), "nobody revoked bob");
    assert_eq!(proxy.register.count(), let_in.len() + bobs.len());
    assert!(proxy.shake_hands(ALICE).is_none());
}

#[test]
fn no_order_of_one_handshake_and_a_revocation_leaves_a_live_connection_of_a_dead_credential() {
    let every_order = DfsScheduler::new(Some(MOST), false);
    let tried = Runner::new(every_order, Config::default()).run(|| race(1, 0));
    assert!(tried > 100 && tried < MOST, "{tried} orders");
}

#[test]
fn nor_does_any_of_many_orders_of_several_handshakes() {
    shuttle::check_random(|| race(4, 1), 5_000);
}
