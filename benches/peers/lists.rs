//! CRLs of any length.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis::ident::Serial;
use serde_json::json;

use super::authority::Authority;
use super::openssl::OpenSsl;
use super::pairs::{TURNS, worked};
use super::published::Publisher;
use super::revoked::serial;
use super::step::{Step, decimal};
use super::turns::Turns;
use super::{ended, has, hexadecimal, on_core};

/// The lengths.
pub(crate) const SIZES: [u64; 3] = [10_000, 100_000, 1_000_000];
/// step-ca learns what is revoked from one request each: that many, and no more.
const MOST_REQUESTS: u64 = 100_000;
/// Certificates that stand, for users to be cut off.
const SPARE: u64 = 1000;

/// Everybody's, in turns.
pub(crate) fn measure(authority: &Authority, openssl: &OpenSsl, root: &[u8], size: u64) {
    // A turn of the longest takes half a minute.
    let turns_each = if size > MOST_REQUESTS { 3 } else { TURNS };
    let publisher = Publisher::new(authority, size, SPARE, openssl.folder());
    // A copy: the memory of a list that nobody reads is used again.
    let own = publisher.publish().der.to_vec();
    prepare(openssl, size);
    let mut step = (has("step-ca") && size <= MOST_REQUESTS).then(|| revoked(openssl, root, size));
    let mut number = size;

    let mut turns = Turns::of(|| {
        publisher.revoke();
        worked(|| drop(publisher.publish()))
    });
    turns.beside("SHA-256 alone", || hash(&own));
    turns.beside("openssl ca -gencrl", || ended(|| drop(openssl.run("ca -config ca.cnf -gencrl -out openssl.pem"))));
    if has("cfssl") {
        turns.beside("cfssl gencrl", || ended(|| gencrl(openssl)));
    }
    if let Some(step) = &mut step {
        turns.beside("step-ca, one more revocation and its list", || {
            number += 1;
            on_core(step.service.pid(), || step.revoke(&serial(number)))
        });
    }
    turns.run(&format!("a list of {size}"), turns_each);

    let own = fs::read(openssl.path(&format!("{}.crl", authority.issuer().name))).unwrap();
    check(openssl, &own, publisher.revoked());
    openssl.run("crl -in openssl.pem -outform DER -out openssl.der");
    check(openssl, &openssl.read("openssl.der"), size);
    if has("cfssl") {
        check(openssl, &STANDARD.decode(openssl.read("cfssl.txt").trim_ascii()).unwrap(), size);
    }
    if let Some(step) = &mut step {
        let list = step.list();
        check(openssl, &list, size + u64::try_from(turns_each).unwrap());
    }
}

fn hash(octets: &[u8]) -> Duration {
    worked(|| {
        black_box(digest(&SHA256, octets));
    })
}

/// What openssl and cfssl make their lists of.
fn prepare(openssl: &OpenSsl, size: u64) {
    let (mut index, mut numbers) = (String::new(), String::new());
    for number in 0..size {
        let serial: Serial = serial(number);
        let hexadecimal = hexadecimal(&serial);
        writeln!(index, "R\t301122040000Z\t261122040000Z,keyCompromise\t{hexadecimal}\tunknown\t/CN=user-{number}")
            .unwrap();
        writeln!(numbers, "{}", decimal(&serial)).unwrap();
    }
    openssl.file("index.txt", index).file("number", "01\n").file("serials", numbers.trim_end());
    openssl.file(
        "ca.cnf",
        "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\ncrlnumber=number\ncertificate=ca.pem\nprivate_key=ca.key\n\
         default_md=sha256\ndefault_crl_hours=72\nunique_subject=no\n",
    );
}

fn gencrl(openssl: &OpenSsl) {
    let mut command = Command::new("cfssl");
    command.args(["gencrl", "serials", "ca.pem", "ca.key"]).current_dir(openssl.folder());
    let said = File::create(openssl.path("cfssl.txt")).unwrap();
    assert!(command.stdin(Stdio::null()).stdout(said).status().unwrap().success());
}

/// A step-ca that makes its list anew at each revocation, after so many that it was told without.
fn revoked(openssl: &OpenSsl, root: &[u8], size: u64) -> Step {
    let database = json!({ "type": "badgerv2", "dataSource": "revocations" });
    let mut step = Step::start(openssl, root, &json!({ "db": database }));
    let time = on_core(step.service.pid(), || (0..size).for_each(|number| step.revoke(&serial(number))));
    let each = time.as_secs_f64() * 1e3 / f64::from(u32::try_from(size).unwrap());
    println!("step-ca, {size} revocations without a list: {each:.3} ms each; {}", super::support::load());
    step.service.stop();
    let settings = json!({ "db": database, "crl": { "enabled": true, "generateOnRevoke": true } });
    Step::start(openssl, root, &settings)
}

/// openssl verifies it, and it is complete.
fn check(openssl: &OpenSsl, list: &[u8], size: u64) {
    openssl.file("list.crl", list);
    assert!(openssl.run("crl -in list.crl -inform DER -CAfile chain.pem -noout").contains("verify OK"));
    let said = openssl.run("crl -in list.crl -inform DER -noout -text");
    assert_eq!(said.matches("Serial Number:").count() as u64, size);
}
