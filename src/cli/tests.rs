//! Commands from their arguments to the authority and back, against an authority made of canned answers.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

use super::*;
use crate::api::wire;
use crate::config::profile::Profile;
use crate::config::url::ServiceUrl;
use crate::net::http1;
use crate::net::listen::{self, BoxFuture, Handler, Peer, Stream};
use crate::net::stop::{self, Stop, Stopper};
use crate::net::tls::{self, ClientAnchors, Serving, Versions};
use crate::secret::Secret;
use crate::world::SystemClock;
use crate::x509::csr;
use crate::x509::pem::{self, Label};

/// A request as it came.
#[derive(Clone, Debug)]
struct Seen {
    line: String,
    body: Value,
    key: Option<String>,
    /// The SHA-256 of the client's certificate.
    client: crate::ident::Fingerprint,
}

/// A public key out of a request.
struct Requested(Vec<u8>);

impl rcgen::PublicKeyData for Requested {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// Everything under one CA, which is the authority's, the server's and the users'.
struct Authority {
    ca: Issuer<'static, KeyPair>,
    ca_pem: String,
    seen: Mutex<Vec<Seen>>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca_pem = pem::write(Label::Certificate, params.self_signed(&key).unwrap().der());
        Self { ca: Issuer::new(params, key), ca_pem, seen: Mutex::default() }
    }

    fn certify(&self, name: &str, uri: Option<&str>, spki: &impl rcgen::PublicKeyData) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
        params.subject_alt_names.extend(uri.map(|uri| SanType::URI(uri.try_into().unwrap())));
        params.signed_by(spki, &self.ca).unwrap().der().to_vec()
    }

    fn answer(&self, seen: &Seen) -> (u16, Value) {
        match seen.line.as_str() {
            "POST /v1/certificates" if seen.body["id"] == "nobody" => {
                let detail = "wanted an ID that exists, found nobody";
                (404, json!({"type": "", "title": "not found", "status": 404, "code": "not_found", "detail": detail}))
            }
            "POST /v1/certificates" if seen.body["id"] == "doubtful" => (503, json!({})),
            "POST /v1/certificates" => {
                let request: wire::IssueRequest = serde_json::from_value(seen.body.clone()).unwrap();
                let csr = csr::Request::from_pem_or_der(request.csr.unwrap().as_bytes()).unwrap();
                assert_eq!(csr.ignored, Vec::<String>::new());
                let spki = Requested(csr.public_key.octets().to_vec());
                let uri = request.management.then(|| format!("urn:portcullis:management:{}", request.id));
                let mut answer = issue::tests::answer(&request.id);
                answer.certificate_pem =
                    pem::write(Label::Certificate, &self.certify(&request.id, uri.as_deref(), &spki));
                answer.issuer_pem = self.ca_pem.clone();
                answer.ca_pem = self.ca_pem.clone();
                (201, serde_json::to_value(answer).unwrap())
            }
            "POST /v1/revocations" => {
                let proxy =
                    json!({"name": "prod-a", "state": "unconfirmed", "after_ms": 2000, "closed": 0, "bound_ms": 9});
                (
                    200,
                    json!({"revision": "1-2", "target": seen.body["target"], "already": false, "expired": 0,
                    "certificates": 1, "tokens": 0, "proxies": [proxy], "meaning": "", "known": "present",
                    "sample": [], "can_return": true}),
                )
            }
            "GET /v1/users?limit=500" => (200, json!({"items": [identity("ana")], "next": "ana"})),
            "GET /v1/users?after=ana&limit=500" => (200, json!({"items": [identity("bob")]})),
            "DELETE /v1/users/ana?force=true" => (200, json!({"revision": "1-3"})),
            other => panic!("{other}"),
        }
    }
}

fn identity(id: &str) -> Value {
    json!({"id": id, "kind": "user", "added": "2026-11-22T04:00:00Z"})
}

/// Serves the canned answers to whoever has a certificate.
struct Serve(Arc<Authority>);

