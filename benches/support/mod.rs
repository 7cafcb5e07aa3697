//! What the benches share: whether they are wanted, cases in processes of their own, times, and what a process takes.
#![allow(dead_code, reason = "each bench uses another part of this")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that cannot go on has failed")]

use std::fmt;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// The case that was asked for, or an empty one; none when this is not `cargo bench` but a test that builds everything.
pub(crate) fn case() -> Option<String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("nothing is measured here: run it with `cargo bench`");
        return None;
    }
    Some(arguments.into_iter().find(|argument| argument != "--bench").unwrap_or_default())
}

/// This program once more, for one case, with memory of its own.
pub(crate) fn this(case: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--bench", case]);
    command
}

/// Runs one case to its end.
pub(crate) fn run(case: &str) {
    let status = this(case).status().unwrap();
    assert!(status.success(), "{case}: {status}");
}

/// How long each of many took.
#[derive(Default)]
pub(crate) struct Times(pub(crate) Vec<Duration>);

impl Times {
    /// The one below which this many of a hundred are.
    pub(crate) fn percentile(&self, of_hundred: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let place = (sorted.len() * of_hundred).div_ceil(100).saturating_sub(1);
        sorted.get(place).copied().unwrap_or_default()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |of_hundred| self.percentile(of_hundred).as_secs_f64() * 1e3;
        let (half, most, longest) = (milliseconds(50), milliseconds(99), milliseconds(100));
        write!(f, "p50 {half:.2} ms, p99 {most:.2} ms, max {longest:.2} ms, of {}", self.0.len())
    }
}

/// The memory of a process that is in RAM, in octets.
pub(crate) fn resident(pid: u32) -> u64 {
    kilobytes(&pid.to_string(), "VmRSS:") * 1024
}

/// The most memory of this process that was ever in RAM, in units of 1024 octets.
pub(crate) fn peak() -> u64 {
    kilobytes("self", "VmHWM:")
}

fn kilobytes(process: &str, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The time that all threads of a process have been on a core.
pub(crate) fn on_core(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let times = threads.map(|thread| {
        // One that ended meanwhile is not counted.
        let text = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0)
    });
    Duration::from_nanos(times.sum())
}

/// The averages of the system's load over 1, 5 and 15 minutes, to be quoted beside a figure.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap();
    format!("load {}", text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// Numbers that look random and are the same in every run (splitmix64).
pub(crate) const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
