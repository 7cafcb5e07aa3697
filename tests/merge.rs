//! `kubeconfig --merge`: into the file that everybody has, without harm to anything in it.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;

use serde_json::Value;
use support::Demo;
use support::run::{run, tool};

/// What an administrator's file looks like after some years.
const GROWN: &str = r#"# Clusters of the platform team. Do not edit by hand. (Everybody does.)
apiVersion: v1
kind: Config
preferences: {}
current-context: prod   # careful
clusters:
- cluster:
    server: https://prod.example.com:6443
    certificate-authority-data: c29tZSBDQQ==
    tls-server-name: kubernetes.default
    extensions:
    - name: client.authentication.k8s.io/exec
      extension: {audience: prod}
  name: prod
- name: staging
  cluster: {server: "https://staging.example.com", insecure-skip-tls-verify: true}
- name: "1e3"
  cluster:
    server: https://numbers.example.com
    proxy-url: socks5://127.0.0.1:1080
users:
# issued by the cloud
- name: prod-admin
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: cloud-login
      args: [--quiet, "--region=eu #1", 'it''s']
      env:
      - {name: REGION, value: "yes"}
      interactiveMode: IfAvailable
      provideClusterInfo: true
- name: staging-user
  user:
    token: "0123456789"
    username: null
- name: alice
  user:
    client-certificate: /home/alice/a.crt
    client-key: /home/alice/a.key
contexts:
- context: {cluster: prod, user: prod-admin, namespace: default}
  name: prod
- context:
    cluster: staging
    user: staging-user
    extensions:
    - name: team
      extension:
        note: |
          two
            lines
  name: "staging"
# the end
"#;

#[test]
fn merging_a_kubeconfig_changes_nothing_else_in_a_grown_one_and_leaves_a_backup() {
    let demo = Demo::start();
    demo.admin(["user", "add", "alice", "--group", "dev"]).ok();
    let file = demo.write("config", GROWN);
    let before = view(&demo);
    demo.admin(["kubeconfig", "alice", "--merge", "config"]).ok().saying(&["config.backup-1", "alice@demo"]);

    let text = fs::read_to_string(&file).expect("the merged file");
    for line in GROWN.lines() {
        assert!(text.lines().any(|kept| kept == line), "lost {line:?} from\n{text}");
    }
    assert_eq!(without_ours(view(&demo)), before, "{text}");
    assert_eq!(view(&demo)["current-context"], "prod", "the context in use stays in use");
    assert_eq!(fs::read_to_string(demo.file("config.backup-1")).expect("a backup"), GROWN);
    for name in ["config", "config.backup-1"] {
        assert_eq!(mode(&demo, name), 0o600, "{name}");
    }
    must_work(&demo, "config");

    // Again: the entry is replaced, not doubled; what it was stands until it is revoked.
    demo.admin(["kubeconfig", "alice", "--merge", "config"]).ok().saying(&["config.backup-2"]);
    assert_eq!(without_ours(view(&demo)), before);
    let names =
        view(&demo)["users"].as_array().map(|users| users.iter().filter(|user| user["name"] == "alice@demo").count());
    assert_eq!(names, Some(1));
    must_work(&demo, "config");
    let standing = demo.json(["cert", "list", "--id", "alice"])["items"].as_array().map(Vec::len);
    assert_eq!(standing, Some(2));

    // Renewing there touches that one user's entry.
    let mut renewal = demo.program(support::PORTCULLIS);
    let server = format!("https://{}", demo.address("api"));
    run(renewal.args(["renew", "config", "--context", "alice@demo", "--server", &server])).ok();
    assert_eq!(without_ours(view(&demo)), before);
    must_work(&demo, "config");
}

#[test]
fn a_file_that_is_absent_is_made_and_one_that_is_no_kubeconfig_is_left_alone() {
    let demo = Demo::start();
    demo.admin(["user", "add", "alice"]).ok();
    demo.admin(["kubeconfig", "alice", "--merge", "config"]).ok();
    assert_eq!(mode(&demo, "config"), 0o600);
    must_work(&demo, "config");
    let before = demo.json(["cert", "list", "--id", "alice"]);
    for (name, content) in
        [("list.yaml", "- a\n- b\n"), ("broken.yaml", "users: [\n"), ("other.yaml", "users: nobody\n")]
    {
        demo.write(name, content);
        demo.admin(["kubeconfig", "alice", "--merge", name]).ended(1).saying(&["wanted"]);
        assert_eq!(fs::read_to_string(demo.file(name)).expect("the file"), content, "{name}");
    }
    assert_eq!(demo.json(["cert", "list", "--id", "alice"]), before, "nothing was issued for it");

    // JSON and flow style are YAML too.
    demo.write(
        "json",
        r#"{"apiVersion":"v1","kind":"Config","clusters":[],"users":[],"contexts":[],"current-context":""}"#,
    );
    demo.admin(["kubeconfig", "alice", "--merge", "json"]).ok();
    must_work(&demo, "json");

    // The cluster's name is somebody else's: theirs stays as it is.
    let theirs =
        "apiVersion: v1\nkind: Config\nclusters:\n- name: demo\n  cluster: {server: 'https://elsewhere.example.com'}\n";
    demo.write("taken", theirs);
    demo.admin(["kubeconfig", "alice", "--merge", "taken"]).ok().saying(&["is taken"]);
    let text = fs::read_to_string(demo.file("taken")).expect("the merged file");
    assert!(text.contains("https://elsewhere.example.com"), "{text}");
    must_work(&demo, "taken");
}

/// The merged file as kubectl reads it.
fn view(demo: &Demo) -> Value {
    let mut kubectl = demo.program(tool("PORTCULLIS_TEST_KUBECTL"));
    run(kubectl.args(["--kubeconfig", "config", "config", "view", "--raw", "-o", "json"])).ok().json()
}

/// A view less what was merged into it.
fn without_ours(mut view: Value) -> Value {
    for (list, ours) in [("clusters", "demo"), ("users", "alice@demo"), ("contexts", "alice@demo")] {
        let entries = view[list].as_array_mut().expect("a list");
        let all = entries.len();
        entries.retain(|entry| entry["name"] != ours);
        assert_eq!(entries.len() + 1, all, "{ours} in {list}");
    }
    view
}

#[track_caller]
fn must_work(demo: &Demo, file: &str) {
    let mut kubectl = demo.program(tool("PORTCULLIS_TEST_KUBECTL"));
    run(kubectl.args(["--kubeconfig", file, "--context", "alice@demo", "auth", "whoami"])).ok().saying(&["alice"]);
}

fn mode(demo: &Demo, name: &str) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(demo.file(name)).expect("a file").permissions().mode() & 0o777
}
