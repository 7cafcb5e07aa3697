//! What the product signs, shown to readers and linters of other make: OpenSSL, Go, pkilint.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use support::public::{Authorities, Revision};
use support::run::{Said, run, tool};
use support::{Demo, Kubeconfig};

#[test]
fn every_chain_verifies_strictly_and_go_reads_the_same_names_from_it() {
    let demo = Demo::start();
    let authorities = demo.authorities();
    demo.admin(["agency", "add", "acme"]).ok();
    let alice = demo.user("alice", &["--group", "dev", "--group", "a,b", "--group", "größe", "--agency", "acme"]);
    let verify = |purpose: &str, issuer: &Path, leaf: &Path| {
        let mut openssl = demo.program("openssl");
        openssl
            .args(["verify", "-x509_strict", "-check_ss_sig", "-purpose", purpose, "-CAfile"])
            .arg(&authorities.root);
        run(openssl.arg("-untrusted").arg(issuer).arg(leaf))
    };
    let verify_infra = |purpose: &str, leaf: &Path| {
        let mut openssl = demo.program("openssl");
        openssl.args(["verify", "-x509_strict", "-check_ss_sig", "-purpose", purpose, "-CAfile"]);
        run(openssl.arg(&authorities.infra).arg(leaf))
    };
    verify("sslclient", &authorities.demo, &alice.certificate).ok();
    verify_infra("sslclient", &management(&demo)).ok();
    for listener in ["api", "proxy", "upstream"] {
        verify_infra("sslserver", &served(&demo, listener)).ok();
    }
    // And no further than that.
    verify("sslserver", &authorities.demo, &alice.certificate).ended(2);
    verify_infra("sslclient", &alice.certificate).ended(2);
    verify_infra("sslclient", &served(&demo, "proxy")).ended(2);
    // The root vouches for nothing of the infrastructure's, nor the other way round.
    verify("sslserver", &authorities.infra, &served(&demo, "proxy")).ended(2);

    let names = go(&demo, &authorities.demo, None, &alice).ok().json();
    assert_eq!((&names["user"], &names["groups"]), (&json!("alice"), &json!(["a,b", "dev", "größe"])), "{names}");
    assert_eq!(names["credential_id"], alice.credential_id(), "{names}");
    assert_eq!((&names["verified"], &names["serial"]), (&json!(true), &json!(alice.serial())), "{names}");
    assert_eq!(names["groups"], demo.json(["cert", "show", &alice.serial()])["groups"]);
    go(&demo, &authorities.root, Some(&authorities.demo), &alice).ok();
    go(&demo, &authorities.infra, None, &alice).ended(1);

    let subject = demo.openssl(["x509", "-in", "alice.crt", "-noout", "-subject", "-nameopt", "RFC2253,-esc_msb"]).ok();
    assert_eq!(subject.out.trim(), "subject=CN=alice,OU=acme,O=größe,O=dev,O=a\\,b");
    let text = demo.openssl(["x509", "-in", "alice.crt", "-noout", "-text"]).ok().out;
    let public = demo.address("public");
    for wanted in ["CA:FALSE", "Digital Signature", "TLS Web Client Authentication", "X509v3 Authority Key Identifier"]
    {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    for place in ["crl/demo-1.crl", "ocsp", "ca/demo-1.crt"] {
        assert!(text.contains(&format!("URI:http://{public}/{place}")), "{place} in {text}");
    }
    assert!(!text.contains("Server Authentication") && !text.contains("Certificate Sign"), "{text}");
}

#[test]
fn a_client_on_openssl_gets_in_with_what_is_in_a_kubeconfig() {
    let demo = Demo::start();
    let alice = demo.user("alice", &[]);
    let (host, port) = demo.address("proxy").rsplit_once(':').expect("a port");
    let script = "import socket, ssl, sys\n\
        ca, certificate, key, host, port = sys.argv[1:]\n\
        context = ssl.create_default_context(cafile=ca)\n\
        context.load_cert_chain(certificate, key)\n\
        stream = context.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host)\n\
        stream.sendall(b'GET /version HTTP/1.1\\r\\nHost: proxy\\r\\nConnection: close\\r\\n\\r\\n')\n\
        print(stream.recv(100).split()[1].decode())\n";
    let mut python = demo.program("python3");
    python.args(["-c", script]).arg(&alice.ca).arg(&alice.certificate).arg(&alice.key).args([host, port]);
    assert_eq!(run(&mut python).ok().out.trim(), "200");
}

#[test]
fn a_linter_finds_nothing_in_what_is_signed_and_something_in_what_is_not_ours() {
    let demo = Demo::start();
    let authorities = demo.authorities();
    demo.admin(["agency", "add", "acme"]).ok();
    let alice = demo.user("alice", &["--group", "größe", "--group", "a,b", "--agency", "acme"]);
    let bob = demo.user("bob", &[]);
    let empty = demo.get("/crl/demo-1.crl", "empty.crl", &[]).body;
    let mut revoked = Revision { era: 0, number: 0 };
    for options in [["--reason", "keyCompromise"], ["--comment", "without a reason"]] {
        let answer = demo.json(["revoke", "user", "alice", "--yes"].iter().chain(&options));
        revoked = Revision::read(answer["revision"].as_str().expect("a revision"));
        demo.kubeconfig("alice", &format!("alice-{}.yaml", revoked.number));
    }
    let full = demo.list_beyond("demo-1", revoked, "full.crl").body;
    let others = ["root", "infra"].map(|name| demo.get(&format!("/crl/{name}.crl"), &format!("{name}.crl"), &[]).body);

    let answers = [
        ("good", bob.serial()),
        ("revoked", alice.serial()),
        ("unknown", "0102030405060708090a0b0c0d0e0f1011121314".to_owned()),
    ];
    let answers = answers.map(|(verdict, serial)| answer(&demo, &authorities, verdict, &serial));
    let [good, ..] = &answers;
    let certificates = [&authorities.root, &authorities.infra, &authorities.demo].map(Clone::clone);
    let certificates = certificates.into_iter().chain([
        leaf(&demo, &alice, "alice-leaf.pem"),
        leaf(&demo, &bob, "bob-leaf.pem"),
        management(&demo),
        responder(&demo, good),
        served(&demo, "api"),
        served(&demo, "proxy"),
        served(&demo, "upstream"),
    ]);
    let mut files: Vec<String> = certificates.map(|path| kind("cert", &path)).collect();
    files.extend([empty, full].iter().chain(&others).map(|path| kind("crl", path)));
    files.extend(answers.iter().map(|path| kind("ocsp", path)));
    let said = lint(&demo, &files).ok();
    assert_eq!(said.out.lines().filter(|line| line.ends_with(": nothing")).count(), 17, "{}", said.out);

    // The linter does find what is wrong.
    for planted in planted(&demo, good) {
        let said = lint(&demo, std::slice::from_ref(&planted));
        assert!(said.status == Some(1) && !said.out.contains("nothing"), "{planted}: {}{}", said.out, said.err);
    }
}

/// A certificate, a list and an answer with one fault each, made by openssl or out of ours.
fn planted(demo: &Demo, good: &Path) -> Vec<String> {
    let request =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "bad.key"];
    let faults = [
        "-subj",
        "/CN=bad",
        "-set_serial",
        "0",
        "-addext",
        "keyUsage=keyCertSign",
        "-addext",
        "basicConstraints=CA:FALSE",
    ];
    demo.openssl(request.iter().chain(&faults).chain(&["-out", "bad.pem"])).ok();
    // A list without a number.
    demo.write("index.txt", "");
    demo.write("ca.cnf", "[ca]\ndefault_ca=it\n[it]\ndatabase=index.txt\ndefault_md=sha256\ndefault_crl_days=1\n");
    let list = ["ca", "-config", "ca.cnf", "-gencrl", "-cert", "bad.pem", "-keyfile", "bad.key", "-out", "bad.crl"];
    demo.openssl(list).ok();
    // An answer whose nextUpdate lies before its thisUpdate: the last of the three moments in it.
    let mut answer = fs::read(good).expect("an answer");
    let moments: Vec<usize> =
        answer.windows(2).enumerate().filter(|(_, octets)| *octets == [0x18, 0x0f]).map(|(at, _)| at).collect();
    let at = moments.get(2).expect("producedAt, thisUpdate and nextUpdate") + 2;
    answer.splice(at..at + 4, *b"1999");
    let answer = demo.write("bad-answer.der", answer);
    vec![kind("cert", &demo.file("bad.pem")), kind("crl", &demo.file("bad.crl")), kind("ocsp", &answer)]
}

