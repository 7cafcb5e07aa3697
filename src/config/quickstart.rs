//! What `portcullis quickstart` is told: a folder and five addresses.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything in one process, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where everything is kept; made if it is not there.
    pub dir: PathBuf,
    /// The management API; port 0 for any free one, as everywhere below.
    pub api: SocketAddr,
    /// CRL, OCSP and CA certificates over plain HTTP.
    pub public: SocketAddr,
    /// The proxy.
    pub proxy: SocketAddr,
    /// The small demo upstream.
    pub upstream: SocketAddr,
    /// The proxy's health.
    pub health: SocketAddr,
}

impl Settings {
    /// Two listeners on one address, if there are; port 0 never collides.
    pub fn collision(&self) -> Option<(&'static str, &'static str)> {
        let listeners = [
            ("--api-listen", self.api),
            ("--public-listen", self.public),
            ("--proxy-listen", self.proxy),
            ("--upstream-listen", self.upstream),
            ("--health-listen", self.health),
        ];
        let mut rest = listeners.iter();
        while let Some((name, address)) = rest.next() {
            let other = rest.clone().find(|(_, other)| address.port() != 0 && other == address);
            if let Some((other, _)) = other {
                return Some((name, other));
            }
        }
        None
    }
}
