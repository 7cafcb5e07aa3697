//! Asks the management API over one connection after another, and hears the difference between an answer and none.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::support::PATIENCE;

/// The cluster that certificates are asked for.
pub(crate) const CLUSTER: &str = "north";

/// Somebody with a profile.
#[derive(Clone)]
pub(crate) struct Profile {
    config: Arc<ClientConfig>,
    port: u16,
}

/// One who asks, over a connection that is kept.
pub(crate) struct Caller {
    profile: Profile,
    connection: Option<BufReader<StreamOwned<ClientConnection, TcpStream>>>,
}

/// What was answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The code of a refusal; empty where it is none.
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap_or_default()
    }

    pub(crate) fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Profile {
    /// Reads a profile; the API is on this port of the loopback.
    pub(crate) fn read(text: &str, port: u16) -> Self {
        let profile: toml::Table = toml::from_str(text).unwrap();
        let part = |name: &str| profile[name].as_str().unwrap().as_bytes().to_vec();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&part("ca")).unwrap()).unwrap();
        let chain = CertificateDer::pem_slice_iter(&part("certificate")).map(Result::unwrap).collect();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(&part("key")).unwrap())
            .unwrap();
        Self { config: Arc::new(config), port }
    }

    pub(crate) fn caller(&self) -> Caller {
        Caller { profile: self.clone(), connection: None }
    }
}

impl Caller {
    /// Asks once; the error says why there was no answer.
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, String> {
        let answer = self.try_ask(method, path, body);
        if answer.is_err() {
            self.connection = None;
        }
        answer.map_err(|error| error.to_string())
    }

    pub(crate) fn add_user(&mut self, id: &str, groups: &[String]) -> Result<Answer, String> {
        self.ask("POST", "/v1/users", Some(&json!({ "id": id, "groups": groups })))
    }

    pub(crate) fn issue(&mut self, id: &str) -> Result<Answer, String> {
        self.ask("POST", "/v1/certificates", Some(&json!({ "id": id, "cluster": CLUSTER, "server_key": true })))
    }

    /// Revokes a certificate by its serial number, or a user; waits for no proxy.
    pub(crate) fn revoke(&mut self, kind: &str, id: &str) -> Result<Answer, String> {
        let body = json!({ "target": { "kind": kind, "id": id }, "no_wait": true });
        self.ask("POST", "/v1/revocations", Some(&body))
    }

    /// The state of a certificate.
    pub(crate) fn state(&mut self, serial: &str) -> Result<String, String> {
        let found = self.ask("GET", &format!("/v1/certificates/{serial}"), None)?;
        Ok(found.body["status"]["state"].as_str().unwrap_or("none").to_owned())
    }

    fn try_ask(&mut self, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<Answer> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(connect(&self.profile)?),
        };
        let body = body.map(Value::to_string).unwrap_or_default();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        connection.get_mut().write_all(request.as_bytes())?;
        connection.get_mut().flush()?;
        let (mut status, mut length, mut closes) = (0, 0, false);
        for number in 0.. {
            let mut line = String::new();
            if connection.read_line(&mut line)? == 0 {
                return Err(std::io::Error::other("closed without an answer"));
            }
            let line = line.trim_end().to_lowercase();
            if number == 0 {
                status = line.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
            closes |= line == "connection: close";
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        connection.read_exact(&mut body)?;
        if closes {
            self.connection = None;
        }
        Ok(Answer { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
    }
}

fn connect(profile: &Profile) -> std::io::Result<BufReader<StreamOwned<ClientConnection, TcpStream>>> {
    let stream = TcpStream::connect(("127.0.0.1", profile.port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let session = ClientConnection::new(Arc::clone(&profile.config), name).unwrap();
    Ok(BufReader::new(StreamOwned::new(session, stream)))
}
