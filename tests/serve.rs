//! The authority on its own: `init` once, `serve`, and the way back in.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use support::PATIENCE;
use support::site::{Site, ports};

#[test]
fn an_authority_is_made_once_serves_clusters_and_can_be_recovered_on_its_host() {
    let mut site = Site::new();
    site.run(&["serve", "--config", "authority.toml"]).ended(1).saying(&["init"]);
    site.run(&["init", "--config", "authority.toml", "--admin", "ana", "--out", "ana.toml"]).ok();
    assert_eq!(mode(&site.file("ana.toml")), 0o600);
    site.run(&["init", "--config", "authority.toml", "--admin", "ana", "--out", "ana.toml"])
        .ended(1)
        .saying(&["exists"]);
    site.serve();

    // Health is anybody's to ask; metrics and the rest are not.
    for path in ["/healthz", "/readyz"] {
        assert_eq!(site.get(path, None).0, 200, "{path}");
    }
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 404), ("/v1/status", 404)] {
        assert_eq!(site.plain(path).0, status, "{path} over plain HTTP");
    }
    for path in ["/metrics", "/v1/status", "/v1/users", "/v1/certificates", "/v1/no-such-thing"] {
        let (status, body) = site.get(path, None);
        assert_eq!(status, 401, "{path}: {body}");
    }
    let (status, metrics) = site.get("/metrics", Some("ana"));
    assert!(status == 200 && metrics.contains("# EOF") && metrics.contains("portcullis"), "{status} {metrics}");
    let (status, body) = site.get("/v1/status", Some("ana"));
    let state: Value = serde_json::from_str(&body).expect("a status");
    assert_eq!((status, &state["problems"]), (200, &json!([])), "{state}");

    // Two clusters, each with an issuing CA of its own.
    for name in ["prod", "test"] {
        let server = format!("https://{name}.example.com:7444");
        site.ana(&["cluster", "add", name, "--server", &server, "--name", "kube.example.com"]).ok();
    }
    site.ana(&["cluster", "add", "prod", "--server", "https://x.example.com"])
        .ended(1)
        .saying(&["already a cluster prod"]);
    assert_eq!(site.ana(&["cluster", "list", "-o", "name"]).ok().out, "prod\ntest\n");
    let shown = site.ana(&["cluster", "show", "prod", "-o", "json"]).ok().json();
    assert_eq!(shown["server"], "https://prod.example.com:7444", "{shown}");
    assert_eq!(shown["issuers"][0]["name"], "prod-1", "{shown}");
    site.ana(&["user", "add", "bea", "--group", "dev"]).ok();
    site.ana(&["kubeconfig", "bea", "--out", "bea.yaml"]).ended(1).saying(&["--cluster"]);
    site.ana(&["kubeconfig", "bea", "--cluster", "none", "--out", "bea.yaml"]).ended(1).saying(&["none"]);
    site.ana(&["kubeconfig", "bea", "--cluster", "test", "--out", "bea.yaml"]).ok();
    let text = fs::read_to_string(site.file("bea.yaml")).expect("a kubeconfig");
    assert!(text.contains("server: https://test.example.com:7444") && text.contains("name: bea@test"), "{text}");
    let status = site.ana(&["status", "bea.yaml", "-o", "json"]).ok().json();
    assert_eq!((&status["cluster"], &status["issuer"]), (&json!("test"), &json!("test-1")), "{status}");
    // No proxy follows yet, so there is nobody to wait for.
    let answer = site.ana(&["revoke", "user", "bea", "--yes", "-o", "json"]).ok().json();
    assert_eq!((&answer["certificates"], &answer["proxies"]), (&json!(1), &json!([])), "{answer}");

    // The only admin loses what they had; the host and the passphrase are the way back.
    site.ana(&["revoke", "user", "ana", "--yes"]).ended(1).saying(&["--force"]);
    site.ana(&["revoke", "user", "ana", "--yes", "--force"]).ok();
    site.ana(&["user", "list"]).ended(1).saying(&["revoked"]);
    let recover = ["recover", "admin", "ana", "--config", "authority.toml", "--out", "back.toml"];
    let words = fs::read_to_string(site.file("passphrase")).expect("the passphrase");
    site.write("passphrase", "not the passphrase at all, but as long\n");
    site.run(&recover).ended(1).saying(&["passphrase"]);
    assert!(!site.file("back.toml").exists());
    site.write("passphrase", &words);
    site.run(&recover).ok().saying(&["one hour"]);
    site.run(&recover).ended(1).saying(&["exists"]);
    assert_eq!(mode(&site.file("back.toml")), 0o600);
    let back = |arguments: &[&str]| site.run(&[&["--profile", "back.toml"], arguments].concat());
    let listed = back(&["cert", "list", "--id", "ana", "-o", "json"]).ok().json();
    let standing: Vec<&Value> =
        listed["items"].as_array().expect("a list").iter().filter(|found| found["status"]["state"] == "good").collect();
    assert_eq!(standing.len(), 1, "{listed}");
    back(&["issue", "ana", "--management", "--out", "again.toml"]).ok();

    // Stopped, it is gone; started again, everything is as it was.
    site.stop();
    site.run(&["--profile", "again.toml", "user", "list"]).ended(1);
    site.run(&recover[..5]).ended(1);
    site.serve();
    let users = site.run(&["--profile", "again.toml", "user", "list", "-o", "name"]).ok();
    assert_eq!(users.out, "ana\nbea\n");
    site.ana(&["user", "list"]).ended(1).saying(&["revoked"]);
    let status = site.run(&["--profile", "again.toml", "status", "bea.yaml", "-o", "json"]).ok().json();
    assert_eq!(status["status"]["state"], "revoked", "{status}");
}

