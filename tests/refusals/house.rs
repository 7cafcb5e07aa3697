//! A quickstart in a folder of its own, and ways to speak to it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How a command ended.
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// An HTTP answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// A running quickstart; killed when dropped.
pub(crate) struct Quickstart {
    folder: TempDir,
    process: Option<Child>,
}

impl Ran {
    fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// What it printed; it must have ended well.
    pub(crate) fn succeeded(&self) -> String {
        assert_eq!(self.status, 0, "{}", self.stderr);
        self.stdout.clone()
    }
}

/// Runs the binary by itself.
pub(crate) fn portcullis(arguments: &[impl AsRef<std::ffi::OsStr>]) -> Ran {
    Ran::of(Command::new(env!("CARGO_BIN_EXE_portcullis")).args(arguments).stdin(Stdio::null()))
}

impl Quickstart {
    /// Starts one and waits until everything answers.
    pub(crate) fn start() -> Self {
        let mut quickstart = Self { folder: tempfile::tempdir().unwrap(), process: None };
        quickstart.start_again();
        quickstart
    }

    /// Starts it again in the same folder.
    pub(crate) fn start_again(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        let mut child = command.args(self.arguments()).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (told, ready) = mpsc::channel();
        let (stderr, log) = (child.stderr.take().unwrap(), self.path("log"));
        std::thread::spawn(move || {
            let mut log = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                writeln!(log, "{line}").unwrap();
                let _ = told.send(line.starts_with("ready;"));
            }
        });
        self.process = Some(child);
        while !ready.recv_timeout(Duration::from_secs(60)).expect("it ended or was not ready in time") {}
    }

    /// The arguments it is started with.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["quickstart".to_owned(), "--dir".to_owned(), self.dir().display().to_string()];
        for listener in ["api", "public", "proxy", "upstream", "health"] {
            arguments.extend([format!("--{listener}-listen"), "127.0.0.1:0".to_owned()]);
        }
        arguments
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let id = Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap();
            kill_process(id, Signal::TERM).unwrap();
            assert!(process.wait().unwrap().success());
        }
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.folder.path().join("dir")
    }

    /// A path beside the folder, for whatever a test writes.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Everything it has said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// Runs a command as the admin.
    pub(crate) fn portcullis(&self, arguments: &[&str]) -> Ran {
        let profile = self.dir().join("profile.toml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        Ran::of(command.arg("--profile").arg(profile).args(arguments).stdin(Stdio::null()))
    }

    /// Runs a command as the admin at a terminal, where somebody types `typed`.
    pub(crate) fn portcullis_at_a_terminal(&self, arguments: &[&str], typed: &str) -> Ran {
        let profile = self.dir().join("profile.toml").display().to_string();
        let line = [&[env!("CARGO_BIN_EXE_portcullis"), "--profile", &profile], arguments].concat().join(" ");
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        Ran {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Sends a request to the API with the certificate and key of a PEM file, or with none.
    pub(crate) fn api(&self, credential: Option<&Path>, method: &str, path: &str, body: Option<&str>) -> Answer {
        let addresses = fs::read_to_string(self.dir().join("addresses.json")).unwrap();
        let addresses: serde_json::Value = serde_json::from_str(&addresses).unwrap();
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--insecure", "--request", method, "--write-out", "\n%{http_code}"]);
        if let Some(credential) = credential {
            command.arg("--cert").arg(credential).arg("--key").arg(credential);
        }
        if let Some(body) = body {
            command.args(["--data-binary", body]);
        }
        let ran = Ran::of(command.arg(format!("https://{}{path}", addresses["api"].as_str().unwrap())));
        let told = ran.succeeded();
        let (body, status) = told.rsplit_once('\n').unwrap();
        Answer { status: status.parse().unwrap(), body: body.to_owned() }
    }

    /// The same with the admin's credential.
    pub(crate) fn api_as_admin(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        let file = self.path("admin.pem");
        let profile = fs::read_to_string(self.dir().join("profile.toml")).unwrap();
        let profile: toml::Table = profile.parse().unwrap();
        let text = |key: &str| profile[key].as_str().unwrap().trim().to_owned();
        fs::write(&file, format!("{}\n{}\n", text("key"), text("certificate"))).unwrap();
        self.api(Some(&file), method, path, body)
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
