//! The main job: whoever is revoked is out at once and stays out, and nobody else notices.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::run::Live;
use support::{Demo, Kubeconfig};

#[test]
fn a_revoked_user_is_out_at_once_and_stays_out_whatever_happens_to_the_process() {
    let mut demo = Demo::start();
    let old = demo.user("alice", &["--group", "dev", "--group", "a,b", "--group", "größe"]);
    let bob = demo.user("bob", &[]);
    let extra = json!({"authentication.kubernetes.io/credential-id": [old.credential_id()]});
    let groups = ["a,b", "dev", "größe", "system:authenticated"];
    assert_eq!(demo.whoami(&old), json!({"username": "alice", "groups": groups, "extra": extra}));

    let answer = demo.json(["revoke", "user", "alice", "--yes", "--reason", "keyCompromise"]);
    must_tell_all_of_a_revocation(&answer);

    must_be_out(&demo, &old);
    assert_eq!(demo.whoami(&bob)["username"], "bob");
    let new = demo.kubeconfig("alice", "alice-new.yaml");
    assert_eq!(demo.whoami(&new)["username"], "alice");

    let ports = fs::read_to_string(demo.dir().join("addresses.json")).expect("addresses");
    demo.stop();
    demo.start_again();
    assert!(ports_are(&demo, &ports), "a restart uses the same ports");
    for ended in [Demo::stop, Demo::kill] {
        must_be_out(&demo, &old);
        assert_eq!(demo.whoami(&bob)["username"], "bob");
        assert_eq!(demo.whoami(&new)["username"], "alice");
        ended(&mut demo);
        demo.start_again();
    }
    must_be_out(&demo, &old);
    assert_eq!(demo.whoami(&new)["username"], "alice");

    // What was acknowledged is durable: no tidying up is needed for it.
    demo.json(["revoke", "user", "alice", "--yes"]);
    demo.kill();
    demo.start_again();
    must_be_out(&demo, &new);
    assert_eq!(demo.whoami(&bob)["username"], "bob");
}

fn ports_are(demo: &Demo, ports: &str) -> bool {
    fs::read_to_string(demo.dir().join("addresses.json")).is_ok_and(|now| now == ports)
}

/// Every field that scripts depend on, and no other.
fn must_tell_all_of_a_revocation(answer: &Value) {
    let fields: Vec<&str> = answer.as_object().expect("an object").keys().map(String::as_str).collect();
    let wanted = ["already", "certificates", "expired", "meaning", "proxies", "revision", "target", "tokens"];
    let mut sorted = fields.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, wanted, "{answer}");
    assert_eq!(answer["target"], json!({"kind": "user", "id": "alice"}));
    assert_eq!((&answer["already"], &answer["certificates"]), (&json!(false), &json!(1)), "{answer}");
    assert_eq!((&answer["expired"], &answer["tokens"]), (&json!(0), &json!(0)), "{answer}");
    let proxies = answer["proxies"].as_array().expect("a list");
    assert_eq!(proxies.len(), 1, "{answer}");
    for proxy in proxies {
        assert_eq!(proxy["state"], "confirmed", "{answer}");
        assert!(proxy["after_ms"].is_u64() && proxy["closed"].is_u64(), "{answer}");
    }
}

/// The next call is refused in words that kubectl shows: since when, whose, and what to do.
#[track_caller]
fn must_be_out(demo: &Demo, with: &Kubeconfig) {
    for arguments in [["auth", "whoami"].as_slice(), &["get", "--raw", "/version"], &["get", "--raw", "/watch"]] {
        let said = demo.kubectl(with, arguments).ended(1);
        let said = said.saying(&["You must be logged in to the server", "for user alice", "ask an administrator"]);
        let (_, since) = said.err.split_once("certificate revoked ").expect("since when");
        let moment: String = since.chars().take("2026-11-22T04:00:00Z".len()).collect();
        let pattern: String = moment.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(pattern, "0000-00-00T00:00:00Z", "{}", said.err);
        assert_eq!(said.out, "", "nothing of the API server's gets out");
    }
}

#[test]
fn a_live_watch_ends_on_revocation_and_the_one_beside_it_misses_no_line() {
    let demo = Demo::start();
    let (alice, bob) = (demo.user("alice", &[]), demo.user("bob", &[]));
    let his = Live::start(&mut demo.kubectl_command(&bob, ["get", "--raw", "/watch"]));
    let hers = Live::start(&mut demo.kubectl_command(&alice, ["get", "--raw", "/watch"]));
    for number in 1..=2 {
        assert_eq!(tick(his.next_line()), number);
        assert_eq!(tick(hers.next_line()), number);
    }
    // Asked at once, while the stream is fresh from its last line: the next one is most of a second away.
    let answer = demo.json(["revoke", "user", "alice", "--yes"]);
    assert_eq!(answer["proxies"][0]["state"], "confirmed", "{answer}");
    assert_eq!(answer["proxies"][0]["closed"], 1, "{answer}");

    let last = hers.next_line().expect("a last word");
    let last: Value = serde_json::from_str(&last).expect("an event");
    assert_eq!((&last["type"], &last["object"]["code"]), (&json!("ERROR"), &json!(401)), "{last}");
    assert_eq!(hers.next_line(), None, "nothing comes after the last word");
    let said = hers.wait();
    assert_eq!(said.status, Some(1), "a cut is no clean end: {}", said.err);

    for number in 3..=5 {
        assert_eq!(tick(his.next_line()), number, "his stream misses nothing and goes on");
    }
    let locked = demo.json(["user", "lock", "bob"]);
    assert!(locked["revision"].is_string(), "{locked}");
    while his.next_line().is_some() {}
    demo.kubectl(&bob, ["auth", "whoami"]).ended(1).saying(&["locked", "bob"]);
    demo.json(["user", "unlock", "bob"]);
    assert_eq!(demo.whoami(&bob)["username"], "bob", "a lock can be undone");
}

/// The number of a line of the demo's watch.
#[track_caller]
fn tick(line: Option<String>) -> u64 {
    let line = line.expect("another line");
    let event: Value = serde_json::from_str(&line).expect("an event");
    event["object"]["n"].as_u64().unwrap_or_else(|| panic!("wanted a numbered event, found {line}"))
}
