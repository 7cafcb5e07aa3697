//! Who stands after what: the rules of standing, broken on purpose in every order.
//!
//! `world` is an authority small enough to run thousands of times, and a gate that stops a wish between its reads and
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what fails here is a failed test")]

#[path = "standing/gate.rs"]
mod gate;
#[path = "standing/traces.rs"]
mod traces;
#[path = "standing/world.rs"]
mod world;
