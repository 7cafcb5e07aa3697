//! What a client on HTTP/2 is promised, whatever the API server speaks.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use tokio::io::AsyncReadExt as _;

use super::client2::{self, Came, Http2, Raw, answer, request};
use super::world::{PATIENCE, World};

const ADDED: &str = "{\"type\":\"ADDED\"}\n";
const WATCH: &str = "/watch?watch=true";

#[tokio::test]
async fn who_stands_is_let_in_and_named_upstream() {
    for world in World::each().await {
        let alice = world.issue("alice");
        let mut client = Http2::connect(&world, Some(&alice)).await;
        let answer = client.get("/api?a=%2e%2e").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "whole"));
        assert!(!answer.headers.contains_key("connection"));
        assert_eq!(world.seen.requests.lock().unwrap()[0].0, "GET /api?a=%2e%2e");
        let headers = world.last_headers();
        assert_eq!(headers["impersonate-user"], "alice");
        assert_eq!(headers["impersonate-group"], "dev");
        assert_eq!(headers["authorization"], "Bearer proxy-token");
        assert!(headers.get_all("host").iter().count() <= 1);
    }
}

#[tokio::test]
async fn a_whole_upload_arrives_whole() {
    for world in World::each().await {
        let alice = world.issue("alice");
        let mut client = Http2::connect(&world, Some(&alice)).await;
        let (response, mut body) = client.send(request(Method::POST, "/upload"), false).await;
        body.send_data(Bytes::from_static(b"half"), false).unwrap();
        body.send_data(Bytes::from_static(b" and half"), true).unwrap();
        assert_eq!(answer(response).await.body, "whole");
        assert_eq!(*world.seen.uploads.borrow(), [true]);
    }
}

#[tokio::test]
async fn a_refusal_is_told_in_words_and_the_connection_ends_with_goaway() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let headers = [("x-remote-user", 400, "for the proxy alone"), ("impersonate-user", 403, "acts as themselves")];
    for (name, status, words) in headers {
        let mut client = Http2::connect(&world, Some(&alice)).await;
        let mut asked = request(Method::GET, "/api");
        asked.headers_mut().insert(name, "root".parse().unwrap());
        must_refuse(client.ask(asked).await, status, words);
        assert!(client.end().await, "{name}: no GOAWAY");
    }
    world.revoke("alice");
    let unrecorded = world.sign("bob");
    for (leaf, words) in [
        (Some(&alice), "certificate revoked"),
        (Some(&unrecorded), "certificate not on the record"),
        (None, "no client certificate was presented"),
    ] {
        let mut client = Http2::connect(&world, leaf).await;
        must_refuse(client.get("/api").await, 401, words);
        assert!(client.end().await, "{words}: no GOAWAY");
    }
    let carol = world.issue("carol");
    world.statuses.stop("the disk failed");
    let mut client = Http2::connect(&world, Some(&carol)).await;
    must_refuse(client.get("/api").await, 503, "revocation data is stale");
    assert!(client.end().await);
    assert_eq!(world.requests(), 0);
}

