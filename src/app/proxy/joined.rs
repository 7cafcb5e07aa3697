//! What a proxy has from joining: its name, its certificates and keys, and whom to follow. One file beside the mirror,
//! for its owner alone, replaced whole at each renewal.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{Method, StatusCode};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use super::invitation::Invitation;
use crate::app::{AppError, Doing};
use crate::ca::vault::{private_pem, write_new_private};
use crate::config::url::ServiceUrl;
use crate::ident::{ClusterName, ProxyName};
use crate::net::tls;
use crate::proxy::authority::{Address, Authority, refused};
use crate::secret::Secret;
use crate::status::joining::{EquipRequest, Equipped};
use crate::world::Timestamp;
use crate::x509::certificate::Certificate;
use crate::x509::pem::{self, Label};

/// A proxy's certificates and keys.
#[derive(Debug)]
pub(super) struct Joined {
    path: PathBuf,
    written: Written,
}

/// As it is in the file. The keys are in PEM.
#[derive(Serialize, Deserialize)]
struct Written {
    server: String,
    proxy: ProxyName,
    cluster: ClusterName,
    ca: String,
    authorities: String,
    follower: String,
    follower_key: String,
    serving: String,
    serving_key: String,
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Written").field("proxy", &self.proxy).field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Keys that were made a moment ago, and the requests for them.
struct NewKeys {
    follower: Secret<String>,
    serving: Secret<String>,
    request: EquipRequest,
}

impl NewKeys {
    fn make() -> Result<Self, AppError> {
        let one = || -> Result<(Secret<String>, String), AppError> {
            let pair = KeyPair::generate().doing("making a key")?;
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            let request = params.serialize_request(&pair).and_then(|request| request.pem());
            Ok((private_pem(&pair), request.doing("making a request")?))
        };
        let ((follower, follower_csr), (serving, server_csr)) = (one()?, one()?);
        Ok(Self { follower, serving, request: EquipRequest { follower_csr, server_csr } })
    }

    fn body(&self) -> Result<Vec<u8>, AppError> {
        serde_json::to_vec(&self.request).doing("making a request")
    }
}

impl Joined {
    /// Joins: the keys are made here and stay here.
    pub(super) async fn join(dir: &Path, invitation: &Invitation) -> Result<Self, AppError> {
        let path = dir.join(FILE);
        let keys = NewKeys::make()?;
        let config = tls::pinned_client_config(invitation.ca).doing("preparing TLS")?;
        let authority = Authority::new(address(&invitation.server), &config);
        let secret = Some(invitation.secret.expose().as_str());
        let answer = authority.ask(Method::POST, "/v1/proxies/join", secret, keys.body()?).await;
        let equipped = equipped(answer.doing(format_args!("asking {}", invitation.server))?)?;
        let joined = Self { path, written: written(invitation.server.to_string(), keys, equipped)? };
        joined.write()?;
        Ok(joined)
    }

