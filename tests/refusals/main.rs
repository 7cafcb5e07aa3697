//! What is refused, in which words, and that nothing changes by it.
//!
//! Each story runs the built binary; what is refused must name what was wanted and leave the record as it was.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a story that cannot go on fails where it stands"
)]

mod house;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use house::{Quickstart, Ran, portcullis};
use portcullis::access::Permission;
use portcullis::api::routes::table;
use portcullis::ident::Fingerprint;

fn certs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("certs")
}

/// Everything on the record and in the directory, as the API shows it.
fn everything(house: &Quickstart) -> String {
    let shown = [
        house.portcullis(&["cert", "list", "--all", "-o", "json"]),
        house.portcullis(&["user", "list", "-o", "json"]),
        house.portcullis(&["agency", "list", "-o", "json"]),
        house.portcullis(&["group", "list", "-o", "json"]),
    ];
    // The revision an answer reflects moves with the refusals themselves, which are on the record too.
    let text: String = shown.iter().map(Ran::succeeded).collect();
    text.lines().filter(|line| !line.contains("\"revision\"")).collect::<Vec<_>>().join("\n")
}

fn refused(ran: &Ran, words: &str) {
    assert_ne!(ran.status, 0, "it was not refused: {}", ran.stdout);
    assert!(ran.stderr.contains(words), "wanted {words:?}, found: {}", ran.stderr);
}

#[test]
fn requests_that_must_not_be_signed_are_refused_in_their_own_words_and_change_nothing() {
    let house = Quickstart::start();
    house.portcullis(&["user", "add", "alice", "--group", "dev"]).succeeded();
    let before = everything(&house);
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
        let path = certs().join("csr").join(file);
        let ran = house.portcullis(&["issue", "alice", "--csr", path.to_str().unwrap()]);
        refused(&ran, words);
        let told = ran.stderr.replace(path.to_str().unwrap(), "");
        assert!(messages.insert(told), "{file} is refused in the words of another: {}", ran.stderr);
    }
    assert_eq!(everything(&house), before);
}

#[test]
fn a_private_key_pasted_for_a_request_is_refused_unsent_and_never_logged() {
    let house = Quickstart::start();
    house.portcullis(&["user", "add", "alice"]).succeeded();
    let key = house.path("pasted.pem");
    let mut made = Command::new("openssl");
    made.args(["ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out"]).arg(&key);
    assert!(made.status().unwrap().success());
    refused(&house.portcullis(&["issue", "alice", "--csr", key.to_str().unwrap()]), "found a private key");
    // The same past the command line, straight to the API.
    let text = fs::read_to_string(&key).unwrap();
    let body = serde_json::json!({"id": "alice", "csr": text}).to_string();
    let answer = house.api_as_admin("POST", "/v1/certificates", Some(&body));
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert!(answer.body.contains("request_refused") && answer.body.contains("private key"), "{}", answer.body);
    let secret = text.lines().nth(1).unwrap();
    assert!(!answer.body.contains(secret), "the key came back");
    assert!(!house.log().contains(secret), "the key was logged");
}

#[test]
fn the_subject_of_a_request_is_ignored_and_said_so() {
    let house = Quickstart::start();
    house.portcullis(&["user", "add", "alice", "--group", "dev"]).succeeded();
    let (key, csr) = (house.path("root.key"), house.path("root.csr"));
    let mut request = Command::new("openssl");
    request.args(["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=root/O=system:masters", "-keyout"]);
    assert!(request.arg(&key).arg("-out").arg(&csr).output().unwrap().status.success());
    let ran = house.portcullis(&["issue", "alice", "--csr", csr.to_str().unwrap()]);
    let pem = ran.succeeded();
    assert!(ran.stderr.contains("CN=root, O=system:masters"), "{}", ran.stderr);
    let issued = house.path("issued.pem");
    fs::write(&issued, pem).unwrap();
    let shown = Command::new("openssl").args(["x509", "-noout", "-subject", "-in"]).arg(&issued).output().unwrap();
    let subject = String::from_utf8(shown.stdout).unwrap();
    assert!(subject.contains("CN = alice") && !subject.contains("system:masters"), "{subject}");
}

