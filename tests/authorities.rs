//! CAs of others, made by openssl: brought with their key, signed elsewhere for a key of ours, replaced, revoked.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::Value;
use support::remote::{Cluster, How, ask, free_port};
use support::run::{Said, program, run, tool};
use support::{Demo, Kubeconfig, PATIENCE, PORTCULLIS};

/// Fakes the wall clock, and no other.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// kubeadm's: RSA, called kubernetes, and no cRLSign.
const KUBEADM: &[&str] = &["/CN=kubernetes", "digitalSignature,keyEncipherment,keyCertSign", "rsa:2048"];

#[test]
fn kubeadms_ca_is_brought_and_what_it_issued_is_let_in_until_its_holder_is_revoked() {
    let (authority, upstream) = (Demo::start(), Demo::start());
    let ca = Outside::ca(&authority, "kubeadm", KUBEADM);
    let port = free_port();
    let server = format!("https://127.0.0.1:{port}");
    let add = |extra: &[&str]| {
        let mut all = vec!["cluster", "add", "old", "--server", &server, "--name", "localhost", "--ca-cert"];
        all.extend([ca.certificate.to_str().expect("a path")]);
        all.extend(extra);
        authority.admin(all)
    };
    let key = ca.key.to_str().expect("a path");
    add(&["--ca-key", key]).ended(1).saying(&["kubeadm's CA", "--shared-ca"]);
    add(&["--shared-ca"]).ended(1).saying(&["wanted the CA's key as well", "cluster request old"]);
    let foreign = Outside::ca(&authority, "foreign", &["/CN=other", "keyCertSign,cRLSign", "rsa:2048"]);
    let wrong = foreign.key.to_str().expect("a path");
    add(&["--ca-key", wrong, "--shared-ca"]).ended(1).saying(&["the key is not that of the CA's certificate"]);
    let added = add(&["--ca-key", key, "--shared-ca"]).ok();
    added.saying(&["OCSP alone tells of its revocations", "not enforced at an API server", "cert import"]);
    authority.admin(["cluster", "show", "old"]).ok().saying(&["no CRL: OCSP only", "not at the API server itself"]);
    let again = ["cluster", "add", "twice", "--server", "https://x:1", "--shared-ca", "--ca-key", key, "--ca-cert"];
    let again = again.into_iter().chain([ca.certificate.to_str().expect("a path")]);
    authority.admin(again).ended(1).saying(&["this CA's key is on the record already"]);

    // What it issues here: its name and key identifier as they are, nothing of a list that there is not.
    authority.admin(["user", "add", "ana", "--group", "developers"]).ok();
    let ana = kubeconfig(&authority, "old", "ana");
    let (issuer, text) = (x509(&ca.certificate, "-subject"), x509(&ana.certificate, "-text"));
    assert_eq!(x509(&ana.certificate, "-issuer").replace("issuer", "subject"), issuer);
    let id = x509(&ca.certificate, "-ext=subjectKeyIdentifier").lines().nth(1).expect("an ID").trim().to_owned();
    assert!(text.contains(&id), "{id} in {text}");
    assert!(!text.contains("CRL Distribution") && text.contains("OCSP - URI"), "{text}");
    verified(&authority, &ca.certificate, None, &ana.certificate);
    assert_eq!(authority.get("/crl/old-1.crl", "none.crl", &[]).status, 404);
    assert_eq!(ocsp(&authority, &ca.certificate, &ana.certificate), "good");

    // What it issued before: only whom the directory knows, with nothing that the directory does not say.
    let (masters, stranger) =
        (ca.issue(&authority, "root", "/O=system:masters/CN=kubernetes-admin"), ca.issue(&authority, "eve", "/CN=eve"));
    let (bobs, upper) = (ca.issue(&authority, "bob", "/O=developers/CN=bob"), ca.issue(&authority, "upper", "/CN=Bob"));
    let other = foreign.issue(&authority, "other", "/CN=ana");
    authority.admin(["user", "add", "kubernetes-admin"]).ok();
    authority.admin(["user", "add", "bob"]).ok();
    import(&authority, &masters).ended(1).saying(&["system:"]);
    import(&authority, &stranger).ended(1).saying(&["there is no user or agency eve"]);
    import(&authority, &upper).ended(1).saying(&["bob"]);
    import(&authority, &other).ended(1).saying(&["not signed by a CA that was brought for old"]);
    import(&authority, &bobs).ended(1).saying(&["carries the group developers, which bob is not in"]);
    let cluster = Cluster { name: "old".to_owned(), port };
    let proxy = cluster.proxy(&authority, &upstream, &How { name: "old-a", ..How::default() });
    proxy.until_current();
    let bob = holding(&authority, &ana, &bobs);
    assert_eq!(ask(port, &bob, 20).0, 401, "validly signed, and not on the record");
    authority.admin(["user", "edit", "bob", "--add-group", "developers"]).ok();
    import(&authority, &bobs).ok().saying(&["imported"]);
    import(&authority, &bobs).ok().saying(&["was there"]);
    assert_eq!((ask(port, &bob, 20).0, ask(port, &ana, 20).0), (200, 200));
    assert_eq!(ocsp(&authority, &ca.certificate, &bob.certificate), "good");
    let shown = authority.json(["status", bob.certificate.to_str().expect("a path")]);
    assert_eq!((&shown["imported"], &shown["revision"]), (&Value::Bool(true), &Value::from("0-0")));
    // It is for the cluster alone.
    let profile = bob.as_profile(&authority);
    authority.with_profile(&profile, ["cert", "list"]).ended(1).saying(&["this certificate was imported"]);

    let revoked = authority.json(["revoke", "user", "bob", "--yes"]);
    assert_eq!(revoked["certificates"], 1, "{revoked}");
    let meaning = revoked["meaning"].as_str().expect("words");
    assert!(meaning.contains("not enforced at the API server itself of old"), "{meaning}");
    assert_eq!((ask(port, &bob, 20).0, ask(port, &ana, 20).0), (401, 200));
    assert_eq!(ocsp(&authority, &ca.certificate, &bob.certificate), "revoked");
    let late = ca.issue(&authority, "late", "/O=developers/CN=bob");
    import(&authority, &late).ended(1).saying(&["id/bob was cut off before", "issue a new one to bob"]);

    // What an API server trusts it goes on trusting, whichever CA signs.
    authority.admin(["cluster", "rotate", "old"]).ok().saying(&["old-2 signs from now on"]);
    authority.admin(["cluster", "show", "old"]).ok().saying(&["not at the API server itself"]);
    authority.admin(["cluster", "add", "plain", "--server", "https://x:1"]).ok();
    let certificate = foreign.certificate.to_str().expect("a path");
    let shared = ["cluster", "rotate", "plain", "--ca-cert", certificate, "--ca-key", wrong, "--shared-ca"];
    authority.admin(shared).ok().saying(&["plain-2 signs from now on"]);
    authority
        .admin(["cluster", "show", "plain"])
        .ok()
        .saying(&["plain-2 signs, brought", "not at the API server itself"]);
}

