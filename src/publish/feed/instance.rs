//! One process of a proxy: what it was told when, what it has confirmed, and by when it must have caught up.
//!
//! At each ping the moment is noted first and the durable revision read afterwards. The proxy counts its freshness from
//! the moment it sent the ping, which is earlier. So if F is the last noted moment at which a revision below C was
//! read, the proxy cannot serve without C later than F and its bound, and nothing it cuts lives longer than its cut
//! time after that: it is *fenced*. Being disconnected is not required.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::ca::proxies::rows::InstanceRow;
use crate::standing::Revision;
use crate::status::frames::Confirm;
use crate::world::Uptime;

use super::State;

/// How far a process is with a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// It enforces it: applied, and every connection it kills has ended on both sides.
    Confirmed {
        /// The connections that the revision has ended.
        closed: u64,
    },
    /// The time has passed after which it must refuse everything unless it has caught up.
    Fenced,
    /// Neither.
    Unconfirmed {
        /// After this much more time it is fenced.
        bound: Duration,
    },
}

/// What is known of one process.
#[derive(Debug)]
pub(super) struct Instance {
    row: InstanceRow,
    /// The last moments at which each revision was read, oldest first.
    read: VecDeque<(Revision, Uptime)>,
    /// The last moment that `read` has lost, or the start of this authority for a process that an earlier one served.
    before: Option<Uptime>,
    confirmed: Option<Revision>,
    /// Connections ended, by the revision that killed them.
    closed: BTreeMap<Revision, u64>,
    connection: Option<u64>,
    connections: u64,
    heard: Uptime,
}

impl Instance {
    /// A process that was first heard now; it has been told nothing.
    pub(super) fn new(row: InstanceRow, now: Uptime) -> Self {
        Self {
            row,
            read: VecDeque::new(),
            before: None,
            confirmed: None,
            closed: BTreeMap::new(),
            connection: None,
            connections: 0,
            heard: now,
        }
    }

    /// A process that an earlier authority may have told something up to its very end.
    pub(super) fn of_earlier_authority(row: InstanceRow, start: Uptime) -> Self {
        Self { before: Some(start), ..Self::new(row, start) }
    }

    pub(super) const fn row(&self) -> &InstanceRow {
        &self.row
    }

    /// A connection begins, on terms that hold from now on and, if they are longer, for what was told before.
    pub(super) fn connect(&mut self, row: InstanceRow, now: Uptime) -> u64 {
        self.connections += 1;
        self.connection = Some(self.connections);
        self.row = row;
        self.heard = now;
        self.connections
    }

    pub(super) fn disconnect(&mut self, connection: u64) {
        if self.is_connection(connection) {
            self.connection = None;
        }
    }

    pub(super) fn is_connection(&self, connection: u64) -> bool {
        self.connection == Some(connection)
    }

    /// At `moment`, everything up to `revision` was durable, and the process was told so.
    pub(super) fn register(&mut self, moment: Uptime, revision: Revision) {
        self.heard = moment;
        match self.read.back_mut() {
            Some((last, at)) if *last == revision => *at = moment,
            _ => self.read.push_back((revision, moment)),
        }
        // What is confirmed is asked for no more, but for the last moment of all.
        while self.read.len() > MOST_MOMENTS {
            self.before = self.read.pop_front().map(|(_, at)| at).or(self.before);
        }
    }

    pub(super) fn confirm(&mut self, confirm: &Confirm, now: Uptime) {
        self.heard = now;
        self.confirmed = self.confirmed.max(Some(confirm.revision));
        for (revision, closed) in &confirm.closed {
            // A process that comes back says again what it has said.
            let known = self.closed.entry(*revision).or_default();
            *known = (*known).max(*closed);
        }
        while self.closed.len() > MOST_MOMENTS {
            self.closed.pop_first();
        }
    }

    pub(super) fn state(&self, revision: Revision, now: Uptime) -> State {
        State {
            instance: self.row.instance,
            row: self.row.clone(),
            enforcement: self.enforcement(revision, now),
            is_connected: self.connection.is_some(),
            behind: self.behind(revision, now),
            confirmed: self.confirmed,
            heard: now.shortest_since(self.heard),
        }
    }

