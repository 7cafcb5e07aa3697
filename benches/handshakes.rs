//! Full handshakes with a client certificate and one request that the proxy answers itself, for each second of one core,
//! beside bare tokio-rustls with the same settings, with 0, 1 and 10 million credentials on record.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the figures")]

#[path = "../tests/support/gate.rs"]
mod gate;
#[path = "support/record.rs"]
mod record;
mod support;
#[path = "support/threads.rs"]
mod threads;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use portcullis::net::dial;
use portcullis::net::tls::{self, ClientAnchors, Serving, Versions};
use portcullis::world::SystemClock;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use gate::{Ca, Gate, PATIENCE};
use threads::Thread;

/// Pairs of rounds, one of each server, that take turns.
const ROUNDS: usize = 10;
const HANDSHAKES: usize = 400;
/// Connections at once.
const AT_ONCE: usize = 8;
const SIZES: [u64; 3] = [0, 1_000_000, 10_000_000];
/// A head of the API server's own front proxies, which no user may send.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Remote-User: root\r\nConnection: close\r\n\r\n";

fn main() {
    if support::case().is_none() {
        return;
    }
    let (server, client) = (Thread::start(Some("0")), Thread::start(Some("1")));
    let gate = server.run(async {
        // Nobody listens there, and nobody is asked.
        Arc::new(Gate::start(&Ca::new("servers"), 1, |_| {}).await)
    });
    let alice = gate.issue("alice");
    let config = gate.client(&alice);
    // The issuer of the client's certificate is behind it in its chain.
    let clients = alice.chain[1].clone();
    let bare = server.run(async move { bare(&ClientAnchors::new(&[clients]).unwrap()).await });
    let (bare_port, bare_config) = bare;
    let bare_config = with_identity(&bare_config, &alice);
    let mut known = 0;
    for size in SIZES {
        record::fill(&gate.statuses, known..size, 100_000);
        known = size;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            theirs.push(round(&server, &client, bare_port, &bare_config));
            ours.push(round(&server, &client, gate.port, &config));
        }
        let (ours, theirs) = (median(ours), median(theirs));
        println!(
            "{size} credentials: the proxy {:.0} for each core-second, bare tokio-rustls {:.0}: {:+.1} %; {}",
            1e6 / ours,
            1e6 / theirs,
            (theirs / ours - 1.0) * 100.0,
            support::load(),
        );
        println!("    {ours:.1} µs each, bare {theirs:.1} µs");
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Microseconds of the server's thread for each handshake with its request.
fn round(server: &Thread, client: &Thread, port: u16, config: &Arc<ClientConfig>) -> f64 {
    let (before, config) = (server.on_core(), Arc::clone(config));
    client.run(async move {
        let mut clients = JoinSet::new();
        for _ in 0..AT_ONCE {
            let config = Arc::clone(&config);
            clients.spawn(async move {
                for _ in 0..HANDSHAKES / AT_ONCE {
                    shake(port, &config).await;
                }
            });
        }
        clients.join_all().await;
    });
    let taken: Duration = server.on_core() - before;
    taken.as_secs_f64() * 1e6 / HANDSHAKES as f64
}

async fn shake(port: u16, config: &Arc<ClientConfig>) {
    let mut stream = dial::connect("127.0.0.1", port, Arc::clone(config), "localhost", PATIENCE).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
}

/// A server that does nothing but TLS, with a certificate of a CA of its own.
async fn bare(clients: &Arc<ClientAnchors>) -> (u16, rustls_pki_types::CertificateDer<'static>) {
    let ca = Ca::new("bare");
    let leaf = ca.server();
    let serving = Serving::new(leaf.chain.clone(), leaf.key()).unwrap();
    let config = tls::server_config(&serving, Some(clients), Versions::default(), Arc::new(SystemClock)).unwrap();
    let acceptor = TlsAcceptor::from(tls::offering_http2(&config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    stream.read_buf(&mut request).await.unwrap();
                }
                stream.write_all(ANSWER).await.unwrap();
                stream.shutdown().await.unwrap();
            });
        }
    });
    (port, ca.der)
}

fn with_identity(anchor: &rustls_pki_types::CertificateDer<'static>, leaf: &gate::Leaf) -> Arc<ClientConfig> {
    tls::client_config(std::slice::from_ref(anchor), Some((leaf.chain.clone(), leaf.key()))).unwrap()
}

const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\
    connection: close\r\n\r\n{}";
