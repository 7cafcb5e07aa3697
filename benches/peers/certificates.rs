//! A certificate from a request.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench that cannot go on has failed")]

use std::process::Command;
use std::time::Duration;

use portcullis::x509::csr::Request;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

use super::authority::{Authority, USER};
use super::bare::{Bare, verify_and_sign};
use super::openssl::OpenSsl;
use super::pairs::{TURNS, worked};
use super::service::{self, Connection, Service};
use super::step::Step;
use super::turns::Turns;
use super::{ended, has, on_core};

/// Certificates in one turn.
const EACH: u32 = 50;

/// Everybody's, in turns.
pub(crate) fn measure(authority: &Authority, openssl: &OpenSsl, root: &[u8]) {
    openssl.file("user.csr", request());
    openssl.file("user.ext", "keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n");
    openssl.file(
        "cfssl.json",
        r#"{"signing":{"default":{"usages":["digital signature","client auth"],"expiry":"720h"}}}"#,
    );
    let bare: Vec<Bare> = (0..EACH).map(|_| Bare::of(&request())).collect();
    let (mut cfssl, mut steps) = (Cfssl::start(openssl), Vec::new());
    if has("step-ca") {
        let database = json!({ "db": { "type": "badgerv2", "dataSource": "certificates" } });
        for (name, settings) in [("step-ca, recording nothing", json!({})), ("step-ca, with its database", database)] {
            steps.push((name, Step::start(openssl, root, &settings), String::new()));
        }
    }

    let mut turns = Turns::of(|| issue(authority));
    turns.beside("verifying and signing alone", || verify_and_sign(&bare));
    let arguments = "x509 -req -in user.csr -CA ca.pem -CAkey ca.key -days 30 -extfile user.ext -out openssl.pem";
    turns.beside("openssl x509 -req", || ended(|| (0..EACH).for_each(|_| drop(openssl.run(arguments)))) / EACH);
    if let Some(cfssl) = &mut cfssl {
        turns.beside("cfssl serve", || cfssl.turn());
    }
    for (name, step, last) in &mut steps {
        turns.beside(name, move || {
            let requests: Vec<String> = (0..EACH).map(|_| request()).collect();
            let pid = step.service.pid();
            on_core(pid, || requests.iter().for_each(|request| *last = step.sign(request, USER))) / EACH
        });
    }
    turns.run("a certificate from a request", TURNS);

    verify(openssl, &String::from_utf8(openssl.read("openssl.pem")).unwrap());
    cfssl.iter().for_each(|cfssl| verify(openssl, cfssl.last["result"]["certificate"].as_str().unwrap()));
    steps.iter().for_each(|(_, _, last)| verify(openssl, last));
}

/// `cfssl serve` signs what anybody asks for and records nothing; one connection is kept.
struct Cfssl {
    service: Service,
    connection: Connection,
    last: Value,
}

impl Cfssl {
    fn start(openssl: &OpenSsl) -> Option<Self> {
        if !has("cfssl") {
            return None;
        }
        let port = service::port();
        let mut command = Command::new("cfssl");
        command.args("serve -ca ca.pem -ca-key ca.key -config cfssl.json -address 127.0.0.1 -port".split(' '));
        let service = Service::start(command.arg(port.to_string()), openssl.folder(), port, "Now listening");
        let connection = service.connect();
        Some(Self { service, connection, last: Value::Null })
    }

    fn turn(&mut self) -> Duration {
        let wishes = (0..EACH).map(|_| json!({ "certificate_request": request(), "hosts": [""] }).to_string());
        let wishes: Vec<String> = wishes.collect();
        let time = on_core(self.service.pid(), || {
            for wish in &wishes {
                let first = "POST /api/v1/cfssl/sign HTTP/1.1";
                let answer = self.connection.ask(first, "application/json", wish.as_bytes());
                self.last = serde_json::from_slice(&answer).unwrap();
            }
        });
        time / EACH
    }
}

/// The time for each of the authority's.
fn issue(authority: &Authority) -> Duration {
    let requests: Vec<String> = (0..EACH).map(|_| request()).collect();
    let issue = |request: &String| {
        authority.issue(Request::from_pem_or_der(request.as_bytes()).unwrap().public_key);
    };
    worked(|| requests.iter().for_each(issue)) / EACH
}

/// A signing request in PEM, with a key of its own; step-ca wants the name of its token in it.
fn request() -> String {
    let mut wanted = CertificateParams::new([USER.to_owned()]).unwrap();
    wanted.distinguished_name.push(DnType::CommonName, USER);
    wanted.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

fn verify(openssl: &OpenSsl, certificate: &str) {
    openssl.file("user.pem", certificate);
    assert!(openssl.run("verify -CAfile chain.pem -purpose sslclient user.pem").contains("user.pem: OK"));
}
