//! What openssl and cfssl take for what the authority does: a certificate from a request, a CRL, an OCSP answer.
//!
//! In turns in the same run; what counts is time on a core, by the kernel's count of hundredths for what has ended. openssl
//! pays for a process each time and reads its files, as its users do; the authority is in the process of the bench.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the figures")]

#[path = "support/authority.rs"]
mod authority;
#[path = "support/openssl.rs"]
mod openssl;
#[path = "support/pairs.rs"]
mod pairs;
#[path = "support/revoked.rs"]
mod revoked;
#[path = "support/service.rs"]
mod service;
mod support;

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use portcullis::ident::Serial;
use portcullis::publish::ocsp::Responders;
use portcullis::world::SystemClock;
use portcullis::x509::csr::Request;
use portcullis::x509::pem::{self, Label};
use rcgen::{CertificateParams, KeyPair};

use authority::Authority;
use openssl::OpenSsl;
use pairs::{Pairs, median, worked};
use revoked::serial;
use service::Service;

/// Certificates, and answers, in one turn of openssl's.
const EACH: u32 = 50;
/// Lists of so many entries, and how often each is made.
const LISTS: [(u64, usize); 3] = [(10_000, 10), (100_000, 5), (1_000_000, 1)];

fn main() {
    if support::case().is_none() {
        return;
    }
    let authority = Authority::new();
    let openssl = OpenSsl::new();
    let issuer = authority.issuer();
    openssl.file("ca.pem", pem::write(Label::Certificate, issuer.certificate.der()));
    openssl.file("ca.key", issuer.key.serialize_pem()).file("chain.pem", authority.chain());
    certificates(&authority, &openssl);
    cfssl(&authority, &openssl);
    answers(&authority, &openssl);
    for (size, times) in LISTS {
        list(&openssl, size, times);
    }
}

fn certificates(authority: &Authority, openssl: &OpenSsl) {
    openssl.file("user.csr", request());
    openssl.file("user.ext", "keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n");
    let arguments = "x509 -req -in user.csr -CA ca.pem -CAkey ca.key -days 30 -extfile user.ext -out user.pem";
    let pairs =
        Pairs::measure(|| ended(|| (0..EACH).for_each(|_| drop(openssl.run(arguments)))) / EACH, || issue(authority));
    assert!(openssl.run("verify -CAfile chain.pem -purpose sslclient user.pem").contains("user.pem: OK"));
    tell("a certificate (`openssl x509 -req`)", &pairs);
}

/// `cfssl serve` signs what anybody asks for and records nothing; one connection is kept.
fn cfssl(authority: &Authority, openssl: &OpenSsl) {
    if Command::new("cfssl").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        println!("cfssl is not on the path");
        return;
    }
    openssl.file(
        "cfssl.json",
        r#"{"signing":{"default":{"usages":["digital signature","client auth"],"expiry":"720h"}}}"#,
    );
    let port = service::port();
    let mut command = Command::new("cfssl");
    command.args("serve -ca ca.pem -ca-key ca.key -config cfssl.json -address 127.0.0.1 -port".split(' '));
    let service = Service::start(command.arg(port.to_string()), openssl.folder(), port, "Now listening");
    let mut connection = service.connect();
    let mut last = serde_json::Value::Null;
    let pairs = Pairs::measure(
        || {
            let before = support::on_core(service.pid());
            for _ in 0..EACH {
                let wish = serde_json::json!({ "certificate_request": request(), "hosts": [""] }).to_string();
                let answer = connection.ask("POST /api/v1/cfssl/sign HTTP/1.1", "application/json", wish.as_bytes());
                last = serde_json::from_slice(&answer).unwrap();
            }
            (support::on_core(service.pid()) - before) / EACH
        },
        || issue(authority),
    );
    openssl.file("user.pem", last["result"]["certificate"].as_str().unwrap());
    assert!(openssl.run("verify -CAfile chain.pem -purpose sslclient user.pem").contains("user.pem: OK"));
    tell("a certificate (`cfssl serve`, over HTTP; ours without)", &pairs);
}

/// The time for each of the authority's.
fn issue(authority: &Authority) -> Duration {
    let requests: Vec<String> = (0..EACH).map(|_| request()).collect();
    let issue = |request: &String| {
        authority.issue(Request::from_pem_or_der(request.as_bytes()).unwrap().public_key);
    };
    worked(|| requests.iter().for_each(issue)) / EACH
}

