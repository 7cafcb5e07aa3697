//! `kill -9` at random moments while certificates are issued and revoked: nothing acknowledged is ever lost.
//!
//! Two of three moments are in the middle of a write, which `aim` waits for, and which large commits beside the others
//! make long; the rest are random in time.
//!
//! `load` is the child, this program once more; `base` is the store it works on; `ledger` holds what the child's
//! callers were told. `PORTCULLIS_KILLS` chooses the number of kills (`just kills 10000`), `PORTCULLIS_KILLS_SEED`
//! their moments.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "what fails here is a failed test")]
#![expect(
    clippy::disallowed_methods,
    reason = "the number of kills, and what a child is to do, are settings of a test"
)]

#[path = "kills/aim.rs"]
mod aim;
#[path = "kills/base.rs"]
mod base;
#[path = "kills/ledger.rs"]
mod ledger;
#[path = "kills/load.rs"]
mod load;

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use portcullis::store::Store;

use self::base::Base;
use self::ledger::{Heard, Ledger};

/// How many kills one store goes through before another takes its place, so that a start stays short.
const KILLS_PER_STORE: u64 = 20;

/// A child that has not opened its store by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came out.
#[derive(Debug, Default)]
struct Report {
    kills: u64,
    issued: u64,
    revoked: u64,
    commits: u64,
    inside: u64,
    torn: u64,
    slowest: Duration,
}

impl Report {
    fn print(&self, seed: u64, took: Duration) {
        use std::io::Write as _;
        let rows = [
            ("kills", self.kills),
            ("inside a commit", self.inside),
            ("torn tails", self.torn),
            ("commits acknowledged", self.commits),
            ("issuances acknowledged", self.issued),
            ("revocations acknowledged", self.revoked),
            ("slowest start, ms", u64::try_from(self.slowest.as_millis()).unwrap()),
            ("seconds", took.as_secs()),
        ];
        let mut out = std::io::stderr().lock();
        writeln!(out, "| seed {seed} | |\n|---|---|").unwrap();
        for (name, count) in rows {
            writeln!(out, "| {name} | {count} |").unwrap();
        }
    }
}

#[test]
fn whatever_was_acknowledged_survives_every_kill() {
    let began = Instant::now();
    let kills = number("PORTCULLIS_KILLS").unwrap_or(200);
    let seed = number("PORTCULLIS_KILLS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let base = Base::make();
    let mut dice = seed;
    let mut report = Report::default();
    let mut running = None;
    while report.kills < kills {
        let round = report.kills;
        let (folder, mut ledger) = match running.take() {
            Some(place) if !round.is_multiple_of(KILLS_PER_STORE) => place,
            _ => {
                let folder = base.lay_out();
                let end = base::open(&folder).unwrap().end();
                (folder, Ledger::new(end))
            }
        };
        let moment = match roll(&mut dice) {
            chosen if round.is_multiple_of(3) => Moment::After(Duration::from_micros(chosen % 80_000)),
            chosen => Moment::Writing(1 + chosen % 2),
        };
        let heard = killed(base.home.path(), &moment, &mut ledger);
        let before = put_aside(&folder);
        let start = Instant::now();
        let opened = base::open(&folder);
        let store: Arc<dyn Store> = match opened {
            Ok(store) => Arc::new(store),
            Err(error) => fail(base, &format!("kill {round} of seed {seed}: the store does not open: {error}")),
        };
        report.slowest = report.slowest.max(start.elapsed());
        let owed = ledger.owed(&store);
        if !owed.is_empty() {
            drop(store);
            fail(base, &format!("kill {round} of seed {seed}: {owed:#?}"));
        }
        report.kills += 1;
        report.issued += heard.issued;
        report.revoked += heard.revoked;
        report.commits += heard.commits;
        report.inside += u64::from(heard.open > 0);
        report.torn += u64::from(put_aside(&folder) > before);
        running = Some((folder, ledger));
    }
    report.print(seed, began.elapsed());
    assert!(report.inside * 4 >= kills, "too few kills fell inside a commit: {report:?}");
    assert!(report.torn * 20 >= kills, "too few kills tore the journal's end: {report:?}");
    assert!(report.issued >= kills && report.revoked >= kills, "too little was acknowledged: {report:?}");
}

/// When a child is killed, counted from when it begins to work.
enum Moment {
    After(Duration),
    /// While it writes its so manieth long frame.
    Writing(u64),
}

/// Starts a child, kills it at that moment, and enters what it had said.
fn killed(home: &Path, moment: &Moment, ledger: &mut Ledger) -> Heard {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "load::until_killed", "--nocapture", "--test-threads=1"])
        .env(load::HOME, home)
        .env(load::LARGELY, if matches!(moment, Moment::Writing(_)) { "yes" } else { "no" })
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.stdout.take().unwrap();
    let (ready, is_ready) = channel();
    let lines = std::thread::scope(|scope| {
        let listener = scope.spawn(|| ledger::listen(output, &home.join("ledger"), &ready));
        let began = is_ready.recv_timeout(PATIENCE);
        match moment {
            // Nothing more is ever sent: the time is what is waited for.
            Moment::After(time) => assert!(is_ready.recv_timeout(*time).is_err()),
            Moment::Writing(frames) => aim::at_frame(&home.join("store/journal"), *frames),
        }
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert!(began.is_ok(), "the child did not begin its work");
        assert_eq!(status.signal(), Some(9), "the child ended by itself: {status}");
        listener.join().unwrap()
    });
    ledger.enter(&lines)
}

/// How many damaged ends were put into quarantine.
fn put_aside(store: &Path) -> usize {
    std::fs::read_dir(store.join("quarantine")).map_or(0, |names| names.count())
}

/// Keeps the store for whoever looks into it.
fn fail(base: Base, what: &str) -> ! {
    let kept = base.home.keep();
    panic!("{what}\nthe store is kept in {}", kept.display());
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Vigna's splitmix64.
fn roll(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
