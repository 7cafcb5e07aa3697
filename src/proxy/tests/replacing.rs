//! Another API server, or another way to speak to it, while connections are open.

use http::HeaderMap;

use super::client2::Http2;
use super::world::World;
use crate::kube::identity::Mode;

/// With which token the last request came, and how it said who it is for.
fn seen(world: &World) -> (String, bool, bool) {
    let headers: HeaderMap = world.last_headers();
    let token = headers["authorization"].to_str().unwrap().to_owned();
    (token, headers.contains_key("impersonate-user"), headers.contains_key("x-remote-user"))
}

/// What `World` begins with.
fn before() -> (String, bool, bool) {
    ("Bearer proxy-token".to_owned(), true, false)
}

fn after() -> (String, bool, bool) {
    ("Bearer another".to_owned(), false, true)
}

#[tokio::test]
async fn a_connection_keeps_the_credential_and_the_identity_mode_that_it_began_with() {
    for world in World::each().await {
        let alice = world.issue("alice");
        let mut early = world.connect(Some(&alice)).await;
        assert_eq!(early.get("/api").await.status, 200);
        assert_eq!(seen(&world), before());
        world.stand_before("another", Mode::RequestHeader);
        // Never half of each: headers that one credential makes believed are nothing with the other, or worse.
        assert_eq!(early.get("/api").await.status, 200);
        assert_eq!(seen(&world), before());
        let mut late = world.connect(Some(&alice)).await;
        assert_eq!(late.get("/api").await.status, 200);
        assert_eq!(seen(&world), after());
        assert_eq!(early.get("/api").await.status, 200);
        assert_eq!(seen(&world), before());
        // Revoked, both end, whichever API server they have.
        let revision = world.revoke("alice");
        assert_eq!(world.proxy.enforced(revision, super::world::PATIENCE).await.unwrap().closed, 2);
        world.upstream_connections(0).await;
    }
}

#[tokio::test]
async fn on_http2_everybody_is_asked_to_connect_again_and_streams_go_on() {
    for world in World::each().await {
        let alice = world.issue("alice");
        let mut early = Http2::connect(&world, Some(&alice)).await;
        let mut flood = early.open("/flood").await;
        flood.until("f").await;
        let mut idle = Http2::connect(&world, Some(&alice)).await;
        assert_eq!(idle.get("/api").await.status, 200);
        world.stand_before("another", Mode::RequestHeader);
        assert!(idle.end().await, "no GOAWAY");
        for _ in 0..3 {
            flood.until("f").await;
        }
        let mut late = Http2::connect(&world, Some(&alice)).await;
        assert_eq!(late.get("/api").await.status, 200);
        assert_eq!(seen(&world), after());
        flood.until("f").await;
    }
}
