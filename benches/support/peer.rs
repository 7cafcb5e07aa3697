//! nginx and HAProxy before nothing, with a client's certificate demanded and a CRL.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that cannot go on has failed")]

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::support;

/// Which.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    Haproxy,
}

/// A running one; stopped when dropped.
pub(crate) struct Peer {
    kind: Kind,
    child: Child,
    pub(crate) port: u16,
    /// From its start until a client had an answer.
    pub(crate) first_answer: Duration,
}

/// How long it may take to read its CRL.
const PATIENCE: Duration = Duration::from_secs(60);

impl Peer {
    /// Starts one with the files in a folder, on the first core; nothing if it is not installed.
    pub(crate) fn start(kind: Kind, home: &Path, answers: impl Fn(u16) -> bool) -> Option<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let text = if kind == Kind::Nginx { nginx(port) } else { haproxy(port) };
        let file = home.join(format!("{}.conf", kind.name()));
        fs::write(&file, text).unwrap();
        if Command::new(kind.name()).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            println!("{} is not on the path", kind.name());
            return None;
        }
        let mut command = Command::new("taskset");
        command.args(["-c", "0", kind.name()]).current_dir(home);
        match kind {
            Kind::Nginx => command.arg("-p").arg(home).arg("-e").arg("stderr").arg("-c").arg(&file),
            Kind::Haproxy => command.arg("-db").arg("-f").arg(&file),
        };
        let said = fs::File::create(home.join(format!("{}.log", kind.name()))).unwrap();
        let start = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn().unwrap();
        let mut peer = Self { kind, child, port, first_answer: Duration::ZERO };
        while !answers(port) {
            let log = || fs::read_to_string(home.join(format!("{}.log", kind.name()))).unwrap();
            assert!(peer.child.try_wait().unwrap().is_none() && start.elapsed() < PATIENCE, "{}", log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
        peer.first_answer = start.elapsed();
        Some(peer)
    }

    pub(crate) fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// The time that all of its processes were on a core.
    pub(crate) fn on_core(&self) -> Duration {
        self.pids().into_iter().map(support::on_core).sum()
    }

    /// Its memory in RAM, in octets; what several processes share is counted once.
    pub(crate) fn memory(&self) -> u64 {
        let of = |pid: u32| -> u64 {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
        };
        self.pids().into_iter().map(of).sum()
    }

    fn pids(&self) -> Vec<u32> {
        let own = self.child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap();
        std::iter::once(own).chain(children.split_whitespace().map(|pid| pid.parse().unwrap())).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }
}

fn nginx(port: u16) -> String {
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|of| format!("{of}_temp_path temp-{of};"));
    format!(
        "daemon off;\nworker_processes 1;\nuser root;\npid nginx.pid;\nevents {{ worker_connections 256; }}\n\
         http {{ access_log off; {} server {{\n\
         listen 127.0.0.1:{port} ssl; ssl_certificate server.pem; ssl_certificate_key server.pem;\n\
         ssl_protocols TLSv1.3; ssl_session_tickets off; ssl_session_cache off;\n\
         ssl_client_certificate ca.pem; ssl_verify_client on; ssl_verify_depth 2; ssl_crl crl.pem;\n\
         location / {{ return 200 ok; }} }} }}\n",
        folders.concat()
    )
}

fn haproxy(port: u16) -> String {
    format!(
        "global\n nbthread 1\n ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets\n tune.ssl.cachesize 0\n\
         defaults\n mode http\n timeout client 30s\n timeout server 30s\n timeout connect 30s\n\
         frontend all\n bind 127.0.0.1:{port} ssl crt server.pem ca-file ca.pem verify required crl-file crl.pem\n \
         http-request return status 200 content-type text/plain string ok\n"
    )
}