#[test]
fn a_ca_that_cannot_issue_here_is_refused_by_name() {
    let authority = Demo::start();
    let bring = |name: &str, how: &[&str], extra: &[&str]| {
        let ca = Outside::make(&authority, name, how, extra);
        let path = |path: &Path| path.to_str().expect("a path").to_owned();
        let (certificate, key) = (path(&ca.certificate), path(&ca.key));
        let given = ["--server", "https://x:1", "--ca-cert", &certificate, "--ca-key", &key];
        authority.admin(["cluster", "add", name].into_iter().chain(given))
    };
    let usual = "keyCertSign,cRLSign";
    let ec = "ec";
    let says =
        |name, how: &[&str], extra: &[&str], words: &str| drop(bring(name, how, extra).ended(1).saying(&[words]));
    says(
        "leaf",
        &["/CN=x", "digitalSignature", ec],
        &["basicConstraints=critical,CA:FALSE"],
        "wanted a CA's certificate",
    );
    says("usage", &["/CN=x", "cRLSign", ec], &[], "without keyCertSign");
    says("short", &["/CN=x", usual, "rsa:1024"], &[], "wanted an RSA key of 2048 to 4096 bits");
    says("servers", &["/CN=x", usual, ec], &["extendedKeyUsage=serverAuth"], "without clientAuth");
    says(
        "limited",
        &["/CN=x", usual, ec],
        &["nameConstraints=critical,permitted;DNS:example.com"],
        "critical extension",
    );
    says("nameless", &["/", usual, ec], &[], "its subject is empty");
    says("ended", &["/CN=x", usual, ec, "past"], &[], "it is valid from");
    // And one that can.
    bring("fine", &["/C=DE/O=Example/CN=Example issuing CA", usual, ec], &["extendedKeyUsage=clientAuth,serverAuth"])
        .ok()
        .saying(&["no API server may trust this CA"]);
    assert_eq!(authority.get("/crl/fine-1.crl", "fine.crl", &[]).status, 200);
    authority.admin(["user", "add", "ana"]).ok();
    let ana = kubeconfig(&authority, "fine", "ana");
    verified(&authority, &authority.file("fine.crt"), None, &ana.certificate);
    // Its files survive a restart: it is opened under the passphrase as the others are.
    let (mut authority, certificate) = (authority, ana.certificate);
    authority.stop();
    authority.start_again();
    assert_eq!(ocsp(&authority, &authority.file("fine.crt"), &certificate), "good");
}

