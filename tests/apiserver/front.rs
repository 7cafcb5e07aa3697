//! The proxy of a site, on the settings of a `proxy.toml`: run in this process, and told here what the authority did.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use portcullis::config::proxy::{self, Credential as Configured, Identity};
use portcullis::ident::Fingerprint;
use portcullis::kube::identity::Mode;
use portcullis::net::listen;
use portcullis::net::tls::{ClientAnchors, Serving};
use portcullis::observe::Metrics;
use portcullis::proxy::believed::{self, Doubt};
use portcullis::proxy::settings::{Credential, Settings, Upstream};
use portcullis::proxy::{Parts, Proxy, Remote};
use portcullis::standing::{Cut, CutKey, Revision};
use portcullis::status::{Change, Credential as Recorded, Statuses};
use portcullis::world::World;
use portcullis::x509::certificate::Certificate;
use portcullis::x509::pem::{self, Label};
use portcullis::x509::reason::Reason;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::runtime::Runtime;

use crate::site::in_folder;
use crate::support::Kubeconfig;
use crate::support::run::run;

/// A proxy that runs.
pub(crate) struct Front {
    settings: proxy::Settings,
    statuses: Arc<Statuses>,
    revision: Mutex<Revision>,
    _proxy: Proxy,
}

impl Front {
    /// Starts the proxy of `config`; `folder` is the authority's.
    pub(crate) fn start(folder: &Path, config: &Path) -> Self {
        let text = fs::read_to_string(config).expect("the settings");
        let settings = proxy::read(config, &text, []).expect("the settings");
        let revision = Revision { era: 1, number: 0 };
        let statuses = Arc::new(Statuses::empty());
        statuses.reached(revision);
        let (chain, key) = certified(folder, &settings);
        let anchor = der(&fs::read_to_string(folder.join(format!("{}.pem", settings.cluster))).expect("the CA"));
        let world = World::system();
        let _running = runtime().enter();
        let proxy = runtime().block_on(async {
            let parts = Parts {
                listener: listen::bind(settings.listen).await.expect("the port"),
                serving: &Serving::new(chain, key).expect("a certificate"),
                anchors: &ClientAnchors::new(&[anchor]).expect("an issuing CA"),
                statuses: Arc::clone(&statuses),
                clock: world.clock,
                metrics: &Metrics::new(),
                remote: Remote::default(),
            };
            Proxy::start(parts, checked(&settings)).expect("a proxy")
        });
        Self { settings, statuses, revision: Mutex::new(revision), _proxy: proxy }
    }

    /// Whether the API server takes users for who the proxy says they are.
    pub(crate) fn is_believed(&self) -> Result<(), Doubt> {
        runtime().block_on(believed::ask(&checked(&self.settings)))
    }

    /// Its cluster.
    pub(crate) fn cluster(&self) -> &str {
        self.settings.cluster.as_str()
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.settings.listen)
    }

    /// The authority has issued this; where a feed tells the proxy, there is nothing to do.
    pub(crate) fn knows(&self, kubeconfig: &Kubeconfig, id: &str) {
        let leaf = fs::read_to_string(&kubeconfig.certificate).expect("a certificate");
        let leaf = Certificate::from_der(&der(&leaf)).expect("a certificate");
        self.tell(|issued| {
            let cut_keys = vec![CutKey::Identity(id.parse().expect("an ID"))];
            let key = Fingerprint::of(leaf.der()).short();
            Change::Recorded(Recorded { key, issued, not_after: leaf.not_after, cut_keys })
        });
    }

    /// The authority has revoked this identity; the same.
    pub(crate) fn revoked(&self, id: &str) {
        let at = World::system().clock.now();
        let key = CutKey::Identity(id.parse().expect("an ID"));
        self.tell(|revision| Change::CutOff(key, Cut { revision, at, reason: Reason::Unspecified }));
    }

    fn tell(&self, change: impl FnOnce(Revision) -> Change) {
        let mut revision = self.revision.lock().expect("one thread");
        *revision = Revision { era: revision.era, number: revision.number + 1 };
        self.statuses.apply([change(*revision)]);
        self.statuses.reached(*revision);
    }
}

fn checked(settings: &proxy::Settings) -> Settings {
    let read = |path: &Path| fs::read_to_string(path).expect("a file of the settings");
    let credential = match &settings.upstream.credential {
        Configured::Token(path) => Credential::TokenFile(path.clone()),
        Configured::Certificate { certificate, key } => {
            let key = PrivateKeyDer::from_pem_slice(read(key).as_bytes()).expect("a key");
            Credential::Certificate(vec![der(&read(certificate))], key)
        }
    };
    let upstream = &settings.upstream;
    let upstream = Upstream::new(&upstream.url.to_string(), vec![der(&read(&upstream.ca))], credential);
    let mut checked = Settings::new(settings.cluster.clone(), upstream.expect("an API server"));
    checked.identity = match settings.identity {
        Identity::Impersonation => Mode::Impersonation,
        Identity::RequestHeader => Mode::RequestHeader,
    };
    checked
}

/// A server certificate of the infrastructure CA, signed on the authority's host; and its issuing CA in a file.
fn certified(folder: &Path, settings: &proxy::Settings) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let cluster = settings.cluster.as_str();
    for (issuer, name) in [("infra".to_owned(), "infra"), (format!("{cluster}-1"), cluster)] {
        let config = fs::read_to_string(folder.join("authority.toml")).expect("the authority's settings");
        let (_, url) = config.split_once("url = \"").expect("its address");
        let url = format!("{}/ca/{issuer}.crt", url.split('"').next().expect("its address"));
        let file = format!("{name}.pem");
        let mut curl = in_folder(folder, "curl");
        run(curl.args(["-sS", "--noproxy", "*", "--fail", "-o", "issuer.der", &url])).ok();
        run(in_folder(folder, "openssl").args(["x509", "-inform", "DER", "-in", "issuer.der", "-out", &file])).ok();
    }
    fs::write(folder.join("server.cnf"), "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n").expect("a file");
    let mut request = in_folder(folder, "openssl");
    request.args(["req", "-new", "-subj", "/CN=proxy", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    run(request.args(["-nodes", "-keyout", "server.key", "-out", "server.csr"])).ok();
    let mut sign = in_folder(folder, "openssl");
    sign.args(["x509", "-req", "-in", "server.csr", "-CA", "infra.pem", "-CAkey", "ca/infra.key", "-days", "7"]);
    run(sign.args(["-passin", "file:passphrase", "-extfile", "server.cnf", "-out", "server.crt"])).ok();
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect("a file of the test");
    let key = PrivateKeyDer::from_pem_slice(read("server.key").as_bytes()).expect("a key");
    (vec![der(&read("server.crt"))], key)
}

/// The first certificate in a text.
fn der(text: &str) -> CertificateDer<'static> {
    let all = pem::read_all(Label::Certificate, text.as_bytes()).expect("a certificate");
    all.into_iter().next().expect("a certificate").into()
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("a runtime"))
}
