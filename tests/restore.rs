//! Backups, and what is still kept out after one was restored: by the journal of the store in place, by published lists,
//! by a proxy that followed.
//!
//! Every process is real: `quickstart` as authority, another one for its demo API server, `proxy run` in between.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use serde_json::Value;
use support::remote::{Cluster, How, RemoteProxy, ask};
use support::run::{Live, Said, run};
use support::{Demo, Kubeconfig, PATIENCE, PORTCULLIS};

/// No further arguments.
const NOTHING: [&str; 0] = [];

/// Those who are kept out after the backup, each in another way.
struct People {
    /// Revoked as a user.
    alice: Kubeconfig,
    /// Under an agency that is revoked.
    bob: Kubeconfig,
    /// Whose one certificate is revoked.
    carol: Kubeconfig,
    /// Locked.
    dave: Kubeconfig,
    /// Deleted.
    erin: Kubeconfig,
    /// Taken out of a group.
    frank: Kubeconfig,
    /// In a group that is deleted.
    gert: Kubeconfig,
    /// Left alone.
    hilde: Kubeconfig,
}

impl People {
    fn of(authority: &Demo, cluster: &str) -> Self {
        authority.admin(["agency", "add", "acme"]).ok();
        let person = |id: &str, options: &[&str]| {
            authority.admin(["user", "add", id].iter().chain(options)).ok();
            issue(authority, id, cluster, &format!("{id}.yaml"))
        };
        Self {
            alice: person("alice", &[]),
            bob: person("bob", &["--agency", "acme"]),
            carol: person("carol", &[]),
            dave: person("dave", &[]),
            erin: person("erin", &[]),
            frank: person("frank", &["--group", "dev"]),
            gert: person("gert", &["--group", "ops"]),
            hilde: person("hilde", &[]),
        }
    }

    /// Ten acts after the backup; gives who was issued something and revoked in that time.
    fn keep_out(&self, authority: &Demo, cluster: &str) -> Kubeconfig {
        let revoke =
            |arguments: &[&str]| drop(authority.admin(["revoke"].iter().chain(arguments).chain(&["--yes"])).ok());
        revoke(&["user", "alice", "--reason", "keyCompromise"]);
        revoke(&["agency", "acme"]);
        revoke(&["cert", &self.carol.serial()]);
        authority.admin(["user", "lock", "dave"]).ok();
        authority.admin(["user", "delete", "erin", "--yes"]).ok();
        authority.admin(["user", "edit", "frank", "--remove-group", "dev", "--yes"]).ok();
        authority.admin(["group", "delete", "ops", "--yes"]).ok();
        authority.admin(["user", "add", "ivan"]).ok();
        let ivan = issue(authority, "ivan", cluster, "ivan.yaml");
        revoke(&["user", "ivan"]);
        revoke(&["user", "never-seen"]);
        ivan
    }

    fn revoked(&self) -> [&Kubeconfig; 6] {
        [&self.alice, &self.bob, &self.carol, &self.erin, &self.frank, &self.gert]
    }
}

fn issue(authority: &Demo, id: &str, cluster: &str, name: &str) -> Kubeconfig {
    authority.admin(["kubeconfig", id, "--cluster", cluster, "--out", name]).ok();
    Kubeconfig::read(authority.file(name))
}

/// A line about the store of a quickstart.
fn store<A: AsRef<OsStr>>(authority: &Demo, verb: &str, arguments: impl IntoIterator<Item = A>) -> Said {
    let mut command = authority.program(PORTCULLIS);
    command.args(["-o", "json", "store", verb]).args(arguments);
    run(command.arg("--dir").arg(authority.dir()))
}

fn backup(authority: &Demo, name: &str) -> PathBuf {
    // By its name alone: the folder is the one that the command runs in.
    let out = authority.file(name);
    store(authority, "backup", ["--out", name]).ok().saying(&["passphrase", "not in it"]);
    verified(authority, &out);
    out
}

fn verified(authority: &Demo, backup: &Path) -> Value {
    let mut command = authority.program(PORTCULLIS);
    run(command.args(["-o", "json", "store", "verify", "--backup"]).arg(backup)).ok().json()
}

