//! The root: signed by a CA of somebody else's, and with its key off the host.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::run::{Live, Said, program, run, tool};
use support::{Demo, PORTCULLIS, START};

#[test]
fn the_roots_key_lives_on_a_stick_and_what_it_signs_comes_and_goes_by_file() {
    let mut demo = Demo::start();
    demo.admin(["user", "add", "ana"]).ok();
    let (dir, stick) = (text(&demo.dir()), text(&demo.file("stick")));
    let detach = ["root", "detach", "--dir", &dir, "--out", &stick];
    demo.admin(detach).ended(1).saying(&["in use"]);
    demo.admin(["root", "request-list", "--out", "early.pem"]).ended(1).saying(&["is on this host"]);
    demo.stop();
    demo.admin(detach).ok().saying(&["not on this host any more", "is good until"]);
    assert!(!demo.dir().join("ca/root.key").exists() && Path::new(&stick).join("root.key").exists());
    demo.admin(detach).ended(1).saying(&["was taken off this host before"]);

    // Everything goes on but what the root signs.
    demo.start_again();
    demo.user("bob", &[]);
    let root = certificate(&demo, "root");
    let kept = demo.get("/crl/root.crl", "kept.crl", &[]);
    assert_eq!(kept.status, 200);
    let add = ["cluster", "add", "east", "--server", "https://127.0.0.1:1"];
    demo.admin(add).ended(1).saying(&["root attach", "root sign"]);
    assert!(!demo.dir().join("ca/east-1.key").exists(), "no key without a cluster");

    // A new issuing CA by file.
    let passphrase = text(&demo.dir().join("passphrase"));
    let sign = |what: &[&str], out: &str| {
        let usual = ["--from", &stick, "--passphrase-file", &passphrase, "--yes", "--out", out];
        demo.admin(["root", "sign"].into_iter().chain(what.iter().copied()).chain(usual))
    };
    let [csr, signed] = ["east-1.csr", "east-1.pem"].map(|name| text(&demo.file(name)));
    demo.admin(["cluster", "request", "east", "--out", &csr]).ok();
    sign(&[&csr], &signed).ended(2).saying(&["--ca NAME"]);
    sign(&[&csr, "--ca", "east-1"], &signed).ok();
    demo.admin(add.into_iter().chain(["--ca-cert", &signed])).ok();
    let ana = demo.file("ana.yaml");
    demo.admin(["kubeconfig", "ana", "--cluster", "east", "--out", &text(&ana)]).ok();
    let ana = support::Kubeconfig::read(ana);
    run(demo
        .program("openssl")
        .args(["verify", "-x509_strict", "-CAfile"])
        .arg(&root)
        .arg("-untrusted")
        .arg(&signed)
        .arg(&ana.certificate))
    .ok();

    // Revoked, it is on the root's list once that was signed on the stick's side.
    demo.admin(["cluster", "revoke-ca", "east", "1", "--yes"]).ok().saying(&["The root's key is away"]);
    let [unsigned, list] = ["list.pem", "list.crl.pem"].map(|name| text(&demo.file(name)));
    demo.admin(["root", "request-list", "--out", &unsigned]).ok();
    sign(&[&unsigned, "--ca", "east-1"], &list).ended(2).saying(&["not a request for a CA"]);
    sign(&[&unsigned], &list).ok();
    demo.admin(["root", "publish", &csr]).ended(1).saying(&["X509 CRL"]);
    let infra = demo.get("/crl/infra.crl", "infra.crl", &[]);
    let infra = text(&demo.list_pem(&infra));
    demo.admin(["root", "publish", &infra]).ended(1).saying(&["wanted a list that root has signed"]);
    demo.admin(["root", "publish", &list]).ok().saying(&["is published"]);
    demo.admin(["root", "publish", &list]).ended(1).saying(&["there is one with this number"]);
    let listed = |name: &str| {
        let answer = demo.get("/crl/root.crl", name, &[]);
        let said = demo.openssl(["crl", "-inform", "DER", "-noout", "-text", "-CAfile", "root.pem", "-in", name]).ok();
        (answer.revision(), said.saying(&["verify OK"]).out)
    };
    let (revision, shown) = listed("new.crl");
    assert!(revision > kept.revision() && shown.contains("Serial Number"), "{shown}");
    // The second one likewise: a list made before does not do.
    let [csr, signed] = ["east-2.csr", "east-2.pem"].map(|name| text(&demo.file(name)));
    demo.admin(["cluster", "request", "east", "--out", &csr]).ok();
    sign(&[&csr, "--ca", "east-2"], &signed).ok();
    demo.admin(["cluster", "rotate", "east", "--ca-cert", &signed]).ok().saying(&["east-2 signs from now on"]);
    let [unsigned, list] = ["late.pem", "late.crl.pem"].map(|name| text(&demo.file(name)));
    demo.admin(["root", "request-list", "--out", &unsigned]).ok();
    demo.admin(["cluster", "revoke-ca", "east", "2", "--yes"]).ok();
    sign(&[&unsigned], &list).ok();
    demo.admin(["root", "publish", &list]).ended(1).saying(&["something was revoked since"]);

    // A restart serves the list that was brought; the key comes back, and the root signs by itself again.
    demo.stop();
    demo.start_again();
    assert_eq!(demo.get("/crl/root.crl", "again.crl", &[]).revision(), revision);
    demo.stop();
    let empty = text(&demo.file("empty"));
    demo.admin(["root", "attach", "--dir", &dir, "--from", &empty]).ended(1).saying(&["root.key"]);
    demo.admin(["root", "attach", "--dir", &dir, "--from", &stick]).ok().saying(&["on this host again"]);
    demo.start_again();
    demo.admin(["cluster", "rotate", "east"]).ok().saying(&["east-3 signs"]);
    let said = demo.get("/crl/root.crl", "back.crl", &[]);
    assert!(said.revision() > revision);
    let shown = demo.openssl(["crl", "-inform", "DER", "-noout", "-text", "-in", "back.crl"]).ok().out;
    assert_eq!(shown.matches("Serial Number").count(), 2, "{shown}");
}

