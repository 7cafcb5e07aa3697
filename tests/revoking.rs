//! Revoking: whom it hits and whom it spares, by whatever name, as often as one likes.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::run::{Said, run};
use support::{Demo, Kubeconfig};

#[test]
fn an_agencys_revocation_ends_its_own_and_its_members_credentials_and_nobody_elses() {
    let demo = Demo::start();
    demo.admin(["agency", "add", "acme", "--group", "contractors"]).ok();
    demo.admin(["agency", "add", "acme.two"]).ok();
    let ann = demo.user("ann", &["--agency", "acme"]);
    let ben = demo.user("ben", &["--agency", "acme"]);
    let own = demo.kubeconfig("acme", "acme.yaml");
    let cora = demo.user("cora", &["--agency", "acme.two"]);
    let dan = demo.user("dan", &["--group", "acme"]);

    let preview = demo.json(["revoke", "agency", "acme", "--dry-run"]);
    assert_eq!((&preview["certificates"], &preview["known"]), (&json!(3), &json!("present")), "{preview}");
    for standing in [&ann, &ben, &own] {
        assert!(is_in(&demo, standing), "a preview ends nothing");
    }
    let answer = demo.json(["revoke", "agency", "acme", "--yes"]);
    assert_eq!((&answer["certificates"], &answer["already"]), (&json!(3), &json!(false)), "{answer}");
    for (with, may) in [(&ann, false), (&ben, false), (&own, false), (&cora, true), (&dan, true)] {
        assert_eq!(is_in(&demo, with), may, "{}", with.path.display());
    }
    let again = demo.json(["revoke", "agency", "acme", "--yes"]);
    assert_eq!((&again["certificates"], &again["already"]), (&json!(0), &json!(true)), "{again}");
    assert!(is_in(&demo, &demo.kubeconfig("ann", "ann-new.yaml")), "what is issued afterwards works");

    // Joining or leaving an agency ends what was held before; leaving a group ends what carries it.
    demo.admin(["user", "edit", "dan", "--agency", "acme", "--yes"]).ok();
    assert!(!is_in(&demo, &dan));
    let grouped = demo.user("gina", &["--group", "ops", "--group", "dev"]);
    demo.admin(["user", "edit", "gina", "--remove-group", "ops", "--yes"]).ok();
    assert!(!is_in(&demo, &grouped));
    let without = demo.kubeconfig("gina", "gina-new.yaml");
    assert_eq!(demo.whoami(&without)["groups"], json!(["dev", "system:authenticated"]));
}

#[test]
fn an_id_that_was_deleted_or_never_seen_can_be_revoked_and_the_answer_says_what_that_means() {
    let demo = Demo::start();
    let dora = demo.user("dora", &[]);
    demo.admin(["user", "delete", "dora", "--yes"]).ok();
    assert!(!is_in(&demo, &dora), "deleting ends everything");
    let meaning = |id: &str| {
        let answer = demo.json(["revoke", "user", id, "--yes"]);
        assert_eq!((&answer["already"], &answer["certificates"]), (&json!(true), &json!(0)), "{answer}");
        answer["meaning"].as_str().expect("a meaning").to_owned()
    };
    assert!(meaning("dora").contains("was deleted at"), "{}", meaning("dora"));
    for strange in ["nobody", "Ünknown Person/../x", "-rf"] {
        let answer = demo.admin(["-o", "json", "revoke", "user", "--yes", "--", strange]).ok().json();
        assert!(answer["meaning"].as_str().is_some_and(|text| text.contains("never seen")), "{answer}");
        assert_eq!(answer["target"]["id"], strange, "{answer}");
    }
    demo.admin(["user", "add", "dora"]).ended(1).saying(&["--reuse"]);
    demo.admin(["user", "add", "dora", "--reuse"]).ok();
    let back = demo.kubeconfig("dora", "dora-new.yaml");
    assert!(is_in(&demo, &back) && !is_in(&demo, &dora), "another dora, another credential");

    // Nobody is asked on a script's behalf, and the last admin needs more than a yes.
    demo.admin(["revoke", "user", "dora"]).ended(2).saying(&["--yes"]);
    assert!(is_in(&demo, &back));
    demo.admin(["revoke", "user", "admin", "--yes"]).ended(1).saying(&["leave no admin", "--force"]);
    demo.admin(["user", "list"]).ok();
    demo.admin(["revoke", "user", "dora", "--yes", "--reason", "certificateHold"]).ended(2);
    demo.admin(["revoke", "user", "dora", "--yes", "--comment", &"x".repeat(501)]).ended(2).saying(&["500"]);
    assert!(is_in(&demo, &back));
}

