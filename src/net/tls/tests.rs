use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::net::listen::{self, BoxFuture, Handler, Peer, Stream};
use crate::net::stop::{self, Stop, Stopper};
use crate::net::{dial, http1};
use crate::world::Timestamp;

/// What tests call the present: far from the machine's own.
pub(crate) const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub(crate) struct HandClock(Mutex<Timestamp>);

impl HandClock {
    pub(crate) fn at(now: Timestamp) -> Arc<Self> {
        Arc::new(Self(Mutex::new(now)))
    }

    pub(crate) fn forward(&self, by: Duration) {
        let mut now = self.0.lock().unwrap();
        *now = now.after(by);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// A certificate with its chain and key.
pub(crate) struct Leaf {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Leaf {
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    pub(crate) fn identity(&self) -> Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        Some((self.chain.clone(), self.key()))
    }
}

/// A CA made for a test.
pub(crate) struct TestCa {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) der: CertificateDer<'static>,
}

impl TestCa {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        valid(&mut params, NOW.after(Duration::from_secs(86_400)));
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), der }
    }

    /// A server's certificate for `localhost` and 127.0.0.1, valid by the machine's clock too.
    pub(crate) fn server(&self) -> Leaf {
        let mut params = CertificateParams::default();
        params.distinguished_name = named("localhost", None);
        params.subject_alt_names = vec![
            SanType::DnsName("localhost".try_into().unwrap()),
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        valid(&mut params, Timestamp::from_unix_seconds(4_000_000_000));
        self.sign(params)
    }

    /// A user's certificate with one group, valid until `not_after`.
    pub(crate) fn client(&self, id: &str, group: &str, not_after: Timestamp) -> Leaf {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(id, Some(group));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        valid(&mut params, not_after);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Leaf { chain: vec![der, self.der.clone()], key: key.serialize_der() }
    }
}

fn named(name: &str, group: Option<&str>) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    if let Some(group) = group {
        distinguished.push(DnType::OrganizationName, group);
    }
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn valid(params: &mut CertificateParams, not_after: Timestamp) {
    params.not_before = Timestamp::from_unix_seconds(1_700_000_000).date_time();
    params.not_after = not_after.date_time();
}

/// Writes how many certificates the peer sent, and ends.
struct Counting;

impl Handler for Counting {
    fn handle(self: Arc<Self>, mut stream: Stream, peer: Peer, _: Stop) -> BoxFuture {
        Box::pin(async move {
            let _ = stream.write_all(format!("{}", peer.certificates.len()).as_bytes()).await;
            let _ = stream.shutdown().await;
        })
    }
}

struct Server {
    port: u16,
    ca: TestCa,
    anchors: Arc<ClientAnchors>,
    serving: Arc<Serving>,
    clock: Arc<HandClock>,
    _stopper: Stopper,
}

async fn server(limits: listen::Limits) -> Server {
    let ca = TestCa::new("server CA");
    let leaf = ca.server();
    let serving = Serving::new(leaf.chain.clone(), leaf.key()).unwrap();
    let anchors = ClientAnchors::new(std::slice::from_ref(&ca.der)).unwrap();
    let clock = HandClock::at(NOW);
    let config = server_config(&serving, Some(&anchors), Versions::Tls13, Arc::clone(&clock) as _).unwrap();
    let listener = listen::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (_stopper, stop) = stop::channel();
    tokio::spawn(listen::serve(listener, config, Arc::new(Counting), limits, stop));
    Server { port, ca, anchors, serving, clock, _stopper }
}

