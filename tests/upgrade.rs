//! What an earlier version has written is read by this one: every store in `tests/fixtures/` opens, and says what it said.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::run::run;
use support::site::Site;

#[test]
fn a_store_of_every_format_opens_and_says_what_it_said() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut opened = 0;
    for entry in fs::read_dir(folder).expect("the fixtures") {
        let path = entry.expect("a fixture").path();
        if path.extension().is_some_and(|extension| extension == "gz") {
            // As it was left; with an index to be made anew; and from the journal alone.
            for lost in [&[][..], &["index"], &["index", "checkpoint", "answers", "journal/spare"]] {
                opens(&path, lost);
                opened += 1;
            }
        }
    }
    assert!(opened >= 3);
}

fn opens(fixture: &Path, lost: &[&str]) {
    let mut site = Site::new();
    run(site.program("tar").arg("--extract").arg("--file").arg(fixture)).ok();
    for name in lost {
        let path = site.file("store").join(name);
        if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.expect("what is lost");
    }
    // A checkout does not keep modes.
    fs::set_permissions(site.file("passphrase"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
    let text = fs::read_to_string(site.file("authority.toml")).expect("the settings");
    let port = text.split("url = \"http://127.0.0.1:").nth(1).and_then(|rest| rest.split('"').next());
    let own = format!("url = \"http://127.0.0.1:{}\"", port.expect("the public port"));
    site.write("authority.toml", &text.replace(&own, "url = \"http://crl.example.com:7080\""));

    let found = site.run(&["store", "verify", "--config", "authority.toml", "-o", "json"]).ok().json();
    assert_eq!(found["damage"], Value::Array(Vec::new()), "{found}");
    assert!(found["commits"].as_u64().is_some_and(|commits| commits > 25), "{found}");
    site.serve();
    site.run(&["recover", "admin", "ana", "--config", "authority.toml", "--out", "ana.toml"]).ok();
    let users = site.ana(&["user", "list", "-o", "name"]).ok().out;
    assert_eq!(users, "alice\nana\nbob\ncarol\ndave\n");
    let alice = site.ana(&["user", "show", "alice", "-o", "json"]).ok().json();
    assert_eq!(alice["groups"], serde_json::json!(["dev", "größe, b"]), "{alice}");
    let acme = site.ana(&["agency", "show", "acme", "-o", "json"]).ok().json();
    assert_eq!(acme["members"], serde_json::json!(["carol"]), "{acme}");
    // What was good ended a year after it was made, and so did what is locked.
    let states = [("alice", "good"), ("bob", "revoked"), ("carol", "locked"), ("dave", "revoked"), ("erin", "revoked")];
    for (id, state) in states {
        let serial = fs::read_to_string(site.file(&format!("{id}.serial"))).expect("a serial number");
        let shown = site.ana(&["status", serial.trim(), "-o", "json"]).ok().json();
        let found = shown["status"]["state"].as_str().expect("a state");
        assert!(found == state || (found == "expired" && state != "revoked"), "{id} after losing {lost:?}: {shown}");
        assert_eq!((&shown["id"], &shown["cluster"]), (&Value::from(id), &Value::from("prod")), "{shown}");
    }
    let proxies = site.ana(&["proxy", "list", "-o", "json"]).ok().out;
    assert!(proxies.contains("prod-a"), "{proxies}");
    // And it goes on: the lock and the revocation hold, and who may is issued to.
    site.ana(&["kubeconfig", "carol", "--cluster", "prod", "--out", "carol.yaml"]).ended(1).saying(&["locked"]);
    site.ana(&["kubeconfig", "bob", "--cluster", "prod", "--out", "bob.yaml"]).ok();
    site.ana(&["revoke", "user", "alice", "--yes"]).ok();
    site.stop();
}
