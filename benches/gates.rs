//! The proxy beside nginx and HAProxy with a CRL of no, 100,000 and a million entries: full handshakes with a client
//! certificate and one request, for each second that the server was on a core.
//!
//! `nginx` and `haproxy` are looked for on the path; one that is not there is left out. Each has one worker on the core on
//! which the proxy's thread is, and the client is on the other; they take turns.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the figures")]

#[path = "support/authority.rs"]
mod authority;
#[path = "../tests/support/gate.rs"]
mod gate;
#[path = "support/pairs.rs"]
mod pairs;
#[path = "support/peer.rs"]
mod peer;
#[path = "support/record.rs"]
mod record;
#[path = "support/revoked.rs"]
mod revoked;
mod support;
#[path = "support/threads.rs"]
mod threads;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portcullis::ca::issue::{Issue, Purpose};
use portcullis::ca::keys::Issuer;
use portcullis::ident::{IssuerName, Serial};
use portcullis::net::{dial, tls};
use portcullis::standing::{Cut, Revision};
use portcullis::status::Change;
use portcullis::world::{Clock as _, SystemClock};
use portcullis::x509::pem::{self, Label};
use portcullis::x509::public_key::PublicKey;
use portcullis::x509::reason::Reason;
use rcgen::KeyPair;
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use authority::{ADMIN, Authority};
use gate::{Ca, Gate, PATIENCE};
use pairs::{TURNS, median};
use peer::{Kind, Peer};
use threads::Thread;

/// Entries, and how many handshakes a peer makes in a turn.
const SIZES: [(u64, u32); 3] = [(0, 200), (100_000, 20), (1_000_000, 4)];
/// How many the proxy makes.
const OURS: u32 = 200;
/// Connections at once.
const AT_ONCE: u32 = 4;
/// A head of the API server's own front proxies: the proxy refuses it by itself, the peers do not know it.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Remote-User: root\r\nConnection: close\r\n\r\n";

fn main() {
    if support::case().is_none() {
        return;
    }
    let (server, client) = (Thread::start(Some("0")), Thread::start(Some("1")));
    let gate = server.run(async { Arc::new(Gate::start(&Ca::new("unasked"), 1, |_| {}).await) });
    let alice = gate.client(&gate.issue("alice"));
    let authority = Authority::new();
    let servers = Ca::new("servers");
    let sites = [Chain::BelowRoot, Chain::Alone].map(|chain| Site::new(&authority, chain, &servers));
    let mut known = 0;
    for (size, each) in SIZES {
        record::fill(&gate.statuses, known..size, 100_000);
        revoke(&gate, known..size);
        known = size;
        let peers: Vec<(&Site, Peer)> = sites.iter().flat_map(|site| site.start(&authority, &client, size)).collect();
        let mut costs = vec![Vec::new(); peers.len() + 1];
        for _ in 0..TURNS {
            costs[0].push(turn(&client, gate.port, &alice, OURS, || server.on_core()));
            for ((site, peer), costs) in peers.iter().zip(&mut costs[1..]) {
                costs.push(turn(&client, peer.port, &site.good.0, each, || peer.on_core()));
            }
        }
        tell(size, &costs, &peers);
    }
}

/// How the CA of the clients stands; both peers check a list for each CA of the chain.
#[derive(Clone, Copy, Debug)]
enum Chain {
    /// Below a root with an empty list: one signature more to verify.
    BelowRoot,
    /// It signs itself, so that its own list is there for it too.
    Alone,
}

/// The files of the peers, and two clients of which one is revoked.
struct Site {
    chain: Chain,
    home: TempDir,
    good: (Arc<ClientConfig>, Serial),
    dead: (Arc<ClientConfig>, Serial),
}

impl Site {
    fn new(authority: &Authority, chain: Chain, servers: &Ca) -> Self {
        let home = tempfile::tempdir().unwrap();
        let leaf = servers.server().pem();
        std::fs::write(home.path().join("server.pem"), format!("{}{}", leaf.0, leaf.1)).unwrap();
        std::fs::write(home.path().join("ca.pem"), chain.anchors(authority)).unwrap();
        let [good, dead] = [0, 1].map(|_| chain.identity(authority, &servers.der));
        Self { chain, home, good, dead }
    }

    /// Starts both with a list of so many entries; they must refuse the client who is on it, and nobody else.
    fn start(&self, authority: &Authority, client: &Thread, size: u64) -> Vec<(&Self, Peer)> {
        let listed = (size > 0).then_some(self.dead.1);
        self.chain.write_lists(authority, self.home.path(), size, listed);
        let is_answered = |port, who: &(Arc<ClientConfig>, Serial)| client.run(ask(port, Arc::clone(&who.0))).is_some();
        let start = |kind| Peer::start(kind, self.home.path(), |port| is_answered(port, &self.good));
        let peers: Vec<Peer> = [Kind::Nginx, Kind::Haproxy].into_iter().filter_map(start).collect();
        for peer in &peers {
            assert_eq!(is_answered(peer.port, &self.dead), listed.is_none(), "{} and a revoked client", peer.name());
        }
        peers.into_iter().map(|peer| (self, peer)).collect()
    }
}

