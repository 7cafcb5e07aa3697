//! OCSP answers: signed when asked, and prepared.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench that cannot go on has failed")]

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use portcullis::publish::ocsp::Responders;
use portcullis::world::SystemClock;
use portcullis::x509::pem::{self, Label};
use serde_json::Value;

use super::authority::{self, Authority};
use super::bare;
use super::openssl::OpenSsl;
use super::pairs::{TURNS, worked};
use super::public::{self, Bare, serve};
use super::service::{self, Connection, Service};
use super::threads::Thread;
use super::turns::Turns;
use super::{ended, has, hexadecimal, on_core};

/// Answers in one turn that are signed, and that are prepared.
const SIGNED: u32 = 50;
const PREPARED: u32 = 1000;

/// Everybody's, in turns.
pub(crate) fn measure(authority: &Authority, openssl: &OpenSsl) {
    let row = authority.issue(authority::fresh());
    let (statuses, roll) = (Arc::clone(&authority.statuses), Arc::clone(&authority.roll));
    statuses.wait_for(authority.engine.store().end(), Duration::from_secs(10)).unwrap();
    let responders = Responders::new(Arc::clone(&authority.engine), authority.authorities.clone(), statuses, roll);
    responders.renew().unwrap();
    openssl.file("user.pem", pem::write(Label::Certificate, &row.der));
    openssl.file("index.txt", format!("V\t301122040000Z\t\t{}\tunknown\t/CN=alice\n", hexadecimal(&row.serial)));
    openssl.run("ocsp -issuer ca.pem -cert user.pem -reqout nonce.der");
    openssl.run("ocsp -issuer ca.pem -cert user.pem -no_nonce -reqout plain.der");
    signed(&responders, openssl);
    prepared(authority, responders, openssl);
}

fn signed(responders: &Responders, openssl: &OpenSsl) {
    let question = openssl.read("nonce.der");
    let port = service::port();
    let mut command = Command::new("openssl");
    command.args(["ocsp", "-port", &port.to_string()]);
    command.args("-index index.txt -rsigner ca.pem -rkey ca.key -CA ca.pem -nmin 10".split(' '));
    let responder = Service::start(&mut command, openssl.folder(), port, "waiting for OCSP client");
    let ask = || responder.connect().ask("POST / HTTP/1.0", "application/ocsp-request", &question);
    let (mut own, mut theirs, mut cfssl) = (Vec::new(), Vec::new(), Vec::new());

    let answer = || responders.answer(&question, &SystemClock).der.to_vec();
    let mut turns = Turns::of(|| worked(|| (0..SIGNED).for_each(|_| own = answer())) / SIGNED);
    turns.beside("signing alone", || bare::sign(SIGNED));
    turns.beside("openssl ocsp -port, a connection each", || {
        on_core(responder.pid(), || (0..SIGNED).for_each(|_| theirs = ask())) / SIGNED
    });
    if has("cfssl") {
        turns.beside("cfssl ocspsign, a process each, no nonce", || {
            ended(|| (0..SIGNED).for_each(|_| cfssl = ocspsign(openssl))) / SIGNED
        });
    }
    turns.run("an OCSP answer that is signed", TURNS);
    for answer in [&own, &theirs] {
        openssl.file("answer.der", answer);
        let said = openssl.run("ocsp -reqin nonce.der -respin answer.der -CAfile chain.pem");
        assert!(said.contains("Response verify OK") && !said.contains("nonce"), "{said}");
    }
    if has("cfssl") {
        check(openssl, &cfssl);
        openssl.file("cfssl.answers", STANDARD.encode(&cfssl));
    }
}

/// What was signed beforehand, over HTTP on one connection that is kept; the authority's listener has a thread of its own.
fn prepared(authority: &Authority, responders: Responders, openssl: &OpenSsl) {
    let question = openssl.read("plain.der");
    let server = Thread::start(None);
    let (public, _folder) = public::of(authority, responders);
    let (port, _public) = serve(&server, public);
    let mut connection = Connection::to(port);
    let ask = |connection: &mut Connection, path: &str| {
        connection.ask(&format!("POST {path} HTTP/1.1"), "application/ocsp-request", &question)
    };
    let mut own = ask(&mut connection, "/ocsp");
    let (bare_port, _bare) = serve(&server, Arc::new(Bare(Bytes::from(own.clone()))));
    let mut bare = Connection::to(bare_port);
    let mut cfssl = has("cfssl").then(|| ocspserve(openssl));
    let mut theirs = Vec::new();

    let own_time = |connection: &mut Connection, last: &mut Vec<u8>| {
        let before = server.on_core();
        (0..PREPARED).for_each(|_| *last = ask(connection, "/ocsp"));
        (server.on_core() - before) / PREPARED
    };
    let mut turns = Turns::of(|| own_time(&mut connection, &mut own));
    turns.beside("its listener with one answer", || own_time(&mut bare, &mut Vec::new()));
    if let Some((service, connection)) = &mut cfssl {
        turns.beside("cfssl ocspserve", || {
            on_core(service.pid(), || (0..PREPARED).for_each(|_| theirs = ask(connection, "/"))) / PREPARED
        });
    }
    turns.run("an OCSP answer that is prepared, over HTTP", TURNS);
    check(openssl, &own);
    if cfssl.is_some() {
        check(openssl, &theirs);
    }
}

/// An answer that `cfssl ocspsign` signs: it reads the certificate instead of a question.
fn ocspsign(openssl: &OpenSsl) -> Vec<u8> {
    let mut command = Command::new("cfssl");
    let arguments =
        "ocspsign -ca ca.pem -responder ca.pem -responder-key ca.key -cert user.pem -status good -loglevel 3";
    let output =
        command.args(arguments.split(' ')).current_dir(openssl.folder()).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    STANDARD.decode(answer["ocspResponse"].as_str().unwrap()).unwrap()
}

/// `cfssl ocspserve` with the answer of `cfssl ocspsign`, and a connection to it.
fn ocspserve(openssl: &OpenSsl) -> (Service, Connection) {
    let port = service::port();
    let mut command = Command::new("cfssl");
    command.args("ocspserve -responses cfssl.answers -address 127.0.0.1 -port".split(' ')).arg(port.to_string());
    let service = Service::start(&mut command, openssl.folder(), port, "Now listening");
    let connection = service.connect();
    (service, connection)
}

fn check(openssl: &OpenSsl, answer: &[u8]) {
    openssl.file("answer.der", answer);
    let said = openssl.run("ocsp -issuer ca.pem -cert user.pem -no_nonce -respin answer.der -CAfile chain.pem");
    assert!(said.contains("Response verify OK") && said.contains("user.pem: good"), "{said}");
}
