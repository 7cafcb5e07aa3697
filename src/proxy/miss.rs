//! A certificate that is validly signed and not known here: perhaps it was issued a moment ago, so the authority is
//! asked, once however many connections bring it.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::ident::Fingerprint;
use crate::standing::Revision;
use crate::status::{Change, Credential, Statuses};

/// Whoever knows of certificates before the answers do.
pub trait LookUp: Send + Sync + fmt::Debug {
    /// What is on the record of a certificate, read anew.
    fn look_up(&self, fingerprint: Fingerprint) -> Looking<'_>;
}

/// What [`LookUp::look_up`] gives.
pub type Looking<'l> = Pin<Box<dyn Future<Output = Result<Option<Credential>, Unreachable>> + Send + 'l>>;

/// Nobody could be asked; for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);

/// What became of a miss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is on the record, and now among the answers.
    Recorded,
    /// It is not.
    Nothing,
    /// Nobody knows.
    Unreachable(Unreachable),
}

/// Asks for what is not known, within bounds.
#[derive(Debug)]
pub(super) struct Misses {
    source: Arc<dyn LookUp>,
    statuses: Arc<Statuses>,
    asking: Mutex<HashMap<Fingerprint, watch::Receiver<Option<Found>>>>,
    /// What was not on the record, when, and what the answers had come to: a change since then may have brought it.
    nothing: Mutex<HashMap<Fingerprint, (Instant, Option<Revision>)>>,
    at_once: Semaphore,
    /// How long it is believed that a certificate is not on the record.
    kept: Duration,
}

impl Misses {
    pub(super) fn new(source: Arc<dyn LookUp>, statuses: Arc<Statuses>) -> Self {
        Self {
            source,
            statuses,
            asking: Mutex::default(),
            nothing: Mutex::default(),
            at_once: Semaphore::new(AT_ONCE),
            kept: KEPT,
        }
    }

    /// Looks a certificate up and, where it is on the record, puts it among the answers: whoever asked judges it by
    /// them afterwards, and so by every cut-off that is known here.
    pub(super) async fn ask(&self, fingerprint: Fingerprint) -> Found {
        if self.was_nothing(&fingerprint) {
            return Found::Nothing;
        }
        let (sender, mut receiver) = watch::channel(None);
        let earlier = {
            let mut asking = lock(&self.asking);
            let earlier = asking.get(&fingerprint).cloned();
            if earlier.is_none() {
                asking.insert(fingerprint, receiver.clone());
            }
            earlier
        };
        if let Some(earlier) = earlier {
            receiver = earlier;
            let found = receiver.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
            return found.unwrap_or_else(|| Found::Unreachable(Unreachable("the look-up was given up".to_owned())));
        }
        // Taken away however this ends: a client that leaves must not keep others waiting.
        let _guard = Asked { misses: self, fingerprint };
        let found = self.look(fingerprint).await;
        sender.send_replace(Some(found.clone()));
        found
    }

    async fn look(&self, fingerprint: Fingerprint) -> Found {
        let Ok(_permit) = self.at_once.try_acquire() else {
            return Found::Unreachable(Unreachable("too many unknown certificates at once".to_owned()));
        };
        let reached = self.statuses.reached_revision().ok();
        match tokio::time::timeout(ANSWER_TIME, self.source.look_up(fingerprint)).await {
            Ok(Ok(Some(credential))) if credential.key == fingerprint.short() => {
                self.statuses.apply([Change::Recorded(credential)]);
                Found::Recorded
            }
            Ok(Ok(_)) => {
                let mut nothing = lock(&self.nothing);
                let now = Instant::now();
                if nothing.len() >= MOST_KEPT {
                    nothing.retain(|_, (at, _)| now.duration_since(*at) < self.kept);
                }
                if nothing.len() < MOST_KEPT {
                    nothing.insert(fingerprint, (now, reached));
                }
                Found::Nothing
            }
            Ok(Err(unreachable)) => Found::Unreachable(unreachable),
            Err(_) => Found::Unreachable(Unreachable(format!("no answer within {} s", ANSWER_TIME.as_secs()))),
        }
    }

    fn was_nothing(&self, fingerprint: &Fingerprint) -> bool {
        let reached = self.statuses.reached_revision().ok();
        lock(&self.nothing).get(fingerprint).is_some_and(|(at, then)| at.elapsed() < self.kept && *then == reached)
    }
}