#[test]
fn a_revocation_can_be_narrowed_to_a_cluster_or_widened_by_a_lock() {
    let demo = Demo::start();
    let anton = demo.user("anton", &[]);
    demo.admin(["cluster", "add", "far", "--server", "https://far.example.com:7444"]).ok();
    demo.admin(["kubeconfig", "anton", "--out", "which.yaml"]).ended(1).saying(&["--cluster"]);
    demo.admin(["kubeconfig", "anton", "--cluster", "far", "--out", "far.yaml"]).ok();
    let state = |file: &str| demo.json(["status", file])["status"]["state"].as_str().expect("a state").to_owned();
    let answer = demo.json(["revoke", "user", "anton", "--cluster", "far", "--yes"]);
    assert_eq!(answer["certificates"], 1, "{answer}");
    assert_eq!((state("far.yaml").as_str(), state("anton.yaml").as_str()), ("revoked", "good"));
    assert!(is_in(&demo, &anton));

    demo.admin(["user", "lock", "anton"]).ok();
    assert_eq!(state("anton.yaml"), "locked");
    demo.kubectl(&anton, ["auth", "whoami"]).ended(1).saying(&["locked since", "anton", "unlock"]);
    demo.admin(["kubeconfig", "anton", "--cluster", "demo", "--out", "locked.yaml"]).ended(1).saying(&["locked"]);
    demo.admin(["user", "unlock", "anton"]).ok();
    assert!(is_in(&demo, &anton), "a lock can be undone");

    let words = ["--reason", "affiliationChanged", "--comment", "left in November"];
    demo.admin(["revoke", "user", "anton", "--lock", "--yes"].iter().chain(&words)).ok().saying(&["locked"]);
    let shown = demo.json(["status", "anton.yaml"]);
    assert_eq!(shown["status"]["reason"], "affiliationChanged", "{shown}");
    assert!(!is_in(&demo, &anton));
    demo.admin(["kubeconfig", "anton", "--cluster", "demo", "--out", "later.yaml"]).ended(1).saying(&["locked"]);
    demo.admin(["user", "unlock", "anton"]).ok();
    assert!(!is_in(&demo, &anton), "unlocking brings nothing back that was revoked");
    demo.admin(["kubeconfig", "anton", "--cluster", "demo", "--out", "later.yaml"]).ok();
    assert!(is_in(&demo, &Kubeconfig::read(demo.file("later.yaml"))));
}

#[test]
fn one_certificate_is_revoked_by_serial_fingerprint_or_file_and_the_holders_others_stand() {
    let demo = Demo::start();
    let first = demo.user("frida", &[]);
    let others = ["two", "three", "four"].map(|name| demo.kubeconfig("frida", &format!("{name}.yaml")));
    let upper = first.serial().to_uppercase();
    let coloned = upper.as_bytes().chunks(2).map(String::from_utf8_lossy).collect::<Vec<_>>().join(":");
    let [second, third, fourth] = &others;
    let file = third.certificate.to_str().expect("a path").to_owned();
    for (named, hit) in [(coloned, &first), (second.credential_id(), second), (file, third)] {
        assert!(is_in(&demo, hit));
        let answer = demo.json(["revoke", "cert", &named, "--yes"]);
        assert_eq!((&answer["certificates"], &answer["already"]), (&json!(1), &json!(false)), "{named}: {answer}");
        assert!(!is_in(&demo, hit), "{named}");
        let again = demo.json(["revoke", "cert", &named, "--yes"]);
        assert_eq!(again["already"], true, "{again}");
    }
    assert!(is_in(&demo, fourth));
    demo.admin(["revoke", "cert", &"1".repeat(40), "--yes"]).ended(1).saying(&["1111"]);
    demo.admin(["revoke", "cert", "no-such-file.pem", "--yes"]).ended(2).saying(&["wanted a serial number"]);
}

#[test]
fn a_certificate_that_the_ca_signed_but_never_recorded_gets_nowhere() {
    let demo = Demo::start();
    demo.authorities();
    let alice = demo.user("alice", &["--group", "dev"]);
    // Whoever has stolen the key of the issuing CA, and its passphrase too.
    demo.write("ext.cnf", "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n");
    let pkey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "forged.key"];
    demo.openssl(["req", "-new", "-subj", "/O=dev/CN=alice", "-out", "forged.csr"].iter().chain(&pkey)).ok();
    // Even one that has the serial number of a certificate that stands.
    for serial in ["0x0102030405060708090a0b0c0d0e0f1011121314".to_owned(), format!("0x{}", alice.serial())] {
        let mut sign = demo.program("openssl");
        sign.args(["x509", "-req", "-in", "forged.csr", "-CA", "demo-1.pem", "-days", "7", "-extfile", "ext.cnf"]);
        sign.args(["-CAkey", "demo/ca/demo-1.key", "-passin", "file:demo/passphrase", "-set_serial", &serial]);
        run(sign.args(["-out", "forged.pem"])).ok();
        demo.openssl(["verify", "-CAfile", "chain.pem", "forged.pem"]).ok();

        let proxy = call(&demo, "proxy", "/version", &demo.file("forged.pem"), &demo.file("forged.key"));
        assert_eq!((&proxy["kind"], &proxy["code"]), (&json!("Status"), &json!(401)), "{proxy}");
        assert!(
            proxy["message"].as_str().is_some_and(|words| words.contains("not on the record for user alice")),
            "{proxy}"
        );
        let api = call(&demo, "api", "/v1/certificates", &demo.file("forged.pem"), &demo.file("forged.key"));
        assert_eq!(api["status"], 401, "{api}");
        assert!(api["detail"].as_str().is_some_and(|words| words.contains("not on the record")), "{api}");
    }
    let genuine = call(&demo, "proxy", "/version", &alice.certificate, &alice.key);
    assert_eq!(genuine["major"], "1", "{genuine}");
}

/// One request with a client certificate, its answer as JSON.
fn call(demo: &Demo, listener: &str, path: &str, certificate: &Path, key: &Path) -> Value {
    let paths = [certificate, key, &demo.file("infra.pem")].map(|path| path.to_str().expect("a path").to_owned());
    let [certificate, key, ca] = &paths;
    let url = format!("https://{}{path}", demo.address(listener));
    let answer = demo.fetch(&url, "answer.json", &["--cert", certificate, "--key", key, "--cacert", ca]);
    serde_json::from_slice(&std::fs::read(answer.body).expect("a body")).expect("a body in JSON")
}

/// Whether the proxy lets the holder in; refused means in words.
fn is_in(demo: &Demo, with: &Kubeconfig) -> bool {
    let said: Said = demo.kubectl(with, ["get", "--raw", "/version"]);
    match said.status {
        Some(0) => true,
        _ => {
            said.saying(&["You must be logged in to the server (certificate revoked"]);
            false
        }
    }
}
