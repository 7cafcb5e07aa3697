//! What is refused, in which words, and that nothing changes by it.
//!
//! Each story runs the built binary; what is refused must name what was wanted and leave the record as it was.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use portcullis::access::Permission;
use portcullis::api::routes::table;
use portcullis::ident::Fingerprint;
use serde_json::json;
use support::run::{Said, program, run};
use support::{Demo, PORTCULLIS};

/// The binary by itself.
fn portcullis<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Said {
    run(program(PORTCULLIS).args(arguments))
}

/// The arguments that start a quickstart in the folder of another.
fn same_folder(demo: &Demo) -> Vec<String> {
    let mut arguments = vec!["quickstart".to_owned(), "--dir".to_owned(), demo.dir().display().to_string()];
    for listener in ["api", "public", "proxy", "upstream", "health"] {
        arguments.extend([format!("--{listener}-listen"), "127.0.0.1:0".to_owned()]);
    }
    arguments
}

/// An answer of the management API.
struct Answer {
    status: u16,
    body: String,
}

/// Sends a request to the management API with the certificate and key of a PEM file, or with none.
fn api(demo: &Demo, credential: Option<&Path>, method: &str, path: &str, body: Option<&str>) -> Answer {
    let mut curl = program("curl");
    curl.args(["--silent", "--show-error", "--insecure", "--request", method, "--write-out", "\n%{http_code}"]);
    if let Some(credential) = credential {
        curl.arg("--cert").arg(credential).arg("--key").arg(credential);
    }
    if let Some(body) = body {
        curl.args(["--data-binary", body]);
    }
    let said = run(curl.arg(format!("https://{}{path}", demo.address("api")))).ok();
    let (body, status) = said.out.rsplit_once('\n').expect("a body and a status");
    Answer { status: status.parse().expect("a status"), body: body.to_owned() }
}

/// The same as the admin.
fn as_admin(demo: &Demo, method: &str, path: &str, body: &str) -> Answer {
    let profile = fs::read_to_string(demo.dir().join("profile.toml")).expect("a profile");
    let profile: toml::Table = profile.parse().expect("TOML");
    let text = |key: &str| profile[key].as_str().expect("a text").trim().to_owned();
    let file = demo.write("admin.pem", format!("{}\n{}\n", text("key"), text("certificate")));
    api(demo, Some(&file), method, path, Some(body))
}

/// Adds a user and issues them a certificate, in a file with its key.
fn holder(demo: &Demo, id: &str) -> PathBuf {
    demo.admin(["user", "add", id]).ok();
    let file = demo.file(&format!("{id}.pem"));
    demo.admin([OsStr::new("issue"), OsStr::new(id), OsStr::new("--out"), file.as_os_str()]).ok();
    file
}

/// Everything on the record and in the directory, as the API shows it.
fn everything(demo: &Demo) -> String {
    let lists: [&[&str]; 4] = [&["cert", "list", "--all"], &["user", "list"], &["agency", "list"], &["group", "list"]];
    let text: String = lists.iter().map(|list| format!("{:#}\n", demo.json(*list))).collect();
    // The revision an answer reflects moves with the refusals themselves, which are on the record too.
    text.lines().filter(|line| !line.contains("\"revision\"")).collect::<Vec<_>>().join("\n")
}

fn refused(said: &Said, words: &str) {
    assert_ne!(said.status, Some(0), "it was not refused: {}", said.out);
    assert!(said.err.contains(words), "wanted {words:?}, found: {}", said.err);
}

