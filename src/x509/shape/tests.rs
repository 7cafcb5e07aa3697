use rcgen::{KeyPair, PublicKeyData};

use super::*;
use crate::world::Timestamp;
use crate::x509::encode::{self, tag};
use crate::x509::extensions::{BasicConstraints, Extensions, KeyUsages, extension};
use crate::x509::moment;
use crate::x509::name::Subject;
use crate::x509::oid;
use crate::x509::pem::{self, Label};
use crate::x509::signature::{self, Algorithm};

/// A client certificate in good shape, each part of which a test can spoil.
struct Parts {
    version: Option<u8>,
    serial: Vec<u8>,
    subject: Vec<u8>,
    spki: Vec<u8>,
    extensions: Extensions,
    /// Extensions behind the others, in DER.
    more: Vec<u8>,
}

impl Parts {
    fn good() -> Self {
        Self {
            version: Some(2),
            serial: [0x40; 20].to_vec(),
            subject: Subject::common_name("alice").to_der(),
            spki: KeyPair::generate().unwrap().subject_public_key_info(),
            extensions: Extensions {
                basic_constraints: Some(BasicConstraints::EndEntity),
                key_usage: Some(KeyUsages::of(&[KeyUsage::DigitalSignature])),
                extended_key_usage: vec![ExtendedKeyUsage::ClientAuth],
                ..Extensions::default()
            },
            more: Vec::new(),
        }
    }

    fn check(&self) -> Result<(), Misshapen> {
        let key = KeyPair::generate().unwrap();
        let algorithm = Algorithm::of(&key).unwrap();
        let mut extensions = Vec::new();
        self.extensions.write(&mut extensions);
        let (_, list) = extensions.split_at(encode::header_length(extensions.len() - 2));
        let mut tbs = Vec::new();
        encode::sequence(&mut tbs, |out| {
            if let Some(version) = self.version {
                encode::nested(out, tag::context_constructed(0), |out| encode::unsigned(out, &[version]));
            }
            encode::primitive(out, tag::INTEGER, &self.serial);
            out.extend(algorithm.der());
            out.extend(Subject::common_name("CA").to_der());
            encode::sequence(out, |out| {
                moment::write(out, Timestamp::from_unix_seconds(0));
                moment::write(out, Timestamp::from_unix_seconds(1));
            });
            out.extend(&self.subject);
            out.extend(&self.spki);
            if self.version == Some(2) {
                encode::nested(out, tag::context_constructed(3), |out| {
                    encode::sequence(out, |out| {
                        out.extend(list);
                        out.extend(&self.more);
                    });
                });
            }
        });
        check(&Certificate::from_der(&signature::sign(&tbs, algorithm, &key).unwrap()).unwrap())
    }

    fn with(spoil: impl FnOnce(&mut Self)) -> Result<(), Misshapen> {
        let mut parts = Self::good();
        spoil(&mut parts);
        parts.check()
    }
}

