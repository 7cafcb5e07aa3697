use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

use super::world::{PATIENCE, World};
use crate::ident::Fingerprint;
use crate::net::fixtures::{HandClock, NOW};
use crate::observe::Metrics;
use crate::proxy::connections::Register;
use crate::proxy::deny::Denied;
use crate::proxy::refuse::Tally;
use crate::proxy::relay::{Broken, Upload};
use crate::standing::Revision;
use crate::status::Statuses;

const LAST_CHUNK: &str = "0\r\n\r\n";

#[tokio::test]
async fn a_watch_is_told_why_it_ends_and_does_not_end_cleanly() {
    let world = World::new().await;
    let (alice, bob) = (world.issue("alice"), world.issue("bob"));
    let (mut alices, mut bobs) = (world.connect(Some(&alice)).await, world.connect(Some(&bob)).await);
    for client in [&mut alices, &mut bobs] {
        client.send("GET /watch?watch=true HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        client.read_until("{\"type\":\"ADDED\"}\n\r\n").await;
    }
    world.upstream_connections(2).await;
    let revision = world.revoke("alice");
    let (rest, clean) = alices.rest().await;
    let event = rest.split("\r\n").nth(1).unwrap_or_default();
    assert!(event.starts_with(r#"{"type":"ERROR","object":{"kind":"Status""#), "{rest:?}");
    assert!(event.contains("certificate revoked") && event.ends_with("\"code\":401}}\n"), "{event:?}");
    assert!(!rest.contains(LAST_CHUNK) && !clean, "a cut must not look like the end of the response");
    let enforced = world.proxy.enforced(revision, PATIENCE).await.unwrap();
    assert_eq!(enforced.closed, 1);
    world.upstream_connections(1).await;
    let silent = tokio::time::timeout(Duration::from_millis(50), bobs.read_until("\n")).await;
    assert!(silent.is_err(), "another user's watch goes on");
}

#[tokio::test]
async fn a_stream_that_is_no_watch_is_cut_without_a_word() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let mut client = world.connect(Some(&alice)).await;
    client.send("GET /log HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    client.read_until("a line\n\r\n").await;
    world.revoke("alice");
    assert_eq!(client.rest().await, (String::new(), false));
}

#[tokio::test]
async fn a_client_that_does_not_read_cannot_hold_its_connection() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let mut client = world.connect(Some(&alice)).await;
    client.send("GET /flood HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    client.read_until("0123456789abcdef").await;
    let revision = world.revoke("alice");
    let enforced = world.proxy.enforced(revision, PATIENCE).await.unwrap();
    assert_eq!(enforced.closed, 1);
    assert!(enforced.after < Duration::from_secs(2), "{:?}", enforced.after);
    world.upstream_connections(0).await;
}

#[tokio::test]
async fn an_upload_that_is_cut_never_looks_whole_to_the_api_server() {
    for framing in ["Transfer-Encoding: chunked", "Content-Length: 100"] {
        let world = World::new().await;
        let alice = world.issue("alice");
        let mut client = world.connect(Some(&alice)).await;
        client.send(&format!("POST /upload HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n4\r\nhalf\r\n")).await;
        world.upstream_connections(1).await;
        let revision = world.revoke("alice");
        world.proxy.enforced(revision, PATIENCE).await.unwrap();
        world.upstream_connections(0).await;
        // Whether the request got so far before the cut is a race; what must not be is a whole upload.
        assert!(!world.seen.uploads.borrow().contains(&true), "{framing}");
        let (rest, _) = client.rest().await;
        assert!(!rest.contains("200"), "{rest}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_leaves_half_an_upload() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let mut client = world.connect(Some(&alice)).await;
    client.send("POST /upload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    world.upstream_connections(1).await;
    drop(client);
    world.upstream_connections(0).await;
    assert!(!world.seen.uploads.borrow().contains(&true));
}

// Connections end one after the other, and while some are still open what drives their uploads goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_an_upload_stays_half_when_the_proxy_stops() {
    const UPLOADS: usize = 60;
    for world in World::each().await {
        let alice = world.issue("alice");
        let mut clients = Vec::new();
        for _ in 0..UPLOADS {
            let mut client = world.connect(Some(&alice)).await;
            client
                .send("POST /upload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
                .await;
            clients.push(client);
        }
        world.until_requests(UPLOADS).await;
        let seen = Arc::clone(&world.seen);
        tokio::time::timeout(PATIENCE, world.proxy.stop()).await.unwrap();
        let mut uploads = seen.uploads.subscribe();
        tokio::time::timeout(PATIENCE, uploads.wait_for(|ended| ended.len() == UPLOADS)).await.unwrap().unwrap();
        assert!(!seen.uploads.borrow().contains(&true));
    }
}

#[tokio::test]
async fn the_end_of_a_dropped_connection_is_not_the_end_of_an_upload() {
    for framing in ["Transfer-Encoding: chunked", "Content-Length: 10"] {
        let (mut near, far) = tokio::io::duplex(1024);
        let (give, mut take) = tokio::sync::mpsc::unbounded_channel();
        let service = service_fn(move |request: Request<Incoming>| {
            give.send(request.into_body()).unwrap();
            std::future::pending::<Result<Response<Full<Bytes>>, std::io::Error>>()
        });
        let serving = http1::Builder::new().serve_connection(TokioIo::new(far), service);
        let serving = tokio::spawn(serving);
        let head = format!("POST /upload HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n4\r\nhalf\r\n");
        near.write_all(head.as_bytes()).await.unwrap();
        let body = take.recv().await.unwrap();
        let tally = Arc::new(Tally::new(&Metrics::new()));
        let statuses = Arc::new(Statuses::empty());
        statuses.reached(Revision::default());
        let register = Arc::new(Register::new(statuses, Denied::default(), HandClock::at(NOW), tally));
        let registered = register.register(Fingerprint::from_octets([1; 32]), "alice", None, NOW);
        let mut upload = Upload::new(body, Version::HTTP_11, &register, registered.leash(), Arc::default());
        assert!(upload.frame().await.unwrap().is_ok());
        serving.abort();
        let end = upload.frame().await;
        assert!(matches!(end, Some(Err(Broken::Body(_)))), "{framing}: {end:?}");
    }
}

#[tokio::test]
async fn a_whole_upload_arrives_whole() {
    let world = World::new().await;
    let alice = world.issue("alice");
    for body in ["Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n", "Content-Length: 4\r\n\r\nhalf"] {
        let reply = world.ask(&alice, &format!("POST /upload HTTP/1.1\r\nHost: localhost\r\n{body}")).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "whole"));
    }
    assert_eq!(*world.seen.uploads.borrow(), [true, true]);
}

#[tokio::test]
async fn requests_of_one_connection_share_one_to_the_api_server() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let mut client = world.connect(Some(&alice)).await;
    for _ in 0..3 {
        assert_eq!(client.get("/api").await.status, 200);
    }
    assert_eq!(*world.seen.open.borrow(), 1);
    let other = world.connect(Some(&alice)).await.get("/api").await;
    assert_eq!(other.status, 200);
    drop(client);
    world.upstream_connections(0).await;
}

#[tokio::test]
async fn a_redirect_is_passed_back_and_not_followed() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let reply = world.ask(&alice, "GET /redirect HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(reply.status, 302);
    assert_eq!(world.requests(), 1);
}
