//! Builds every part in import order, binds, starts followers, and runs until told to stop.
//!
//! [`authority`] is what `serve` and `quickstart` have in common; [`quickstart`] adds a proxy and a demo upstream in the
//! same process; [`proxy`] is the proxy as a process of its own; [`first_start`] makes the authorities and the first
//! admin's profile; [`recover`] is the way back in; [`root`] takes the root's key away and signs with it there;
//! [`reload`] reads the configuration again, [`manager`] speaks to the service manager;
//! [`serving`] gives our own listeners their certificates and [`upkeep`] does what is due from time to time.

pub mod authority;
pub mod backup;
pub mod first_start;
pub mod manager;
pub mod proxy;
pub mod quickstart;
pub mod recover;
pub mod reload;
pub mod restore;
mod rolled_back;
pub mod root;
pub mod serve;
mod serving;
mod upkeep;
pub mod verify;

use std::fmt;

use crate::store::local::copy::Done;

/// The program cannot start or go on; fit for whoever started it.
#[derive(Debug)]
pub struct AppError(String);

impl AppError {
    /// What went wrong while doing something.
    fn new(doing: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self(format!("{doing}: {error}"))
    }
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AppError {}

/// How much of something long is done, in octets.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// So many …
    pub done: u64,
    /// … of so many.
    pub of: u64,
}

impl From<Done> for Progress {
    fn from(done: Done) -> Self {
        Self { done: done.octets, of: done.of }
    }
}

/// Adds to an error what was being done.
trait Doing<T> {
    fn doing(self, what: impl fmt::Display) -> Result<T, AppError>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T, AppError> {
        self.map_err(|error| AppError::new(what, error))
    }
}

/// Listens for signals from now on; what it gives resolves when one asks the process to stop.
fn asked_to_stop() -> Result<impl Future<Output = ()>, AppError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).doing("listening for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).doing("listening for signals")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
