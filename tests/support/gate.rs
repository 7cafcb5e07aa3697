//! A proxy in this process, over real sockets, before an API server of the test's own: whoever uses it says who is
//! recorded and who is revoked, and takes the times.
#![allow(dead_code, reason = "each story uses another part of this")]

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::ident::Fingerprint;
use portcullis::net::tls::{ClientAnchors, Serving};
use portcullis::net::{dial, listen, tls};
use portcullis::observe::Metrics;
use portcullis::proxy::settings::{Credential, Settings, Upstream};
use portcullis::proxy::{Parts, Proxy, Remote};
use portcullis::secret::Secret;
use portcullis::standing::{Cut, CutKey, Revision};
use portcullis::status::{Change, Credential as Recorded, Statuses};
use portcullis::world::{Clock as _, SystemClock, Timestamp};
use portcullis::x509::reason::Reason;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// How long anything may take that takes milliseconds when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running proxy and whom it knows.
pub(crate) struct Gate {
    pub(crate) proxy: Proxy,
    pub(crate) statuses: Arc<Statuses>,
    pub(crate) port: u16,
    users: Ca,
    servers: CertificateDer<'static>,
    number: AtomicU64,
    metrics: Metrics,
}

impl Gate {
    /// A proxy before the API server at `port`, whose certificate is from `servers`; its own is too.
    pub(crate) async fn start(servers: &Ca, port: u16, change: impl FnOnce(&mut Settings)) -> Self {
        let anchors = vec![servers.der.clone()];
        let credential = Credential::Token(Secret::new("proxy-token".to_owned()));
        let upstream = Upstream::new(&format!("https://127.0.0.1:{port}"), anchors, credential).unwrap();
        let mut settings = Settings::new("prod".parse().unwrap(), upstream);
        change(&mut settings);
        let (users, leaf, metrics) = (Ca::new("users"), servers.server(), Metrics::new());
        let listener = listen::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let statuses = Arc::new(Statuses::empty());
        let parts = Parts {
            listener,
            serving: &Serving::new(leaf.chain.clone(), leaf.key()).unwrap(),
            anchors: &ClientAnchors::new(std::slice::from_ref(&users.der)).unwrap(),
            statuses: Arc::clone(&statuses),
            clock: Arc::new(SystemClock),
            metrics: &metrics,
            remote: Remote::default(),
        };
        let proxy = Proxy::start(parts, settings).unwrap();
        let gate =
            Self { proxy, statuses, port, users, servers: servers.der.clone(), number: AtomicU64::new(0), metrics };
        gate.tell([]);
        gate
    }

    /// Applies facts as one commit and announces it.
    pub(crate) fn tell(&self, changes: impl IntoIterator<Item = Change>) -> Revision {
        let revision = self.next();
        self.statuses.apply(changes);
        self.statuses.reached(revision);
        revision
    }

    fn next(&self) -> Revision {
        Revision { era: 1, number: self.number.fetch_add(1, Ordering::Relaxed) + 1 }
    }

    /// A certificate on the record, valid for an hour.
    pub(crate) fn issue(&self, id: &str) -> Leaf {
        let not_after = SystemClock.now().whole_seconds().after(Duration::from_secs(3600));
        let leaf = self.users.client(id, not_after);
        let issued = self.next();
        self.tell([Change::Recorded(Recorded {
            key: Fingerprint::of(&leaf.chain[0]).short(),
            issued,
            not_after,
            cut_keys: vec![CutKey::Identity(id.parse().unwrap())],
        })]);
        leaf
    }

    /// Revokes an identity; gives the revision of that.
    pub(crate) fn revoke(&self, id: &str) -> Revision {
        let revision = self.next();
        let cut = Cut { revision, at: SystemClock.now(), reason: Reason::Unspecified };
        self.statuses.apply([Change::CutOff(CutKey::Identity(id.parse().unwrap()), cut)]);
        self.statuses.reached(revision);
        revision
    }

    /// A client's configuration, which asks for no resumption and for HTTP/1.1.
    pub(crate) fn client(&self, leaf: &Leaf) -> Arc<rustls::ClientConfig> {
        let identity = Some((leaf.chain.clone(), leaf.key()));
        tls::client_config(std::slice::from_ref(&self.servers), identity).unwrap()
    }

    /// The CA of the proxy's own certificate.
    pub(crate) const fn servers(&self) -> &CertificateDer<'static> {
        &self.servers
    }

    pub(crate) async fn connect(&self, leaf: &Leaf, is_http2: bool) -> TlsStream<TcpStream> {
        let config = self.client(leaf);
        let config = if is_http2 { tls::asking_for_http2(&config) } else { config };
        dial::connect("127.0.0.1", self.port, config, "localhost", PATIENCE).await.unwrap()
    }
}

/// A certificate with its chain and key.
pub(crate) struct Leaf {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

impl Leaf {
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    /// The certificate and its key in PEM, for programs of others.
    pub(crate) fn pem(&self) -> (String, String) {
        (pem::encode(&pem::Pem::new("CERTIFICATE", self.chain[0].to_vec())), self.key.serialize_pem())
    }
}

/// A CA made for a test.
pub(crate) struct Ca {
    issuer: Mutex<Issuer<'static, KeyPair>>,
    pub(crate) der: CertificateDer<'static>,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = params(name, None, far());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Mutex::new(Issuer::new(params, key)), der }
    }

    /// For a server on this machine.
    pub(crate) fn server(&self) -> Leaf {
        let mut params = params("localhost", None, far());
        params.subject_alt_names =
            vec![SanType::DnsName("localhost".try_into().unwrap()), SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params)
    }

    fn client(&self, id: &str, not_after: Timestamp) -> Leaf {
        let mut params = params(id, Some("dev"), not_after);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let der = params.signed_by(&key, &*self.issuer.lock().unwrap()).unwrap().der().clone();
        Leaf { chain: vec![der, self.der.clone()], key }
    }
}

fn params(name: &str, group: Option<&str>, not_after: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut distinguished = DistinguishedName::new();
    if let Some(group) = group {
        distinguished.push(DnType::OrganizationName, group);
    }
    distinguished.push(DnType::CommonName, name);
    params.distinguished_name = distinguished;
    params.not_before = Timestamp::from_unix_seconds(1_700_000_000).date_time();
    params.not_after = not_after.date_time();
    params
}

fn far() -> Timestamp {
    Timestamp::from_unix_seconds(4_000_000_000)
}
