//! Thousands of random histories in which wishes overlap; after each, every channel must say what the rules say.
//!
//! A history has users, agencies and groups of its own; many histories share a store. The same seed makes the same
//! choices, so that a failure, which names its seed, can be run again alone.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use portcullis::access::Actor;
use portcullis::command::{Code, Command, Rejected};
use portcullis::directory::groups::DeleteGroup;
use portcullis::directory::identities::AddIdentity;
use portcullis::engine::Engine;
use portcullis::ident::ClusterName;
use portcullis::journal::IdentityKind;
use portcullis::ledger::rows::CertificateRow;
use portcullis::revocation::wish::{Lock, Revoke, Unlock};
use portcullis::standing::Revision;
use portcullis::status::Status;

use crate::gate::{Finished, Pending, Until};
use crate::oracle::{Oracle, Verdict};
use crate::world::{
    CLUSTERS, Dice, World, add_agency, add_user, delete, holder, issue, join, leave, lock, move_to, renewal,
    revoke_agency, revoke_certificate, revoke_user, unlock,
};

#[test]
fn ten_thousand_histories_in_memory_end_as_the_rules_say() {
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let halves = [0, 5_000].map(|first| scope.spawn(move || many(World::in_memory, first..first + 5_000)));
        for half in halves {
            tally.add(&half.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
    });
    tally.must_overlap();
}

#[test]
fn five_hundred_histories_on_disk_end_as_the_rules_say() {
    many(World::on_disk, 20_000..20_500).must_overlap();
}

#[test]
fn a_cut_off_that_lands_during_an_issuance_makes_it_run_again() {
    many(World::in_memory, 30_000..31_000).must_overlap();
}

/// Runs a history for each seed.
fn many(world: fn(u64) -> World, seeds: std::ops::Range<u64>) -> Tally {
    let mut tally = Tally::default();
    let mut seeds = seeds.peekable();
    while let Some(first) = seeds.peek() {
        let mut stage = Stage { world: world(*first), oracle: Oracle::default(), tally: Tally::default() };
        for seed in seeds.by_ref().take(HISTORIES_PER_STORE) {
            let run = catch_unwind(AssertUnwindSafe(|| History::new(seed).run(&mut stage)));
            run.unwrap_or_else(|panic| failed(seed, panic));
        }
        tally.add(&stage.tally);
    }
    tally
}

#[expect(clippy::print_stderr, reason = "the seed is all that is needed to see it again")]
fn failed(seed: u64, panic: Box<dyn Any + Send>) {
    eprintln!("this was the history of seed {seed}");
    resume_unwind(panic)
}

/// A new store now and then, because some decisions read all of it.
const HISTORIES_PER_STORE: usize = 20;

struct Stage {
    world: World,
    oracle: Oracle,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    wishes: u64,
    overlapping: u64,
    conflicts: usize,
    issued: u64,
    dead: u64,
    locked: u64,
    restarts: u64,
}

impl Tally {
    const fn add(&mut self, other: &Self) {
        self.wishes += other.wishes;
        self.overlapping += other.overlapping;
        self.conflicts += other.conflicts;
        self.issued += other.issued;
        self.dead += other.dead;
        self.locked += other.locked;
        self.restarts += other.restarts;
    }

    /// The histories were worth running.
    fn must_overlap(&self) {
        assert!(self.overlapping * 100 >= self.wishes * 30, "too few wishes overlap: {self:?}");
        assert!(self.dead > 0 && self.locked > 0 && self.restarts > 0 && self.conflicts > 0, "{self:?}");
    }
}

/// One history: who takes part, and what was issued.
struct History {
    dice: Dice,
    users: [String; 2],
    agencies: [String; 2],
    groups: [String; 2],
    certificates: Vec<CertificateRow>,
    /// What was issued, and the end of the journal when it was decided.
    decided: Vec<(CertificateRow, Revision)>,
}

/// A wish under way.
struct Open {
    pending: Pending<Told>,
    /// How many commits the journal had when it began.
    begun: u64,
}

/// What a wish ended with: a certificate, nothing, or a refusal.
type Told = Result<Option<CertificateRow>, Rejected>;

impl History {
    fn new(seed: u64) -> Self {
        let pair = |name: &str| ["a", "b"].map(|which| format!("{name}{seed}{which}"));
        Self {
            dice: Dice::new(seed),
            users: pair("user"),
            agencies: pair("agency"),
            groups: pair("group"),
            certificates: Vec::new(),
            decided: Vec::new(),
        }
    }

    fn run(mut self, stage: &mut Stage) {
        self.begin(stage);
        let mut open: Vec<Open> = Vec::new();
        let mut left = WISHES;
        while left > 0 || !open.is_empty() {
            if self.dice.one_in(60) {
                for dying in open.drain(..) {
                    self.ended(stage, dying.begun, dying.pending.kill());
                }
                stage.world.restart();
                stage.tally.restarts += 1;
            } else if left > 0 && (open.is_empty() || (open.len() < 3 && self.dice.one_in(2))) {
                left -= 1;
                open.push(self.open(stage));
            } else {
                let chosen = usize::try_from(self.dice.below(open.len() as u64)).unwrap();
                if self.dice.one_in(3) {
                    open[chosen].pending.advance(self.until());
                }
                if open[chosen].pending.has_ended() || self.dice.one_in(2) {
                    let Open { pending, begun } = open.swap_remove(chosen);
                    self.ended(stage, begun, pending.finish());
                }
            }
        }
        self.judge(stage);
    }

