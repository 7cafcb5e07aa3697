use super::*;
use crate::disk::SystemDisk;
use crate::ident::{Fingerprint, Serial};
use crate::standing::Cut;
use crate::status::{Credential, Status};
use crate::x509::reason::Reason;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const TIMELINE: Timeline = Timeline([7; 16]);

fn revision(number: u64) -> Revision {
    Revision { era: 3, number }
}

fn fingerprint(n: u8) -> Fingerprint {
    Fingerprint::from_octets([n; 32])
}

fn issuer(n: u8) -> IssuerName {
    IssuerName::of_cluster(&["north", "south"][usize::from(n % 2)].parse().unwrap(), 1)
}

fn keys(n: u8) -> Vec<CutKey> {
    let id = |n: u8| format!("user-{n}").parse().unwrap();
    vec![CutKey::Identity(id(n % 5)), CutKey::Issuer(issuer(n))]
}

/// Forty certificates of five users from two issuers; user-1 is cut off, the seventh is revoked, the last ended long ago.
fn filled() -> (Statuses, Roll) {
    let (statuses, roll) = (Statuses::empty(), Roll::default());
    for n in 0..40 {
        let not_after = if n == 39 { Timestamp::from_unix_seconds(1_700_000_000) } else { NOW };
        roll.add(&issuer(n), Serial::from_random([n; 20]), Member { fingerprint: fingerprint(n), not_after });
        let (key, issued) = (fingerprint(n).short(), revision(u64::from(n) + 1));
        statuses.apply([Change::Recorded(Credential { key, issued, not_after, cut_keys: keys(n) })]);
    }
    let cut = Cut { revision: revision(50), at: NOW, reason: Reason::KeyCompromise };
    statuses.apply([
        Change::CutOff(CutKey::Identity("user-1".parse().unwrap()), cut.clone()),
        Change::Revoked(fingerprint(7).short(), cut),
    ]);
    statuses.reached(revision(60));
    (statuses, roll)
}

fn answers(statuses: &Statuses) -> Vec<Status> {
    (0..39).map(|n| statuses.status(&fingerprint(n), NOW).unwrap()).collect()
}

#[test]
fn what_was_kept_gives_the_same_answers_and_what_ended_long_ago_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::new(Arc::new(SystemDisk), folder.path());
    assert!(kept.read(TIMELINE).unwrap().is_none());
    let (statuses, roll) = filled();
    assert_eq!(
        kept.write(&Answers { timeline: TIMELINE, statuses: &statuses, roll: &roll, newest: NOW }, NOW).unwrap(),
        revision(60)
    );
    assert!(kept.read(Timeline([8; 16])).unwrap().is_none());
    let found = kept.read(TIMELINE).unwrap().unwrap();
    assert_eq!((found.cursor, found.newest), (revision(60), NOW));
    let again = Roll::default();
    found.members.into_iter().for_each(|(issuer, members)| again.add_all(&issuer, members));
    let read = Statuses::empty();
    read.fill(found.snapshot);
    read.reached(found.cursor);
    assert_eq!(answers(&read), answers(&statuses));
    assert_eq!((read.count(), read.facts().len()), (39, 2));
    assert!(matches!(read.status(&fingerprint(7), NOW), Ok(Status::Revoked(_))));
    for n in 0..39 {
        let serial = Serial::from_random([n; 20]);
        assert_eq!(again.member(&issuer(n), serial), roll.member(&issuer(n), serial));
    }
    assert_eq!(again.member(&issuer(39), Serial::from_random([39; 20])), None);
}

#[test]
fn a_file_that_is_not_whole_is_as_good_as_none() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::new(Arc::new(SystemDisk), folder.path());
    let (statuses, roll) = filled();
    kept.write(&Answers { timeline: TIMELINE, statuses: &statuses, roll: &roll, newest: NOW }, NOW).unwrap();
    let path = folder.path().join(NAME);
    let whole = std::fs::read(&path).unwrap();
    let mut looked = 0;
    for place in (0..whole.len()).filter(|place| *place < 300 || *place >= 4096) {
        let mut changed = whole.clone();
        changed[place] ^= 0x10;
        std::fs::write(&path, &changed).unwrap();
        // Behind the head's checksum the first block is zeros that nobody reads.
        if let Some(found) = kept.read(TIMELINE).unwrap() {
            assert!((100..4096).contains(&place), "octet {place}");
            assert_eq!(found.cursor, revision(60));
        } else {
            looked += 1;
        }
    }
    assert!(looked > 3000, "{looked}");
    for length in [0, 5, 100, 4096, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(kept.read(TIMELINE).unwrap().is_none(), "{length} octets");
    }
}

/// A file with one credential, whose cut keys are the second of so many sets, each of one of so many keys.
fn with_cut_sets(folder: &Path, sets: u8, count: u8) {
    let file = SystemDisk.create_new(&folder.join(NAME)).unwrap();
    let section = |at: u64, octets: &[u8]| {
        let mut writer = SectionWriter::begin(&*file, at);
        writer.add(octets).unwrap();
        writer.end().unwrap()
    };
    let record = Record {
        fingerprint: fingerprint(1),
        serial: Serial::from_random([1; 20]),
        issuer: 0,
        issued: revision(1),
        not_after: NOW,
        cut_set: 1,
    };
    let credentials = section(HEAD, &record.encode());
    let facts = Facts { issuers: vec![issuer(0)], changes: Vec::new() };
    let facts = section(credentials.end(), &postcard::to_allocvec(&facts).unwrap());
    let all: Vec<u8> = (0..sets).flat_map(|n| postcard::to_allocvec(&[u32::from(n)].as_slice()).unwrap()).collect();
    let cut_sets = section(facts.end(), &all);
    let all: Vec<u8> = (0..count).flat_map(|n| postcard::to_allocvec(&keys(n)[0]).unwrap()).collect();
    let cut_keys = section(cut_sets.end(), &all);
    let timeline = TIMELINE.0;
    let (format, cursor) = (FORMAT, revision(60));
    let head = Head { format, timeline, cursor, newest: NOW, credentials, facts, cut_sets, cut_keys };
    write_head(&*file, &head).unwrap();
}

#[test]
fn a_credential_whose_cut_keys_are_not_there_could_never_be_cut_off() {
    for (sets, count, is_taken) in
        [(0, 2, false), (1, 2, false), (2, 1, false), (2, 2, true), (3, 3, true), (2, 5, true)]
    {
        let folder = tempfile::tempdir().unwrap();
        with_cut_sets(folder.path(), sets, count);
        let found = Kept::new(Arc::new(SystemDisk), folder.path()).read(TIMELINE).unwrap();
        assert_eq!(found.is_some(), is_taken, "{sets} sets, {count} keys");
    }
}
