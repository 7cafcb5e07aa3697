use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::ident::{AnyId, Fingerprint};
use crate::publish::roll::{Listed, Member};
use crate::standing::{Cut, CutKey, Revision};
use crate::status::{Change, Credential};
use crate::x509::crl::read_entries;
use crate::x509::reason::Reason;

const BEGIN: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
/// Certificates in a run, and those of a user, whose serials are next to each other.
const CERTIFICATES: u16 = 2000;
const EACH: u16 = 8;

fn serial(n: u16) -> Serial {
    Serial::from_integer(&[[1].as_slice(), &n.to_be_bytes()].concat()).unwrap()
}

fn fingerprint(n: u16) -> Fingerprint {
    let mut octets = [9; 32];
    octets[..2].copy_from_slice(&n.wrapping_mul(40_503).to_be_bytes());
    octets[2..4].copy_from_slice(&n.to_be_bytes());
    Fingerprint::from_octets(octets)
}

fn user(n: u16) -> CutKey {
    CutKey::Identity(format!("user-{}", n / EACH).parse::<AnyId>().unwrap())
}

/// An authority's answers and roll, and the lists that are made of them.
struct World {
    issuer: IssuerName,
    roll: Roll,
    statuses: Statuses,
    encoded: Encoded,
    now: Timestamp,
    number: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Record(u16),
    /// On the roll already, but not yet in the statuses.
    Enrol(u16),
    /// In the statuses; it is on the roll, or will be.
    Learn(u16),
    CutOff(u16),
    Revoke(u16),
    List(u16),
    Forget(u16),
    Pass(u16),
    SetBack(u16),
    /// A user is cut off, and then so many strangers that it is forgotten who was.
    Storm(u16),
    Publish,
}

fn step() -> impl Strategy<Value = Step> {
    let one = || 0..CERTIFICATES;
    prop_oneof![
        4 => one().prop_map(Step::Record),
        1 => one().prop_map(Step::Enrol),
        1 => one().prop_map(Step::Learn),
        3 => one().prop_map(Step::CutOff),
        3 => one().prop_map(Step::Revoke),
        1 => one().prop_map(Step::List),
        2 => one().prop_map(Step::Forget),
        1 => any::<u16>().prop_map(Step::Pass),
        1 => any::<u16>().prop_map(Step::SetBack),
        1 => one().prop_map(Step::Storm),
        8 => Just(Step::Publish),
    ]
}

impl World {
    fn new() -> Self {
        let (issuer, statuses) = ("north-1".parse().unwrap(), Statuses::empty());
        statuses.reached(Revision { era: 1, number: 1 });
        let (roll, encoded) = (Roll::default(), Encoded::default());
        let mut world = Self { issuer, roll, statuses, encoded, now: BEGIN, number: 1 };
        (0..CERTIFICATES / 2).for_each(|n| world.take(&Step::Record(n)));
        world
    }

    fn member(n: u16) -> Member {
        Member { fingerprint: fingerprint(n), not_after: BEGIN.after(Duration::from_secs(u64::from(n) * 600)) }
    }

    fn cut(&mut self) -> Cut {
        self.number += 1;
        Cut { revision: Revision { era: 1, number: self.number }, at: self.now, reason: Reason::KeyCompromise }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Record(n) => {
                self.take(&Step::Enrol(n));
                self.take(&Step::Learn(n));
            }
            Step::Learn(n) => {
                self.number += 1;
                let issued = Revision { era: 1, number: self.number };
                let (key, not_after) = (fingerprint(n).short(), Self::member(n).not_after);
                let cut_keys = vec![user(n), CutKey::Issuer(self.issuer.clone())];
                self.statuses.apply([Change::Recorded(Credential { key, issued, not_after, cut_keys })]);
            }
            Step::Enrol(n) => self.roll.add(&self.issuer, serial(n), Self::member(n)),
            Step::CutOff(n) => {
                let cut = self.cut();
                self.statuses.apply([Change::CutOff(user(n), cut)]);
            }
            Step::Revoke(n) => {
                let cut = self.cut();
                self.statuses.apply([Change::Revoked(fingerprint(n).short(), cut)]);
            }
            Step::List(n) => {
                let (cut, until) = (self.cut(), Self::member(n).not_after);
                self.roll.add_listed(&self.issuer, serial(n), Listed { cut, until });
            }
            Step::Forget(n) => self.roll.remove(&self.issuer, serial(n)),
            Step::Pass(minutes) => self.now = self.now.after(Duration::from_secs(u64::from(minutes) * 15)),
            Step::SetBack(minutes) => self.now = self.now.before(Duration::from_secs(u64::from(minutes) * 15)),
            Step::Storm(n) => {
                self.take(&Step::CutOff(n));
                (0..1024).for_each(|stranger| self.take(&Step::CutOff(CERTIFICATES + stranger * EACH)));
            }
            Step::Publish => {
                let chunks = self.encoded.chunks(&self.issuer, &self.roll, &self.statuses, self.now).unwrap();
                let found: Vec<Entry> = chunks.iter().flat_map(|chunk| read_entries(chunk).unwrap()).collect();
                assert_eq!(found, self.expected());
            }
        }
    }

    /// Every entry, looked up one by one.
    fn expected(&self) -> Vec<Entry> {
        let entry =
            |serial: Serial, cut: Cut| Entry { serial, revoked_at: cut.at.whole_seconds(), reason: Some(cut.reason) };
        let all = (0..CERTIFICATES).filter_map(|n| {
            if Self::member(n).not_after.after(KEPT) < self.now {
                return None;
            }
            match self.roll.member(&self.issuer, serial(n)) {
                Some(member) => match self.statuses.status(&member.fingerprint, self.now).unwrap() {
                    Status::Revoked(cut) => Some(entry(serial(n), cut)),
                    _ => None,
                },
                None => self.roll.listed(&self.issuer, serial(n)).map(|listed| entry(serial(n), listed.cut)),
            }
        });
        all.collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_says_what_a_look_at_every_certificate_says(steps in proptest::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        steps.iter().chain([&Step::Publish]).for_each(|step| world.take(step));
    }
}

#[test]
fn only_what_was_touched_is_made_anew() {
    let mut world = World::new();
    let list =
        |world: &mut World| world.encoded.chunks(&world.issuer, &world.roll, &world.statuses, world.now).unwrap();
    let first = list(&mut world);
    assert!(first.len() > 2, "{}", first.len());
    let again = list(&mut world);
    assert!(first.iter().zip(&again).all(|(one, other)| Arc::ptr_eq(one, other)));
    world.take(&Step::Revoke(7));
    let third = list(&mut world);
    let anew = again.iter().zip(&third).filter(|(one, other)| !Arc::ptr_eq(one, other)).count();
    assert!((1..third.len()).contains(&anew), "{anew} of {}", third.len());
    world.take(&Step::Publish);
}

#[test]
fn what_the_statuses_learn_of_late_is_looked_at_again() {
    let mut world = World::new();
    let late = CERTIFICATES - 1;
    // It was revoked before the statuses knew it, so that no fact comes with it.
    for step in [Step::Revoke(late), Step::Enrol(late), Step::Publish, Step::Learn(late), Step::Publish] {
        world.take(&step);
    }
    assert_eq!(world.expected().len(), 1);
}

#[test]
fn stale_statuses_make_no_list() {
    let mut world = World::new();
    world.statuses.stop("the journal cannot be read");
    let refused = world.encoded.chunks(&world.issuer, &world.roll, &world.statuses, world.now);
    assert!(refused.unwrap_err().to_string().contains("the journal cannot be read"));
}
