//! What each kind of certificate looks like.

use std::net::IpAddr;
use std::time::Duration;

use super::keys::Issuer;
use crate::command::{Code, Rejected};
use crate::ident::{IssuerName, Serial};
use crate::ledger::rows::CertificateRole;
use crate::world::{Moment, Timestamp, random};
use crate::x509::certificate::to_be_signed::ToBeSigned;
use crate::x509::extensions::{BasicConstraints, ExtendedKeyUsage, Extensions, KeyUsage, KeyUsages, SubjectAltName};
use crate::x509::name::Subject;
use crate::x509::public_key::PublicKey;
use crate::x509::signature::Algorithm;

/// A certificate's first moment lies this far back, for clients whose clock is behind.
pub const BACKDATED: Duration = Duration::from_secs(5 * 60);

/// How long a user's certificate is valid when nothing is asked for.
pub const USER_LIFETIME: Duration = days(30);

/// The longest a user's certificate may be valid.
pub const MAX_LIFETIME: Duration = days(365);

/// The shortest: below this nobody could use it.
pub const MIN_LIFETIME: Duration = Duration::from_secs(60);

/// How long a management or server certificate is valid.
pub const INFRASTRUCTURE_LIFETIME: Duration = days(90);

/// How long the certificates of a proxy are valid, as client and as server; it renews them by itself.
pub const PROXY_LIFETIME: Duration = days(7);

/// How long an OCSP responder's certificate is valid.
pub const RESPONDER_LIFETIME: Duration = days(7);

/// How long an issuing or infrastructure CA is valid.
pub const ISSUING_LIFETIME: Duration = days(5 * 365);

/// How long the root is valid.
pub const ROOT_LIFETIME: Duration = days(10 * 365);

/// A certificate to be made.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What it is for.
    pub role: CertificateRole,
    /// Its subject.
    pub subject: Subject,
    /// Its key.
    pub public_key: PublicKey,
    /// The DNS names and addresses of a server.
    pub names: Vec<String>,
    /// How long it is to be valid.
    pub lifetime: Duration,
}

/// Where relying parties look things up; baked into certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// `http://host:port` without a slash at the end.
    pub public_url: String,
}

impl Places {
    /// Where an issuer's CRL is.
    pub fn crl(&self, issuer: &IssuerName) -> String {
        [&self.public_url, "/crl/", issuer.as_str(), ".crl"].concat()
    }

    /// Where OCSP is answered.
    pub fn ocsp(&self) -> String {
        [&self.public_url, "/ocsp"].concat()
    }

    /// Where an issuer's certificate is.
    pub fn certificate(&self, issuer: &IssuerName) -> String {
        [&self.public_url, "/ca/", issuer.as_str(), ".crt"].concat()
    }
}

/// The certificate that `issuer` is to sign, with a fresh serial.
pub fn fill(wanted: &Wanted, issuer: &Issuer, places: &Places, moment: &Moment<'_>) -> Result<ToBeSigned, Rejected> {
    let issuer_ends = issuer.certificate.not_after;
    if moment.now > issuer_ends {
        return Err(Rejected::new(
            Code::Unavailable,
            format!("the authority {} expired at {issuer_ends}: nothing can be issued with it", issuer.name),
        ));
    }
    let issuer_key = issuer.certificate.extensions.subject_key_id.clone();
    Ok(ToBeSigned {
        serial: Serial::from_random(random(moment.entropy)?),
        algorithm: algorithm(&issuer.key)?,
        issuer: issuer.certificate.subject_der.clone(),
        not_before: moment.now.before(BACKDATED).whole_seconds(),
        not_after: last_moment(moment.now, wanted.lifetime).min(issuer_ends),
        subject: wanted.subject.to_der(),
        spki: wanted.public_key.spki().to_vec(),
        extensions: Extensions { authority_key_id: issuer_key, ..extensions(wanted, issuer, places) },
    })
}

