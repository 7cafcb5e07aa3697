//! Speaks to the management API: one connection, requests one after the other, answers within bounds.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::exit::Failure;
use super::output;
use crate::api::wire;
use crate::config::profile::Profile;
use crate::config::url::ServiceUrl;
use crate::net::{dial, tls};
use crate::secret::Secret;
use crate::world::{self, SystemEntropy};
use crate::x509::pem::{self, Label};

/// A client of one management API with one credential.
pub(super) struct Client {
    server: ServiceUrl,
    tls: Arc<ClientConfig>,
    open: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// Speaks with a profile's credential.
    pub(super) fn of_profile(profile: &Profile) -> Result<Self, Failure> {
        let build = || Self::new(profile.server.clone(), &profile.ca, &profile.certificate, &profile.key);
        build().map_err(|error| match error {
            Failure::Failed(words) => Failure::failed(format!("the profile cannot be used: {words}")),
            other => other,
        })
    }

    /// Speaks to `server`, which must have a certificate of `ca`, with a certificate and its key (all in PEM).
    pub(super) fn new(server: ServiceUrl, ca: &str, certificate: &str, key: &Secret<String>) -> Result<Self, Failure> {
        let anchors = certificates(ca).map_err(|error| Failure::failed(format!("the CA: {error}")))?;
        let chain = certificates(certificate).map_err(|error| Failure::failed(format!("the certificate: {error}")))?;
        let key = pem::read_private_key(key.expose().as_bytes());
        let key = key.map_err(|error| Failure::failed(format!("the private key: {error}")))?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.expose().clone()));
        let tls = tls::client_config(&anchors, Some((chain, key))).map_err(Failure::failed)?;
        Ok(Self { server, tls, open: None })
    }

    /// The address that is spoken to.
    pub(super) const fn server(&self) -> &ServiceUrl {
        &self.server
    }

    /// Asks; changes nothing.
    pub(super) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Failure> {
        self.exchange(Method::GET, path, Bytes::new(), ANSWER).await
    }

    /// Every item of a list, page after page.
    pub(super) async fn all<T: DeserializeOwned>(&mut self, path: &str, query: &Query) -> Result<Vec<T>, Failure> {
        let mut items = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let query = query.clone().with("after", after.as_deref()).with("limit", Some("500"));
            let page: wire::Page<T> = self.get(&format!("{path}{query}")).await?;
            items.extend(page.items);
            match page.next {
                // The same page again would never end.
                Some(next) if after.as_ref() != Some(&next) && items.len() < MOST_ITEMS => after = Some(next),
                Some(_) => return Err(Failure::failed("the authority sent a list that does not end")),
                None => return Ok(items),
            }
        }
    }

    /// Changes something; `wait` is how much longer than usual the answer may take.
    pub(super) async fn change<B: Serialize + Sync, T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&B>,
        wait: Duration,
    ) -> Result<T, Failure> {
        let bytes = body.map(serde_json::to_vec).transpose();
        let bytes = bytes.map_err(|error| Failure::failed(format!("the request cannot be written: {error}")))?;
        self.exchange(method, path, bytes.unwrap_or_default().into(), ANSWER.saturating_add(wait)).await
    }

    async fn exchange<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        within: Duration,
    ) -> Result<T, Failure> {
        let changes = method != Method::GET;
        let request = self.request(method, path, body)?;
        let working = async {
            let sender = self.connected().await?;
            let lost = |error: &dyn std::fmt::Display| unanswered(changes, &explained(&error.to_string()));
            let answer = sender.send_request(request).await.map_err(|error| lost(&with_sources(&error)))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, MOST_BYTES).collect().await;
            let body = body.map_err(|error| lost(&with_sources(error.as_ref())))?.to_bytes();
            Ok::<_, Failure>((head.status, body))
        };
        let answered =
            output::with_progress("waiting for the authority …", tokio::time::timeout(within, working)).await;
        let slow = || unanswered(changes, &format!("no answer within {} s", within.as_secs()));
        match answered.unwrap_or_else(|_| Err(slow())) {
            Ok((status, body)) => read(status, &body, changes),
            Err(failure) => {
                self.open = None;
                Err(failure)
            }
        }
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(&method)
            .uri(path)
            .header(header::HOST, self.server.authority())
            .header(header::ACCEPT, "application/json, application/problem+json")
            .header(header::USER_AGENT, concat!("portcullis/", env!("CARGO_PKG_VERSION")));
        if method != Method::GET {
            let key = world::random::<16>(&SystemEntropy).map_err(Failure::failed)?;
            request = request.header("idempotency-key", hex::encode(key));
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request
            .body(Full::new(body))
            .map_err(|error| Failure::failed(format!("the request cannot be written: {error}")))
    }

    async fn connected(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, Failure> {
        let usable = match &mut self.open {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            self.open = None;
        }
        match &mut self.open {
            Some(sender) => Ok(sender),
            closed @ None => {
                let (host, port) = (self.server.host(), self.server.port());
                let stream = dial::connect(host, port, Arc::clone(&self.tls), host, CONNECT).await;
                let stream = stream.map_err(|error| {
                    Failure::failed(format!(
                        "{}; is the authority running, and is this its address?",
                        explained(&error.to_string())
                    ))
                })?;
                let (sender, connection) = handshake(TokioIo::new(stream))
                    .await
                    .map_err(|error| Failure::failed(format!("cannot speak HTTP to {}: {error}", self.server)))?;
                tokio::spawn(connection);
                Ok(closed.insert(sender))
            }
        }
    }
}

