//! The API server: how to reach it, and what opens it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue, InvalidHeaderValue};
use http::uri::Authority;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use crate::net::dial::{self, DialError};
use crate::net::tls::{self, TlsError};

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
    /// What somebody else's attempt came to, who asked at the same time.
    #[error("{0}")]
    NotReached(String),
    #[error("wanted to be allowed streams on HTTP/2 within {} s, found none", DIAL_TIME.as_secs())]
    NoStreams,
    #[error("wanted a connection to the API server that lasts for one request, found {0} that did not")]
    Unsteady(usize),
    #[error("the target of the request does not fit an address")]
    Target,
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
    authority: Authority,
    http1: Arc<ClientConfig>,
    either: Arc<ClientConfig>,
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
        let http1 = tls::client_config(&settings.anchors, identity)?;
        Ok(Self {
            host: settings.host.clone(),
            port: settings.port,
            authority: settings.authority.clone(),
            either: tls::asking_for_http2(&http1),
            http1,
            token,
        })
    }

    /// What the API server is called in `Host` and `:authority`.
    pub(super) const fn authority(&self) -> &Authority {
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

    /// Adds what opens the API server.
    pub(super) async fn authorize(&self, headers: &mut HeaderMap) -> Result<(), UpstreamError> {
        if let Some(value) = self.authorization().await? {
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(())
    }

    /// A connection that speaks HTTP/1.1.
    pub(super) async fn dial_http1(&self) -> Result<Wire, UpstreamError> {
        self.dial(&self.http1).await
    }

    /// A connection that speaks what the API server likes best; whether that is HTTP/2.
    pub(super) async fn dial_either(&self) -> Result<(Wire, bool), UpstreamError> {
        let wire = self.dial(&self.either).await?;
        let is_http2 = tls::is_http2(wire.inner().get_ref().1);
        Ok((wire, is_http2))
    }

    async fn dial(&self, config: &Arc<ClientConfig>) -> Result<Wire, UpstreamError> {
        let stream = dial::connect(&self.host, self.port, Arc::clone(config), &self.host, DIAL_TIME).await?;
        Ok(TokioIo::new(stream))
    }
}

/// A connection to the API server.
pub(super) type Wire = TokioIo<TlsStream<TcpStream>>;

fn bearer(token: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A service account's token is replaced an hour before it ends, so this is soon enough.
const TOKEN_KEPT: Duration = Duration::from_secs(10);
pub(super) const DIAL_TIME: Duration = Duration::from_secs(10);
/// Longer than the API server takes to reach a node (30 s), shorter than anyone waits.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(60);
