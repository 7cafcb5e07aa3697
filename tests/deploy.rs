//! What operators put beside the product: alert rules and a dashboard that name metrics which really are scraped.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::remote::{Cluster, How};
use support::run::{run, run_within, tool};
use support::{Demo, PATIENCE};

#[test]
fn metrics_are_read_by_prometheus_own_parser_and_tell_how_it_is() {
    let (authority, upstream) = (Demo::start(), Demo::start());
    let cluster = Cluster::add(&authority, "east");
    let proxy = cluster.proxy(&authority, &upstream, &How::default());
    proxy.until_current();
    authority.admin(["user", "add", "zoe", "--group", "dev"]).ok();
    authority.admin(["kubeconfig", "zoe", "--cluster", "east", "--out", "east.yaml"]).ok();
    let who = support::Kubeconfig::read(authority.file("east.yaml"));
    assert_eq!(proxy.ask(cluster.port, &who).0, 200);
    authority.admin(["revoke", "user", "zoe", "--yes"]).ok();
    assert_eq!(proxy.ask(cluster.port, &who).0, 401);

    let east = [("proxy", "east-a"), ("cluster", "east")];
    let at_authority = until(|| {
        let scrape = Scrape::of_authority(&authority);
        (scrape.value("portcullis_feed_lag_revisions", &east) == Some(0.0)).then_some(scrape)
    });
    let now = at_authority.value("portcullis_crl_this_update_timestamp_seconds", &[("issuer", "east-1")]);
    let now = now.expect("when the list was made");
    for (name, labels, least, most) in [
        ("portcullis_build_info", &[("version", env!("CARGO_PKG_VERSION"))][..], 1.0, 1.0),
        ("portcullis_admins", &[], 1.0, 1.0),
        ("portcullis_admins_not_after_timestamp_seconds", &[], now + 89.0 * DAY, now + 91.0 * DAY),
        ("portcullis_store_ready", &[], 1.0, 1.0),
        ("portcullis_store_index_ready", &[], 1.0, 1.0),
        ("portcullis_feed_connections", &east, 1.0, 1.0),
        ("portcullis_feed_lag_seconds", &east, 0.0, 0.0),
        ("portcullis_feed_heard_age_seconds", &east, 0.0, 5.0),
        ("portcullis_proxy_not_after_timestamp_seconds", &east, now + 6.0 * DAY, now + 7.1 * DAY),
        ("portcullis_crl_next_update_timestamp_seconds", &[("issuer", "east-1")], now + 2.9 * DAY, now + 3.1 * DAY),
        ("portcullis_ca_not_after_timestamp_seconds", &[("issuer", "root")], now + 3600.0 * DAY, now + 3700.0 * DAY),
        ("portcullis_ca_not_after_timestamp_seconds", &[("issuer", "east-1")], now + 1800.0 * DAY, now + 1900.0 * DAY),
        ("portcullis_crl_unwritten", &[], 0.0, 0.0),
        ("portcullis_issuance_duration_seconds_count", &[], 1.0, 1.0),
        ("portcullis_revocation_duration_seconds_count", &[], 1.0, 1.0),
        ("portcullis_api_requests_total", &[("code", "disk_full")], 0.0, 0.0),
    ] {
        at_authority.is_within(name, labels, least, most);
    }
    let at_proxy = Scrape::of(&authority, "proxy", &proxy.metrics());
    for (name, labels, least, most) in [
        ("portcullis_build_info", &[("version", env!("CARGO_PKG_VERSION"))][..], 1.0, 1.0),
        ("portcullis_proxy_ready", &[], 1.0, 1.0),
        ("portcullis_proxy_feed_following", &[], 1.0, 1.0),
        ("portcullis_proxy_answers_age_seconds", &[], 0.0, 4.0),
        ("portcullis_proxy_answers_bound_seconds", &[], 4.0, 4.0),
        ("portcullis_proxy_refusals_total", &[("at", "handshake"), ("reason", "revoked")], 1.0, 1.0),
        ("portcullis_proxy_refusals_total", &[("at", "request"), ("reason", "locked")], 0.0, 0.0),
        (
            "portcullis_proxy_certificate_not_after_timestamp_seconds",
            &[("purpose", "serving")],
            now + 6.0 * DAY,
            now + 7.1 * DAY,
        ),
    ] {
        at_proxy.is_within(name, labels, least, most);
    }
    // Nobody who holds a credential is named.
    assert!(!at_authority.text.contains("zoe") && !at_proxy.text.contains("zoe"));

    let mut scraped: BTreeSet<String> = at_authority.names().chain(at_proxy.names()).collect();
    let histograms: Vec<_> =
        scraped.iter().filter_map(|name| name.strip_suffix("_bucket")).map(str::to_owned).collect();
    scraped.extend(histograms);
    for file in ["deploy/prometheus/alerts.yaml", "deploy/grafana/portcullis.json", "docs/install.md"] {
        let named = names_in(&fs::read_to_string(root().join(file)).expect("a file of the product"));
        assert!(named.len() > 10, "{file} names {named:?}");
        let absent: Vec<_> = named.difference(&scraped).collect();
        assert!(absent.is_empty(), "{file} names what is not scraped: {absent:?}; scraped are {scraped:?}");
    }

    let documented = names_in(&fs::read_to_string(root().join("docs/install.md")).expect("the page"));
    let is_part = |name: &str| ["_bucket", "_count", "_sum"].iter().any(|end| name.ends_with(end));
    let unsaid: Vec<_> = scraped.iter().filter(|name| !is_part(name) && !documented.contains(*name)).collect();
    assert!(unsaid.is_empty(), "docs/install.md does not say what these are: {unsaid:?}");

    // A proxy that is gone is there still, without a connection.
    drop(proxy);
    until(|| {
        let left = Scrape::of_authority(&authority).value("portcullis_feed_connections", &east);
        (left == Some(0.0)).then_some(())
    });
}

