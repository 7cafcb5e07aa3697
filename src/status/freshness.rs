//! Until when answers that come from elsewhere may be used.
//!
//! A proxy asks the authority every second how far it has come, and notes when it asked. Once everything up to the
//! answer is enforced, its answers are fresh for the bound, counted from the asking: whatever was revoked before is
//! enforced, and whatever is revoked later is at most that old.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Stale;
use crate::world::{Ticks, Uptime};

/// What happens when answers are older than the bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Everything is refused and cut.
    #[default]
    Strict,
    /// Service goes on for [`TOLERATED`] more, and says so.
    BestEffort,
}

/// How much longer than the bound `best-effort` serves.
pub const TOLERATED: Duration = Duration::from_secs(15 * 60);

impl Mode {
    /// The longest time after its last confirmation for which a proxy with this bound may serve.
    pub fn longest(self, bound: Duration) -> Duration {
        match self {
            Self::Strict => bound,
            Self::BestEffort => bound.saturating_add(TOLERATED),
        }
    }
}

/// How old the answers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Within the bound.
    Fresh,
    /// Beyond it, and used nevertheless (`best-effort`); the time since the authority was last heard.
    Tolerated(Duration),
    /// Too old to be used; the time since the authority was last heard, if it ever was.
    Stale(Option<Duration>),
}

/// Until when answers may be used; shared by whoever confirms them and whoever uses them.
#[derive(Debug)]
pub struct Freshness {
    ticks: Arc<dyn Ticks>,
    bound: Duration,
    mode: Mode,
    /// Nothing was ever confirmed.
    is_unheard: AtomicBool,
    /// When the authority was last asked what was then enforced, by either clock, in nanoseconds. Both only grow; read
    /// one after the other they may be of two confirmations, which makes the answers look older, never younger.
    boot: AtomicU64,
    raw: AtomicU64,
    /// A mirror's bound when it is shorter than ours, in nanoseconds.
    shorter: AtomicU64,
}

impl Freshness {
    /// Nothing is confirmed yet.
    pub fn new(ticks: Arc<dyn Ticks>, bound: Duration, mode: Mode) -> Arc<Self> {
        Arc::new(Self {
            ticks,
            bound,
            mode,
            is_unheard: AtomicBool::new(true),
            boot: AtomicU64::new(0),
            raw: AtomicU64::new(0),
            shorter: AtomicU64::new(u64::MAX),
        })
    }

    /// How long answers are fresh.
    pub const fn bound(&self) -> Duration {
        self.bound
    }

    /// What happens after that.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The clocks by which age is told.
    pub fn uptime(&self) -> Uptime {
        self.ticks.uptime()
    }

    /// Everything that the authority had made durable when it was asked at `asked` is enforced.
    pub fn confirm(&self, asked: Uptime) {
        self.shorter.store(u64::MAX, Ordering::SeqCst);
        self.note(asked);
    }

    /// The same, from an earlier process on the same boot that told the authority it had this bound. `best-effort` does
    /// not use it: until it has heard the authority itself, it serves nobody.
    pub fn resume(&self, asked: Uptime, bound: Duration) {
        if self.mode == Mode::Strict {
            self.shorter.store(nanoseconds(bound), Ordering::SeqCst);
            self.note(asked);
        }
    }

    fn note(&self, asked: Uptime) {
        self.boot.fetch_max(nanoseconds(asked.boot), Ordering::SeqCst);
        self.raw.fetch_max(nanoseconds(asked.raw), Ordering::SeqCst);
        self.is_unheard.store(false, Ordering::SeqCst);
    }

    /// How old the answers are at this moment.
    pub fn age(&self) -> Age {
        let Some(age) = self.since_confirmed() else { return Age::Stale(None) };
        let bound = self.bound.min(Duration::from_nanos(self.shorter.load(Ordering::SeqCst)));
        if age < bound {
            Age::Fresh
        } else if age < self.mode.longest(bound) {
            Age::Tolerated(age)
        } else {
            Age::Stale(Some(age))
        }
    }