    /// What an earlier join has left.
    pub(super) fn read(dir: &Path) -> Result<Self, AppError> {
        let path = dir.join(FILE);
        let doing = || format!("reading {}", path.display());
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(AppError::new(
                    "starting",
                    format!(
                        "this proxy has not joined an authority ({} is not there): get a string with `portcullis proxy \
                         token --cluster …` and run `portcullis proxy join STRING`",
                        path.display()
                    ),
                ));
            }
            text => text.doing(doing())?,
        };
        let mode = fs::metadata(&path).doing(doing())?.permissions().mode();
        if mode & 0o077 != 0 {
            let mode = mode & 0o7777;
            return Err(AppError::new(doing(), format!("others may read the keys in it (mode {mode:04o}): chmod 600")));
        }
        Ok(Self { written: serde_json::from_slice(&text).doing(doing())?, path })
    }

    fn write(&self) -> Result<(), AppError> {
        let doing = || format!("writing {}", self.path.display());
        let unfinished = self.path.with_extension("new");
        let _ = fs::remove_file(&unfinished);
        let text = serde_json::to_vec_pretty(&self.written).doing(doing())?;
        write_new_private(&unfinished, &text).doing(doing())?;
        fs::rename(&unfinished, &self.path).doing(doing())?;
        let dir = self.path.parent().unwrap_or_else(|| Path::new("."));
        File::open(dir).and_then(|dir| dir.sync_all()).doing(doing())
    }

    /// Has new certificates made for new keys, and puts them in the place of the old.
    pub(super) async fn renew(&mut self, authority: &Authority) -> Result<(), AppError> {
        let keys = NewKeys::make()?;
        let answer = authority.ask(Method::POST, "/v1/proxies/certificates", None, keys.body()?).await;
        let equipped = equipped(answer.doing("asking the authority")?)?;
        self.written = written(self.written.server.clone(), keys, equipped)?;
        self.write()
    }

    pub(super) const fn proxy(&self) -> &ProxyName {
        &self.written.proxy
    }

    pub(super) const fn cluster(&self) -> &ClusterName {
        &self.written.cluster
    }

    pub(super) fn address(&self) -> Result<Address, AppError> {
        Ok(address(&ServiceUrl::https(&self.written.server).doing("reading the authority's address")?))
    }

    /// The issuing CAs as they were when it joined or renewed; the feed knows better.
    pub(super) fn authorities(&self) -> Result<Vec<Vec<u8>>, AppError> {
        let found = certificates(&self.written.authorities)?;
        Ok(found.into_iter().map(|der| der.to_vec()).collect())
    }

    /// With what it follows the authority.
    pub(super) fn client(&self) -> Result<Arc<ClientConfig>, AppError> {
        let identity = identity(&self.written.follower, &self.written.follower_key)?;
        tls::client_config(&certificates(&self.written.ca)?, Some(identity)).doing("preparing TLS")
    }

    /// With what it serves.
    pub(super) fn serving(&self) -> Result<Identity, AppError> {
        identity(&self.written.serving, &self.written.serving_key)
    }

    /// From when until when it may follow, and serve.
    pub(super) fn validities(&self) -> Result<Validities, AppError> {
        Ok(Validities { following: validity(&self.written.follower)?, serving: validity(&self.written.serving)? })
    }
}

/// The first and the last moment of a certificate.
pub(super) type Validity = (Timestamp, Timestamp);

/// Those of a proxy's two certificates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validities {
    /// Of the one with which it follows the authority.
    pub(super) following: Validity,
    /// Of the one that it shows to its clients.
    pub(super) serving: Validity,
}

impl Validities {
    /// When two thirds of the shorter life are over.
    pub(super) fn due(&self) -> Timestamp {
        let due = |(from, until): Validity| from.after(until.since(from) / 3 * 2);
        due(self.following).min(due(self.serving))
    }
}

fn validity(chain: &str) -> Result<Validity, AppError> {
    let leaf = certificates(chain)?.into_iter().next();
    let leaf = leaf.and_then(|leaf| Certificate::from_der(&leaf).ok());
    let leaf = leaf.ok_or_else(|| AppError::new("reading the proxy's certificates", "there is none"))?;
    Ok((leaf.not_before, leaf.not_after))
}

fn address(server: &ServiceUrl) -> Address {
    Address { host: server.host().to_owned(), port: server.port() }
}

fn equipped((status, body): (StatusCode, bytes::Bytes)) -> Result<Equipped, AppError> {
    if status != StatusCode::CREATED {
        return Err(AppError::new("the authority refused", refused(&body)));
    }
    serde_json::from_slice(&body).doing("reading the authority's answer")
}

fn written(server: String, keys: NewKeys, equipped: Equipped) -> Result<Written, AppError> {
    Ok(Written {
        server,
        proxy: equipped.proxy.parse().doing("reading the authority's answer")?,
        cluster: equipped.cluster.parse().doing("reading the authority's answer")?,
        ca: equipped.ca_pem,
        authorities: equipped.authorities_pem,
        follower: equipped.follower_pem,
        follower_key: keys.follower.expose().clone(),
        serving: equipped.server_pem,
        serving_key: keys.serving.expose().clone(),
    })
}

fn identity(chain: &str, key: &str) -> Result<Identity, AppError> {
    let key = pem::read_private_key(key.as_bytes()).doing("reading the proxy's key")?;
    Ok((certificates(chain)?, PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.expose().clone()))))
}

pub(super) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, AppError> {
    let found = pem::read_all(Label::Certificate, text.as_bytes()).doing("reading certificates")?;
    Ok(found.into_iter().map(CertificateDer::from).collect())
}

const FILE: &str = "joined.json";
