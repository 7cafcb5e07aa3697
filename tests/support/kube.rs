//! A real API server: kube-apiserver and the etcd it stores in, on loopback, with certificates of the test's own.
//!
//! It trusts a CA of its own for administrators and none of ours; RBAC decides, and every request is in the audit log.
//! There is no controller manager: what is stored stays as it was written. The one pod runs nothing: what stands in for its
//! kubelet answers exec, logs and port-forward.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stderr, reason = "the end of a log belongs to the failure")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use serde_json::{Value, json};

use super::run::{Live, Said, program, run, tool};
use super::{PATIENCE, START};

/// A running API server; killed when dropped.
pub(crate) struct ApiServer {
    folder: PathBuf,
    port: u16,
    // In this order: the server before its store.
    _node: Daemon,
    _server: Daemon,
    _etcd: Daemon,
}

impl ApiServer {
    /// Starts one with everything it keeps in `folder`, with more flags for kube-apiserver, and waits until it is ready.
    pub(crate) fn start(folder: &Path, flags: &[String]) -> Self {
        fs::create_dir_all(folder).expect("a folder");
        let folder = folder.to_owned();
        let [port, client, peer] = free_ports();
        certificates(&folder);
        fs::write(folder.join("audit.yaml"), AUDIT_POLICY).expect("a file of the test");
        let mut etcd = program(tool("PORTCULLIS_TEST_ETCD"));
        etcd.args(["--name=test", "--log-level=warn", "--unsafe-no-fsync", "--data-dir=etcd"]);
        etcd.arg(format!("--listen-client-urls=http://127.0.0.1:{client}"));
        etcd.arg(format!("--advertise-client-urls=http://127.0.0.1:{client}"));
        etcd.arg(format!("--listen-peer-urls=http://127.0.0.1:{peer}"));
        etcd.arg(format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"));
        etcd.arg(format!("--initial-cluster=test=http://127.0.0.1:{peer}"));
        let etcd = Daemon::start(&mut etcd, &folder, "etcd.log");
        let mut server = program(tool("PORTCULLIS_TEST_APISERVER"));
        server.args(FLAGS).args(flags).arg(format!("--secure-port={port}"));
        server.arg(format!("--etcd-servers=http://127.0.0.1:{client}"));
        let server = Daemon::start(&mut server, &folder, "kube-apiserver.log");
        let node = Daemon::start(&mut program(tool("PORTCULLIS_TEST_NODE")), &folder, "node.log");
        let mut started = Self { folder, port, _node: node, _server: server, _etcd: etcd };
        started.wait_until_ready();
        started.add_pod();
        started
    }

    /// A node, which runs nothing, and a pod on it.
    fn add_pod(&self) {
        let said = fs::read_to_string(self.folder.join("node.log")).expect("the node's log");
        let port = said.trim().trim_start_matches("listening on ").parse::<u16>().expect("the node's port");
        let address = json!({"type": "InternalIP", "address": "127.0.0.1"});
        let kubelet = json!({"kubeletEndpoint": {"Port": port}});
        let status = json!({"addresses": [address], "daemonEndpoints": kubelet});
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"}, "status": status});
        let spec = json!({"nodeName": "node", "containers": [{"name": "main", "image": "none"}]});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec});
        self.apply(&format!("{node}\n---\n{pod}\n"));
        // As a kubelet would say; kubectl forwards no port of a pod that does not run.
        let running = r#"{"status": {"phase": "Running"}}"#;
        self.admin(["patch", "pod", "pod", "--subresource=status", "--patch", running]).ok();
    }

    fn wait_until_ready(&mut self) {
        let until = Instant::now() + START;
        loop {
            let mut curl = program("curl");
            // It tries again by itself; after these tries it is looked whether there is anything left to try.
            curl.args(["-sS", "--noproxy", "*", "--fail", "--max-time", "20", "--retry", "8", "--retry-all-errors"]);
            curl.args(["--retry-delay", "1", "--cacert", "server-ca.crt", "--cert", "admin.crt", "--key", "admin.key"]);
            let said = run(curl.current_dir(&self.folder).arg(format!("{}/readyz", self.url())));
            if said.status == Some(0) {
                return;
            }
            let ended = self._etcd.has_ended() || self._server.has_ended();
            assert!(!ended && Instant::now() < until, "the API server is not ready: {}", said.err);
        }
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The file with the CA of its server certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.join("server-ca.crt")
    }

    /// kubectl as an administrator of the cluster.
    pub(crate) fn admin<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Said {
        run(self.kubectl(["--client-certificate=admin.crt", "--client-key=admin.key"]).args(arguments))
    }

    /// The same again and again until it succeeds: RBAC is a moment behind what is stored.
    #[track_caller]
    pub(crate) fn until<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) {
        let arguments: Vec<A> = arguments.into_iter().collect();
        until(|| self.admin(&arguments));
    }

    /// Stores objects.
    pub(crate) fn apply(&self, objects: &str) {
        let file = self.folder.join("objects.yaml");
        fs::write(&file, objects).expect("a file of the test");
        self.admin([OsStr::new("apply"), OsStr::new("-f"), file.as_os_str()]).ok();
    }

    /// kubectl straight to the API server, in the folder with the test's certificates; who it is, is for the caller.
    pub(crate) fn kubectl<A: AsRef<OsStr>>(&self, credential: impl IntoIterator<Item = A>) -> Command {
        let mut kubectl = program(tool("PORTCULLIS_TEST_KUBECTL"));
        kubectl.current_dir(&self.folder).env("HOME", &self.folder).arg("--kubeconfig=/dev/null");
        kubectl.arg("--certificate-authority=server-ca.crt").arg(format!("--server={}", self.url()));
        kubectl.args(credential);
        kubectl
    }

    /// The first entry of the audit log, in its order, that `is_it`; waits for it.
    pub(crate) fn audited(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        let mut tail = program("tail");
        let tail = Live::start(tail.args(["-n", "+1", "-f"]).arg(self.folder.join("audit.log")));
        let until = Instant::now() + PATIENCE;
        while let Some(line) = tail.next_line() {
            let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if is_it(&event) {
                return event;
            }
            assert!(Instant::now() < until, "no such entry in the audit log");
        }
        panic!("the audit log cannot be read");
    }
}

