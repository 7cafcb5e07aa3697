//! What openssl, cfssl and step-ca take for what the authority does: a certificate from a request, a CRL, an OCSP answer;
//! beside it the arithmetic that nobody can do without.
//!
//! In turns in the same run; what counts is time on a core, by the kernel's count of hundredths for what has ended. A
//! command pays for a process each time and reads its files, as its users do; the authority is in the process of the
//! bench. Whoever is not on the path is left out. openssl reads what everybody has made.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the figures")]

#[path = "peers/answers.rs"]
mod answers;
#[path = "support/authority.rs"]
mod authority;
#[path = "support/bare.rs"]
mod bare;
#[path = "peers/certificates.rs"]
mod certificates;
#[path = "peers/lists.rs"]
mod lists;
#[path = "support/openssl.rs"]
mod openssl;
#[path = "support/pairs.rs"]
mod pairs;
#[path = "support/public.rs"]
mod public;
#[path = "support/published.rs"]
mod published;
#[path = "support/record.rs"]
mod record;
#[path = "support/revoked.rs"]
mod revoked;
#[path = "support/service.rs"]
mod service;
#[path = "peers/step.rs"]
mod step;
mod support;
#[path = "support/threads.rs"]
mod threads;
#[path = "support/turns.rs"]
mod turns;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use portcullis::ident::{IssuerName, Serial};
use portcullis::x509::pem::{self, Label};

use authority::Authority;
use openssl::OpenSsl;

fn main() {
    let Some(case) = support::case() else { return };
    if case.is_empty() {
        for name in ["openssl", "cfssl", "step-ca"].into_iter().filter(|name| !has(name)) {
            println!("{name} is not on the path");
        }
        ["certificates", "answers"].into_iter().for_each(support::run);
        lists::SIZES.iter().for_each(|size| support::run(&format!("lists|{size}")));
        return;
    }
    let authority = Authority::new();
    let openssl = OpenSsl::new();
    let issuer = authority.issuer();
    let root = authority.authorities.keyring.issuer(&IssuerName::root()).unwrap();
    openssl.file("root.pem", pem::write(Label::Certificate, root.certificate.der()));
    openssl.file("ca.pem", pem::write(Label::Certificate, issuer.certificate.der()));
    openssl.file("ca.key", issuer.key.serialize_pem()).file("chain.pem", authority.chain());
    match case.split('|').collect::<Vec<_>>().as_slice() {
        ["certificates"] => certificates::measure(&authority, &openssl, root.certificate.der()),
        ["answers"] => answers::measure(&authority, &openssl),
        ["lists", size] => lists::measure(&authority, &openssl, root.certificate.der(), size.parse().unwrap()),
        other => panic!("{other:?}"),
    }
}

/// Whether this program is on the path.
fn has(name: &str) -> bool {
    Command::new(name).arg("version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn hexadecimal(serial: &Serial) -> String {
    hex::encode_upper(serial.octets())
}

/// The time that a process was on a core meanwhile.
fn on_core(pid: u32, what: impl FnOnce()) -> Duration {
    let before = support::on_core(pid);
    what();
    support::on_core(pid) - before
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