fn restore(authority: &Demo, from: &Path, options: &[&str]) -> Said {
    let mut arguments = vec![OsStr::new("--from"), from.as_os_str()];
    arguments.extend(options.iter().map(OsStr::new));
    store(authority, "restore", arguments)
}

/// What openssl shows of the newest list of an issuer.
fn list(authority: &Demo, issuer: &str) -> String {
    let file = authority.dir().join("crl").join(format!("{issuer}.crl"));
    let arguments = ["crl", "-inform", "DER", "-noout", "-text", "-in"].map(OsStr::new);
    authority.openssl(arguments.into_iter().chain([file.as_os_str()])).ok().out
}

/// Waits until all of them are on the list.
fn until_listed(authority: &Demo, issuer: &str, who: &[&Kubeconfig]) {
    let start = Instant::now();
    let serials: Vec<String> = who.iter().map(|who| who.serial()).collect();
    loop {
        let text = list(authority, issuer).to_lowercase();
        if serials.iter().all(|serial| text.contains(serial)) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{serials:?} are not all in {text}");
        thread::yield_now();
    }
}

fn locked(authority: &Demo, id: &str) -> bool {
    authority.json(["user", "show", id])["locked_by_restore"] == Value::Bool(true)
}

fn state(authority: &Demo, who: &Kubeconfig) -> String {
    authority.json(["status", &who.serial()])["status"]["state"].as_str().expect("a state").to_owned()
}

fn proxy_port(authority: &Demo) -> u16 {
    authority.address("proxy").rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port")
}

/// The answer of the OCSP responder, by openssl.
fn ocsp(authority: &Demo, issuer: &str, who: &Kubeconfig) -> String {
    let url = format!("http://{}", authority.address("public"));
    let ca = authority.file(&format!("{issuer}.pem"));
    let der = authority.file(&format!("{issuer}.der"));
    run(authority.program("curl").args(["-sSf", "-o"]).arg(&der).arg(format!("{url}/ca/{issuer}.crt"))).ok();
    run(authority.program("openssl").args(["x509", "-inform", "DER", "-in"]).arg(&der).arg("-out").arg(&ca)).ok();
    let mut command = authority.program("openssl");
    command.args(["ocsp", "-noverify", "-no_nonce", "-url", &format!("{url}/ocsp"), "-issuer"]).arg(&ca);
    let serial = format!("0x{}", who.serial());
    run(command.args(["-serial", &serial])).out
}

#[test]
fn the_journal_of_the_store_in_place_keeps_out_whoever_was_kept_out() {
    let mut authority = Demo::start();
    let people = People::of(&authority, "demo");
    authority.admin(["user", "add", "mona", "--role", "admin"]).ok();
    let from = backup(&authority, "backup");
    let ivan = people.keep_out(&authority, "demo");
    authority.admin(["user", "edit", "mona", "--remove-role", "admin", "--yes"]).ok();
    let revoked: Vec<&Kubeconfig> = people.revoked().into_iter().chain([&ivan]).collect();
    until_listed(&authority, "demo-1", &revoked);
    restore(&authority, &from, &["--yes"]).ended(1).saying(&["in use"]);
    authority.stop();
    // Shown first, and nothing done.
    let preview = restore(&authority, &from, &["--dry-run"]).ok().json();
    assert!(preview["taken_over"]["cut_offs"].as_u64() >= Some(8), "{preview}");
    assert_eq!(preview["taken_over"]["deletions"], 1, "{preview}");
    restore(&authority, &from, &[]).ended(2).saying(&["--yes"]);
    restore(&authority, &from, &["--yes"]).ok().saying(&["unlock"]);
    let old = fs::read_dir(authority.dir()).expect("a folder").filter_map(Result::ok);
    let aside = old.filter(|entry| entry.file_name().to_string_lossy().starts_with("store.replaced-")).count();
    assert_eq!(aside, 1, "the store in place was not kept");
    authority.start_again();
    let port = proxy_port(&authority);
    for who in &revoked {
        assert_eq!(ask(port, who, 20).0, 401, "{}", who.path.display());
        assert!(ocsp(&authority, "demo-1", who).contains("revoked"), "{}", who.path.display());
    }
    assert_eq!(ask(port, &people.dave, 20).0, 401);
    assert_eq!(ask(port, &people.hilde, 20).0, 200);
    until_listed(&authority, "demo-1", &revoked);
    assert_eq!(state(&authority, &people.alice), "revoked");
    for id in ["alice", "carol", "dave", "frank", "gert"] {
        assert!(locked(&authority, id), "{id}");
    }
    authority.admin(["user", "show", "alice"]).ok().saying(&["since the restore"]);
    authority.admin(["user", "show", "erin"]).ended(1);
    let mona = authority.json(["user", "show", "mona"]);
    assert!(mona["roles"].as_array().is_some_and(Vec::is_empty) && locked(&authority, "mona"), "{mona}");
    assert!(!locked(&authority, "hilde"));
    // Who has been looked at gets something new, and only that works.
    let refused = authority.admin(["kubeconfig", "alice", "--out", "early.yaml"]);
    refused.ended(1).saying(&["locked"]);
    authority.admin(["user", "unlock", "alice"]).ok();
    let again = issue(&authority, "alice", "demo", "again.yaml");
    assert_eq!((ask(port, &again, 20).0, ask(port, &people.alice, 20).0), (200, 401));
    // The agency's members were locked with it.
    authority.admin(["kubeconfig", "bob", "--out", "bob-2.yaml"]).ended(1).saying(&["locked"]);
    // The same once more after a restart: what was taken over is read like everything else.
    authority.stop();
    authority.start_again();
    for who in &revoked {
        assert_eq!(ask(port, who, 20).0, 401, "{}", who.path.display());
    }
    assert_eq!(ask(port, &again, 20).0, 200);
}

