use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::answers::{GREETING, LEAVE};
use super::world::{Client, PATIENCE, World};
use crate::net::fixtures::{Leaf, NOW};
use crate::standing::Revision;
use crate::status::{Change, Lock, LockKey};

const SPDY: &str = "POST /exec HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
    Content-Length: 0\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\
    X-Stream-Protocol-Version: channel.k8s.io\r\n\r\n";
const WEBSOCKET: &str = "GET /exec HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, upgrade\r\n\
    Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n";

/// Opens a tunnel and reads what the API server says first.
async fn open(world: &World, leaf: &Leaf, request: &str) -> (Client, String) {
    let mut client = world.connect(Some(leaf)).await;
    client.send(request).await;
    let head = client.read_until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(client.read(GREETING.len()).await, GREETING);
    (client, head.to_lowercase())
}

async fn echoes(client: &mut Client, text: &str) {
    client.send(text).await;
    assert_eq!(client.read(text.len()).await, text.as_bytes());
}

#[tokio::test]
async fn spdy_and_websocket_go_through_both_ways() {
    let world = World::new().await;
    let alice = world.issue("alice");
    for (request, protocol) in [(SPDY, "spdy/3.1"), (WEBSOCKET, "websocket")] {
        let (mut client, head) = open(&world, &alice, request).await;
        assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nupgrade: {protocol}\r\n")), "{head}");
        assert!(!head.contains("content-length"), "{head}");
        echoes(&mut client, "ls -l").await;
        echoes(&mut client, &"a long line ".repeat(20_000)).await;
    }
}

#[tokio::test]
async fn what_is_sent_right_behind_the_wish_is_not_lost() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let (mut client, _) = open(&world, &alice, &format!("{SPDY}in a hurry")).await;
    assert_eq!(client.read(10).await, b"in a hurry");
}

#[tokio::test]
async fn a_tunnel_ends_on_both_sides_when_either_side_ends() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let (mut client, _) = open(&world, &alice, SPDY).await;
    client.send(LEAVE).await;
    assert_eq!(client.rest().await, (String::new(), true));
    world.upstream_connections(0).await;
    let (client, _) = open(&world, &alice, SPDY).await;
    drop(client);
    world.upstream_connections(0).await;
}

#[tokio::test]
async fn a_revocation_cuts_a_tunnel_on_both_sides_and_nobody_elses() {
    for request in [SPDY, WEBSOCKET] {
        let world = World::new().await;
        let (alice, bob) = (world.issue("alice"), world.issue("bob"));
        let (mut alices, _) = open(&world, &alice, request).await;
        let (mut bobs, _) = open(&world, &bob, request).await;
        assert_eq!(world.proxy.connections(), 2);
        let revision = world.revoke("alice");
        let enforced = world.proxy.enforced(revision, PATIENCE).await.unwrap();
        assert_eq!(enforced.closed, 1);
        assert!(enforced.after < Duration::from_secs(1), "{:?}", enforced.after);
        assert_eq!(world.proxy.connections(), 1);
        alices.rest_in_octets().await;
        world.upstream_connections(1).await;
        echoes(&mut bobs, "still here").await;
    }
}

#[tokio::test]
async fn a_remote_command_over_a_websocket_is_told_why_it_is_cut() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let (mut client, _) = open(&world, &alice, WEBSOCKET).await;
    world.revoke("alice");
    let (rest, clean) = client.rest_in_octets().await;
    assert!(clean);
    let (status, end) = rest.split_at(rest.len() - 4);
    assert_eq!(end, [0x88, 2, 0x03, 0xe8]);
    assert_eq!((status[0], status[4]), (0x82, 3));
    let words = String::from_utf8_lossy(&status[5..]);
    assert!(words.starts_with(r#"{"kind":"Status""#) && words.contains("certificate revoked"), "{words}");
}

#[tokio::test]
async fn nothing_is_said_in_the_middle_of_a_frame_or_in_another_protocol() {
    let world = World::new().await;
    let (alice, bob) = (world.issue("alice"), world.issue("bob"));
    let (mut halfway, _) = open(&world, &alice, WEBSOCKET).await;
    // As if the server had begun a frame of five octets: a text of one octet with a mask.
    echoes(&mut halfway, "\u{1}\u{5}abc").await;
    world.revoke("alice");
    assert_eq!(halfway.rest_in_octets().await, (Vec::new(), false));
    let (mut spdy, _) = open(&world, &bob, SPDY).await;
    world.revoke("bob");
    assert_eq!(spdy.rest_in_octets().await, (Vec::new(), false));
}

#[tokio::test]
async fn a_client_that_does_not_read_cannot_hold_its_tunnel() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let (client, _) = open(&world, &alice, SPDY).await;
    let (_reading, mut writing) = tokio::io::split(client.0);
    let piece = vec![b'a'; 1 << 16];
    // Until every buffer on the way there and back is full.
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(200), writing.write_all(&piece)).await {
        written.unwrap();
    }
    let revision = world.revoke("alice");
    let enforced = world.proxy.enforced(revision, PATIENCE).await.unwrap();
    assert!(enforced.after < Duration::from_secs(1), "{:?}", enforced.after);
    world.upstream_connections(0).await;
}

