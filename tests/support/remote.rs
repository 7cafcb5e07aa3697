//! Proxies as processes of their own, and the wire between one and its authority, which can be cut in one direction.
#![allow(dead_code, reason = "each story uses another part of this")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::run::{Live, Said, program, run, run_within};
use super::{Demo, Kubeconfig, PATIENCE, PORTCULLIS, START};

/// A cluster whose proxies run on their own, before the demo API server of another quickstart.
pub(crate) struct Cluster {
    /// Its name.
    pub(crate) name: String,
    /// Where the proxy listens that kubeconfigs point at.
    pub(crate) port: u16,
}

/// A proxy on its own; it is stopped when dropped.
pub(crate) struct RemoteProxy {
    pub(crate) config: PathBuf,
    health: u16,
    live: Option<Live>,
    environment: Vec<(String, String)>,
}

/// How a proxy is to be.
pub(crate) struct How<'h> {
    pub(crate) name: &'h str,
    /// Where it listens; any free port where none is given.
    pub(crate) port: Option<u16>,
    pub(crate) bound: &'h str,
    pub(crate) mode: &'h str,
    /// The way to the authority, if not the straight one.
    pub(crate) wire: Option<&'h Wire>,
}

impl Default for How<'_> {
    fn default() -> Self {
        Self { name: "east-a", port: None, bound: "4s", mode: "strict", wire: None }
    }
}

impl Cluster {
    /// Adds it to an authority.
    pub(crate) fn add(authority: &Demo, name: &str) -> Self {
        let port = free_port();
        let server = format!("https://127.0.0.1:{port}");
        authority.admin(["cluster", "add", name, "--server", &server, "--name", "localhost"]).ok();
        Self { name: name.to_owned(), port }
    }

    /// Has a proxy join, and starts it. `upstream` is whose demo API server it stands in front of.
    pub(crate) fn proxy(&self, authority: &Demo, upstream: &Demo, how: &How<'_>) -> RemoteProxy {
        let proxy = self.joined(authority, upstream, how);
        proxy.start()
    }

    /// Has a proxy join.
    pub(crate) fn joined(&self, authority: &Demo, upstream: &Demo, how: &How<'_>) -> RemoteProxy {
        let proxy = self.configured(authority, upstream, how);
        let token = self.token(authority, how);
        run(authority.program(PORTCULLIS).args(["proxy", "join", &token, "--config"]).arg(&proxy.config)).ok();
        proxy
    }

    /// A string to join with, by way of the wire if there is one.
    pub(crate) fn token(&self, authority: &Demo, how: &How<'_>) -> String {
        let profile = fs::read_to_string(authority.dir().join("profile.toml")).expect("a profile");
        let straight = authority.address("api").to_owned();
        let address = how.wire.map_or_else(|| straight.clone(), |wire| wire.address.to_string());
        let profile = authority.write("wire.toml", profile.replace(&straight, &address));
        let said = authority.with_profile(&profile, ["proxy", "token", "--cluster", &self.name, "--name", how.name]);
        said.ok().out.trim().to_owned()
    }

    fn configured(&self, authority: &Demo, upstream: &Demo, how: &How<'_>) -> RemoteProxy {
        let (port, health) = (how.port.unwrap_or(self.port), free_port());
        let profile = fs::read_to_string(upstream.dir().join("profile.toml")).expect("a profile");
        let profile: toml::Table = profile.parse().expect("TOML");
        let ca = authority.write("upstream-ca.pem", profile["ca"].as_str().expect("a CA"));
        let mirror = authority.file(&format!("mirror-{}-{port}", how.name));
        let text = format!(
            "[listen]\nproxy = \"127.0.0.1:{port}\"\nhealth = \"127.0.0.1:{health}\"\n[cluster]\nname = \"{}\"\n\
             [upstream]\nurl = \"https://{}\"\nca = \"{}\"\ntoken_file = \"{}\"\n[freshness]\nbound = \"{}\"\n\
             mode = \"{}\"\n[mirror]\ndir = \"{}\"\n",
            self.name,
            upstream.address("upstream"),
            ca.display(),
            upstream.dir().join("upstream.token").display(),
            how.bound,
            how.mode,
            mirror.display(),
        );
        let config = authority.write(&format!("{}-{port}.toml", how.name), text);
        RemoteProxy { config, health, live: None, environment: Vec::new() }
    }
}

