//! Followers: whoever reads the journal from a cursor of their own.
//!
//! A follower is restartable and idempotent: it may be handed an entry that it has seen. Each runs on a thread of its
//! own, because the store's contract is blocking.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::journal::Entry;
use crate::standing::Revision;
use crate::store::{Store, StoreError, entry};

/// A reader of the journal.
pub trait Follower: Send + 'static {
    /// What it is called in the log.
    fn name(&self) -> &'static str;

    /// The revision it has taken in.
    fn cursor(&self) -> Revision;

    /// Takes in the next entries, oldest first, and moves its cursor beyond them.
    fn take(&mut self, entries: &[(Revision, Entry)]) -> Result<(), StoreError>;

    /// It can no longer follow; whoever depends on it must know.
    fn stopped(&mut self, why: &str);
}

/// Lets a follower take in everything that is in the journal now.
pub fn catch_up(store: &dyn Store, follower: &mut dyn Follower) -> Result<(), StoreError> {
    // By number: an era begins without an entry of its own.
    while follower.cursor().number < store.end().number {
        let page = store.entries_after(follower.cursor(), PAGE)?;
        if page.is_empty() {
            return Err(StoreError(format!("the journal has no entry after {}", follower.cursor())));
        }
        let decoded: Result<Vec<_>, StoreError> =
            page.iter().map(|(revision, bytes)| Ok((*revision, entry::decode(bytes)?))).collect();
        follower.take(&decoded?)?;
    }
    Ok(())
}

/// A follower at work; dropping it asks the thread to stop and waits for it.
#[derive(Debug)]
pub struct Following {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Following {
    /// Starts a thread that keeps the follower up with the journal.
    pub fn start(store: Arc<dyn Store>, mut follower: impl Follower) -> Result<Self, std::io::Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name(follower.name().to_owned()).spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                if let Err(error) = catch_up(&*store, &mut follower) {
                    tracing::error!(follower = follower.name(), %error, "cannot follow the journal");
                    follower.stopped(&error.to_string());
                    return;
                }
                store.wait_beyond(follower.cursor(), PATIENCE);
            }
            follower.stopped("the authority is stopping");
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Entries read at once.
const PAGE: usize = 1000;

/// How long a follower sleeps before it looks whether it should stop.
const PATIENCE: Duration = Duration::from_millis(200);