#[tokio::test]
async fn a_lock_the_expiry_and_stale_answers_cut_a_tunnel_too() {
    let world = World::new().await;
    let (alice, bob) = (world.issue("alice"), world.issue("bob"));
    let (mut alices, _) = open(&world, &alice, SPDY).await;
    let key = LockKey { id: "alice".parse().unwrap(), cluster: None };
    let lock = Lock { key, at: NOW, revision: Revision { era: 1, number: 99 } };
    let revision = world.tell([Change::Locked(lock)]);
    world.proxy.enforced(revision, PATIENCE).await.unwrap();
    assert!(!alices.rest().await.1);
    let (mut bobs, _) = open(&world, &bob, SPDY).await;
    world.statuses.stop("the disk failed");
    assert!(!bobs.rest().await.1);
    let world = World::new().await;
    let (mut expiring, _) = open(&world, &world.issue("alice"), SPDY).await;
    world.clock.forward(Duration::from_secs(3601));
    assert!(!expiring.rest().await.1);
    world.upstream_connections(0).await;
}

#[tokio::test]
async fn nothing_is_passed_on_once_a_certificate_has_expired() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let (mut client, _) = open(&world, &alice, SPDY).await;
    world.clock.forward(Duration::from_secs(3601));
    // Whether the tick or the check before the write comes first: no echo.
    client.send("rm -rf").await;
    assert_eq!(client.rest().await, (String::new(), false));
}

#[tokio::test]
async fn a_refusal_of_the_api_server_is_passed_back_and_ends_both_connections() {
    for status in [200, 400, 403, 404] {
        for second in ["GET /secret HTTP/1.1\r\nHost: localhost\r\nImpersonate-User: root\r\n\r\n", ""] {
            let world = World::new().await;
            let alice = world.issue("alice");
            let mut client = world.connect(Some(&alice)).await;
            client.send(&format!("{}{second}", SPDY.replace("/exec", &format!("/status/{status}")))).await;
            let reply = client.reply().await;
            assert_eq!((reply.status, reply.body.as_str()), (status, "as you see"));
            assert!(reply.head.to_lowercase().contains("\r\nconnection: close\r\n"), "{}", reply.head);
            assert_eq!(client.rest().await, (String::new(), true));
            world.upstream_connections(0).await;
            assert_eq!(world.requests(), 1, "what follows the wish never reaches the API server");
        }
    }
}

#[tokio::test]
async fn a_long_refusal_arrives_whole() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let mut client = world.connect(Some(&alice)).await;
    client.send(&WEBSOCKET.replace("/exec", "/large")).await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.body.len()), (200, 4 << 20));
    assert_eq!(client.rest().await.0, "");
}

#[tokio::test]
async fn an_api_server_that_switches_to_something_else_or_says_nothing_opens_no_tunnel() {
    for path in ["/confused", "/vanish"] {
        let world = World::new().await;
        let alice = world.issue("alice");
        let mut client = world.connect(Some(&alice)).await;
        client.send(&SPDY.replace("/exec", path)).await;
        let reply = client.reply().await;
        assert_eq!(reply.status, 502, "{path} {}", reply.body);
        assert_eq!(client.rest().await.0, "");
        world.upstream_connections(0).await;
    }
}

#[tokio::test]
async fn a_tunnel_has_a_connection_of_its_own_to_the_api_server() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let mut client = world.connect(Some(&alice)).await;
    assert_eq!(client.get("/api").await.status, 200);
    client.send(SPDY).await;
    client.read_until("\r\n\r\n").await;
    assert_eq!(client.read(GREETING.len()).await, GREETING);
    world.upstream_connections(1).await;
    echoes(&mut client, "the one left is the tunnel's").await;
}

