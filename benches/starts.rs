//! How soon an authority answers after a start, with many certificates on the record, and what these take on the disk.
//!
//! A store is made in a folder of its own, with certificates of made-up octets that are recorded like real ones. Each start
//! is a process of its own, this program once more: it opens the store and loads the answers as an authority does. Reading
//! the keys of the CAs and making CRLs are left out. The files were written a moment ago, so that the kernel still has them.
//!
//! `PORTCULLIS_STARTS=1000000 just bench starts` chooses the number of certificates; 100,000 where it is not set.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the figures")]
#![expect(clippy::disallowed_methods, reason = "the number of certificates is a setting of a bench")]

#[path = "support/certificates.rs"]
mod certificates;
mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use portcullis::disk::SystemDisk;
use portcullis::engine::Newest;
use portcullis::follow::Following;
use portcullis::publish::feed::tail::Tail;
use portcullis::publish::kept::{Answers, Kept};
use portcullis::publish::roll::Roll;
use portcullis::publish::statuses::StatusFollower;
use portcullis::status::{Status, Statuses};
use portcullis::store::Store;
use portcullis::store::local::{LocalStore, Options};
use portcullis::world::{Clock as _, SystemClock, SystemEntropy};

use support::Times;

const ERA: u32 = 1_800_000_000;
/// Starts of each kind, where one does not take long.
const STARTS: usize = 5;
/// Starts that read the whole journal.
const LONG_STARTS: usize = 3;
/// How many threads issue when the process is killed, and after how many certificates that is.
const CLERKS: u64 = 64;
const BEFORE_THE_KILL: u64 = 2000;

fn main() {
    let Some(case) = support::case() else { return };
    match case.split('|').collect::<Vec<_>>().as_slice() {
        [""] => measure(),
        ["make", folder, count] => make(Path::new(folder), count.parse().unwrap()),
        ["start", folder, count] => start(Path::new(folder), count.parse().unwrap()),
        ["issue", folder, from] => issue(Path::new(folder), from.parse().unwrap()),
        other => panic!("{other:?}"),
    }
}

fn measure() {
    let count: u64 = std::env::var("PORTCULLIS_STARTS").map_or(100_000, |text| text.parse().unwrap());
    let home = tempfile::tempdir().unwrap();
    let store = home.path().join("store");
    let began = Instant::now();
    support::run(&format!("make|{}|{count}", store.display()));
    println!("{count} certificates made in {:.0} s; {}", began.elapsed().as_secs_f64(), support::load());
    for name in ["journal", "index", "checkpoint", "answers"] {
        let taken = taken(&store.join(name));
        println!("    {name}: {taken} octets, {:.0} for each certificate", taken as f64 / count as f64);
    }
    let whole = several("start", STARTS, &store, count, || {});
    several("start without the answers that were kept", LONG_STARTS, &store, count, || {
        fs::remove_file(store.join("answers")).unwrap();
    });
    let rebuilt = several("start without an index", 1, &store, count, || {
        fs::remove_dir_all(store.join("index")).unwrap();
    });
    assert_eq!(whole, rebuilt, "the index that was made again is another");
    println!("    the index made again says the same of itself: {whole}");
    let mut round = 0;
    several("start after kill -9", STARTS, &store, count, || {
        round += 1;
        kill(&store, count + round * 1_000_000_000);
    });
}

/// Starts some times, each after what is done to the store before; what the index said of itself at the end.
fn several(name: &str, times: usize, store: &Path, count: u64, mut before: impl FnMut()) -> String {
    let (mut answered, mut ready, mut last) = (Times::default(), Times::default(), String::new());
    let (mut peak, mut told) = (0, 0);
    for _ in 0..times {
        before();
        let began = Instant::now();
        let mut child = Started::spawn(&format!("start|{}|{count}", store.display()));
        assert_eq!(child.line(), "answers");
        answered.0.push(began.elapsed());
        let line = child.line();
        ready.0.push(began.elapsed());
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("ready"), "{line}");
        told = words.next().unwrap().parse().unwrap();
        peak = peak.max(words.next().unwrap().parse::<u64>().unwrap());
        last = words.collect::<Vec<_>>().join(" ");
        child.end();
    }
    let (half, longest) = (answered.percentile(50).as_secs_f64() * 1e3, answered.percentile(100).as_secs_f64() * 1e3);
    let (whole, slowest) = (ready.percentile(50).as_secs_f64(), ready.percentile(100).as_secs_f64());
    println!(
        "{name}, {times} times: answers after p50 {half:.0} ms, max {longest:.0} ms; index ready after p50 {whole:.2} s, max \
         {slowest:.2} s, told {told} times how far it was; at most {} MB in RAM; {}",
        peak * 1024 / 1_000_000,
        support::load(),
    );
    last
}

