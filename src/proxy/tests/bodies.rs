use super::world::{PATIENCE, World};
use std::time::Duration;

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