fn name(attributes: &[(&[u8], u8, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::sequence(&mut out, |out| {
        for (kind, string, text) in attributes {
            encode::nested(out, tag::SET, |out| {
                encode::sequence(out, |out| {
                    encode::oid(out, kind);
                    encode::primitive(out, *string, text);
                });
            });
        }
    });
    out
}

fn usages(usages: &[KeyUsage]) -> impl FnOnce(&mut Parts) {
    move |parts| parts.extensions.key_usage = Some(KeyUsages::of(usages))
}

fn purposes(purposes: Vec<ExtendedKeyUsage>) -> impl FnOnce(&mut Parts) {
    move |parts| parts.extensions.extended_key_usage = purposes
}

#[test]
fn a_client_certificate_in_good_shape_passes() {
    assert_eq!(Parts::good().check(), Ok(()));
}

#[test]
fn what_kubeadm_makes_passes_and_its_ca_does_not() {
    let read = |name| {
        let text = std::fs::read(format!("{}/certs/certificate/{name}.pem", env!("CARGO_MANIFEST_DIR"))).unwrap();
        Certificate::from_der(&pem::read(Label::Certificate, &text).unwrap()).unwrap()
    };
    let (admin, ca) = (read("kubeadm-admin"), read("kubeadm-ca"));
    assert_eq!(check(&admin), Ok(()));
    assert_eq!(admin.verify_signed_by(&ca), Ok(()));
    assert_eq!(admin.subject.organizations(), ["kubeadm:cluster-admins"]);
    assert_eq!(check(&ca), Err(Misshapen::Ca));
}

#[test]
fn a_version_1_certificate_is_misshapen() {
    assert_eq!(Parts::with(|parts| parts.version = None), Err(Misshapen::Version(1)));
}

#[test]
fn a_serial_of_zero_below_it_or_over_20_octets_is_misshapen() {
    for serial in [vec![0], vec![0x80], [vec![0], vec![0x80; 20]].concat(), vec![0x40; 21]] {
        assert_eq!(Parts::with(|parts| parts.serial = serial), Err(Misshapen::Serial));
    }
    assert_eq!(Parts::with(|parts| parts.serial = vec![1]), Ok(()));
}

#[test]
fn a_subject_without_one_common_name_is_misshapen() {
    let cn = |text: &'static [u8]| (oid::COMMON_NAME, tag::UTF8_STRING, text);
    let with = |subject| Parts::with(|parts| parts.subject = subject);
    assert_eq!(with(name(&[])), Err(Misshapen::CommonNames(0)));
    assert_eq!(with(name(&[cn(b"alice"), cn(b"root")])), Err(Misshapen::CommonNames(2)));
    assert_eq!(with(name(&[cn(b"")])), Err(Misshapen::EmptyCommonName));
}

#[test]
fn a_common_name_or_group_in_an_old_string_type_is_misshapen() {
    for string in [0x14, 0x16, 0x1e] {
        let cn = name(&[(oid::COMMON_NAME, string, b"al")]);
        assert_eq!(Parts::with(|parts| parts.subject = cn), Err(Misshapen::Text));
        let o = name(&[(oid::COMMON_NAME, tag::PRINTABLE_STRING, b"alice"), (oid::ORGANIZATION, string, b"al")]);
        assert_eq!(Parts::with(|parts| parts.subject = o), Err(Misshapen::Text));
    }
}

#[test]
fn a_ca_certificate_as_a_client_certificate_is_misshapen() {
    let ca = Some(BasicConstraints::Ca { path_len: None });
    assert_eq!(Parts::with(|parts| parts.extensions.basic_constraints = ca), Err(Misshapen::Ca));
}

#[test]
fn a_key_usage_without_digital_signature_is_misshapen() {
    assert_eq!(Parts::with(usages(&[KeyUsage::KeyEncipherment])), Err(Misshapen::NoDigitalSignature));
    assert_eq!(Parts::with(|parts| parts.extensions.key_usage = None), Err(Misshapen::NoDigitalSignature));
}

#[test]
fn a_key_usage_with_cert_sign_is_misshapen() {
    let both = [KeyUsage::DigitalSignature, KeyUsage::KeyCertSign];
    assert_eq!(Parts::with(usages(&both)), Err(Misshapen::KeyCertSign));
}

#[test]
fn a_purpose_other_than_client_auth_alone_is_misshapen() {
    use ExtendedKeyUsage::{ClientAuth, OcspSigning, ServerAuth};
    for uses in
        [vec![], vec![ServerAuth], vec![OcspSigning], vec![ClientAuth, ServerAuth], vec![ClientAuth, ClientAuth]]
    {
        assert_eq!(Parts::with(purposes(uses)), Err(Misshapen::Purpose));
    }
    let any = |parts: &mut Parts| {
        parts.extensions.extended_key_usage.clear();
        extension(&mut parts.more, oid::EXTENDED_KEY_USAGE, false, |out| {
            encode::sequence(out, |out| encode::oid(out, &[0x55, 0x1d, 0x25, 0]));
        });
    };
    assert_eq!(Parts::with(any), Err(Misshapen::Purpose));
}

#[test]
fn a_weak_key_is_misshapen() {
    let p521 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap().subject_public_key_info();
    let refused = Misshapen::Key(WeakKey::Curve { curve: "P-521".into() });
    assert_eq!(Parts::with(|parts| parts.spki = p521), Err(refused));
}

#[test]
fn an_unknown_critical_extension_is_misshapen() {
    let unknown = |critical| {
        Parts::with(|parts| {
            extension(&mut parts.more, &[0x2a, 3, 4], critical, |out| encode::primitive(out, tag::NULL, &[]));
        })
    };
    assert_eq!(unknown(true), Err(Misshapen::UnknownCritical("1.2.3.4".into())));
    assert_eq!(unknown(false), Ok(()));
}

#[test]
fn an_extension_that_is_there_twice_is_misshapen() {
    let twice = Parts::with(|parts| {
        extension(&mut parts.more, oid::BASIC_CONSTRAINTS, true, |out| encode::sequence(out, encode::boolean_true));
    });
    assert_eq!(twice, Err(Misshapen::DuplicateExtension("basicConstraints".into())));
}

#[test]
fn a_chain_of_more_than_three_is_misshapen() {
    assert_eq!(check_chain_length(3), Ok(()));
    assert_eq!(check_chain_length(4), Err(Misshapen::Chain(4)));
}
