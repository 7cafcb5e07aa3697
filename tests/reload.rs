//! SIGHUP: settings are read again while they are used, whole or not at all, and nobody loses a connection.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;
use support::remote::{Cluster, How, ask};
use support::run::{Live, program, run};
use support::site::Site;
use support::{Demo, Kubeconfig, PATIENCE};

const USED: &str = "the configuration was read again and is used";

#[test]
fn a_proxy_takes_new_settings_under_load_without_one_request_or_watch_lost() {
    let (authority, upstream) = (Demo::start(), Demo::start());
    let cluster = Cluster::add(&authority, "east");
    let proxy = cluster.proxy(&authority, &upstream, &How::default());
    proxy.until_current();
    authority.admin(["user", "add", "ana"]).ok();
    authority.admin(["kubeconfig", "ana", "--cluster", "east", "--out", "ana.yaml"]).ok();
    let ana = Kubeconfig::read(authority.file("ana.yaml"));
    let watches = ["--http1.1", "--http2"].map(|version| Watch::open(cluster.port, &ana, version));
    watches.iter().for_each(Watch::moves);

    let text = fs::read_to_string(&proxy.config).expect("the settings");
    let token = upstream.dir().join("upstream.token");
    let copies = ["a", "b"].map(|name| {
        let copy = authority.write(&format!("{name}.token"), fs::read(&token).expect("a token"));
        text.replace(&token.display().to_string(), &copy.display().to_string())
    });
    let (is_over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let (status, body) = ask(cluster.port, &ana, 20);
                    assert_eq!(status, 200, "{body}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for turn in 0..20 {
            let level = ["info", "debug"][turn / 2 % 2];
            fs::write(&proxy.config, format!("{}[log]\nlevel = \"{level}\"\n", copies[turn % 2])).expect("settings");
            proxy.signal(Signal::HUP);
            proxy.until_said(USED);
        }
        let (before, end) = (answered.load(Ordering::Relaxed), Instant::now() + PATIENCE);
        while answered.load(Ordering::Relaxed) < before + 5 {
            assert!(Instant::now() < end, "requests go on");
            thread::yield_now();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(answered.into_inner() > 10);
    watches.iter().for_each(Watch::moves);
    // It is really the new one that is used: there is no other any more.
    fs::remove_file(authority.file("a.token")).expect("the token before");
    assert_eq!(ask(cluster.port, &ana, 20).0, 200);

    // What is refused is named, and changes nothing: not even what could have been changed.
    let good = fs::read_to_string(&proxy.config).expect("the settings");
    let cases = [
        ("[listen\n".to_owned(), "TOML"),
        (good.replace("bound = \"4s\"", "bound = \"5s\""), "freshness.bound cannot change while it runs"),
        (copies[0].clone(), "No such file"),
        (good.replace("url = \"https://127.0.0.1", "url = \"https://127.0.0.2"), "asking the API server"),
    ];
    for (bad, why) in cases {
        assert_ne!(bad, good);
        fs::write(&proxy.config, &bad).expect("settings");
        proxy.signal(Signal::HUP);
        proxy.until_said(why);
        fs::write(&proxy.config, &good).expect("settings");
        assert_eq!(ask(cluster.port, &ana, 20).0, 200, "after {why}");
    }
    watches.iter().for_each(Watch::moves);
}

#[test]
fn an_authority_takes_limits_and_its_own_name_and_refuses_the_rest_by_name() {
    let mut site = Site::new();
    site.run(&["init", "--config", "authority.toml", "--out", "ana.toml"]).ok();
    site.serve();
    let text = fs::read_to_string(site.file("authority.toml")).expect("the settings");
    // The name in the certificate: curl believes it under the new one only once it is there.
    let named = |site: &Site| {
        let mut curl = site.program("curl");
        let (port, ca) = (site.api, site.file("ca.pem"));
        curl.args(["-sS", "--noproxy", "*", "--max-time", "20", "--cacert"]).arg(ca);
        curl.args(["--resolve", &format!("authority.example.com:{port}:127.0.0.1")]);
        run(curl.arg(format!("https://authority.example.com:{port}/readyz"))).status
    };
    assert_eq!(site.get("/readyz", None).0, 200);
    assert_ne!(named(&site), Some(0));
    let url = format!("[api]\nurl = \"https://authority.example.com:{}\"\n", site.api);
    site.write("authority.toml", &format!("{text}{url}[limits]\napi_connections = 1\n"));
    site.signal(Signal::HUP);
    site.until_said(USED);
    assert_eq!(named(&site), Some(0));
    let until = Instant::now() + PATIENCE;
    loop {
        // Where the connection before was not let go of yet, this one is turned away, and the next is tried.
        let _held = TcpStream::connect(("127.0.0.1", site.api)).expect("a connection");
        if named(&site) != Some(0) {
            break;
        }
        assert!(Instant::now() < until, "one connection at once is allowed");
    }

    // A wish with one part that cannot be granted is granted in no part.
    let moved = format!("{text}[log]\nlevel = \"error\"\n").replace("dir = \"store\"", "dir = \"elsewhere\"");
    assert!(moved.contains("elsewhere"));
    site.write("authority.toml", &moved);
    site.signal(Signal::HUP);
    site.until_said("store.dir cannot change while it runs");
    // Had the level changed, this would not be said.
    site.write("authority.toml", &text);
    site.signal(Signal::HUP);
    site.until_said(USED);
    site.stop();
}

/// A stream that the API server says something on every second.
struct Watch {
    live: Live,
    opened: Instant,
}

impl Watch {
    fn open(port: u16, who: &Kubeconfig, version: &str) -> Self {
        let mut curl = program("curl");
        curl.args(["-sS", "--no-buffer", "--max-time", "300", version]);
        curl.arg("--cacert").arg(&who.ca).arg("--cert").arg(&who.certificate).arg("--key").arg(&who.key);
        let live = Live::start(curl.arg(format!("https://127.0.0.1:{port}/watch")));
        live.next_line().expect("the first event");
        Self { live, opened: Instant::now() }
    }

    /// Says something that is new at this moment.
    #[track_caller]
    fn moves(&self) {
        let wanted = self.opened.elapsed().as_secs() + 2;
        loop {
            let line = self.live.next_line().expect("the watch goes on");
            let event: Value = serde_json::from_str(&line).expect("an event");
            if event["object"]["n"].as_u64().expect("its number") >= wanted {
                return;
            }
        }
    }
}