/// Kills a process that issues.
fn kill(store: &Path, from: u64) {
    let mut child = Started::spawn(&format!("issue|{}|{from}", store.display()));
    assert_eq!(child.line(), "issued");
    child.child.kill().unwrap();
    child.child.wait().unwrap();
}

/// This program once more, and what it says.
struct Started {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    input: ChildStdin,
}

impl Started {
    fn spawn(case: &str) -> Self {
        let mut child = support::this(case).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { lines, input: child.stdin.take().unwrap(), child }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// Asks it to stop, and waits until it has.
    fn end(mut self) {
        self.input.write_all(b"stop\n").unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

/// The room that a file or folder takes on the disk, in octets.
fn taken(path: &Path) -> u64 {
    let about = fs::metadata(path).unwrap();
    let inside =
        if about.is_dir() { fs::read_dir(path).unwrap().map(|entry| taken(&entry.unwrap().path())).sum() } else { 0 };
    inside + about.blocks() * 512
}

/// What an authority has loaded before it serves.
struct Loaded {
    statuses: Arc<Statuses>,
    roll: Arc<Roll>,
    newest: Arc<Newest>,
    kept: Kept,
    store: Arc<LocalStore>,
    following: Following,
}

impl Loaded {
    fn open(folder: &Path) -> Self {
        let store = LocalStore::open(folder, Arc::new(SystemDisk), Arc::new(SystemEntropy), Options::default());
        Self::over(Arc::new(store.unwrap()), folder)
    }

    fn over(store: Arc<LocalStore>, folder: &Path) -> Self {
        let (statuses, roll, newest) = (Arc::new(Statuses::empty()), Arc::<Roll>::default(), Arc::<Newest>::default());
        let kept = Kept::new(Arc::new(SystemDisk), folder);
        let hold = store.hold_index();
        let follower = StatusFollower::load(
            &*store,
            Arc::clone(&statuses),
            Arc::clone(&roll),
            Arc::<Tail>::default(),
            Arc::clone(&newest),
            Some(&kept),
        );
        drop(hold);
        let following = Following::start(Arc::clone(&store) as Arc<dyn Store>, follower.unwrap()).unwrap();
        Self { statuses, roll, newest, kept, store, following }
    }

    /// Ends as an authority does: the answers are written down, then the store is closed.
    fn stop(self) {
        let Self { statuses, roll, newest, kept, store, following } = self;
        let answers = Answers { timeline: store.timeline(), statuses: &statuses, roll: &roll, newest: newest.get() };
        kept.write(&answers, SystemClock.now()).unwrap();
        drop(following);
        drop(Arc::into_inner(store).unwrap());
    }

    /// Whether the standing of the certificate with this number is what it must be.
    fn is_right(&self, number: u64) -> bool {
        let status = self.statuses.status(&certificates::fingerprint(number), SystemClock.now()).unwrap();
        if certificates::is_revoked(number) { matches!(status, Status::Revoked(_)) } else { status.is_good() }
    }
}

fn make(folder: &Path, count: u64) {
    let disk = Arc::new(SystemDisk);
    let store = LocalStore::create(folder, ERA, disk, Arc::new(SystemEntropy), Options::default()).unwrap();
    store.wait_to_be_complete(|_| {}).unwrap();
    certificates::fill(&store, count);
    Loaded::over(Arc::new(store), folder).stop();
}

fn start(folder: &Path, count: u64) {
    let loaded = Loaded::open(folder);
    // The first is revoked, the last of these stands.
    assert!(certificates::is_revoked(0) && !certificates::is_revoked(certificates::OF_A_USER));
    assert!(loaded.is_right(0) && loaded.is_right(certificates::OF_A_USER));
    println!("answers");
    let mut told = 0;
    loaded.store.wait_to_be_complete(|_| told += 1).unwrap();
    let sum = loaded.store.status().sum.unwrap();
    println!("ready {told} {} {:032x} of {} records", support::peak(), sum.hash, sum.records);
    std::io::stdin().read_line(&mut String::new()).unwrap();
    for number in (0..10_000).map(|number| support::mixed(number) % count) {
        assert!(loaded.is_right(number), "certificate {number}");
    }
    loaded.stop();
}

/// Issues until it is killed.
fn issue(folder: &Path, from: u64) {
    let loaded = Loaded::open(folder);
    loaded.store.wait_to_be_complete(|_| {}).unwrap();
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CLERKS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    certificates::record(&*loaded.store, from + number);
                    if number == BEFORE_THE_KILL {
                        println!("issued");
                    }
                }
            });
        }
    });
}
