//! Accepting connections, within bounds.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::dial::prepare;
use super::stop::Stop;

/// What serves a connection: runs until the connection is over and should end it soon after `stop`.
pub trait Handler: Send + Sync + 'static {
    /// Serves one connection; the socket closes when the stream is dropped.
    fn handle(self: Arc<Self>, stream: Stream, peer: Peer, stop: Stop) -> BoxFuture;
}

/// What [`Handler::handle`] returns.
pub type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Who is at the other end.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where the connection came from.
    pub addr: SocketAddr,
    /// The chain it sent, leaf first, verified up to one of the anchors except for the leaf's expiry; empty when it
    /// sent none.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// A connection that was accepted, with or without TLS.
#[derive(Debug)]
pub enum Stream {
    /// Bare TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

/// How much a listener takes on.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once, those in their handshake included; more are closed at once.
    pub connections: Allowed,
    /// Handshakes at once; more wait, which counts towards their time.
    pub handshakes: usize,
    /// The time for a handshake.
    pub handshake_time: Duration,
    /// How long connections may take to end once stop was said; then they are dropped.
    pub grace: Duration,
}

/// A number that can be changed while it is used; clones are the same one.
#[derive(Debug, Clone)]
pub struct Allowed(Arc<AtomicUsize>);

impl Allowed {
    /// So many.
    pub fn of(number: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(number)))
    }

    /// So many from now on; what is open above that stays open.
    pub fn set(&self, number: usize) {
        self.0.store(number, Ordering::Relaxed);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // 8,192 idle TLS connections take some 300 MB at worst and fit a raised file limit.
            connections: Allowed::of(8192),
            // A handshake costs 160 µs of CPU: this is a sixth of a second's work for one core.
            handshakes: 1024,
            handshake_time: Duration::from_secs(5),
            grace: Duration::from_secs(5),
        }
    }
}

/// Binds a listener; with port 0 the system picks one, see [`TcpListener::local_addr`].
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves TLS connections until `stop`, then waits for the open ones for [`Limits::grace`].
pub async fn serve(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    handler: Arc<dyn Handler>,
    limits: Limits,
    stop: Stop,
) {
    accept(listener, Some(TlsAcceptor::from(config)), handler, limits, stop).await;
}

/// Serves connections without TLS until `stop`, then waits for the open ones for [`Limits::grace`].
pub async fn serve_plain(listener: TcpListener, handler: Arc<dyn Handler>, limits: Limits, stop: Stop) {
    accept(listener, None, handler, limits, stop).await;
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    handler: Arc<dyn Handler>,
    limits: Limits,
    mut stop: Stop,
) {
    let door = Arc::new(Door {
        tls,
        handler,
        handshakes: Semaphore::new(limits.handshakes),
        handshake_time: limits.handshake_time,
        stop: stop.clone(),
    });
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.stopped() => break,
            Some(_) = open.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, addr)) if open.len() < limits.connections.get() => {
                    open.spawn(Arc::clone(&door).enter(stream, addr));
                }
                Ok((_, addr)) => tracing::warn!(%addr, "connection closed at once: too many are open"),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    // Out of file descriptors, most likely: accepting again at once would spin.
                    tokio::time::sleep(AFTER_FAILED_ACCEPT).await;
                }
            }
        }
    }
    drop(listener);
    let ended = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.grace, ended).await.is_err() {
        open.shutdown().await;
    }
}

/// What stands between the accepted socket and the handler.
struct Door {
    tls: Option<TlsAcceptor>,
    handler: Arc<dyn Handler>,
    handshakes: Semaphore,
    handshake_time: Duration,
    stop: Stop,
}

impl Door {
    async fn enter(self: Arc<Self>, stream: TcpStream, addr: SocketAddr) {
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%addr, %error, "connection lost before its handshake");
            return;
        }
        let (stream, certificates) = match &self.tls {
            None => (Stream::Plain(stream), Vec::new()),
            Some(acceptor) => match self.shake_hands(acceptor, stream).await {
                Ok(stream) => {
                    let certificates = stream.get_ref().1.peer_certificates();
                    let certificates = certificates.unwrap_or_default().iter().map(|one| one.clone().into_owned());
                    let certificates = certificates.collect();
                    (Stream::Tls(stream), certificates)
                }
                Err(error) => {
                    tracing::info!(%addr, %error, "handshake failed");
                    return;
                }
            },
        };
        let peer = Peer { addr, certificates };
        Arc::clone(&self.handler).handle(stream, peer, self.stop.clone()).await;
    }

    async fn shake_hands(&self, acceptor: &TlsAcceptor, stream: TcpStream) -> io::Result<Box<TlsStream<TcpStream>>> {
        let shaking = async {
            let _permit = self.handshakes.acquire().await.map_err(io::Error::other)?;
            acceptor.accept(stream).await
        };
        match tokio::time::timeout(self.handshake_time, shaking).await {
            Ok(done) => done.map(Box::new),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Stream {
    /// Whether HTTP/2 was agreed on; without TLS it never is.
    pub fn is_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => super::tls::is_http2(stream.get_ref().1),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, octets),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(50);
