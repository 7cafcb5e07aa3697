//! Programs: started in a clean environment, waited for with a limit, and told apart by what they said.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use std::{env, thread};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::PATIENCE;

/// A program that inherits nothing but the path: no proxies, no profile, no kubeconfig of whoever runs the tests.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C.UTF-8");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A tool that `tests/run --tools` provides; never skipped when it is not there.
pub(crate) fn tool(variable: &str) -> PathBuf {
    match env::var_os(variable) {
        Some(path) => path.into(),
        None => panic!("{variable} is not set; in the checkout, run: eval \"$(tests/run --tools)\""),
    }
}

/// Runs a program to its end.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Said {
    Live::start(command).wait()
}

/// Runs a program that may say nothing for so long to its end.
#[track_caller]
pub(crate) fn run_within(patience: Duration, command: &mut Command) -> Said {
    Live::start(command).wait_within(patience)
}

/// What a program said by its end.
#[derive(Debug)]
pub(crate) struct Said {
    /// What was run.
    pub(crate) line: String,
    /// Its exit status, if it was not killed.
    pub(crate) status: Option<i32>,
    /// Its standard output.
    pub(crate) out: String,
    /// Its standard error.
    pub(crate) err: String,
}

impl Said {
    /// It succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.ended(0)
    }

    /// It ended with this status.
    #[track_caller]
    pub(crate) fn ended(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{}\n{}{}", self.line, self.out, self.err);
        self
    }

    /// It said all of this, on either stream.
    #[track_caller]
    pub(crate) fn saying(self, words: &[&str]) -> Self {
        for word in words {
            let said = self.out.contains(word) || self.err.contains(word);
            assert!(said, "{}\nwanted {word:?} in:\n{}{}", self.line, self.out, self.err);
        }
        self
    }

    /// Its standard output is this JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        match serde_json::from_str(&self.out) {
            Ok(value) => value,
            Err(error) => panic!("{}\nwanted JSON ({error}):\n{}{}", self.line, self.out, self.err),
        }
    }
}

/// A program that runs; killed when dropped.
pub(crate) struct Live {
    line: String,
    child: Child,
    lines: Receiver<Line>,
    // What has been received already.
    heard: Mutex<Said>,
}

enum Line {
    Out(String),
    Err(String),
}

impl Live {
    /// Starts it.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Self {
        let line = format!("{command:?}");
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
        let (sender, lines) = channel();
        read(child.stdout.take().expect("a pipe"), sender.clone(), Line::Out);
        read(child.stderr.take().expect("a pipe"), sender, Line::Err);
        let heard = Said { line: line.clone(), status: None, out: String::new(), err: String::new() };
        Self { line, child, lines, heard: Mutex::new(heard) }
    }

    /// Waits for a line on standard error; says whether it came, and all that came on the way.
    pub(crate) fn wait_for_line(&self, patience: Duration, is_it: impl Fn(&str) -> bool) -> (bool, String) {
        let (until, mut before) = (Instant::now() + patience, String::new());
        while let Ok(line) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            let (Line::Err(text) | Line::Out(text)) = &line;
            before.push_str(text);
            if matches!(&line, Line::Err(text) if is_it(text)) {
                return (true, before);
            }
        }
        (false, before)
    }

    /// The next line on standard output; `None` when there are no more.
    #[track_caller]
    pub(crate) fn next_line(&self) -> Option<String> {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(Line::Out(text)) => {
                    self.heard.lock().expect("one thread").out.push_str(&text);
                    return Some(text.trim_end().to_owned());
                }
                Ok(Line::Err(text)) => self.heard.lock().expect("one thread").err.push_str(&text),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => panic!("{}: said nothing for {PATIENCE:?}", self.line),
            }
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process ID");
        kill_process(pid, signal).expect("a signal to a process of our own");
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(self) -> Said {
        self.wait_within(PATIENCE)
    }

    /// The same for one that may say nothing for so long.
    #[track_caller]
    pub(crate) fn wait_within(mut self, patience: Duration) -> Said {
        // Both streams end with the program, so that one wait is enough.
        loop {
            match self.lines.recv_timeout(patience) {
                Ok(Line::Out(text)) => self.heard.get_mut().expect("one thread").out.push_str(&text),
                Ok(Line::Err(text)) => self.heard.get_mut().expect("one thread").err.push_str(&text),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("{}: neither spoke nor ended for {patience:?}", self.line),
            }
        }
        let status = self.child.wait().expect("its end").code();
        let heard = self.heard.get_mut().expect("one thread");
        heard.status = status;
        std::mem::replace(heard, Said { line: String::new(), status: None, out: String::new(), err: String::new() })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(stream: impl Read + Send + 'static, sender: Sender<Line>, wrap: fn(String) -> Line) {
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while let Ok(1..) = stream.read_until(b'\n', &mut line) {
            if sender.send(wrap(String::from_utf8_lossy(&line).into_owned())).is_err() {
                return;
            }
            line.clear();
        }
    });
}
