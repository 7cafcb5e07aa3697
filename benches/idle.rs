//! The memory of a proxy with 10,000 idle connections.
//!
//! The proxy is in this process; its clients and its API server are in another. Each client has asked once.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the figures")]

#[path = "../tests/support/gate.rs"]
mod gate;
mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::Arc;

use portcullis::net::dial;
use portcullis::net::tls::{self, Serving, Versions};
use portcullis::world::SystemClock;
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::client::TlsStream;

use gate::{Ca, Gate, PATIENCE};

const CONNECTIONS: usize = 10_000;
/// The proxy takes 8,192 on where nothing else is said.
const MOST: usize = 12_000;
const REQUEST: &[u8] = b"GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn main() {
    let Some(folder) = support::case() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if folder.is_empty() { runtime.block_on(proxy()) } else { runtime.block_on(others(&folder)) }
}

async fn proxy() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, octets: &[u8]| fs::write(folder.path().join(name), octets).unwrap();
    let servers = Ca::new("servers");
    let upstream = servers.server();
    write("upstream", &upstream.chain[0]);
    write("upstream-key", upstream.pem().1.as_bytes());
    let mut child = support::this(folder.path().to_str().unwrap());
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut lines, mut said) = (BufReader::new(child.stdout.take().unwrap()).lines(), child.stdin.take().unwrap());
    // Blocks one of the two threads; the proxy has the other.
    let mut next = || tokio::task::block_in_place(|| lines.next().unwrap().unwrap());
    let port = next().parse().unwrap();
    let gate = Gate::start(&servers, port, |settings| {
        settings.listen.connections = portcullis::net::listen::Allowed::of(MOST)
    })
    .await;
    let alice = gate.issue("alice");
    write("leaf", &alice.chain[0]);
    write("issuer", &alice.chain[1]);
    write("key", alice.pem().1.as_bytes());
    write("server", gate.servers());
    said.write_all(format!("{}\n", gate.port).as_bytes()).unwrap();
    assert_eq!(next(), "one");
    let before = support::resident(std::process::id());
    said.write_all(b"go on\n").unwrap();
    assert_eq!(next(), "open");
    let taken = support::resident(std::process::id()) - before;
    println!(
        "{CONNECTIONS} idle connections: {} MB more than the {} MB before, {} octets each; {}",
        taken / 1_000_000,
        before / 1_000_000,
        taken / u64::try_from(CONNECTIONS).unwrap(),
        support::load()
    );
    said.write_all(b"ask again\n").unwrap();
    assert!(child.wait().unwrap().success());
}

/// The API server, and the clients.
async fn others(folder: &str) {
    let read = |name: &str| CertificateDer::from(fs::read(format!("{folder}/{name}")).unwrap());
    let key = |name: &str| PrivateKeyDer::from_pem_file(format!("{folder}/{name}")).unwrap();
    let heard = || assert!(std::io::stdin().read_line(&mut String::new()).unwrap() > 0);
    println!("{}", upstream(&Serving::new(vec![read("upstream")], key("upstream-key")).unwrap()).await);
    let mut port = String::new();
    std::io::stdin().read_line(&mut port).unwrap();
    let port = port.trim().parse().unwrap();
    let config = tls::client_config(&[read("server")], Some((vec![read("leaf"), read("issuer")], key("key")))).unwrap();
    drop(connect(port, &config).await);
    println!("one");
    heard();
    let mut open = Vec::new();
    while open.len() < CONNECTIONS {
        open.push(connect(port, &config).await);
    }
    println!("open");
    heard();
    // All of them are there at the end.
    for mut stream in open {
        ask(&mut stream).await;
    }
}

/// Says `ok` to whatever it is asked; gives its port.
async fn upstream(serving: &Arc<Serving>) -> u16 {
    let config = tls::server_config(serving, None, Versions::default(), Arc::new(SystemClock)).unwrap();
    let acceptor = TlsAcceptor::from(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = Vec::new();
                while stream.read_buf(&mut request).await.is_ok_and(|length| length > 0) {
                    if request.ends_with(b"\r\n\r\n") {
                        request.clear();
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                    }
                }
            });
        }
    });
    port
}

async fn connect(port: u16, config: &Arc<ClientConfig>) -> TlsStream<TcpStream> {
    let mut stream = dial::connect("127.0.0.1", port, Arc::clone(config), "localhost", PATIENCE).await.unwrap();
    ask(&mut stream).await;
    stream
}

async fn ask(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(REQUEST).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
}