struct Asked<'m> {
    misses: &'m Misses,
    fingerprint: Fingerprint,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        lock(&self.misses.asking).remove(&self.fingerprint);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Questions at once; a flood of validly signed certificates that nobody recorded is an attack.
const AT_ONCE: usize = 64;
/// The most that a certificate issued meanwhile has to wait.
const KEPT: Duration = Duration::from_secs(1);
const MOST_KEPT: usize = 10_000;
/// Less than a client waits for its first answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::world::Timestamp;

    #[derive(Debug, Default)]
    struct Source {
        asked: AtomicUsize,
        known: Mutex<Option<Credential>>,
        is_away: bool,
        gate: tokio::sync::Notify,
    }

    impl LookUp for Source {
        fn look_up(&self, _: Fingerprint) -> Looking<'_> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            Box::pin(async {
                self.gate.notified().await;
                if self.is_away { Err(Unreachable("away".to_owned())) } else { Ok(lock(&self.known).clone()) }
            })
        }
    }

    fn fingerprint() -> Fingerprint {
        Fingerprint::from_octets([3; 32])
    }

    fn world(source: Source) -> (Arc<Source>, Arc<Statuses>, Arc<Misses>) {
        let (source, statuses) = (Arc::new(source), Arc::new(Statuses::empty()));
        statuses.reached(Revision { era: 1, number: 1 });
        let misses = Arc::new(Misses::new(Arc::clone(&source) as _, Arc::clone(&statuses)));
        (source, statuses, misses)
    }

    fn recorded() -> Credential {
        let issued = Revision { era: 1, number: 2 };
        let not_after = Timestamp::from_unix_seconds(4_000_000_000);
        Credential { key: fingerprint().short(), issued, not_after, cut_keys: Vec::new() }
    }

    #[tokio::test]
    async fn many_who_bring_it_at_once_ask_once() {
        let (source, statuses, misses) = world(Source { known: Mutex::new(Some(recorded())), ..Source::default() });
        let asking: Vec<_> = (0..10)
            .map(|_| {
                let misses = Arc::clone(&misses);
                tokio::spawn(async move { misses.ask(fingerprint()).await })
            })
            .collect();
        tokio::task::yield_now().await;
        source.gate.notify_one();
        for one in asking {
            assert_eq!(one.await.unwrap(), Found::Recorded);
        }
        assert_eq!(source.asked.load(Ordering::SeqCst), 1);
        assert!(statuses.status(&fingerprint(), Timestamp::from_unix_seconds(0)).unwrap().is_good());
    }

    #[tokio::test]
    async fn nothing_is_believed_for_a_while_or_until_something_changes() {
        let (source, statuses, misses) = world(Source::default());
        let a_while = Misses { kept: Duration::from_secs(3600), ..Arc::into_inner(misses).unwrap() };
        let ask = async |misses: &Misses| {
            source.gate.notify_one();
            assert_eq!(misses.ask(fingerprint()).await, Found::Nothing);
            source.asked.load(Ordering::SeqCst)
        };
        assert_eq!([ask(&a_while).await, ask(&a_while).await], [1, 1]);
        statuses.reached(Revision { era: 1, number: 2 });
        assert_eq!([ask(&a_while).await, ask(&a_while).await], [2, 2]);
        let not_at_all = Misses { kept: Duration::ZERO, ..a_while };
        assert_eq!([ask(&not_at_all).await, ask(&not_at_all).await], [3, 4]);
    }

    #[tokio::test]
    async fn an_authority_that_is_away_is_no_answer() {
        let (source, _, misses) = world(Source { is_away: true, ..Source::default() });
        source.gate.notify_one();
        assert!(matches!(misses.ask(fingerprint()).await, Found::Unreachable(_)));
        source.gate.notify_one();
        assert!(matches!(misses.ask(fingerprint()).await, Found::Unreachable(_)));
        assert_eq!(source.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn an_answer_about_another_certificate_is_nothing() {
        let other = Credential { key: Fingerprint::from_octets([4; 32]).short(), ..recorded() };
        let (source, _, misses) = world(Source { known: Mutex::new(Some(other)), ..Source::default() });
        source.gate.notify_one();
        assert_eq!(misses.ask(fingerprint()).await, Found::Nothing);
    }
}
