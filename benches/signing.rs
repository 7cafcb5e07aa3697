//! Certificates that one core issues, beside what the arithmetic alone takes: verifying a request and signing once, or
//! making a key and signing once, with the same library. In turns; what counts is the time on the core.
//!
//! `signed` reads the request, checks it, fills the template, lints it, signs it and reads it back for the record.
//! `decided` is the whole decision besides: rights, cut-offs, locks, and a commit to a store that is in memory.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the figures")]

#[path = "support/authority.rs"]
mod authority;
#[path = "support/bare.rs"]
mod bare;
#[path = "support/openssl.rs"]
mod openssl;
#[path = "support/pairs.rs"]
mod pairs;
mod support;

use std::hint::black_box;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use portcullis::ca::sign::{self, Holding};
use portcullis::ca::template::{USER_LIFETIME, Wanted};
use portcullis::ledger::rows::CertificateRole;
use portcullis::world::World;
use portcullis::x509::csr::Request;
use portcullis::x509::name::Subject;
use portcullis::x509::pem::{self, Label};
use portcullis::x509::public_key::PublicKey;
use rcgen::{CertificateParams, KeyPair};

use authority::{Authority, GROUP, USER};
use bare::{Bare, verify_and_sign};
use openssl::OpenSsl;
use pairs::{Pairs, TURNS, worked};

/// How many each side makes in one turn.
const EACH: u32 = 1000;

fn main() {
    if support::case().is_none() {
        return;
    }
    let authority = Authority::new();
    let requests: Vec<String> = (0..EACH as usize * TURNS).map(|_| request()).collect();
    let bare: Vec<Bare> = requests.iter().take(EACH as usize).map(|request| Bare::of(request)).collect();
    let mut last = Vec::new();

    let signed = Pairs::measure(
        || verify_and_sign(&bare),
        || {
            each(requests.iter().take(EACH as usize), |request| {
                let request = Request::from_pem_or_der(request.as_bytes()).unwrap();
                last = sign(&authority, request.public_key);
            })
        },
    );
    verify(&authority, &last);
    tell("from a request, signed", &signed);

    let mut left = requests.iter();
    let decided = Pairs::measure(
        || verify_and_sign(&bare),
        || {
            each(left.by_ref().take(EACH as usize), |request| {
                let request = Request::from_pem_or_der(request.as_bytes()).unwrap();
                last = authority.issue(request.public_key).der;
            })
        },
    );
    verify(&authority, &last);
    tell("from a request, decided", &decided);

    let made = Pairs::measure(
        || make_and_sign(&bare[0].signed),
        || each(0..EACH, |_| last = sign(&authority, authority::fresh())),
    );
    verify(&authority, &last);
    tell("with a fresh key, signed", &made);
    let pair = Pairs::measure(
        || each(0..EACH, |_| drop(black_box(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap()))),
        || each(0..EACH, |_| drop(black_box(authority::fresh()))),
    );
    tell("    of that, making the key", &pair);
}

/// The time on the core for each of what is [`EACH`] times.
fn each<T>(all: impl Iterator<Item = T>, what: impl FnMut(T)) -> Duration {
    worked(|| all.for_each(what)) / EACH
}

fn tell(name: &str, pairs: &Pairs) {
    let [share, least, most] = pairs.share().map(|share| share * 100.0);
    println!(
        "{name}: {:.0} a second ({:.1} µs), the limit {:.0} ({:.1} µs): {share:.1} % of it ({least:.1} to {most:.1}); {}",
        1.0 / pairs.product(),
        pairs.product() * 1e6,
        1.0 / pairs.limit(),
        pairs.limit() * 1e6,
        support::load(),
    );
}

/// A signing request in PEM, with a key of its own.
fn request() -> String {
    CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

fn make_and_sign(message: &[u8]) -> Duration {
    let (key, random) = (EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(), SystemRandom::new());
    each(0..EACH, |_| {
        black_box(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap());
        black_box(key.sign(&random, message).unwrap());
    })
}

/// What issuing does once it is decided.
fn sign(authority: &Authority, public_key: PublicKey) -> Vec<u8> {
    let subject =
        Subject { common_name: USER.to_owned(), organizations: vec![GROUP.to_owned()], organizational_unit: None };
    let (role, lifetime) = (CertificateRole::User, USER_LIFETIME);
    let wanted = Wanted { role, subject, public_key, names: Vec::new(), lifetime };
    let cut_keys = sign::cut_keys(&USER.parse().unwrap(), None, None, &[GROUP.parse().unwrap()]);
    let holding = Holding { cut_keys, ..Holding::default() };
    let (world, places) = (World::system(), &authority.authorities.places);
    sign::sign(&wanted, &authority.issuer(), places, holding, &world.moment()).unwrap().row.der
}

fn verify(authority: &Authority, certificate: &[u8]) {
    let openssl = OpenSsl::new();
    openssl.file("ca.pem", authority.chain()).file("user.pem", pem::write(Label::Certificate, certificate));
    let said = openssl.run("verify -CAfile ca.pem -purpose sslclient user.pem");
    assert!(said.contains("user.pem: OK"), "{said}");
}
