//! A proxy whose answers come from elsewhere: what it does not know, and what has grown too old.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::world::{PATIENCE, World};
use crate::ident::Fingerprint;
use crate::net::fixtures::{Leaf, NOW};
use crate::proxy::Remote;
use crate::proxy::deny::DenyList;
use crate::proxy::miss::{LookUp, Looking, Unreachable};
use crate::standing::{CutKey, Revision};
use crate::status::freshness::{Freshness, Mode};
use crate::status::{Credential, Statuses};
use crate::world::{Ticks, Uptime};

const GET: &str = "GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n";
const BOUND: Duration = Duration::from_secs(30);

/// An authority that knows one certificate, or is away.
#[derive(Debug, Default)]
struct Source(Mutex<Option<Result<Credential, ()>>>);

impl LookUp for Source {
    fn look_up(&self, fingerprint: Fingerprint) -> Looking<'_> {
        Box::pin(async move {
            match self.0.lock().unwrap().clone() {
                None => Ok(None),
                Some(Ok(known)) => Ok((known.key == fingerprint.short()).then_some(known)),
                Some(Err(())) => Err(Unreachable("it is away".to_owned())),
            }
        })
    }
}

#[derive(Debug, Default)]
struct HandTicks(Mutex<Uptime>);

impl HandTicks {
    fn forward(&self, by: Duration) {
        let mut now = self.0.lock().unwrap();
        *now = Uptime { boot: now.boot + by, raw: now.raw + by };
    }
}

impl Ticks for HandTicks {
    fn uptime(&self) -> Uptime {
        *self.0.lock().unwrap()
    }
}

struct Site {
    world: World,
    source: Arc<Source>,
    ticks: Arc<HandTicks>,
    freshness: Arc<Freshness>,
}

impl Site {
    async fn new() -> Self {
        let (source, ticks) = (Arc::new(Source::default()), Arc::new(HandTicks::default()));
        ticks.forward(Duration::from_secs(1000));
        let freshness = Freshness::new(Arc::clone(&ticks) as _, BOUND, Mode::Strict);
        let statuses = Arc::new(Statuses::bounded(Arc::clone(&freshness)));
        let remote = Remote { source: Some(Arc::clone(&source) as _), ..Remote::default() };
        let world = World::remote(statuses, remote).await;
        freshness.confirm(ticks.uptime());
        Self { world, source, ticks, freshness }
    }

    /// The authority has recorded a certificate at this revision, and the proxy was not told.
    fn recorded(&self, leaf: &Leaf, id: &str, number: u64) {
        let known = Credential {
            key: Fingerprint::of(&leaf.chain[0]).short(),
            issued: Revision { era: 1, number },
            not_after: NOW.after(Duration::from_secs(3600)),
            cut_keys: vec![CutKey::Identity(id.parse().unwrap())],
        };
        *self.source.0.lock().unwrap() = Some(Ok(known));
    }
}

#[tokio::test]
async fn a_certificate_that_was_issued_a_moment_ago_is_asked_for_and_let_in() {
    let site = Site::new().await;
    let alice = site.world.sign("alice");
    site.recorded(&alice, "alice", 9);
    assert_eq!(site.world.ask(&alice, GET).await.status, 200);
    // Known from now on.
    *site.source.0.lock().unwrap() = Some(Err(()));
    assert_eq!(site.world.ask(&alice, GET).await.status, 200);
}

#[tokio::test]
async fn what_is_looked_up_is_judged_by_the_cut_offs_that_are_known_here() {
    let site = Site::new().await;
    let alice = site.world.sign("alice");
    // The look-up read the record before the revocation, which the proxy has heard of already.
    site.recorded(&alice, "alice", 0);
    site.world.revoke("alice");
    let reply = site.world.ask(&alice, GET).await;
    assert_eq!(reply.status, 401);
    assert!(reply.body.contains("certificate revoked"), "{}", reply.body);
    assert_eq!(site.world.requests(), 0);
}

#[tokio::test]
async fn what_nobody_knows_is_refused_and_what_nobody_can_be_asked_about_comes_back_later() {
    let site = Site::new().await;
    let reply = site.world.ask(&site.world.sign("alice"), GET).await;
    assert!(reply.status == 401 && reply.body.contains("not on the record"), "{}", reply.body);
    *site.source.0.lock().unwrap() = Some(Err(()));
    let reply = site.world.ask(&site.world.sign("bob"), GET).await;
    assert!(reply.status == 503 && reply.body.contains("it is away"), "{}", reply.body);
    assert!(!reply.head.to_lowercase().contains("retry-after"), "{}", reply.head);
    assert_eq!(site.world.requests(), 0);
}

#[tokio::test]
async fn answers_that_are_too_old_refuse_everybody_and_cut_what_is_open() {
    let site = Site::new().await;
    let alice = site.world.issue("alice");
    let (mut idle, mut busy) = (site.world.connect(Some(&alice)).await, site.world.connect(Some(&alice)).await);
    for client in [&mut idle, &mut busy] {
        assert_eq!(client.get("/api").await.status, 200);
    }
    site.ticks.forward(BOUND);
    // At the next request, before anything else has noticed.
    let reply = busy.get("/api").await;
    assert!(reply.status == 503 && reply.body.contains("revocation data is stale"), "{}", reply.body);
    assert_eq!(idle.rest().await.0, "");
    assert_eq!(site.world.ask(&alice, GET).await.status, 503);
    assert_eq!(site.world.requests(), 2);
    let told = async {
        while !site.world.metric("portcullis_proxy_answers_age_seconds 30") {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap();
    site.freshness.confirm(site.ticks.uptime());
    assert_eq!(site.world.ask(&alice, GET).await.status, 200);
}

#[tokio::test]
async fn nothing_more_is_passed_on_of_a_stream_once_the_answers_are_too_old() {
    let site = Site::new().await;
    let alice = site.world.issue("alice");
    let mut client = site.world.connect(Some(&alice)).await;
    client.send("POST /upload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    site.world.until_requests(1).await;
    site.ticks.forward(BOUND);
    // The other half, which would make it whole.
    client.send("4\r\nmore\r\n0\r\n\r\n").await;
    let mut uploads = site.world.seen.uploads.subscribe();
    let ended = tokio::time::timeout(PATIENCE, uploads.wait_for(|ended| !ended.is_empty())).await.unwrap().unwrap();
    assert_eq!(*ended, [false]);
}

#[tokio::test]
async fn an_id_that_is_denied_here_is_cut_and_refused_until_it_is_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let list = DenyList::new(dir.path());
    let statuses = Arc::new(Statuses::empty());
    let remote = Remote { deny_list: Some(DenyList::new(dir.path())), ..Remote::default() };
    let world = World::remote(statuses, remote).await;
    let (alice, bob) = (world.issue("alice"), world.issue("bob"));
    let mut idle = world.connect(Some(&alice)).await;
    assert_eq!(idle.get("/api").await.status, 200);
    list.change(&"alice".parse().unwrap(), true, NOW).unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, idle.rest()).await.unwrap().0, "");
    let reply = world.ask(&alice, GET).await;
    assert!(reply.status == 401 && reply.body.contains("access denied at this proxy"), "{}", reply.body);
    assert_eq!(world.ask(&bob, GET).await.status, 200);
    list.change(&"alice".parse().unwrap(), false, NOW).unwrap();
    let allowed = async { while world.ask(&alice, GET).await.status != 200 {} };
    tokio::time::timeout(PATIENCE, allowed).await.unwrap();
}
