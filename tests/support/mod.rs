//! What the stories share: a running product in a folder of its own, its command line, and the programs of others.
//!
//! [`Demo`] is one `portcullis quickstart` on free ports; [`Kubeconfig`] what a user was given; `run` starts programs and
//! waits for them, never longer than it has to; `public` asks the public listener; `kube` is a real API server, `site` an authority on its own. Nothing here
//! sleeps: what is waited for is a line, an end, or an answer.
#![allow(dead_code, reason = "each story uses another part of this")]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

pub(crate) mod kube;
pub(crate) mod public;
pub(crate) mod remote;
pub(crate) mod run;
pub(crate) mod site;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use run::{Live, Said, program, run, tool};

/// The product under test.
pub(crate) const PORTCULLIS: &str = env!("CARGO_BIN_EXE_portcullis");

/// How long a first start may take on a slow and busy machine; it makes keys.
pub(crate) const START: Duration = Duration::from_secs(120);

/// How long anything else may take that takes milliseconds when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One `portcullis quickstart` and its folder; stopped when dropped.
pub(crate) struct Demo {
    folder: TempDir,
    live: Option<Live>,
    said: String,
    addresses: Value,
}

impl Demo {
    /// Starts in a new folder and waits until it is ready.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut demo = Self { folder, live: None, said: String::new(), addresses: Value::Null };
        demo.start_again();
        demo
    }

    /// Starts once more in the same folder.
    pub(crate) fn start_again(&mut self) {
        assert!(self.live.is_none(), "it is still running");
        let mut command = self.program(PORTCULLIS);
        command.arg("quickstart").arg("--dir").arg(self.dir());
        for name in ["api", "public", "proxy", "upstream", "health"] {
            command.arg(format!("--{name}-listen")).arg("127.0.0.1:0");
        }
        let live = Live::start(&mut command);
        let (found, before) = live.wait_for_line(START, |line| line.starts_with("ready;"));
        self.said.push_str(&before);
        assert!(found, "quickstart did not become ready: {before}");
        self.live = Some(live);
        let addresses = fs::read(self.dir().join("addresses.json")).expect("addresses.json means ready");
        self.addresses = serde_json::from_slice(&addresses).expect("addresses.json is JSON");
    }

    /// Asks it to stop, as `systemctl stop` and Ctrl-C do, and waits until it has.
    pub(crate) fn stop(&mut self) {
        let status = self.end(Signal::TERM);
        assert_eq!(status, Some(0), "asked to stop, it failed: {}", self.said);
    }

    /// Kills it without any chance to tidy up.
    pub(crate) fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.live.as_ref().expect("it is running").signal(signal);
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.live.as_ref().expect("it is running").pid()
    }

    fn end(&mut self, signal: Signal) -> Option<i32> {
        let live = self.live.take().expect("it is running");
        live.signal(signal);
        let said = live.wait();
        self.said.push_str(&said.err);
        self.said.push_str(&said.out);
        said.status
    }

    /// Everything it has said so far, and everything it says until it has stopped.
    pub(crate) fn stop_and_hear(&mut self) -> &str {
        self.stop();
        &self.said
    }

    /// What it keeps.
    pub(crate) fn dir(&self) -> PathBuf {
        self.folder.path().join("demo")
    }

    /// A file of the test's own, beside what the product keeps.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of the test's own that only its owner may read.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.file(name);
        fs::write(&path, content).expect("a file of the test");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
        path
    }

    /// `host:port` of one of its listeners.
    pub(crate) fn address(&self, name: &str) -> &str {
        self.addresses[name].as_str().unwrap_or_else(|| panic!("addresses.json names no {name}"))
    }

    /// A program in the folder of the test, with that folder as home and nothing of this environment but the path.
    pub(crate) fn program(&self, name: impl AsRef<OsStr>) -> Command {
        let mut command = program(name);
        command.current_dir(self.folder.path()).env("HOME", self.folder.path());
        command
    }

    /// A line of the command line, as the admin.
    pub(crate) fn admin<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Said {
        self.with_profile(&self.dir().join("profile.toml"), arguments)
    }

    /// A line of the command line, with another profile.
    pub(crate) fn with_profile<A: AsRef<OsStr>>(&self, profile: &Path, arguments: impl IntoIterator<Item = A>) -> Said {
        let mut command = self.program(PORTCULLIS);
        run(command.arg("--profile").arg(profile).args(arguments))
    }

    /// The answer of a line of the command line, as the admin, with `-o json`.
    pub(crate) fn json<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Value {
        let mut command = self.program(PORTCULLIS);
        command.arg("--profile").arg(self.dir().join("profile.toml")).args(["-o", "json"]);
        run(command.args(arguments)).ok().json()
    }

    /// Adds a user and gives them a kubeconfig.
    pub(crate) fn user(&self, id: &str, options: &[&str]) -> Kubeconfig {
        self.admin(["user", "add", id].iter().chain(options)).ok();
        self.kubeconfig(id, &format!("{id}.yaml"))
    }

    /// Gives somebody a kubeconfig, in a file of this name.
    pub(crate) fn kubeconfig(&self, id: &str, name: &str) -> Kubeconfig {
        self.admin(["kubeconfig", id, "--out", name]).ok();
        Kubeconfig::read(self.file(name))
    }

    /// kubectl with a kubeconfig.
    pub(crate) fn kubectl<A: AsRef<OsStr>>(&self, with: &Kubeconfig, arguments: impl IntoIterator<Item = A>) -> Said {
        run(&mut self.kubectl_command(with, arguments))
    }

    /// The same, not started yet.
    pub(crate) fn kubectl_command<A: AsRef<OsStr>>(
        &self,
        with: &Kubeconfig,
        arguments: impl IntoIterator<Item = A>,
    ) -> Command {
        let mut command = self.program(tool("PORTCULLIS_TEST_KUBECTL"));
        command.arg("--kubeconfig").arg(&with.path).args(arguments);
        command
    }

    /// Whom the API server behind the proxy takes the holder for.
    pub(crate) fn whoami(&self, with: &Kubeconfig) -> Value {
        let review = self.kubectl(with, ["auth", "whoami", "-o", "json"]).ok().json();
        review["status"]["userInfo"].clone()
    }

    /// openssl.
    pub(crate) fn openssl<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Said {
        run(self.program("openssl").args(arguments))
    }
}

