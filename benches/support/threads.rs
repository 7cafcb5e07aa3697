//! Runtimes of one thread each, so that the time a server takes can be told from its client's.
#![allow(dead_code, reason = "each bench uses another part of this")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::fs;
use std::future::Future;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};

/// A runtime on a thread of its own, which lives as long as the process.
pub(crate) struct Thread {
    handle: Handle,
    id: String,
}

impl Thread {
    /// Starts one, on this core alone if one is given.
    pub(crate) fn start(core: Option<&str>) -> Self {
        let (sender, started) = mpsc::channel();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let id = fs::read_link("/proc/thread-self").unwrap().file_name().unwrap().to_str().unwrap().to_owned();
            sender.send(Self { handle: runtime.handle().clone(), id }).unwrap();
            runtime.block_on(std::future::pending::<()>());
        });
        let thread = started.recv().unwrap();
        if let Some(core) = core {
            let mut pin = Command::new("taskset");
            let pinned = pin.args(["-p", "-c", core, &thread.id]).stdout(Stdio::null()).status().unwrap();
            assert!(pinned.success());
        }
        thread
    }

    /// Runs something there to its end.
    pub(crate) fn run<T: Send + 'static>(&self, what: impl Future<Output = T> + Send + 'static) -> T {
        let (sender, done) = mpsc::channel();
        self.handle.spawn(async move {
            let _ = sender.send(what.await);
        });
        done.recv().unwrap()
    }

    /// The time it has been on a core.
    pub(crate) fn on_core(&self) -> Duration {
        let text = fs::read_to_string(format!("/proc/self/task/{}/schedstat", self.id)).unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    }
}