/// Runs something until it succeeds.
#[track_caller]
pub(crate) fn until(mut run: impl FnMut() -> Said) {
    let until = Instant::now() + PATIENCE;
    loop {
        let said = run();
        if said.status == Some(0) {
            return;
        }
        assert!(Instant::now() < until, "{}\nwanted success, found {}{}", said.line, said.out, said.err);
    }
}

/// A program that runs until it is dropped, and what it says, in a file.
struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    fn start(command: &mut Command, folder: &Path, log: &str) -> Self {
        let log = folder.join(log);
        let file = File::create(&log).expect("a log");
        let both = (file.try_clone().expect("a log"), file);
        command.current_dir(folder).stdout(Stdio::from(both.0)).stderr(Stdio::from(both.1));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log }
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_some()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let text = fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            eprintln!("--- the end of {}:\n{tail}", self.log.display());
        }
    }
}

/// CAs and certificates of the test's own, none of them ours.
fn certificates(folder: &Path) {
    let write = |name: &str, text: String| fs::write(folder.join(name), text).expect("a file of the test");
    let (server_ca, admin_ca) = (authority("server CA"), authority("admin CA"));
    write("server-ca.crt", server_ca.0);
    write("admin-ca.crt", admin_ca.0);
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let mut server = CertificateParams::new(names).expect("names");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut admin = CertificateParams::default();
    admin.distinguished_name.push(DnType::OrganizationName, "system:masters");
    admin.distinguished_name.push(DnType::CommonName, "admin");
    admin.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    for (name, params, issuer) in [("server", server, &server_ca.1), ("admin", admin, &admin_ca.1)] {
        let key = KeyPair::generate().expect("a key");
        write(&format!("{name}.crt"), params.signed_by(&key, issuer).expect("a certificate").pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
    let accounts = KeyPair::generate().expect("a key");
    write("accounts.key", accounts.serialize_pem());
    write("accounts.pub", accounts.public_key_pem());
}

fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.pem(), Issuer::new(params, key))
}

/// Ports that were free a moment ago.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.each_ref().map(|listener| listener.local_addr().expect("an address").port())
}

const FLAGS: [&str; 15] = [
    "--bind-address=127.0.0.1",
    "--advertise-address=127.0.0.1",
    // There is nobody to be told where it is.
    "--endpoint-reconciler-type=none",
    "--service-cluster-ip-range=10.0.0.0/24",
    "--tls-cert-file=server.crt",
    "--tls-private-key-file=server.key",
    "--client-ca-file=admin-ca.crt",
    "--authorization-mode=RBAC",
    // Nobody makes the account that a pod would get.
    "--disable-admission-plugins=ServiceAccount",
    "--service-account-issuer=https://kubernetes.default.svc",
    "--service-account-key-file=accounts.pub",
    "--service-account-signing-key-file=accounts.key",
    "--audit-policy-file=audit.yaml",
    // Each line is in the file before the answer is out, but for the last stage.
    "--audit-log-mode=blocking",
    "--audit-log-path=audit.log",
];

const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\n\
    rules:\n- level: Metadata\n";
