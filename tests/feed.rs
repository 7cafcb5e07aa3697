//! A proxy on its own: what it knows when the authority, the network, the clock or the proxy itself stands still.
//!
//! Every process is real: `quickstart` as authority, another one for its demo API server, `proxy run` in between.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::process::Signal;
use serde_json::{Value, json};
use support::remote::{self, Cluster, How, RemoteProxy, Wire, free_port};
use support::run::{Live, run, run_within};
use support::{Demo, Kubeconfig, PORTCULLIS};

/// Fakes the wall clock, and no other.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// An authority, a cluster with a proxy, alice and bob.
struct Site {
    authority: Demo,
    upstream: Demo,
    cluster: Cluster,
    alice: Kubeconfig,
    bob: Kubeconfig,
}

impl Site {
    fn new() -> Self {
        let (authority, upstream) = (Demo::start(), Demo::start());
        let cluster = Cluster::add(&authority, "east");
        let [alice, bob] = ["alice", "bob"].map(|id| {
            authority.admin(["user", "add", id]).ok();
            kubeconfig(&authority, id)
        });
        Self { authority, upstream, cluster, alice, bob }
    }

    fn proxy(&self, how: &How<'_>) -> RemoteProxy {
        let proxy = self.cluster.proxy(&self.authority, &self.upstream, how);
        proxy.until_current();
        proxy
    }

    fn revoke(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let mut command = self.authority.program(PORTCULLIS);
        command.arg("--profile").arg(self.authority.dir().join("profile.toml"));
        let said = run_within(
            Duration::from_secs(120),
            command.args(["-o", "json", "revoke", "user", "--yes"]).args(arguments),
        );
        (said.status, said.json())
    }
}

fn kubeconfig(authority: &Demo, id: &str) -> Kubeconfig {
    let name = format!("{id}.yaml");
    authority.admin(["kubeconfig", id, "--cluster", "east", "--out", &name]).ok();
    Kubeconfig::read(authority.file(&name))
}

/// How far a proxy is, in the answer to a revocation; of the first of its processes.
fn state<'v>(answer: &'v Value, name: &str) -> Vec<&'v str> {
    let proxies = answer["proxies"].as_array().expect("proxies");
    let of_it = proxies.iter().filter(|proxy| proxy["name"] == name);
    of_it.map(|proxy| proxy["state"].as_str().expect("a state")).collect()
}

#[test]
fn a_proxy_that_follows_lets_in_and_refuses_a_moment_after_the_authority_has_decided() {
    let site = Site::new();
    let (proxy, port) = (site.proxy(&How::default()), site.cluster.port);
    for who in [&site.alice, &site.bob] {
        assert_eq!(proxy.ask(port, who).0, 200);
    }
    // Issued a moment ago: whether it is told or asked for, it gets in.
    site.authority.admin(["user", "add", "carol"]).ok();
    let carol = kubeconfig(&site.authority, "carol");
    assert_eq!(proxy.ask(port, &carol).0, 200);
    let (status, answer) = site.revoke(&["alice"]);
    assert_eq!((status, state(&answer, "east-a")), (Some(0), vec!["confirmed"]), "{answer}");
    let (status, body) = proxy.ask(port, &site.alice);
    assert!(status == 401 && body.contains("certificate revoked"), "{status} {body}");
    assert_eq!(proxy.ask(port, &site.bob).0, 200);
    // Known by its name, and by nothing but its own certificate.
    let listed = site.authority.json(["proxy", "list"]);
    let found = listed["items"].as_array().expect("proxies").iter().find(|proxy| proxy["name"] == "east-a");
    assert_eq!(found.expect("the proxy")["state"], "current", "{listed}");
    // Removed, it follows no more, and says so; what it knows it may serve until its bound is over.
    site.authority.admin(["proxy", "remove", "east-a", "--yes"]).ok();
    proxy.until_ready(|_, words| words.contains("ALARM") || words.contains("away"));
    proxy.until_ready(|status, _| status == 503);
    assert_eq!(proxy.ask(port, &site.bob).0, 503);
}

