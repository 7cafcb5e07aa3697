//! From a revocation to the last octet on what the revoked user has open, for each kind of stream, and for a thousand.
//!
//! Client, proxy and API server are in this process, on loopback; a stream has ended when its client sees that.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the figures")]

#[path = "../tests/support/gate.rs"]
mod gate;
#[path = "../tests/support/recorder.rs"]
mod recorder;
#[path = "../tests/support/streams.rs"]
mod streams;
mod support;

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use gate::{Ca, Gate, Leaf, PATIENCE};
use recorder::Recorder;
use streams::{WATCHES, Watches};
use support::Times;

const RUNS: usize = 200;
const RUNS_OF_MANY: usize = 10;
const STREAMS: usize = 1000;

/// A request on a connection of its own, and where its answer pauses.
struct Kind {
    name: &'static str,
    request: &'static str,
    until: &'static str,
}

const KINDS: [Kind; 5] = [
    Kind { name: "idle connection", request: "GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n", until: "\r\n\r\nok" },
    Kind {
        name: "watch on HTTP/1.1",
        request: "GET /watch?watch=true HTTP/1.1\r\nHost: localhost\r\n\r\n",
        until: "\r\n\r\n",
    },
    Kind { name: "WebSocket", request: streams::WEBSOCKET, until: "\r\n\r\n" },
    Kind { name: "SPDY", request: streams::SPDY, until: "\r\n\r\n" },
    Kind {
        name: "upload",
        request: "POST /upload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\npiece\r\n",
        until: "",
    },
];

fn main() {
    if support::case().is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(measure());
    }
}

async fn measure() {
    let servers = Ca::new("servers");
    let recorder = Recorder::start(&servers, false).await;
    let gate = Gate::start(&servers, recorder.port, |_| {}).await;
    for kind in KINDS {
        let mut times = Times::default();
        for run in 0..RUNS {
            let whose = format!("{}-{run}", kind.name.to_ascii_lowercase().replace([' ', '/', '.'], "-"));
            let leaf = gate.issue(&whose);
            let stream = open(&gate, &leaf, &kind).await;
            if kind.until.is_empty() {
                recorder.until(&whose, |streams| streams.uploaded > 0).await;
            }
            let start = Instant::now();
            gate.revoke(&whose);
            times.0.push(ended(stream, start).await);
        }
        println!("{}: {times}; {}", kind.name, support::load());
    }
    let mut times = Times::default();
    for run in 0..RUNS {
        let whose = format!("watches-{run}");
        let watches = Watches::open(&gate, &gate.issue(&whose), WATCHES).await;
        let start = Instant::now();
        gate.revoke(&whose);
        watches.ends().await;
        times.0.push(start.elapsed());
    }
    println!("{WATCHES} watches on one connection with HTTP/2: {times}; {}", support::load());
    many(&gate, 1).await;
    many(&gate, WATCHES).await;
}

/// A thousand watches of one user, on connections of their own or some on each.
async fn many(gate: &Gate, on_each: usize) {
    let (mut times, mut enforced) = (Times::default(), Times::default());
    for run in 0..RUNS_OF_MANY {
        let whose = format!("many-{on_each}-{run}");
        let leaf = gate.issue(&whose);
        let mut clients = tokio::task::JoinSet::new();
        let (mut alone, mut shared) = (Vec::new(), Vec::new());
        for _ in 0..STREAMS / on_each {
            if on_each == 1 {
                alone.push(open(gate, &leaf, &KINDS[1]).await);
            } else {
                shared.push(Watches::open(gate, &leaf, on_each).await);
            }
        }
        let start = Instant::now();
        let revision = gate.revoke(&whose);
        for stream in alone {
            clients.spawn(ended(stream, start));
        }
        for watches in shared {
            clients.spawn(async move {
                watches.ends().await;
                start.elapsed()
            });
        }
        enforced.0.push(gate.proxy.enforced(revision, PATIENCE).await.unwrap().after);
        times.0.push(clients.join_all().await.into_iter().max().unwrap());
    }
    println!("{STREAMS} watches, {on_each} on a connection, all ended: {times}; {}", support::load());
    println!("    the proxy had ended them after {enforced}");
}

async fn open(gate: &Gate, leaf: &Leaf, kind: &Kind) -> TlsStream<TcpStream> {
    let mut stream = gate.connect(leaf, false).await;
    stream.write_all(kind.request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(kind.until.as_bytes()) {
        assert!(tokio::time::timeout(PATIENCE, stream.read_buf(&mut read)).await.unwrap().unwrap() > 0);
    }
    stream
}

async fn ended(mut stream: TlsStream<TcpStream>, start: Instant) -> Duration {
    let mut rest = Vec::new();
    // Well or not: it has ended.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
    start.elapsed()
}
