//! Every single call to the disk fails in every way it can, each in a run of its own, until a whole run is untouched.
//!
//! A run makes a store, commits over several segments with a checkpoint for each, closes it, opens it again and commits
//! more. After each, a disk that works shows what is left.

use std::sync::Arc;

use super::account::{Account, is_conflicting, quick_folder};
use super::injected::{Call, How, InjectedDisk, Rule};
use super::{made, make, open, opened};
use crate::disk::SystemDisk;
use crate::store::CommitError;

/// What came of the runs with one kind of failure.
#[derive(Debug, Default)]
struct Tally {
    /// Runs in which the call that was to fail was made.
    fired: u64,
    /// Of them, those in which a group of commits could not be written or synced.
    groups: usize,
    /// Commits whose outcome was unknown.
    unknown: usize,
    /// Of them, those that were there.
    found: usize,
    /// Commits for which there was no space.
    full: usize,
}

/// One run; answers whether the failure came to pass.
fn run(rule: Rule, tally: &mut Tally) -> bool {
    let folder = quick_folder();
    let disk = InjectedDisk::new(rule);
    let mut account = Account::default();
    if let Ok(store) = make(folder.path(), Arc::new(disk.clone())) {
        account.work(&store, 9, || disk.ended_commits());
        drop(store);
        let before = disk.fired();
        match open(folder.path(), Arc::new(disk.clone())) {
            Ok(store) => account.work(&store, 3, || disk.ended_commits() && !before),
            Err(error) => assert!(disk.fired() && rule.how != How::Full, "{rule:?}: {error}"),
        }
    }
    let healthy = match open(folder.path(), Arc::new(SystemDisk)) {
        Ok(store) => store,
        Err(error) => {
            assert!(account.is_clear(), "{rule:?}: {error}");
            made(&folder)
        }
    };
    let unknown = account.count(|_, outcome| matches!(outcome, Err(CommitError::OutcomeUnknown(_))));
    tally.found += account.check(&healthy);
    account.resume(&healthy);
    drop(healthy);
    account.check(&opened(&folder));
    if !disk.fired() {
        return false;
    }
    assert!(!disk.failed_group() || unknown > 0, "{rule:?}: nobody was told");
    if rule.how == How::Full {
        let refused = |number, outcome: &Result<_, _>| number % 3 == 0 && !is_conflicting(number) && outcome.is_err();
        assert_eq!(account.count(refused), 0, "{rule:?}: a revocation was refused: {account:?}");
    }
    tally.fired += 1;
    tally.groups += usize::from(disk.failed_group());
    tally.unknown += unknown;
    tally.full += account.count(|_, outcome| *outcome == Err(CommitError::Full));
    true
}

/// The first call of the kind fails in the first run, the second in the second, until there is none left to fail.
fn every(call: Call, how: How) -> Tally {
    let mut tally = Tally::default();
    let untouched = (1..).find(|nth| !run(Rule { call, nth: *nth, how }, &mut tally)).unwrap();
    assert_eq!(tally.fired, untouched - 1);
    eprintln!("{call:?}, {how:?}: {tally:?}");
    tally
}

#[test]
fn a_call_that_fails_once_loses_nothing_acknowledged() {
    for call in Call::ALL {
        let tally = every(call, How::Once);
        let least = match call {
            Call::Write | Call::Sync => 24,
            Call::SyncFolder | Call::Rename | Call::Create => 10,
            Call::Preallocate => 4,
            Call::CreateFolder => 2,
            Call::Remove | Call::Open => 5,
        };
        assert!(tally.fired >= least, "{call:?}: {tally:?}");
        let groups = matches!(call, Call::Write | Call::Sync);
        assert!(!groups || (tally.groups >= 6 && tally.unknown >= tally.groups), "{call:?}: {tally:?}");
    }
}

#[test]
fn half_a_write_loses_nothing_acknowledged() {
    let tally = every(Call::Write, How::Half);
    assert!(tally.groups >= 6 && tally.unknown >= tally.groups, "{tally:?}");
}

#[test]
fn a_disk_on_which_everything_fails_from_some_call_on_loses_nothing_acknowledged() {
    for call in Call::ALL {
        assert!(every(call, How::Lasting).fired > 0);
    }
}

#[test]
fn a_disk_that_is_full_from_some_call_on_refuses_no_revocation() {
    for call in [Call::Preallocate, Call::Create, Call::Write] {
        let tally = every(call, How::Full);
        assert!(tally.full > 0, "{call:?}: {tally:?}");
        assert!(every(call, How::FullOnce).fired > 0);
    }
}
