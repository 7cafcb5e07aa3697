//! Two hundred times somebody is revoked who has one of everything open and in use, and somebody else loses nothing.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "what fails here is a failed test")]
#![expect(clippy::print_stdout, reason = "the times are worth a look, with `--nocapture`")]

#[path = "support/gate.rs"]
mod gate;
#[path = "support/recorder.rs"]
mod recorder;
#[path = "support/streams.rs"]
mod streams;

use std::time::{Duration, Instant};

use gate::{Ca, Gate, PATIENCE};
use recorder::{Recorder, line};
use streams::{CONNECTIONS, Everything, Watch, Watches};

/// In each of the two tests.
const RUNS: usize = 100;
/// How recently every stream must have moved when the revocation comes.
const RECENT: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_ends_everything_before_an_api_server_on_http1() {
    Box::pin(two_users(false)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_ends_everything_before_an_api_server_on_http2() {
    Box::pin(two_users(true)).await;
}

async fn two_users(is_http2: bool) {
    let servers = Ca::new("servers");
    let recorder = Recorder::start(&servers, is_http2).await;
    let gate = Gate::start(&servers, recorder.port, |_| {}).await;
    let bob = gate.issue("bob");
    let (mut one, mut four) = (Watch::open(&gate, &bob).await, Watches::open(&gate, &bob, 4).await);
    let mut times = Vec::new();
    for run in 0..RUNS {
        times.push(Box::pin(one_run(&gate, &recorder, &format!("alice-{run}"))).await);
    }
    let last = recorder.tick();
    one.until(last).await;
    four.until(last).await;
    let every_line: String = (1..=last).map(line).collect();
    assert_eq!(one.lines(), every_line);
    for lines in four.lines() {
        assert_eq!(*lines, every_line);
    }
    times.sort();
    let (half, most) = (times[RUNS / 2], times[RUNS - 1]);
    println!("until everything had ended: {half:?} in half of the runs, {most:?} at most");
    assert!(most < Duration::from_secs(1), "{most:?}");
}

/// Somebody opens one of everything, moves on each, is revoked; gives how long it took until all had ended.
async fn one_run(gate: &Gate, recorder: &Recorder, whose: &str) -> Duration {
    let alice = gate.issue(whose);
    let mut everything = Everything::open(gate, &alice, whose).await;
    // A busy machine may need more than one attempt to have all of them move within so short a time.
    let mut attempts = 0;
    while everything.move_each(recorder).await.elapsed() > RECENT {
        attempts += 1;
        assert!(attempts < 50, "everything takes longer than {RECENT:?} to move");
    }
    let revoked = Instant::now();
    let revision = gate.revoke(whose);
    let enforced = gate.proxy.enforced(revision, PATIENCE).await.unwrap();
    assert_eq!(enforced.closed, CONNECTIONS);
    let ended = Box::pin(everything.ends(revoked)).await;
    let left = recorder.until(whose, |streams| streams.open == 0 && streams.connections == 0).await;
    assert_eq!(left.uploads, [false, false], "an upload that was interrupted looks whole");
    ended.last.max(enforced.after)
}