impl Handler for Serve {
    fn handle(self: Arc<Self>, stream: Stream, peer: Peer, stop: Stop) -> BoxFuture {
        Box::pin(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (authority, client) = (Arc::clone(&self.0), peer.certificates.first().unwrap().to_vec());
                async move {
                    let key = request.headers().get("idempotency-key").map(|key| key.to_str().unwrap().to_owned());
                    let line = format!("{} {}", request.method(), request.uri());
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let body = serde_json::from_slice(&body).unwrap_or_default();
                    let seen = Seen { line, body, key, client: crate::ident::Fingerprint::of(&client) };
                    let (status, answer) = authority.answer(&seen);
                    authority.seen.lock().unwrap().push(seen);
                    let answer = Full::new(Bytes::from(answer.to_string()));
                    Ok::<_, Infallible>(Response::builder().status(status).body(answer).unwrap())
                }
            });
            http1::serve(stream, service, http1::Limits::default(), stop).await;
        })
    }
}

/// A running authority, and a folder with a profile for it.
struct World {
    authority: Arc<Authority>,
    folder: tempfile::TempDir,
    address: SocketAddr,
    _stopper: Stopper,
    _runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> Self {
        let authority = Arc::new(Authority::new());
        let ca = pem::read(Label::Certificate, authority.ca_pem.as_bytes()).unwrap();
        let ca = CertificateDer::from(ca);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateDer::from(authority.certify("authority", None, &key));
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let serving = Serving::new(vec![leaf], key).unwrap();
        let anchors = ClientAnchors::new(&[ca]).unwrap();
        let config = tls::server_config(&serving, Some(&anchors), Versions::Tls13, Arc::new(SystemClock)).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(listen::bind((Ipv4Addr::LOCALHOST, 0).into())).unwrap();
        let address = listener.local_addr().unwrap();
        let (stopper, stop) = stop::channel();
        let handler = Arc::new(Serve(Arc::clone(&authority)));
        runtime.spawn(listen::serve(listener, config, handler, listen::Limits::default(), stop));
        let folder = tempfile::tempdir().unwrap();
        let world = Self { authority, folder, address, _stopper: stopper, _runtime: runtime };
        let key = keys::NewKey::make().unwrap();
        let request = csr::Request::from_pem_or_der(key.request().unwrap().as_bytes()).unwrap();
        let spki = Requested(request.public_key.octets().to_vec());
        let certificate = world.authority.certify("admin", Some("urn:portcullis:management:admin"), &spki);
        let profile = Profile {
            server: ServiceUrl::https(&format!("https://{address}")).unwrap(),
            ca: world.authority.ca_pem.clone(),
            certificate: pem::write(Label::Certificate, &certificate),
            key: Secret::new(key.pem().expose().clone()),
        };
        let mut pending = files::Pending::create(&world.path("p.toml")).unwrap();
        pending.keep_key(key.pem()).unwrap();
        pending.finish(profile.to_toml().expose().as_bytes()).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command; `@/` stands for the folder.
    fn run(&self, line: &str) -> Result<Exit, Failure> {
        let profile = if line.contains("--profile") { "" } else { "--profile @/p.toml" };
        let line = format!("portcullis {profile} {line}");
        let line = line.replace("@/", &format!("{}/", self.folder.path().display()));
        run(Cli::try_parse_from(line.split_whitespace()).unwrap())
    }

    fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.authority.seen.lock().unwrap())
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn read(path: &Path) -> String {
    assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o7777, 0o600);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn an_issued_certificate_is_renewed_with_itself() {
    let world = World::new();
    assert_eq!(world.run("issue ana --out @/ana.pem --cluster prod --lifetime 1h").unwrap(), Exit::Done);
    let first = read(&world.path("ana.pem"));
    assert!(first.starts_with("-----BEGIN PRIVATE KEY-----"));
    let [seen] = world.seen().try_into().unwrap();
    assert_eq!((&seen.body["lifetime_seconds"], &seen.body["cluster"]), (&json!(3600), &json!("prod")));
    assert!(seen.key.is_some_and(|key| key.len() == 32));
    assert!(!seen.body.to_string().contains("PRIVATE KEY"));
    assert_eq!(world.run("renew @/ana.pem").unwrap(), Exit::Done);
    let second = read(&world.path("ana.pem"));
    assert_eq!(read(&world.path("ana.pem.backup-1")), first);
    assert_ne!(first.lines().nth(1), second.lines().nth(1));
    let [seen] = world.seen().try_into().unwrap();
    let held = credential::named(world.path("ana.pem.backup-1").to_str().unwrap()).unwrap();
    assert_eq!((seen.client.to_string(), &seen.body["id"]), (held, &json!("ana")));
}

#[test]
fn a_kubeconfig_is_merged_and_renewed_with_only_the_address_of_the_authority() {
    let world = World::new();
    std::fs::write(world.path("config"), "# mine\nkind: Config\ncurrent-context: home\n").unwrap();
    assert_eq!(world.run("kubeconfig ana --merge @/config").unwrap(), Exit::Done);
    let merged = read(&world.path("config"));
    assert!(merged.starts_with("# mine\nkind: Config\ncurrent-context: home\nclusters:\n"), "{merged}");
    assert_eq!(world.run("kubeconfig ana --out @/ana.kubeconfig").unwrap(), Exit::Done);
    let first = read(&world.path("ana.kubeconfig"));
    assert!(first.contains("current-context: ana@prod"), "{first}");
    assert_eq!(world.run("renew @/config --context ana@prod").unwrap(), Exit::Done);
    assert!(read(&world.path("config")).starts_with("# mine\nkind: Config\ncurrent-context: home\nclusters:\n"));
    world.seen();
    std::fs::remove_file(world.path("p.toml")).unwrap();
    let server = format!("renew @/ana.kubeconfig --server https://{}", world.address);
    assert_eq!(world.run(&server).unwrap(), Exit::Done);
    assert_ne!(read(&world.path("ana.kubeconfig")), first);
    assert!(world.run("renew @/ana.kubeconfig").unwrap_err().to_string().contains("--server URL"));
    assert_eq!(
        world.names(),
        ["ana.kubeconfig", "ana.kubeconfig.backup-1", "config", "config.backup-1", "config.backup-2"]
    );
}

#[test]
fn a_management_certificate_is_a_profile_that_works_and_can_be_renewed() {
    let world = World::new();
    assert_eq!(world.run("issue ana --management --out @/ana.toml").unwrap(), Exit::Done);
    assert_eq!(world.run("renew @/ana.toml").unwrap(), Exit::Done);
    let [first, renewal] = world.seen().try_into().unwrap();
    assert_eq!((&first.body["management"], &renewal.body["management"]), (&json!(true), &json!(true)));
    assert_ne!(first.client, renewal.client);
    assert_eq!(world.run("--profile @/ana.toml user list").map_err(|error| error.to_string()), Ok(Exit::Done));
}

#[test]
fn a_refusal_leaves_no_file_and_a_doubtful_answer_leaves_the_key() {
    let world = World::new();
    let refused = world.run("issue nobody --out @/x.pem").unwrap_err();
    assert_eq!(refused.to_string(), "error: wanted an ID that exists, found nobody");
    assert_eq!(world.names(), ["p.toml"]);
    let doubtful = world.run("issue doubtful --out @/x.pem").unwrap_err().to_string();
    assert!(doubtful.contains("the new key is in"), "{doubtful}");
    assert!(read(&world.path("x.pem")).starts_with("-----BEGIN PRIVATE KEY-----"));
    assert!(world.run("issue ana --out @/x.pem").unwrap_err().to_string().contains("not overwritten"));
    assert_eq!(world.seen().len(), 2);
}

#[test]
fn a_revocation_that_a_proxy_has_not_confirmed_is_not_done() {
    let world = World::new();
    assert_eq!(world.run("revoke user ana --yes -o json").unwrap(), Exit::NotYetEnforced);
    assert_eq!(world.run("revoke user ana bob --yes --no-wait").unwrap(), Exit::Done);
    assert_eq!(world.run("revoke user ana --dry-run").unwrap(), Exit::Done);
    let seen = world.seen();
    let dry: Vec<bool> = seen.iter().map(|seen| seen.body["dry_run"].as_bool().unwrap()).collect();
    assert_eq!(dry, [false, false, false, true]);
    let keys: std::collections::BTreeSet<_> = seen.iter().map(|seen| seen.key.clone().unwrap()).collect();
    assert_eq!(keys.len(), 4);
}

#[test]
fn lists_are_read_to_their_end() {
    let world = World::new();
    assert_eq!(world.run("user list -o name").unwrap(), Exit::Done);
    assert_eq!(world.seen().len(), 2);
    assert_eq!(world.run("user delete ana --force --yes").unwrap(), Exit::Done);
}

#[test]
fn a_server_that_is_not_of_the_profiles_ca_learns_nothing() {
    let world = World::new();
    let other = Authority::new();
    let profile = read(&world.path("p.toml")).replace(world.authority.ca_pem.trim(), other.ca_pem.trim());
    std::fs::write(world.path("p.toml"), profile).unwrap();
    let error = world.run("user list").unwrap_err().to_string();
    assert!(error.contains("cannot connect"), "{error}");
    assert!(world.seen().is_empty());
}
