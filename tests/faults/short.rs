//! An authority with too few file descriptors, and one with too little memory; proxies that follow it.

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::caller::{CLUSTER, Caller, Profile};
use crate::ledger::{Ledger, owes_nothing, work};
use crate::site::until;
use crate::support::remote::{Cluster, How, RemoteProxy};
use crate::support::run::{program, run};
use crate::support::{Demo, Kubeconfig};

/// How many descriptors the authority may have.
const DESCRIPTORS: usize = 64;

/// For how long a proxy serves on what it knows.
const BOUND: Duration = Duration::from_secs(4);

/// An authority, a proxy in a process of its own, and two users.
struct Scene {
    authority: Demo,
    // Has the API server behind the proxy.
    _upstream: Demo,
    cluster: Cluster,
    proxy: RemoteProxy,
    ada: Kubeconfig,
    bea: Kubeconfig,
}

impl Scene {
    fn new(bound: &str) -> Self {
        let (authority, upstream) = (Demo::start(), Demo::start());
        let cluster = Cluster::add(&authority, CLUSTER);
        let [ada, bea] = ["ada", "bea"].map(|id| {
            authority.admin(["user", "add", id]).ok();
            let name = format!("{id}.yaml");
            authority.admin(["kubeconfig", id, "--cluster", CLUSTER, "--out", &name]).ok();
            Kubeconfig::read(authority.file(&name))
        });
        let proxy = cluster.proxy(&authority, &upstream, &How { bound, ..How::default() });
        proxy.until_current();
        Self { authority, _upstream: upstream, cluster, proxy, ada, bea }
    }

    fn caller(&self) -> Caller {
        let profile = std::fs::read_to_string(self.authority.dir().join("profile.toml")).unwrap();
        let (_, port) = self.authority.address("api").split_once(':').unwrap();
        Profile::read(&profile, port.parse().unwrap()).caller()
    }

    fn asked(&self, who: &Kubeconfig) -> u16 {
        self.proxy.ask(self.cluster.port, who).0
    }

    fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.authority.pid()))
    }

    /// Limits the running authority, as prlimit(1) takes it.
    fn limit(&self, what: &str) {
        run(program("prlimit").arg("--pid").arg(self.authority.pid().to_string()).arg(what)).ok();
    }
}

#[test]
fn with_its_descriptors_used_up_an_authority_goes_on_with_who_is_there_and_recovers() {
    let scene = Scene::new("4s");
    let mut caller = scene.caller();
    assert!(caller.ask("GET", "/v1/status", None).unwrap().is_ok());
    scene.limit(&format!("--nofile={DESCRIPTORS}"));
    let used = || std::fs::read_dir(scene.proc("fd")).unwrap().count();
    let held: Vec<_> =
        (0..2 * DESCRIPTORS).map(|_| TcpStream::connect(scene.authority.address("api")).unwrap()).collect();
    until(used, |used| *used >= DESCRIPTORS);
    // Whoever has a connection is served, and what is revoked is refused at the proxy.
    assert_eq!([scene.asked(&scene.ada), scene.asked(&scene.bea)], [200, 200]);
    let revoked = caller.revoke("user", "ada").unwrap();
    assert!(revoked.is_ok(), "{revoked:?}");
    until(|| scene.asked(&scene.ada), |status| *status == 401);
    let began = Instant::now();
    while began.elapsed() < BOUND + Duration::from_secs(1) {
        assert_eq!(scene.asked(&scene.bea), 200, "the proxy does not follow any more: {:?}", scene.proxy.ready());
    }
    // Whoever comes anew is told that nobody answers, and comes in once there is room.
    drop(held);
    until(|| scene.authority.admin(["user", "list"]).status, |status| *status == Some(0));
    let _ready =
        until(|| scene.caller().ask("GET", "/readyz", None).map(|answer| answer.status), |status| *status == Ok(200));
    scene.proxy.until_current();
}

#[test]
fn without_memory_an_authority_ends_or_goes_on_and_loses_nothing() {
    let mut scene = Scene::new("60s");
    let status = std::fs::read_to_string(scene.proc("status")).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
    let kib: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
    let ledger = Mutex::new(Ledger::default());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let (mut caller, ledger, over) = (scene.caller(), &ledger, &over);
            scope.spawn(move || {
                for number in 0.. {
                    work(&mut caller, ledger, number);
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                }
            });
        }
        until(|| ledger.lock().unwrap().revoked.len(), |revoked| *revoked > 40);
        scene.limit(&format!("--data={}", kib * 1024));
        let answered = load_much(&scene);
        // Dead, or alive with as much again behind it.
        let target = ledger.lock().unwrap().issued.len() + 200;
        let is_dead = || std::fs::read_to_string(scene.proc("stat")).map_or(true, |stat| stat.contains(") Z "));
        until(|| is_dead() || ledger.lock().unwrap().issued.len() > target, |done| *done);
        assert_eq!(scene.asked(&scene.bea), 200, "the proxy serves on");
        over.store(true, Ordering::SeqCst);
        eprintln!("without memory: {} ({answered} large requests)", if is_dead() { "it ended" } else { "it went on" });
    });
    scene.authority.kill();
    assert_eq!(scene.asked(&scene.bea), 200, "the proxy serves on");
    scene.authority.start_again();
    owes_nothing(&mut scene.caller(), "without memory", &ledger.into_inner().unwrap());
    scene.proxy.until_current();
}

/// Has memory asked for: many connections, and long answers. Answers how many of them came.
fn load_much(scene: &Scene) -> usize {
    let mut callers: Vec<_> = (0..200).map(|_| scene.caller()).collect();
    let answers = callers.iter_mut().map(|caller| caller.ask("GET", "/v1/certificates?limit=1000", None));
    answers.filter(|answer| answer.as_ref().is_ok_and(|answer| answer.is_ok())).count()
}