impl Server {
    async fn ask_with(&self, leaf: Option<&Leaf>) -> std::io::Result<String> {
        let config = client_config(std::slice::from_ref(&self.ca.der), leaf.and_then(Leaf::identity)).unwrap();
        let patience = Duration::from_secs(5);
        let mut stream = dial::connect("127.0.0.1", self.port, config, "localhost", patience)
            .await
            .map_err(std::io::Error::other)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

#[tokio::test]
async fn a_client_may_come_with_a_certificate_or_without() {
    let server = server(listen::Limits::default()).await;
    let alice = server.ca.client("alice", "dev", NOW.after(Duration::from_secs(60)));
    assert_eq!(server.ask_with(Some(&alice)).await.unwrap(), "2");
    assert_eq!(server.ask_with(None).await.unwrap(), "0");
}

#[tokio::test]
async fn an_expired_client_completes_the_handshake_so_that_it_can_be_told() {
    let server = server(listen::Limits::default()).await;
    let alice = server.ca.client("alice", "dev", NOW);
    server.clock.forward(Duration::from_secs(3600));
    assert_eq!(server.ask_with(Some(&alice)).await.unwrap(), "2");
}

#[tokio::test]
async fn a_foreign_ca_is_refused_until_it_is_an_anchor() {
    let server = server(listen::Limits::default()).await;
    let other = TestCa::new("other CA");
    let mallory = other.client("mallory", "dev", NOW.after(Duration::from_secs(60)));
    let refused = server.ask_with(Some(&mallory)).await.unwrap_err();
    assert!(refused.to_string().contains("UnknownCA"), "{refused}");
    server.anchors.replace(std::slice::from_ref(&other.der)).unwrap();
    assert_eq!(server.ask_with(Some(&mallory)).await.unwrap(), "2");
    server.anchors.replace(&[]).unwrap();
    assert!(server.ask_with(Some(&mallory)).await.is_err());
}

#[tokio::test]
async fn a_server_certificate_does_not_open_the_door() {
    let server = server(listen::Limits::default()).await;
    assert!(server.ask_with(Some(&server.ca.server())).await.is_err());
}

#[tokio::test]
async fn a_chain_of_more_than_three_is_refused() {
    let server = server(listen::Limits::default()).await;
    let mut alice = server.ca.client("alice", "dev", NOW.after(Duration::from_secs(60)));
    alice.chain.push(server.ca.der.clone());
    assert_eq!(server.ask_with(Some(&alice)).await.unwrap(), "3");
    alice.chain.push(server.ca.der.clone());
    assert!(server.ask_with(Some(&alice)).await.is_err());
}

#[tokio::test]
async fn a_replaced_server_certificate_is_served_from_the_next_handshake_on() {
    let server = server(listen::Limits::default()).await;
    let other = TestCa::new("other CA").server();
    assert!(server.serving.replace(other.chain.clone(), server.ca.server().key()).is_err());
    assert!(server.ask_with(None).await.is_ok());
    server.serving.replace(other.chain.clone(), other.key()).unwrap();
    assert!(server.ask_with(None).await.is_err());
}

#[tokio::test]
async fn a_client_that_never_shakes_hands_is_dropped() {
    let limits = listen::Limits { handshake_time: Duration::from_millis(50), ..listen::Limits::default() };
    let server = server(limits).await;
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_connection_beyond_the_limit_is_closed_at_once() {
    let limits = listen::Limits { connections: 0, ..listen::Limits::default() };
    let server = server(limits).await;
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    assert!(matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_)));
}

/// Answers everything with 204.
struct Empty(http1::Limits);

impl Handler for Empty {
    fn handle(self: Arc<Self>, stream: Stream, _: Peer, stop: Stop) -> BoxFuture {
        Box::pin(async move {
            let service = hyper::service::service_fn(|_| async {
                let mut response = http::Response::new(http_body_util::Empty::<bytes::Bytes>::new());
                *response.status_mut() = http::StatusCode::NO_CONTENT;
                Ok::<_, std::convert::Infallible>(response)
            });
            http1::serve(stream, service, self.0.clone(), stop).await;
        })
    }
}

async fn plain(limits: http1::Limits) -> (tokio::net::TcpStream, Stopper, tokio::task::JoinHandle<()>) {
    let listener = listen::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stopper, stop) = stop::channel();
    let serving = tokio::spawn(listen::serve_plain(listener, Arc::new(Empty(limits)), listen::Limits::default(), stop));
    (tokio::net::TcpStream::connect(address).await.unwrap(), stopper, serving)
}

async fn read_head(stream: &mut tokio::net::TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_head_that_takes_too_long_ends_the_connection_and_an_idle_one_may_wait() {
    let limits = http1::Limits { head_time: Duration::from_millis(100), ..http1::Limits::default() };
    let (mut slow, _stopper, _) = plain(limits.clone()).await;
    slow.write_all(b"GET / HTTP/1.1\r\nHost: a").await.unwrap();
    assert!(matches!(slow.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    let (mut idle, _stopper, _) = plain(limits).await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(read_head(&mut idle).await.starts_with("HTTP/1.1 204"));
    // Three times the head's time without a word: still open.
    let waited = tokio::time::timeout(Duration::from_millis(300), idle.read(&mut [0; 1])).await;
    assert!(waited.is_err());
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET").await.unwrap();
    assert!(read_head(&mut idle).await.starts_with("HTTP/1.1 204"));
}

#[tokio::test]
async fn too_many_headers_are_refused() {
    let (mut stream, _stopper, _) = plain(http1::Limits::default()).await;
    let many: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    stream.write_all(format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn stopping_ends_idle_connections_and_returns() {
    let (mut stream, stopper, serving) = plain(http1::Limits::default()).await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_head(&mut stream).await;
    stopper.stop();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    serving.await.unwrap();
}