#[test]
fn an_authority_under_a_companys_root_is_followed_by_every_reader_up_to_that() {
    let home = tempfile::tempdir().expect("a folder");
    let file = |name: &str| home.path().join(name);
    let at = |name: &str| text(&file(name));
    let port = support::remote::free_port();
    let public = support::remote::free_port();
    fs::write(file("passphrase"), "correct horse battery staple\n").expect("a file");
    run(program("chmod").arg("600").arg(file("passphrase"))).ok();
    let settings = format!(
        "[listen]\napi = \"127.0.0.1:{port}\"\npublic = \"127.0.0.1:{public}\"\n[api]\nurl = \"https://127.0.0.1:{port}\"\n\
         [public]\nurl = \"http://127.0.0.1:{public}\"\ncrl_dir = \"crl\"\n[store]\ndir = \"store\"\n[ca]\ndir = \"ca\"\n\
         passphrase_file = \"passphrase\"\n"
    );
    fs::write(file("authority.toml"), settings).expect("a file");
    let config = at("authority.toml");
    let portcullis = |arguments: &[&str]| run(program(PORTCULLIS).env("HOME", home.path()).args(arguments));
    let init = |more: &[&str]| portcullis(&[&["init", "--config", &config], more].concat());

    // The company's root, and its word for ours.
    openssl(&[
        "req",
        "-x509",
        "-nodes",
        "-config",
        "/dev/null",
        "-newkey",
        "rsa:2048",
        "-subj",
        "/O=Example/CN=Example root",
        "-addext",
        "basicConstraints=critical,CA:TRUE",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
        "-addext",
        "subjectKeyIdentifier=hash",
        "-keyout",
        &at("company.key"),
        "-out",
        &at("company.pem"),
    ]);
    fs::write(file("other.pem"), fs::read(file("company.pem")).expect("a file")).expect("a file");
    init(&["--root-cert", &at("other.pem"), "--out", &at("ana.toml")]).ended(1).saying(&["init --root-request"]);
    run(program("rm").arg("-rf").arg(file("store"))).ok();
    init(&["--root-request", &at("root.csr")]).ok().saying(&["--root-cert"]);
    let sign = |constraints: &str, usage: &str, name: &str| {
        let profile = format!(
            "basicConstraints=critical,{constraints}\nkeyUsage=critical,{usage}\nsubjectKeyIdentifier=hash\n\
             authorityKeyIdentifier=keyid\n"
        );
        fs::write(file("profile"), profile).expect("a file");
        openssl(&[
            "x509",
            "-req",
            "-days",
            "900",
            "-in",
            &at("root.csr"),
            "-CA",
            &at("company.pem"),
            "-CAkey",
            &at("company.key"),
            "-extfile",
            &at("profile"),
            "-out",
            &at(name),
        ]);
    };
    sign("CA:TRUE,pathlen:0", "keyCertSign,cRLSign", "narrow.pem");
    init(&["--root-cert", &at("narrow.pem"), "--out", &at("ana.toml")]).ended(1).saying(&["path length is 0"]);
    sign("CA:TRUE", "keyCertSign", "unlisted.pem");
    init(&["--root-cert", &at("unlisted.pem"), "--out", &at("ana.toml")]).ended(1).saying(&["without cRLSign"]);
    init(&["--root-cert", &at("company.pem"), "--out", &at("ana.toml")]).ended(1).saying(&["the key is not that of"]);
    sign("CA:TRUE,pathlen:1", "keyCertSign,cRLSign", "root.pem");
    init(&["--root-cert", &at("root.pem"), "--admin", "ana", "--out", &at("ana.toml")]).ok();
    init(&["--root-request", &at("late.csr")]).ended(1).saying(&["the store is there already"]);

    let live = Live::start(program(PORTCULLIS).env("HOME", home.path()).args(["serve", "--config", &config]));
    let (found, before) = live.wait_for_line(START, |line| line.contains("the authority serves"));
    assert!(found, "{before}");
    let profile = at("ana.toml");
    let ana = |arguments: &[&str]| portcullis(&[&["--profile", &profile], arguments].concat());
    ana(&["cluster", "add", "prod", "--server", "https://127.0.0.1:1"]).ok();
    ana(&["user", "add", "bea"]).ok();
    ana(&["kubeconfig", "bea", "--out", &at("bea.yaml")]).ok();
    let bea = support::Kubeconfig::read(file("bea.yaml"));
    let chain = text(&bea.certificate);
    openssl(&["x509", "-in", &chain, "-out", &at("leaf.pem")]);
    let whole = fs::read_to_string(&bea.certificate).expect("a chain");
    let issuing = whole.split_inclusive("-----END CERTIFICATE-----\n").nth(1).expect("the issuing CA");
    let read = |name: &str| fs::read_to_string(file(name)).expect("a file");
    fs::write(file("between.pem"), issuing.to_owned() + &read("root.pem")).expect("a file");
    fs::write(file("whole.pem"), read("leaf.pem") + &read("between.pem") + &read("company.pem")).expect("a file");
    openssl(&[
        "verify",
        "-x509_strict",
        "-purpose",
        "sslclient",
        "-CAfile",
        &at("company.pem"),
        "-untrusted",
        &at("between.pem"),
        &at("leaf.pem"),
    ]);
    run(program("certtool")
        .arg("--verify")
        .arg("--load-ca-certificate")
        .arg(file("company.pem"))
        .arg("--infile")
        .arg(file("whole.pem")))
    .ok()
    .saying(&["Verified"]);
    let mut go = program(tool("PORTCULLIS_TEST_CERTNAMES"));
    go.arg("-ca").arg(file("company.pem")).arg("-intermediates").arg(file("between.pem")).arg(file("leaf.pem"));
    run(&mut go).ok();
    // The root's list is ours, and what it signed is checked against it up to the company's root.
    let list = fs::read(file("crl/root.crl")).expect("the root's list");
    fs::write(file("root.crl"), list).expect("a file");
    openssl(&["crl", "-inform", "DER", "-noout", "-in", &at("root.crl"), "-CAfile", &at("root.pem")])
        .saying(&["verify OK"]);
    live.signal(rustix::process::Signal::TERM);
    live.wait().ok();
}

/// An authority's certificate as it is published, in PEM.
fn certificate(demo: &Demo, name: &str) -> PathBuf {
    let answer = demo.get(&format!("/ca/{name}.crt"), &format!("{name}.der"), &[]);
    assert_eq!(answer.status, 200);
    let pem = demo.file(&format!("{name}.pem"));
    run(demo.program("openssl").args(["x509", "-inform", "DER", "-in"]).arg(&answer.body).arg("-out").arg(&pem)).ok();
    pem
}

fn openssl(arguments: &[&str]) -> Said {
    run(program("openssl").args(arguments)).ok()
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path").to_owned()
}