#[test]
fn requests_that_must_not_be_signed_are_refused_in_their_own_words_and_change_nothing() {
    let demo = Demo::start();
    demo.admin(["user", "add", "alice", "--group", "dev"]).ok();
    let before = everything(&demo);
    let cases = [
        ("rsa1024.pem", "1024 bits"),
        ("p192.pem", "P-192"),
        ("rsa-e1.pem", "exponent 1"),
        ("rsa-e3.pem", "exponent 3"),
        ("other-signature.pem", "not signed with its own key"),
        ("ca-true.pem", "CA:TRUE"),
        ("key-cert-sign.pem", "keyCertSign"),
        ("secp256k1.pem", "secp256k1"),
        ("explicit-curve.pem", "explicit"),
        ("dsa.pem", "DSA"),
    ];
    let mut messages = BTreeSet::new();
    for (file, words) in cases {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs/csr").join(file).display().to_string();
        let said = demo.admin(["issue", "alice", "--csr", &path]);
        refused(&said, words);
        assert!(messages.insert(said.err.replace(&path, "")), "{file} is refused in another's words: {}", said.err);
    }
    assert_eq!(everything(&demo), before);
}

#[test]
fn a_private_key_pasted_for_a_request_is_refused_unsent_and_never_logged() {
    let mut demo = Demo::start();
    demo.admin(["user", "add", "alice"]).ok();
    let text = demo.openssl(["ecparam", "-genkey", "-noout", "-name", "prime256v1"]).ok().out;
    let key = demo.write("pasted.pem", &text).display().to_string();
    refused(&demo.admin(["issue", "alice", "--csr", &key]), "found a private key");
    // The same past the command line, straight to the API.
    let answer = as_admin(&demo, "POST", "/v1/certificates", &json!({"id": "alice", "csr": text}).to_string());
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert!(answer.body.contains("request_refused") && answer.body.contains("private key"), "{}", answer.body);
    let secret = text.lines().nth(1).expect("a line of the key");
    assert!(!answer.body.contains(secret), "the key came back");
    assert!(!demo.stop_and_hear().contains(secret), "the key was logged");
}

#[test]
fn the_subject_of_a_request_is_ignored_and_said_so() {
    let demo = Demo::start();
    demo.admin(["user", "add", "alice", "--group", "dev"]).ok();
    let (key, csr) = (demo.file("root.key").display().to_string(), demo.file("root.csr").display().to_string());
    let subject = "/CN=root/O=system:masters";
    demo.openssl(["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", &key, "-out", &csr])
        .ok();
    let said = demo.admin(["issue", "alice", "--csr", &csr]).ok().saying(&["CN=root, O=system:masters"]);
    let issued = demo.write("issued.pem", &said.out).display().to_string();
    let subject = demo.openssl(["x509", "-noout", "-subject", "-in", &issued]).ok().out;
    assert!(subject.contains("CN = alice") && !subject.contains("system:masters"), "{subject}");
}

#[test]
fn names_that_could_deceive_are_refused_and_change_nothing() {
    let demo = Demo::start();
    let before = everything(&demo);
    let long = "a".repeat(300);
    let ids = ["Alice", "a\nb", "a\u{7}b", "аlice", "system:admin", "System:Admin", "-rf", "../x", "a b", &long];
    for id in ids {
        let answer = as_admin(&demo, "POST", "/v1/users", &json!({"id": id}).to_string());
        assert_eq!(answer.status, 400, "{id:?}: {}", answer.body);
    }
    let groups =
        ["system:masters", "SYSTEM:nodes", "ｓystem:masters", "a\nb", "a\u{202e}b", "gro\u{308}ße", " x", &long];
    for group in groups {
        let answer = as_admin(&demo, "POST", "/v1/users", &json!({"id": "alice", "groups": [group]}).to_string());
        assert_eq!(answer.status, 400, "{group:?}: {}", answer.body);
        assert!(!answer.body.contains(['\u{202e}', '\u{7}']), "{}", answer.body);
    }
    assert_eq!(everything(&demo), before);
}

#[test]
fn several_mistakes_in_a_configuration_are_told_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("authority.toml");
    let text = "[listen]\napi = \"nowhere\"\npubic = \"127.0.0.1:1\"\n[store]\ndirr = \"/x\"\n";
    fs::write(&file, text).expect("a file");
    let said = portcullis([OsStr::new("serve"), OsStr::new("--config"), file.as_os_str()]);
    for words in ["listen.api", "listen.pubic", "listen.public", "store.dirr", "public.url"] {
        refused(&said, words);
    }
}