    /// How long ago `revision` may have become durable, where this process does not enforce it yet; else zero.
    ///
    /// That is since the last moment at which nothing was durable that it had not confirmed, as far as that is known.
    fn behind(&self, revision: Revision, now: Uptime) -> Duration {
        if self.confirmed.is_some_and(|confirmed| confirmed >= revision) {
            return Duration::ZERO;
        }
        let known = self.read.partition_point(|(read, _)| Some(*read) <= self.confirmed);
        let last = known.checked_sub(1).and_then(|last| self.read.get(last)).map(|(_, at)| *at);
        let first = || self.before.or_else(|| self.read.front().map(|(_, at)| *at));
        now.longest_since(last.or_else(first).unwrap_or(self.heard))
    }

    fn enforcement(&self, revision: Revision, now: Uptime) -> Enforcement {
        if self.confirmed.is_some_and(|confirmed| confirmed >= revision) {
            return Enforcement::Confirmed { closed: self.closed.get(&revision).copied().unwrap_or(0) };
        }
        let below = self.read.partition_point(|(read, _)| *read < revision);
        let last = below.checked_sub(1).and_then(|last| self.read.get(last)).map(|(_, at)| *at).or(self.before);
        let Some(last) = last else {
            // It was never told of anything older, so that it never served on it.
            return Enforcement::Fenced;
        };
        match self.fence().checked_sub(now.shortest_since(last)) {
            Some(left) if !left.is_zero() => Enforcement::Unconfirmed { bound: left },
            _ => Enforcement::Fenced,
        }
    }

    /// Whether it is gone, and has been for so long that it can serve nobody on what it knew.
    pub(super) fn is_gone(&self, now: Uptime) -> bool {
        self.connection.is_none() && now.shortest_since(self.heard) > self.fence()
    }

    /// The bound by the proxy's clocks, which may run 0.2 % slower than ours, and the end of what it cuts.
    fn fence(&self) -> Duration {
        let longest = self.row.mode.longest(self.row.bound);
        longest.saturating_add(longest / 500).saturating_add(self.row.cut_time)
    }
}