fn must_refuse(answer: client2::Answer, status: u16, words: &str) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert!(answer.body.starts_with(r#"{"kind":"Status""#) && answer.body.contains(words), "{}", answer.body);
    assert!(!answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn a_revocation_is_seen_by_the_next_stream_even_before_it_is_announced() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let mut client = Http2::connect(&world, Some(&alice)).await;
    assert_eq!(client.get("/one").await.status, 200);
    world.statuses.apply([world.cut_off("alice")]);
    must_refuse(client.get("/two").await, 401, "certificate revoked");
    assert_eq!(world.requests(), 1);
    assert!(client.end().await);
    world.upstream_connections(0).await;
}

#[tokio::test]
async fn ten_watches_and_an_upload_end_on_both_sides_and_nobody_elses() {
    for world in World::each().await {
        let (alice, bob) = (world.issue("alice"), world.issue("bob"));
        let mut client = Http2::connect(&world, Some(&alice)).await;
        let mut watches = watches(&mut client, 10).await;
        let (response, mut upload) = client.send(request(Method::POST, "/upload"), false).await;
        upload.send_data(Bytes::from_static(b"half"), false).unwrap();
        let mut bobs = Http2::connect(&world, Some(&bob)).await;
        let mut others = self::watches(&mut bobs, 5).await;
        world.until_requests(16).await;
        let revision = world.revoke("alice");
        let enforced = world.proxy.enforced(revision, PATIENCE).await.unwrap();
        assert_eq!(enforced.closed, 1);
        for watch in watches.drain(..) {
            let (event, error) = watch.rest().await;
            assert!(event.starts_with(r#"{"type":"ERROR","object":{"kind":"Status""#), "{event:?}");
            assert!(event.contains("certificate revoked") && event.ends_with("\"code\":401}}\n"), "{event:?}");
            assert!(error.is_some(), "a cut must not look like the end of the response");
        }
        assert!(tokio::time::timeout(PATIENCE, response).await.unwrap().is_err());
        assert!(client.end().await, "no GOAWAY");
        let mut uploads = world.seen.uploads.subscribe();
        tokio::time::timeout(PATIENCE, uploads.wait_for(|ended| !ended.is_empty())).await.unwrap().unwrap();
        assert_eq!(*world.seen.uploads.borrow(), [false]);
        // On HTTP/1.1 a connection for each of bob's watches, on HTTP/2 one for all.
        let left = usize::from(*world.seen.open.borrow() > 1) * 4 + 1;
        world.upstream_connections(left).await;
        assert_eq!(bobs.get("/api").await.status, 200);
        let silent = tokio::time::timeout(Duration::from_millis(20), others[0].until("\n")).await;
        assert!(silent.is_err(), "another user's watch goes on");
    }
}

async fn watches(client: &mut Http2, count: usize) -> Vec<client2::Reading> {
    let mut watches = Vec::new();
    for _ in 0..count {
        let mut watch = client.open(WATCH).await;
        assert_eq!(watch.until("\n").await, ADDED);
        watches.push(watch);
    }
    watches
}

#[tokio::test]
async fn a_stream_that_is_no_watch_is_cut_without_a_word() {
    for world in World::each().await {
        let alice = world.issue("alice");
        let mut client = Http2::connect(&world, Some(&alice)).await;
        let mut log = client.open("/log").await;
        assert_eq!(log.until("\n").await, "a line\n");
        world.revoke("alice");
        let (rest, error) = log.rest().await;
        assert!(rest.is_empty() && error.is_some(), "{rest:?} {error:?}");
        assert!(client.end().await);
    }
}

#[tokio::test]
async fn an_upload_that_its_client_takes_back_never_looks_whole() {
    for world in World::each().await {
        for reason in [h2::Reason::CANCEL, h2::Reason::NO_ERROR, h2::Reason::INTERNAL_ERROR] {
            world.seen.uploads.send_replace(Vec::new());
            let alice = world.issue("alice");
            let mut client = Http2::connect(&world, Some(&alice)).await;
            let before = world.requests();
            let (_response, mut body) = client.send(request(Method::POST, "/upload"), false).await;
            body.send_data(Bytes::from_static(b"half"), false).unwrap();
            world.until_requests(before + 1).await;
            body.send_reset(reason);
            let mut uploads = world.seen.uploads.subscribe();
            tokio::time::timeout(PATIENCE, uploads.wait_for(|ended| !ended.is_empty())).await.unwrap().unwrap();
            assert_eq!(*world.seen.uploads.borrow(), [false], "{reason:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_not_read_holds_up_no_other_and_little_memory() {
    for world in World::each().await {
        let alice = world.issue("alice");
        let mut client = Http2::connect(&world, Some(&alice)).await;
        let stalled = [client.open("/flood").await, client.open("/flood").await];
        for _ in 0..100 {
            assert_eq!(client.get("/api").await.body, "whole");
        }
        let (response, mut body) = client.send(request(Method::POST, "/upload"), false).await;
        body.send_data(Bytes::from_static(b"whole"), true).unwrap();
        assert_eq!(answer(response).await.body, "whole");
        let flooded = world.seen.flooded.load(Ordering::Relaxed);
        // Sockets take the most of it; unbounded it would be hundreds of megabytes by now.
        assert!(flooded < 24 << 20, "{flooded} octets for two streams that nobody reads");
        drop(stalled);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_cannot_hold_its_connection() {
    for world in World::each().await {
        let alice = world.issue("alice");
        let mut raw = Raw::connect(&world, &alice).await;
        // As much as the proxy likes: 2^31-1 for the stream and for the connection.
        raw.frame(client2::SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]).await;
        raw.frame(8, 0, 0, &(0x7fff_ffff_u32 - 65_535).to_be_bytes()).await;
        raw.get(b"/flood").await;
        raw.0.read_exact(&mut [0; 4096]).await.unwrap();
        let revision = world.revoke("alice");
        let enforced = world.proxy.enforced(revision, PATIENCE).await.unwrap();
        assert_eq!(enforced.closed, 1);
        assert!(enforced.after < Duration::from_secs(2), "{:?}", enforced.after);
        world.upstream_connections(0).await;
    }
}

#[tokio::test]
async fn what_two_readers_may_read_differently_is_refused() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let host = |name: &str| Request::get("https://localhost/api").header("host", name).body(()).unwrap();
    let mut twice = host("localhost");
    twice.headers_mut().append("host", "localhost".parse().unwrap());
    for bad in
        [host("other"), twice, request(Method::CONNECT, "/api"), Request::get("http://localhost/api").body(()).unwrap()]
    {
        let mut client = Http2::connect(&world, Some(&alice)).await;
        assert!(!client.sender.is_extended_connect_protocol_enabled());
        let shown = format!("{bad:?}");
        assert_eq!(client.ask(bad).await.status, 400, "{shown}");
    }
    assert_eq!(world.requests(), 0);
    assert_eq!(Http2::connect(&world, Some(&alice)).await.ask(host("localhost")).await.status, 200);
}

#[tokio::test]
async fn what_has_no_place_in_http2_ends_the_stream_or_the_connection() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let bad: [(&[u8], &[u8]); 12] = [
        (b"connection", b"close"),
        (b"connection", b"x-remote-user"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"websocket"),
        (b"keep-alive", b"timeout=5"),
        (b"proxy-connection", b"x"),
        (b"te", b"gzip"),
        (b"Accept", b"a"),
        (b"accept ", b"a"),
        (b"accept", b"a\r\nx-remote-user: root"),
        (b":path", b"/other"),
        (b"content-length", b"4"),
    ];
    for line in bad {
        let mut raw = Raw::connect(&world, &alice).await;
        raw.request(&[line], &[]).await;
        let came = raw.came().await;
        assert!(matches!(came, Came::Reset | Came::End), "{line:?} {came:?}");
    }
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn a_connection_that_asks_nothing_or_never_ends_its_head_has_little_time() {
    let world = World::with(false, |settings| {
        settings.http.head_time = Duration::from_millis(100);
        settings.http.idle_time = Duration::from_millis(200);
    });
    let world = world.await;
    let alice = world.issue("alice");
    let mut silent = world.connect_http2(Some(&alice)).await;
    let mut read = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut read)).await.unwrap();
    let mut halfway = Raw::connect(&world, &alice).await;
    halfway.frame(client2::HEADERS, 0, 1, &client2::block(&[(&b":method"[..], &b"GET"[..])])).await;
    assert_eq!(halfway.came().await, Came::End);
    let mut idle = Http2::connect(&world, Some(&alice)).await;
    assert_eq!(idle.get("/api").await.status, 200);
    assert!(idle.end().await, "an idle connection ends with GOAWAY");
}

#[tokio::test]
async fn floods_end_the_connection() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let mut raw = Raw::connect(&world, &alice).await;
    let pseudo: [(&[u8], &[u8]); 4] =
        [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", b"/log")];
    let mut rapid = Vec::new();
    for stream in (1..4000_u32).step_by(2) {
        rapid.extend(frame(client2::HEADERS, 5, stream, &client2::block(&pseudo)));
        rapid.extend(frame(client2::RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    must_end(&mut raw, &rapid).await;
    let mut raw = Raw::connect(&world, &alice).await;
    let mut endless = frame(client2::HEADERS, 0, 1, &client2::block(&pseudo));
    for _ in 0..4000 {
        endless.extend(frame(client2::CONTINUATION, 0, 1, &client2::block(&[(&b"a"[..], &[b'b'; 100][..])])));
    }
    must_end(&mut raw, &endless).await;
    assert_eq!(Http2::connect(&world, Some(&alice)).await.get("/api").await.status, 200);
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

async fn must_end(raw: &mut Raw, octets: &[u8]) {
    use tokio::io::AsyncWriteExt as _;
    let sending = async {
        // Whether it ends while it is written or thereafter.
        let _ = raw.0.write_all(octets).await;
        let _ = raw.0.flush().await;
    };
    tokio::time::timeout(PATIENCE, sending).await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, raw.0.read_to_end(&mut rest)).await.expect("the connection ends");
}

#[tokio::test]
async fn stopping_says_goaway_and_lets_streams_end_within_the_grace() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let mut client = Raw::connect(&world, &alice).await;
    client.get(b"/watch?watch=true").await;
    client.until(client2::DATA).await;
    let stopping = tokio::spawn(world.proxy.stop());
    client.until(client2::GOAWAY).await;
    assert_eq!(client.came().await, Came::End, "and not the end of the stream");
    tokio::time::timeout(PATIENCE, stopping).await.unwrap().unwrap();
}
