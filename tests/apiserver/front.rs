//! A proxy of a site: joined to the authority, and run as a process of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::site::{documented, in_folder, write};
use crate::support::kube::{free_ports, until};
use crate::support::run::{Live, Said, run};
use crate::support::{PORTCULLIS, START};

/// What a proxy is started with, after it has joined.
pub(crate) struct Joined {
    folder: PathBuf,
    cluster: &'static str,
    name: String,
    port: u16,
    health: u16,
}

/// A proxy that runs.
pub(crate) struct Front {
    joined: Joined,
    _live: Mutex<Live>,
}

impl Joined {
    /// Joins for `cluster`, to serve on `port` with these settings; `folder` is the authority's.
    pub(crate) fn new(folder: &Path, cluster: &'static str, port: u16, settings: &str) -> Self {
        let ([health], name) = (free_ports(), format!("{cluster}-{port}"));
        let listen = format!("[listen]\nproxy = \"127.0.0.1:{port}\"\nhealth = \"127.0.0.1:{health}\"\n");
        let more = format!("[cluster]\nname = \"{cluster}\"\n[mirror]\ndir = \"mirror-{port}\"\n");
        write(folder, &format!("{name}.toml"), &format!("{listen}{more}{settings}"));
        let joined = Self { folder: folder.to_owned(), cluster, name, port, health };
        let line = documented("portcullis proxy token --cluster prod -o name").into_iter();
        let line = line.map(|word| if word == "prod" { cluster } else { word });
        let token = run(in_folder(folder, PORTCULLIS)
            .args(["--profile", "ana.toml"])
            .args(line)
            .arg("--name")
            .arg(&joined.name));
        write(folder, "join", &token.ok().out);
        let typed = File::open(folder.join("join")).expect("the token");
        run(joined.documented("portcullis proxy join - --config proxy.toml").stdin(typed)).ok();
        joined
    }

    /// Runs, and waits until it lets users in.
    pub(crate) fn run(self) -> Front {
        let live = Live::start(&mut self.documented(RUN));
        let (found, before) = live.wait_for_line(START, |line| line.contains("the proxy serves"));
        assert!(found, "the proxy does not serve: {before}");
        let ready = format!("http://127.0.0.1:{}/readyz", self.health);
        until(|| run(in_folder(&self.folder, "curl").args(["-sS", "--noproxy", "*", "--fail", &ready])));
        Front { joined: self, _live: Mutex::new(live) }
    }

    /// Runs to its end.
    pub(crate) fn run_to_its_end(&self) -> Said {
        run(&mut self.documented(RUN))
    }

    /// What the authority calls it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A line of the page with this proxy's settings in the place of `proxy.toml`.
    fn documented(&self, line: &'static str) -> Command {
        let config = format!("{}.toml", self.name);
        let words = documented(line);
        let mut command = in_folder(&self.folder, PORTCULLIS);
        command.args(words.iter().map(|word| if *word == "proxy.toml" { &config } else { *word }));
        command
    }
}

impl Front {
    /// Its cluster.
    pub(crate) fn cluster(&self) -> &'static str {
        self.joined.cluster
    }

    /// What the authority calls it.
    pub(crate) fn name(&self) -> &str {
        self.joined.name()
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.joined.port)
    }
}

const RUN: &str = "portcullis proxy run --config proxy.toml";