/// A signing request in PEM, with a key of its own.
fn request() -> String {
    CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

fn answers(authority: &Authority, openssl: &OpenSsl) {
    let row = authority.issue(authority::fresh());
    let (statuses, roll) = (Arc::clone(&authority.statuses), Arc::clone(&authority.roll));
    statuses.wait_for(authority.engine.store().end(), Duration::from_secs(10)).unwrap();
    let responders = Responders::new(Arc::clone(&authority.engine), authority.authorities.clone(), statuses, roll);
    responders.renew().unwrap();
    openssl.file("user.pem", pem::write(Label::Certificate, &row.der));
    openssl.run("ocsp -issuer ca.pem -cert user.pem -reqout question.der");
    let question = openssl.read("question.der");
    openssl.file("index.txt", format!("V\t301122040000Z\t\t{}\tunknown\t/CN=alice\n", hexadecimal(&row.serial)));
    let port = service::port();
    let mut command = Command::new("openssl");
    command.args(["ocsp", "-port", &port.to_string()]);
    command.args("-index index.txt -rsigner ca.pem -rkey ca.key -CA ca.pem -nmin 10".split(' '));
    let responder = Service::start(&mut command, openssl.folder(), port, "waiting for OCSP client");
    let ask = || responder.connect().ask("POST / HTTP/1.0", "application/ocsp-request", &question);
    let mut last = [Vec::new(), Vec::new()];
    let [theirs, ours] = &mut last;
    let pairs = Pairs::measure(
        || {
            let before = support::on_core(responder.pid());
            (0..EACH).for_each(|_| *theirs = ask());
            (support::on_core(responder.pid()) - before) / EACH
        },
        || worked(|| (0..EACH).for_each(|_| *ours = responders.answer(&question, &SystemClock).der.to_vec())) / EACH,
    );
    for answer in &last {
        openssl.file("answer.der", answer);
        let said = openssl.run("ocsp -reqin question.der -respin answer.der -CAfile chain.pem");
        assert!(said.contains("Response verify OK") && !said.contains("nonce"), "{said}");
    }
    tell("an OCSP answer (`openssl ocsp -port`, a connection each; ours without HTTP)", &pairs);
}

/// `openssl ca -gencrl` over an index of so many revoked certificates.
fn list(openssl: &OpenSsl, size: u64, times: usize) {
    let mut index = String::new();
    for number in 0..size {
        let serial = hexadecimal(&serial(number));
        writeln!(index, "R\t301122040000Z\t261122040000Z,keyCompromise\t{serial}\tunknown\t/CN=user-{number}").unwrap();
    }
    openssl.file("index.txt", index).file("number", "01\n");
    openssl.file(
        "ca.cnf",
        "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\ncrlnumber=number\ncertificate=ca.pem\nprivate_key=ca.key\n\
         default_md=sha256\ndefault_crl_hours=72\nunique_subject=no\n",
    );
    let make = || ended(|| drop(openssl.run("ca -config ca.cnf -gencrl -out list.crl"))).as_secs_f64() * 1e3;
    let all: Vec<f64> = (0..times).map(|_| make()).collect();
    assert!(openssl.run("crl -in list.crl -CAfile chain.pem -noout").contains("verify OK"));
    println!(
        "a CRL of {size} entries (`openssl ca -gencrl`), {times} times: {:.0} ms; {}",
        median(&all),
        support::load()
    );
}

fn tell(name: &str, pairs: &Pairs) {
    let [times, least, most] = pairs.share();
    println!(
        "{name}: the peer {:.3} ms, the authority {:.4} ms: the peer takes {times:.1} times as long ({least:.1} to {most:.1}); {}",
        pairs.limit() * 1e3,
        pairs.product() * 1e3,
        support::load(),
    );
}

fn hexadecimal(serial: &Serial) -> String {
    hex::encode_upper(serial.octets())
}

/// The time on a core of the processes that were started and ended meanwhile (proc(5), `cutime` and `cstime`).
fn ended(what: impl FnOnce()) -> Duration {
    let count = || -> u64 {
        let text = fs::read_to_string("/proc/self/stat").unwrap();
        let (_, fields) = text.rsplit_once(") ").unwrap();
        fields.split(' ').skip(13).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
    };
    let before = count();
    what();
    Duration::from_millis((count() - before) * 10)
}