fn kind(kind: &str, path: &Path) -> String {
    format!("{kind}={}", path.display())
}

fn lint(demo: &Demo, files: &[String]) -> Said {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/lint.py");
    let mut python = demo.program(tool("PORTCULLIS_TEST_PKILINT").join("python"));
    run(python.arg("-B").arg(script).args(files))
}

/// An OCSP answer that says this of a serial number.
fn answer(demo: &Demo, authorities: &Authorities, verdict: &str, serial: &str) -> PathBuf {
    let path = demo.file(&format!("{verdict}.der"));
    let mut openssl = demo.program("openssl");
    openssl.args(["ocsp", "-no_nonce", "-issuer"]).arg(&authorities.demo).args(["-serial", &format!("0x{serial}")]);
    openssl.arg("-CAfile").arg(&authorities.chain).arg("-url").arg(format!("http://{}/ocsp", demo.address("public")));
    run(openssl.arg("-respout").arg(&path)).ok().saying(&[&format!(": {verdict}")]);
    path
}

/// The responder's certificate, out of an answer.
fn responder(demo: &Demo, answer: &Path) -> PathBuf {
    let mut openssl = demo.program("openssl");
    let said = run(openssl.args(["ocsp", "-noverify", "-resp_text", "-respin"]).arg(answer)).ok();
    demo.write("responder.pem", first_certificate(&said.out))
}