#[test]
fn a_proxy_whose_certificate_is_revoked_is_told_nothing_more() {
    let site = Site::new();
    let proxy = site.proxy(&How::default());
    let file = site.authority.file(&format!("mirror-east-a-{}", site.cluster.port)).join("joined.json");
    let joined: Value = serde_json::from_slice(&fs::read(file).expect("joined.json")).expect("JSON");
    let chain = site.authority.write("follower.pem", joined["follower"].as_str().expect("PEM"));
    let said = site.authority.openssl([
        OsStr::new("x509"),
        "-in".as_ref(),
        chain.as_os_str(),
        "-noout".as_ref(),
        "-serial".as_ref(),
    ]);
    let serial = said.ok().out.trim().trim_start_matches("serial=").to_owned();
    site.authority.admin(["revoke", "cert", &serial, "--yes", "--no-wait"]).ok();
    proxy.until_ready(|status, words| status == 503 && !words.contains("following"));
    assert_eq!(proxy.ask(site.cluster.port, &site.bob).0, 503);
}

#[test]
fn a_token_lets_one_proxy_join_once_and_for_its_own_cluster() {
    let site = Site::new();
    let how = How::default();
    let first = site.cluster.joined(&site.authority, &site.upstream, &how);
    let token = site.cluster.token(&site.authority, &how);
    let join = |token: &str, config: &Path| {
        run(site.authority.program(PORTCULLIS).args(["proxy", "join", token, "--config"]).arg(config))
    };
    join(&token, &first.config).ok().saying(&["east-a has joined"]);
    join(&token, &first.config).ended(1).saying(&["was used"]);
    join("portcullis-join-1.nonsense", &first.config).ended(1).saying(&["proxy token"]);
    // A CA that is not the authority's is not talked to: the token's is another.
    let other = Demo::start();
    other.admin(["cluster", "add", "east", "--server", "https://127.0.0.1:1"]).ok();
    let foreign = site.cluster.token(&other, &how);
    let ours = site.cluster.token(&site.authority, &how);
    let mixed = with(&ours, "ca", read(&foreign)["ca"].as_str().expect("a CA"));
    join(&mixed, &first.config).ended(1).saying(&["not in its chain"]);
    // Another server of the same CA, such as a proxy, is not the authority.
    let at_a_proxy = with(&ours, "server", &format!("https://{}", site.authority.address("proxy")));
    join(&at_a_proxy, &first.config).ended(1).saying(&["is not the authority"]);
    // For another cluster than the configuration says.
    let west = Cluster::add(&site.authority, "west");
    let token = west.token(&site.authority, &How { name: "west-a", ..how });
    join(&token, &first.config).ended(1).saying(&["west", "cluster.name"]);
    // A proxy's own certificate opens nothing but the feed.
    let joined: Value = serde_json::from_slice(
        &fs::read(site.authority.file(&format!("mirror-east-a-{}", site.cluster.port)).join("joined.json"))
            .expect("joined.json"),
    )
    .expect("JSON");
    let pem = |key: &str| joined[key].as_str().expect("PEM").to_owned();
    let profile = format!(
        "server = \"{}\"\nca = '''\n{}'''\ncertificate = '''\n{}'''\nkey = '''\n{}'''\n",
        joined["server"].as_str().expect("an address"),
        pem("ca"),
        pem("follower"),
        pem("follower_key"),
    );
    let profile = site.authority.write("as-proxy.toml", profile);
    for line in [&["user", "list"][..], &["revoke", "user", "alice", "--yes"], &["proxy", "list"]] {
        site.authority.with_profile(&profile, line).ended(1).saying(&["may not do this"]);
    }
}

/// A token with something else in the place of one of its parts.
fn with(token: &str, part: &str, other: &str) -> String {
    let mut token = read(token);
    token[part] = json!(other);
    format!("portcullis-join-1.{}", URL_SAFE_NO_PAD.encode(token.to_string()))
}

fn read(token: &str) -> Value {
    let (_, text) = token.split_once('.').expect("a token");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64")).expect("JSON")
}

