//! What a user may do with nothing but their own credential.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::run::Said;
use support::{Demo, Kubeconfig};

#[test]
fn a_user_reaches_their_own_credentials_and_to_them_nobody_elses_exist() {
    let demo = Demo::start();
    let (alice, bob) = (demo.user("alice", &[]), demo.user("bob", &[]));
    let profile = alice.as_profile(&demo);
    let hers = |arguments: &[&str]| demo.with_profile(&profile, arguments);

    let listed = hers(&["cert", "list", "-o", "name"]).ok();
    assert_eq!(listed.out.trim(), alice.serial(), "hers and no other");
    let shown = hers(&["cert", "show", &alice.serial(), "-o", "json"]).ok().json();
    assert_eq!((&shown["id"], &shown["status"]["state"]), (&json!("alice"), &json!("good")));

    // What is not hers is refused in the very words for what does not exist.
    let absent = hers(&["cert", "show", &"1".repeat(40)]).ended(1).err;
    let serial = bob.serial();
    for foreign in [
        &["cert", "show", &serial][..],
        &["status", "bob.yaml"],
        &["cert", "list", "--id", "bob"],
        &["revoke", "cert", &serial, "--yes"],
        &["revoke", "user", "bob", "--yes"],
        &["revoke", "user", "bob", "--dry-run"],
        &["kubeconfig", "bob", "--out", "stolen.yaml"],
        &["user", "show", "bob"],
        &["user", "show", "nobody"],
    ] {
        assert_eq!(hers(foreign).ended(1).err, absent, "{foreign:?}");
    }
    assert!(!demo.file("stolen.yaml").exists());
    // What she may never do is told apart.
    for beyond in [
        &["user", "list"][..],
        &["user", "add", "eve"],
        &["user", "lock", "bob"],
        &["user", "edit", "alice", "--add-role", "admin"],
        &["revoke", "agency", "acme", "--yes"],
        &["group", "list"],
        &["cluster", "add", "c", "--server", "https://c.example.com"],
        &["issue", "alice", "--management", "--out", "more.toml"],
    ] {
        hers(beyond).ended(1).saying(&["alice may not do this"]);
    }
    assert!(!demo.file("more.toml").exists());
    assert_eq!(demo.whoami(&bob)["username"], "bob");

    // Her own revocation of everything of hers.
    let second = demo.kubeconfig("alice", "alice-2.yaml");
    let answer = hers(&["revoke", "cert", &second.serial(), "--yes", "-o", "json"]).ok().json();
    assert_eq!(answer["certificates"], 1, "{answer}");
    must_be_revoked(demo.kubectl(&second, ["auth", "whoami"]));
    let third = demo.kubeconfig("alice", "alice-3.yaml");
    let answer = hers(&["revoke", "user", "alice", "--yes", "-o", "json"]).ok().json();
    assert_eq!((&answer["certificates"], &answer["already"]), (&json!(2), &json!(false)), "{answer}");
    for ended in [&alice, &third] {
        must_be_revoked(demo.kubectl(ended, ["auth", "whoami"]));
    }
    hers(&["cert", "list"]).ended(1).saying(&["revoked"]);
    assert_eq!(demo.whoami(&bob)["username"], "bob");
}

#[test]
fn a_renewed_credential_works_beside_the_old_one_and_dies_with_it() {
    let demo = Demo::start();
    demo.user("alice", &["--group", "dev"]);
    let server = format!("https://{}", demo.address("api"));
    let renew = |file: &str| {
        let mut renewal = demo.program(support::PORTCULLIS);
        support::run::run(renewal.args(["renew", file, "--server", &server]))
    };
    renew("alice.yaml").ok().saying(&["renewed", "alice.yaml.backup-1"]);
    let renewed = Kubeconfig::read(demo.file("alice.yaml"));
    let old = Kubeconfig::read(backup(&demo, "alice.yaml.backup-1", "old.yaml"));
    assert_eq!(mode(&demo.file("alice.yaml")), 0o600);
    assert_ne!(renewed.key_pem, old.key_pem, "with a key of its own");
    assert_eq!(demo.whoami(&renewed)["groups"], json!(["dev", "system:authenticated"]));
    assert_eq!(demo.whoami(&old)["username"], "alice");

    // A second renewal, from the first; and one that an admin has issued, which came from neither.
    renew("alice.yaml").ok();
    let twice = Kubeconfig::read(backup(&demo, "alice.yaml", "twice.yaml"));
    let apart = demo.kubeconfig("alice", "apart.yaml");
    let answer = demo.json(["revoke", "cert", &old.serial(), "--yes"]);
    assert_eq!(answer["certificates"], 3, "what was obtained with it ends too: {answer}");
    for ended in [&old, &renewed, &twice] {
        must_be_revoked(demo.kubectl(ended, ["auth", "whoami"]));
    }
    assert_eq!(demo.whoami(&apart)["username"], "alice");
    renew("alice.yaml").ended(1).saying(&["revoked"]);
}

#[test]
fn a_role_counts_while_it_is_held_and_only_with_a_management_certificate() {
    let demo = Demo::start();
    let alice = demo.user("alice", &["--group", "dev"]);
    demo.admin(["issue", "alice", "--management", "--out", "none.toml"]).ended(1).saying(&["has no role"]);
    demo.admin(["user", "edit", "alice", "--add-role", "admin", "--yes"]).ok();
    demo.admin(["issue", "alice", "--management", "--out", "alice.toml"]).ok();
    let profile = demo.file("alice.toml");
    assert_eq!(mode(&profile), 0o600);
    demo.with_profile(&profile, ["user", "list", "-o", "name"]).ok().saying(&["admin", "alice"]);
    // The kubeconfig of an admin is a user's: whoever steals it has stolen no role.
    demo.with_profile(&alice.as_profile(&demo), ["user", "list"]).ended(1).saying(&["may not"]);

    let renewal = demo.with_profile(&profile, ["renew", "alice.toml"]).ok();
    renewal.saying(&["renewed alice.toml", "alice.toml.backup-1"]);
    demo.with_profile(&profile, ["user", "list"]).ok();
    demo.admin(["user", "edit", "alice", "--remove-role", "admin", "--yes"]).ok();
    demo.with_profile(&profile, ["user", "list"]).ended(1).saying(&["may not"]);
    let listed = demo.with_profile(&profile, ["cert", "list", "-o", "json"]).ok().json();
    let all = listed["items"].as_array().expect("a list");
    assert!(all.len() == 3 && all.iter().all(|found: &Value| found["id"] == "alice"), "{listed}");
    demo.with_profile(&profile, ["user", "show", "alice"]).ok().saying(&["alice", "dev"]);
    demo.with_profile(&profile, ["user", "show", "admin"]).ended(1);
    demo.admin(["revoke", "user", "alice", "--yes"]).ok();
    demo.with_profile(&profile, ["cert", "list"]).ended(1).saying(&["revoked"]);
    // A management certificate is for the management API only.
    let admin = demo.json(["cert", "list", "--id", "admin"]);
    assert_eq!(admin["items"][0]["role"], "management", "{admin}");
}

#[track_caller]
fn must_be_revoked(said: Said) {
    said.ended(1).saying(&["certificate revoked", "for user alice"]);
}

/// A copy that no renewal replaces.
fn backup(demo: &Demo, from: &str, to: &str) -> std::path::PathBuf {
    std::fs::copy(demo.file(from), demo.file(to)).expect("a copy");
    demo.file(to)
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).expect("a file").permissions().mode() & 0o777
}
