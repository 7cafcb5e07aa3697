//! Who stands after what: the rules of standing, broken on purpose in every order.
//!
//! `world` is an authority small enough to run thousands of times, and a gate that stops a wish between its reads and
//! its commit. `traces` has one test for each sequence that a rule exists for, `admins`
//! those of the rule that somebody is left who can manage. `interleavings` runs thousands of random
//! histories and asks `oracle`, which knows the journal and the rules and none of the product's code. `published`
//! reads what relying parties are told, `proxies` is about who may follow.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what fails here is a failed test")]

#[path = "standing/admins.rs"]
mod admins;
#[path = "standing/gate.rs"]
mod gate;
#[path = "standing/interleavings.rs"]
mod interleavings;
#[path = "standing/oracle.rs"]
mod oracle;
#[path = "standing/proxies.rs"]
mod proxies;
#[path = "standing/published.rs"]
mod published;
#[path = "standing/traces.rs"]
mod traces;
#[path = "standing/world.rs"]
mod world;
