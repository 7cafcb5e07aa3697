//! TLS for every listener and client: one crypto provider, no resumption, certificates that can be swapped.
//!
//! A resumed session skips rustls' verifier of client certificates altogether, and with it every check of today, so
//! no server here stores sessions or sends tickets, and no client asks.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::world::Clock;

mod anchors;
mod pinned;

pub use anchors::ClientAnchors;
pub use pinned::pinned_client_config;

/// A TLS configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate, its key, or both do not fit.
    #[error("wanted a certificate chain and its private key, found what TLS cannot use: {0}")]
    Identity(#[source] rustls::Error),
    /// A trust anchor is not a certificate.
    #[error("wanted a CA certificate in DER as trust anchor, found what TLS cannot use: {0}")]
    Anchor(#[source] rustls::Error),
    /// The configuration contradicts itself.
    #[error("this TLS configuration cannot be used: {0}")]
    Configuration(#[source] rustls::Error),
}

/// Which versions of TLS a server speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Versions {
    /// TLS 1.3 alone.
    #[default]
    Tls13,
    /// TLS 1.2 as well, for clients that cannot do better.
    Tls12And13,
}

/// A server's certificate chain and key, which can be replaced while connections are accepted.
#[derive(Debug)]
pub struct Serving {
    current: ArcSwap<CertifiedKey>,
}

impl Serving {
    /// The chain (leaf first) and the leaf's key; refused when they do not belong together.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self { current: ArcSwap::from_pointee(certified(chain, key)?) }))
    }

    /// Serves this chain and key from the next handshake on; on an error the old ones stay.
    pub fn replace(&self, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<(), TlsError> {
        self.current.store(Arc::new(certified(chain, key)?));
        Ok(())
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// A server's configuration; `clients` says whose client certificates are asked for and verified, `None` asks for none.
///
/// A client may send no certificate: the handler sees an empty list. One that does not verify ends the handshake with
/// an alert, except that expiry is left to the handler, see [`ClientAnchors`].
pub fn server_config(
    serving: &Arc<Serving>,
    clients: Option<&Arc<ClientAnchors>>,
    versions: Versions,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let time = Arc::new(ClockTime(clock));
    let builder = ServerConfig::builder_with_details(provider(), time)
        .with_protocol_versions(versions.protocol_versions())
        .map_err(TlsError::Configuration)?;
    let builder = match clients {
        Some(anchors) => builder.with_client_cert_verifier(Arc::clone(anchors) as _),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::clone(serving) as _);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    config.alpn_protocols = vec![HTTP1.to_vec()];
    Ok(Arc::new(config))
}

/// A client's configuration: the CAs it trusts and, where it has one, its own certificate chain (leaf first) and key.
///
/// TLS 1.2 is spoken too, because the other end may be an API server of someone else; nothing older.
pub fn client_config(
    anchors: &[CertificateDer<'static>],
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(Versions::Tls12And13.protocol_versions())
        .map_err(TlsError::Configuration)?
        .with_root_certificates(roots(anchors)?);
    let mut config = match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(TlsError::Identity)?,
        None => builder.with_no_client_auth(),
    };
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![HTTP1.to_vec()];
    Ok(Arc::new(config))
}

/// The same server, which also offers HTTP/2 (RFC 7301; a client that names neither gets HTTP/1.1).
pub fn offering_http2(config: &ServerConfig) -> Arc<ServerConfig> {
    let mut config = config.clone();
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    Arc::new(config)
}

/// The same client, which also asks for HTTP/2; what the server chose is in the session's `alpn_protocol`.
pub fn asking_for_http2(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    Arc::new(config)
}

/// Whether HTTP/2 was agreed on in a handshake.
pub fn is_http2(session: &rustls::CommonState) -> bool {
    session.alpn_protocol() == Some(HTTP2)
}

impl Versions {
    fn protocol_versions(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls13 => TLS13_ALONE,
            Self::Tls12And13 => rustls::ALL_VERSIONS,
        }
    }
}

/// The one crypto provider; no process-wide default is installed, so nothing can slip in another.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn roots(anchors: &[CertificateDer<'static>]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for anchor in anchors {
        roots.add(anchor.clone()).map_err(TlsError::Anchor)?;
    }
    Ok(roots)
}

fn certified(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, TlsError> {
    CertifiedKey::from_der(chain, key, &provider()).map_err(TlsError::Identity)
}

/// The product's clock, as rustls wants to ask it.
#[derive(Debug)]
struct ClockTime(Arc<dyn Clock>);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().unix_seconds()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

static TLS13_ALONE: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
const HTTP1: &[u8] = b"http/1.1";
/// RFC 9113 §3.1.
const HTTP2: &[u8] = b"h2";

#[cfg(test)]
mod tests;