#[test]
fn a_second_process_on_the_same_store_is_refused_and_the_first_goes_on() {
    let demo = Demo::start();
    refused(&portcullis(same_folder(&demo)), "another process");
    demo.admin(["user", "add", "alice"]).ok();
    assert!(demo.dir().join("addresses.json").exists());
}

#[test]
fn a_wrong_passphrase_is_refused_and_the_right_one_still_opens() {
    let mut demo = Demo::start();
    demo.admin(["user", "add", "alice"]).ok();
    demo.stop();
    let file = demo.dir().join("passphrase");
    let right = fs::read(&file).expect("a passphrase");
    fs::write(&file, "another passphrase altogether\n").expect("a file");
    refused(&portcullis(same_folder(&demo)), "passphrase is wrong");
    fs::write(&file, right).expect("a file");
    demo.start_again();
    demo.admin(["user", "list", "-o", "name"]).ok().saying(&["alice"]);
}

#[test]
fn a_store_of_a_newer_format_is_refused_by_name_and_left_alone() {
    let mut demo = Demo::start();
    demo.stop();
    let mark = demo.dir().join("store/mark");
    let before = fs::read(&mark).expect("a mark");
    // As a newer version would write it: another format in both slots, and the digest of what is before it.
    let mut newer = before.clone();
    for slot in [0, 4096] {
        newer[slot + 8..slot + 10].copy_from_slice(&2_u16.to_be_bytes());
        let digest = Fingerprint::of(&newer[slot..slot + 80]);
        newer[slot + 80..slot + 112].copy_from_slice(digest.octets());
    }
    fs::write(&mark, &newer).expect("a file");
    refused(&portcullis(same_folder(&demo)), "newer version");
    assert_eq!(fs::read(&mark).expect("a mark"), newer, "the refused start changed the store");
    fs::write(&mark, before).expect("a file");
    demo.start_again();
}

#[test]
fn every_route_lets_in_whom_it_should_and_nobody_else() {
    let demo = Demo::start();
    let (alice, _) = (holder(&demo, "alice"), holder(&demo, "bob"));
    demo.admin(["agency", "add", "acme"]).ok();
    let bobs = demo.admin(["cert", "list", "--id", "bob", "-o", "name"]).ok().out;
    for route in table() {
        let id = if route.path.contains("agencies") { "acme" } else { "bob" };
        let path = route.path.replace("{id}", id).replace("{name}", "demo").replace("{reference}", bobs.trim());
        let path = path.replace("{fingerprint}", &format!("X509SHA256={}", "0".repeat(64)));
        let body = (route.method != "GET" && route.method != "DELETE").then(|| body_for(route.path));
        let method = route.method.as_str();
        let stranger = api(&demo, None, method, &path, body.as_deref());
        assert_eq!(stranger.status, 401, "{method} {path} to a stranger: {}", stranger.body);
        let user = api(&demo, Some(&alice), method, &path, body.as_deref());
        let wanted = expected_of_a_user(route.path, method, route.permission);
        assert_eq!(user.status, wanted, "{method} {path} to a user: {}", user.body);
    }
}

/// A body that would be accepted from an admin, about somebody else than the user.
fn body_for(path: &str) -> String {
    let body = match path {
        "/v1/certificates" => json!({"id": "bob", "server_key": true}),
        "/v1/revocations" => json!({"target": {"kind": "user", "id": "bob"}}),
        "/v1/users" => json!({"id": "carol"}),
        "/v1/agencies" => json!({"id": "other"}),
        "/v1/clusters" => json!({"name": "prod", "server": "https://prod.example:7444"}),
        "/v1/certificates/imports" => {
            json!({"cluster": "demo", "certificate_pem": include_str!("../certs/certificate/kubeadm-admin.pem")})
        }
        "/v1/root/lists" => json!({"list_pem": ""}),
        "/v1/proxies/tokens" => json!({"cluster": "demo", "secret_hash": "0".repeat(64)}),
        _ => json!({}),
    };
    body.to_string()
}