#[test]
fn published_lists_keep_out_whoever_was_revoked_when_nothing_else_is_left() {
    let mut authority = Demo::start();
    let people = People::of(&authority, "demo");
    let from = backup(&authority, "backup");
    let ivan = people.keep_out(&authority, "demo");
    let revoked: Vec<&Kubeconfig> = people.revoked().into_iter().chain([&ivan]).collect();
    until_listed(&authority, "demo-1", &revoked);
    authority.stop();
    fs::remove_dir_all(authority.dir().join("store")).expect("the store is lost");
    let said = restore(&authority, &from, &["--yes"]).ok();
    let preview = said.json();
    assert!(preview["lost"].to_string().contains("locks"), "{preview}");
    assert_eq!(preview["taken_over"]["serials"], 1, "{preview}");
    authority.start_again();
    let port = proxy_port(&authority);
    for who in &revoked {
        assert_eq!(ask(port, who, 20).0, 401, "{}", who.path.display());
        assert!(ocsp(&authority, "demo-1", who).contains("revoked"), "{}", who.path.display());
    }
    until_listed(&authority, "demo-1", &revoked);
    assert_eq!(ask(port, &people.hilde, 20).0, 200);
    for id in ["alice", "bob", "carol", "erin", "frank", "gert"] {
        assert!(locked(&authority, id), "{id}");
    }
    authority.admin(["user", "unlock", "carol"]).ok();
    let again = issue(&authority, "carol", "demo", "again.yaml");
    assert_eq!((ask(port, &again, 20).0, ask(port, &people.carol, 20).0), (200, 401));
}

#[test]
fn without_a_witness_nothing_is_restored_unless_that_is_said() {
    let mut authority = Demo::start();
    let alice = authority.user("alice", &[]);
    let from = backup(&authority, "backup");
    authority.admin(["revoke", "user", "alice", "--yes"]).ok();
    until_listed(&authority, "demo-1", &[&alice]);
    authority.stop();
    let saved = authority.file("infra.crl");
    fs::copy(authority.dir().join("crl/infra.crl"), &saved).expect("a list");
    fs::remove_dir_all(authority.dir().join("store")).expect("the store is lost");
    fs::remove_dir_all(authority.dir().join("crl")).expect("the lists are lost");
    restore(&authority, &from, &["--yes"]).ended(1).saying(&["nothing here tells", "--accept-rollback", "--crl"]);
    // A list of one authority says nothing of the others.
    let some = ["--yes", "--crl", saved.to_str().expect("a path")];
    restore(&authority, &from, &some).ended(1).saying(&["no list of demo-1"]);
    assert!(!authority.dir().join("store").exists());
    restore(&authority, &from, &["--yes", "--accept-rollback"]).ok();
    authority.start_again();
    assert_eq!(ask(proxy_port(&authority), &alice, 20).0, 200, "that was accepted");
}