/// A moment a second, for longer than any bound.
const MOST_MOMENTS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::freshness::{Mode, TOLERATED};
    use crate::world::Timestamp;

    fn at(seconds: u64) -> Uptime {
        Uptime { boot: Duration::from_secs(seconds), raw: Duration::from_secs(seconds) }
    }

    fn revision(number: u64) -> Revision {
        Revision { era: 1, number }
    }

    fn row(mode: Mode) -> InstanceRow {
        InstanceRow {
            instance: [1; 16],
            proxy: "prod-a".parse().unwrap(),
            cluster: "prod".parse().unwrap(),
            bound: Duration::from_secs(30),
            mode,
            cut_time: Duration::from_millis(250),
            since: Timestamp::from_unix_seconds(0),
        }
    }

    fn confirm(number: u64, closed: &[(u64, u64)]) -> Confirm {
        let closed = closed.iter().map(|(at, count)| (revision(*at), *count)).collect();
        Confirm { revision: revision(number), closed }
    }

    #[test]
    fn the_fence_counts_from_the_last_moment_at_which_less_was_read() {
        let mut instance = Instance::new(row(Mode::Strict), at(100));
        for (moment, read) in [(101, 5), (102, 5), (103, 6), (104, 7)] {
            instance.register(at(moment), revision(read));
        }
        let bound = |now| match instance.enforcement(revision(6), at(now)) {
            Enforcement::Unconfirmed { bound } => Some(bound),
            _ => None,
        };
        // 102 and 30 s by a clock that is 0.2 % slow, and 250 ms for the last connection to end.
        assert_eq!(bound(110), Some(Duration::from_millis(22_310)));
        assert_eq!(bound(132), Some(Duration::from_millis(310)));
        assert_eq!(instance.enforcement(revision(6), at(133)), Enforcement::Fenced);
        assert!(bound(133).is_none());
    }

    #[test]
    fn a_process_that_was_never_told_less_needs_no_waiting() {
        let mut instance = Instance::new(row(Mode::Strict), at(100));
        assert_eq!(instance.enforcement(revision(6), at(100)), Enforcement::Fenced);
        instance.register(at(101), revision(6));
        assert_eq!(instance.enforcement(revision(6), at(101)), Enforcement::Fenced);
        assert!(matches!(instance.enforcement(revision(7), at(101)), Enforcement::Unconfirmed { .. }));
    }

    #[test]
    fn a_process_of_an_earlier_authority_is_waited_for_from_this_start() {
        let mut instance = Instance::of_earlier_authority(row(Mode::Strict), at(100));
        assert!(matches!(instance.enforcement(revision(6), at(130)), Enforcement::Unconfirmed { .. }));
        assert_eq!(instance.enforcement(revision(6), at(131)), Enforcement::Fenced);
        // Heard again and told something newer, it may still serve on what the earlier one told it.
        instance.connect(row(Mode::Strict), at(101));
        instance.register(at(102), revision(6));
        assert!(matches!(instance.enforcement(revision(6), at(130)), Enforcement::Unconfirmed { .. }));
    }

    #[test]
    fn a_confirmation_says_how_many_connections_ended() {
        let mut instance = Instance::new(row(Mode::Strict), at(100));
        instance.register(at(101), revision(5));
        instance.confirm(&confirm(6, &[(6, 3)]), at(102));
        instance.confirm(&confirm(6, &[(6, 3)]), at(102));
        assert_eq!(instance.enforcement(revision(6), at(102)), Enforcement::Confirmed { closed: 3 });
        assert_eq!(instance.enforcement(revision(5), at(102)), Enforcement::Confirmed { closed: 0 });
        assert!(matches!(instance.enforcement(revision(7), at(102)), Enforcement::Unconfirmed { .. }));
    }

    #[test]
    fn it_is_behind_since_the_last_moment_at_which_it_enforced_everything() {
        let mut instance = Instance::new(row(Mode::Strict), at(100));
        let behind = |instance: &Instance, number, now| instance.behind(revision(number), at(now)).as_secs();
        assert_eq!(behind(&instance, 5, 103), 3);
        instance.register(at(104), revision(5));
        instance.confirm(&confirm(5, &[]), at(104));
        assert_eq!(behind(&instance, 5, 200), 0);
        for (moment, read) in [(201, 5), (202, 6), (203, 7), (204, 7)] {
            instance.register(at(moment), revision(read));
        }
        assert_eq!(behind(&instance, 7, 210), 9);
        instance.confirm(&confirm(6, &[]), at(210));
        assert_eq!(behind(&instance, 7, 210), 8);
        instance.confirm(&confirm(7, &[]), at(211));
        assert_eq!(behind(&instance, 7, 300), 0);
    }

    #[test]
    fn best_effort_is_fenced_a_quarter_of_an_hour_later() {
        let mut instance = Instance::new(row(Mode::BestEffort), at(100));
        instance.register(at(100), revision(5));
        let fenced = 100 + 30 + TOLERATED.as_secs();
        assert!(matches!(instance.enforcement(revision(6), at(fenced)), Enforcement::Unconfirmed { .. }));
        assert_eq!(instance.enforcement(revision(6), at(fenced + 3)), Enforcement::Fenced);
    }

    #[test]
    fn one_clock_standing_still_makes_the_wait_longer() {
        let mut instance = Instance::new(row(Mode::Strict), at(100));
        instance.register(at(100), revision(5));
        let slept = Uptime { boot: Duration::from_secs(500), raw: Duration::from_secs(110) };
        assert!(matches!(instance.enforcement(revision(6), slept), Enforcement::Unconfirmed { .. }));
    }

    #[test]
    fn whoever_is_connected_is_not_gone_and_whoever_left_is_once_it_is_fenced() {
        let mut instance = Instance::new(row(Mode::Strict), at(100));
        let connection = instance.connect(row(Mode::Strict), at(100));
        assert!(!instance.is_gone(at(1000)));
        let second = instance.connect(row(Mode::Strict), at(100));
        instance.disconnect(connection);
        assert!(!instance.is_gone(at(1000)));
        instance.disconnect(second);
        assert!(!instance.is_gone(at(130)));
        assert!(instance.is_gone(at(131)));
    }
}
