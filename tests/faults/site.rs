//! An authority made with `init`, its configuration beside its disk, started and stopped as often as wanted.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::caller::{CLUSTER, Caller, Profile};
use crate::support::run::{Live, Said, program, run};
use crate::support::{PATIENCE, PORTCULLIS, START};

/// The authority and where it keeps things.
pub(crate) struct Site {
    folder: TempDir,
    /// Where the store, the keys and the CRLs are.
    pub(crate) disk: PathBuf,
    api: u16,
    public: u16,
    health: u16,
    live: Option<Live>,
}

impl Site {
    /// Makes one; its disk is `disk`, or a folder of its own.
    pub(crate) fn make(disk: Option<&Path>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = disk.map_or_else(|| folder.path().join("disk"), Path::to_owned);
        fs::create_dir_all(&disk).unwrap();
        let [api, public, health] = ports();
        let site = Self { folder, disk, api, public, health, live: None };
        let of = |name: &str| site.disk.join(name).display().to_string();
        site.write("passphrase", "correct horse battery staple, and more of it\n");
        site.write(
            "authority.toml",
            &format!(
                "[listen]\napi = \"127.0.0.1:{api}\"\npublic = \"127.0.0.1:{public}\"\nhealth = \"127.0.0.1:{health}\"\n\
                 [public]\nurl = \"http://127.0.0.1:{public}\"\ncrl_dir = \"{}\"\n[store]\ndir = \"{}\"\n\
                 [ca]\ndir = \"{}\"\npassphrase_file = \"passphrase\"\n",
                of("crl"),
                of("store"),
                of("ca"),
            ),
        );
        site.run(&["init", "--config", "authority.toml", "--admin", "ana", "--out", "ana.toml"]).ok();
        site
    }

    /// Starts it, and waits until it serves.
    pub(crate) fn serve(&mut self) {
        let said = self.serve_by(&mut self.program(PORTCULLIS));
        assert!(self.is_serving(), "it does not serve: {said}");
    }

    /// Starts it by way of another program, and waits until it serves or has ended; answers what it said.
    pub(crate) fn serve_by(&mut self, command: &mut Command) -> String {
        let live = Live::start(command.args(["serve", "--config", "authority.toml"]));
        let (serves, said) = live.wait_for_line(START, |line| line.contains("the authority serves"));
        self.live = serves.then_some(live);
        said
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.live.is_some()
    }

    /// A program in the site's folder.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = program(name);
        command.current_dir(self.folder.path()).env("HOME", self.folder.path());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        run(self.program(PORTCULLIS).args(arguments))
    }

    /// A line of the command line, as the admin.
    pub(crate) fn ana(&self, arguments: &[&str]) -> Said {
        self.run(&[&["--profile", "ana.toml"], arguments].concat())
    }

    /// Adds the only cluster, which certificates are issued for.
    pub(crate) fn add_cluster(&self) {
        self.ana(&["cluster", "add", CLUSTER, "--server", "https://north.example:7444", "--name", "north.example"])
            .ok();
    }

    /// The admin at the API.
    pub(crate) fn profile(&self) -> Profile {
        Profile::read(&fs::read_to_string(self.file("ana.toml")).unwrap(), self.api)
    }

    pub(crate) fn caller(&self) -> Caller {
        self.profile().caller()
    }

    /// Status and text of a GET over plain HTTP, from the health listener or else from the public one.
    pub(crate) fn plain(&self, path: &str) -> (u16, String) {
        let port = if path.ends_with('z') { self.health } else { self.public };
        let url = format!("http://127.0.0.1:{port}{path}");
        let said = run(self
            .program("curl")
            .args(["-sS", "--noproxy", "*", "--max-time", "30", "-o", "-", "-w", "\n%{http_code}"])
            .arg(url));
        let (body, status) = said.out.rsplit_once('\n').unwrap_or(("", "0"));
        (status.parse().unwrap_or(0), body.to_owned())
    }

    /// The serial numbers on the list of the only cluster's issuer, by openssl's reckoning.
    pub(crate) fn listed(&self) -> String {
        let url = format!("http://127.0.0.1:{}/crl/north-1.crl", self.public);
        run(self.program("curl").args(["-sSf", "--noproxy", "*", "-o", "list.crl"]).arg(url)).ok();
        run(self.program("openssl").args(["crl", "-inform", "DER", "-in", "list.crl", "-noout", "-text"]))
            .ok()
            .out
            .to_lowercase()
            .replace([':', ' '], "")
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.live.as_ref().unwrap().pid()
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(&mut self) -> Said {
        self.end(Signal::TERM)
    }

    fn end(&mut self, signal: Signal) -> Said {
        let live = self.live.take().unwrap();
        live.signal(signal);
        live.wait()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.file(name), content).unwrap();
        fs::set_permissions(self.file(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// Asks until the answer is the wanted one, for a while; answers the last one.
#[track_caller]
pub(crate) fn until<T: std::fmt::Debug>(mut ask: impl FnMut() -> T, is_it: impl Fn(&T) -> bool) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = ask();
        if is_it(&found) {
            return found;
        }
        assert!(Instant::now() < end, "after {PATIENCE:?} still {found:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Three ports that were free a moment ago.
fn ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.each_ref().map(|listener| listener.local_addr().unwrap().port())
}
