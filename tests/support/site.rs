//! An authority on its own: a folder with a configuration, and `serve` in it.
#![allow(dead_code, reason = "each story uses another part of this")]

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::run::{Live, Said, program, run};
use super::{PATIENCE, PORTCULLIS, START};

/// A folder with a configuration, and the authority that runs on it.
pub(crate) struct Site {
    folder: TempDir,
    pub(crate) api: u16,
    health: u16,
    pub(crate) live: Option<Live>,
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [api, public, health] = ports();
        let site = Self { folder, api, health, live: None };
        site.write("passphrase", "correct horse battery staple, and more of it\n");
        site.write(
            "authority.toml",
            &format!(
                "[listen]\napi = \"127.0.0.1:{api}\"\npublic = \"127.0.0.1:{public}\"\nhealth = \"127.0.0.1:{health}\"\n\
                 [public]\nurl = \"http://127.0.0.1:{public}\"\ncrl_dir = \"crl\"\n[store]\ndir = \"store\"\n\
                 [ca]\ndir = \"ca\"\npassphrase_file = \"passphrase\"\n"
            ),
        );
        site
    }

    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        fs::write(self.file(name), content).expect("a file of the test");
        fs::set_permissions(self.file(name), fs::Permissions::from_mode(0o600)).expect("a mode");
    }

    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = program(name);
        command.current_dir(self.folder.path()).env("HOME", self.folder.path());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        run(self.program(PORTCULLIS).args(arguments))
    }

    /// As the first admin.
    pub(crate) fn ana(&self, arguments: &[&str]) -> Said {
        self.run(&[&["--profile", "ana.toml"], arguments].concat())
    }

    pub(crate) fn serve(&mut self) {
        self.serve_with(&[], &[]);
    }

    pub(crate) fn serve_with(&mut self, arguments: &[&str], environment: &[(&str, &str)]) {
        let mut command = self.program(PORTCULLIS);
        command.args(["serve", "--config", "authority.toml"]).args(arguments).envs(environment.iter().copied());
        self.start(&mut command);
    }

    /// Serves by way of another program.
    pub(crate) fn start(&mut self, command: &mut Command) {
        let live = Live::start(command);
        let (found, before) = live.wait_for_line(START, |line| line.contains("the authority serves"));
        assert!(found, "it does not serve: {before}");
        self.live = Some(live);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.live.as_ref().expect("it serves").signal(signal);
    }

    /// Waits until its log says this, from where it was last read.
    #[track_caller]
    pub(crate) fn until_said(&self, words: &str) {
        let live = self.live.as_ref().expect("it serves");
        let (found, said) = live.wait_for_line(PATIENCE, |line| line.contains(words));
        assert!(found, "wanted {words:?} in:\n{said}");
    }

    /// The same where another program runs it (Linux has a list of a process's children).
    pub(crate) fn signal_children(&self, signal: Signal) {
        let parent = self.live.as_ref().expect("it serves").pid();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).expect("its children");
        for child in children.split_whitespace() {
            let pid = Pid::from_raw(child.parse().expect("a process")).expect("a process");
            kill_process(pid, signal).expect("it runs");
        }
    }

    /// Waits until it has ended well.
    pub(crate) fn wait(&mut self) {
        self.live.take().expect("it serves").wait().ok();
    }

    pub(crate) fn stop(&mut self) {
        let live = self.live.take().expect("it serves");
        live.signal(Signal::TERM);
        live.wait().ok();
    }

    /// Status and body of a GET over the API, with a profile's certificate or none.
    pub(crate) fn get(&self, path: &str, profile: Option<&str>) -> (u16, String) {
        let url = format!("https://127.0.0.1:{}{path}", self.api);
        let ca = fs::read_to_string(self.file("ana.toml")).expect("a profile");
        self.write("ca.pem", &block(&ca, "ca"));
        let mut options = vec!["--cacert", "ca.pem"];
        if let Some(profile) = profile {
            let text = fs::read_to_string(self.file(&format!("{profile}.toml"))).expect("a profile");
            self.write("client.pem", &block(&text, "certificate"));
            self.write("client.key", &block(&text, "key"));
            options.extend(["--cert", "client.pem", "--key", "client.key"]);
        }
        self.curl(&url, &options)
    }

    /// The same over the health listener.
    pub(crate) fn plain(&self, path: &str) -> (u16, String) {
        self.curl(&format!("http://127.0.0.1:{}{path}", self.health), &[])
    }

    fn curl(&self, url: &str, options: &[&str]) -> (u16, String) {
        let limit = PATIENCE.as_secs().to_string();
        let mut curl = self.program("curl");
        curl.args(["-sS", "--noproxy", "*", "--max-time", &limit, "-w", "\n%{http_code}"]).args(options).arg(url);
        let said = run(&mut curl).ok();
        let (body, status) = said.out.rsplit_once('\n').expect("curl's status");
        (status.parse().expect("curl's status"), body.to_owned())
    }
}

/// The PEM behind a key of a profile.
fn block(profile: &str, key: &str) -> String {
    let (_, rest) = profile.split_once(&format!("\n{key} = '''\n")).expect("the key");
    rest.split_once("'''").expect("its end").0.to_owned()
}

/// Three ports that were free a moment ago.
pub(crate) fn ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.each_ref().map(|listener| listener.local_addr().expect("an address").port())
}
