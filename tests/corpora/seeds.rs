//! Where a fuzzer begins: the fixtures of other software, and what a running product writes and sends.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis::ident::Fingerprint;
use portcullis::standing::{CutKey, Revision};
use portcullis::status::frames::{
    self, AuthorityHello, Changes, Confirm, Cursor, Down, Incident, Known, ProxyHello, SnapshotPage, Up,
};
use portcullis::status::freshness::Mode;
use portcullis::status::{Change, Credential};
use portcullis::world::Timestamp;
use portcullis::x509::pem::{self, Label};

use crate::support::Demo;

/// Writes the seeds of every target; those that are there stay unless they are made anew under the same name.
pub(crate) fn write_all(corpora: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let put = |target: &str, name: &str, octets: &[u8]| {
        let folder = corpora.join(target);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join(name), octets).expect("a seed");
    };
    for path in files(&root.join("certs/csr")) {
        let (name, text) = read(&path);
        put("csr", &name, &text);
        put("pem", &name, &text);
        if let Ok(der) = pem::read(Label::Request, &text) {
            put("csr", &format!("{name}.der"), &der);
        }
    }
    for path in files(&root.join("certs/certificate")) {
        let (name, text) = read(&path);
        put("certificate", &name, &pem::read(Label::Certificate, &text).expect("a certificate"));
        put("pem", &name, &text);
    }
    let (_, text) = read(&root.join("certs/crl/openssl.pem"));
    put("crl", "openssl", &::pem::parse(&text).expect("a list").into_contents());
    for (name, file) in [("authority", "config/authority.toml"), ("proxy", "config/proxy.toml")] {
        let (_, text) = read(&root.join(file));
        put("config", name, &text);
        put("config", &format!("{name}-environment"), &[&text[..], b"\0PORTCULLIS_LISTEN_API=127.0.0.1:1\n"].concat());
    }
    of_a_demo(&put);
    for (name, direction, frames) in of_the_feed() {
        put("feed", name, &[&[direction][..], &frames].concat());
    }
    for (name, head) in HEADS {
        put("head", name, head.as_bytes());
    }
    for (name, text) in KUBECONFIGS {
        put("kubeconfig", name, text.as_bytes());
    }
}

/// What a running authority has written and what `openssl` asks it.
fn of_a_demo(put: &impl Fn(&str, &str, &[u8])) {
    let mut demo = Demo::start();
    let ana = demo.user("ana", &["--group", "dev", "--group", "größe"]);
    demo.admin(["revoke", "user", "ana", "--yes"]).ok();
    put("kubeconfig", "ours", &without_key(&ana.path));
    put("config", "profile", &without_key(&demo.dir().join("profile.toml")));
    let chain = fs::read(&ana.certificate).expect("a chain");
    put("pem", "chain", &chain);
    for (place, der) in pem::read_all(Label::Certificate, &chain).expect("a chain").iter().enumerate() {
        put("certificate", &format!("ours-{place}"), der);
    }
    let ca = fs::read(&ana.ca).expect("a CA");
    put("certificate", "infra", &pem::read(Label::Certificate, &ca).expect("a CA"));
    for path in files(&demo.dir().join("crl")) {
        let (name, der) = read(&path);
        put("crl", &name, &der);
    }
    let issuer = demo.write(
        "issuer.pem",
        pem::write(Label::Certificate, &pem::read_all(Label::Certificate, &chain).expect("a chain")[1]),
    );
    for (name, option) in [("plain", "-no_nonce"), ("nonce", "-nonce"), ("sha256", "-sha256")] {
        let request = demo.file("request.der");
        let (issuer, certificate, request) =
            (issuer.display().to_string(), ana.certificate.display().to_string(), request.display().to_string());
        demo.openssl(["ocsp", option, "-issuer", &issuer, "-cert", &certificate, "-reqout", &request]).ok();
        let der = fs::read(&request).expect("a request");
        put("ocsp", name, &der);
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(&der);
        put("ocsp-get", name, text.as_bytes());
        put(
            "ocsp-get",
            &format!("{name}-escaped"),
            text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D").as_bytes(),
        );
    }
    demo.stop();
    for (place, octets) in payloads(&demo.dir().join("store/journal")).into_iter().take(12).enumerate() {
        put("journal", &format!("frame-{place}"), &octets);
    }
}

/// A file without the private key in it: none is kept in the checkout.
fn without_key(path: &Path) -> Vec<u8> {
    let text = fs::read_to_string(path).expect("a file with a key");
    let mut inside = false;
    let lines = text.lines().filter_map(|line| {
        inside = line.contains("BEGIN PRIVATE KEY") || inside && !line.contains("END PRIVATE KEY");
        match line.split_once("client-key-data:") {
            Some((before, _)) => Some(format!("{before}client-key-data: S0VZ\n")),
            None if inside && line.contains("BEGIN") => Some(format!("{line}\nAAAA\n")),
            None if inside => None,
            None => Some(format!("{line}\n")),
        }
    });
    lines.collect::<String>().into_bytes()
}

