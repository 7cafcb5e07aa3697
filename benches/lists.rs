//! CRLs of 10,000, 100,000 and a million entries, beside one SHA-256 over the same octets, which signing cannot do without.
//! In turns; what counts is the time on the core. Each in a process of its own, for its memory.
//!
//! `again` signs entries that are encoded already into the buffer of the list before; `fresh` into memory fresh from the
//! system. `published` is all that the authority does for its list when it is due: it announces it, looks what has changed,
//! signs, and writes the file; `revoked` is the same with one more user cut off each time, and `first` what the first list
//! after a start takes, for which nothing is encoded yet. `standing` is `revoked` where a hundredth of the certificates is
//! dead.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the figures")]

#[path = "support/authority.rs"]
mod authority;
#[path = "support/openssl.rs"]
mod openssl;
#[path = "support/pairs.rs"]
mod pairs;
#[path = "support/published.rs"]
mod published;
#[path = "support/record.rs"]
mod record;
#[path = "support/revoked.rs"]
mod revoked;
mod support;

use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use portcullis::x509::crl::Crl;

use authority::Authority;
use openssl::OpenSsl;
use pairs::{Pairs, TURNS, worked};
use published::Publisher;
use revoked::{chunks, fields, serial};

const SIZES: [u64; 3] = [10_000, 100_000, 1_000_000];
/// Certificates that stand, for users to be cut off.
const SPARE: u64 = 1000;

fn main() {
    let Some(case) = support::case() else { return };
    match case.split('|').collect::<Vec<_>>().as_slice() {
        [""] => {
            for size in SIZES {
                let kinds = ["again", "fresh", "published", "revoked", "standing", "first"];
                kinds.iter().for_each(|kind| support::run(&format!("{kind}|{size}")));
            }
        }
        [kind @ ("published" | "revoked" | "standing" | "first"), size] => whole(kind, size.parse().unwrap()),
        [kind, size] => encoded(kind, size.parse().unwrap()),
        other => panic!("{other:?}"),
    }
}

/// Signs what is encoded already.
fn encoded(kind: &str, size: u64) {
    let authority = Authority::new();
    let issuer = authority.issuer();
    let chunks = chunks((0..size).map(serial).collect());
    let list = fields(&issuer);
    let mut out = Vec::new();
    // What is hashed has to be there first; and this is the list before.
    list.sign_into(&chunks, &issuer.key, &mut out).unwrap();
    let before = out.clone();
    if kind == "fresh" {
        out = Vec::new();
    }
    let held = Memory::begin();
    let pairs = Pairs::measure(
        || hash(&before),
        || {
            worked(|| match kind {
                "again" => list.sign_into(&chunks, &issuer.key, &mut out).unwrap(),
                "fresh" => out = black_box(list.sign(&chunks, &issuer.key).unwrap()),
                other => panic!("{other}"),
            })
        },
    );
    tell(kind, size, &pairs, &held);
    check(&authority, &out, size);
}

/// All that is done for a list of the authority.
fn whole(kind: &str, size: u64) {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let [revoked, standing] = if kind == "standing" { [size / 100, size - size / 100] } else { [size, SPARE] };
    let mut publisher = Publisher::new(&authority, revoked, standing, folder.path());
    // A copy: the memory of a list that nobody reads is used again.
    let before = publisher.publish().der.to_vec();
    let (held, mut times) = (Memory::begin(), Vec::new());
    let pairs = Pairs::measure(
        || hash(&before),
        || {
            match kind {
                "published" => {}
                "first" => publisher.forget(),
                _ => publisher.revoke(),
            }
            let start = Instant::now();
            let worked = worked(|| drop(publisher.publish()));
            times.push(start.elapsed().as_secs_f64());
            worked
        },
    );
    tell(kind, size, &pairs, &held);
    let written = fs::read(folder.path().join(format!("{}.crl", authority.issuer().name))).unwrap();
    let files: Vec<f64> = (0..TURNS).map(|_| write(folder.path(), &written).as_secs_f64()).collect();
    println!(
        "    of that {:.2} ms for writing such a file; {:.0} ms with the waiting for the disk",
        pairs::median(&files) * 1e3,
        pairs::median(&times) * 1e3
    );
    check(&authority, &written, publisher.revoked());
}

/// The time on the core for a file in a folder, synced.
fn write(folder: &Path, octets: &[u8]) -> Duration {
    worked(|| {
        let mut file = File::create(folder.join("beside")).unwrap();
        file.write_all(octets).unwrap();
        file.sync_all().unwrap();
    })
}

fn hash(octets: &[u8]) -> Duration {
    worked(|| {
        black_box(digest(&SHA256, octets));
    })
}

/// What is in RAM before, and from then on at most.
struct Memory(u64);

impl Memory {
    fn begin() -> Self {
        // What was the most so far is forgotten (proc(5), `clear_refs`).
        fs::write("/proc/self/clear_refs", "5").unwrap();
        Self(support::resident(std::process::id()))
    }
}

fn tell(kind: &str, size: u64, pairs: &Pairs, held: &Memory) {
    let [share, least, most] = pairs.share();
    let peak = support::peak() * 1024;
    println!(
        "{kind}, {size} entries: {:.2} ms, the hash {:.2} ms: {:.2} times it ({:.2} to {:.2}); {} MB in RAM before, at \
         most {} MB; {}",
        pairs.product() * 1e3,
        pairs.limit() * 1e3,
        1.0 / share,
        1.0 / most,
        1.0 / least,
        held.0 / 1_000_000,
        peak / 1_000_000,
        support::load(),
    );
}

fn check(authority: &Authority, list: &[u8], size: u64) {
    let openssl = OpenSsl::new();
    openssl.file("ca.pem", authority.chain()).file("list.crl", list);
    let said = openssl.run("crl -in list.crl -inform DER -CAfile ca.pem -noout");
    assert!(said.contains("verify OK"), "{said}");
    assert_eq!(Crl::from_der(list).unwrap().entries.len() as u64, size);
}