/// To a user without a role: 200 for their own, 404 for what is somebody else's, 403 for what only roles allow.
fn expected_of_a_user(path: &str, method: &str, permission: Permission) -> u16 {
    match (method, path) {
        // Their own certificates, and the cluster that their certificate is for.
        ("GET", "/v1/certificates" | "/v1/clusters" | "/v1/clusters/{name}") => 200,
        // Nobody joins with a certificate.
        ("POST", "/v1/proxies/join") => 401,
        _ => match permission {
            Permission::CertificateIssue
            | Permission::CertificateRead
            | Permission::CertificateRevoke
            | Permission::IdentityRevoke
            | Permission::IdentityRead
            | Permission::ClusterRead => 404,
            Permission::CertificateIssueManagement
            | Permission::AgencyRevoke
            | Permission::IdentityLock
            | Permission::IdentityList
            | Permission::IdentityWrite
            | Permission::GroupRead
            | Permission::GroupWrite
            | Permission::RoleWrite
            | Permission::ClusterWrite
            | Permission::StatusRead
            | Permission::MetricsRead
            | Permission::AuthorityUpkeep
            | Permission::ProxyRead
            | Permission::ProxyWrite
            | Permission::ProxyJoin
            | Permission::ProxyFollow
            | Permission::AuthorityRevoke => 403,
        },
    }
}

#[test]
fn what_is_somebody_elses_looks_like_what_does_not_exist() {
    let demo = Demo::start();
    let (alice, _) = (holder(&demo, "alice"), holder(&demo, "bob"));
    let bobs = demo.admin(["cert", "list", "--id", "bob", "-o", "name"]).ok().out;
    let ask = |path: &str| {
        let answer = api(&demo, Some(&alice), "GET", path, None);
        (answer.status, answer.body)
    };
    let nobodys = format!("/v1/certificates/{}", "5".repeat(40));
    assert_eq!(ask(&format!("/v1/certificates/{}", bobs.trim())), ask(&nobodys));
    assert_eq!(ask("/v1/users/bob"), ask("/v1/users/nobody"));
}

#[test]
fn destroying_asks_a_person_for_the_word_and_a_script_for_yes() {
    let demo = Demo::start();
    holder(&demo, "alice");
    let state = || demo.json(["cert", "list", "--id", "alice"])["items"][0]["status"]["state"].clone();
    demo.admin(["revoke", "user", "alice"]).ended(2).saying(&["--yes"]);
    assert_eq!(state(), "good");
    assert_ne!(at_a_terminal(&demo, "revoke\n"), Some(0));
    assert_eq!(state(), "good", "another word than REVOKE was enough");
    assert_eq!(at_a_terminal(&demo, "REVOKE\n"), Some(0));
    assert_eq!(state(), "revoked");
}

/// Revokes alice at a terminal, where somebody types `typed`; gives the exit status.
fn at_a_terminal(demo: &Demo, typed: &str) -> Option<i32> {
    let profile = demo.dir().join("profile.toml");
    let line = format!("{PORTCULLIS} --profile {} revoke user alice", profile.display());
    let mut script = demo.program("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script starts");
    child.stdin.take().expect("its input").write_all(typed.as_bytes()).expect("somebody types");
    child.wait_with_output().expect("it ends").status.code()
}

#[test]
fn whoever_may_not_follow_the_feed_is_told_so_whatever_they_send() {
    let demo = Demo::start();
    let alice = holder(&demo, "alice");
    // More than fits into the windows of a stream: it is still on its way when the answer is known.
    let body = demo.write("much", "x".repeat(150_000));
    let answer = api(&demo, Some(&alice), "POST", "/v1/feed", Some(&format!("@{}", body.display())));
    assert_eq!(answer.status, 403, "{}", answer.body);
    assert!(answer.body.contains("only a proxy follows the feed"), "{}", answer.body);
}