#[test]
fn a_company_root_signs_for_a_key_that_stays_here_and_every_reader_follows_the_chain() {
    let authority = Demo::start();
    let root = Outside::ca(&authority, "company", &["/O=Example/CN=Example root", "keyCertSign,cRLSign", "rsa:2048"]);
    let csr = authority.file("east-1.csr");
    let csr = csr.to_str().expect("a path");
    authority.admin(["cluster", "request", "east", "--out", csr]).ok().saying(&["east-1", "signed as a CA"]);
    let signed = root.sign_ca(&authority, Path::new(csr), "east-1.pem");
    let signed = signed.to_str().expect("a path");
    let add = ["cluster", "add", "east", "--server", "https://127.0.0.1:1", "--ca-cert", signed];
    authority.admin(add).ok().saying(&["no API server may trust"]);
    authority.admin(["user", "add", "ana"]).ok();
    let ana = kubeconfig(&authority, "east", "ana");
    verified(&authority, &root.certificate, Some(Path::new(signed)), &ana.certificate);
    assert_eq!(ocsp(&authority, Path::new(signed), &ana.certificate), "good");
    // The next one likewise; a certificate for another key is not taken for it.
    let next = authority.admin(["cluster", "request", "east"]).ok().out;
    let next = authority.write("east-2.csr", next);
    authority.admin(["cluster", "rotate", "east", "--ca-cert", signed]).ended(1).saying(&["the key is not that of"]);
    let signed = root.sign_ca(&authority, &next, "east-2.pem");
    let rotated = authority.json(["cluster", "rotate", "east", "--ca-cert", signed.to_str().expect("a path")]);
    assert_eq!((&rotated["issuer"], &rotated["signs"]), (&"east-2".into(), &true.into()), "{rotated}");
    let later = kubeconfig(&authority, "east", "ana");
    verified(&authority, &root.certificate, Some(&signed), &later.certificate);
}

