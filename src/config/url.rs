//! Addresses of services: a scheme, a host and perhaps a port, nothing else.

use std::fmt;
use std::net::Ipv6Addr;

use http::Uri;

/// The address of a service, such as `https://authority.example:7443`, without a path.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceUrl {
    secure: bool,
    host: String,
    port: Option<u16>,
}

impl ServiceUrl {
    /// Reads an `https://` address.
    pub fn https(text: &str) -> Result<Self, String> {
        Self::read(text, true)
    }

    /// Reads an `http://` address.
    pub fn http(text: &str) -> Result<Self, String> {
        Self::read(text, false)
    }

    /// The address that a listener on this socket has.
    pub fn of_listener(secure: bool, address: std::net::SocketAddr) -> Self {
        let host = if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() };
        Self { secure, host, port: Some(address.port()) }
    }

    /// The host: a DNS name, an IPv4 address, or an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port, 443 or 80 where none is given.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.secure { 443 } else { 80 })
    }

    /// Host and port as a `Host` header carries them (RFC 9110 §7.2).
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    fn read(text: &str, secure: bool) -> Result<Self, String> {
        let wanted = if secure {
            "wanted an address such as https://host:7443"
        } else {
            "wanted an address such as http://host:7080"
        };
        let uri: Uri = text.parse().map_err(|_| format!("{wanted}, found {}", shown(text)))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(format!("{wanted}, found {}", shown(text)));
        };
        // Not shown: it may hold a password.
        if authority.as_str().contains('@') {
            return Err(format!("{wanted}, found one with a user name in it"));
        }
        if (scheme == "https") != secure || !matches!(scheme, "http" | "https") {
            return Err(format!("{wanted}, found {}", shown(text)));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(format!("{wanted}, found one with a path: {}", shown(text)));
        }
        // `Uri` takes a port that is no number for an absent one, and passes over letters behind a bracket.
        let behind = authority.as_str().strip_prefix(authority.host()).unwrap_or("?");
        let port = authority.port_u16().filter(|port| *port > 0 && behind.starts_with(':'));
        if !is_host(authority.host()) || !behind.is_empty() && port.is_none() {
            return Err(format!("{wanted}, found {}", shown(text)));
        }
        Ok(Self { secure, host: authority.host().to_ascii_lowercase(), port })
    }
}

/// Whether this is a name or an address and nothing else: `Uri` takes brackets anywhere, and much that no name holds.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|inside| inside.strip_suffix(']')) {
        Some(inside) => inside.parse::<Ipv6Addr>().is_ok(),
        None => {
            let in_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            !host.is_empty() && host.chars().all(in_a_name)
        }
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.authority())
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(70).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_alike() {
        for text in ["https://authority.example:7443", "https://127.0.0.1:1", "https://[::1]:7443", "https://a"] {
            assert_eq!(ServiceUrl::https(text).unwrap().to_string(), text);
        }
        let six = ServiceUrl::https("https://[::1]:7443/").unwrap();
        assert_eq!((six.host(), six.port(), six.authority().as_str()), ("::1", 7443, "[::1]:7443"));
        assert_eq!(ServiceUrl::http("http://Crl.Example").unwrap().authority(), "crl.example");
    }

    #[test]
    fn anything_else_is_refused_and_a_password_is_not_repeated() {
        for text in [
            "",
            "host:1",
            "http://a",
            "https://",
            "https://a/b",
            "https://a?b",
            "ftp://a",
            "https://a:0",
            "https://a:x",
            "https://127[listen:en]",
            "https://[a]",
            "https://[::1]x:1",
            "https://a!b",
            "https://a'b",
        ] {
            assert!(ServiceUrl::https(text).is_err(), "{text}");
        }
        assert!(!ServiceUrl::https("https://me:hunter2@a").unwrap_err().contains("hunter2"));
    }
}