/// The query of a list.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(String);

impl Query {
    /// Adds a parameter if it has a value.
    pub(super) fn with(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            let sign = if self.0.is_empty() { '?' } else { '&' };
            self.0.push_str(&format!("{sign}{name}={}", segment(value)));
        }
        self
    }
}

impl std::fmt::Display for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Percent-encodes all but the unreserved characters (RFC 3986 §2.3), so that an ID stays one segment of a path.
pub(super) fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    // Servers may take `.` and `..` for steps even when nothing else needs encoding.
    let dots_only = text.chars().all(|c| c == '.');
    for byte in text.bytes() {
        match byte {
            b'.' if dots_only => encoded.push_str("%2E"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

/// Certificates in PEM as TLS wants them.
fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, pem::PemError> {
    Ok(pem::read_all(Label::Certificate, text.as_bytes())?.into_iter().map(CertificateDer::from).collect())
}

fn read<T: DeserializeOwned>(status: StatusCode, body: &[u8], changes: bool) -> Result<T, Failure> {
    if status.is_success() {
        return serde_json::from_slice(body).map_err(|error| {
            unanswered(
                changes,
                &format!("the authority's answer cannot be read: {error}; is this program as new as it?"),
            )
        });
    }
    match serde_json::from_slice::<wire::Problem>(body) {
        Ok(problem) => Err(Failure::Refused(Box::new(problem))),
        Err(_) => Err(Failure::Refused(Box::new(wire::Problem {
            kind: String::new(),
            title: status.canonical_reason().unwrap_or("an error").to_owned(),
            status: status.as_u16(),
            code: String::new(),
            detail: format!(
                "the answer was HTTP {status} without a reason; is this the address of the management API?"
            ),
        }))),
    }
}

fn unanswered(changes: bool, words: &str) -> Failure {
    if changes {
        Failure::Unanswered(format!("{words}; the change may have been made or not: look before you repeat it"))
    } else {
        Failure::failed(words)
    }
}

/// TLS alerts in words.
fn explained(error: &str) -> String {
    let why = [
        ("UnknownCA", "the other end does not know the CA of this credential"),
        ("CertificateExpired", "the credential in use has expired"),
        ("CertificateRequired", "the other end wants a certificate"),
        ("BadCertificate", "the other end does not accept this credential"),
        ("UnknownIssuer", "the server's certificate is not from the CA in the profile"),
        ("NotValidForName", "the server's certificate is for another name"),
    ];
    match why.iter().find(|(sign, _)| error.contains(sign)) {
        Some((_, words)) => format!("{error} ({words})"),
        None => error.to_owned(),
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_words = inner.to_string();
        if !words.contains(&inner_words) {
            words = format!("{words}: {inner_words}");
        }
        source = inner.source();
    }
    words
}

/// Longer than any handshake across the world.
const CONNECT: Duration = Duration::from_secs(10);
/// A commit waits for a disk, at worst for a busy one.
const ANSWER: Duration = Duration::from_secs(30);
/// A page of 500 certificates with 32 groups each is below 2 MiB.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// Beyond it nobody reads a list.
const MOST_ITEMS: usize = 5_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_one_segment_of_a_path() {
        assert_eq!(segment("a/../b?c#d é"), "a%2F..%2Fb%3Fc%23d%20%C3%A9");
        assert_eq!(segment(".."), "%2E%2E");
        assert_eq!(segment("X509SHA256=00"), "X509SHA256%3D00");
        let query = Query::default().with("id", Some("a&b")).with("cluster", None).with("after", Some("1"));
        assert_eq!(query.to_string(), "?id=a%26b&after=1");
    }

    #[test]
    fn a_problem_document_becomes_its_detail() {
        let body =
            br#"{"type":"urn:portcullis:problem:x","title":"x","status":403,"code":"x","detail":"wanted admin"}"#;
        let failure = read::<wire::Changed>(StatusCode::FORBIDDEN, body, true).unwrap_err();
        assert_eq!(failure.to_string(), "error: wanted admin");
        let failure = read::<wire::Changed>(StatusCode::NOT_FOUND, b"<html>", false).unwrap_err();
        assert!(failure.to_string().contains("404"), "{failure}");
    }

    #[test]
    fn an_answer_that_makes_no_sense_leaves_a_change_open() {
        let failure = read::<wire::Changed>(StatusCode::OK, b"{}", true).unwrap_err();
        assert!(failure.may_have_happened());
        assert!(!read::<wire::Changed>(StatusCode::OK, b"{}", false).unwrap_err().may_have_happened());
    }
}
