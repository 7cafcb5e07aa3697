//! One truth, many channels: lists, OCSP and the management API say the same, to readers of other make.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::path::Path;
use std::time::Instant;

use support::public::{Answer, Authorities, Revision};
use support::run::{Said, run};
use support::{Demo, Kubeconfig, PATIENCE};

#[test]
fn lists_ocsp_and_the_api_agree_on_who_is_revoked_since_when_and_why() {
    let demo = Demo::start();
    let authorities = demo.authorities();
    let (alice, bob) = (demo.user("alice", &["--group", "größe"]), demo.user("bob", &[]));
    let path = demo.ocsp_path(&authorities.demo, &alice.certificate);
    let before = demo.get("/crl/demo-1.crl", "empty.crl", &[]);
    // An answer that is prepared and cached now must not outlive the revocation.
    assert_eq!(verdict(&get_ocsp(&demo, &authorities, &path, &alice)), "good");

    let answer = demo.json(["revoke", "user", "alice", "--yes", "--reason", "superseded"]);
    let revoked = Revision::read(answer["revision"].as_str().expect("a revision"));

    // The API, at once.
    for command in [&["status", "alice.yaml"][..], &["cert", "show", &alice.serial()]] {
        let shown = demo.json(command);
        assert_eq!((&shown["status"]["state"], &shown["status"]["reason"]), (&"revoked".into(), &"superseded".into()));
        assert!(Revision::read(shown["status"]["revision"].as_str().expect("a revision")) >= revoked, "{shown}");
        assert_eq!(shown["serial"], alice.serial(), "{shown}");
    }
    let since = demo.json(["status", "alice.yaml"])["status"]["since"].as_str().expect("since when").to_owned();
    assert_eq!(demo.json(["status", "bob.yaml"])["status"]["state"], "good");

    // OCSP, at once: over POST with a nonce and without, over GET, by OpenSSL and by GnuTLS.
    for nonce in ["-nonce", "-no_nonce"] {
        let said = post_ocsp(&demo, &authorities, &alice, nonce);
        assert_eq!((verdict(&said), reason(&said)), ("revoked", "superseded"), "{}", said.out);
        assert!(!said.err.to_lowercase().contains("nonce"), "a nonce comes back as it was: {}", said.err);
        assert_eq!(verdict(&post_ocsp(&demo, &authorities, &bob, nonce)), "good");
    }
    let said = get_ocsp(&demo, &authorities, &path, &alice);
    assert_eq!((verdict(&said), reason(&said)), ("revoked", "superseded"), "{}", said.out);
    let revision = demo.get(&path, "answer.der", &[]).revision();
    assert!(revision >= revoked, "{revision:?} says what {revoked:?} did");
    gnutls_ocsp(&demo, &authorities, &alice)
        .saying(&["Certificate Status: revoked", "Verifying OCSP Response: Success"]);
    gnutls_ocsp(&demo, &authorities, &bob).saying(&["Certificate Status: good", "Verifying OCSP Response: Success"]);

    // The list, a moment later.
    let list = demo.list_beyond("demo-1", revoked, "demo.crl");
    assert!(list.revision() > before.revision());
    let pem = demo.list_pem(&list);
    verify_against(&demo, &authorities, &pem, &alice).ended(2).saying(&["certificate revoked"]);
    verify_against(&demo, &authorities, &pem, &bob).ok().saying(&["OK"]);
    let text = demo.openssl(["crl", "-noout", "-text", "-in", "demo.pem"]).ok().out;
    assert_eq!(text.matches("Serial Number:").count(), 1, "{text}");
    assert!(text.contains(&format!("Serial Number: {}", alice.serial().to_uppercase())), "{text}");
    assert!(text.contains("Superseded"), "{text}");
    assert!(text.contains(&openssl_date(&demo, &since)), "revoked {since}: {text}");
    gnutls_list(&demo, &authorities, &pem).ok().saying(&["Verified", &alice.serial()]);

    // The folder has the same list as the listener.
    let written = fs::read(demo.dir().join("crl/demo-1.crl")).expect("the list on disk");
    assert_eq!(written, fs::read(&list.body).expect("the list"));
    let root = demo.get("/crl/root.crl", "root.crl", &[]);
    demo.openssl(["crl", "-inform", "DER", "-noout", "-in", "root.crl", "-CAfile", "root.pem"])
        .ok()
        .saying(&["verify OK"]);
    assert_eq!(root.header("content-type"), "application/pkix-crl");
}

