//! Connections to the API server: one at most for each connection of a client, carrying nobody else's requests.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue, InvalidHeaderValue};
use http::{Request, Response, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use crate::net::dial::{self, DialError};
use crate::net::tls::{TlsError, client_config};

use super::relay::Upload;
use super::settings::{self, Credential};

/// Why the API server gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpstreamError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the exchange with the API server broke off: {0}")]
    Exchange(#[from] hyper::Error),
    #[error("cannot read the API server's token from {path}: {source}")]
    TokenFile { path: PathBuf, source: std::io::Error },
    #[error("wanted a bearer token on one line, found characters that no header can hold")]
    Token(#[from] InvalidHeaderValue),
    #[error("the connection was cut")]
    Closed,
    #[error("no answer to the wish for another protocol within {} s", ANSWER_TIME.as_secs())]
    Silent,
    #[error("the API server agreed to another protocol and kept speaking HTTP")]
    NotSwitched,
}

/// An API server: how to reach it, and what opens it.
#[derive(Debug)]
pub(super) struct Upstream {
    host: String,
    port: u16,
    authority: HeaderValue,
    config: Arc<ClientConfig>,
    token: Option<Token>,
}

#[derive(Debug)]
enum Token {
    Fixed(HeaderValue),
    File { path: PathBuf, read: Mutex<Option<(Instant, HeaderValue)>> },
}

impl Upstream {
    pub(super) fn new(settings: &settings::Upstream) -> Result<Self, TlsError> {
        let (identity, token) = match &settings.credential {
            Credential::Token(token) => (None, bearer(token.expose()).ok().map(Token::Fixed)),
            Credential::TokenFile(path) => (None, Some(Token::File { path: path.clone(), read: Mutex::default() })),
            Credential::Certificate(chain, key) => (Some((chain.clone(), key.clone_key())), None),
        };
        let authority = settings.authority.as_str();
        Ok(Self {
            host: settings.host.clone(),
            port: settings.port,
            authority: HeaderValue::from_str(authority).unwrap_or(HeaderValue::from_static("kubernetes")),
            config: client_config(&settings.anchors, identity)?,
            token,
        })
    }

    /// What the API server is called in `Host`.
    pub(super) const fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Forgets the token that was read, because the API server refused it.
    pub(super) fn forget_token(&self) {
        if let Some(Token::File { read, .. }) = &self.token {
            read.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    /// The value of `Authorization`; none when a client certificate opens the API server.
    async fn authorization(&self) -> Result<Option<HeaderValue>, UpstreamError> {
        let (path, read) = match &self.token {
            None => return Ok(None),
            Some(Token::Fixed(value)) => return Ok(Some(value.clone())),
            Some(Token::File { path, read }) => (path, read),
        };
        if let Some((at, value)) = &*read.lock().unwrap_or_else(PoisonError::into_inner)
            && at.elapsed() < TOKEN_KEPT
        {
            return Ok(Some(value.clone()));
        }
        let text = tokio::fs::read_to_string(path).await;
        let text = text.map_err(|source| UpstreamError::TokenFile { path: path.clone(), source })?;
        let value = bearer(text.trim())?;
        *read.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), value.clone()));
        Ok(Some(value))
    }

    async fn authorize(&self, headers: &mut HeaderMap) -> Result<(), UpstreamError> {
        if let Some(value) = self.authorization().await? {
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(())
    }

    async fn dial(&self) -> Result<TokioIo<TlsStream<TcpStream>>, UpstreamError> {
        let config = Arc::clone(&self.config);
        Ok(TokioIo::new(dial::connect(&self.host, self.port, config, &self.host, DIAL_TIME).await?))
    }
}

fn bearer(token: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// One client connection's way to the API server: a connection that is made when it is first needed, and kept.
#[derive(Debug)]
pub(super) struct Lane {
    upstream: Arc<Upstream>,
    sender: tokio::sync::Mutex<Option<SendRequest<Upload>>>,
    /// `None` once the lane is closed.
    open: Mutex<Option<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    /// What drives the connections.
    drivers: JoinSet<()>,
    far_end: Option<FarEnd>,
}

/// A connection to the API server that speaks another protocol from here on.
#[derive(Debug)]
pub(super) struct FarEnd {
    pub(super) stream: TlsStream<TcpStream>,
    /// What came right behind the head of the answer.
    pub(super) early: Bytes,
    /// Whether a WebSocket carries the channels of a remote command, so that it can be told why it ends.
    pub(super) has_channels: bool,
}

impl Lane {
    pub(super) fn new(upstream: Arc<Upstream>) -> Self {
        Self { upstream, sender: tokio::sync::Mutex::new(None), open: Mutex::new(Some(Open::default())) }
    }

    /// Sends one request and gives the head of its answer; redirects are not followed.
    pub(super) async fn send(&self, mut request: Request<Upload>) -> Result<Response<Incoming>, UpstreamError> {
        self.upstream.authorize(request.headers_mut()).await?;
        let mut kept = self.sender.lock().await;
        if let Some(mut sender) = kept.take() {
            let ready = tokio::time::timeout(READY_TIME, sender.ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                match sender.try_send_request(request).await {
                    Ok(response) => {
                        *kept = Some(sender);
                        return Ok(response);
                    }
                    // The API server closed the idle connection; nothing was sent if the request comes back.
                    Err(mut error) => match error.take_message() {
                        Some(unsent) => request = unsent,
                        None => return Err(error.into_error().into()),
                    },
                }
            }
        }
        let mut sender = self.connect().await?;
        let response = sender.send_request(request).await?;
        *kept = Some(sender);
        Ok(response)
    }

    async fn connect(&self) -> Result<SendRequest<Upload>, UpstreamError> {
        let stream = self.upstream.dial().await?;
        let (sender, connection) = http1::Builder::new().handshake(stream).await?;
        self.drive(connection)?;
        Ok(sender)
    }

    /// Sends a request for another protocol on a connection of its own, which carries nothing else whatever the answer.
    pub(super) async fn ask_to_switch(
        &self,
        mut request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        self.upstream.authorize(request.headers_mut()).await?;
        let stream = self.upstream.dial().await?;
        let (mut sender, connection) = http1::Builder::new().handshake(stream).await?;
        self.drive(connection.with_upgrades())?;
        let answer = tokio::time::timeout(ANSWER_TIME, sender.send_request(request)).await;
        Ok(answer.map_err(|_| UpstreamError::Silent)??)
    }

    /// Keeps the connection of a 101 until the client was told as well.
    pub(super) async fn keep_far_end(
        &self,
        answer: Response<Incoming>,
        has_channels: bool,
    ) -> Result<(), UpstreamError> {
        let upgraded = hyper::upgrade::on(answer).await?;
        let parts = upgraded.downcast::<TokioIo<TlsStream<TcpStream>>>().map_err(|_| UpstreamError::NotSwitched)?;
        let far_end = FarEnd { stream: parts.io.into_inner(), early: parts.read_buf, has_channels };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.as_mut().ok_or(UpstreamError::Closed)?.far_end = Some(far_end);
        Ok(())
    }

    pub(super) fn take_far_end(&self) -> Option<FarEnd> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.far_end.take()
    }

    fn drive<F>(&self, connection: F) -> Result<(), UpstreamError>
    where
        F: Future<Output = hyper::Result<()>> + Send + 'static,
    {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let drivers = &mut open.as_mut().ok_or(UpstreamError::Closed)?.drivers;
        while drivers.try_join_next().is_some() {}
        drivers.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to the API server ended");
            }
        });
        Ok(())
    }

    /// Ends the lane for good; returns once its sockets are closed. What was being sent is left without its end.
    pub(super) async fn close(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Open { mut drivers, far_end }) = open {
            drop(far_end);
            drivers.shutdown().await;
        }
    }
}

/// A service account's token is replaced an hour before it ends, so this is soon enough.
const TOKEN_KEPT: Duration = Duration::from_secs(10);
const DIAL_TIME: Duration = Duration::from_secs(10);
/// How long the end of the previous exchange is waited for before a new connection is made instead.
const READY_TIME: Duration = Duration::from_secs(1);
/// Longer than the API server takes to reach a node (30 s), shorter than anyone waits.
const ANSWER_TIME: Duration = Duration::from_secs(60);