#[test]
fn while_the_authority_is_away_a_restarted_proxy_enforces_what_it_knew_and_then_refuses_all() {
    let mut site = Site::new();
    let port = site.cluster.port;
    let mut proxy = site.proxy(&How { bound: "20s", ..How::default() });
    site.revoke(&["alice"]);
    site.authority.stop();
    proxy.kill();
    proxy.start_again();
    assert_eq!(proxy.ask(port, &site.bob).0, 200, "{:?}", proxy.ready());
    let (status, body) = proxy.ask(port, &site.alice);
    assert!(status == 401 && body.contains("certificate revoked"), "{status} {body}");
    // A live stream of bob's, which is cut when the bound is over.
    let watch = Live::start(&mut site.upstream.kubectl_command(&site.bob, ["get", "--raw", "/watch"]));
    assert!(watch.next_line().is_some());
    proxy.until_ready(|status, words| status == 503 && words.contains("last heard"));
    while watch.next_line().is_some() {}
    for who in [&site.alice, &site.bob] {
        let (status, body) = proxy.ask(port, who);
        assert!(status == 503 && body.contains("stale") && !body.to_lowercase().contains("retry-after"), "{body}");
    }
    // On another boot nothing is fresh before the authority answers: as if the machine had been restarted.
    proxy.kill();
    let fresh = site.authority.file(&format!("mirror-east-a-{port}")).join("fresh");
    fs::remove_file(fresh).expect("its confirmation");
    proxy.start_again();
    assert_eq!(proxy.ask(port, &site.bob).0, 503);
    site.authority.start_again();
    proxy.until_current();
    assert_eq!(proxy.ask(port, &site.bob).0, 200);
    assert_eq!(proxy.ask(port, &site.alice).0, 401);
}

#[test]
fn best_effort_serves_on_and_says_so_and_never_from_a_mirror_alone() {
    let mut site = Site::new();
    let port = site.cluster.port;
    let mut proxy = site.proxy(&How { bound: "2s", mode: "best-effort", ..How::default() });
    site.revoke(&["alice"]);
    site.authority.stop();
    proxy.until_ready(|status, words| status == 200 && words.contains("STALE"));
    let (status, body) = proxy.ask(port, &site.bob);
    assert!(status == 200 && body.contains("revocation data is"), "{status} {body}");
    let (status, body) = proxy.ask(port, &site.alice);
    assert!(status == 401 && body.contains("certificate revoked"), "{status} {body}");
    proxy.kill();
    proxy.start_again();
    assert_eq!(proxy.ask(port, &site.bob).0, 503);
    site.authority.start_again();
    proxy.until_current();
    assert_eq!(proxy.ask(port, &site.bob).0, 200);
}

#[test]
fn an_authority_that_stands_still_makes_nothing_fresh() {
    let site = Site::new();
    let port = site.cluster.port;
    let authority = Authority(&site.authority);
    let proxy = site.proxy(&How { bound: "2s", ..How::default() });
    // Nothing is committed for twice the bound, and it stays fresh.
    let (end, start) = (|| site.authority.json(["cluster", "show", "east"]), std::time::Instant::now());
    let before = end();
    while start.elapsed() < Duration::from_secs(4) {
        assert_eq!(proxy.ask(port, &site.bob).0, 200);
    }
    assert_eq!(end(), before);
    authority.hold();
    proxy.until_ready(|status, _| status == 503);
    assert_eq!(proxy.ask(port, &site.bob).0, 503);
    authority.release();
    proxy.until_current();
    assert_eq!(proxy.ask(port, &site.bob).0, 200);
}

/// The authority's process.
struct Authority<'d>(&'d Demo);

impl Authority<'_> {
    fn hold(&self) {
        self.0.signal(Signal::STOP);
    }

    fn release(&self) {
        self.0.signal(Signal::CONT);
    }
}

impl Drop for Authority<'_> {
    fn drop(&mut self) {
        self.release();
    }
}

