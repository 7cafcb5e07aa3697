//! A thousand damaged copies: each is repaired, refused by name, or the damage is harmless. None has lost anything silently.
//!
//! The copies are of one store with a history: several segments, a torn end that was put aside, stopped once and killed
//! once. `PORTCULLIS_DAMAGE` chooses how many (`just damage 1000`), `PORTCULLIS_DAMAGE_SEED` which.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::super::checkpoint;
use super::super::frame::BLOCK;
use super::super::mark;
use super::super::segment::{self, Content, checked};
use super::super::{LocalStore, OpenError};
use super::account::{Account, difference, keys, quick_folder, same};
use super::dice::{Dice, setting};
use super::harm::{Harm, Others, Part, inflict};
use super::model::copy;
use super::{made, open, opened};
use crate::disk::{Disk as _, SystemDisk};
use crate::standing::Revision;
use crate::store::Store;

/// How a damaged copy ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// The damage was noticed and nothing is missing.
    Repaired,
    /// The start said which file it is.
    Refused,
    /// Everything but old entries is there, and who reads those is told which file it is.
    RefusedWhenRead,
    /// Nothing had to be put right.
    Harmless,
}

/// A store to copy, and what it holds.
struct Base {
    folder: TempDir,
    account: Account,
}

impl Base {
    fn store(&self) -> std::path::PathBuf {
        self.folder.path().join("store")
    }

    /// What is there while a process has it open and idle, as a kill would leave it.
    fn as_if_killed(store: &LocalStore, folder: &TempDir, account: &Account) -> Self {
        let marked = || mark::read(&SystemDisk, &folder.path().join("store/mark")).unwrap().0.position.revision;
        while marked() != store.end() {
            std::thread::yield_now();
        }
        Self::copy_of(folder, account)
    }

    fn copy_of(folder: &TempDir, account: &Account) -> Self {
        let copied = quick_folder();
        copy(&folder.path().join("store"), &copied.path().join("store"));
        Self { folder: copied, account: account.clone() }
    }
}

/// Stores to damage, and what files of others are taken from.
fn lay_out() -> (Vec<Base>, Vec<Base>, Base) {
    let (folder, mut account) = (quick_folder(), Account::default());
    let store = made(&folder);
    account.work(&store, 7, || false);
    drop(store);
    let mut older = vec![Base::copy_of(&folder, &account)];
    let store = opened(&folder);
    account.work(&store, 3, || false);
    let killed = Base::as_if_killed(&store, &folder, &account);
    drop(store);
    older.push(Base::copy_of(&folder, &account));
    let Base { folder, mut account } = killed;
    tear(&folder.path().join("store/journal"));
    let store = opened(&folder);
    assert_eq!(std::fs::read_dir(folder.path().join("store/quarantine")).unwrap().count(), 1);
    account.work(&store, 5, || false);
    drop(store);
    let rested = Base::copy_of(&folder, &account);
    let store = opened(&folder);
    account.work(&store, 1, || false);
    let killed = Base::as_if_killed(&store, &folder, &account);
    drop(store);
    let (elsewhere, mut theirs) = (quick_folder(), Account::default());
    let store = made(&elsewhere);
    theirs.work(&store, 16, || false);
    drop(store);
    (vec![rested, killed], older, Base { folder: elsewhere, account: theirs })
}

/// Leaves what a crash in the middle of a write does behind the last frame of the newest segment.
fn tear(journal: &Path) {
    let names = std::fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path());
    let newest = names.filter(|path| path.extension().is_some_and(|end| end == "segment")).max().unwrap();
    let content = Content::read(&SystemDisk, &newest).unwrap();
    let end = super::super::log::walk(&content, None).offset;
    let file = std::fs::OpenOptions::new().write(true).open(newest).unwrap();
    file.write_all_at(b"torn", (end + BLOCK) as u64).unwrap();
}

/// What tells that a start has put something right.
#[derive(Debug)]
struct Traces {
    segments: usize,
    put_aside: usize,
    has_checkpoint: bool,
    slots: usize,
    /// A file of ours beside sled's: gone when the index was made anew.
    index_kept: bool,
}

impl Traces {
    fn of(store: &Path) -> Self {
        let names = |folder: &str| std::fs::read_dir(store.join(folder)).map_or(0, |names| names.count());
        let segments = SystemDisk.list(&store.join("journal")).unwrap();
        let slots = std::fs::read(store.join("mark")).unwrap_or_default();
        Self {
            segments: segments.iter().filter(|name| segment::sequence(name).is_some()).count(),
            put_aside: names("quarantine"),
            has_checkpoint: checkpoint::read(&SystemDisk, &store.join("checkpoint")).is_ok_and(|read| read.is_some()),
            slots: slots
                .chunks(BLOCK)
                .take(2)
                .filter(|slot| checked(slot, b"PCLSMARK", 80, &store.join("mark")).is_some())
                .count(),
            index_kept: store.join("index/witness").exists(),
        }
    }
}

