//! Several things in turns: what each takes, and how often the authority's time it is when the machine is equally busy.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the figures")]

use std::time::Duration;

use super::pairs::median;
use super::support;

/// What takes turns; the authority is the first.
pub(crate) struct Turns<'a>(Vec<Side<'a>>);

struct Side<'a> {
    name: &'static str,
    turn: Box<dyn FnMut() -> Duration + 'a>,
    seconds: Vec<f64>,
}

impl<'a> Turns<'a> {
    /// The authority; each turn gives the time for one of whatever it does.
    pub(crate) fn of(authority: impl FnMut() -> Duration + 'a) -> Self {
        let mut turns = Self(Vec::new());
        turns.beside("the authority", authority);
        turns
    }

    /// One more.
    pub(crate) fn beside(&mut self, name: &'static str, turn: impl FnMut() -> Duration + 'a) {
        self.0.push(Side { name, turn: Box::new(turn), seconds: Vec::new() });
    }

    /// Lets all have so many turns and tells the medians.
    pub(crate) fn run(mut self, what: &str, turns: usize) {
        for _ in 0..turns {
            for side in &mut self.0 {
                side.seconds.push((side.turn)().as_secs_f64());
            }
        }
        println!("{what}, {turns} turns; {}", support::load());
        let own = self.0[0].seconds.clone();
        for side in &self.0 {
            let mut times: Vec<f64> = side.seconds.iter().zip(&own).map(|(theirs, own)| theirs / own).collect();
            times.sort_by(f64::total_cmp);
            println!(
                "    {}: {:.4} ms, {:.2} times the authority's ({:.2} to {:.2})",
                side.name,
                median(&side.seconds) * 1e3,
                median(&times),
                times[0],
                times[times.len() - 1],
            );
        }
    }
}