#[test]
fn a_proxy_that_stood_still_for_a_minute_decides_nothing_on_what_it_knew() {
    let site = Site::new();
    let port = site.cluster.port;
    let proxy = site.proxy(&How { bound: "60s", ..How::default() });
    // Alice is connected; her next request comes while the proxy stands still.
    let watch = Live::start(&mut site.upstream.kubectl_command(&site.alice, ["get", "--raw", "/watch"]));
    assert!(watch.next_line().is_some());
    proxy.signal(Signal::STOP);
    let alice = &site.alice;
    let waiting = std::thread::scope(|scope| {
        let asking = scope.spawn(move || remote::ask(port, alice, 120));
        // Ends when the proxy is fenced: a minute from the last it was told.
        let (status, answer) = site.revoke(&["alice"]);
        assert_eq!((status, state(&answer, "east-a")), (Some(0), vec!["fenced"]), "{answer}");
        assert!(answer["proxies"][1]["after_ms"].as_u64().is_some_and(|after| after > 55_000), "{answer}");
        proxy.signal(Signal::CONT);
        asking.join().expect("an answer")
    });
    assert!(matches!(waiting.0, 401 | 503), "{waiting:?}");
    while watch.next_line().is_some() {}
    proxy.until_current();
    assert_eq!(proxy.ask(port, &site.alice).0, 401);
    assert_eq!(proxy.ask(port, &site.bob).0, 200);
}

#[test]
fn a_wire_cut_in_one_direction_makes_nothing_fresh_and_what_arrives_late_is_late() {
    let site = Site::new();
    let port = site.cluster.port;
    let wire = Wire::to(site.authority.address("api"));
    let proxy = site.proxy(&How { bound: "3s", wire: Some(&wire), ..How::default() });
    for cut in [Wire::cut_up, Wire::cut_down] {
        cut(&wire);
        proxy.until_ready(|status, _| status == 503);
        assert_eq!(proxy.ask(port, &site.bob).0, 503);
        wire.mend();
        proxy.until_current();
        assert_eq!(proxy.ask(port, &site.bob).0, 200);
    }
}

#[test]
fn a_long_way_to_the_authority_and_back_is_no_reason_to_refuse() {
    let site = Site::new();
    let port = site.cluster.port;
    let wire = Wire::to(site.authority.address("api"));
    let proxy = site.proxy(&How { bound: "10s", wire: Some(&wire), ..How::default() });
    // There and back takes three pings: their answers come when others have been asked for.
    wire.delay(Duration::from_millis(1500));
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_secs(14) {
        assert_eq!(proxy.ask(port, &site.bob).0, 200, "{:?}", proxy.ready());
    }
    let (status, answer) = site.revoke(&["alice"]);
    assert_eq!((status, state(&answer, "east-a")), (Some(0), vec!["confirmed"]), "{answer}");
    assert_eq!(proxy.ask(port, &site.alice).0, 401);
}

