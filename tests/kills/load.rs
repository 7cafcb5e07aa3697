//! The child: issues, revokes and makes large commits from many threads until it is killed.
//!
//! What happens goes to the standard output, a line for each, each in one write: nothing is counted as acknowledged that
//! a caller had not heard of.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis::access::{Actor, Part};
use portcullis::journal::Entry;
use portcullis::ledger::credentials::Reference;
use portcullis::ledger::cuts::Why;
use portcullis::revocation::wish::{Revoke, Target};
use portcullis::standing::Revision;
use portcullis::store::{Batch, CommitError, KeyRange, Store, StoreError, Timeline, Versioned, Write, entry};
use portcullis::world::{Clock as _, SystemClock};

use crate::base::{CLERKS, Office, open};

/// Names the folder that [`crate::base::Base`] made.
pub(crate) const HOME: &str = "PORTCULLIS_KILLS_HOME";
/// Whether there are large commits: `yes` or not.
pub(crate) const LARGELY: &str = "PORTCULLIS_KILLS_LARGELY";

/// How many threads make large commits.
pub(crate) const WRITERS: usize = 4;
/// How large the value of a large commit is, in octets.
pub(crate) const LARGE: usize = 450_000;

#[test]
#[ignore = "the parent starts it"]
fn until_killed() {
    let home = PathBuf::from(std::env::var_os(HOME).unwrap());
    let store: Arc<dyn Store> = Arc::new(Told(Arc::new(open(&home.join("store")).unwrap())));
    let office = Office::open(&home, Arc::clone(&store));
    let large = std::env::var(LARGELY).unwrap() == "yes";
    say("ready");
    std::thread::scope(|scope| {
        for clerk in 0..CLERKS {
            let office = &office;
            scope.spawn(move || issue_and_revoke(office, clerk));
        }
        for writer in 0..if large { WRITERS } else { 0 } {
            let store = &store;
            scope.spawn(move || write_large(&**store, writer));
        }
    });
}

/// Issues, and revokes two of three.
fn issue_and_revoke(office: &Office, clerk: usize) {
    for number in 0_u64.. {
        let issued = office.engine.run(&office.admin, &office.issue(clerk)).unwrap().outcome.row.fingerprint;
        say(&format!("issued {issued}"));
        if number % 3 != 0 {
            say(&format!("revoking {issued}"));
            let target = Target::Certificate(Reference::Fingerprint(issued));
            let wish = Revoke { target, cluster: None, why: Why::default(), lock: false, force: false };
            office.engine.run(&office.admin, &wish).unwrap();
            say(&format!("revoked {issued}"));
        }
    }
}

/// Writes one key again and again: a count, so often that a kill finds the journal in the middle of it.
fn write_large(store: &dyn Store, writer: usize) {
    let key = large_key(writer);
    let begun = store.get(&key).unwrap().map_or(0, |held| counted(&held.value).unwrap());
    for count in begun + 1.. {
        let value = count.to_be_bytes().repeat(LARGE / 8);
        let facts = Entry { at: SystemClock.now(), actor: Actor::System(Part::Upkeep), events: Vec::new() };
        let writes = vec![Write::Put { key: key.clone(), value }];
        store.commit(Batch { writes, entry: entry::encode(&facts).unwrap(), ..Batch::default() }).unwrap();
        say(&format!("written {writer} {count}"));
    }
}

/// A key that no table of the product has.
pub(crate) fn large_key(writer: usize) -> Vec<u8> {
    vec![0xf0, u8::try_from(writer).unwrap()]
}

/// The count that a large value holds, if it is one whole value.
pub(crate) fn counted(value: &[u8]) -> Option<u64> {
    let count: [u8; 8] = *value.first_chunk()?;
    (value == count.repeat(LARGE / 8)).then_some(u64::from_be_bytes(count))
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).unwrap();
}

/// A store that says when a commit begins, and when it was acknowledged.
#[derive(Debug)]
struct Told(Arc<dyn Store>);

impl Store for Told {
    fn commit(&self, batch: Batch) -> Result<Revision, CommitError> {
        say("committing");
        let outcome = self.0.commit(batch);
        match &outcome {
            Ok(revision) => say(&format!("committed {}", revision.number)),
            Err(_) => say("refused"),
        }
        outcome
    }

    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        self.0.get(key)
    }

    fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<(Vec<u8>, Versioned)>, StoreError> {
        self.0.scan(range, limit)
    }

    fn entries_after(&self, revision: Revision, limit: usize) -> Result<Vec<(Revision, Vec<u8>)>, StoreError> {
        self.0.entries_after(revision, limit)
    }

    fn end(&self) -> Revision {
        self.0.end()
    }

    fn wait_beyond(&self, revision: Revision, timeout: Duration) -> Revision {
        self.0.wait_beyond(revision, timeout)
    }

    fn timeline(&self) -> Timeline {
        self.0.timeline()
    }

    fn health(&self) -> Result<(), StoreError> {
        self.0.health()
    }
}