/// The payload of each frame in the first segment, behind the number of its commits and a bit to turn.
fn payloads(journal: &Path) -> Vec<Vec<u8>> {
    let segment = files(journal).into_iter().find(|path| path.file_name().is_some_and(|name| name != "spare"));
    let octets = fs::read(segment.expect("a segment")).expect("a segment");
    let frames = octets.chunks(4096).enumerate().filter(|(_, block)| block.starts_with(b"PCLSFRAM"));
    frames
        .map(|(place, block)| {
            let number = |at: usize| u32::from_be_bytes(block[at..at + 4].try_into().expect("four octets")) as usize;
            let payload = &octets[place * 4096 + 128..][..number(8)];
            [&[u8::try_from(number(12)).expect("a small group"), 77][..], payload].concat()
        })
        .collect()
}

/// A conversation of each kind.
fn of_the_feed() -> Vec<(&'static str, u8, Vec<u8>)> {
    let revision = Revision { era: 7, number: 42 };
    let (timeline, moment) = ([3; 16], Timestamp::from_unix_seconds(1_795_000_000));
    let key = Fingerprint::from_octets([6; 32]).short();
    let cut_keys =
        vec![CutKey::Identity("ana".parse().expect("an ID")), CutKey::Group("dev".parse().expect("a group"))];
    let credential = Credential { key, issued: revision, not_after: moment, cut_keys: cut_keys.clone() };
    let changes = vec![Change::Recorded(credential.clone())];
    let down = |frames: &[Down]| frames.iter().flat_map(|frame| frames::encode(frame).expect("a frame")).collect();
    let up = |frames: &[Up]| frames.iter().flat_map(|frame| frames::encode(frame).expect("a frame")).collect();
    let hello = AuthorityHello { version: 1, timeline, revision, restored: Some(revision) };
    let proxy = ProxyHello {
        version: 1,
        cluster: "prod".parse().expect("a cluster"),
        instance: [4; 16],
        cursor: Some(Cursor { timeline, revision }),
        bound: Duration::from_secs(30),
        mode: Mode::Strict,
        cut_time: Duration::from_millis(250),
    };
    let denied = Incident::Denied { id: "bob".to_owned(), is_denied: true };
    let unknown = Incident::UnknownCredential { fingerprint: [8; 32], user: "eve".to_owned(), at: moment };
    vec![
        ("down-hello", 0, down(&[Down::Hello(hello), Down::Pong { nonce: 1, revision }])),
        (
            "down-snapshot",
            0,
            down(&[Down::Snapshot(SnapshotPage::new(revision, vec![vec![0x30, 0]], vec![credential]))]),
        ),
        ("down-changes", 0, down(&[Down::Changes(Changes { revision, authorities: None, changes: changes.clone() })])),
        ("down-refused", 0, down(&[Down::Refused("the proxy was removed".to_owned())])),
        ("up-hello", 1, up(&[Up::Hello(proxy), Up::Ping { nonce: 9 }])),
        ("up-confirm", 1, up(&[Up::Confirm(Confirm { revision, closed: vec![(revision, 3)] })])),
        ("up-report", 1, up(&[Up::Report(vec![denied, unknown])])),
        ("up-known", 1, up(&[Up::Known(Known { facts: changes, is_last: true })])),
    ]
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path()).collect();
    found.sort();
    found
}

fn read(path: &Path) -> (String, Vec<u8>) {
    let name = path.file_name().and_then(|name| name.to_str()).expect("a name").replace(".pem", "");
    (name, fs::read(path).expect("a file"))
}

const HEADS: [(&str, &str); 7] = [
    ("get", "\0GET /api/v1/pods\nHost: prod\nAccept: application/json\nAuthorization: Bearer x\n"),
    ("http2", "\x01GET https://prod/api/v1/pods?watch=1\nCookie: a\nCookie: b\nX-Forwarded-For: 1.2.3.4\n"),
    (
        "hop-by-hop",
        "\0POST /api\nHost: prod\nConnection: close, X-Gone\nX-Gone: 1\nTransfer-Encoding: chunked\nTE: trailers\n",
    ),
    (
        "impersonate",
        "\x02GET /api\nHost: prod\nImpersonate-User: bob\nImpersonate_Group: ops\nImpersonate-Extra-a%2fb: c\n",
    ),
    ("nominated", "\x02GET /api\nHost: prod\nConnection: Impersonate-User\nImpersonate-User: bob\n"),
    ("remote", "\0GET /api\nHost: prod\nX-Remote-User: bob\nX_Remote_Group: system:masters\n"),
    (
        "websocket",
        "\x04GET /exec\nHost: prod\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Key: eA==\nSec-WebSocket-Protocol: v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.eA\n",
    ),
];

const KUBECONFIGS: [(&str, &str); 4] = [
    ("empty", "{}\n"),
    ("flow", "{clusters: [{name: prod, cluster: {server: 'https://a'}}], users: [], contexts: null}\n"),
    (
        "comments",
        "# mine\nkind: Config\nclusters:   # all\n- cluster:\n    server: https://old # no\n  name: prod\nusers:\n- name: \"ana@prod\"\n  user: {token: x}\n- name: bob\n  user:\n    exec:\n      command: get\n      args: [a, 'b: c']\ncontexts:\n- name: mine\n  context: {cluster: prod, user: bob}\ncurrent-context: mine\npreferences: {}\n",
    ),
    (
        "odd",
        "apiVersion: v1\nkind: Config\nclusters:\n  - name: 1e5\n    cluster:\n      server: |\n        https://x\n  - &a\n    name: no\n    cluster: {}\nextensions:\n- *a\nusers: ~\ncontexts: []\n",
    ),
];
