//! No session is ever resumed: a resumed one would skip the check of the client's certificate.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "what fails here is a failed test"
)]

#[path = "support/gate.rs"]
mod gate;

use std::process::{Command, Stdio};
use std::sync::Arc;

use gate::{Ca, Gate, Leaf, PATIENCE};
use portcullis::net::dial;
use portcullis::net::tls::Versions;
use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const TRIES: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_keeps_tickets_of_tls_1_3_gets_none_in_a_thousand_tries() {
    let gate = proxy(Versions::Tls13).await;
    let alice = gate.issue("alice");
    never_resumed(&gate, (*gate.client(&alice)).clone(), TRIES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_keeps_sessions_of_tls_1_2_resumes_none_in_a_thousand_tries() {
    let gate = proxy(Versions::Tls12And13).await;
    let alice = gate.issue("alice");
    never_resumed(&gate, only_tls12(&gate, &alice), TRIES).await;
}

/// Nobody is behind it: whoever is let in is told so, and that is all that is asked here.
async fn proxy(versions: Versions) -> Gate {
    Gate::start(&Ca::new("servers"), 9, |settings| settings.versions = versions).await
}

fn only_tls12(gate: &Gate, leaf: &Leaf) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(gate.servers().clone()).unwrap();
    rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(leaf.chain.clone(), leaf.key())
        .unwrap()
}

async fn never_resumed(gate: &Gate, mut config: rustls::ClientConfig, tries: usize) {
    config.resumption = rustls::client::Resumption::in_memory_sessions(64);
    config.enable_early_data = true;
    let config = Arc::new(config);
    for turn in 0..tries {
        let connecting = dial::connect("127.0.0.1", gate.port, Arc::clone(&config), "localhost", PATIENCE);
        let mut stream = connecting.await.unwrap();
        // Reading takes in what a server sends behind its handshake, tickets too.
        stream.write_all(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut read = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut read)).await.unwrap().unwrap();
        assert!(read.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&read));
        let session = stream.get_ref().1;
        assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full), "at try {turn}");
        assert_eq!(session.tls13_tickets_received(), 0, "at try {turn}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_has_nothing_to_resume_with() {
    let gate = proxy(Versions::Tls12And13).await;
    let (certificate, key) = gate.issue("alice").pem();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("alice.pem"), certificate + &key).unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let first = s_client(&gate, folder.path(), &[version, "-sess_out", version]);
        assert!(first.contains("\nNew, TLS") && !first.contains("\nReused, "), "{first}");
        // OpenSSL writes down a session of TLS 1.2 even where the server gave it no name; one of 1.3 needs a ticket.
        let kept = folder.path().join(version).exists();
        assert!(!kept || version == "-tls1_2", "{first}");
        if kept {
            let second = s_client(&gate, folder.path(), &[version, "-sess_in", version]);
            assert!(second.contains("\nNew, TLS") && !second.contains("\nReused, "), "{second}");
        }
        assert!(!first.contains("TLS session ticket:"), "{first}");
    }
}

fn s_client(gate: &Gate, folder: &std::path::Path, options: &[&str]) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{}", gate.port), "-cert", "alice.pem", "-ign_eof"])
        .args(options)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    use std::io::Write as _;
    // The proxy answers with words and closes, which ends the program.
    child.stdin.take().unwrap().write_all(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let said = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&said.stdout).into_owned()
}