#[test]
fn a_jump_of_the_wall_clock_makes_nothing_older_or_younger() {
    let site = Site::new();
    let port = site.cluster.port;
    let clock = site.authority.write("clock", "+0");
    assert!(Path::new(FAKETIME).exists(), "libfaketime is wanted: tests/run installs it");
    let joined = site.cluster.joined(&site.authority, &site.upstream, &How { bound: "3s", ..How::default() });
    let proxy = joined
        .with("LD_PRELOAD", FAKETIME)
        .with("FAKETIME_TIMESTAMP_FILE", clock.to_str().expect("a path"))
        .with("FAKETIME_NO_CACHE", "1")
        .with("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .start();
    proxy.until_current();
    let authority = Authority(&site.authority);
    for jump in ["+2h", "-2m", "+10d"] {
        fs::write(&clock, jump).expect("the clock");
        assert_eq!(proxy.ask(port, &site.bob).0, 200, "{jump}: {:?}", proxy.ready());
        authority.hold();
        proxy.until_ready(|status, _| status == 503);
        // Back again, as somebody would try who wants old answers taken for fresh.
        fs::write(&clock, "-1m").expect("the clock");
        assert_eq!(proxy.ask(port, &site.bob).0, 503, "{jump}");
        authority.release();
        proxy.until_current();
    }
    // What has expired by the wall clock has expired.
    fs::write(&clock, "+31d").expect("the clock");
    let (status, body) = proxy.ask(port, &site.bob);
    assert!(status == 401 && body.contains("expired"), "{status} {body}");
}

#[test]
fn certificates_are_renewed_before_they_end() {
    let site = Site::new();
    let port = site.cluster.port;
    let joined = site.cluster.joined(&site.authority, &site.upstream, &How::default());
    let file = site.authority.file(&format!("mirror-east-a-{port}")).join("joined.json");
    let read = || -> Value { serde_json::from_slice(&fs::read(&file).expect("joined.json")).expect("JSON") };
    let before = read();
    // Not yet due, nothing is asked for.
    let mut proxy = joined.start();
    proxy.until_current();
    proxy.stop();
    assert_eq!(read(), before);
    // Five of seven days later by the proxy's clock.
    let mut proxy =
        proxy.with("LD_PRELOAD", FAKETIME).with("FAKETIME", "+5d").with("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    proxy.start_again();
    proxy.until_current();
    let start = std::time::Instant::now();
    while read() == before {
        assert!(start.elapsed() < support::PATIENCE, "the certificates were not renewed");
    }
    let after = read();
    for part in ["follower", "follower_key", "serving", "serving_key"] {
        assert_ne!(before[part], after[part], "{part}");
    }
    assert_eq!(proxy.ask(port, &site.bob).0, 200);
    // What it serves is the new one, without a new start.
    let mut client = site.authority.program("openssl");
    client.args(["s_client", "-connect", &format!("127.0.0.1:{port}")]);
    let served = run(&mut client).out;
    let line = after["serving"].as_str().expect("PEM").lines().nth(5).expect("a line of it");
    assert!(served.contains(line), "{served}");
}

#[test]
fn an_authority_put_back_to_where_it_was_is_not_believed() {
    let mut site = Site::new();
    let port = site.cluster.port;
    let proxy = site.proxy(&How { bound: "20s", ..How::default() });
    // A copy of the store, as a snapshot of the disk would be.
    site.authority.stop();
    let (store, kept) = (site.authority.dir().join("store"), site.authority.file("kept"));
    run(site.authority.program("cp").arg("-a").arg(&store).arg(&kept)).ok();
    site.authority.start_again();
    proxy.until_current();
    site.revoke(&["alice"]);
    for n in 0..40 {
        site.authority.admin(["user", "add", &format!("user-{n}")]).ok();
    }
    assert_eq!(proxy.ask(port, &site.alice).0, 401);
    // Everything up to here is confirmed, so that it is known to be behind.
    let (status, _) = site.revoke(&["nobody"]);
    assert_eq!(status, Some(0));
    site.authority.stop();
    fs::remove_dir_all(&store).expect("the store");
    fs::rename(&kept, &store).expect("the older store");
    // With the newer lists beside it, it would not even start.
    fs::remove_dir_all(site.authority.dir().join("crl")).expect("the lists");
    site.authority.start_again();
    let words = proxy.until_ready(|_, words| words.contains("ALARM"));
    assert!(words.contains("store restore"), "{words}");
    assert_eq!(proxy.ask(port, &site.alice).0, 401);
    proxy.until_ready(|status, words| status == 503 && words.contains("ALARM"));
    assert_eq!(proxy.ask(port, &site.bob).0, 503);
}

#[test]
fn three_proxies_one_stopped_and_one_cut_off_are_told_apart() {
    let site = Site::new();
    let wire = Wire::to(site.authority.address("api"));
    let (stopped_port, cut_port) = (free_port(), free_port());
    let good = site.proxy(&How::default());
    let how = How { name: "east-b", port: Some(stopped_port), bound: "5s", ..How::default() };
    let stopped = site.proxy(&how);
    let how = How { name: "east-c", port: Some(cut_port), bound: "10m", wire: Some(&wire), ..How::default() };
    let cut_off = site.proxy(&how);
    stopped.signal(Signal::STOP);
    wire.cut_down();
    wire.cut_up();
    let (status, answer) = site.revoke(&["alice", "--wait", "8s"]);
    assert_eq!(status, Some(3), "{answer}");
    assert_eq!(state(&answer, "demo"), ["confirmed"], "{answer}");
    assert_eq!(state(&answer, "east-a"), ["confirmed"], "{answer}");
    assert_eq!(state(&answer, "east-b"), ["fenced"], "{answer}");
    assert_eq!(state(&answer, "east-c"), ["unconfirmed"], "{answer}");
    let bound = answer["proxies"].as_array().expect("proxies").iter().find(|proxy| proxy["name"] == "east-c");
    let bound = bound.expect("the third")["bound_ms"].as_u64().expect("a bound");
    assert!((500_000..602_000).contains(&bound), "{answer}");
    // Durable all the same, and not waited for when that is asked.
    assert_eq!(good.ask(site.cluster.port, &site.alice).0, 401);
    assert_eq!(site.revoke(&["bob", "--no-wait"]).0, Some(0));
    // Said truly: the one that was cut off really lets her in still, the one that stood still does not.
    assert_eq!(cut_off.ask(cut_port, &site.alice).0, 200);
    stopped.signal(Signal::CONT);
    assert_ne!(stopped.ask(stopped_port, &site.alice).0, 200);
    wire.mend();
    cut_off.until_current();
    let (status, answer) = site.revoke(&["alice"]);
    assert_eq!((status, &answer["already"]), (Some(0), &json!(true)), "{answer}");
    assert_eq!(cut_off.ask(cut_port, &site.alice).0, 401);
}

#[test]
fn an_older_process_of_a_proxy_is_waited_for_also_after_the_authority_was_started_anew() {
    let mut site = Site::new();
    let old = site.proxy(&How { bound: "6s", ..How::default() });
    let new_port = free_port();
    // The same proxy starts anew, and the old process lives on.
    let new = old.copied(&site.authority, new_port).start();
    new.until_current();
    old.signal(Signal::STOP);
    let (status, answer) = site.revoke(&["alice"]);
    let mut states = state(&answer, "east-a");
    states.sort_unstable();
    assert_eq!((status, states), (Some(0), vec!["confirmed", "fenced"]), "{answer}");
    // Nobody is connected when the authority starts anew, and yet there is somebody to wait for.
    old.signal(Signal::CONT);
    old.until_current();
    old.signal(Signal::STOP);
    new.signal(Signal::STOP);
    site.authority.kill();
    site.authority.start_again();
    let (status, answer) = site.revoke(&["bob", "--wait", "1s"]);
    assert_eq!((status, state(&answer, "east-a")), (Some(3), vec!["unconfirmed", "unconfirmed"]), "{answer}");
    let (status, answer) = site.revoke(&["bob"]);
    assert_eq!((status, state(&answer, "east-a")), (Some(0), vec!["fenced", "fenced"]), "{answer}");
    new.signal(Signal::CONT);
    assert_ne!(new.ask(new_port, &site.bob).0, 200);
}

#[test]
fn whoever_runs_a_proxy_can_deny_an_id_there_while_the_authority_is_away() {
    let mut site = Site::new();
    let port = site.cluster.port;
    let mut proxy = site.proxy(&How { bound: "10m", ..How::default() });
    site.authority.stop();
    let config = proxy.config.clone();
    let deny = |arguments: &[&str]| {
        let mut command = site.authority.program(PORTCULLIS);
        run(command.args(["proxy", "deny", "--config"]).arg(&config).args(arguments)).ok()
    };
    let watch = Live::start(&mut site.upstream.kubectl_command(&site.bob, ["get", "--raw", "/watch"]));
    assert!(watch.next_line().is_some());
    deny(&["bob"]).saying(&["refused at this proxy"]);
    while watch.next_line().is_some() {}
    let (status, body) = proxy.ask(port, &site.bob);
    assert!(status == 401 && body.contains("access denied at this proxy"), "{status} {body}");
    assert_eq!(proxy.ask(port, &site.alice).0, 200);
    assert_eq!(deny(&["-o", "name"]).out, "bob\n");
    proxy.kill();
    proxy.start_again();
    assert_eq!(proxy.ask(port, &site.bob).0, 401);
    deny(&["bob", "--remove"]);
    let start = std::time::Instant::now();
    while proxy.ask(port, &site.bob).0 != 200 {
        assert!(start.elapsed() < support::PATIENCE, "bob stays refused");
    }
}