#[test]
fn alert_rules_fire_when_they_should_and_the_dashboard_is_whole() {
    let folder = root().join("deploy/prometheus");
    for arguments in [&["check", "rules", "alerts.yaml"][..], &["test", "rules", "alerts_test.yaml", "ends_test.yaml"]]
    {
        let mut promtool = support::run::program(tool("PORTCULLIS_TEST_PROMTOOL"));
        run_within(Duration::from_secs(120), promtool.current_dir(&folder).args(arguments)).ok().saying(&["SUCCESS"]);
    }
    let rules = fs::read_to_string(folder.join("alerts.yaml")).expect("the rules");
    let rules: Value = serde_saphyr::from_str(&rules).expect("YAML");
    let groups = rules["groups"].as_array().expect("groups");
    for rule in groups.iter().flat_map(|group| group["rules"].as_array().expect("rules")) {
        for text in ["summary", "description"] {
            assert!(rule["annotations"][text].as_str().is_some_and(|text| text.len() > 20), "{rule}");
        }
        assert!(["page", "ticket"].contains(&rule["labels"]["severity"].as_str().unwrap_or_default()), "{rule}");
    }
    let board = fs::read(root().join("deploy/grafana/portcullis.json")).expect("the dashboard");
    let board: Value = serde_json::from_slice(&board).expect("JSON");
    let panels = board["panels"].as_array().expect("panels");
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert!(ids.len() == panels.len() && panels.iter().all(|panel| !panel["targets"][0]["expr"].is_null()));
}

/// One scrape, read.
struct Scrape {
    text: String,
    samples: Vec<Value>,
}

