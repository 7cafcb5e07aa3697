//! The authority on its own: `init` once, `serve`, and the way back in.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};
use support::run::{Live, Said, program, run};
use support::{PATIENCE, PORTCULLIS, START};
use tempfile::TempDir;

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

/// A folder with a configuration, and the authority that runs on it.
struct Site {
    folder: TempDir,
    api: u16,
    health: u16,
    live: Option<Live>,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [api, public, health] = ports();
        let site = Self { folder, api, health, live: None };
        site.write("passphrase", "correct horse battery staple, and more of it\n");
        site.write(
            "authority.toml",
            &format!(
                "[listen]\napi = \"127.0.0.1:{api}\"\npublic = \"127.0.0.1:{public}\"\nhealth = \"127.0.0.1:{health}\"\n\
                 [public]\nurl = \"http://127.0.0.1:{public}\"\ncrl_dir = \"crl\"\n[store]\ndir = \"store\"\n\
                 [ca]\ndir = \"ca\"\npassphrase_file = \"passphrase\"\n"
            ),
        );
        site
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        fs::write(self.file(name), content).expect("a file of the test");
        fs::set_permissions(self.file(name), fs::Permissions::from_mode(0o600)).expect("a mode");
    }

    fn program(&self, name: &str) -> std::process::Command {
        let mut command = program(name);
        command.current_dir(self.folder.path()).env("HOME", self.folder.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Said {
        run(self.program(PORTCULLIS).args(arguments))
    }

    /// As the first admin.
    fn ana(&self, arguments: &[&str]) -> Said {
        self.run(&[&["--profile", "ana.toml"], arguments].concat())
    }

    fn serve(&mut self) {
        self.serve_with(&[], &[]);
    }

    fn serve_with(&mut self, arguments: &[&str], environment: &[(&str, &str)]) {
        let mut command = self.program(PORTCULLIS);
        command.args(["serve", "--config", "authority.toml"]).args(arguments).envs(environment.iter().copied());
        let live = Live::start(&mut command);
        let (found, before) = live.wait_for_line(START, |line| line.contains("the authority serves"));
        assert!(found, "it does not serve: {before}");
        self.live = Some(live);
    }

    fn stop(&mut self) {
        let live = self.live.take().expect("it serves");
        live.signal(Signal::TERM);
        live.wait().ok();
    }

    /// Status and body of a GET over the API, with a profile's certificate or none.
    fn get(&self, path: &str, profile: Option<&str>) -> (u16, String) {
        let url = format!("https://127.0.0.1:{}{path}", self.api);
        let ca = fs::read_to_string(self.file("ana.toml")).expect("a profile");
        self.write("ca.pem", &block(&ca, "ca"));
        let mut options = vec!["--cacert", "ca.pem"];
        if let Some(profile) = profile {
            let text = fs::read_to_string(self.file(&format!("{profile}.toml"))).expect("a profile");
            self.write("client.pem", &block(&text, "certificate"));
            self.write("client.key", &block(&text, "key"));
            options.extend(["--cert", "client.pem", "--key", "client.key"]);
        }
        self.curl(&url, &options)
    }

    /// The same over the health listener.
    fn plain(&self, path: &str) -> (u16, String) {
        self.curl(&format!("http://127.0.0.1:{}{path}", self.health), &[])
    }

    fn curl(&self, url: &str, options: &[&str]) -> (u16, String) {
        let limit = PATIENCE.as_secs().to_string();
        let mut curl = self.program("curl");
        curl.args(["-sS", "--noproxy", "*", "--max-time", &limit, "-w", "\n%{http_code}"]).args(options).arg(url);
        let said = run(&mut curl).ok();
        let (body, status) = said.out.rsplit_once('\n').expect("curl's status");
        (status.parse().expect("curl's status"), body.to_owned())
    }
}

/// The PEM behind a key of a profile.
fn block(profile: &str, key: &str) -> String {
    let (_, rest) = profile.split_once(&format!("\n{key} = '''\n")).expect("the key");
    rest.split_once("'''").expect("its end").0.to_owned()
}

/// Three ports that were free a moment ago.
fn ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.each_ref().map(|listener| listener.local_addr().expect("an address").port())
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}
