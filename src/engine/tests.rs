use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::access::Part;
use crate::directory::identities::{AddIdentity, Made};
use crate::ident::IdentityId;
use crate::journal::{Entry, IdentityKind};
use crate::ledger::rows::CertificateRow;
use crate::store::memory::MemoryStore;
use crate::store::{Timeline, entry};
use crate::world::{Clock, SystemEntropy};

#[derive(Debug)]
struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000)
    }
}

fn engine() -> Engine {
    let world = World { clock: Arc::new(Fixed), entropy: Arc::new(SystemEntropy) };
    Engine::new(Arc::new(MemoryStore::new(7, Timeline([0; 16]))), world)
}

const ACTOR: Actor = Actor::System(Part::Initialisation);

fn add(id: &str) -> AddIdentity {
    AddIdentity {
        id: id.parse().unwrap(),
        kind: IdentityKind::User,
        groups: Vec::new(),
        agency: None,
        role: None,
        reuse: false,
    }
}

fn repeatable(key: &str, digest: u8) -> Repeatable {
    Repeatable { key: key.to_owned(), digest: [digest; 32] }
}

#[test]
fn a_request_that_is_sent_again_changes_nothing_and_gets_the_first_answer() {
    let engine = engine();
    let first = engine.run_once(&ACTOR, &repeatable("k", 1), &add("alice")).unwrap();
    let again = engine.run_once(&ACTOR, &repeatable("k", 1), &add("alice")).unwrap();
    assert_eq!(first.revision, again.revision);
    assert_eq!(engine.store().end(), first.revision);
}

#[test]
fn another_request_under_the_same_key_is_refused() {
    let engine = engine();
    engine.run_once(&ACTOR, &repeatable("k", 1), &add("alice")).unwrap();
    let refused = engine.run_once(&ACTOR, &repeatable("k", 2), &add("bob")).unwrap_err();
    assert_eq!(refused.code, Code::IdempotencyMismatch);
}

#[test]
fn keys_of_different_actors_do_not_meet() {
    let engine = engine();
    engine.run_once(&ACTOR, &repeatable("k", 1), &add("alice")).unwrap();
    let other = engine.run_once(&Actor::Recovery, &repeatable("k", 2), &add("bob"));
    assert_eq!(other.unwrap_err().code, Code::Forbidden);
}

/// Somebody else gets in between, as often as it says.
struct Contended<'e> {
    engine: &'e Engine,
    id: IdentityId,
    times: AtomicUsize,
    left: AtomicUsize,
}

impl Command for Contended<'_> {
    type Outcome = Made;

    fn permission(&self) -> Permission {
        Permission::IdentityWrite
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, permit: &Permit, txn: &mut Txn<'_>, moment: &crate::world::Moment<'_>) -> Result<Made, Rejected> {
        let times = self.times.fetch_add(1, Ordering::Relaxed);
        let made = AddIdentity { id: self.id.clone(), reuse: true, ..add("unused") }.decide(permit, txn, moment);
        if self.left.load(Ordering::Relaxed) > times {
            let group = crate::directory::identities::EditIdentity {
                id: "busy".parse().unwrap(),
                kind: IdentityKind::User,
                add_groups: Vec::new(),
                remove_groups: Vec::new(),
                agency: crate::directory::identities::AgencyChange::Stay,
                add_role: None,
                remove_role: None,
                force: false,
            };
            txn.get::<crate::directory::rows::IdentityRow>(&"busy".parse().unwrap())?;
            self.engine.run(&ACTOR, &group)?;
        }
        made
    }
}

#[test]
fn a_decision_whose_ground_has_moved_is_made_again() {
    let engine = engine();
    engine.run(&ACTOR, &add("busy")).unwrap();
    let contended = |left| Contended {
        engine: &engine,
        id: "alice".parse().unwrap(),
        times: AtomicUsize::new(0),
        left: AtomicUsize::new(left),
    };
    let three = contended(3);
    engine.run(&ACTOR, &three).unwrap();
    assert_eq!(three.times.load(Ordering::Relaxed), 4);
    let for_ever = Contended { id: "bob".parse().unwrap(), ..contended(usize::MAX) };
    assert_eq!(engine.run(&ACTOR, &for_ever).unwrap_err().code, Code::Busy);
}

#[test]
fn a_refusal_is_a_fact_and_many_are_one_count() {
    let engine = engine();
    for _ in 0..30 {
        assert_eq!(engine.run(&Actor::Recovery, &add("alice")).unwrap_err().code, Code::Forbidden);
    }
    let entries = engine.store().entries_after(Revision::default(), 100).unwrap();
    assert_eq!(entries.len(), 10);
    let first: Entry = entry::decode(&entries[0].1).unwrap();
    assert_eq!(first.events, [Event::Refused { permission: Permission::IdentityWrite, count: 1 }]);
    let mut window = Window { since: Fixed.now(), written: 10, unwritten: 20 };
    assert_eq!(window.count(Fixed.now().after(Duration::from_secs(1))), Some(21));
}

#[test]
fn a_certificate_that_is_not_on_the_record_is_nobody() {
    let engine = engine();
    let holder = Holder {
        id: "alice".parse().unwrap(),
        serial: crate::ident::Serial::from_random([1; 20]),
        fingerprint: Fingerprint::from_octets([1; 32]),
        realm: Realm::Management,
    };
    let refused = engine.run(&Actor::Holder(holder), &add("bob")).unwrap_err();
    assert_eq!(refused.code, Code::Unauthenticated);
    assert_eq!(engine.recorded(&Fingerprint::from_octets([1; 32])).unwrap(), None::<CertificateRow>);
}
