//! One site: an authority, a real API server, and a proxy before it for each way of saying who a user is.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};

use serde_json::Value;
use tempfile::TempDir;

use crate::front::{Front, Joined};
use crate::support::kube::{ApiServer, free_ports, until};
use crate::support::run::{Live, Said, program, run, tool};
use crate::support::{Kubeconfig, PORTCULLIS, START};

/// Everything that the stories of this file share; it stands while one of them runs.
pub(crate) struct Site {
    pub(crate) api: ApiServer,
    pub(crate) impersonation: Front,
    pub(crate) request_header: Front,
    /// Held while somebody is revoked, which waits for every proxy there is, and while there is one more.
    pub(crate) alone: Mutex<()>,
    _authority: Mutex<Live>,
    folder: TempDir,
}

/// The proxy's account, as the API server calls it.
pub(crate) const ACCOUNT: &str = "system:serviceaccount:portcullis:portcullis-proxy";

/// Groups that may be carried; the last one as odd as a group may be.
pub(crate) const GROUPS: [&str; 2] = ["dev", "größe, 50% /x: #1"];

/// Group `dev` may change configmaps and use pods in `default`, by RBAC, and nobody else.
const BINDING: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: dev, namespace: default}
rules:
- {apiGroups: [''], resources: [configmaps], verbs: [get, list, watch, create, update, patch]}
- {apiGroups: [''], resources: [pods, pods/log], verbs: [get]}
- {apiGroups: [''], resources: [pods/exec, pods/portforward], verbs: [get, create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: dev, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: dev}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev}]
";

