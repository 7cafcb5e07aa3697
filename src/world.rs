//! The only doors to time and chance.
//!
//! Domain code receives a [`Timestamp`] and an [`Entropy`] as arguments; nothing else in the crate
//! reads a clock or a random number generator (`clippy.toml` forbids it), so every decision can be
//! replayed in a test.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment of wall-clock time, in whole milliseconds since the Unix epoch.
///
/// Wall time is shown to people and put into certificates.
/// It never decides who is revoked: revisions do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `seconds` after the Unix epoch.
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// The moment `milliseconds` after the Unix epoch.
    pub const fn from_unix_milliseconds(milliseconds: i64) -> Self {
        Self(milliseconds)
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn unix_milliseconds(self) -> i64 {
        self.0
    }

    /// The same moment without its fraction of a second; certificates carry whole seconds only (RFC 5280 §4.1.2.5).
    #[must_use]
    pub const fn whole_seconds(self) -> Self {
        Self::from_unix_seconds(self.unix_seconds())
    }

    /// The moment `duration` later, saturating at the end of the scale.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(milliseconds(duration)))
    }

    /// The moment `duration` earlier, saturating at the start of the scale.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(milliseconds(duration)))
    }

    /// How long after `earlier` this is; zero when it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The calendar form, which the certificate formats write.
    ///
    /// Moments outside the years −9999 to 9999 become the Unix epoch; none can be built from a certificate or a clock.
    pub fn date_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.unix_seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(moment: OffsetDateTime) -> Self {
        let nanoseconds = moment.unix_timestamp_nanos();
        Self(i64::try_from(nanoseconds.div_euclid(1_000_000)).unwrap_or(0))
    }
}

/// RFC 3339 in UTC with whole seconds, such as `2026-11-22T04:00:00Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.date_time().format(&Rfc3339) {
            Ok(text) => f.write_str(&text),
            Err(_) => write!(f, "{} s", self.unix_seconds()),
        }
    }
}

/// Where wall-clock time comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// Where chance comes from: a cryptographically strong generator, or a seeded one in tests.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills `buffer`; an error means that nothing may be issued.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy>;
}

/// The random number generator did not answer.
#[derive(Debug, thiserror::Error)]
#[error("the system's random number generator failed; nothing can be issued until it answers")]
pub struct NoEntropy;

/// The system's wall clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this is the one door to the wall clock")]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from(OffsetDateTime::now_utc())
    }
}

/// The operating system's generator, by way of aws-lc.
#[derive(Debug, Clone, Copy)]
pub struct SystemEntropy;

#[expect(clippy::disallowed_methods, reason = "this is the one door to chance")]
impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
        aws_lc_rs::rand::fill(buffer).map_err(|_| NoEntropy)
    }
}

/// The outside world as a part of the product holds it.
#[derive(Clone, Debug)]
pub struct World {
    /// Its clock.
    pub clock: Arc<dyn Clock>,
    /// Its source of chance.
    pub entropy: Arc<dyn Entropy>,
}

impl World {
    /// The real one.
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy) }
    }

    /// The present moment, as a decision receives it.
    pub fn moment(&self) -> Moment<'_> {
        Moment { now: self.clock.now(), entropy: &*self.entropy }
    }
}

/// What a decision may know of the outside world.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'w> {
    /// The wall clock, once for the whole decision.
    pub now: Timestamp,
    /// Chance.
    pub entropy: &'w dyn Entropy,
}

/// `N` random bytes.
pub fn random<const N: usize>(entropy: &dyn Entropy) -> Result<[u8; N], NoEntropy> {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes)?;
    Ok(bytes)
}

/// How long the machine has been up, by two clocks of the kernel that nobody can set.
///
/// `CLOCK_BOOTTIME` goes on while the machine sleeps and is slewed by time synchronisation; `CLOCK_MONOTONIC_RAW` is
/// never slewed and stands still while the machine sleeps. How much time has passed lies between the two, so whoever
/// must not believe too long takes the longer, and whoever must have waited long enough the shorter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uptime {
    /// By `CLOCK_BOOTTIME`.
    pub boot: Duration,
    /// By `CLOCK_MONOTONIC_RAW`.
    pub raw: Duration,
}

impl Uptime {
    /// The most time that can have passed since `earlier`.
    pub fn longest_since(self, earlier: Self) -> Duration {
        self.boot.saturating_sub(earlier.boot).max(self.raw.saturating_sub(earlier.raw))
    }

    /// The least time that has passed since `earlier`.
    pub fn shortest_since(self, earlier: Self) -> Duration {
        self.boot.saturating_sub(earlier.boot).min(self.raw.saturating_sub(earlier.raw))
    }
}

/// Reads how long the machine has been up.
pub trait Ticks: Send + Sync + fmt::Debug {
    /// At this moment.
    fn uptime(&self) -> Uptime;
}

/// The kernel's own clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemTicks;

impl Ticks for SystemTicks {
    fn uptime(&self) -> Uptime {
        use rustix::time::{ClockId, clock_gettime};
        let read = |id| {
            let time = clock_gettime(id);
            Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
        };
        Uptime { boot: read(ClockId::Boottime), raw: read(ClockId::MonotonicRaw) }
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
