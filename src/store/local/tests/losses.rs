//! A thousand power cuts on a disk that keeps what was synced and a random part of the rest: the store always opens, with
//! everything acknowledged, in a state that it was in.
//!
//! Cuts come at any call: while a store is made, opened, worked with, stopped. Now and then a sync fails and takes what it
//! should have written with it. The index is there afterwards, gone, or as it was when the store was last stopped.
//! `PORTCULLIS_LOSSES` chooses how many cuts (`just losses 1000`), `PORTCULLIS_LOSSES_SEED` which.

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::super::{LocalStore, OpenError, Options};
use super::account::{Account, quick_folder};
use super::dice::{Dice, setting};
use super::lossy::LossyDisk;
use super::model::copy;
use super::{options, settled};
use crate::world::SystemEntropy;

/// How many cuts one store goes through before another takes its place.
const CUTS_PER_STORE: u64 = 6;

/// What came out.
#[derive(Debug, Default)]
struct Tally {
    cuts: u64,
    making: u64,
    starting: u64,
    working: u64,
    bad_syncs: u64,
    acknowledged: usize,
    torn: usize,
    /// Commits whose outcome was unknown and that are there.
    found: usize,
    index: [u64; 3],
}

impl Tally {
    fn print(&self, seed: u64) {
        let rows = [
            ("power cuts", self.cuts),
            ("while the store was made", self.making),
            ("while it was opened", self.starting),
            ("while it worked", self.working),
            ("syncs that failed and lost", self.bad_syncs),
            ("torn tails", self.torn as u64),
            ("commits acknowledged", self.acknowledged as u64),
            ("commits of unknown outcome that were there", self.found as u64),
            ("index kept", self.index[0]),
            ("index gone", self.index[1]),
            ("index older", self.index[2]),
        ];
        eprintln!("| seed {seed} | |\n|---|---|");
        for (name, count) in rows {
            eprintln!("| {name} | {count} |");
        }
    }
}

/// A store, the disk it is on, and what it was asked.
struct Life {
    home: TempDir,
    disk: LossyDisk,
    account: Account,
    options: Options,
    rested: TempDir,
}

impl Life {
    fn begin(dice: &mut Dice) -> Self {
        let home = quick_folder();
        let disk = LossyDisk::new(home.path(), Dice(dice.roll()));
        let options = Options { mark_lag: dice.below(2) * 2, ..options() };
        Self { home, disk, account: Account::default(), options, rested: quick_folder() }
    }

    fn open(&self) -> Result<LocalStore, OpenError> {
        let folder = self.home.path().join("store");
        LocalStore::open(&folder, Arc::new(self.disk.clone()), Arc::new(SystemEntropy), self.options.clone())
            .map(settled)
    }

    fn make(&self) -> Result<LocalStore, OpenError> {
        let folder = self.home.path().join("store");
        LocalStore::create(&folder, 7, Arc::new(self.disk.clone()), Arc::new(SystemEntropy), self.options.clone())
            .map(settled)
    }

    /// Opens the store, or makes it where nothing can have been acknowledged.
    fn start(&self, tally: &mut Tally) -> Option<LocalStore> {
        let was_to_fail = self.disk.is_sync_to_fail();
        let (opened, making) = match self.open() {
            Err(OpenError::NotAStore(_) | OpenError::Unfinished) if self.account.is_clear() => (self.make(), true),
            other => (other, false),
        };
        match opened {
            Ok(store) => Some(store),
            Err(_) if self.disk.is_off() => {
                *(if making { &mut tally.making } else { &mut tally.starting }) += 1;
                None
            }
            Err(OpenError::Disk { .. }) if was_to_fail && !self.disk.is_sync_to_fail() => None,
            Err(error) => panic!("the store does not open: {error}"),
        }
    }

    /// One process, with the power cut or a sync failing at some moment of it.
    fn session(&mut self, dice: &mut Dice, tally: &mut Tally) {
        match dice.below(3) {
            0 => self.disk.cut_at(1 + dice.below(20), false),
            1 => self.disk.cut_at(1 + dice.below(120), false),
            _ => self.disk.cut_at(1 + dice.below(20), true),
        }
        self.disk.fail_sync_at(dice.one_in(3).then(|| 1 + dice.below(40)));
        let was_to_fail = self.disk.is_sync_to_fail();
        if let Some(store) = self.start(tally) {
            // Before the first look the power may be off: then nothing is served.
            if let Some(found) = self.account.try_check(&store) {
                tally.found += found;
            } else {
                assert!(self.disk.is_off());
            }
            self.account.work(&store, 1 + dice.below(6), || self.disk.is_off());
            let working = self.disk.is_off();
            drop(store);
            tally.working += u64::from(working);
            if !self.disk.is_off() {
                self.remember_index();
            }
        }
        tally.bad_syncs += u64::from(was_to_fail && !self.disk.is_sync_to_fail());
        assert_eq!(self.disk.broken(), Vec::<String>::new());
    }

    /// The index as it is after a stop.
    fn remember_index(&mut self) {
        self.rested = quick_folder();
        let index = self.home.path().join("store/index");
        if index.exists() {
            copy(&index, &self.rested.path().join("index"));
        }
    }

    /// The power is back, and the index is not what it was.
    fn power_on(&self, dice: &mut Dice, tally: &mut Tally) {
        self.disk.power_on();
        let (index, earlier) = (self.home.path().join("store/index"), self.rested.path().join("index"));
        let choice = dice.below(3);
        if choice > 0 && index.exists() {
            std::fs::remove_dir_all(&index).unwrap();
        }
        if choice == 2 && earlier.exists() && index.parent().is_some_and(Path::exists) {
            copy(&earlier, &index);
        }
        tally.index[usize::try_from(choice).unwrap()] += 1;
        tally.cuts += 1;
    }
}

#[test]
fn whatever_was_acknowledged_survives_every_loss_of_what_was_not_synced() {
    let cuts = setting("PORTCULLIS_LOSSES").unwrap_or(100);
    let seed = setting("PORTCULLIS_LOSSES_SEED").unwrap_or(1);
    let (mut dice, mut tally) = (Dice(seed), Tally::default());
    while tally.cuts < cuts {
        let mut life = Life::begin(&mut dice);
        let until = tally.cuts + CUTS_PER_STORE;
        while tally.cuts < until {
            life.session(&mut dice, &mut tally);
            if life.disk.is_off() {
                life.power_on(&mut dice, &mut tally);
            }
        }
        let Some(store) = life.start(&mut tally) else { panic!("nothing fails any more, and yet it does not open") };
        tally.found += life.account.check(&store);
        life.account.resume(&store);
        tally.torn += life.disk.count(&life.home.path().join("store/quarantine"));
        tally.acknowledged += life.account.count(|_, outcome| outcome.is_ok());
    }
    tally.print(seed);
    let least = [tally.starting, tally.working, tally.bad_syncs, tally.torn as u64].into_iter().min().unwrap();
    assert!(least * 20 >= cuts, "too few of a kind: {tally:?}");
}

#[test]
fn a_mark_names_only_what_is_synced_and_frames_begin_at_blocks_of_their_own() {
    let mut life = Life::begin(&mut Dice(1));
    let store = life.make().unwrap();
    life.account.work(&store, 9, || false);
    drop(store);
    let store = life.open().unwrap();
    life.account.resume(&store);
    drop(store);
    assert_eq!(life.disk.broken(), Vec::<String>::new());
    let (marks, frames) = life.disk.witnessed();
    assert!(marks > 5 && frames > 9, "{marks} marks, {frames} frames");
}
