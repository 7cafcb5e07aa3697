//! The authority on a machine that fails it: a full disk, no inodes, calls that fail, too few descriptors, too little memory.
//!
//! `site` is an authority in a folder of its own, `caller` asks it over its API, `mounts` gives a test a small disk of its
//! own. Nothing acknowledged may be lost, revoking goes on as long as there is any room, and what stops says why.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "what fails here is a failed test")]
#![expect(clippy::disallowed_methods, reason = "what a longer run is to do are settings of a test")]

#[path = "faults/caller.rs"]
mod caller;
#[path = "faults/full.rs"]
mod full;
#[path = "faults/ledger.rs"]
mod ledger;
#[path = "faults/mounts.rs"]
mod mounts;
#[path = "faults/site.rs"]
mod site;
#[path = "faults/short.rs"]
mod short;
mod support;
#[path = "faults/traced.rs"]
mod traced;
