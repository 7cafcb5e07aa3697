use std::net::IpAddr;

use proptest::prelude::*;
use rcgen::KeyPair;

use super::to_be_signed::ToBeSigned;
use super::*;
use crate::x509::extensions::{ExtendedKeyUsage, KeyUsages, SubjectAltName};
use crate::x509::name::Subject;
use crate::x509::openssl::OpenSsl;
use crate::x509::pem::{self, Label};
use crate::x509::signature::{Algorithm, SigningError};

/// 2026-11-22T04:00:00Z.
const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_320_000);
/// 2051, when GeneralizedTime is needed.
const FAR: Timestamp = Timestamp::from_unix_seconds(2_556_144_000);

/// A self-signed CA.
pub(in crate::x509) fn ca(key: &KeyPair) -> Certificate {
    let public_key = PublicKey::of(key).unwrap();
    let id = public_key.id().octets().to_vec();
    let name = Subject::common_name("Portcullis Test CA").to_der();
    let fields = ToBeSigned {
        serial: Serial::from_random([1; 20]),
        algorithm: Algorithm::of(key).unwrap(),
        issuer: name.clone(),
        not_before: NOW,
        not_after: FAR,
        subject: name,
        spki: public_key.spki().to_vec(),
        extensions: Extensions {
            basic_constraints: Some(BasicConstraints::Ca { path_len: Some(0) }),
            key_usage: Some(KeyUsages::of(&[KeyUsage::KeyCertSign, KeyUsage::CrlSign])),
            subject_key_id: Some(id.clone()),
            authority_key_id: Some(id),
            ..Extensions::default()
        },
    };
    Certificate::from_der(&fields.encode().sign(key).unwrap()).unwrap()
}

/// The fields of a client certificate by `ca`.
pub(in crate::x509) fn client(issuer: &Certificate, issuer_key: &KeyPair, key: &KeyPair) -> ToBeSigned {
    let public_key = PublicKey::of(key).unwrap();
    ToBeSigned {
        serial: Serial::from_random([0xa5; 20]),
        algorithm: Algorithm::of(issuer_key).unwrap(),
        issuer: issuer.subject_der.clone(),
        not_before: NOW,
        not_after: NOW.after(std::time::Duration::from_secs(86_399)),
        subject: Subject {
            common_name: "alice".into(),
            organizations: vec!["dev".into(), "ops, CN=root".into(), "größe".into()],
            organizational_unit: Some("acme".into()),
        }
        .to_der(),
        spki: public_key.spki().to_vec(),
        extensions: Extensions {
            basic_constraints: Some(BasicConstraints::EndEntity),
            key_usage: Some(KeyUsages::of(&[KeyUsage::DigitalSignature])),
            extended_key_usage: vec![ExtendedKeyUsage::ClientAuth],
            subject_key_id: Some(public_key.id().octets().to_vec()),
            authority_key_id: issuer.extensions.subject_key_id.clone(),
            crl_distribution_point: Some("http://ca.example:7080/crl/prod-1.crl".into()),
            ocsp: Some("http://ca.example:7080/ocsp".into()),
            ca_issuers: Some("http://ca.example:7080/ca/prod-1.crt".into()),
            ..Extensions::default()
        },
    }
}

