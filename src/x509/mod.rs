//! The formats of X.509: bytes in, values out.
//!
//! Nothing here reads a file or a clock, and nothing decides what may be issued. Chance is asked for by name, except where
//! the crypto library takes its own: for a signature, and for a key in `fresh_key`.
//! What a format itself demands (DER's one encoding, RFC 5280's field rules) is checked on every read.
//! Deliberately absent: chain building (rustls does it), policy processing (RFC 9618), delta CRLs, and any way to take
//! a subject from a request.
//!
//! Read `encode` and `decode` first (DER, some 20 functions each), then `name`, `public_key`, `certificate`, `csr`,
//! `crl`, `ocsp`; `shape` is the gate that the proxy puts behind its TLS stack.

mod decode;
mod encode;
mod moment;
mod oid;
pub mod name;
pub mod reason;
pub mod signature;
pub mod public_key;
pub mod extensions;
pub mod certificate;
pub mod shape;
pub mod csr;
pub mod pem;
pub mod key;
pub mod signing_key;
pub mod fresh_key;
pub mod crl;
pub mod ocsp;

/// Bytes that are not what they should be; says what was wanted where the reading stopped, never what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed DER: wanted {wanted}")]
pub struct Malformed {
    wanted: &'static str,
}

impl Malformed {
    const fn wanted(wanted: &'static str) -> Self {
        Self { wanted }
    }
}

#[cfg(test)]
mod openssl;
