//! How soon a proxy knows what it knew, after a start with a mirror of many credentials, all of them revoked; beside
//! nginx and HAProxy with lists as long, for which there is the bench `gates`.
//!
//! Each start is a process of its own, this program once more: it opens the mirror and answers from it as a proxy does.
//! Joining, the API server and TLS are left out. The file was written a moment ago, so that the kernel still has it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the figures")]

#[path = "support/record.rs"]
mod record;
mod support;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use portcullis::disk::SystemDisk;
use portcullis::ident::ClusterName;
use portcullis::standing::{Cut, Revision};
use portcullis::status::frames::Cursor;
use portcullis::status::mirror::Mirror;
use portcullis::status::{Change, Status, Statuses};
use portcullis::world::{Clock as _, SystemClock};
use portcullis::x509::reason::Reason;

use record::{fill, fingerprint};
use support::Times;

const SIZES: [u64; 3] = [1, 100_000, 1_000_000];
const USERS: u64 = 100_000;
const STARTS: usize = 10;

fn main() {
    let Some(case) = support::case() else { return };
    match case.split('|').collect::<Vec<_>>().as_slice() {
        [""] => SIZES.into_iter().for_each(measure),
        ["make", folder, size] => make(Path::new(folder), size.parse().unwrap()),
        ["start", folder, size] => start(Path::new(folder), size.parse().unwrap()),
        other => panic!("{other:?}"),
    }
}

fn measure(size: u64) {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().display();
    support::run(&format!("make|{folder}|{size}"));
    let (mut times, mut most) = (Times::default(), 0);
    for _ in 0..STARTS {
        let began = Instant::now();
        let mut child = support::this(&format!("start|{folder}|{size}")).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "answers");
        times.0.push(began.elapsed());
        most = most.max(lines.next().unwrap().unwrap().parse::<u64>().unwrap());
        assert!(child.wait().unwrap().success());
    }
    let file = home.path().join("statuses").metadata().unwrap().len();
    println!(
        "{size} revoked: {times}; at most {} MB in RAM, {} MB on the disk; {}",
        most / 1000,
        file / 1_000_000,
        support::load()
    );
}

fn make(folder: &Path, size: u64) {
    let statuses = Statuses::empty();
    fill(&statuses, 0..size + 1, USERS);
    let cut =
        Cut { revision: Revision { era: 1, number: size + 2 }, at: SystemClock.now(), reason: Reason::KeyCompromise };
    statuses.apply((0..size).map(|number| Change::Revoked(fingerprint(number).short(), cut.clone())));
    let (mut mirror, found) = Mirror::open(Arc::new(SystemDisk), folder, &cluster()).unwrap();
    assert!(found.is_none());
    let cursor = Cursor { timeline: [7; 16], revision: cut.revision };
    mirror.rewrite(&statuses, cursor, &[], SystemClock.now()).unwrap();
}

/// What a proxy does with its mirror, and the first right answers: the last credential stands, those before do not.
fn start(folder: &Path, size: u64) {
    let statuses = Statuses::empty();
    let (_mirror, found) = Mirror::open(Arc::new(SystemDisk), folder, &cluster()).unwrap();
    let found = found.unwrap();
    statuses.replace(found.snapshot, found.cursor.revision);
    let now = SystemClock.now();
    let status = |number| statuses.status(&fingerprint(number), now).unwrap();
    assert!(matches!(status(0), Status::Revoked(_)) && matches!(status(size / 2), Status::Revoked(_)) || size == 1);
    assert!(status(size).is_good());
    println!("answers");
    println!("{}", support::peak());
}

fn cluster() -> ClusterName {
    "prod".parse().unwrap()
}