#[tokio::test]
async fn an_upgrade_carries_the_identity_and_the_protocols_and_no_token_of_the_clients() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let request = WEBSOCKET.replace(
        "Sec-WebSocket-Protocol: ",
        "Authorization: Bearer stolen\r\nX-Forwarded-For: 6.6.6.6\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
        sec_websocket_protocol: base64url.bearer.authorization.k8s.io.c2VjcmV0\r\nKeep-Alive: timeout=5\r\n\
        Sec-WebSocket-Protocol: Base64url.bearer.authorization.k8s.io.c2VjcmV0, ",
    );
    let (_client, head) = open(&world, &alice, &request).await;
    assert!(head.contains("warning: 299"), "{head}");
    assert!(head.contains("sec-websocket-protocol: v5.channel.k8s.io\r\n"), "{head}");
    let headers = world.last_headers();
    let mut names: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    let wanted = [
        "authorization",
        "connection",
        "host",
        "impersonate-extra-authentication.kubernetes.io%2fcredential-id",
        "impersonate-group",
        "impersonate-user",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "upgrade",
        "x-forwarded-for",
        "x-forwarded-proto",
    ];
    assert_eq!(names, wanted);
    for (name, value) in [
        ("authorization", "Bearer proxy-token"),
        ("connection", "Upgrade"),
        ("impersonate-user", "alice"),
        ("sec-websocket-protocol", "v5.channel.k8s.io"),
        ("upgrade", "websocket"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(headers.get_all(name).iter().collect::<Vec<_>>(), [value], "{name}");
    }
    open(&world, &alice, SPDY).await;
    let headers = world.last_headers();
    let versions: Vec<_> = headers.get_all("x-stream-protocol-version").iter().collect();
    assert_eq!(versions, ["v4.channel.k8s.io", "channel.k8s.io"]);
    assert_eq!(headers["upgrade"], "SPDY/3.1");
}

#[tokio::test]
async fn an_upgrade_that_claims_an_identity_is_refused_like_any_request() {
    let world = World::new().await;
    let alice = world.issue("alice");
    for (line, status) in [("X-Remote-User: root", 400), ("Impersonate-User: root", 403)] {
        let reply = world.ask(&alice, &SPDY.replace("\r\nUpgrade:", &format!("\r\n{line}\r\nUpgrade:"))).await;
        assert_eq!(reply.status, status, "{line}");
    }
    world.revoke("alice");
    assert_eq!(world.ask(&alice, SPDY).await.status, 401);
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn wishes_that_can_be_read_in_two_ways_are_refused() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let upgrade = |protocol: &str| SPDY.replace("SPDY/3.1", protocol);
    let with = |lines: &str, body: &str| SPDY.replace("Content-Length: 0\r\n", lines) + body;
    let refused = [
        upgrade("h2c"),
        upgrade("TLS/1.0"),
        upgrade("SPDY/3.1, h2c"),
        upgrade("SPDY/3.1\r\nUpgrade: websocket"),
        upgrade("SPDY/2"),
        SPDY.replace("Upgrade: SPDY/3.1\r\n", ""),
        SPDY.replace("Connection: Upgrade\r\n", ""),
        SPDY.replace("POST", "PUT"),
        with("Content-Length: 4\r\n", "body"),
        with("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        with("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        upgrade("websocket"),
        WEBSOCKET.replace("GET", "POST"),
        WEBSOCKET.replace("Version: 13", "Version: 8"),
        WEBSOCKET.replace("Sec-WebSocket-Version: 13\r\n", ""),
        WEBSOCKET.replace(&format!("{key}\r\n"), ""),
        WEBSOCKET.replace(key, "Sec-WebSocket-Key: short"),
        WEBSOCKET.replace(key, &format!("{key}\r\n{key}")),
        WEBSOCKET.replace("v5.channel.k8s.io", "\u{a0}base64url.bearer.authorization.k8s.io.x"),
        WEBSOCKET.replace("HTTP/1.1", "HTTP/1.0"),
    ];
    for request in refused {
        let mut client = world.connect(Some(&alice)).await;
        client.send(&request).await;
        let reply = client.reply().await;
        assert_eq!(reply.status, 400, "{request} {}", reply.body);
        assert!(reply.head.to_lowercase().contains("\r\nconnection: close"), "{}", reply.head);
        assert_eq!(client.rest().await.0, "", "{request}");
    }
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn stopping_ends_a_tunnel_after_the_listeners_grace() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let (mut client, _) = open(&world, &alice, SPDY).await;
    let stopping = tokio::spawn(world.proxy.stop());
    echoes(&mut client, "within the grace").await;
    assert_eq!(client.rest().await.0, "");
    tokio::time::timeout(PATIENCE, stopping).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_revocation_still_cuts_within_the_grace() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let (mut client, _) = open(&world, &alice, WEBSOCKET).await;
    let (statuses, cut) = (Arc::clone(&world.statuses), world.cut_off("alice"));
    let stopping = tokio::spawn(world.proxy.stop());
    tokio::task::yield_now().await;
    statuses.apply([cut]);
    statuses.reached(Revision { era: 1, number: 99 });
    assert!(client.rest().await.0.contains("certificate revoked"));
    tokio::time::timeout(PATIENCE, stopping).await.unwrap().unwrap();
}
