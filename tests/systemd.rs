//! Under a service manager: the units are sound, it is told how we are, and sockets that it holds outlive a restart.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use support::remote::{Cluster, How};
use support::run::{Live, program, run};
use support::site::Site;
use support::{Demo, PATIENCE, PORTCULLIS, START};

#[test]
fn the_units_are_sound_and_leave_a_service_next_to_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir(units()).expect("the units") {
        let path = entry.expect("a unit").path();
        // The same unit for the binary that is there.
        let text = fs::read_to_string(&path).expect("a unit").replace("/usr/local/bin/portcullis", PORTCULLIS);
        fs::write(folder.path().join(path.file_name().expect("a name")), text).expect("a file of the test");
    }
    for name in ["portcullis", "portcullis-proxy"] {
        let service = folder.path().join(format!("{name}.service"));
        let mut verify = program("systemd-analyze");
        let said = run(verify.args(["verify", "--man=no", "--recursive-errors=yes"]).arg(&service)).ok();
        assert_eq!(said.err, "", "systemd finds fault with {name}");
        // Tenths of a point, of 100; what is left is having a network.
        let mut security = program("systemd-analyze");
        run(security.args(["security", "--offline=true", "--no-pager", "--threshold=15"]).arg(&service)).ok();
    }
}

#[test]
fn the_manager_hears_that_all_is_served_when_it_is_that_we_are_alive_and_that_we_stop() {
    let site = Site::new();
    site.run(&["init", "--config", "authority.toml", "--out", "ana.toml"]).ok();
    let manager = Manager::new(&site);
    let mut command = site.program(PORTCULLIS);
    command.args(["serve", "--config", "authority.toml"]);
    command.env("NOTIFY_SOCKET", manager.path()).env("WATCHDOG_USEC", "1000000");
    let live = Live::start(&mut command);
    let before = manager.hear("STATUS=reading the record");
    assert!(before.iter().all(|words| !words.contains("READY=1")), "ready before anything is: {before:?}");
    let heard = manager.hear("READY=1");
    // At the moment of the word everything answers.
    assert_eq!(site.get("/readyz", None).0, 200);
    assert!(heard.iter().all(|words| !words.contains("STOPPING")), "{heard:?}");
    manager.hear("WATCHDOG=1");
    live.signal(Signal::TERM);
    manager.hear("STOPPING=1");
    live.wait().ok();
}

#[test]
fn the_manager_hears_how_a_proxy_is_with_its_authority_and_why_new_settings_were_refused() {
    let (mut authority, upstream) = (Demo::start(), Demo::start());
    let manager = Manager::at(authority.file("notify"));
    let cluster = Cluster::add(&authority, "east");
    let proxy = cluster.joined(&authority, &upstream, &How::default());
    let mut proxy = proxy.with("NOTIFY_SOCKET", manager.path().to_str().expect("a path")).start();
    manager.hear("STATUS=serving; following the authority");
    let good = fs::read_to_string(&proxy.config).expect("the settings");
    fs::write(&proxy.config, good.replace("\"4s\"", "\"5s\"")).expect("settings");
    proxy.signal(Signal::HUP);
    let refused = "STATUS=serving; the configuration was not changed: freshness.bound cannot change while it runs: start \
                   it again for that";
    let heard = manager.hear(refused);
    // systemd takes a reload for over at READY=1, and the clock tells it which one.
    assert!(heard.iter().any(|words| words.starts_with("RELOADING=1\nMONOTONIC_USEC=")), "{heard:?}");
    assert!(heard.last().is_some_and(|words| words.starts_with("READY=1\n")), "{heard:?}");
    authority.stop();
    let away = manager.hear_any(|line| line.starts_with("STATUS=serving; the authority is away: "));
    assert!(!away.is_empty());
    proxy.stop();
    manager.hear("STOPPING=1");
}

#[test]
fn a_socket_that_the_manager_holds_loses_nobody_while_the_authority_is_started_again() {
    let mut site = Site::new();
    site.run(&["init", "--config", "authority.toml", "--out", "ana.toml"]).ok();
    let held = TcpListener::bind(("127.0.0.1", 0)).expect("a socket");
    // Where it listens by its own settings, somebody else does: it must not even try.
    let taken = TcpListener::bind(("127.0.0.1", site.api)).expect("its own address");
    site.api = held.local_addr().expect("an address").port();
    let serve = || {
        let live = Live::start(&mut activated(&site, &held, "api"));
        let (found, said) = live.wait_for_line(START, |line| line.contains("the authority serves"));
        assert!(found, "{said}");
        live
    };
    let mut live = serve();
    assert_eq!(site.get("/readyz", None).0, 200);
    for _ in 0..3 {
        live.signal(Signal::TERM);
        live.wait().ok();
        // Nobody runs; the connection stands in the socket's queue.
        let mut curl = site.program("curl");
        curl.args(["-sSk", "--noproxy", "*", "--max-time", "60", &format!("https://127.0.0.1:{}/readyz", site.api)]);
        let asking = Live::start(&mut curl);
        live = serve();
        asking.wait().ok().saying(&["ok"]);
    }
    live.signal(Signal::TERM);
    live.wait().ok();
    drop(taken);

    // A socket nobody would serve, and one that is none.
    let other = run(&mut activated(&site, &held, "web")).ended(1);
    other.saying(&["api, public or health", "web"]);
    let mut none = activated(&site, &held, "api");
    none.stdin(Stdio::null());
    run(&mut none).ended(1).saying(&["socket api"]);
}