#[test]
fn a_rotation_under_load_costs_not_one_good_request_and_a_stolen_ca_lets_nobody_in() {
    let (mut authority, upstream) = (Demo::start(), Demo::start());
    let cluster = Cluster::add(&authority, "east");
    authority.admin(["user", "add", "ana"]).ok();
    let old = kubeconfig(&authority, "east", "ana");
    let proxy = cluster.proxy(&authority, &upstream, &How::default());
    proxy.until_current();
    let (port, is_over, asked) = (cluster.port, AtomicBool::new(false), AtomicUsize::new(0));
    let profile = authority.dir().join("profile.toml");
    thread::scope(|scope| {
        // However this ends, the other end of the load does too.
        let over = Over(&is_over);
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                assert_eq!(ask(port, &old, 20).0, 200, "an old certificate");
                asked.fetch_add(1, Ordering::SeqCst);
            }
        });
        let rotating = scope.spawn(|| {
            for generation in 2..=4 {
                let before = asked.load(Ordering::SeqCst);
                let mut rotate = program(PORTCULLIS);
                rotate.arg("--profile").arg(&profile).args(["-o", "json", "cluster", "rotate", "east"]);
                let rotated = run(&mut rotate).ok().json();
                assert_eq!(rotated["issuer"], format!("east-{generation}"), "{rotated}");
                assert_eq!((&rotated["signs"], &rotated["proxies"][0]["state"]), (&true.into(), &"confirmed".into()));
                let until = Instant::now() + PATIENCE;
                while asked.load(Ordering::SeqCst) < before + 6 && Instant::now() < until {
                    thread::yield_now();
                }
            }
        });
        while !rotating.is_finished() {
            // Issued at whatever moment of the rotation, it works at once.
            assert_eq!(ask(port, &kubeconfig(&authority, "east", "ana"), 20).0, 200, "one issued meanwhile");
            asked.fetch_add(1, Ordering::SeqCst);
        }
        drop(over);
        rotating.join().expect("every rotation");
    });
    assert!(asked.load(Ordering::SeqCst) >= 12, "there was no load");
    // Lists and OCSP for every one of them.
    let new = kubeconfig(&authority, "east", "ana");
    let [first, last] = ["east-1", "east-4"].map(|name| authority_certificate(&authority, name));
    assert_eq!(
        (ocsp(&authority, &first, &old.certificate), ocsp(&authority, &last, &new.certificate)),
        ("good".into(), "good".into())
    );
    for name in ["east-1", "east-4"] {
        assert_eq!(authority.get(&format!("/crl/{name}.crl"), "list.crl", &[]).status, 200);
    }
    // The first one's key was stolen.
    authority.admin(["cluster", "revoke-ca", "east", "1"]).ended(2).saying(&["--yes"]);
    let shown = authority.json(["cluster", "revoke-ca", "east", "1", "--dry-run"]);
    assert!(shown["certificates"].as_u64().is_some_and(|count| count >= 2), "{shown}");
    assert!(shown["meaning"].as_str().expect("words").contains("What the other CAs of east signed stands"), "{shown}");
    assert_eq!(ask(port, &old, 20).0, 200, "only shown");
    let revoked = authority.json(["cluster", "revoke-ca", "east", "1", "--yes", "--reason", "keyCompromise"]);
    assert_eq!(
        (&revoked["proxies"][0]["state"], &revoked["certificates"]),
        (&"confirmed".into(), &shown["certificates"])
    );
    let (status, body) = ask(port, &old, 20);
    assert_eq!((status, ask(port, &new, 20).0), (401, 200), "{body}");
    assert_eq!(ocsp(&authority, &first, &old.certificate), "revoked");
    let root = authority.get("/crl/root.crl", "root.crl", &[]);
    let listed = authority.openssl(["crl", "-inform", "DER", "-noout", "-text", "-in", "root.crl"]).ok().out;
    let serial = x509(&first, "-serial").trim().trim_start_matches("serial=").to_owned();
    assert!(root.status == 200 && listed.contains(&serial) && listed.contains("Key Compromise"), "{listed}");
    // So was that of the one that signs: nothing is issued until there is another.
    authority.admin(["cluster", "revoke-ca", "east", "4", "--yes"]).ok().saying(&["cluster rotate east"]);
    assert_eq!(ask(port, &new, 20).0, 401);
    authority
        .admin(["kubeconfig", "ana", "--cluster", "east"])
        .ended(1)
        .saying(&["east-4 signs no more", "cluster rotate east"]);
    authority.admin(["cluster", "rotate", "east"]).ok().saying(&["east-5 signs from now on"]);
    assert_eq!(ask(port, &kubeconfig(&authority, "east", "ana"), 20).0, 200);
    authority.admin(["cluster", "show", "east"]).ok().saying(&["east-1 revoked", "east-2 stands", "east-5 signs"]);
    for refused in [["cluster", "revoke-ca", "east", "9", "--yes"], ["cluster", "revoke-ca", "north", "1", "--yes"]] {
        authority.admin(refused).ended(1).saying(&["there is no authority"]);
    }
    // A responder of an ended CA is made anew like any other: it is still asked.
    authority.stop();
    authority.start_again();
    assert_eq!(ocsp(&authority, &first, &old.certificate), "revoked");
}