#[test]
fn one_folder_has_one_authority_and_what_is_wrong_with_a_configuration_is_told_all_at_once() {
    let mut site = Site::new();
    site.run(&["init", "--config", "authority.toml", "--out", "admin.toml"]).ok();
    site.serve();
    // Beside it, on other ports, in the same folders.
    let text = fs::read_to_string(site.file("authority.toml")).expect("the configuration");
    let [api, public, health] = ports();
    let elsewhere = text.lines().map(|line| match line.split_once(" = ").map(|(key, _)| key) {
        Some("api") => format!("api = \"127.0.0.1:{api}\"\n"),
        Some("public") => format!("public = \"127.0.0.1:{public}\"\n"),
        Some("health") => format!("health = \"127.0.0.1:{health}\"\n"),
        _ => format!("{line}\n"),
    });
    site.write("second.toml", &elsewhere.collect::<String>());
    site.run(&["serve", "--config", "second.toml"]).ended(1).saying(&["lock"]);
    site.stop();

    // No more connections at once than are allowed.
    site.write("authority.toml", &format!("{text}[limits]\napi_connections = 1\n"));
    site.serve();
    let list = ["--profile", "admin.toml", "user", "list"];
    site.run(&list).ok();
    let held = TcpStream::connect(("127.0.0.1", site.api)).expect("a connection");
    site.run(&list).ended(1);
    drop(held);
    let until = Instant::now() + PATIENCE;
    while site.run(&list).status != Some(0) {
        assert!(Instant::now() < until, "a place that was given up is free again");
    }
    site.stop();
    site.write("authority.toml", &text);

    site.write("wrong.toml", "[listen]\napi = \"nowhere\"\npublic = \"127.0.0.1:0\"\n[publik]\nurl = \"http://x\"\n[ca]\npassphrase_file = \"passphrase\"\n");
    site.run(&["serve", "--config", "wrong.toml"]).ended(1).saying(&["nowhere", "127.0.0.1:0", "publik", "public.url"]);
    site.run(&["serve", "--config", "absent.toml"]).ended(1).saying(&["absent.toml"]);
    // A passphrase that others may read is none.
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(site.file("passphrase"), fs::Permissions::from_mode(0o644)).expect("a mode");
    site.run(&["serve", "--config", "authority.toml"]).ended(1).saying(&["passphrase", "chmod"]);
    fs::set_permissions(site.file("passphrase"), fs::Permissions::from_mode(0o600)).expect("a mode");
    // The address that certificates carry is fixed.
    let moved = text.replace("url = \"http://127.0.0.1", "url = \"http://localhost");
    assert_ne!(moved, text);
    site.write("moved.toml", &moved);
    site.run(&["serve", "--config", "moved.toml"]).ended(1).saying(&["public.url is fixed at init"]);
}