impl Chain {
    fn issuer(self, authority: &Authority) -> Arc<Issuer> {
        match self {
            Self::BelowRoot => authority.issuer(),
            Self::Alone => authority.authorities.keyring.issuer(&IssuerName::infra()).unwrap(),
        }
    }

    fn anchors(self, authority: &Authority) -> String {
        match self {
            Self::BelowRoot => authority.chain(),
            Self::Alone => pem::write(Label::Certificate, self.issuer(authority).certificate.der()),
        }
    }

    /// A client, who sends the certificate of the CA too, and the serial number of their own.
    fn identity(self, authority: &Authority, server: &CertificateDer<'static>) -> (Arc<ClientConfig>, Serial) {
        let key = KeyPair::generate().unwrap();
        let mut wish = authority.wish(PublicKey::of(&key).unwrap());
        if matches!(self, Self::Alone) {
            wish = Issue { id: ADMIN.parse().unwrap(), purpose: Purpose::Management, ..wish };
        }
        let row = authority.engine.run(&authority.admin, &wish).unwrap().outcome.row;
        let issuer = self.issuer(authority).certificate.der().to_vec();
        let chain = vec![CertificateDer::from(row.der), CertificateDer::from(issuer)];
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        (tls::client_config(std::slice::from_ref(server), Some((chain, key))).unwrap(), row.serial)
    }

    fn write_lists(self, authority: &Authority, home: &Path, size: u64, listed: Option<Serial>) {
        let issuer = self.issuer(authority);
        let chunks = revoked::chunks((0..size).map(revoked::serial).chain(listed).collect());
        let list = revoked::fields(&issuer).sign(&chunks, &issuer.key).unwrap();
        let mut text = pem::write(Label::Crl, &list);
        if matches!(self, Self::BelowRoot) {
            let root = authority.authorities.keyring.issuer(&IssuerName::root()).unwrap();
            let empty = revoked::fields(&root).sign_entries(&[], &root.key).unwrap();
            text.push_str(&pem::write(Label::Crl, &empty));
        }
        std::fs::write(home.join("crl.pem"), text).unwrap();
    }
}

fn tell(size: u64, costs: &[Vec<f64>], peers: &[(&Site, Peer)]) {
    let ours = median(&costs[0]);
    println!(
        "{size} revoked: the proxy {:.0} for each core-second ({:.0} µs); {}",
        1.0 / ours,
        ours * 1e6,
        support::load()
    );
    for ((site, peer), costs) in peers.iter().zip(&costs[1..]) {
        let theirs = median(costs);
        println!(
            "    {}, {:?}: {:.0} for each core-second ({:.0} µs), {:.1} times the proxy's; first answer {:.2} s after its start; \
             {} MB in RAM",
            peer.name(),
            site.chain,
            1.0 / theirs,
            theirs * 1e6,
            theirs / ours,
            peer.first_answer.as_secs_f64(),
            peer.memory() / 1_000_000,
        );
    }
}

fn revoke(gate: &Gate, numbers: std::ops::Range<u64>) {
    let cut =
        Cut { revision: Revision { era: 1, number: u64::MAX }, at: SystemClock.now(), reason: Reason::KeyCompromise };
    gate.statuses.apply(numbers.map(|number| Change::Revoked(record::fingerprint(number).short(), cut.clone())));
}

/// Seconds of the server for each handshake with its request.
fn turn(client: &Thread, port: u16, config: &Arc<ClientConfig>, count: u32, on_core: impl Fn() -> Duration) -> f64 {
    let (before, config) = (on_core(), Arc::clone(config));
    client.run(async move {
        let mut clients = JoinSet::new();
        for _ in 0..AT_ONCE {
            let config = Arc::clone(&config);
            clients.spawn(async move {
                for _ in 0..count / AT_ONCE {
                    ask(port, Arc::clone(&config)).await.unwrap();
                }
            });
        }
        clients.join_all().await;
    });
    (on_core() - before).as_secs_f64() / f64::from(count)
}

/// The answer, unless the connection or the certificate was refused.
async fn ask(port: u16, config: Arc<ClientConfig>) -> Option<Vec<u8>> {
    let mut stream = dial::connect("127.0.0.1", port, config, "localhost", PATIENCE).await.ok()?;
    stream.write_all(REQUEST).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let is_about_tls = answer.windows(15).any(|words| words == b"SSL certificate");
    (answer.starts_with(b"HTTP/1.1 ") && !is_about_tls).then_some(answer)
}