/// An authority, a cluster whose proxy runs on its own, and people there.
struct Site {
    authority: Demo,
    upstream: Demo,
    cluster: Cluster,
}

impl Site {
    fn new() -> Self {
        let (authority, upstream) = (Demo::start(), Demo::start());
        let cluster = Cluster::add(&authority, "east");
        Self { authority, upstream, cluster }
    }

    fn proxy(&self) -> RemoteProxy {
        let proxy = self.cluster.proxy(&self.authority, &self.upstream, &How { bound: "60s", ..How::default() });
        proxy.until_current();
        proxy
    }
}

/// Waits until the authority says of somebody that they are locked since the restore.
fn until_locked(authority: &Demo, id: &str) {
    let start = Instant::now();
    while !locked(authority, id) {
        assert!(start.elapsed() < PATIENCE, "{id} is not locked");
    }
}

#[test]
fn a_proxy_that_followed_hands_in_what_nobody_else_knows() {
    let mut site = Site::new();
    let people = People::of(&site.authority, "east");
    let proxy = site.proxy();
    let port = site.cluster.port;
    let from = backup(&site.authority, "backup");
    let ivan = people.keep_out(&site.authority, "east");
    let on_record = people.revoked();
    let all: Vec<&Kubeconfig> = on_record.into_iter().chain([&ivan, &people.dave]).collect();
    for who in &all {
        assert_eq!(proxy.ask(port, who).0, 401, "{}", who.path.display());
    }
    site.authority.stop();
    for name in ["store", "crl"] {
        fs::remove_dir_all(site.authority.dir().join(name)).expect("a folder");
    }
    // Meanwhile it serves on what it knows; nobody is let in again.
    assert_eq!(proxy.ask(port, &people.hilde).0, 200);
    restore(&site.authority, &from, &["--yes"]).ended(1).saying(&["--accept-rollback"]);
    restore(&site.authority, &from, &["--yes", "--accept-rollback"]).ok();
    site.authority.start_again();
    for id in ["alice", "bob", "carol", "dave", "erin", "frank", "gert"] {
        let start = Instant::now();
        if id == "bob" {
            // A member is covered by the lock of the agency.
            while site.authority.json(["agency", "show", "acme"])["locked_by_restore"] != Value::Bool(true) {
                assert!(start.elapsed() < PATIENCE, "acme is not locked");
            }
        } else {
            until_locked(&site.authority, id);
        }
    }
    proxy.until_current();
    for who in &all {
        assert_eq!(proxy.ask(port, who).0, 401, "{}", who.path.display());
    }
    assert_eq!(proxy.ask(port, &people.hilde).0, 200);
    until_listed(&site.authority, "east-1", &on_record);
    for who in on_record {
        assert!(ocsp(&site.authority, "east-1", who).contains("revoked"), "{}", who.path.display());
        assert_eq!(state(&site.authority, who), "revoked");
    }
    site.authority.admin(["user", "unlock", "alice"]).ok();
    let again = issue(&site.authority, "alice", "east", "again.yaml");
    assert_eq!((proxy.ask(port, &again).0, proxy.ask(port, &people.alice).0), (200, 401));
    // Whoever was only locked is let in again by whoever unlocks them.
    assert_eq!(proxy.ask(port, &people.dave).0, 401);
    site.authority.admin(["user", "unlock", "dave"]).ok();
    let start = Instant::now();
    while proxy.ask(port, &people.dave).0 != 200 {
        assert!(start.elapsed() < PATIENCE, "dave was unlocked");
    }
}