#[test]
fn a_ca_does_not_sign_before_every_proxy_knows_it() {
    let (authority, upstream) = (Demo::start(), Demo::start());
    let cluster = Cluster::add(&authority, "east");
    authority.admin(["user", "add", "ana"]).ok();
    let proxy = cluster.proxy(&authority, &upstream, &How { bound: "600s", ..How::default() });
    proxy.until_current();
    proxy.signal(rustix::process::Signal::STOP);
    let said = authority.admin(["cluster", "rotate", "east", "--wait", "1s", "-o", "json"]).ended(3);
    let rotated = said.json();
    assert_eq!(
        (&rotated["signs"], &rotated["proxies"][0]["state"]),
        (&false.into(), &"unconfirmed".into()),
        "{rotated}"
    );
    let issued = kubeconfig(&authority, "east", "ana");
    assert!(x509(&issued.certificate, "-issuer").contains("east CA 1"), "the present one signs on");
    authority.admin(["cluster", "show", "east"]).ok().saying(&["east-1 signs", "east-2 next"]);
    proxy.signal(rustix::process::Signal::CONT);
    let rotated = authority.json(["cluster", "rotate", "east"]);
    assert_eq!(
        (&rotated["issuer"], &rotated["signs"]),
        (&"east-2".into(), &true.into()),
        "it is gone on with: {rotated}"
    );
    let issued = kubeconfig(&authority, "east", "ana");
    assert!(x509(&issued.certificate, "-issuer").contains("east CA 2"));
    assert_eq!(ask(cluster.port, &issued, 20).0, 200);
}

/// Says that it is over when it goes.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A CA outside, with openssl.
struct Outside {
    certificate: PathBuf,
    key: PathBuf,
}

impl Outside {
    fn ca(demo: &Demo, name: &str, how: &[&str]) -> Self {
        Self::make(demo, name, how, &[])
    }

