//! Durable commits a second, beside a bare log that does nothing but append and sync, in turns in the same run.
//!
//! Every caller waits for its own commit before it makes the next. The log has one writer too, which takes whatever waits,
//! appends it where zeros were written before, syncs it, and answers: what a store cannot be faster than.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the figures")]

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use portcullis::access::{Actor, Part};
use portcullis::disk::SystemDisk;
use portcullis::journal::Entry;
use portcullis::store::local::{LocalStore, Options};
use portcullis::store::{Batch, Store, Write, entry};
use portcullis::world::{Clock as _, SystemClock, SystemEntropy};

use support::{Times, mixed};

const CALLERS: [usize; 3] = [1, 64, 256];
const PAIRS: usize = 10;
/// How long each side of a pair goes on.
const SIDE: Duration = Duration::from_secs(1);
const RECORD: usize = 1024;
const ERA: u32 = 1_800_000_000;
/// How long the log's file is; at its end the log begins again at its start.
const LOG: u64 = 256 * 1024 * 1024;
/// As many as the store has in a group at most.
const GROUP: usize = 1024;

fn main() {
    if support::case().is_none() {
        return;
    }
    for callers in CALLERS {
        measure(callers);
    }
}

fn measure(callers: usize) {
    let home = tempfile::tempdir().unwrap();
    let store = LocalStore::create(
        &home.path().join("store"),
        ERA,
        Arc::new(SystemDisk),
        Arc::new(SystemEntropy),
        Options::default(),
    );
    let store = store.unwrap();
    store.wait_to_be_complete(|_| {}).unwrap();
    let file = preallocated(&home.path().join("log"));
    let next = AtomicU64::new(0);
    let mut figures = [Figures::default(), Figures::default()];
    let mut behind = Times::default();
    for _ in 0..PAIRS {
        let commit = || {
            let batch = batch(next.fetch_add(1, Ordering::Relaxed));
            let start = Instant::now();
            store.commit(batch).unwrap();
            start.elapsed()
        };
        figures[0].add(side(callers, |_| commit));
        // What the index has not learned yet is not the log's to bear.
        let start = Instant::now();
        while store.status().sum.map(|sum| sum.revision) != Some(store.end()) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        behind.0.push(start.elapsed());
        let (sender, waiting) = channel();
        std::thread::scope(|scope| {
            let file = &file;
            scope.spawn(move || write(file, &waiting));
            figures[1].add(side(callers, |_| {
                let (sender, next) = (sender.clone(), &next);
                move || {
                    let record = bytes(&batch(next.fetch_add(1, Ordering::Relaxed)));
                    let (reply, answer) = sync_channel(1);
                    let start = Instant::now();
                    sender.send((record, reply)).unwrap();
                    answer.recv().unwrap();
                    start.elapsed()
                }
            }));
            drop(sender);
        });
    }
    for (name, figures) in ["store", "log"].into_iter().zip(&figures) {
        println!("{callers} callers, {name}: {figures}");
    }
    let ratio = figures[0].median() / figures[1].median();
    let (waited, commits) = (behind.0.iter().sum::<Duration>(), figures[0].times.0.len());
    let lasting = commits as f64 / (SIDE * u32::try_from(PAIRS).unwrap() + waited).as_secs_f64();
    println!("    the store makes {:.0} % of the log's; {}", ratio * 100.0, support::load());
    println!("    the index was behind by {behind}: {lasting:.0} a second with that waited for");
}

/// What one side came to.
#[derive(Default)]
struct Figures {
    rates: Vec<f64>,
    times: Times,
}

impl Figures {
    fn add(&mut self, times: Vec<Duration>) {
        self.rates.push(times.len() as f64 / SIDE.as_secs_f64());
        self.times.0.extend(times);
    }

    /// The median of what was done in a second.
    fn median(&self) -> f64 {
        let mut sorted = self.rates.clone();
        sorted.sort_by(f64::total_cmp);
        f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2])
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let least = self.rates.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.rates.iter().copied().fold(0.0, f64::max);
        write!(f, "{:.0} a second ({least:.0} to {most:.0}), {}", self.median(), self.times)
    }
}

/// Lets so many threads do the same thing again and again for a while; how long each took.
fn side<W: FnMut() -> Duration + Send>(callers: usize, worker: impl Fn(usize) -> W) -> Vec<Duration> {
    let until = Instant::now() + SIDE;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..callers)
            .map(|caller| {
                let mut work = worker(caller);
                scope.spawn(move || {
                    let mut times = Vec::new();
                    while Instant::now() < until {
                        times.push(work());
                    }
                    times
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// One record that the index holds, under a key of its own; nothing is asserted.
fn batch(number: u64) -> Batch {
    let pieces = |salt: u64, count: usize| -> Vec<u8> {
        (0_u64..).flat_map(|place| mixed(mixed(number ^ (salt << 56)) ^ place).to_be_bytes()).take(count).collect()
    };
    let key = [vec![0x50], pieces(1, 32)].concat();
    let facts = Entry { at: SystemClock.now(), actor: Actor::System(Part::Upkeep), events: Vec::new() };
    let writes = vec![Write::Put { key, value: pieces(2, RECORD) }];
    Batch { writes, entry: entry::encode(&facts).unwrap(), ..Batch::default() }
}

/// The same octets for the log.
fn bytes(batch: &Batch) -> Vec<u8> {
    let mut out = batch.entry.clone();
    for write in &batch.writes {
        if let Write::Put { key, value } = write {
            out.extend_from_slice(key);
            out.extend_from_slice(value);
        }
    }
    out
}

fn preallocated(path: &Path) -> File {
    let file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
    let zeros = vec![0; 1024 * 1024];
    let mut offset = 0;
    while offset < LOG {
        file.write_all_at(&zeros, offset).unwrap();
        offset += zeros.len() as u64;
    }
    file.sync_all().unwrap();
    file
}

/// The log's writer: ends when nobody can ask any more.
fn write(file: &File, waiting: &Receiver<(Vec<u8>, SyncSender<()>)>) {
    let mut offset = 0;
    while let Ok(first) = waiting.recv() {
        let group: Vec<_> = std::iter::once(first).chain(waiting.try_iter().take(GROUP - 1)).collect();
        let frame = group.iter().map(|(record, _)| record.as_slice()).collect::<Vec<_>>().concat();
        if offset + frame.len() as u64 > LOG {
            offset = 0;
        }
        file.write_all_at(&frame, offset).unwrap();
        file.sync_data().unwrap();
        offset += frame.len() as u64;
        for (_, reply) in group {
            reply.send(()).unwrap();
        }
    }
}