#[test]
fn a_lists_number_is_its_revision_and_only_rises_and_nobody_fetches_it_twice() {
    let demo = Demo::start();
    let mut last = demo.get("/crl/demo-1.crl", "demo.crl", &[]);
    must_bear_its_number(&demo, &last);
    for id in ["alice", "bob", "carol"] {
        demo.user(id, &[]);
        let answer = demo.json(["revoke", "user", id, "--yes"]);
        let etag = last.header("etag").to_owned();
        let condition = format!("If-None-Match: {etag}");
        let next = changed(&demo, &condition);
        must_bear_its_number(&demo, &next);
        assert!(next.revision() > last.revision(), "{:?} after {:?}", next.revision(), last.revision());
        assert_ne!(next.header("etag"), etag);
        last = demo.list_beyond("demo-1", Revision::read(answer["revision"].as_str().expect("a revision")), "demo.crl");
        must_bear_its_number(&demo, &last);
    }
    let etag = format!("If-None-Match: {}", last.header("etag"));
    let modified = format!("If-Modified-Since: {}", last.header("last-modified"));
    for condition in [&etag, &modified] {
        let again = demo.get("/crl/demo-1.crl", "again.crl", &["-H", condition]);
        assert_eq!((again.status, again.header("content-length")), (304, ""), "{condition}");
        assert_eq!(again.revision(), last.revision());
    }
    let head = demo.get("/crl/demo-1.crl", "head.crl", &["-I"]);
    let length = fs::metadata(&last.body).expect("the list").len().to_string();
    assert_eq!((head.status, head.header("content-length")), (200, length.as_str()));
    for (path, status) in [("/crl/none-1.crl", 404), ("/crl/../ca/demo-1.key", 404), ("/ocsp", 405), ("/", 404)] {
        assert_eq!(demo.get(path, "none", &["--path-as-is"]).status, status, "{path}");
    }
}

#[test]
fn what_was_never_issued_is_unknown_and_what_another_issued_is_nobodys_business_here() {
    let demo = Demo::start();
    let authorities = demo.authorities();
    let bob = demo.user("bob", &[]);
    let url = format!("http://{}/ocsp", demo.address("public"));
    let ask = |issuer: &Path, serial: &str| {
        let mut openssl = demo.program("openssl");
        openssl.args(["ocsp", "-issuer"]).arg(issuer).args(["-serial", serial, "-url", &url, "-CAfile"]);
        run(openssl.arg(&authorities.chain))
    };
    // Never issued, nor issued by that one: neither may be good.
    let foreign = demo.json(["cert", "list"])["items"].as_array().expect("a list").iter().find_map(|found| {
        (found["role"] == "server").then(|| format!("0x{}", found["serial"].as_str().expect("a serial")))
    });
    for serial in ["0x1234", "0x7fffffffffffffffffffffffffffffffffffffff", &foreign.expect("a server certificate")] {
        ask(&authorities.demo, serial).ok().saying(&[": unknown", "Response verify OK"]);
    }
    ask(&authorities.demo, &format!("0x{}", bob.serial())).ok().saying(&[": good", "Response verify OK"]);

    let request = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=Portcullis demo CA 1",
    ];
    demo.openssl(request.iter().chain(&["-keyout", "other.key", "-out", "other.pem"])).ok();
    // The root's own are on its list, which lasts a year; it has no responder.
    for issuer in [&demo.file("other.pem"), &authorities.root] {
        ask(issuer, "0x1234").ended(1).saying(&["unauthorized"]);
    }
    let rubbish = demo.write("rubbish.der", b"no request");
    let body = format!("@{}", rubbish.display());
    let answer = demo.get("/ocsp", "error.der", &["--data-binary", &body]);
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/ocsp-response"));
    demo.openssl(["ocsp", "-respin", "error.der"]).ended(1).saying(&["malformedrequest"]);

    // What caches are told ends well within the answer's own life (RFC 9919 §6).
    let path = demo.ocsp_path(&authorities.demo, &bob.certificate);
    let answer = demo.get(&path, "cached.der", &[]);
    assert_eq!(answer.header("cache-control"), "max-age=60, public, no-transform, must-revalidate");
    let condition = format!("If-None-Match: {}", answer.header("etag"));
    assert_eq!(demo.get(&path, "again.der", &["-H", &condition]).status, 304);
    demo.json(["revoke", "cert", &bob.serial(), "--yes"]);
    let answer = demo.get(&path, "changed.der", &["-H", &condition]);
    assert_eq!(answer.status, 200, "a cached answer ends with what it said");
}