#[test]
fn the_program_makes_no_system_call_that_the_units_forbid() {
    let mut site = Site::new();
    let trace = site.file("trace");
    let file = trace.to_str().expect("a path").to_owned();
    site.run(&["init", "--config", "authority.toml", "--admin", "ana", "--out", "ana.toml"]).ok();
    let mut command = site.program("strace");
    command.args(["--follow-forks", "--quiet=all", "--output", &file, PORTCULLIS, "serve", "--config"]);
    site.start(command.arg("authority.toml").env("WATCHDOG_USEC", "1000000"));
    site.ana(&["cluster", "add", "prod", "--server", "https://prod.example.com:7444"]).ok();
    site.ana(&["user", "add", "bea"]).ok();
    site.ana(&["kubeconfig", "bea", "--cluster", "prod", "--out", "bea.yaml"]).ok();
    site.ana(&["revoke", "user", "bea", "--yes"]).ok();
    site.ana(&["store", "backup", "--config", "authority.toml", "--out", "backup"]).ok();
    site.signal_children(Signal::HUP);
    site.until_said("the configuration was read again");
    site.signal_children(Signal::TERM);
    site.wait();
    let made: BTreeSet<String> = fs::read_to_string(&trace).expect("the trace").lines().filter_map(name_of).collect();
    assert!(made.len() > 40 && made.contains("fdatasync"), "{made:?}");
    for unit in ["portcullis", "portcullis-proxy"] {
        let text = fs::read_to_string(units().join(format!("{unit}.service"))).expect("a unit");
        let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")).collect();
        let (forbidding, allowing): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.starts_with('~'));
        let all = |lines: Vec<&&str>| -> BTreeSet<String> {
            lines.iter().flat_map(|line| line.trim_start_matches('~').split(' ')).flat_map(calls_in).collect()
        };
        let (allowed, forbidden) = (all(allowing), all(forbidding));
        let refused: Vec<_> =
            made.iter().filter(|call| !allowed.contains(*call) || forbidden.contains(*call)).collect();
        assert!(refused.is_empty(), "{unit} forbids {refused:?}");
    }
}

/// The call that a line of strace is about.
fn name_of(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(' ')?;
    let rest = rest.trim_start().trim_start_matches("<... ");
    let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// What a group of systemd's means, groups in it too.
fn calls_in(group: &str) -> BTreeSet<String> {
    if !group.starts_with('@') {
        return BTreeSet::from([group.to_owned()]);
    }
    let said = run(program("systemd-analyze").args(["--no-pager", "syscall-filter", group])).ok().out;
    let words = said.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    words.flat_map(calls_in).collect()
}

/// The authority as a manager starts it, with one socket (sd_listen_fds(3)).
fn activated(site: &Site, socket: &TcpListener, name: &str) -> Command {
    let mut command = site.program("sh");
    let script = r#"exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=$0 exec "$@""#;
    command.args(["-c", script, name, PORTCULLIS, "serve", "--config", "authority.toml"]);
    let fd: std::os::fd::OwnedFd = socket.try_clone().expect("a second handle").into();
    command.stdin(Stdio::from(fd));
    command
}

/// Whoever wants to be told.
struct Manager(UnixDatagram, PathBuf);

impl Manager {
    fn new(site: &Site) -> Self {
        Self::at(site.file("notify"))
    }

    fn at(path: PathBuf) -> Self {
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
        Self(socket, path)
    }

    fn path(&self) -> &Path {
        &self.1
    }

    /// Everything that is said up to this line.
    #[track_caller]
    fn hear(&self, wanted: &str) -> Vec<String> {
        self.hear_any(|line| line == wanted)
    }

    /// Everything that is said up to a line of this kind.
    #[track_caller]
    fn hear_any(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            let mut room = [0; 4096];
            let length = self.0.recv(&mut room).unwrap_or_else(|error| panic!("wanted more than {heard:?}: {error}"));
            let words = String::from_utf8(room[..length].to_vec()).expect("text");
            let is_it = words.lines().any(&is_wanted);
            heard.push(words);
            if is_it {
                return heard;
            }
        }
    }
}

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd")
}