    /// Who is there before anything overlaps.
    fn begin(&mut self, stage: &Stage) {
        let world = &stage.world;
        let [first, second] = &self.users;
        let [agency, other] = &self.agencies;
        let groups: Vec<&str> = self.groups.iter().map(String::as_str).collect();
        world.run(&add_agency(agency)).unwrap();
        world.run(&add_agency(other)).unwrap();
        world.run(&add_user(first, &groups, Some(agency))).unwrap();
        world.run(&add_user(second, &groups[..1], None)).unwrap();
        self.certificates.push(world.issued(first));
    }

    fn until(&mut self) -> Until {
        if self.dice.one_in(3) { Until::Commit } else { Until::Reads(u32::try_from(self.dice.below(24)).unwrap()) }
    }

    fn open(&mut self, stage: &Stage) -> Open {
        let (actor, wish) = self.wish(&stage.world);
        let until = self.until();
        let begun = stage.world.store().end().number;
        let pending =
            Pending::start(stage.world.store(), stage.world.outside(), until, move |engine| wish(engine, &actor));
        Open { pending, begun }
    }

    /// Somebody's next wish.
    fn wish(&mut self, world: &World) -> (Actor, Wish) {
        let dice = &mut self.dice;
        let user = dice.pick(&self.users).clone();
        let agency = dice.pick(&self.agencies).clone();
        let group = dice.pick(&self.groups).clone();
        let id = if dice.one_in(3) { agency.clone() } else { user.clone() };
        let on = *dice.pick(&CLUSTERS);
        let cluster: Option<ClusterName> = dice.one_in(4).then(|| on.parse().unwrap());
        let held = dice.pick(&self.certificates).clone();
        let owner = if dice.one_in(3) { holder(&held) } else { world.admin() };
        let wish = match dice.below(20) {
            0..=3 => issuing(issue(&id, on)),
            4..=7 => return (holder(&held), issuing(renewal(&held))),
            8 => changing(Revoke { cluster, lock: dice.one_in(4), ..revoke_user(&id) }),
            9 => changing(Revoke { cluster, ..revoke_agency(&agency) }),
            10 | 11 => return (owner, changing(revoke_certificate(&held))),
            12 => changing(move_to(&user, dice.one_in(2).then_some(agency.as_str()))),
            13 => changing(leave(&user, &[&group])),
            14 => changing(join(&user, &[&group])),
            15 => changing(Lock { cluster, ..lock(&id) }),
            16 => changing(Unlock { cluster, ..unlock(&id) }),
            17 if dice.one_in(2) => changing(delete(IdentityKind::User, &user)),
            17 => changing(delete(IdentityKind::Agency, &agency)),
            18 if dice.one_in(2) => changing(AddIdentity { reuse: true, ..add_user(&user, &[&group], Some(&agency)) }),
            18 => changing(AddIdentity { reuse: true, ..add_agency(&agency) }),
            _ => changing(DeleteGroup { name: group.parse().unwrap() }),
        };
        (world.admin(), wish)
    }

    fn ended(&mut self, stage: &mut Stage, begun: u64, ended: Finished<Told>) {
        let Finished { result, decided_at, conflicts } = ended;
        let own = u64::from(decided_at.is_some());
        stage.tally.wishes += 1;
        stage.tally.overlapping += u64::from(stage.world.store().end().number > begun + own);
        stage.tally.conflicts += conflicts;
        match result {
            Ok(None) => {}
            Ok(Some(row)) => {
                stage.tally.issued += 1;
                self.certificates.push(row.clone());
                self.decided.push((row, decided_at.unwrap()));
            }
            Err(rejected) => {
                let is_fault = matches!(rejected.code, Code::Busy | Code::Internal | Code::OutcomeUnknown);
                assert!(!is_fault, "{rejected:?}");
            }
        }
    }

    /// Everybody must agree on everything that was issued.
    fn judge(&self, stage: &mut Stage) {
        let Stage { world, oracle, tally } = stage;
        oracle.hear(&world.entries_after(oracle.cursor));
        for row in &self.certificates {
            let verdict = oracle.verdict(&row.fingerprint);
            let status = world.status(row);
            let agrees = match (verdict, &status) {
                (Verdict::Dead(since), Status::Revoked(cut)) => cut.revision == since,
                (Verdict::Locked, Status::Locked(_)) | (Verdict::Good, Status::Good) => true,
                _ => false,
            };
            assert!(agrees, "the rules say {verdict:?} of {}, the product says {status:?}", row.fingerprint);
            tally.dead += u64::from(matches!(verdict, Verdict::Dead(_)));
            tally.locked += u64::from(verdict == Verdict::Locked);
        }
        for (row, decided) in &self.decided {
            let overtaken = oracle.overtaken(&row.fingerprint, *decided);
            assert_eq!(overtaken, None, "cut off after what was issued to {} was decided", row.subject);
        }
    }
}

/// Wishes in a history after its beginning.
const WISHES: usize = 6;

type Wish = Box<dyn FnOnce(&Engine, &Actor) -> Told + Send>;

fn issuing(wish: portcullis::ca::issue::Issue) -> Wish {
    Box::new(move |engine, actor| engine.run(actor, &wish).map(|done| Some(done.outcome.row)))
}

fn changing<C: Command + Send + 'static>(wish: C) -> Wish {
    Box::new(move |engine, actor| engine.run(actor, &wish).map(|_| None))
}
