//! Every file of the fuzzers' corpora through its target, so that both stay true without a fuzzer (`fuzz/README.md`).
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a property that is broken has failed"
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

#[path = "corpora/seeds.rs"]
mod seeds;
#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

#[test]
fn every_file_of_the_corpora_keeps_the_property_of_its_target() {
    let corpora = corpora();
    for (name, target) in targets::ALL {
        let folder = corpora.join(name);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for file in files.map(|file| file.expect("a file").path()) {
            let octets = fs::read(&file).expect("a file");
            if let Err(panic) = std::panic::catch_unwind(|| target(&octets)) {
                let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                panic!("{}: {said}", file.display());
            }
            count += 1;
        }
        assert!(count > 0, "{name} has no corpus");
    }
    let folders = fs::read_dir(&corpora).expect("the corpora").map(|folder| folder.expect("a folder").file_name());
    let unknown: Vec<_> = folders.filter(|found| !targets::ALL.iter().any(|(name, _)| found == *name)).collect();
    assert!(unknown.is_empty(), "no target reads {unknown:?}");
}

/// `just seeds`: makes the seeds anew, with what the product writes and sends by now.
#[test]
#[ignore = "writes into the checkout"]
fn seeds_are_made_anew() {
    seeds::write_all(&corpora());
}

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}
