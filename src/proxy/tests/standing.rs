use std::sync::Arc;
use std::time::Duration;

use rustls::HandshakeKind;
use rustls_pki_types::ServerName;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::world::{PATIENCE, World};
use crate::net::fixtures::{Leaf, NOW, TestCa};
use crate::net::tls::client_config;
use crate::status::{Change, Lock, LockKey};

const GET: &str = "GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn body(message: &str, code: u16, reason: &str) -> String {
    format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{message}","reason":"{reason}","code":{code}}}"#
    )
}

#[tokio::test]
async fn who_stands_is_let_in_and_named_upstream() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let reply = world.ask(&alice, GET).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "whole"));
    let headers = world.last_headers();
    assert_eq!(headers["impersonate-user"], "alice");
    assert_eq!(headers["impersonate-group"], "dev");
    let id = crate::ident::Fingerprint::of(&alice.chain[0]).to_string();
    assert_eq!(headers["impersonate-extra-authentication.kubernetes.io%2fcredential-id"], id.as_str());
    assert_eq!(headers["authorization"], "Bearer proxy-token");
}

#[tokio::test]
async fn a_revoked_certificate_is_told_since_when_and_what_to_do() {
    let world = World::new().await;
    let alice = world.issue("alice");
    world.revoke("alice");
    let mut client = world.connect(Some(&alice)).await;
    let reply = client.get("/api").await;
    assert_eq!(reply.status, 401);
    let message = format!("certificate revoked {NOW} for user alice; ask an administrator for a new kubeconfig");
    assert_eq!(reply.body, body(&message, 401, "Unauthorized"));
    assert!(reply.head.to_lowercase().contains("\r\nconnection: close\r\n"), "{}", reply.head);
    assert!(reply.head.to_lowercase().contains("\r\ncontent-type: application/json\r\n"), "{}", reply.head);
    assert_eq!(client.rest().await.0, "");
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_at_the_handshake_already() {
    let world = World::new().await;
    let alice = world.issue("alice");
    world.revoke("alice");
    assert_eq!(world.ask(&alice, GET).await.status, 401);
    let refused = r#"portcullis_proxy_refusals_total{at="handshake",reason="revoked"} 1"#;
    assert!(world.metric(refused), "{}", world.metrics.to_text());
}

#[tokio::test]
async fn a_revocation_is_seen_by_the_next_request_even_before_it_is_announced() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let mut client = world.connect(Some(&alice)).await;
    assert_eq!(client.get("/one").await.status, 200);
    let cut = world.cut_off("alice");
    world.statuses.apply([cut]);
    let reply = client.get("/two").await;
    assert_eq!(reply.status, 401, "{}", reply.body);
    assert_eq!(world.requests(), 1);
    client.rest().await;
    world.upstream_connections(0).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_by_a_revocation_and_nobody_elses() {
    let world = World::new().await;
    let (alice, bob) = (world.issue("alice"), world.issue("bob"));
    let (mut one, mut two, mut other) =
        (world.connect(Some(&alice)).await, world.connect(Some(&alice)).await, world.connect(Some(&bob)).await);
    for client in [&mut one, &mut two, &mut other] {
        assert_eq!(client.get("/api").await.status, 200);
    }
    assert_eq!(world.proxy.connections(), 3);
    let revision = world.revoke("alice");
    let enforced = world.proxy.enforced(revision, PATIENCE).await.unwrap();
    assert_eq!(enforced.closed, 2);
    assert_eq!(world.proxy.connections(), 1);
    assert_eq!(one.rest().await.0, "");
    assert_eq!(two.rest().await.0, "");
    world.upstream_connections(1).await;
    assert_eq!(other.get("/api").await.status, 200);
}

#[tokio::test]
async fn what_is_not_on_the_record_is_refused_though_it_is_validly_signed() {
    let world = World::new().await;
    let reply = world.ask(&world.sign("alice"), GET).await;
    let message = "certificate not on the record for user alice; ask an administrator for a new kubeconfig";
    assert_eq!((reply.status, reply.body), (401, body(message, 401, "Unauthorized")));
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn nobody_is_let_in_without_a_certificate() {
    let world = World::new().await;
    let mut client = world.connect(None).await;
    let reply = client.get("/healthz").await;
    assert_eq!(reply.status, 401);
    assert!(reply.body.contains("no client certificate was presented"), "{}", reply.body);
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn a_locked_user_is_cut_and_refused_until_unlocked() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let mut client = world.connect(Some(&alice)).await;
    assert_eq!(client.get("/api").await.status, 200);
    let key = LockKey { id: "alice".parse().unwrap(), cluster: None };
    let lock = Lock { key: key.clone(), at: NOW, revision: crate::standing::Revision { era: 1, number: 99 } };
    let revision = world.tell([Change::Locked(lock)]);
    world.proxy.enforced(revision, PATIENCE).await.unwrap();
    client.rest().await;
    let reply = world.ask(&alice, GET).await;
    assert_eq!(reply.status, 401);
    assert!(reply.body.contains(&format!("access locked since {NOW} for user alice")), "{}", reply.body);
    world.tell([Change::Unlocked(key)]);
    assert_eq!(world.ask(&alice, GET).await.status, 200);
}

#[tokio::test]
async fn an_expired_certificate_is_told_so_and_an_open_connection_ends_with_it() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let mut watching = world.connect(Some(&alice)).await;
    watching.send("GET /log HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    watching.read_until("a line\n\r\n").await;
    world.clock.forward(Duration::from_secs(3601));
    let (rest, _) = watching.rest().await;
    assert_eq!(rest, "", "a cut must not look like the end of the response");
    let reply = world.ask(&alice, GET).await;
    assert_eq!(reply.status, 401);
    let not_after = NOW.after(Duration::from_secs(3600));
    assert!(reply.body.contains(&format!("certificate expired {not_after} for user alice")), "{}", reply.body);
}

#[tokio::test]
async fn stale_answers_let_nobody_in_and_cut_whoever_is() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let mut open = world.connect(Some(&alice)).await;
    assert_eq!(open.get("/api").await.status, 200);
    world.statuses.stop("the disk failed");
    open.rest().await;
    let reply = world.ask(&alice, GET).await;
    assert_eq!(reply.status, 503);
    assert!(!reply.head.to_lowercase().contains("retry-after"), "{}", reply.head);
    assert!(reply.body.contains("revocation data is stale: the disk failed"), "{}", reply.body);
    assert_eq!(world.requests(), 1);
}

#[tokio::test]
async fn a_revision_that_has_not_come_is_not_enforced() {
    let world = World::new().await;
    let far = crate::standing::Revision { era: 1, number: 1000 };
    let refused = world.proxy.enforced(far, Duration::from_millis(20)).await.unwrap_err().to_string();
    assert!(refused.starts_with("wanted revision 1-1000 to be enforced, found the proxy at 1-"), "{refused}");
}

#[tokio::test]
async fn names_that_belong_to_kubernetes_are_refused_even_on_the_record() {
    let world = World::new().await;
    let root = world.sign_reserved("alice", "system:masters");
    world.record(&root, "alice", NOW.after(Duration::from_secs(3600)));
    let reply = world.ask(&root, GET).await;
    assert_eq!(reply.status, 401);
    assert!(reply.body.contains("belongs to Kubernetes itself"), "{}", reply.body);
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn a_certificate_of_a_foreign_ca_ends_in_an_alert() {
    let world = World::new().await;
    let mallory = TestCa::new("issuing CA").client("alice", "dev", NOW.after(Duration::from_secs(60)));
    let mut client = world.connect(Some(&mallory)).await;
    let refused = client.0.read_u8().await.unwrap_err();
    assert!(refused.to_string().contains("alert"), "{refused}");
}

#[tokio::test]
async fn no_session_can_be_resumed() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let ours = client_config(std::slice::from_ref(&world.server_ca().der), Leaf::identity(&alice)).unwrap();
    let mut config = (*ours).clone();
    config.resumption = rustls::client::Resumption::default();
    let config = Arc::new(config);
    for _ in 0..2 {
        let stream = TcpStream::connect(("127.0.0.1", world.port())).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::clone(&config)).connect(name, stream).await.unwrap();
        let mut client = super::world::Client(stream);
        assert_eq!(client.get("/api").await.status, 200);
        let session = client.0.get_ref().1;
        assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(session.tls13_tickets_received(), 0);
    }
}

#[tokio::test]
async fn stopping_ends_idle_connections() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let mut client = world.connect(Some(&alice)).await;
    assert_eq!(client.get("/api").await.status, 200);
    tokio::time::timeout(PATIENCE, world.proxy.stop()).await.unwrap();
    assert_eq!(client.rest().await.0, "");
}

#[tokio::test]
async fn in_the_last_tenth_of_its_life_a_certificate_is_said_to_end() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let until = NOW.after(Duration::from_secs(3600));
    let reply = world.ask(&alice, GET).await;
    assert!(!reply.head.to_lowercase().contains("warning:"), "{}", reply.head);
    world.clock.forward(Duration::from_secs(3300));
    let reply = world.ask(&alice, GET).await;
    assert_eq!(reply.status, 200);
    let warning = format!("warning: 299 - \"this certificate ends {until}: renew it");
    assert!(reply.head.to_lowercase().contains(&warning.to_lowercase()), "{}", reply.head);
}