#[test]
fn two_restores_of_one_backup_are_told_apart_by_a_proxy() {
    let mut site = Site::new();
    site.authority.admin(["user", "add", "alice"]).ok();
    let alice = issue(&site.authority, "alice", "east", "alice.yaml");
    let mut proxy = site.proxy();
    let port = site.cluster.port;
    let from = backup(&site.authority, "backup");
    site.authority.stop();
    proxy.stop();
    let place = site.authority.dir().join("store");
    fs::remove_dir_all(&place).expect("the store");
    fs::remove_dir_all(site.authority.dir().join("crl")).expect("the lists");
    // Two at the same second: the era is the same, and its name is not.
    let clone = site.authority.file("clone");
    let era = |said: &Said| said.json()["era"].as_u64().expect("an era");
    let mut tries = 0;
    loop {
        let one = era(&restore(&site.authority, &from, &["--yes", "--accept-rollback"]).ok());
        fs::rename(&place, &clone).expect("a rename");
        let other = era(&restore(&site.authority, &from, &["--yes", "--accept-rollback"]).ok());
        if one == other {
            break;
        }
        tries += 1;
        assert!(tries < 20, "no two restores fell into one second");
        for store in [&place, &clone] {
            fs::remove_dir_all(store).expect("a store");
        }
    }
    site.authority.start_again();
    proxy.start_again();
    proxy.until_current();
    assert_eq!(proxy.ask(port, &alice).0, 200);
    site.authority.stop();
    fs::rename(&place, site.authority.file("first")).expect("a rename");
    fs::rename(&clone, &place).expect("a rename");
    // As long as the lists of the first are there, the second does not even start if it is behind them.
    fs::remove_dir_all(site.authority.dir().join("crl")).expect("the lists");
    site.authority.start_again();
    proxy.until_ready(|_, words| words.contains("ALARM") && words.contains("clone"));
}

/// `quickstart` in the folder of one that is not running, until it ends.
fn start_in_vain(authority: &Demo) -> Said {
    let mut command = authority.program(PORTCULLIS);
    command.arg("quickstart").arg("--dir").arg(authority.dir());
    for name in ["api", "public", "proxy", "upstream", "health"] {
        command.arg(format!("--{name}-listen")).arg("127.0.0.1:0");
    }
    run(&mut command)
}

fn copy(from: &Path, to: &Path) {
    run(support::run::program("cp").arg("-a").arg(from).arg(to)).ok();
}

#[test]
fn a_store_that_was_put_back_by_hand_is_not_served() {
    let mut authority = Demo::start();
    let alice = authority.user("alice", &[]);
    authority.stop();
    let (place, kept) = (authority.dir().join("store"), authority.file("kept"));
    copy(&place, &kept);
    authority.start_again();
    authority.admin(["revoke", "user", "alice", "--yes"]).ok();
    until_listed(&authority, "demo-1", &[&alice]);
    let from = backup(&authority, "backup");
    authority.stop();
    fs::remove_dir_all(&place).expect("the store");
    copy(&kept, &place);
    start_in_vain(&authority).ended(1).saying(&["reflects revision", "the store ends at", "store restore"]);
    // Neither does the store that was put back count for more than it is: the lists are ahead of it.
    restore(&authority, &from, &["--yes"]).ok();
    authority.start_again();
    assert_eq!(ask(proxy_port(&authority), &alice, 20).0, 401);
}

