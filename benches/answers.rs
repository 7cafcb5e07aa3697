//! OCSP answers a second, in process and over plain HTTP on connections that are kept.
//!
//! With a nonce each answer is signed; beside it is one bare signature with the same library. Without, an answer is
//! prepared once. Over HTTP the public listener has a thread and a core of its own, and so has the client; what counts is
//! the time that the server's thread was on its core. Beside it, the same listener with a handler that knows one answer.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the figures")]

#[path = "support/authority.rs"]
mod authority;
#[path = "support/bare.rs"]
mod bare;
#[path = "support/openssl.rs"]
mod openssl;
#[path = "support/pairs.rs"]
mod pairs;
#[path = "support/public.rs"]
mod public;
mod support;
#[path = "support/threads.rs"]
mod threads;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use portcullis::publish::ocsp::Responders;
use portcullis::world::{Clock, SystemClock, Timestamp};
use portcullis::x509::pem::{self, Label};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use authority::Authority;
use openssl::OpenSsl;
use pairs::{Pairs, worked};
use public::{Bare, serve};
use threads::Thread;

/// Answers in one turn, in process.
const EACH: u32 = 2000;
/// Connections at once, and what each asks in one turn.
const CONNECTIONS: u32 = 8;
const ASKED: u32 = 1500;

fn main() {
    if support::case().is_none() {
        return;
    }
    let authority = Authority::new();
    let row = authority.issue(authority::fresh());
    let (statuses, roll) = (Arc::clone(&authority.statuses), Arc::clone(&authority.roll));
    statuses.wait_for(authority.engine.store().end(), Duration::from_secs(10)).unwrap();
    let engine = Arc::clone(&authority.engine);
    let responders = Responders::new(engine, authority.authorities.clone(), statuses, roll);
    responders.renew().unwrap();
    let openssl = OpenSsl::new();
    openssl.file("ca.pem", authority.chain()).file("user.pem", pem::write(Label::Certificate, &row.der));
    openssl.file("issuer.pem", pem::write(Label::Certificate, authority.issuer().certificate.der()));
    openssl.run("ocsp -issuer issuer.pem -cert user.pem -reqout nonce.der");
    openssl.run("ocsp -issuer issuer.pem -cert user.pem -no_nonce -reqout plain.der");
    in_process(&responders, &openssl);
    over_http(&authority, responders, &openssl);
}

/// Ten thousand answers fit its second: signing has a bound, which is not what is measured here.
#[derive(Debug)]
struct Unhurried(AtomicI64);

impl Clock for Unhurried {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_milliseconds(self.0.fetch_add(1, Ordering::Relaxed) / 10)
    }
}

fn in_process(responders: &Responders, openssl: &OpenSsl) {
    let (nonce, plain) = (openssl.read("nonce.der"), openssl.read("plain.der"));
    let clock = Unhurried(AtomicI64::new(SystemClock.now().unix_milliseconds() * 10));
    let mut last = Bytes::new();
    let signed = Pairs::measure(|| bare::sign(EACH), || each(|| last = responders.answer(&nonce, &clock).der));
    check(openssl, &last);
    let [share, least, most] = signed.share().map(|share| share * 100.0);
    println!(
        "signed, with a nonce: {:.0} a second ({:.1} µs), a signature {:.0} ({:.1} µs): {share:.1} % of it ({least:.1} \
         to {most:.1}); {}",
        1.0 / signed.product(),
        signed.product() * 1e6,
        1.0 / signed.limit(),
        signed.limit() * 1e6,
        support::load(),
    );
    let prepared = Pairs::measure(|| bare::sign(EACH), || each(|| last = responders.answer(&plain, &SystemClock).der));
    check(openssl, &last);
    println!(
        "prepared: {:.0} a second ({:.2} µs); {}",
        1.0 / prepared.product(),
        prepared.product() * 1e6,
        support::load()
    );
}

/// The time on the core for each of [`EACH`].
fn each(mut what: impl FnMut()) -> Duration {
    worked(|| (0..EACH).for_each(|_| what())) / EACH
}

fn check(openssl: &OpenSsl, answer: &[u8]) {
    openssl.file("answer.der", answer);
    let said = openssl.run("ocsp -issuer issuer.pem -cert user.pem -no_nonce -respin answer.der -CAfile ca.pem");
    assert!(said.contains("Response verify OK") && said.contains("user.pem: good"), "{said}");
}

fn over_http(authority: &Authority, responders: Responders, openssl: &OpenSsl) {
    let (server, client) = (Thread::start(Some("0")), Thread::start(Some("1")));
    let (public, _folder) = public::of(authority, responders);
    let (port, _public) = serve(&server, public);

    let question = openssl.read("plain.der");
    let get = format!("GET /ocsp/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", standard(&question)).into_bytes();
    let head = format!("POST /ocsp HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", question.len());
    let post = [head.as_bytes(), &question].concat();
    for (name, request) in [("GET", get), ("POST", post)] {
        let request = Arc::<[u8]>::from(request);
        let answer = client.run(first(port, Arc::clone(&request)));
        let place = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        let body = Bytes::copy_from_slice(&answer[place..]);
        check(openssl, &body);
        let (bare_port, _bare) = serve(&server, Arc::new(Bare(body)));
        let bare = client.run(first(bare_port, Arc::clone(&request)));
        let mut rates = Vec::new();
        let pairs = Pairs::measure(
            || turn(&server, &client, bare_port, &request, bare.len()),
            || {
                let start = Instant::now();
                let worked = turn(&server, &client, port, &request, answer.len());
                rates.push(f64::from(CONNECTIONS * ASKED) / start.elapsed().as_secs_f64());
                worked
            },
        );
        println!(
            "prepared, {name} on {CONNECTIONS} connections: {:.0} for each core-second ({:.1} µs), {:.0} a second; the \
             bare handler {:.0} for each core-second ({:.1} µs); {}",
            1.0 / pairs.product(),
            pairs.product() * 1e6,
            pairs::median(&rates),
            1.0 / pairs.limit(),
            pairs.limit() * 1e6,
            support::load(),
        );
    }
}

/// In base64, and with what stands for something else in a path escaped (RFC 6960 §A.1).
fn standard(question: &[u8]) -> String {
    URL_SAFE.encode(question).replace('-', "%2B").replace('_', "%2F").replace('=', "%3D")
}

/// One question on a connection of its own; the whole answer.
async fn first(port: u16, request: Arc<[u8]>) -> Vec<u8> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    stream.write_all(&request).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

/// The time of the server's thread for each question; every answer has the length of the first.
fn turn(server: &Thread, client: &Thread, port: u16, request: &Arc<[u8]>, length: usize) -> Duration {
    let (before, request) = (server.on_core(), Arc::clone(request));
    client.run(async move {
        let mut clients = JoinSet::new();
        for _ in 0..CONNECTIONS {
            clients.spawn(ask(port, Arc::clone(&request), length));
        }
        clients.join_all().await;
    });
    (server.on_core() - before) / (CONNECTIONS * ASKED)
}

async fn ask(port: u16, request: Arc<[u8]>, length: usize) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answer = vec![0; length];
    for _ in 0..ASKED {
        stream.write_all(&request).await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
    }
}
