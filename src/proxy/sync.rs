//! What the register of connections locks with: the standard library's. `tests/race.rs` builds the register with another
//! lock, which tries every order in which threads may take it.

pub(super) use std::sync::{Mutex, MutexGuard};
