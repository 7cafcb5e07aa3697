//! Connections to the API server: one at most for each connection of a client, carrying nobody else's requests.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{HeaderValue, InvalidHeaderValue};
use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::task::JoinSet;
use tokio::time::Instant;

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

    async fn dial(&self) -> Result<TokioIo<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>, UpstreamError> {
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
    /// What drives the connection; `None` once the lane is closed.
    drivers: Mutex<Option<JoinSet<()>>>,
}

impl Lane {
    pub(super) fn new(upstream: Arc<Upstream>) -> Self {
        Self { upstream, sender: tokio::sync::Mutex::new(None), drivers: Mutex::new(Some(JoinSet::new())) }
    }

    /// Sends one request and gives the head of its answer; redirects are not followed.
    pub(super) async fn send(&self, mut request: Request<Upload>) -> Result<Response<Incoming>, UpstreamError> {
        if let Some(value) = self.upstream.authorization().await? {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
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
        let mut drivers = self.drivers.lock().unwrap_or_else(PoisonError::into_inner);
        let drivers = drivers.as_mut().ok_or(UpstreamError::Closed)?;
        while drivers.try_join_next().is_some() {}
        drivers.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to the API server ended");
            }
        });
        Ok(sender)
    }

    /// Ends the lane for good; returns once its socket is closed. What was being sent is left without its end.
    pub(super) async fn close(&self) {
        let drivers = self.drivers.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut drivers) = drivers {
            drivers.shutdown().await;
        }
    }
}

/// A service account's token is replaced an hour before it ends, so this is soon enough.
const TOKEN_KEPT: Duration = Duration::from_secs(10);
const DIAL_TIME: Duration = Duration::from_secs(10);
/// How long the end of the previous exchange is waited for before a new connection is made instead.
const READY_TIME: Duration = Duration::from_secs(1);
