//! Requests on connections that are kept, through the proxy and straight to the same API server, in turns.
//!
//! Client, proxy and API server have a thread each; `of the proxy` is what its thread works for a request.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the figures")]

#[path = "../tests/support/gate.rs"]
mod gate;
#[path = "../tests/support/recorder.rs"]
mod recorder;
mod support;
#[path = "support/threads.rs"]
mod threads;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis::net::{dial, tls};
use rustls::ClientConfig;
use tokio::task::JoinSet;

use gate::{Ca, Gate, PATIENCE};
use recorder::Recorder;
use support::Times;
use threads::Thread;

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(1);
/// Connections with HTTP/1.1, or streams at once on one with HTTP/2.
const AT_ONCE: usize = 8;

#[derive(Clone)]
struct Target {
    port: u16,
    config: Arc<ClientConfig>,
    /// The API server wants to be told who asks, as the proxy tells it.
    is_direct: bool,
}

/// What a round came to.
#[derive(Default)]
struct Round {
    a_second: f64,
    times: Times,
    /// Of the proxy's thread for each request.
    worked: Duration,
}

fn main() {
    if support::case().is_none() {
        return;
    }
    for is_http2 in [false, true] {
        let [upstream, proxy, client] = [(); 3].map(|()| Thread::start(None));
        let servers = Arc::new(Ca::new("servers"));
        let port = {
            let servers = Arc::clone(&servers);
            upstream.run(async move { Recorder::start(&servers, is_http2).await.port })
        };
        let gate = {
            let servers = Arc::clone(&servers);
            proxy.run(async move { Arc::new(Gate::start(&servers, port, |_| {}).await) })
        };
        let alice = gate.issue("alice");
        let proxied = Target { port: gate.port, config: gate.client(&alice), is_direct: false };
        let config = tls::client_config(std::slice::from_ref(gate.servers()), None).unwrap();
        let direct = Target { port, config, is_direct: true };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            theirs.push(round(&client, &proxy, &direct, is_http2));
            ours.push(round(&client, &proxy, &proxied, is_http2));
        }
        let name = if is_http2 { "HTTP/2" } else { "HTTP/1.1" };
        let (ours, theirs) = (middle(ours), middle(theirs));
        println!("{name} direct: {:.0} requests/s, {}; {}", theirs.a_second, theirs.times, support::load());
        println!("{name} proxied: {:.0} requests/s, {}; {}", ours.a_second, ours.times, support::load());
        println!("    of the proxy {:.0} µs a request", ours.worked.as_secs_f64() * 1e6);
    }
}

fn middle(mut rounds: Vec<Round>) -> Round {
    rounds.sort_by(|a, b| a.a_second.total_cmp(&b.a_second));
    rounds.swap_remove(rounds.len() / 2)
}

fn round(client: &Thread, proxy: &Thread, target: &Target, is_http2: bool) -> Round {
    let (before, target) = (proxy.on_core(), target.clone());
    let (times, taken) = client.run(async move {
        let mut clients = JoinSet::new();
        let start = Instant::now();
        if is_http2 {
            let sender = connect_http2(&target).await;
            for _ in 0..AT_ONCE {
                let (mut sender, target) = (sender.clone(), target.clone());
                clients.spawn(async move {
                    let mut times = Vec::new();
                    while start.elapsed() < ROUND {
                        let asked = Instant::now();
                        let answer = sender.send_request(request(&target)).await.unwrap();
                        assert_eq!(answer.status(), StatusCode::OK);
                        answer.into_body().collect().await.unwrap();
                        times.push(asked.elapsed());
                    }
                    times
                });
            }
        } else {
            for _ in 0..AT_ONCE {
                let target = target.clone();
                clients.spawn(async move {
                    let mut sender = connect_http1(&target).await;
                    let mut times = Vec::new();
                    while start.elapsed() < ROUND {
                        let asked = Instant::now();
                        sender.ready().await.unwrap();
                        let answer = sender.send_request(request(&target)).await.unwrap();
                        assert_eq!(answer.status(), StatusCode::OK);
                        answer.into_body().collect().await.unwrap();
                        times.push(asked.elapsed());
                    }
                    times
                });
            }
        }
        let times = Times(clients.join_all().await.into_iter().flatten().collect());
        (times, start.elapsed())
    });
    let count = times.0.len();
    let worked = (proxy.on_core() - before) / u32::try_from(count).unwrap();
    Round { a_second: count as f64 / taken.as_secs_f64(), times, worked }
}

fn request(target: &Target) -> Request<Empty<Bytes>> {
    let request = Request::get("https://localhost/api/v1/pods").header("host", "localhost");
    let request = if target.is_direct { request.header("impersonate-user", "alice") } else { request };
    request.body(Empty::new()).unwrap()
}

async fn connect_http1(target: &Target) -> http1::SendRequest<Empty<Bytes>> {
    let stream = dial::connect("127.0.0.1", target.port, Arc::clone(&target.config), "localhost", PATIENCE).await;
    let (sender, connection) = http1::handshake(TokioIo::new(stream.unwrap())).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn connect_http2(target: &Target) -> http2::SendRequest<Empty<Bytes>> {
    let config = tls::asking_for_http2(&target.config);
    let stream = dial::connect("127.0.0.1", target.port, config, "localhost", PATIENCE).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}
