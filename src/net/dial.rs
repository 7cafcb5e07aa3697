//! Connecting to a server over TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name to verify is neither a DNS name nor an IP address.
    #[error("wanted a DNS name or an IP address as the server's name, found \"{0}\"")]
    Name(String),
    /// No connection, or not to whom it should be.
    #[error("cannot connect to {host}:{port}: {source}")]
    Connect {
        /// The host dialled.
        host: String,
        /// The port dialled.
        port: u16,
        /// What went wrong.
        source: io::Error,
    },
    /// Nobody answered in time.
    #[error("cannot connect to {host}:{port}: no answer within {} s", .timeout.as_secs_f32())]
    Timeout {
        /// The host dialled.
        host: String,
        /// The port dialled.
        port: u16,
        /// How long it was tried for.
        timeout: Duration,
    },
}

/// Connects, and verifies that the server is `server_name`, within `timeout` altogether.
///
/// Nothing of the caller's is sent before the server's certificate was verified.
pub async fn connect(
    host: &str,
    port: u16,
    config: Arc<ClientConfig>,
    server_name: &str,
    timeout: Duration,
) -> Result<TlsStream<TcpStream>, DialError> {
    let name = ServerName::try_from(server_name.to_owned()).map_err(|_| DialError::Name(server_name.to_owned()))?;
    let dialling = async {
        let stream = TcpStream::connect((host, port)).await?;
        prepare(&stream)?;
        TlsConnector::from(config).connect(name, stream).await
    };
    match tokio::time::timeout(timeout, dialling).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(source)) => Err(DialError::Connect { host: host.to_owned(), port, source }),
        Err(_) => Err(DialError::Timeout { host: host.to_owned(), port, timeout }),
    }
}

/// Small writes go out at once, and a peer that vanished is noticed within two minutes.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(30))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(15))?;
    sockopt::set_tcp_keepcnt(stream, 6)?;
    Ok(())
}
