//! Calls of the running authority that fail from outside: strace makes the Nth one return an error.
//!
//! One authority goes through all runs. In each it is under load; a call of one kind fails, once or from then on; what
//! callers were told is held against what a start without strace finds. `PORTCULLIS_TRACED` chooses how many runs (`just
//! traced 30`), `PORTCULLIS_TRACED_SEED` which.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ledger::{Ledger, owes_nothing, work};
use crate::site::{Site, until};
use crate::support::run::Live;
use crate::support::{PATIENCE, PORTCULLIS};

/// How many callers issue and revoke at once.
const CALLERS: usize = 4;

/// How many more requests each caller makes after the failure.
const MORE: usize = 6;

/// The calls that fail, and with what.
const KINDS: [(&str, &str); 8] = [
    ("fdatasync", "EIO"),
    ("pwrite64", "EIO"),
    ("fsync", "EIO"),
    ("rename", "EIO"),
    ("fdatasync", "ENOSPC"),
    ("pwrite64", "ENOSPC"),
    ("fallocate", "ENOSPC"),
    ("openat", "EMFILE"),
];

/// What came of all runs with one kind of failure.
#[derive(Debug, Default)]
struct Row {
    runs: u64,
    /// Of them, those that a group of commits or the mark was hit in.
    hit: u64,
    issued: usize,
    revoked: usize,
    unknown: usize,
    refused: usize,
}

#[test]
fn a_call_that_fails_under_the_running_authority_loses_nothing_acknowledged() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let runs = number("PORTCULLIS_TRACED").unwrap_or(8);
    let seed = number("PORTCULLIS_TRACED_SEED").unwrap_or(1);
    let mut site = Site::make(None);
    site.serve();
    site.add_cluster();
    site.caller().add_user("bea", &[]).unwrap();
    let mut table: BTreeMap<String, Row> = BTreeMap::new();
    for run in 0..runs {
        let (call, error) = KINDS[usize::try_from(run).unwrap() % KINDS.len()];
        let is_odd = run / 8 % 2 == 1;
        // Only making a spare brings these about, which a start does.
        let at_start = call == "fallocate" || call == "rename" && is_odd;
        let when = if at_start { 1 } else { 1 + (seed * 7 + run * 11) % 40 };
        let rule = format!("{call}:error={error}:when={when}{}", if is_odd { "+" } else { "" });
        let row = table.entry(format!("{call} {error}")).or_default();
        let ledger = one(&mut site, &rule, at_start, row);
        let (status, body) = site.plain("/readyz");
        assert_eq!(status, 200, "{rule}: started again without failures, it is not ready: {body}");
        owes_nothing(&mut site.caller(), &rule, &ledger);
        row.runs += 1;
        row.issued += ledger.issued.len();
        row.revoked += ledger.revoked.len();
        row.unknown += ledger.unknown;
        row.refused += ledger.refused;
    }
    site.stop().ok();
    eprintln!("| seed {seed}: call | runs | a group or the mark hit | issued | revoked | outcome unknown | refused |");
    eprintln!("|---|---|---|---|---|---|---|");
    for (name, row) in &table {
        let Row { runs, hit, issued, revoked, unknown, refused } = row;
        eprintln!("| {name} | {runs} | {hit} | {issued} | {revoked} | {unknown} | {refused} |");
    }
    let (hit, unknown) = table.values().fold((0, 0), |(hit, unknown), row| (hit + row.hit, unknown + row.unknown));
    assert!(hit * 4 >= runs, "too few runs hit a commit: {table:?}");
    // The group that was hit may have held only commits of the authority's own.
    assert!(unknown > 0 || runs < 30, "nobody was told that an outcome is unknown: {table:?}");
}

/// One run: the authority is traced, loaded until the call has failed and a little longer, and started again without.
fn one(site: &mut Site, rule: &str, at_start: bool, row: &mut Row) -> Ledger {
    let log = site.file("strace.log");
    let _ = std::fs::remove_file(&log);
    let mut command = site.program("strace");
    let call = rule.split(':').next().unwrap();
    command.args(["-f", "-y", "-e", "signal=none", "-e", &format!("trace={call}"), "-e", &format!("inject={rule}")]);
    command.arg("-o").arg(&log);
    let mut tracer = None;
    if at_start {
        // A start without a spare makes one. The tracer runs beside, so that the process is ours.
        site.stop().ok();
        std::fs::remove_file(site.disk.join("store/journal/spare")).unwrap();
        let said = site.serve_by(command.arg("-D").arg(PORTCULLIS));
        assert!(site.is_serving(), "{rule}: it does not serve: {said}");
    } else {
        let live = Live::start(command.arg("-p").arg(site.pid().to_string()));
        let (attached, said) = live.wait_for_line(PATIENCE, |line| line.contains("attached"));
        assert!(attached, "strace cannot trace a process of ours; is tracing allowed here? {said}");
        tracer = Some(live);
    }
    let ledger = load(site, &log);
    let hit = injected(&log).unwrap();
    let ends_commits = hit.contains(".segment>") || hit.contains("/mark>");
    if ends_commits {
        row.hit += 1;
        let (status, body) = site.plain("/readyz");
        assert_eq!(status, 503, "{rule}: ready after {hit}: {body}");
        assert_eq!(site.plain("/healthz").0, 200);
        let refused = site.caller().add_user("late", &[]).unwrap();
        assert_eq!((refused.status, refused.code()), (503, "unavailable"), "{rule}: {refused:?}");
    }
    site.stop();
    drop(tracer.map(Live::wait));
    site.serve();
    ledger
}

/// What strace made fail first, if it has.
fn injected(log: &Path) -> Option<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().find(|line| line.contains("(INJECTED)")).map(str::to_owned)
}

/// Issues and revokes with several callers until the call has failed, and a little longer.
fn load(site: &Site, log: &Path) -> Ledger {
    let ledger = Mutex::new(Ledger::default());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            let (mut caller, ledger, over) = (site.caller(), &ledger, &over);
            scope.spawn(move || {
                let mut left = MORE;
                for number in 0_usize.. {
                    work(&mut caller, ledger, number);
                    left -= usize::from(over.load(Ordering::SeqCst));
                    if left == 0 {
                        return;
                    }
                }
            });
        }
        until(|| injected(log), Option::is_some);
        over.store(true, Ordering::SeqCst);
    });
    ledger.into_inner().unwrap()
}