impl Site {
    /// The one that stands, or a new one.
    pub(crate) fn shared() -> Arc<Self> {
        static SITE: Mutex<Weak<Site>> = Mutex::new(Weak::new());
        let mut site = SITE.lock().expect("another story could not start the site");
        site.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Self::start());
            *site = Arc::downgrade(&new);
            new
        })
    }

    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |line: &[&str]| run(in_folder(folder.path(), PORTCULLIS).args(line));
        let front_proxy = at(&documented("portcullis kubernetes front-proxy-ca --out-dir front-proxy")).ok().out;
        let flags: Vec<String> = front_proxy.lines().filter(|line| line.starts_with("--")).map(str::to_owned).collect();
        assert_eq!(flags.len(), 5, "{front_proxy}");
        let api = ApiServer::start(&folder.path().join("kubernetes"), &flags);

        let [port, public, health, one, two] = free_ports();
        write(folder.path(), "passphrase", "correct horse battery staple, and more of it\n");
        let listen =
            format!("api = \"127.0.0.1:{port}\"\npublic = \"127.0.0.1:{public}\"\nhealth = \"127.0.0.1:{health}\"");
        let places = "[public]\nurl = \"http://127.0.0.1:PUBLIC\"\ncrl_dir = \"crl\"\n[store]\ndir = \"store\"\n[ca]\ndir = \"ca\"\npassphrase_file = \"passphrase\"\n";
        let places = places.replace("PUBLIC", &public.to_string());
        write(folder.path(), "authority.toml", &format!("[listen]\n{listen}\n{places}"));
        at(&["init", "--config", "authority.toml", "--admin", "ana", "--out", "ana.toml"]).ok();
        let serve = Live::start(in_folder(folder.path(), PORTCULLIS).args(["serve", "--config", "authority.toml"]));
        let (found, before) = serve.wait_for_line(START, |line| line.contains("the authority serves"));
        assert!(found, "the authority does not serve: {before}");
        let page = "portcullis cluster add prod --server https://proxy.example.com:7444 --name proxy.example.com";
        for (name, port) in [("one", one), ("two", two)] {
            let server = format!("https://127.0.0.1:{port}");
            let line = documented(page).into_iter().map(|word| match word {
                "prod" => name,
                "https://proxy.example.com:7444" => &server,
                "proxy.example.com" => "127.0.0.1",
                word => word,
            });
            run(in_folder(folder.path(), PORTCULLIS).args(["--profile", "ana.toml"]).args(line)).ok();
        }
        for (id, group) in [("alice", GROUPS[0]), ("bob", GROUPS[0]), ("dora", GROUPS[1])] {
            at(&["--profile", "ana.toml", "user", "add", id, "--group", group]).ok();
        }
        api.admin(documented("kubectl create namespace portcullis")).ok();
        let mut rbac = vec!["--profile", "ana.toml"];
        rbac.extend(documented("portcullis kubernetes rbac"));
        write(&folder.path().join("kubernetes"), "rbac.yaml", &at(&rbac).ok().out);
        api.admin(documented("kubectl apply -f rbac.yaml")).ok();
        api.apply(BINDING);
        let ours = ["--as", "alice", "--as-group", GROUPS[0], "-n", "default"];
        api.until(["auth", "can-i", "create", "configmaps"].iter().chain(&ours));
        for group in GROUPS {
            let name = format!("groups/{group}");
            api.until(["auth", "can-i", "impersonate", &name, "--as", ACCOUNT]);
        }
        let token = documented("kubectl create token portcullis-proxy --namespace portcullis");
        write(folder.path(), "token", &api.admin(token).ok().out);

        let (_, settings) = front_proxy.split_once("# proxy.toml\n").expect("the proxy's settings");
        let by_token = "[upstream]\ntoken_file = \"token\"\n";
        let impersonation = joined(folder.path(), &api, "one", one, by_token).run();
        let request_header = joined(folder.path(), &api, "two", two, settings).run();
        Self { api, impersonation, request_header, alone: Mutex::new(()), _authority: Mutex::new(serve), folder }
    }

    /// One more proxy for the cluster of another, with its own settings in `[upstream]` and `[identity]`.
    pub(crate) fn another(&self, front: &Front, settings: &str) -> Joined {
        let [port] = free_ports();
        // Once it is gone, a revocation waits this long for it.
        let settings = format!("{settings}[freshness]\nbound = \"2s\"\n");
        joined(self.folder.path(), &self.api, front.cluster(), port, &settings)
    }

    /// Revokes everything of a user; this proxy has confirmed that it refuses them.
    pub(crate) fn revoke(&self, id: &str, front: &Front) {
        let answer = self.portcullis(["revoke", "user", id, "--yes", "-o", "json"]).ok().json();
        let proxies = answer["proxies"].as_array().expect("a list");
        let ours = proxies.iter().find(|proxy| proxy["name"] == front.name());
        assert_eq!(ours.map(|proxy| &proxy["state"]), Some(&"confirmed".into()), "{answer}");
    }

    /// A line of the command line, as the admin.
    pub(crate) fn portcullis<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Said {
        run(in_folder(self.folder.path(), PORTCULLIS).args(["--profile", "ana.toml"]).args(arguments))
    }

    /// A user's kubeconfig for one of the proxies; another one each time.
    pub(crate) fn kubeconfig(&self, id: &str, front: &Front) -> Kubeconfig {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{id}-{}.yaml", COUNT.fetch_add(1, Ordering::Relaxed));
        self.portcullis(["kubeconfig", id, "--cluster", front.cluster(), "--out", &name]).ok();
        Kubeconfig::read(self.file(&name))
    }

    /// kubectl with a kubeconfig, not started yet.
    pub(crate) fn kubectl_command(&self, with: &Kubeconfig, arguments: &[&str]) -> Command {
        let mut command = in_folder(self.folder.path(), tool("PORTCULLIS_TEST_KUBECTL"));
        command.arg("--kubeconfig").arg(&with.path).args(arguments);
        command
    }

    /// kubectl with a kubeconfig.
    pub(crate) fn kubectl(&self, with: &Kubeconfig, arguments: &[&str]) -> Said {
        run(&mut self.kubectl_command(with, arguments))
    }

    /// A line of the page with the kubeconfig in the place of `alice.yaml`.
    pub(crate) fn as_documented(&self, with: &Kubeconfig, line: &'static str) -> Said {
        let mut kubectl = in_folder(self.folder.path(), tool("PORTCULLIS_TEST_KUBECTL"));
        let file = with.path.to_str().expect("a path");
        run(kubectl.args(documented(line).iter().map(|word| if *word == "alice.yaml" { file } else { word })))
    }

    /// Runs kubectl until it succeeds.
    #[track_caller]
    pub(crate) fn until(&self, with: &Kubeconfig, arguments: &[&str]) {
        until(|| self.kubectl(with, arguments));
    }

    /// Whom the API server takes the holder for.
    pub(crate) fn whoami(&self, with: &Kubeconfig, more: &[&str]) -> Value {
        let review = self.kubectl(with, &[&["auth", "whoami", "-o", "json"], more].concat()).ok().json();
        review["status"]["userInfo"].clone()
    }

    /// One request with a user's certificate through a proxy: its status, and its body in JSON.
    pub(crate) fn curl(&self, with: &Kubeconfig, front: &Front, options: &[&str]) -> (u16, Value) {
        let mut curl = in_folder(self.folder.path(), "curl");
        curl.args(["-sS", "--noproxy", "*", "--max-time", "20", "-w", "\n%{http_code}", "--cert"]);
        curl.arg(&with.certificate).arg("--key").arg(&with.key).arg("--cacert").arg(&with.ca).args(options);
        let said = run(curl.arg(format!("{}/api/v1/namespaces/default/configmaps", front.url()))).ok();
        let (body, status) = said.out.rsplit_once('\n').expect("curl's status");
        (status.parse().expect("curl's status"), serde_json::from_str(body).expect("a body in JSON"))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The token of the proxy's account.
    pub(crate) fn token(&self) -> String {
        fs::read_to_string(self.file("token")).expect("the token").trim().to_owned()
    }
}

/// A proxy of `cluster`, to serve on a port, with these settings in `[upstream]`, the API server's address apart, and
/// `[identity]`.
fn joined(folder: &Path, api: &ApiServer, cluster: &'static str, port: u16, settings: &str) -> Joined {
    let upstream = format!("[upstream]\nurl = \"{}\"\nca = \"{}\"\n", api.url(), api.ca().display());
    Joined::new(folder, cluster, port, &settings.replacen("[upstream]\n", &upstream, 1))
}

/// Every line that docs/kubernetes.md shows behind a `$`, without what its shell does with the output.
pub(crate) fn page() -> Vec<&'static str> {
    let lines = include_str!("../../docs/kubernetes.md").lines().filter_map(|line| line.strip_prefix("$ "));
    let command =
        |line: &'static str| line.split(" > ").next().and_then(|line| line.split(" < ").next()).unwrap_or(line);
    lines.map(command).collect()
}

/// The words behind the program of a line that docs/kubernetes.md shows.
pub(crate) fn documented(line: &'static str) -> Vec<&'static str> {
    assert!(page().contains(&line), "docs/kubernetes.md does not show {line}");
    line.split(' ').skip(1).collect()
}

pub(crate) fn in_folder(folder: &Path, name: impl AsRef<OsStr>) -> Command {
    let mut command = program(name);
    command.current_dir(folder).env("HOME", folder);
    command
}

pub(crate) fn write(folder: &Path, name: &str, content: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(folder.join(name), content).expect("a file of the test");
    fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o600)).expect("a mode");
}
