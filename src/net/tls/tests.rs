use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::net::dial;
use crate::net::fixtures::{HandClock, Leaf, NOW, TestCa};
use crate::net::listen::{self, BoxFuture, Handler, Peer, Stream};
use crate::net::stop::{self, Stop, Stopper};

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
    let limits = listen::Limits { connections: listen::Allowed::of(0), ..listen::Limits::default() };
    let server = server(limits).await;
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    assert!(matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_)));
}
