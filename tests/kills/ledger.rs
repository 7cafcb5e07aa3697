//! What the tester knows to be acknowledged, on the disk before it counts, and whether a store keeps it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use portcullis::ident::Fingerprint;
use portcullis::ledger::credentials::{self, Fallen, Reference, Standing};
use portcullis::standing::Revision;
use portcullis::store::Store;
use portcullis::store::txn::Txn;
use portcullis::world::{Clock as _, SystemClock};

use crate::load::{WRITERS, counted, large_key};

/// What one store owes.
#[derive(Default)]
pub(crate) struct Ledger {
    issued: Vec<Fingerprint>,
    /// Asked to be revoked, answered or not.
    revoking: BTreeSet<Fingerprint>,
    revoked: BTreeSet<Fingerprint>,
    written: [u64; WRITERS],
    /// The highest acknowledged revision.
    newest: u64,
    /// How far the journal was read through.
    checked: u64,
}

/// What one child had said when it was killed.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) issued: u64,
    pub(crate) revoked: u64,
    pub(crate) commits: u64,
    /// Commits that had begun and were not answered.
    pub(crate) open: u64,
}

/// Reads what a child says until it is dead; `ready` hears of its readiness.
///
/// Each piece is appended to the ledger file and synced before any of it is looked at.
pub(crate) fn listen(mut child: impl Read, file: &Path, ready: &Sender<()>) -> Vec<String> {
    let mut file = File::options().create(true).append(true).open(file).unwrap();
    let (mut said, mut piece, mut told) = (Vec::new(), vec![0; 65_536], false);
    loop {
        let count = child.read(&mut piece).unwrap();
        if count == 0 {
            break;
        }
        file.write_all(&piece[..count]).unwrap();
        file.sync_data().unwrap();
        said.extend_from_slice(&piece[..count]);
        if !told && said.windows(6).any(|text| text == b"ready\n") {
            told = true;
            // The parent may have given up.
            let _ = ready.send(());
        }
    }
    // What follows the last line's end is a line that was cut off.
    let whole = said.iter().rposition(|octet| *octet == b'\n').map_or(0, |end| end + 1);
    String::from_utf8_lossy(&said[..whole]).lines().map(str::to_owned).collect()
}

impl Ledger {
    /// Of a store whose journal stands at `end`.
    pub(crate) fn new(end: Revision) -> Self {
        Self { newest: end.number, checked: end.number, ..Self::default() }
    }

    /// Enters what a child said.
    pub(crate) fn enter(&mut self, lines: &[String]) -> Heard {
        let mut heard = Heard::default();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["committing"] => heard.open += 1,
                ["refused"] => heard.open -= 1,
                ["committed", number] => {
                    heard.open -= 1;
                    heard.commits += 1;
                    self.newest = self.newest.max(number.parse().unwrap());
                }
                ["issued", of] => {
                    heard.issued += 1;
                    self.issued.push(of.parse().unwrap());
                }
                ["revoking", of] => drop(self.revoking.insert(of.parse().unwrap())),
                ["revoked", of] => {
                    heard.revoked += 1;
                    self.revoked.insert(of.parse().unwrap());
                }
                ["written", writer, count] => {
                    let writer: usize = writer.parse().unwrap();
                    self.written[writer] = self.written[writer].max(count.parse().unwrap());
                }
                // The test harness has its own to say.
                _ => {}
            }
        }
        heard
    }

    /// What a store owes and does not have; empty when all is well.
    pub(crate) fn owed(&mut self, store: &Arc<dyn Store>) -> Vec<String> {
        let mut owed = Vec::new();
        let end = store.end();
        if end.number < self.newest {
            owed.push(format!("the journal ends at {}, {} was acknowledged", end.number, self.newest));
        }
        let read = store.entries_after(Revision { number: self.checked, ..end }, usize::MAX).unwrap();
        if !read.iter().map(|(at, _)| at.number).eq(self.checked + 1..=end.number) {
            owed.push(format!("the journal has a gap between {} and {}", self.checked, end.number));
        }
        self.checked = end.number;
        for fingerprint in &self.issued {
            let wrong = match (self.standing(store, fingerprint), self.revoked.contains(fingerprint)) {
                (None, _) => "was issued and is not there",
                (Some(Ok(())), true) => "was revoked and stands",
                (Some(Err(Standing::Fallen(Fallen::Revoked))), _) if self.revoking.contains(fingerprint) => continue,
                (Some(Ok(())), false) => continue,
                (Some(Err(_)), _) => "does not stand although nobody revoked it",
            };
            owed.push(format!("{fingerprint} {wrong}"));
        }
        for (writer, written) in self.written.iter().enumerate() {
            let found = store.get(&large_key(writer)).unwrap().map_or(Some(0), |held| counted(&held.value));
            if found.is_none_or(|found| found < *written) {
                owed.push(format!("writer {writer} was told {written}, and {found:?} is there"));
            }
        }
        owed
    }

    fn standing(&self, store: &Arc<dyn Store>, fingerprint: &Fingerprint) -> Option<Result<(), Standing>> {
        let mut txn = Txn::begin(&**store);
        let found = credentials::find(&mut txn, &Reference::Fingerprint(*fingerprint)).unwrap()?;
        Some(credentials::standing(&mut txn, &found, SystemClock.now()))
    }
}
