//! Two things in turns, ten times each: what each costs, and how they compare when the machine is equally busy.
#![allow(dead_code, reason = "each bench uses another part of this")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench that cannot go on has failed")]

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How many turns each side has.
pub(crate) const TURNS: usize = 10;

/// What each turn took, of the limit and of the product.
#[derive(Default)]
pub(crate) struct Pairs {
    limit: Vec<f64>,
    product: Vec<f64>,
}

impl Pairs {
    /// Lets both take turns; each gives the time for one of whatever it does.
    pub(crate) fn measure(mut limit: impl FnMut() -> Duration, mut product: impl FnMut() -> Duration) -> Self {
        let mut pairs = Self::default();
        for _ in 0..TURNS {
            pairs.limit.push(limit().as_secs_f64());
            pairs.product.push(product().as_secs_f64());
        }
        pairs
    }

    /// The median of the limit's times, in seconds.
    pub(crate) fn limit(&self) -> f64 {
        median(&self.limit)
    }

    /// The median of the product's times, in seconds.
    pub(crate) fn product(&self) -> f64 {
        median(&self.product)
    }

    /// How much of the limit the product reaches: the median of the ten quotients, and the least and the most of them.
    pub(crate) fn share(&self) -> [f64; 3] {
        let mut shares: Vec<f64> = self.limit.iter().zip(&self.product).map(|(limit, own)| limit / own).collect();
        shares.sort_by(f64::total_cmp);
        [median(&shares), shares[0], shares[shares.len() - 1]]
    }
}

/// The middle of them, or half way between the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2])
}

/// The time that this thread was on a core while it did so.
pub(crate) fn worked(what: impl FnOnce()) -> Duration {
    let before = on_core();
    what();
    on_core() - before
}

fn on_core() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}
