//! Which connections to the API server carry whose requests.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use http::{Method, Request, Response};
use tokio_rustls::TlsAcceptor;

use super::client2::{Http2, request};
use super::world::{PATIENCE, World};
use crate::net::fixtures::{HandClock, NOW, TestCa};
use crate::net::listen;
use crate::net::tls::{self, Serving, Versions, server_config};

#[tokio::test]
async fn no_two_credentials_share_a_connection_and_one_credential_does() {
    for world in World::each().await {
        let (alice, laptop, bob) = (world.issue("alice"), world.issue("alice"), world.issue("bob"));
        // All open at the same time, and their requests in turns.
        let mut open = Vec::new();
        for leaf in [&alice, &laptop, &bob] {
            let (mut one, two) = (Http2::connect(&world, Some(leaf)).await, world.connect(Some(leaf)).await);
            let watches = [one.open("/watch?watch=true").await, one.open("/watch?watch=true").await];
            open.push((one, two, watches));
        }
        for _ in 0..2 {
            for (one, two, _) in &mut open {
                assert_eq!(one.get("/api").await.status, 200);
                assert_eq!(two.get("/api").await.status, 200);
            }
        }
        drop(open);
        let mut whose: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        for (carrier, (_, headers)) in
            world.seen.carriers.lock().unwrap().iter().zip(world.seen.requests.lock().unwrap().iter())
        {
            let id = &headers["impersonate-extra-authentication.kubernetes.io%2fcredential-id"];
            whose.entry(*carrier).or_default().insert(id.to_str().unwrap().to_owned());
        }
        assert!(whose.values().all(|credentials| credentials.len() == 1), "{whose:?}");
        world.upstream_connections(0).await;
    }
}

#[tokio::test]
async fn connections_of_one_credential_share_theirs_on_http2() {
    let world = World::with(true, |_| {}).await;
    let alice = world.issue("alice");
    let (mut one, mut two) = (Http2::connect(&world, Some(&alice)).await, world.connect(Some(&alice)).await);
    let mut watch = one.open("/watch?watch=true").await;
    watch.until("\n").await;
    assert_eq!(two.get("/api").await.status, 200);
    assert_eq!(*world.seen.carriers.lock().unwrap(), [0, 0]);
    drop((watch, one));
    assert_eq!(two.get("/api").await.status, 200);
    world.upstream_connections(1).await;
    drop(two);
    world.upstream_connections(0).await;
}

#[tokio::test]
async fn more_watches_than_a_connection_takes_all_get_their_lines() {
    for (world, connections) in World::each().await.into_iter().zip([170, 3]) {
        let alice = world.issue("alice");
        let mut client = Http2::connect(&world, Some(&alice)).await;
        let mut watches = Vec::new();
        for _ in 0..170 {
            let mut watch = client.open("/watch?watch=true").await;
            watch.until("{\"type\":\"ADDED\"}\n").await;
            watches.push(watch);
        }
        world.upstream_connections(connections).await;
        assert_eq!(client.get("/api").await.body, "whole");
    }
}

#[tokio::test]
async fn connections_that_nobody_needs_any_more_are_closed_but_for_one() {
    let world = World::with(true, |_| {}).await;
    let alice = world.issue("alice");
    let mut client = Http2::connect(&world, Some(&alice)).await;
    let mut watches = Vec::new();
    for _ in 0..90 {
        watches.push(client.open("/watch?watch=true").await);
    }
    world.upstream_connections(2).await;
    drop(watches);
    let fewer = async {
        while *world.seen.open.borrow() > 1 {
            assert_eq!(client.get("/api").await.status, 200);
        }
    };
    tokio::time::timeout(PATIENCE, fewer).await.unwrap();
}

/// An API server on HTTP/2 that answers as it is told, and counts its connections.
struct Scripted {
    servers: TestCa,
    port: u16,
    connections: Arc<Mutex<usize>>,
}