impl RemoteProxy {
    /// Starts it and waits until it serves.
    pub(crate) fn start(mut self) -> Self {
        self.start_again();
        self
    }

    /// Runs with this in its environment from the next start on.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn start_again(&mut self) {
        assert!(self.live.is_none(), "it is still running");
        let mut command = program(PORTCULLIS);
        command.envs(self.environment.iter().cloned());
        let live = Live::start(command.args(["proxy", "run", "--config"]).arg(&self.config));
        let (found, before) = live.wait_for_line(START, |line| line.contains("the proxy serves"));
        assert!(found, "the proxy does not serve: {before}");
        self.live = Some(live);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.live.as_ref().expect("it is running").signal(signal);
    }

    /// Waits until its log says this, from where it was last read.
    #[track_caller]
    pub(crate) fn until_said(&self, words: &str) {
        let live = self.live.as_ref().expect("it is running");
        let (found, said) = live.wait_for_line(PATIENCE, |line| line.contains(words));
        assert!(found, "wanted {words:?} in:\n{said}");
    }

    pub(crate) fn stop(&mut self) -> Said {
        self.end(Signal::TERM).ended(0)
    }

    pub(crate) fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    fn end(&mut self, signal: Signal) -> Said {
        let live = self.live.take().expect("it is running");
        live.signal(signal);
        live.wait()
    }

    /// What it says of itself: the status of `/readyz`, and the words.
    pub(crate) fn ready(&self) -> (u16, String) {
        let answer = self.health("/readyz");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, answer)
    }

    /// What it has counted, in OpenMetrics.
    pub(crate) fn metrics(&self) -> String {
        let answer = self.health("/metrics");
        answer.split_once("\r\n\r\n").expect("a body").1.to_owned()
    }

    /// The whole answer to a question at its health port.
    fn health(&self, path: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.health)).expect("its health");
        let question = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(question.as_bytes()).expect("a question");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// Waits until it says this of itself.
    #[track_caller]
    pub(crate) fn until_ready(&self, is_it: impl Fn(u16, &str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let (status, words) = self.ready();
            if is_it(status, &words) {
                return words;
            }
            assert!(start.elapsed() < PATIENCE, "the proxy says of itself: {words}");
            thread::yield_now();
        }
    }

    /// Waits until it follows and lets people in.
    #[track_caller]
    pub(crate) fn until_current(&self) {
        self.until_ready(|status, words| status == 200 && words.contains("following the authority"));
    }

    /// The status with which it answers somebody, and the body, by curl.
    pub(crate) fn ask(&self, port: u16, who: &Kubeconfig) -> (u16, String) {
        ask(port, who, 20)
    }

    /// The same proxy once more, as if its host had been copied: the same certificates, ports of its own.
    pub(crate) fn copied(&self, folder: &Demo, port: u16) -> Self {
        let text = fs::read_to_string(&self.config).expect("its settings");
        let table: toml::Table = text.parse().expect("TOML");
        let setting = |table: &toml::Table, at: &str, key: &str| table[at][key].as_str().expect("a text").to_owned();
        let health = free_port();
        let mirror = setting(&table, "mirror", "dir");
        let copy = folder.file(&format!("copy-{port}"));
        fs::create_dir(&copy).expect("a folder");
        for name in ["joined.json", "statuses", "fresh"] {
            if Path::new(&mirror).join(name).exists() {
                fs::copy(Path::new(&mirror).join(name), copy.join(name)).expect("a copy");
            }
        }
        let text = text
            .replace(&setting(&table, "listen", "proxy"), &format!("127.0.0.1:{port}"))
            .replace(&setting(&table, "listen", "health"), &format!("127.0.0.1:{health}"))
            .replace(&mirror, &copy.display().to_string());
        let config = folder.write(&format!("copy-{port}.toml"), text);
        Self { config, health, live: None, environment: self.environment.clone() }
    }
}