#[test]
fn names_that_could_deceive_are_refused_and_change_nothing() {
    let house = Quickstart::start();
    let before = everything(&house);
    let long = "a".repeat(300);
    let ids =
        ["Alice", "a\nb", "a\u{7}b", "аlice", "system:admin", "System:Admin", "-rf", "../x", "a b", long.as_str()];
    for id in ids {
        let body = serde_json::json!({"id": id}).to_string();
        let answer = house.api_as_admin("POST", "/v1/users", Some(&body));
        assert_eq!(answer.status, 400, "{id:?}: {}", answer.body);
    }
    let groups = [
        "system:masters",
        "SYSTEM:nodes",
        "ｓystem:masters",
        "a\nb",
        "a\u{202e}b",
        "gro\u{308}ße",
        " x",
        long.as_str(),
    ];
    for group in groups {
        let body = serde_json::json!({"id": "alice", "groups": [group]}).to_string();
        let answer = house.api_as_admin("POST", "/v1/users", Some(&body));
        assert_eq!(answer.status, 400, "{group:?}: {}", answer.body);
        assert!(!answer.body.contains('\u{202e}') && !answer.body.contains('\u{7}'), "{}", answer.body);
    }
    assert_eq!(everything(&house), before);
}

#[test]
fn several_mistakes_in_a_configuration_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authority.toml");
    fs::write(&file, "[listen]\napi = \"nowhere\"\npubic = \"127.0.0.1:1\"\n[store]\ndirr = \"/x\"\n").unwrap();
    let ran = portcullis(&["serve", "--config", file.to_str().unwrap()]);
    for words in ["listen.api", "listen.pubic", "listen.public", "store.dirr", "public.url"] {
        refused(&ran, words);
    }
}

#[test]
fn a_second_process_on_the_same_store_is_refused_and_the_first_goes_on() {
    let house = Quickstart::start();
    refused(&portcullis(&["quickstart", "--dir", house.dir().to_str().unwrap()]), "another process");
    house.portcullis(&["user", "add", "alice"]).succeeded();
    assert!(house.dir().join("addresses.json").exists());
}

#[test]
fn a_wrong_passphrase_is_refused_and_the_right_one_still_opens() {
    let mut house = Quickstart::start();
    house.portcullis(&["user", "add", "alice"]).succeeded();
    house.stop();
    let file = house.dir().join("passphrase");
    let right = fs::read(&file).unwrap();
    fs::write(&file, "another passphrase altogether\n").unwrap();
    refused(&portcullis(&house.arguments()), "passphrase is wrong");
    fs::write(&file, right).unwrap();
    house.start_again();
    assert!(house.portcullis(&["user", "list", "-o", "name"]).succeeded().contains("alice"));
}

#[test]
fn a_store_of_a_newer_format_is_refused_by_name_and_left_alone() {
    let mut house = Quickstart::start();
    house.stop();
    let mark = house.dir().join("store/mark");
    let before = fs::read(&mark).unwrap();
    // As a newer version would write it: another format in both slots, and the digest of what is before it.
    let mut newer = before.clone();
    for slot in [0, 4096] {
        newer[slot + 8..slot + 10].copy_from_slice(&2_u16.to_be_bytes());
        let digest = Fingerprint::of(&newer[slot..slot + 80]);
        newer[slot + 80..slot + 112].copy_from_slice(digest.octets());
    }
    fs::write(&mark, &newer).unwrap();
    refused(&portcullis(&house.arguments()), "newer version");
    assert_eq!(fs::read(&mark).unwrap(), newer, "the refused start changed the store");
    fs::write(&mark, before).unwrap();
    house.start_again();
}

/// Who asks.
enum Who {
    Stranger,
    User,
}

