//! The certificates of a front proxy: a CA that an API server believes about who users are, and the proxy's own.
//!
//! A CA of its own, used for nothing else: whoever holds a certificate of it, under a name that the API server allows,
//! is anybody there. What is made here is on no record and in no list; it ends by being taken from the API server.

use std::time::Duration;

use crate::ident::Serial;
use crate::world::{Moment, NoEntropy, Timestamp, random};
use crate::x509::Malformed;
use crate::x509::certificate::Certificate;
use crate::x509::certificate::to_be_signed::ToBeSigned;
use crate::x509::extensions::{BasicConstraints, ExtendedKeyUsage, Extensions, KeyUsage, KeyUsages};
use crate::x509::name::Subject;
use crate::x509::public_key::PublicKey;
use crate::x509::signature::{Algorithm, SigningError};

/// How long the CA is valid: as long as a root of ours, as every control-plane node has to be told a new one.
pub const CA_LIFETIME: Duration = days(10 * 365);

/// How long the proxy's certificate is valid.
pub const CLIENT_LIFETIME: Duration = days(365);

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum NotMade {
    /// The key cannot be described.
    #[error("the key cannot be used: {0}")]
    Key(#[from] Malformed),
    /// The key cannot sign.
    #[error("signing failed: {0}")]
    Signing(#[from] SigningError),
    /// No chance to be had.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The CA is over.
    #[error("the front-proxy CA expired at {0}; make a new one in another folder")]
    Expired(Timestamp),
    /// The certificate and the key do not belong together, or the certificate is no CA's.
    #[error("wanted the certificate and the key of one CA, found {0}")]
    NotACa(&'static str),
}

/// A new CA's certificate in DER, signed with its own key.
pub fn authority(key: &rcgen::KeyPair, moment: &Moment<'_>) -> Result<Vec<u8>, NotMade> {
    let (subject, public_key) = (Subject::common_name(CA_NAME).to_der(), PublicKey::of(key)?);
    let extensions = Extensions {
        basic_constraints: Some(BasicConstraints::Ca { path_len: Some(0) }),
        key_usage: Some(KeyUsages::of(&[KeyUsage::KeyCertSign])),
        subject_key_id: Some(public_key.id().octets().to_vec()),
        ..Extensions::default()
    };
    let certificate = ToBeSigned {
        serial: Serial::from_random(random(moment.entropy)?),
        algorithm: Algorithm::of(key)?,
        issuer: subject.clone(),
        not_before: first_moment(moment.now),
        not_after: last_moment(moment.now, CA_LIFETIME),
        subject,
        spki: public_key.spki().to_vec(),
        extensions,
    };
    Ok(certificate.encode().sign(key)?)
}

/// A certificate for the proxy in DER: `name` is its CN, and what the API server allows by
/// `--requestheader-allowed-names`. Signed with `ca_key`, which must be the key of `ca`.
pub fn client(
    name: &str,
    key: &rcgen::KeyPair,
    ca: &Certificate,
    ca_key: &rcgen::KeyPair,
    moment: &Moment<'_>,
) -> Result<Vec<u8>, NotMade> {
    if !ca.is_ca() || !ca.may(KeyUsage::KeyCertSign) {
        return Err(NotMade::NotACa("a certificate that may not sign others"));
    }
    if ca.public_key != PublicKey::of(ca_key)? {
        return Err(NotMade::NotACa("a key that is not the certificate's"));
    }
    if moment.now > ca.not_after {
        return Err(NotMade::Expired(ca.not_after));
    }
    let public_key = PublicKey::of(key)?;
    let extensions = Extensions {
        basic_constraints: Some(BasicConstraints::EndEntity),
        key_usage: Some(KeyUsages::of(&[KeyUsage::DigitalSignature])),
        extended_key_usage: vec![ExtendedKeyUsage::ClientAuth],
        subject_key_id: Some(public_key.id().octets().to_vec()),
        authority_key_id: ca.extensions.subject_key_id.clone(),
        ..Extensions::default()
    };
    let certificate = ToBeSigned {
        serial: Serial::from_random(random(moment.entropy)?),
        algorithm: Algorithm::of(ca_key)?,
        issuer: ca.subject_der.clone(),
        not_before: first_moment(moment.now),
        not_after: last_moment(moment.now, CLIENT_LIFETIME).min(ca.not_after),
        subject: Subject::common_name(name).to_der(),
        spki: public_key.spki().to_vec(),
        extensions,
    };
    Ok(certificate.encode().sign(ca_key)?)
}

/// Backdated five minutes, for an API server whose clock is behind.
fn first_moment(now: Timestamp) -> Timestamp {
    now.before(Duration::from_secs(5 * 60)).whole_seconds()
}

/// `notAfter` is the last second that is still valid (RFC 5280 §4.1.2.5).
fn last_moment(now: Timestamp, lifetime: Duration) -> Timestamp {
    now.whole_seconds().after(lifetime).before(Duration::from_secs(1))
}

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 60 * 60)
}

const CA_NAME: &str = "Portcullis front-proxy CA";

#[cfg(test)]
mod tests {
    use rcgen::KeyPair;

    use super::*;
    use crate::world::SystemEntropy;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_000_000);

    fn at(now: Timestamp) -> Moment<'static> {
        Moment { now, entropy: &SystemEntropy }
    }

    fn made() -> (KeyPair, Certificate) {
        let key = KeyPair::generate().unwrap();
        let ca = authority(&key, &at(NOW)).unwrap();
        (key, Certificate::from_der(&ca).unwrap())
    }

    #[test]
    fn the_proxys_certificate_is_a_clients_and_signed_by_its_ca() {
        let (ca_key, ca) = made();
        ca.verify_signed_by(&ca).unwrap();
        assert!(ca.is_ca() && ca.path_len() == Some(0));
        assert_eq!(ca.extensions.extended_key_usage, []);
        let key = KeyPair::generate().unwrap();
        let client = Certificate::from_der(&client("portcullis-proxy", &key, &ca, &ca_key, &at(NOW)).unwrap()).unwrap();
        client.verify_signed_by(&ca).unwrap();
        assert_eq!(client.subject.common_names(), ["portcullis-proxy"]);
        assert_eq!(client.extensions.extended_key_usage, [ExtendedKeyUsage::ClientAuth]);
        assert_eq!(client.extensions.authority_key_id, ca.extensions.subject_key_id);
        assert!(!client.is_ca());
        assert_eq!(client.not_after.since(NOW), CLIENT_LIFETIME - Duration::from_secs(1));
    }

    #[test]
    fn a_ca_signs_nothing_with_anothers_key_or_after_its_end_and_a_client_signs_nothing() {
        let ((ca_key, ca), (other_key, _)) = (made(), made());
        let key = KeyPair::generate().unwrap();
        assert!(matches!(client("p", &key, &ca, &other_key, &at(NOW)), Err(NotMade::NotACa(_))));
        let later = ca.not_after.after(Duration::from_secs(1));
        assert!(matches!(client("p", &key, &ca, &ca_key, &at(later)), Err(NotMade::Expired(_))));
        let last = Certificate::from_der(&client("p", &key, &ca, &ca_key, &at(ca.not_after)).unwrap()).unwrap();
        assert_eq!(last.not_after, ca.not_after, "it ends with its CA");
        assert!(matches!(client("q", &ca_key, &last, &key, &at(NOW)), Err(NotMade::NotACa(_))));
    }
}
