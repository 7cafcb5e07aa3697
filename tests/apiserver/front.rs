//! A proxy of a site: joined to the authority, and run as a process of its own.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::site::{in_folder, write};
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
        let token = ["--profile", "ana.toml", "-o", "name", "proxy", "token", "--cluster", cluster, "--name"];
        let token = run(in_folder(folder, PORTCULLIS).args(token).arg(&joined.name)).ok().out;
        let config = joined.config();
        run(in_folder(folder, PORTCULLIS).args(["proxy", "join", token.trim(), "--config", &config])).ok();
        joined
    }

    /// Runs, and waits until it lets users in.
    pub(crate) fn run(self) -> Front {
        let mut proxy = in_folder(&self.folder, PORTCULLIS);
        let live = Live::start(proxy.args(["proxy", "run", "--config", &self.config()]));
        let (found, before) = live.wait_for_line(START, |line| line.contains("the proxy serves"));
        assert!(found, "the proxy does not serve: {before}");
        let ready = format!("http://127.0.0.1:{}/readyz", self.health);
        until(|| run(in_folder(&self.folder, "curl").args(["-sS", "--noproxy", "*", "--fail", &ready])));
        Front { joined: self, _live: Mutex::new(live) }
    }

    /// Runs to its end.
    pub(crate) fn run_to_its_end(&self) -> Said {
        run(in_folder(&self.folder, PORTCULLIS).args(["proxy", "run", "--config", &self.config()]))
    }

    /// What the authority calls it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn config(&self) -> String {
        format!("{}.toml", self.name)
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