impl Scrape {
    fn of_authority(authority: &Demo) -> Self {
        let profile = fs::read_to_string(authority.dir().join("profile.toml")).expect("a profile");
        let profile: toml::Table = profile.parse().expect("TOML");
        let part = |name: &str| authority.write(name, profile[name].as_str().expect("a part of the profile"));
        let mut curl = authority.program("curl");
        curl.args(["-sS", "--fail", "--noproxy", "*", "--max-time", "30", "--cacert"]).arg(part("ca"));
        curl.arg("--cert").arg(part("certificate")).arg("--key").arg(part("key"));
        let said = run(curl.arg(format!("https://{}/metrics", authority.address("api")))).ok();
        Self::of(authority, "authority", &said.out)
    }

    /// Read by the parser that Prometheus' own client library has.
    fn of(demo: &Demo, name: &str, text: &str) -> Self {
        let file = demo.write(&format!("{name}.scrape"), text);
        let mut python = demo.program(tool("PORTCULLIS_TEST_PKILINT").join("python"));
        let read = run(python.arg(root().join("tests/support/scrape.py")).arg(&file)).ok().json();
        let samples = read[file.to_str().expect("a path")].as_array().expect("samples").clone();
        Self { text: text.to_owned(), samples }
    }

    fn names(&self) -> impl Iterator<Item = String> {
        self.samples.iter().map(|sample| sample["name"].as_str().expect("a name").to_owned())
    }

    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let is_it = |sample: &&Value| {
            sample["name"] == name && labels.iter().all(|(label, value)| sample["labels"][label] == *value)
        };
        self.samples.iter().find(is_it).and_then(|sample| sample["value"].as_f64())
    }

    #[track_caller]
    fn is_within(&self, name: &str, labels: &[(&str, &str)], least: f64, most: f64) {
        let found = self.value(name, labels);
        let is_right = found.is_some_and(|found| (least..=most).contains(&found));
        assert!(is_right, "{name} {labels:?}: wanted {least} to {most}, found {found:?} in\n{}", self.text);
    }
}

/// Whatever begins with our prefix and is not a label or a path.
fn names_in(text: &str) -> BTreeSet<String> {
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_of_a_name(c));
    words.filter(|word| word.starts_with("portcullis_")).map(str::to_owned).collect()
}

/// Asks again until there is an answer.
fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "it does not come to be");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

const DAY: f64 = 86_400.0;

#[test]
fn the_container_file_takes_what_a_build_needs_and_names_no_registry() {
    let text = fs::read_to_string(root().join("deploy/container/Containerfile")).expect("the file");
    let lines = || text.lines().filter_map(|line| line.split_once(' '));
    let stages: Vec<_> = lines().filter(|(word, _)| *word == "FROM").map(|(_, rest)| rest).collect();
    assert!(stages.len() == 2 && stages.iter().all(|stage| !stage.contains('/')), "{stages:?}");
    let folder = tempfile::tempdir().expect("a folder");
    for (_, rest) in lines().filter(|(word, rest)| *word == "COPY" && !rest.starts_with("--from")) {
        let names: Vec<_> = rest.split(' ').collect();
        let (_, sources) = names.split_last().expect("where to");
        for source in sources {
            run(support::run::program("cp").arg("-r").arg(root().join(source)).arg(folder.path())).ok();
        }
    }
    // Every target that the manifest names is there, and the lock file fits it.
    let mut cargo = support::run::program(env!("CARGO"));
    for name in ["HOME", "CARGO_HOME", "RUSTUP_HOME"] {
        if let Some(value) = std::env::var_os(name) {
            cargo.env(name, value);
        }
    }
    cargo.args(["metadata", "--offline", "--locked", "--format-version=1"]).current_dir(folder.path());
    let metadata = run(&mut cargo).ok().json();
    let ours =
        metadata["packages"].as_array().expect("packages").iter().find(|package| package["name"] == "portcullis");
    let targets = ours.expect("our package")["targets"].as_array().expect("targets");
    assert!(targets.iter().any(|target| target["kind"][0] == "bin" && target["name"] == "portcullis"));
    let user = lines().find(|(word, _)| *word == "USER").expect("a user").1;
    assert!(!user.starts_with('0') && !user.contains("root"), "{user}");
}