/// The certificate of the admin's profile.
fn management(demo: &Demo) -> PathBuf {
    let profile = fs::read_to_string(demo.dir().join("profile.toml")).expect("a profile");
    let (_, from) = profile.split_once("certificate = ").expect("a certificate");
    demo.write("management.pem", first_certificate(from))
}

/// What a listener presents.
fn served(demo: &Demo, listener: &str) -> PathBuf {
    let said = demo.openssl(["s_client", "-connect", demo.address(listener), "-showcerts"]);
    demo.write(&format!("{listener}.pem"), first_certificate(&said.out))
}

#[track_caller]
fn first_certificate(text: &str) -> String {
    const END: &str = "-----END CERTIFICATE-----";
    let from = text.find("-----BEGIN CERTIFICATE-----").unwrap_or_else(|| panic!("no certificate in {text}"));
    let rest = text.split_at(from).1;
    let until = rest.find(END).expect("its end");
    format!("{}{END}\n", rest.split_at(until).0)
}

fn go(demo: &Demo, ca: &Path, intermediates: Option<&Path>, of: &Kubeconfig) -> Said {
    let mut certnames = demo.program(tool("PORTCULLIS_TEST_CERTNAMES"));
    certnames.arg("-ca").arg(ca);
    if let Some(intermediates) = intermediates {
        certnames.arg("-intermediates").arg(intermediates);
    }
    run(certnames.arg(leaf(demo, of, "leaf.pem")))
}

/// Without its issuer.
fn leaf(demo: &Demo, of: &Kubeconfig, name: &str) -> PathBuf {
    let both = fs::read_to_string(&of.certificate).expect("a certificate");
    demo.write(name, first_certificate(&both))
}