#[test]
fn every_route_lets_in_whom_it_should_and_nobody_else() {
    let house = Quickstart::start();
    for id in ["alice", "bob"] {
        house.portcullis(&["user", "add", id]).succeeded();
        let out = house.path(&format!("{id}.pem"));
        house.portcullis(&["issue", id, "--out", out.to_str().unwrap()]).succeeded();
    }
    house.portcullis(&["agency", "add", "acme"]).succeeded();
    let bobs = house.portcullis(&["cert", "list", "--id", "bob", "-o", "name"]).succeeded();
    let bobs = bobs.trim();
    for route in table() {
        let id = if route.path.contains("agencies") { "acme" } else { "bob" };
        let path = route.path.replace("{id}", id).replace("{name}", "demo").replace("{reference}", bobs);
        let body = (route.method != "GET" && route.method != "DELETE").then(|| body_for(route.path));
        for who in [Who::Stranger, Who::User] {
            let (status, answer) = match who {
                Who::Stranger => {
                    let answer = house.api(None, route.method.as_str(), &path, body.as_deref());
                    assert_eq!(answer.status, 401, "{} {path} to a stranger: {}", route.method, answer.body);
                    continue;
                }
                Who::User => {
                    let alice = house.path("alice.pem");
                    let answer = house.api(Some(&alice), route.method.as_str(), &path, body.as_deref());
                    (answer.status, answer.body)
                }
            };
            let wanted = expected_of_a_user(route.path, route.method.as_str(), route.permission);
            assert_eq!(status, wanted, "{} {path} to a user: {answer}", route.method);
        }
    }
}

/// A body that would be accepted from an admin, about somebody else than the user.
fn body_for(path: &str) -> String {
    let body = match path {
        "/v1/certificates" => serde_json::json!({"id": "bob", "server_key": true}),
        "/v1/revocations" => serde_json::json!({"target": {"kind": "user", "id": "bob"}}),
        "/v1/users" => serde_json::json!({"id": "carol"}),
        "/v1/agencies" => serde_json::json!({"id": "other"}),
        "/v1/clusters" => serde_json::json!({"name": "prod", "server": "https://prod.example:7444"}),
        _ => serde_json::json!({}),
    };
    body.to_string()
}

/// To a user without a role: 200 for their own, 404 for what is somebody else's, 403 for what only roles allow.
fn expected_of_a_user(path: &str, method: &str, permission: Permission) -> u16 {
    match (method, path) {
        // Their own certificates, and the cluster that their certificate is for.
        ("GET", "/v1/certificates" | "/v1/clusters" | "/v1/clusters/{name}") => 200,
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
            | Permission::AuthorityUpkeep => 403,
        },
    }
}

#[test]
fn what_is_somebody_elses_looks_like_what_does_not_exist() {
    let house = Quickstart::start();
    for id in ["alice", "bob"] {
        house.portcullis(&["user", "add", id]).succeeded();
        house.portcullis(&["issue", id, "--out", house.path(&format!("{id}.pem")).to_str().unwrap()]).succeeded();
    }
    let bobs = house.portcullis(&["cert", "list", "--id", "bob", "-o", "name"]).succeeded();
    let alice = house.path("alice.pem");
    let ask = |path: &str| house.api(Some(&alice), "GET", path, None);
    let (theirs, nobodys) =
        (ask(&format!("/v1/certificates/{}", bobs.trim())), ask(&format!("/v1/certificates/{}", "5".repeat(40))));
    assert_eq!((theirs.status, &theirs.body), (nobodys.status, &nobodys.body));
    let (theirs, nobodys) = (ask("/v1/users/bob"), ask("/v1/users/nobody"));
    assert_eq!((theirs.status, &theirs.body), (nobodys.status, &nobodys.body));
}

#[test]
fn destroying_asks_a_person_for_the_word_and_a_script_for_yes() {
    let house = Quickstart::start();
    house.portcullis(&["user", "add", "alice"]).succeeded();
    house.portcullis(&["issue", "alice", "--out", house.path("alice.pem").to_str().unwrap()]).succeeded();
    let state = || house.portcullis(&["cert", "list", "--id", "alice", "-o", "json"]).succeeded();
    let script = house.portcullis(&["revoke", "user", "alice"]);
    assert_eq!(script.status, 2, "{}", script.stderr);
    assert!(state().contains("\"good\""));
    let said_no = house.portcullis_at_a_terminal(&["revoke", "user", "alice"], "revoke\n");
    assert_ne!(said_no.status, 0, "{}", said_no.stdout);
    assert!(state().contains("\"good\""), "another word than REVOKE was enough");
    let said_so = house.portcullis_at_a_terminal(&["revoke", "user", "alice"], "REVOKE\n");
    assert_eq!(said_so.status, 0, "{}", said_so.stdout);
    assert!(state().contains("\"revoked\""));
}