/// The certificate of an authority that signs itself: the root, which has authorities below it, and the infrastructure
/// CA, which has none. It says nothing of where to look things up: whoever trusts it trusts it by hand.
pub fn self_signed(
    wanted: &Wanted,
    path_len: Option<u8>,
    key: &rcgen::KeyPair,
    moment: &Moment<'_>,
) -> Result<ToBeSigned, Rejected> {
    Ok(ToBeSigned {
        serial: Serial::from_random(random(moment.entropy)?),
        algorithm: algorithm(key)?,
        issuer: wanted.subject.to_der(),
        not_before: moment.now.before(BACKDATED).whole_seconds(),
        not_after: last_moment(moment.now, wanted.lifetime),
        subject: wanted.subject.to_der(),
        spki: wanted.public_key.spki().to_vec(),
        extensions: Extensions {
            basic_constraints: Some(BasicConstraints::Ca { path_len }),
            key_usage: Some(KeyUsages::of(&[KeyUsage::KeyCertSign, KeyUsage::CrlSign])),
            subject_key_id: Some(wanted.public_key.id().octets().to_vec()),
            ..Extensions::default()
        },
    })
}

fn extensions(wanted: &Wanted, issuer: &Issuer, places: &Places) -> Extensions {
    let (role, signs_lists, issuer) = (wanted.role, issuer.signs_lists(), &issuer.name);
    let is_authority = role == CertificateRole::Authority;
    let by_root = *issuer == IssuerName::root();
    let constraints =
        if is_authority { BasicConstraints::Ca { path_len: Some(0) } } else { BasicConstraints::EndEntity };
    let usages = if is_authority {
        // An issuing CA signs its OCSP responders' certificates, never an answer itself.
        KeyUsages::of(&[KeyUsage::KeyCertSign, KeyUsage::CrlSign])
    } else {
        KeyUsages::of(&[KeyUsage::DigitalSignature])
    };
    Extensions {
        basic_constraints: Some(constraints),
        key_usage: Some(usages),
        extended_key_usage: purposes(role),
        subject_alt_names: names(wanted),
        subject_key_id: Some(wanted.public_key.id().octets().to_vec()),
        crl_distribution_point: signs_lists.then(|| places.crl(issuer)),
        // What the root signed has no OCSP, and a responder's own status is not asked (RFC 6960 §4.2.2.2.1).
        ocsp: (!by_root && role != CertificateRole::Ocsp).then(|| places.ocsp()),
        ca_issuers: Some(places.certificate(issuer)),
        ocsp_no_check: role == CertificateRole::Ocsp,
        ..Extensions::default()
    }
}

fn purposes(role: CertificateRole) -> Vec<ExtendedKeyUsage> {
    match role {
        CertificateRole::User | CertificateRole::Management | CertificateRole::Proxy => {
            vec![ExtendedKeyUsage::ClientAuth]
        }
        CertificateRole::Server => vec![ExtendedKeyUsage::ServerAuth],
        CertificateRole::Ocsp => vec![ExtendedKeyUsage::OcspSigning],
        CertificateRole::Authority => Vec::new(),
    }
}

/// The names of a server, and the role of every infrastructure certificate.
fn names(wanted: &Wanted) -> Vec<SubjectAltName> {
    let mut names: Vec<SubjectAltName> = wanted
        .names
        .iter()
        .map(|name| match name.parse::<IpAddr>() {
            Ok(address) => SubjectAltName::Ip(address),
            Err(_) => SubjectAltName::Dns(name.clone()),
        })
        .collect();
    if matches!(wanted.role, CertificateRole::Management | CertificateRole::Server | CertificateRole::Proxy) {
        names.push(SubjectAltName::Uri(role_urn(wanted.role, &wanted.subject.common_name)));
    }
    names
}

/// What the CN of a cluster's CA says.
pub fn title(issuer: &IssuerName) -> String {
    let (cluster, generation) = issuer.as_str().rsplit_once('-').unwrap_or((issuer.as_str(), "1"));
    format!("Portcullis {cluster} CA {generation}")
}

/// `urn:portcullis:<role>:<name>`: what an infrastructure certificate is for, checked on both sides of a connection.
pub fn role_urn(role: CertificateRole, name: &str) -> String {
    format!("urn:portcullis:{}:{name}", role.name())
}

/// `notAfter` is the last second that is still valid (RFC 5280 §4.1.2.5), so a minute ends at second 59.
fn last_moment(now: Timestamp, lifetime: Duration) -> Timestamp {
    now.whole_seconds().after(lifetime).before(Duration::from_secs(1))
}

fn algorithm(key: &rcgen::KeyPair) -> Result<Algorithm, Rejected> {
    Algorithm::of(key).map_err(|error| Rejected::new(Code::Internal, error.to_string()))
}

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 60 * 60)
}