#[test]
fn a_backup_is_of_one_moment_while_others_issue_and_revoke() {
    let mut authority = Demo::start();
    let names: Vec<String> = (0..24).map(|number| format!("user-{number}")).collect();
    let profile = authority.dir().join("profile.toml");
    let line = |arguments: &[&str]| {
        let mut command = authority.program(PORTCULLIS);
        command.arg("--profile").arg(&profile).args(arguments);
        command
    };
    for id in &names {
        authority.admin(["user", "add", id]).ok();
    }
    let mut clerks: Vec<_> = names.chunks(8).map(|part| (part, Vec::new())).collect();
    for (part, lines) in &mut clerks {
        for id in *part {
            lines.push(line(&["kubeconfig", id, "--out", &format!("{id}.yaml")]));
            lines.push(line(&["revoke", "user", id, "--yes"]));
        }
    }
    let taken: Vec<PathBuf> = thread::scope(|scope| {
        for (_, lines) in clerks {
            scope.spawn(move || {
                for mut line in lines {
                    run(&mut line).ok();
                }
            });
        }
        (0..4).map(|number| backup(&authority, &format!("backup-{number}"))).collect()
    });
    store(&authority, "verify", NOTHING).ok().saying(&["running"]);
    let all: Vec<Kubeconfig> = names.iter().map(|id| Kubeconfig::read(authority.file(&format!("{id}.yaml")))).collect();
    until_listed(&authority, "demo-1", &all.iter().collect::<Vec<_>>());
    authority.stop();
    store(&authority, "verify", NOTHING).ok();
    let revisions: Vec<String> = taken
        .iter()
        .map(|from| verified(&authority, from)["revision"].as_str().expect("a revision").to_owned())
        .collect();
    assert!(revisions.is_sorted_by_key(|text| text.rsplit_once('-').and_then(|(_, n)| n.parse::<u64>().ok())));
    // Each of them is a store; what it holds of the others' time is told by the one in place.
    for from in taken.iter().rev() {
        restore(&authority, from, &["--yes"]).ok();
        store(&authority, "verify", NOTHING).ok();
    }
    let rebuilt = store(&authority, "rebuild", NOTHING).ok().json();
    assert_eq!(rebuilt["is_same"], true, "{rebuilt}");
    authority.start_again();
    for who in &all {
        assert_eq!(ask(proxy_port(&authority), who, 20).0, 401);
    }
    // A damaged backup is not restored, and says which file it is.
    authority.stop();
    let segment = taken[0].join("journal/0000000000000001.segment");
    let mut bytes = fs::read(&segment).expect("a segment");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).expect("a segment");
    restore(&authority, &taken[0], &["--yes"]).ended(1).saying(&["0000000000000001.segment"]);
}

/// Kills a program at a moment; says whether it was still running.
fn killed_after(mut command: std::process::Command, moment: std::time::Duration) {
    let live = Live::start(&mut command);
    let start = Instant::now();
    while start.elapsed() < moment {
        thread::yield_now();
    }
    live.signal(rustix::process::Signal::KILL);
    live.wait();
}

#[test]
fn a_restore_that_is_killed_leaves_the_old_store_or_the_new_one() {
    let mut authority = Demo::start();
    let alice = authority.user("alice", &[]);
    let from = backup(&authority, "backup");
    authority.admin(["revoke", "user", "alice", "--yes"]).ok();
    until_listed(&authority, "demo-1", &[&alice]);
    authority.stop();
    let began = Instant::now();
    restore(&authority, &from, &["--yes"]).ok();
    let whole = began.elapsed();
    let mut between = 0;
    for moment in 1..=20 {
        let mut command = authority.program(PORTCULLIS);
        command.args(["store", "restore", "--yes", "--from"]).arg(&from).arg("--dir").arg(authority.dir());
        killed_after(command, whole * moment / 20);
        if authority.dir().join("store").exists() {
            store(&authority, "verify", NOTHING).ok();
        } else {
            between += 1;
            start_in_vain(&authority).ended(1).saying(&["interrupted", "run `portcullis store restore` again"]);
            restore(&authority, &from, &["--yes"]).ok();
        }
    }
    eprintln!("{between} of 20 kills fell between the two renames");
    // What a kill between the two renames leaves, whether or not one fell there.
    let staging = authority.dir().join("store.restoring");
    let _ = fs::remove_dir_all(&staging);
    fs::rename(authority.dir().join("store"), &staging).expect("a rename");
    fs::write(staging.join("restored"), "").expect("a file");
    start_in_vain(&authority).ended(1).saying(&["interrupted", "run `portcullis store restore` again"]);
    restore(&authority, &from, &["--yes"]).ok().saying(&["interrupted"]);
    // An attempt whose old store went on to be used, and is gone: what it knew is not there, and is asked for.
    fs::rename(authority.dir().join("store"), &staging).expect("a rename");
    fs::write(staging.join("restored"), "store.replaced-1-1").expect("a file");
    fs::remove_dir_all(authority.dir().join("crl")).expect("the lists");
    restore(&authority, &from, &["--yes"]).ended(1).saying(&["nothing here tells"]);
    fs::rename(&staging, authority.dir().join("store")).expect("a rename");
    authority.start_again();
    assert_eq!(ask(proxy_port(&authority), &alice, 20).0, 401);
}