impl Scripted {
    async fn new<F>(most: Option<u32>, answer: F) -> Self
    where
        F: Fn(usize, &Request<h2::RecvStream>, &mut SendResponse<Bytes>) + Send + Sync + 'static,
    {
        let servers = TestCa::new("server CA");
        let leaf = servers.server();
        let serving = Serving::new(leaf.chain.clone(), leaf.key()).unwrap();
        let config = server_config(&serving, None, Versions::Tls13, HandClock::at(NOW)).unwrap();
        let acceptor = TlsAcceptor::from(tls::offering_http2(&config));
        let listener = listen::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, answer) = (Arc::new(Mutex::new(0)), Arc::new(answer));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            let mut asked = 0;
            while let Ok((stream, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                let mut builder = h2::server::Builder::new();
                if let Some(most) = most {
                    builder.max_concurrent_streams(most);
                }
                let (stream, answer) = (acceptor.accept(stream).await.unwrap(), Arc::clone(&answer));
                let first = asked;
                asked += 1000;
                tokio::spawn(async move {
                    let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
                    let mut number = first;
                    let mut held = Vec::new();
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        number += 1;
                        answer(number, &request, &mut respond);
                        if request.uri().path() == "/leave" {
                            connection.abrupt_shutdown(h2::Reason::NO_ERROR);
                        }
                        held.push((request, respond));
                    }
                });
            }
        });
        Self { servers, port, connections }
    }
}

fn line(respond: &mut SendResponse<Bytes>, is_end: bool) {
    let mut body = respond.send_response(Response::new(()), false).unwrap();
    body.send_data(Bytes::from_static(b"a line\n"), is_end).unwrap();
    if !is_end {
        // Kept, since what is dropped is reset.
        std::mem::forget(body);
    }
}

#[tokio::test]
async fn an_api_server_that_allows_few_streams_gets_more_connections() {
    let server = Scripted::new(Some(5), |_, _, respond| line(respond, false)).await;
    let connections = Arc::clone(&server.connections);
    let world = World::before(server.servers, server.port).await;
    let mut client = Http2::connect(&world, Some(&world.issue("alice"))).await;
    let mut streams = Vec::new();
    for _ in 0..12 {
        let mut stream = client.open("/log").await;
        stream.until("a line\n").await;
        streams.push(stream);
    }
    assert_eq!(*connections.lock().unwrap(), 3);
}

#[tokio::test]
async fn an_answer_that_the_api_server_takes_back_does_not_look_whole() {
    for reason in [h2::Reason::CANCEL, h2::Reason::NO_ERROR, h2::Reason::INTERNAL_ERROR] {
        let server = Scripted::new(None, move |_, request, respond| {
            if request.uri().path() == "/log" {
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                let release = request.uri().path().to_owned();
                tokio::spawn(async move {
                    body.send_data(Bytes::from_static(b"a line\n"), false).unwrap();
                    // Once the line is written: a reset takes back what is not.
                    body.reserve_capacity(usize::MAX >> 33);
                    drop(release);
                    std::future::poll_fn(|cx| body.poll_capacity(cx)).await;
                    tokio::task::yield_now().await;
                    body.send_reset(reason);
                });
            } else {
                line(respond, true);
            }
        })
        .await;
        let world = World::before(server.servers, server.port).await;
        let alice = world.issue("alice");
        let mut client = Http2::connect(&world, Some(&alice)).await;
        let (response, _) = client.send(request(Method::GET, "/log"), true).await;
        // The line may be lost with the stream, and so may the head; what must not be is an end.
        if let Ok(response) = response.await {
            let (_, error) = super::client2::Reading(response.into_body()).rest().await;
            assert!(error.is_some(), "{reason:?}");
        }
        let mut one = world.connect(Some(&alice)).await;
        one.send("GET /log HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let (rest, _) = one.rest().await;
        assert!(!rest.contains("\r\n0\r\n\r\n"), "{rest:?}");
    }
}

#[tokio::test]
async fn what_was_surely_not_looked_at_is_sent_once_more_and_nothing_else() {
    let server = Scripted::new(None, |number, request, respond| {
        if number % 2 == 1 && request.uri().path() != "/leave" {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
        } else if request.uri().path() != "/leave" {
            line(respond, true);
        }
    })
    .await;
    let world = World::before(server.servers, server.port).await;
    let mut client = Http2::connect(&world, Some(&world.issue("alice"))).await;
    // The first is refused, its repetition is answered.
    assert_eq!(client.get("/api").await.body, "a line\n");
    let (response, mut body) = client.send(request(Method::POST, "/api"), false).await;
    body.send_data(Bytes::from_static(b"a change"), true).unwrap();
    let answer = super::client2::answer(response).await;
    assert_eq!(answer.status, 502, "a body that is gone cannot be sent again: {}", answer.body);
}