#[test]
fn while_the_index_is_away_whoever_must_go_is_revoked_and_the_rest_waits() {
    let mut site = Site::new();
    site.run(&["init", "--config", "authority.toml", "--admin", "ana", "--out", "ana.toml"]).ok();
    site.serve();
    site.ana(&["cluster", "add", "prod", "--server", "https://prod.example.com:7444"]).ok();
    for id in ["bea", "cy"] {
        site.ana(&["user", "add", id]).ok();
        site.ana(&["kubeconfig", id, "--out", &format!("{id}.yaml")]).ok();
    }
    site.stop();
    // What is in the way of the index is neither a folder nor anything that can be removed like one.
    fs::remove_dir_all(site.file("store/index")).expect("the index");
    site.write("store/index", "in the way");
    site.serve();
    assert_eq!((site.plain("/healthz").0, site.plain("/readyz").0), (200, 503));
    site.ana(&["user", "add", "dan"]).ended(1).saying(&["index", "revoking does not"]);
    site.ana(&["kubeconfig", "cy", "--out", "again.yaml"]).ended(1).saying(&["index"]);
    site.ana(&["revoke", "user", "bea", "--dry-run"]).ok().saying(&["not counted"]);
    let answer = site.ana(&["revoke", "user", "bea", "--yes", "-o", "json"]).ok().json();
    assert_eq!(answer["certificates"], Value::Null, "{answer}");
    // The only admin is still the only one.
    site.ana(&["revoke", "user", "ana", "--yes"]).ended(1).saying(&["--force"]);
    let state: Value = serde_json::from_str(&site.get("/v1/status", Some("ana")).1).expect("a status");
    assert!(state["problems"].to_string().contains("index"), "{state}");
    // Nobody has to start it again.
    fs::remove_file(site.file("store/index")).expect("what was in the way");
    let live = site.live.as_ref().expect("it serves");
    let (found, before) = live.wait_for_line(PATIENCE, |line| line.contains("the index is ready"));
    assert!(found, "it is not ready: {before}");
    assert_eq!(site.plain("/readyz").0, 200);
    for (id, state) in [("bea", "revoked"), ("cy", "good")] {
        let status = site.ana(&["status", &format!("{id}.yaml"), "-o", "json"]).ok().json();
        assert_eq!(status["status"]["state"], state, "{status}");
    }
    site.ana(&["kubeconfig", "bea", "--out", "bea-again.yaml"]).ok();
}

#[test]
fn while_the_clock_is_behind_the_record_nothing_is_issued_until_it_is_accepted_once() {
    let mut site = Site::new();
    site.run(&["init", "--config", "authority.toml", "--admin", "ana", "--out", "ana.toml"]).ok();
    site.serve();
    site.ana(&["cluster", "add", "prod", "--server", "https://prod.example.com:7444"]).ok();
    for id in ["bea", "cy"] {
        site.ana(&["user", "add", id]).ok();
    }
    site.stop();
    // For a while the clock is two hours fast, and what a start records says so.
    assert!(Path::new(FAKETIME).exists(), "libfaketime is wanted: tests/run installs it");
    site.serve_with(&[], &[("LD_PRELOAD", FAKETIME), ("FAKETIME", "+2h"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]);
    site.stop();
    // Set right, it is two hours behind the record.
    site.serve();
    site.ana(&["kubeconfig", "bea", "--out", "bea.yaml"]).ended(1).saying(&["the clock says", "--accept-clock"]);
    site.ana(&["revoke", "user", "cy", "--yes"]).ok();
    site.stop();
    // A revocation made meanwhile accepts nothing.
    site.serve();
    site.ana(&["kubeconfig", "bea", "--out", "bea.yaml"]).ended(1);
    site.stop();
    site.serve_with(&["--accept-clock"], &[]);
    site.ana(&["kubeconfig", "bea", "--out", "bea-now.yaml"]).ok();
    site.stop();
    // It is on the record: the next start need not be told again.
    site.serve();
    site.ana(&["kubeconfig", "bea", "--out", "bea-again.yaml"]).ok();
}

/// Gives a process another wall clock.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}
