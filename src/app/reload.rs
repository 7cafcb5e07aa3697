//! Reading the configuration again while it is used (SIGHUP).
//!
//! What is new is read and checked whole before any of it is used; a configuration that is refused changes nothing, and
//! the log and the service manager are told why. What cannot change while the process runs is refused by name.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::manager::Notifier;
use super::{AppError, Doing};
use crate::config::manager::Manager;

/// What a server program has of its host.
pub struct Host<S> {
    /// The service manager.
    pub manager: Manager,
    /// Reads the settings again; an error names every mistake.
    pub reread: Box<dyn Fn() -> Result<S, String> + Send + Sync>,
}

/// The signals that steer a server program, listened for from the start.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, AppError> {
        let listen = |kind| signal(kind).doing("listening for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Serves until asked to stop; has `apply` use new settings at each SIGHUP, where it may refuse them and then has
    /// changed nothing. `failed` ends it early.
    pub(super) async fn serve<S, E>(
        mut self,
        host: &Host<S>,
        notifier: &Notifier,
        failed: impl Future<Output = E>,
        mut apply: impl AsyncFnMut(S) -> Result<(), String>,
    ) -> Result<(), E> {
        let mut failed = std::pin::pin!(failed);
        let ended = loop {
            tokio::select! {
                biased;
                _ = self.terminate.recv() => break Ok(()),
                _ = self.interrupt.recv() => break Ok(()),
                error = failed.as_mut() => break Err(error),
                _ = self.hangup.recv() => {}
            }
            notifier.reloading();
            let applied = async {
                match (host.reread)() {
                    Ok(settings) => apply(settings).await,
                    Err(mistakes) => Err(mistakes),
                }
            };
            tokio::select! {
                biased;
                _ = self.terminate.recv() => break Ok(()),
                _ = self.interrupt.recv() => break Ok(()),
                outcome = applied => tell(outcome, notifier),
            }
        };
        notifier.stopping();
        ended
    }
}

fn tell(outcome: Result<(), String>, notifier: &Notifier) {
    match outcome {
        Ok(()) => {
            tracing::info!("the configuration was read again and is used");
            notifier.ready("serving; the configuration was read again");
        }
        Err(why) => {
            tracing::error!(why, "the configuration was not changed");
            notifier.ready(&format!("serving; the configuration was not changed: {why}"));
        }
    }
}

/// Refuses what cannot change while the process runs.
pub(super) fn must_be_none(fixed: &[&str]) -> Result<(), String> {
    match fixed {
        [] => Ok(()),
        fixed => Err(format!("{} cannot change while it runs: start it again for that", fixed.join(", "))),
    }
}
