//! The proxy as client of its authority: one HTTP/2 connection over mutual TLS, for the feed and for questions.
//!
//! Both sides look for the other's role in its certificate: another server of the same infrastructure CA is not the
//! authority, even under its address.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::ident::Fingerprint;
use crate::net::channel::ChannelBody;
use crate::net::{dial, tls};
use crate::status::Credential;
use crate::x509::certificate::Certificate;
use crate::x509::extensions::SubjectAltName;

use super::miss::{LookUp, Looking, Unreachable};

/// Where the authority's management API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A DNS name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A client of the authority.
pub struct Authority {
    address: Address,
    config: ArcSwap<ClientConfig>,
    /// The connection that the feed is on, for questions beside it.
    open: Mutex<Option<Sender>>,
}

type Sender = SendRequest<Outward>;
type Outward = Either<Full<Bytes>, ChannelBody>;

/// The authority gave no answer, or not one that was wanted; for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(pub String);

impl NoAnswer {
    pub(super) fn new(what: impl fmt::Display) -> Self {
        Self(what.to_string())
    }
}

/// The authority will not serve this proxy; for people.
#[derive(Debug)]
pub(super) struct Refused(pub(super) String);

/// A connection; dropping it closes the socket.
#[derive(Debug)]
pub(super) struct Connection {
    sender: Sender,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Authority {
    /// A client with this configuration (the CA to trust, the certificate to show).
    pub fn new(address: Address, config: &ClientConfig) -> Self {
        Self { address, config: ArcSwap::new(tls::asking_for_http2(config)), open: Mutex::default() }
    }

    /// Shows another certificate from the next connection on.
    pub fn replace(&self, config: &ClientConfig) {
        self.config.store(tls::asking_for_http2(config));
    }

    /// Connects anew.
    pub(super) async fn connect(&self) -> Result<Connection, NoAnswer> {
        let Address { host, port } = &self.address;
        let config = self.config.load_full();
        let stream = dial::connect(host, *port, config, host, DIAL_TIME).await.map_err(NoAnswer::new)?;
        let session = stream.get_ref().1;
        if !tls::is_http2(session) {
            return Err(NoAnswer(format!("{host}:{port} does not speak HTTP/2: it is no authority of this version")));
        }
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        let role = SubjectAltName::Uri(ROLE.to_owned());
        let is_authority = leaf
            .and_then(|leaf| Certificate::from_der(leaf).ok())
            .is_some_and(|certificate| certificate.extensions.subject_alt_names.contains(&role));
        if !is_authority {
            return Err(NoAnswer(format!("the server at {host}:{port} is not the authority, by its own certificate")));
        }
        let mut builder = Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE);
        builder.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(NoAnswer::new)?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the authority ended");
            }
        });
        Ok(Connection { sender, driver })
    }

    /// Lets questions go the way of this connection, until it is withdrawn.
    pub(super) fn offer(&self, connection: Option<&Connection>) {
        let sender = connection.map(|connection| connection.sender.clone());
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = sender;
    }

    /// Asks on a connection of its own: for what is wanted before or beside the feed.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        secret: Option<&str>,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), NoAnswer> {
        let connection = self.connect().await?;
        exchange(connection.sender.clone(), self.request(method, path, secret, Either::Left(body.into()))?).await
    }

    /// Opens the feed. A refusal is told apart from what may be otherwise in a moment.
    pub(super) async fn open_feed(
        &self,
        connection: &Connection,
        up: ChannelBody,
    ) -> Result<Result<Incoming, Refused>, NoAnswer> {
        let request = self.request(Method::POST, "/v1/feed", None, Either::Right(up))?;
        let answer = connection.sender.clone().send_request(request).await.map_err(NoAnswer::new)?;
        let status = answer.status();
        if status == StatusCode::OK {
            return Ok(Ok(answer.into_body()));
        }
        let body = Limited::new(answer.into_body(), MOST_OCTETS).collect().await.map_err(NoAnswer::new)?.to_bytes();
        let NoAnswer(why) = refused(&body);
        if status.is_client_error() { Ok(Err(Refused(why))) } else { Err(NoAnswer(why)) }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        secret: Option<&str>,
        body: Outward,
    ) -> Result<Request<Outward>, NoAnswer> {
        let Address { host, port } = &self.address;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://{host}:{port}{path}"))
            .header(header::USER_AGENT, concat!("portcullis-proxy/", env!("CARGO_PKG_VERSION")));
        if let Some(secret) = secret {
            let mut value = header::HeaderValue::from_str(&format!("Bearer {secret}")).map_err(NoAnswer::new)?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        request.body(body).map_err(NoAnswer::new)
    }
}

async fn exchange(mut sender: Sender, request: Request<Outward>) -> Result<(StatusCode, Bytes), NoAnswer> {
    let exchanging = async {
        let answer = sender.send_request(request).await.map_err(NoAnswer::new)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MOST_OCTETS).collect().await.map_err(NoAnswer::new)?;
        Ok((status, body.to_bytes()))
    };
    timeout(ANSWER_TIME, exchanging)
        .await
        .unwrap_or_else(|_| Err(NoAnswer(format!("no answer within {} s", ANSWER_TIME.as_secs()))))
}

/// What an RFC 9457 problem document says.
pub fn refused(body: &[u8]) -> NoAnswer {
    let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let detail = problem.as_ref().and_then(|problem| problem.get("detail")?.as_str().map(str::to_owned));
    NoAnswer(detail.unwrap_or_else(|| "the authority refused without words".to_owned()))
}

impl LookUp for Authority {
    fn look_up(&self, fingerprint: Fingerprint) -> Looking<'_> {
        Box::pin(async move {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let sender = open.ok_or_else(|| Unreachable("the authority cannot be reached".to_owned()))?;
            let unreachable = |error: NoAnswer| Unreachable(error.0);
            let path = format!("/v1/proxies/credentials/{fingerprint}");
            let request = self.request(Method::GET, &path, None, Either::Left(Full::default())).map_err(unreachable)?;
            match exchange(sender, request).await.map_err(unreachable)? {
                (StatusCode::OK, body) => {
                    let credential: Credential =
                        serde_json::from_slice(&body).map_err(|error| Unreachable(error.to_string()))?;
                    Ok(Some(credential))
                }
                (StatusCode::NOT_FOUND, _) => Ok(None),
                (_, body) => Err(Unreachable(refused(&body).0)),
            }
        })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The role in the authority's server certificate.
const ROLE: &str = "urn:portcullis:server:authority";
const DIAL_TIME: Duration = Duration::from_secs(5);
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// An authority that vanished is noticed within twice this.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A snapshot's page.
const WINDOW: u32 = 8 * 1024 * 1024;
const MOST_OCTETS: usize = 4 * 1024 * 1024;