    /// `how`: subject, key usage, kind of key, and `past` for one that ended long ago.
    fn make(demo: &Demo, name: &str, how: &[&str], extensions: &[&str]) -> Self {
        let (certificate, key) = (demo.file(&format!("{name}.crt")), demo.file(&format!("{name}.key")));
        let mut openssl = demo.program("openssl");
        openssl.args(["req", "-x509", "-nodes", "-config", "/dev/null", "-subj", how[0], "-newkey"]);
        match how[2] {
            "ec" => openssl.args(["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]),
            other => openssl.arg(other),
        };
        if how.get(3) == Some(&"past") {
            openssl.env("LD_PRELOAD", FAKETIME).env("FAKETIME", "2020-01-01 00:00:00");
        }
        openssl.arg("-addext").arg(format!("keyUsage=critical,{}", how[1]));
        openssl.args(["-addext", "subjectKeyIdentifier=hash"]);
        let has_constraints = extensions.iter().any(|extension| extension.starts_with("basicConstraints"));
        let constraints = ["basicConstraints=critical,CA:TRUE"];
        for extension in extensions.iter().chain(constraints.iter().filter(|_| !has_constraints)) {
            openssl.args(["-addext", extension]);
        }
        run(openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate)).ok();
        // As kubeadm writes it.
        if how[2].starts_with("rsa") {
            run(demo.program("openssl").args(["rsa", "-traditional", "-in"]).arg(&key).arg("-out").arg(&key)).ok();
        }
        Self { certificate, key }
    }

    /// A client's certificate and its key, as kubeadm would issue it.
    fn issue(&self, demo: &Demo, name: &str, subject: &str) -> PathBuf {
        let (csr, key) = (demo.file(&format!("{name}.csr")), demo.file(&format!("{name}.client.key")));
        let mut openssl = demo.program("openssl");
        openssl.args(["req", "-new", "-nodes", "-config", "/dev/null", "-newkey", "rsa:2048", "-subj", subject]);
        run(openssl.arg("-keyout").arg(&key).arg("-out").arg(&csr)).ok();
        let profile = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n\
                       extendedKeyUsage=clientAuth\nauthorityKeyIdentifier=keyid\n";
        let certificate = self.signed(demo, &csr, &format!("{name}.client.crt"), profile);
        fs::rename(&key, certificate.with_extension("key")).expect("the key beside it");
        certificate
    }

    /// A CA's certificate for a request.
    fn sign_ca(&self, demo: &Demo, csr: &Path, name: &str) -> PathBuf {
        let profile = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n\
                       subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
        self.signed(demo, csr, name, profile)
    }

    fn signed(&self, demo: &Demo, csr: &Path, name: &str, profile: &str) -> PathBuf {
        let (extensions, certificate) = (demo.write(&format!("{name}.ext"), profile), demo.file(name));
        let mut openssl = demo.program("openssl");
        openssl.args(["x509", "-req", "-days", "90", "-in"]).arg(csr).arg("-CA").arg(&self.certificate);
        openssl.arg("-CAkey").arg(&self.key).arg("-extfile").arg(extensions).arg("-out").arg(&certificate);
        run(&mut openssl).ok();
        certificate
    }
}

fn kubeconfig(authority: &Demo, cluster: &str, id: &str) -> Kubeconfig {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let file = authority.file(&format!("{id}-{}.yaml", COUNT.fetch_add(1, Ordering::SeqCst)));
    let out = file.to_str().expect("a path");
    authority.admin(["kubeconfig", id, "--cluster", cluster, "--out", out]).ok();
    Kubeconfig::read(file)
}

/// Somebody with a certificate that was issued elsewhere, at the proxy of `other`.
fn holding(demo: &Demo, other: &Kubeconfig, certificate: &Path) -> Kubeconfig {
    let key = certificate.with_extension("key");
    let key_pem = fs::read_to_string(&key).expect("the key");
    let pkcs8 = run(demo.program("openssl").args(["pkey", "-in"]).arg(&key)).ok().out;
    fs::write(&key, &pkcs8).expect("the key");
    assert!(key_pem.contains("PRIVATE KEY"));
    let ca = other.ca.clone();
    Kubeconfig {
        path: certificate.with_extension("yaml"),
        certificate: certificate.to_owned(),
        key,
        ca,
        key_pem: pkcs8,
    }
}

fn import(authority: &Demo, certificate: &Path) -> Said {
    authority.admin(["cert", "import", "--cluster", "old", certificate.to_str().expect("a path")])
}

fn x509(certificate: &Path, what: &str) -> String {
    let mut openssl = program("openssl");
    openssl.args(["x509", "-noout", "-in"]).arg(certificate);
    run(openssl.args(what.split('='))).ok().out
}

/// OpenSSL, GnuTLS and Go follow the chain from a client's certificate up to an anchor.
fn verified(demo: &Demo, anchor: &Path, intermediate: Option<&Path>, chain: &Path) {
    let leaf = demo.file("leaf.pem");
    run(demo.program("openssl").args(["x509", "-in"]).arg(chain).arg("-out").arg(&leaf)).ok();
    let mut openssl = demo.program("openssl");
    openssl.args(["verify", "-purpose", "sslclient", "-x509_strict", "-CAfile"]).arg(anchor);
    let read = |path: &Path| fs::read_to_string(path).expect("a certificate");
    let mut all = read(&leaf);
    let mut go = demo.program(tool("PORTCULLIS_TEST_CERTNAMES"));
    go.arg("-ca").arg(anchor);
    if let Some(intermediate) = intermediate {
        openssl.arg("-untrusted").arg(intermediate);
        go.arg("-intermediates").arg(intermediate);
        all += &read(intermediate);
    }
    run(openssl.arg(&leaf)).ok().saying(&["OK"]);
    run(go.arg(&leaf)).ok();
    let all = demo.write("whole.pem", all + &read(anchor));
    let mut certtool = demo.program("certtool");
    certtool.arg("--verify").arg("--load-ca-certificate").arg(anchor).arg("--infile").arg(all);
    run(&mut certtool).ok().saying(&["Verified"]);
}

/// What openssl hears of a certificate over OCSP: `good`, `revoked` or `unknown`.
fn ocsp(demo: &Demo, issuer: &Path, certificate: &Path) -> String {
    let mut openssl = demo.program("openssl");
    openssl.args(["ocsp", "-no_nonce", "-partial_chain", "-issuer"]).arg(issuer).arg("-cert").arg(certificate);
    openssl.arg("-CAfile").arg(issuer).arg("-url").arg(format!("http://{}/ocsp", demo.address("public")));
    let said = run(&mut openssl).ok().saying(&["Response verify OK"]);
    let line = said.out.lines().find_map(|line| line.split_once(": ")).expect("a verdict");
    line.1.to_owned()
}

/// An authority's certificate as it is published, in PEM.
fn authority_certificate(demo: &Demo, name: &str) -> PathBuf {
    let answer = demo.get(&format!("/ca/{name}.crt"), &format!("{name}.der"), &[]);
    assert_eq!(answer.status, 200);
    let pem = demo.file(&format!("{name}.pem"));
    run(demo.program("openssl").args(["x509", "-inform", "DER", "-in"]).arg(&answer.body).arg("-out").arg(&pem)).ok();
    pem
}
