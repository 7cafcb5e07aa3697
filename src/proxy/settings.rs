//! What a proxy is told, checked.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::ident::ClusterName;
use crate::kube::identity::Mode;
use crate::net::tls::Versions;
use crate::net::{http1, listen};
use crate::secret::Secret;

/// A proxy's settings.
#[derive(Debug)]
pub struct Settings {
    /// The cluster it stands in front of.
    pub cluster: ClusterName,
    /// The API server behind it.
    pub upstream: Upstream,
    /// How the API server is told who the user is.
    pub identity: Mode,
    /// The versions of TLS for clients.
    pub versions: Versions,
    /// How many connections are taken on.
    pub listen: listen::Limits,
    /// What one connection may take.
    pub http: http1::Limits,
    /// How long a connection that is cut may take to end; then it is dropped.
    pub cut_time: Duration,
}

/// An API server and how to talk to it.
#[derive(Debug)]
pub struct Upstream {
    pub(super) authority: Authority,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) anchors: Vec<CertificateDer<'static>>,
    pub(super) credential: Credential,
}

/// The owner's credential at the API server, with which the proxy speaks for its users.
#[derive(Debug)]
pub enum Credential {
    /// A bearer token.
    Token(Secret<String>),
    /// A file with a bearer token, read again every ten seconds at most, because such tokens rotate.
    TokenFile(PathBuf),
    /// A client certificate with its chain, leaf first, and key; never from a CA of ours.
    Certificate(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
}

/// The address is not one of an API server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("wanted the API server's address such as https://10.0.0.1:6443, found \"{0}\"")]
pub struct InvalidUpstream(String);

impl Settings {
    /// The default settings for a cluster and its API server.
    pub fn new(cluster: ClusterName, upstream: Upstream) -> Self {
        Self {
            cluster,
            upstream,
            identity: Mode::default(),
            versions: Versions::default(),
            listen: listen::Limits::default(),
            http: http1::Limits::default(),
            cut_time: Duration::from_millis(250),
        }
    }
}

impl Upstream {
    /// An API server at `url` (https, without a path), verified with `anchors`.
    pub fn new(
        url: &str,
        anchors: Vec<CertificateDer<'static>>,
        credential: Credential,
    ) -> Result<Self, InvalidUpstream> {
        let refused = || InvalidUpstream(url.escape_debug().take(200).collect());
        let uri: Uri = url.parse().map_err(|_| refused())?;
        let authority = uri.authority().ok_or_else(refused)?.clone();
        let plain = uri.path() == "/" && uri.query().is_none() && !authority.as_str().contains('@');
        if uri.scheme_str() != Some("https") || !plain {
            return Err(refused());
        }
        // An IPv6 address stands in brackets in an address, and without them everywhere else.
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(443);
        Ok(Self { authority, host, port, anchors, credential })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(url: &str) -> Result<Upstream, InvalidUpstream> {
        Upstream::new(url, Vec::new(), Credential::Token(Secret::new(String::new())))
    }

    #[test]
    fn an_api_server_is_reached_over_https_at_a_host_and_port() {
        let found = upstream("https://[::1]:6443").unwrap();
        assert_eq!((found.host.as_str(), found.port), ("::1", 6443));
        assert_eq!(upstream("https://kubernetes.default/").unwrap().port, 443);
        for bad in ["http://a", "https://", "a:6443", "https://u:p@a", "https://a/k8s", "https://a/?x", ""] {
            assert!(upstream(bad).is_err(), "{bad}");
        }
    }
}
