use std::io::Write as _;

use super::world::{Reply, World};
use crate::net::fixtures::TestCa;
use crate::proxy::settings::Credential;
use crate::secret::Secret;

async fn ask(world: &World, lines: &str) -> Reply {
    let alice = world.issue("alice");
    world.ask(&alice, &format!("GET /api HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")).await
}

#[tokio::test]
async fn remote_user_headers_are_a_bad_request_however_they_are_spelt() {
    let world = World::new().await;
    for line in [
        "X-Remote-User: root\r\n",
        "x_remote_group: system:masters\r\n",
        "X-REMOTE-UID: 0\r\n",
        "X-Remote-Extra-a%2Fb: c\r\n",
        "Connection: X-Remote-User\r\nX-Remote-User: root\r\n",
    ] {
        let reply = ask(&world, line).await;
        assert_eq!(reply.status, 400, "{line}");
        assert!(reply.body.starts_with(r#"{"kind":"Status""#), "{}", reply.body);
    }
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn impersonation_by_a_client_is_forbidden_however_it_is_spelt() {
    let world = World::new().await;
    for line in [
        "Impersonate-User: root\r\n",
        "impersonate_group: system:masters\r\n",
        "IMPERSONATE-EXTRA-scopes: all\r\n",
        "Impersonate-Uid: 0\r\n",
    ] {
        let reply = ask(&world, line).await;
        assert_eq!(reply.status, 403, "{line}");
        assert!(reply.body.contains("\"reason\":\"Forbidden\""), "{}", reply.body);
    }
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn a_clients_authorization_is_removed_and_it_is_told() {
    let world = World::new().await;
    let reply = ask(&world, "Authorization: Bearer stolen\r\nauthorization: Basic eDp5\r\n").await;
    assert_eq!(reply.status, 200);
    assert!(reply.head.contains("warning: 299 - \"the Authorization header was removed"), "{}", reply.head);
    let headers = world.last_headers();
    let shown: Vec<_> = headers.get_all("authorization").iter().collect();
    assert_eq!(shown, ["Bearer proxy-token"]);
}

#[tokio::test]
async fn headers_about_the_road_are_replaced_by_ours() {
    let world = World::new().await;
    let lines = "X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_Host: evil\r\nX-Forwarded-Proto: http\r\n\
        Forwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nAudit-ID: 1\r\nProxy-Authorization: Basic eDp5\r\n\
        X-Client-Cert: x\r\nSec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.c2VjcmV0\r\n\
        Accept: application/json\r\n";
    assert_eq!(ask(&world, lines).await.status, 200);
    let headers = world.last_headers();
    let mut names: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    let wanted = [
        "accept",
        "authorization",
        "host",
        "impersonate-extra-authentication.kubernetes.io%2fcredential-id",
        "impersonate-group",
        "impersonate-user",
        "x-forwarded-for",
        "x-forwarded-proto",
    ];
    assert_eq!(names, wanted);
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "https");
}

#[tokio::test]
async fn naming_our_headers_hop_by_hop_does_not_remove_them() {
    let world = World::new().await;
    let lines = "Connection: keep-alive, Impersonate-User, X-Remote-User, Authorization, X-Mine\r\nX-Mine: 1\r\n\
        Keep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Connection: x\r\n";
    assert_eq!(ask(&world, lines).await.status, 200);
    let headers = world.last_headers();
    assert_eq!(headers["impersonate-user"], "alice");
    assert_eq!(headers["authorization"], "Bearer proxy-token");
    for gone in ["x-mine", "keep-alive", "te", "proxy-connection", "connection"] {
        assert!(!headers.contains_key(gone), "{gone}");
    }
}

#[tokio::test]
async fn a_trailer_that_claims_an_identity_breaks_the_request() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let request = "POST /upload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: X-Remote-User\r\n\
        \r\n4\r\nhalf\r\n0\r\nX-Remote-User: root\r\n\r\n";
    let reply = world.ask(&alice, request).await;
    assert_eq!(reply.status, 400, "{}", reply.body);
    assert!(reply.body.contains("a trailer names an identity"), "{}", reply.body);
    assert!(!world.seen.uploads.borrow().contains(&true));
}

#[tokio::test]
async fn what_two_readers_may_read_differently_is_refused() {
    let world = World::new().await;
    let alice = world.issue("alice");
    for request in [
        "GET /api HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n\r\n",
        "GET /api HTTP/1.1\r\n\r\n",
        "GET https://other/api HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET http://localhost/api HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /api HTTP/1.0\r\nHost: localhost\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\na",
        "POST / HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /api HTTP/1.1\r\nHost: localhost\r\nX-Remote-User : root\r\n\r\n",
        "GET /api HTTP/1.1\r\nHost: localhost\r\nAccept: a\r\n b\r\n\r\n",
    ] {
        let reply = world.ask(&alice, request).await;
        assert_eq!(reply.status, 400, "{request:?} {}", reply.body);
    }
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn what_follows_a_chunked_request_is_not_read() {
    let world = World::new().await;
    let alice = world.issue("alice");
    let mut client = world.connect(Some(&alice)).await;
    client
        .send(
            "POST /one HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n\
            0\r\n\r\nGET /two HTTP/1.1\r\nHost: localhost\r\n\r\n",
        )
        .await;
    let reply = client.reply().await;
    assert_eq!(reply.status, 200);
    assert!(reply.head.contains("connection: close"), "{}", reply.head);
    client.rest().await;
    assert_eq!(world.requests(), 1);
}

#[tokio::test]
async fn the_octets_of_a_path_arrive_as_they_were_sent() {
    let world = World::new().await;
    let alice = world.issue("alice");
    for path in ["/api/../healthz", "//api", "/%2e%2e/a%2Fb;c?x=%00&y=//", "/api?a=b?c"] {
        let reply = world.ask(&alice, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(world.seen.requests.lock().unwrap().last().unwrap().0, format!("GET {path}"));
    }
    let absolute = "GET https://localhost/api HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(world.ask(&alice, absolute).await.status, 200);
    assert_eq!(world.seen.requests.lock().unwrap().last().unwrap().0, "GET /api");
}

#[tokio::test]
async fn an_api_server_that_is_not_who_it_should_be_gets_nothing() {
    let anchor = TestCa::new("server CA").der;
    let credential = Credential::Token(Secret::new("proxy-token".to_owned()));
    let world = World::behind(TestCa::new("server CA"), anchor, credential).await;
    let reply = ask(&world, "").await;
    assert_eq!(reply.status, 502);
    assert!(reply.body.contains("the API server cannot be reached"), "{}", reply.body);
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn the_api_servers_token_is_read_from_its_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"from-a-file\n").unwrap();
    let servers = TestCa::new("server CA");
    let anchor = servers.der.clone();
    let world = World::behind(servers, anchor, Credential::TokenFile(file.path().to_owned())).await;
    assert_eq!(ask(&world, "").await.status, 200);
    assert_eq!(world.last_headers()["authorization"], "Bearer from-a-file");
}