/// A kubeconfig as a user holds it, taken apart.
pub(crate) struct Kubeconfig {
    /// The file.
    pub(crate) path: PathBuf,
    /// The leaf and its issuer, in PEM, in a file.
    pub(crate) certificate: PathBuf,
    /// The key, in PEM, in a file.
    pub(crate) key: PathBuf,
    /// The CA of the proxy's certificate, in PEM, in a file.
    pub(crate) ca: PathBuf,
    /// The key's text.
    pub(crate) key_pem: String,
}

impl Kubeconfig {
    /// Reads one and puts its parts into files beside it.
    pub(crate) fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).expect("a kubeconfig");
        let value: Value = serde_saphyr::from_str(&text).expect("a kubeconfig is YAML");
        let part = |pointer: &str, extension: &str| {
            let data = value.pointer(pointer).and_then(Value::as_str);
            let decoded = unbase64(data.unwrap_or_else(|| panic!("no {pointer} in {text}")));
            let file = path.with_extension(extension);
            fs::write(&file, decoded).expect("a file of the test");
            file
        };
        let key = part("/users/0/user/client-key-data", "key");
        Self {
            certificate: part("/users/0/user/client-certificate-data", "crt"),
            ca: part("/clusters/0/cluster/certificate-authority-data", "ca"),
            key_pem: fs::read_to_string(&key).expect("the key"),
            key,
            path,
        }
    }

    /// What Kubernetes calls its credential ID, by openssl's reckoning.
    pub(crate) fn credential_id(&self) -> String {
        let said = self.x509(&["-fingerprint", "-sha256"]);
        let (_, digits) = said.trim().split_once('=').expect("openssl's fingerprint");
        format!("X509SHA256={}", digits.replace(':', "").to_lowercase())
    }

    /// Its serial number, by openssl's reckoning.
    pub(crate) fn serial(&self) -> String {
        self.x509(&["-serial"]).trim().trim_start_matches("serial=").to_lowercase()
    }

    fn x509(&self, what: &[&str]) -> String {
        run(program("openssl").args(["x509", "-noout", "-in"]).arg(&self.certificate).args(what)).ok().out
    }

    /// A profile with this credential in it, in a file beside it.
    pub(crate) fn as_profile(&self, demo: &Demo) -> PathBuf {
        let read = |path: &Path| fs::read_to_string(path).expect("a part of the kubeconfig");
        let text = format!(
            "server = \"https://{}\"\nca = '''\n{}'''\ncertificate = '''\n{}'''\nkey = '''\n{}'''\n",
            demo.address("api"),
            read(&self.ca),
            read(&self.certificate),
            self.key_pem,
        );
        let name = self.path.with_extension("profile.toml");
        demo.write(name.file_name().and_then(OsStr::to_str).expect("a name"), text)
    }
}

fn unbase64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
}