/// The first list that is another than the one named in the condition.
fn changed(demo: &Demo, condition: &str) -> Answer {
    let until = Instant::now() + PATIENCE;
    loop {
        let list = demo.get("/crl/demo-1.crl", "next.crl", &["-H", condition]);
        match list.status {
            200 => return list,
            status => assert_eq!(status, 304),
        }
        assert!(Instant::now() < until, "no new list after {PATIENCE:?}");
    }
}

#[track_caller]
fn must_bear_its_number(demo: &Demo, list: &Answer) {
    let Revision { era, number } = list.revision();
    let mut openssl = demo.program("openssl");
    let said = run(openssl.args(["crl", "-inform", "DER", "-noout", "-crlnumber", "-in"]).arg(&list.body)).ok();
    assert_eq!(said.out.trim(), format!("crlNumber=0x{era:08X}{number:016X}"));
    assert_eq!(list.header("etag"), format!("\"{era}-{number}\""));
}

fn post_ocsp(demo: &Demo, authorities: &Authorities, of: &Kubeconfig, nonce: &str) -> Said {
    let mut openssl = demo.program("openssl");
    openssl.args(["ocsp", nonce, "-issuer"]).arg(&authorities.demo).arg("-cert").arg(&of.certificate);
    openssl.arg("-CAfile").arg(&authorities.chain).arg("-url").arg(format!("http://{}/ocsp", demo.address("public")));
    run(&mut openssl).ok().saying(&["Response verify OK"])
}

fn get_ocsp(demo: &Demo, authorities: &Authorities, path: &str, of: &Kubeconfig) -> Said {
    let answer = demo.get(path, "response.der", &[]);
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/ocsp-response"));
    let mut openssl = demo.program("openssl");
    openssl.arg("ocsp").arg("-respin").arg(&answer.body).arg("-issuer").arg(&authorities.demo);
    openssl.arg("-cert").arg(&of.certificate).arg("-CAfile").arg(&authorities.chain);
    run(&mut openssl).ok().saying(&["Response verify OK"])
}

/// What openssl found: `good`, `revoked` or `unknown`.
#[track_caller]
fn verdict(said: &Said) -> &str {
    let line = said.out.lines().find_map(|line| line.split_once(": "));
    line.unwrap_or_else(|| panic!("no verdict in {}", said.out)).1
}

fn reason(said: &Said) -> &str {
    said.out.lines().find_map(|line| line.trim().strip_prefix("Reason: ")).unwrap_or_default()
}

fn gnutls_ocsp(demo: &Demo, authorities: &Authorities, of: &Kubeconfig) -> Said {
    let mut ocsptool = demo.program("ocsptool");
    ocsptool.arg(format!("--ask=http://{}/ocsp", demo.address("public"))).arg("--load-cert").arg(&of.certificate);
    ocsptool.arg("--load-issuer").arg(&authorities.demo);
    run(&mut ocsptool).ok()
}

fn gnutls_list(demo: &Demo, authorities: &Authorities, list: &Path) -> Said {
    let mut certtool = demo.program("certtool");
    certtool.arg("--verify-crl").arg("--load-ca-certificate").arg(&authorities.demo).arg("--infile").arg(list);
    run(&mut certtool)
}

fn verify_against(demo: &Demo, authorities: &Authorities, list: &Path, of: &Kubeconfig) -> Said {
    let mut openssl = demo.program("openssl");
    openssl.args(["verify", "-x509_strict", "-crl_check", "-CAfile"]).arg(&authorities.chain);
    run(openssl.arg("-CRLfile").arg(list).arg(&of.certificate))
}

/// RFC 3339 as openssl prints it, such as `Nov 22 07:55:36 2026 GMT`.
fn openssl_date(demo: &Demo, rfc3339: &str) -> String {
    let mut date = demo.program("date");
    run(date.args(["-u", "+%b %e %H:%M:%S %Y GMT", "-d", rfc3339])).ok().out.trim().to_owned()
}
