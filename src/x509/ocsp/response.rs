//! OCSP responses (RFC 6960 §4.2): signed answers, and unsigned errors.

use rcgen::SigningKey;

use super::issuer::key_sha1;
use super::request::{CertId, Nonce};
use crate::world::Timestamp;
use crate::x509::certificate::Certificate;
use crate::x509::encode::{self, tag};
use crate::x509::extensions;
use crate::x509::moment;
use crate::x509::oid;
use crate::x509::reason::Reason;
use crate::x509::signature::{Algorithm, SigningError};

/// What is said about a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertStatus {
    /// It was issued and is not revoked.
    Good,
    /// It is revoked.
    Revoked {
        /// Since when.
        at: Timestamp,
        /// Why; `unspecified` is not written.
        reason: Option<Reason>,
    },
    /// It was never issued here.
    Unknown,
}

/// The answer about one certificate.
#[derive(Debug, Clone, Copy)]
pub struct Single<'r> {
    /// The question, echoed byte for byte.
    pub cert_id: &'r CertId,
    /// The answer.
    pub status: CertStatus,
    /// When this was known to be so.
    pub this_update: Timestamp,
    /// Until when the answer may be used.
    pub next_update: Timestamp,
}

/// Who signs: made once for a responder's certificate, used for every answer.
#[derive(Debug, Clone)]
pub struct Responder {
    key_hash: [u8; 20],
    /// `certs [0]` with the responder's certificate.
    certificates: Vec<u8>,
}

impl Responder {
    /// The responder with this certificate, which is sent along in every answer.
    pub fn new(certificate: &Certificate) -> Self {
        let mut certificates = Vec::with_capacity(certificate.der().len() + 16);
        encode::nested(&mut certificates, tag::context_constructed(0), |out| {
            encode::sequence(out, |out| out.extend_from_slice(certificate.der()));
        });
        Self { key_hash: key_sha1(&certificate.public_key), certificates }
    }

    /// Signs an answer; gives the OCSPResponse in DER.
    pub fn sign(
        &self,
        answers: &[Single<'_>],
        nonce: Option<&Nonce>,
        produced_at: Timestamp,
        key: &impl SigningKey,
    ) -> Result<Vec<u8>, SigningError> {
        let algorithm = Algorithm::of(key)?;
        let tbs = self.response_data(answers, nonce, produced_at);
        let signature = key.sign(&tbs)?;
        let mut out = Vec::with_capacity(tbs.len() + self.certificates.len() + signature.len() + 96);
        encode::sequence(&mut out, |out| {
            encode::primitive(out, tag::ENUMERATED, &[SUCCESSFUL]);
            encode::nested(out, tag::context_constructed(0), |out| {
                encode::sequence(out, |out| {
                    encode::oid(out, oid::OCSP_BASIC);
                    encode::nested(out, tag::OCTET_STRING, |out| {
                        encode::sequence(out, |out| {
                            out.extend_from_slice(&tbs);
                            out.extend_from_slice(algorithm.der());
                            encode::bit_string(out, &signature);
                            out.extend_from_slice(&self.certificates);
                        });
                    });
                });
            });
        });
        Ok(out)
    }

    fn response_data(&self, answers: &[Single<'_>], nonce: Option<&Nonce>, produced_at: Timestamp) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + 192 * answers.len());
        encode::sequence(&mut out, |out| {
            encode::nested(out, BY_KEY, |out| encode::octet_string(out, &self.key_hash));
            moment::write_generalized(out, produced_at);
            encode::sequence(out, |out| answers.iter().for_each(|answer| answer.write(out)));
            if let Some(nonce) = nonce {
                encode::nested(out, tag::context_constructed(1), |out| {
                    encode::sequence(out, |out| {
                        extensions::extension(out, oid::OCSP_NONCE, false, |out| out.extend_from_slice(nonce.der()));
                    });
                });
            }
        });
        out
    }
}

impl Single<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        encode::sequence(out, |out| {
            out.extend_from_slice(&self.cert_id.der);
            self.status.write(out);
            moment::write_generalized(out, self.this_update);
            encode::nested(out, tag::context_constructed(0), |out| moment::write_generalized(out, self.next_update));
        });
    }
}

impl CertStatus {
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Good => encode::primitive(out, tag::context(0), &[]),
            Self::Revoked { at, reason } => encode::nested(out, tag::context_constructed(1), |out| {
                moment::write_generalized(out, at);
                if let Some(reason) = reason.filter(|reason| *reason != Reason::Unspecified) {
                    encode::nested(out, tag::context_constructed(0), |out| {
                        encode::primitive(out, tag::ENUMERATED, &[reason.code()]);
                    });
                }
            }),
            Self::Unknown => encode::primitive(out, tag::context(2), &[]),
        }
    }
}

/// An answer that says only why there is none; it is not signed (RFC 6960 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorResponse {
    /// The request is not one.
    MalformedRequest,
    /// We failed.
    InternalError,
    /// Not now.
    TryLater,
    /// The certificate's issuer is none that we answer for.
    Unauthorized,
}

impl ErrorResponse {
    /// The OCSPResponse in DER.
    pub const fn der(self) -> &'static [u8] {
        match self {
            Self::MalformedRequest => &[tag::SEQUENCE, 3, tag::ENUMERATED, 1, 1],
            Self::InternalError => &[tag::SEQUENCE, 3, tag::ENUMERATED, 1, 2],
            Self::TryLater => &[tag::SEQUENCE, 3, tag::ENUMERATED, 1, 3],
            Self::Unauthorized => &[tag::SEQUENCE, 3, tag::ENUMERATED, 1, 6],
        }
    }
}

const SUCCESSFUL: u8 = 0;
/// ResponderID's alternative `byKey`.
const BY_KEY: u8 = tag::context_constructed(2);