#[test]
fn a_client_certificate_is_verified_and_shown_by_openssl() {
    let (issuer_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let issuer = ca(&issuer_key);
    let der = client(&issuer, &issuer_key, &key).encode().sign(&issuer_key).unwrap();
    let openssl = OpenSsl::new();
    openssl.file("ca.pem", pem::write(Label::Certificate, issuer.der()));
    openssl.file("leaf.pem", pem::write(Label::Certificate, &der));
    let verify = "verify -x509_strict -attime 1795320001 -purpose sslclient -CAfile ca.pem leaf.pem";
    assert!(openssl.run(verify).contains("leaf.pem: OK"));
    let text = openssl.run("x509 -in leaf.pem -noout -text -nameopt multiline,utf8,-esc_msb");
    for expected in [
        "Version: 3 (0x2)",
        "65:a5:a5:a5:a5:a5:a5:a5:a5:a5:a5:a5:a5:a5:a5:a5:a5:a5:a5:a5",
        "ecdsa-with-SHA256",
        "organizationName          = dev\n",
        "organizationName          = ops, CN=root\n",
        "organizationName          = größe\n",
        "organizationalUnitName    = acme\n",
        "commonName                = alice\n",
        "Not Before: Nov 22 04:00:00 2026 GMT",
        "Not After : Nov 23 03:59:59 2026 GMT",
        "X509v3 Basic Constraints: critical\n                CA:FALSE",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "TLS Web Client Authentication\n",
        "URI:http://ca.example:7080/crl/prod-1.crl",
        "OCSP - URI:http://ca.example:7080/ocsp",
        "CA Issuers - URI:http://ca.example:7080/ca/prod-1.crt",
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
}

#[test]
fn every_kind_of_issuer_key_signs_what_openssl_verifies() {
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let others = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519];
    let others = others.map(|algorithm| KeyPair::generate_for(algorithm).unwrap());
    for issuer_key in others.iter().chain([&rsa]) {
        let issuer = ca(issuer_key);
        let leaf = client(&issuer, issuer_key, &rsa).encode().sign(issuer_key).unwrap();
        let openssl = OpenSsl::new();
        openssl.file("ca.pem", pem::write(Label::Certificate, issuer.der()));
        openssl.file("leaf.pem", pem::write(Label::Certificate, &leaf));
        openssl.run("verify -x509_strict -attime 1795320001 -CAfile ca.pem leaf.pem");
        assert_eq!(Certificate::from_der(&leaf).unwrap().verify_signed_by(&issuer), Ok(()));
    }
}

#[test]
fn what_was_written_is_read_back() {
    let (issuer_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let issuer = ca(&issuer_key);
    let mut fields = client(&issuer, &issuer_key, &key);
    fields.extensions.subject_alt_names = vec![
        SubjectAltName::Dns("ca.example".into()),
        SubjectAltName::Ip(IpAddr::from([127, 0, 0, 1])),
        SubjectAltName::Ip("::1".parse().unwrap()),
        SubjectAltName::Uri("urn:portcullis:server:ca".into()),
    ];
    fields.extensions.extended_key_usage.extend([ExtendedKeyUsage::ServerAuth, ExtendedKeyUsage::OcspSigning]);
    fields.extensions.ocsp_no_check = true;
    let read = Certificate::from_der(&fields.encode().sign(&issuer_key).unwrap()).unwrap();
    assert_eq!(read.extensions, fields.extensions);
    assert_eq!(read.serial, Some(fields.serial));
    assert_eq!((read.not_before, read.not_after), (fields.not_before, fields.not_after));
    assert_eq!(read.subject.organizations(), ["dev", "ops, CN=root", "größe"]);
    assert_eq!(read.public_key.spki(), fields.spki);
    assert!(!read.is_ca() && issuer.is_ca());
    assert_eq!(issuer.path_len(), Some(0));
    assert!(read.unknown_critical.is_empty() && read.duplicate_extension.is_none());
}

#[test]
fn a_certificate_by_another_issuer_or_key_is_told_apart() {
    let (issuer_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let issuer = ca(&issuer_key);
    let leaf = Certificate::from_der(&client(&issuer, &issuer_key, &key).encode().sign(&issuer_key).unwrap()).unwrap();
    assert_eq!(leaf.verify_signed_by(&ca(&key)), Err(NotSignedBy::Signature(BadSignature)));
    assert!(matches!(leaf.verify_signed_by(&leaf), Err(NotSignedBy::OtherIssuer { .. })));
}

#[test]
fn a_key_of_another_kind_than_announced_does_not_sign() {
    let key = KeyPair::generate().unwrap();
    let issuer = ca(&key);
    let mut fields = client(&issuer, &key, &key);
    fields.algorithm = Algorithm::Ed25519;
    assert!(matches!(fields.encode().sign(&key), Err(SigningError::Mismatch)));
}

#[test]
fn trailing_data_is_refused() {
    let der = ca(&KeyPair::generate().unwrap()).der().to_vec();
    assert!(Certificate::from_der(&[der.as_slice(), &[0]].concat()).is_err());
    assert!(Certificate::from_der(&der[..der.len() - 1]).is_err());
}

#[test]
fn the_key_identifier_is_the_start_of_the_digest_of_the_bit_string() {
    let openssl = OpenSsl::new();
    let key = KeyPair::generate().unwrap();
    openssl.file("key.pem", key.serialize_pem());
    openssl.run("pkey -in key.pem -pubout -outform DER -out spki.der");
    let spki = openssl.read("spki.der");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &spki[spki.len() - 65..]);
    assert_eq!(PublicKey::from_spki(&spki).unwrap().id().octets(), &digest.as_ref()[..20]);
}

proptest! {
    #[test]
    fn a_damaged_certificate_never_panics(at in 0usize..400, flip in 1u8..=255) {
        static DER: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let mut der = DER.get_or_init(|| {
            let key = KeyPair::generate().unwrap();
            client(&ca(&key), &key, &key).encode().sign(&key).unwrap()
        }).clone();
        let at = at % der.len();
        der[at] ^= flip;
        let _ = Certificate::from_der(&der);
    }
}
