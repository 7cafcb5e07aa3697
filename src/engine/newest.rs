//! The newest time on the record: while the wall clock is far behind it, nothing is issued.
//!
//! A certificate's validity is wall time. A clock that was set back would have what is issued now end too early, or, once
//! it is right again, have begun at a time when its holder was somebody else. Revoking does not look at clocks.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::command::{Code, Rejected};
use crate::world::Timestamp;

/// The newest time of any entry since the clock was last accepted as it is; a follower keeps it up.
#[derive(Debug, Default)]
pub struct Newest(AtomicI64);

impl Newest {
    /// The time itself; the beginning of all time while there is no entry.
    pub fn get(&self) -> Timestamp {
        Timestamp::from_unix_milliseconds(self.0.load(Ordering::Acquire))
    }

    /// An entry was made at this time.
    pub fn note(&self, at: Timestamp) {
        self.0.fetch_max(at.unix_milliseconds(), Ordering::AcqRel);
    }

    /// The clock was accepted when it said this, whatever it had said before.
    pub fn accept(&self, at: Timestamp) {
        self.0.store(at.unix_milliseconds(), Ordering::Release);
    }

    /// Whether the clock is too far behind for anything to be issued.
    pub fn is_ahead_of(&self, now: Timestamp) -> bool {
        now.after(TOLERANCE) < self.get()
    }

    /// Refuses where it is.
    pub fn check(&self, now: Timestamp) -> Result<(), Rejected> {
        if !self.is_ahead_of(now) {
            return Ok(());
        }
        Err(Rejected::new(
            Code::Unavailable,
            format!(
                "the clock says {now}, and the record has an entry of {}: nothing is issued until the clock is right; if it \
                 is right now, restart the authority once with --accept-clock",
                self.get()
            ),
        ))
    }
}

/// How far the clock may be behind: what time services step without asking.
const TOLERANCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_may_be_a_minute_behind_and_no_more_until_it_is_accepted() {
        let at = Timestamp::from_unix_seconds(1_800_000_000);
        let newest = Newest::default();
        assert!(newest.check(at).is_ok());
        newest.note(at);
        newest.note(at.before(Duration::from_secs(500)));
        assert_eq!(newest.get(), at);
        assert!(newest.check(at.before(TOLERANCE)).is_ok());
        let late = at.before(TOLERANCE + Duration::from_millis(1));
        let refused = newest.check(late).unwrap_err();
        assert!(refused.code == Code::Unavailable && refused.detail.contains("--accept-clock"), "{refused:?}");
        newest.accept(late);
        assert!(newest.check(late).is_ok());
    }
}