impl Drop for RemoteProxy {
    fn drop(&mut self) {
        // Held by SIGSTOP, it would not hear that it is killed before it goes on.
        if let Some(live) = &self.live {
            live.signal(Signal::CONT);
        }
    }
}

/// What a proxy on this port answers somebody within a time: the status, and the body behind its head.
pub(crate) fn ask(port: u16, who: &Kubeconfig, seconds: u64) -> (u16, String) {
    let mut curl = program("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--max-time",
        &seconds.to_string(),
        "--write-out",
        "\n%{http_code}",
        "--include",
    ]);
    curl.arg("--cacert").arg(&who.ca).arg("--cert").arg(&who.certificate).arg("--key").arg(&who.key);
    let patience = Duration::from_secs(seconds.saturating_add(10));
    let said = run_within(patience, curl.arg(format!("https://127.0.0.1:{port}/version"))).ok();
    let (body, status) = said.out.rsplit_once('\n').expect("a body and a status");
    (status.parse().expect("a status"), body.to_owned())
}

/// A port that nobody listens on at this moment.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its number").port()
}

/// A wire between a proxy and an authority: octets go both ways until one direction is cut. Cut, it stays up and
/// nothing arrives, as with a firewall that drops.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    cuts: Arc<Cuts>,
}

#[derive(Default)]
struct Cuts {
    up: AtomicBool,
    down: AtomicBool,
    /// How long everything takes in either direction, in milliseconds.
    delay: AtomicU64,
    moved: (Mutex<()>, Condvar),
}

impl Wire {
    pub(crate) fn to(target: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        let cuts = Arc::new(Cuts::default());
        let (target, kept) = (target.to_owned(), Arc::clone(&cuts));
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(&target) else { continue };
                let pair = |stream: &TcpStream| stream.try_clone().expect("a second handle");
                carry(pair(&near), pair(&far), Arc::clone(&kept), |cuts| &cuts.up);
                carry(far, near, Arc::clone(&kept), |cuts| &cuts.down);
            }
        });
        Self { address, cuts }
    }

    /// Nothing from the proxy arrives any more.
    pub(crate) fn cut_up(&self) {
        self.cuts.up.store(true, Ordering::SeqCst);
    }

    /// Nothing from the authority arrives any more.
    pub(crate) fn cut_down(&self) {
        self.cuts.down.store(true, Ordering::SeqCst);
    }

    /// Everything that is sent from now on takes so long in either direction.
    pub(crate) fn delay(&self, by: Duration) {
        self.cuts.delay.store(u64::try_from(by.as_millis()).expect("a delay"), Ordering::SeqCst);
    }

    /// Everything arrives again, late.
    pub(crate) fn mend(&self) {
        let _held = self.cuts.moved.0.lock().expect("nobody panics with it");
        self.cuts.up.store(false, Ordering::SeqCst);
        self.cuts.down.store(false, Ordering::SeqCst);
        self.cuts.moved.1.notify_all();
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, cuts: Arc<Cuts>, which: fn(&Cuts) -> &AtomicBool) {
    let (sender, pieces) = channel::<(Instant, Vec<u8>)>();
    let (delays, end) = (Arc::clone(&cuts), from.try_clone().expect("a second handle"));
    thread::spawn(move || {
        let mut room = [0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut room) {
            let due = Instant::now() + Duration::from_millis(delays.delay.load(Ordering::SeqCst));
            if sender.send((due, room[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        while let Ok((due, piece)) = pieces.recv() {
            let mut held = cuts.moved.0.lock().expect("nobody panics with it");
            while which(&cuts).load(Ordering::SeqCst) {
                held = cuts.moved.1.wait(held).expect("nobody panics with it");
            }
            let left = due.saturating_duration_since(Instant::now());
            drop(
                cuts.moved.1.wait_timeout_while(held, left, |()| Instant::now() < due).expect("nobody panics with it"),
            );
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = end.shutdown(Shutdown::Both);
    });
}