    /// How long ago the authority was asked what is enforced by now, if it ever was.
    pub fn since_confirmed(&self) -> Option<Duration> {
        if self.is_unheard.load(Ordering::SeqCst) {
            return None;
        }
        let asked = Uptime {
            boot: Duration::from_nanos(self.boot.load(Ordering::SeqCst)),
            raw: Duration::from_nanos(self.raw.load(Ordering::SeqCst)),
        };
        Some(self.ticks.uptime().longest_since(asked))
    }

    /// Whether the answers may be used at this moment.
    pub fn check(&self) -> Result<(), Stale> {
        match self.age() {
            Age::Fresh | Age::Tolerated(_) => Ok(()),
            Age::Stale(None) => Err(Stale("the authority was not heard since the start".to_owned())),
            Age::Stale(Some(age)) => Err(Stale(format!(
                "the authority was last heard {} s ago, and {} s is the most allowed",
                age.as_secs(),
                self.mode.longest(self.bound).as_secs()
            ))),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug, Default)]
    struct HandTicks(Mutex<Uptime>);

    impl Ticks for HandTicks {
        fn uptime(&self) -> Uptime {
            *self.0.lock().unwrap()
        }
    }

    impl HandTicks {
        fn forward(&self, boot: u64, raw: u64) {
            let mut now = self.0.lock().unwrap();
            now.boot += Duration::from_secs(boot);
            now.raw += Duration::from_secs(raw);
        }
    }

    fn world(mode: Mode) -> (Arc<HandTicks>, Arc<Freshness>) {
        let ticks = Arc::new(HandTicks::default());
        ticks.forward(1000, 1000);
        let freshness = Freshness::new(Arc::clone(&ticks) as _, Duration::from_secs(30), mode);
        (ticks, freshness)
    }

    #[test]
    fn nothing_is_fresh_before_the_first_confirmation() {
        let (_, freshness) = world(Mode::Strict);
        assert_eq!(freshness.age(), Age::Stale(None));
        assert!(freshness.check().is_err());
    }

    #[test]
    fn the_bound_counts_from_the_asking_by_the_faster_clock() {
        let (ticks, freshness) = world(Mode::Strict);
        let asked = ticks.uptime();
        ticks.forward(10, 10);
        freshness.confirm(asked);
        ticks.forward(19, 5);
        assert_eq!(freshness.age(), Age::Fresh);
        // The machine slept: one clock stood still.
        ticks.forward(1, 0);
        assert_eq!(freshness.age(), Age::Stale(Some(Duration::from_secs(30))));
    }

    #[test]
    fn an_older_confirmation_changes_nothing() {
        let (ticks, freshness) = world(Mode::Strict);
        let early = ticks.uptime();
        ticks.forward(29, 29);
        freshness.confirm(ticks.uptime());
        freshness.confirm(early);
        ticks.forward(29, 29);
        assert_eq!(freshness.age(), Age::Fresh);
    }

    #[test]
    fn best_effort_serves_a_quarter_of_an_hour_more_and_not_from_a_mirror() {
        let (ticks, freshness) = world(Mode::BestEffort);
        freshness.resume(ticks.uptime(), Duration::from_secs(30));
        assert_eq!(freshness.age(), Age::Stale(None));
        freshness.confirm(ticks.uptime());
        ticks.forward(31, 31);
        assert!(matches!(freshness.age(), Age::Tolerated(_)));
        ticks.forward(900, 900);
        assert!(matches!(freshness.age(), Age::Stale(Some(_))));
    }

    #[test]
    fn a_mirror_is_fresh_for_the_bound_that_the_authority_was_told() {
        let (ticks, freshness) = world(Mode::Strict);
        freshness.resume(ticks.uptime(), Duration::from_secs(5));
        ticks.forward(6, 6);
        assert!(matches!(freshness.age(), Age::Stale(_)));
        freshness.confirm(ticks.uptime());
        ticks.forward(29, 29);
        assert_eq!(freshness.age(), Age::Fresh);
    }
}
