use super::*;

fn how(line: &str) -> RevokeHow {
    use clap::Parser;
    let line = format!("portcullis revoke user ana {line}");
    match args::Cli::try_parse_from(line.split_whitespace()).unwrap().command {
        args::Command::Revoke(args::Revoke::User(targets)) => targets.how,
        other => panic!("{other:?}"),
    }
}

fn answer(states: &[&str]) -> RevokeAnswer {
    let proxy = |state: &&str| wire::ProxyEnforcement {
        name: "prod-a".to_owned(),
        state: (*state).to_owned(),
        after_ms: 12,
        closed: 3,
        reason: None,
        bound_ms: Some(30_000),
    };
    RevokeAnswer {
        revision: "1700000000-9".to_owned(),
        target: wire::Target { kind: "user".to_owned(), id: "ana".to_owned() },
        already: false,
        expired: Some(1),
        certificates: Some(2),
        tokens: 0,
        proxies: states.iter().map(proxy).collect(),
        meaning: "ana is out".to_owned(),
    }
}

#[test]
fn a_proxy_that_did_not_confirm_makes_it_not_done() {
    assert_eq!(exit(&[answer(&["confirmed", "fenced"])], &how("")), Exit::Done);
    assert_eq!(exit(&[answer(&[])], &how("")), Exit::Done);
    assert_eq!(exit(&[answer(&["confirmed"]), answer(&["unconfirmed"])], &how("")), Exit::NotYetEnforced);
    assert_eq!(exit(&[answer(&["unconfirmed"])], &how("--no-wait")), Exit::Done);
}

#[test]
fn what_is_sent_is_what_was_typed() {
    let target = answer(&[]).target;
    let sent = request(&target, &how("--cluster prod --reason keyCompromise --comment gone --lock --force --wait 5s"));
    let json = serde_json::to_value(&sent).unwrap();
    let wanted = serde_json::json!({
        "target": {"kind": "user", "id": "ana"}, "cluster": "prod", "reason": "keyCompromise", "comment": "gone",
        "lock": true, "force": true, "dry_run": false, "no_wait": false, "wait_ms": 5000,
    });
    assert_eq!(json, wanted);
}

#[test]
fn ids_that_were_never_seen_can_be_revoked_and_doubles_are_one() {
    let ids = vec!["Ana Ünknown".to_owned(), "Ana Ünknown".to_owned()];
    assert_eq!(targets("user", ids).unwrap().len(), 1);
    let invisible = vec!["a\u{202e}b".to_owned()];
    assert!(matches!(targets("user", invisible), Err(Failure::Usage(_))));
}

#[test]
fn an_answer_is_the_apis_own_body() {
    let json: serde_json::Value = serde_json::from_str(&output::json(&answer(&["confirmed"])).unwrap()).unwrap();
    assert_eq!(json["target"]["id"], "ana");
    assert_eq!(json["proxies"][0]["after_ms"], 12);
    let sheet = format!("{:?}", answer(&["unconfirmed"]).table());
    assert!(sheet.contains("unconfirmed, at most 30s more"), "{sheet}");
}