impl Traces {
    /// Whether the start between the two found anything to put right.
    fn noticed_by(&self, after: &Self) -> bool {
        let added = (self.segments, self.put_aside) != (after.segments, after.put_aside);
        added || !self.has_checkpoint || self.slots < 2 || !after.index_kept
    }
}

/// Opens a damaged copy, compares all of it, commits more, and compares again.
fn judge(folder: &TempDir, base: &Base) -> Result<End, String> {
    let store = folder.path().join("store");
    let index = store.join("index");
    if index.is_dir() {
        std::fs::write(index.join("witness"), b"").unwrap();
    }
    let before = Traces::of(&store);
    let names_a_file = |said: &str| said.contains(&*store.to_string_lossy());
    let opened_once = match open(folder.path(), Arc::new(SystemDisk)) {
        Ok(opened) => opened,
        Err(error @ (OpenError::Damaged { .. } | OpenError::Newer { .. } | OpenError::Disk { .. })) => {
            let said = error.to_string();
            return if names_a_file(&said) { Ok(End::Refused) } else { Err(format!("names no file: {said}")) };
        }
        Err(other) => return Err(format!("refused as what it is not: {other}")),
    };
    let after = Traces::of(&store);
    let mut account = base.account.clone();
    let model = account.model(opened_once.timeline());
    if keys(&model) != keys(&opened_once) || model.end() != opened_once.end() {
        let odd = difference(&model, &opened_once, &Vec::new());
        return Err(format!("keys are not what they were: {odd:?}"));
    }
    let entries = |store: &dyn Store| store.entries_after(Revision::IMPORTED, usize::MAX);
    let end = match entries(&opened_once) {
        Err(error) if names_a_file(&error.0) => End::RefusedWhenRead,
        Err(error) => return Err(format!("names no file: {error}")),
        read if read != entries(&model) => return Err("entries are not what they were".to_owned()),
        _ if before.noticed_by(&after) => End::Repaired,
        _ => End::Harmless,
    };
    account.resume(&opened_once);
    drop(opened_once);
    let again = open(folder.path(), Arc::new(SystemDisk)).map_err(|error| format!("refused later: {error}"))?;
    let model = account.model(again.timeline());
    if end == End::RefusedWhenRead {
        assert_eq!(keys(&model), keys(&again));
    } else {
        same(&model, &again);
    }
    Ok(end)
}

#[test]
fn every_damaged_copy_is_repaired_refused_by_name_or_harmless() {
    let count = setting("PORTCULLIS_DAMAGE").unwrap_or(112);
    let seed = setting("PORTCULLIS_DAMAGE_SEED").unwrap_or(1);
    let mut dice = Dice(seed);
    let (bases, older, foreign) = lay_out();
    let others = Others { foreign: foreign.store(), older: older.iter().map(Base::store).collect() };
    let mut table: BTreeMap<(Harm, Part), BTreeMap<End, u64>> = BTreeMap::new();
    let cells: Vec<_> = Harm::ALL.iter().flat_map(|harm| Part::ALL.iter().map(|part| (*harm, *part))).collect();
    for (number, (harm, part)) in (0..count).zip(cells.iter().cycle()) {
        let base = dice.pick(&bases);
        let folder = quick_folder();
        copy(&base.store(), &folder.path().join("store"));
        let done = inflict(*harm, *part, &folder.path().join("store"), &others, &mut dice);
        match judge(&folder, base) {
            Ok(end) => *table.entry((*harm, *part)).or_default().entry(end).or_default() += 1,
            Err(error) => panic!("copy {number} of seed {seed}, {done}: {error}; kept in {}", folder.keep().display()),
        }
    }
    eprintln!("{}", printed(seed, &table));
    let of = |end| table.values().filter_map(|ends| ends.get(&end)).sum::<u64>();
    assert_eq!(of(End::Repaired) + of(End::Refused) + of(End::RefusedWhenRead) + of(End::Harmless), count);
    assert!(of(End::Refused) > 0 && of(End::Repaired) > 0);
}

fn printed(seed: u64, table: &BTreeMap<(Harm, Part), BTreeMap<End, u64>>) -> String {
    let mut out =
        format!("| seed {seed} | | repaired | refused | refused when read | harmless |\n|---|---|---|---|---|---|\n");
    let mut totals = [0; 4];
    for ((harm, part), ends) in table {
        let row = [End::Repaired, End::Refused, End::RefusedWhenRead, End::Harmless];
        let row = row.map(|end| ends.get(&end).copied().unwrap_or(0));
        let (harm, part) = (format!("{harm:?}").to_lowercase(), format!("{part:?}").to_lowercase());
        writeln!(out, "| {harm} | {part} | {} | {} | {} | {} |", row[0], row[1], row[2], row[3]).unwrap();
        for (total, count) in totals.iter_mut().zip(row) {
            *total += count;
        }
    }
    write!(out, "| all | | {} | {} | {} | {} |", totals[0], totals[1], totals[2], totals[3]).unwrap();
    out
}
