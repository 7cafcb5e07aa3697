//! From the request to revoke to its answer, which waits for 1, 100 and 1,000 mirrors over sockets of their own.
//!
//! The authority is the program itself; the mirrors are clients of its feed in this process, each with TLS, HTTP/2, a
//! record and an instance of its own, that confirm what they have applied and ping as often as a proxy does.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the figures")]

#[path = "../tests/support/mod.rs"]
mod story;
mod support;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis::net::channel::{ChannelBody, channel};
use portcullis::net::{dial, tls};
use portcullis::status::frames::{Confirm, Decoder, Down, ProxyHello, Up, VERSION, encode};
use portcullis::status::freshness::Mode;
use portcullis::status::{Snapshot, Statuses};
use portcullis::world::{SystemEntropy, random};
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use story::Demo;
use story::remote::{Cluster, How};
use support::Times;

const REVOCATIONS: usize = 50;
const MIRRORS: [usize; 3] = [1, 100, 1000];
const CLUSTER: &str = "east";

type Outward = Either<Full<Bytes>, ChannelBody>;

fn main() {
    if support::case().is_none() {
        return;
    }
    let authority = Demo::start();
    let cluster = Cluster::add(&authority, CLUSTER);
    let proxy = cluster.joined(&authority, &authority, &How::default());
    let settings: toml::Table = fs::read_to_string(&proxy.config).unwrap().parse().unwrap();
    let mirror = settings["mirror"]["dir"].as_str().unwrap();
    let joined: Value = serde_json::from_slice(&fs::read(format!("{mirror}/joined.json")).unwrap()).unwrap();
    let part = |name: &str| joined[name].as_str().unwrap().to_owned();
    let follower = client(&part("ca"), &part("follower"), &part("follower_key"));
    let profile: toml::Table = fs::read_to_string(authority.dir().join("profile.toml")).unwrap().parse().unwrap();
    let part = |name: &str| profile[name].as_str().unwrap().to_owned();
    let admin = client(&part("ca"), &part("certificate"), &part("key"));
    let pid = authority.pid();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure(authority.address("api"), &follower, &admin, pid));
}

fn client(ca: &str, chain: &str, key: &str) -> Arc<ClientConfig> {
    let certificates = |text: &str| -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(text.as_bytes()).map(Result::unwrap).collect()
    };
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    tls::asking_for_http2(&tls::client_config(&certificates(ca), Some((certificates(chain), key))).unwrap())
}

async fn measure(address: &str, follower: &Arc<ClientConfig>, admin: &Arc<ClientConfig>, pid: u32) {
    let admin = connect(address, admin).await;
    let mut mirrors = JoinSet::new();
    let (ready, mut is_ready) = mpsc::channel(1000);
    let mut revoked = 0;
    for count in MIRRORS {
        while mirrors.len() < count {
            mirrors.spawn(follow(address.to_owned(), Arc::clone(follower), ready.clone()));
            // One after the other: only what comes afterwards is measured.
            tokio::time::timeout(story::PATIENCE, is_ready.recv()).await.unwrap().unwrap();
        }
        let (mut answered, mut told) = (Times::default(), Times::default());
        let before = support::on_core(pid);
        for _ in 0..REVOCATIONS {
            revoked += 1;
            let start = Instant::now();
            let answer = revoke(&admin, address, &format!("user-{revoked}")).await;
            answered.0.push(start.elapsed());
            told.0.push(slowest(&answer, count));
            assert!(mirrors.try_join_next().is_none(), "a mirror has ended");
        }
        let worked = (support::on_core(pid) - before) / u32::try_from(REVOCATIONS).unwrap();
        println!("{count} mirrors: answered {answered}; after_ms of the last {told}; {}", support::load());
        println!("    the authority worked {:.1} ms for each, its mirrors' pings included", worked.as_secs_f64() * 1e3);
    }
}

/// How long after the commit the last mirror had confirmed; all of them must have.
fn slowest(answer: &Value, count: usize) -> Duration {
    let proxies = answer["proxies"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let of_ours = proxies.iter().filter(|proxy| proxy["name"] == How::default().name && proxy["state"] == "confirmed");
    let after: Vec<u64> = of_ours.map(|proxy| proxy["after_ms"].as_u64().unwrap()).collect();
    assert_eq!(after.len(), count, "{answer}");
    Duration::from_millis(after.into_iter().max().unwrap())
}

async fn revoke(admin: &SendRequest<Outward>, address: &str, id: &str) -> Value {
    let body = json!({ "target": { "kind": "user", "id": id } }).to_string();
    let key: [u8; 16] = random(&SystemEntropy).unwrap();
    let request = Request::post(format!("https://{address}/v1/revocations"))
        .header(header::CONTENT_TYPE, "application/json")
        .header("idempotency-key", hex::encode(key))
        .body(Either::Left(body.into()))
        .unwrap();
    let answer = admin.clone().send_request(request).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

async fn connect(address: &str, config: &Arc<ClientConfig>) -> SendRequest<Outward> {
    let (host, port) = address.rsplit_once(':').unwrap();
    let dialled = dial::connect(host, port.parse().unwrap(), Arc::clone(config), host, story::PATIENCE).await;
    let (sender, connection) =
        Builder::new(TokioExecutor::new()).handshake(TokioIo::new(dialled.unwrap())).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Follows as a proxy does, without connections that would have to be cut.
async fn follow(address: String, config: Arc<ClientConfig>, ready: mpsc::Sender<()>) {
    let mut sender = connect(&address, &config).await;
    let (up, body) = channel(16);
    let hello = ProxyHello {
        version: VERSION,
        cluster: CLUSTER.parse().unwrap(),
        instance: random(&SystemEntropy).unwrap(),
        cursor: None,
        bound: Duration::from_secs(30),
        mode: Mode::Strict,
        cut_time: Duration::from_millis(250),
    };
    up.send(encode(&Up::Hello(hello)).unwrap()).await.unwrap();
    let request = Request::builder().method(Method::POST).uri(format!("https://{address}/v1/feed"));
    let mut down = sender.send_request(request.body(Either::Right(body)).unwrap()).await.unwrap().into_body();
    let (statuses, mut decoder, mut snapshot) = (Statuses::empty(), Decoder::default(), Snapshot::default());
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let mut nonce = 0;
    loop {
        let frame = tokio::select! {
            frame = down.frame() => frame,
            _ = ticks.tick() => {
                nonce += 1;
                up.send(encode(&Up::Ping { nonce }).unwrap()).await.unwrap();
                continue;
            }
        };
        let Some(Ok(frame)) = frame else { return };
        decoder.push(frame.data_ref().map_or(&[], |octets| octets));
        while let Some(frame) = decoder.frame().unwrap() {
            let revision = match frame {
                Down::Hello(_) | Down::Pong { .. } => continue,
                Down::Refused(why) => panic!("{why}"),
                Down::Snapshot(page) => {
                    let (revision, is_last) = (page.revision, page.is_last);
                    snapshot.apply(page.into_changes().unwrap());
                    if !is_last {
                        continue;
                    }
                    statuses.replace(std::mem::take(&mut snapshot), revision);
                    ready.send(()).await.unwrap();
                    revision
                }
                Down::Changes(changes) => {
                    statuses.apply(changes.changes);
                    statuses.reached(changes.revision);
                    changes.revision
                }
            };
            let confirm = Confirm { revision, closed: Vec::new() };
            up.send(encode(&Up::Confirm(confirm)).unwrap()).await.unwrap();
        }
    }
}
