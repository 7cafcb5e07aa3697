use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair, PublicKeyData};

use super::*;
use crate::x509::extensions::extension;
use crate::x509::public_key::Kind;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/certs/csr/{name}.pem", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn read(name: &str) -> Result<Request, CsrError> {
    Request::from_pem_or_der(&fixture(name))
}

fn refusal(name: &str) -> String {
    read(name).expect_err(name).to_string()
}

/// A signed request with these attributes.
fn request(key: &KeyPair, attributes: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    request_of_version(0, key, attributes)
}

fn request_of_version(version: u8, key: &KeyPair, attributes: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut tbs = Vec::new();
    encode::sequence(&mut tbs, |out| {
        encode::unsigned(out, &[version]);
        encode::sequence(out, |_| {});
        out.extend(key.subject_public_key_info());
        encode::nested(out, tag::context_constructed(0), attributes);
    });
    signature::sign(&tbs, Algorithm::of(key).unwrap(), key).unwrap()
}

#[test]
fn strong_keys_are_accepted_whatever_digest_openssl_signed_with() {
    for (name, kind) in [
        ("p256", Kind::P256),
        ("p256-sha512", Kind::P256),
        ("old-label", Kind::P256),
        ("p384-sha256", Kind::P384),
        ("p384-sha384", Kind::P384),
        ("ed25519", Kind::Ed25519),
        ("rsa2048", Kind::Rsa { bits: 2048 }),
        ("rsa2048-sha384", Kind::Rsa { bits: 2048 }),
    ] {
        let request = read(name).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        assert_eq!(request.public_key.kind(), Ok(kind), "{name}");
        assert_eq!(request.ignored, ["subject CN=alice"], "{name}");
    }
}

#[test]
fn the_raw_public_key_of_the_request_is_kept() {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap();
    let by_der = Request::from_pem_or_der(csr.der()).unwrap();
    assert_eq!(by_der.public_key.spki(), key.subject_public_key_info());
    assert_eq!(Request::from_pem_or_der(csr.pem().unwrap().as_bytes()), Ok(by_der));
}

#[test]
fn a_request_that_we_write_is_verified_by_openssl_and_by_us() {
    let key = KeyPair::generate().unwrap();
    let der = write(&Subject::common_name("alice"), &key).unwrap();
    let openssl = crate::x509::openssl::OpenSsl::new();
    openssl.file("csr.pem", pem::write(Label::Request, &der));
    let text = openssl.run("req -in csr.pem -verify -noout -text");
    assert!(text.contains("verify OK") && text.contains("CN = alice"), "{text}");
    assert_eq!(Request::from_pem_or_der(&der).unwrap().public_key.spki(), key.subject_public_key_info());
}

#[test]
fn each_weak_key_is_refused_in_words_of_its_own() {
    for (name, words) in [
        ("rsa1024", "an RSA key of 1024 bits"),
        ("rsa2047", "an RSA key of 2047 bits"),
        ("rsa5120", "an RSA key of 5120 bits"),
        ("rsa-e3", "the exponent 3 "),
        ("rsa-e1", "the exponent 1 "),
        ("rsa-even-modulus", "an even modulus"),
        ("p192", "on P-192 is refused"),
        ("p224", "on P-224 is refused"),
        ("p521", "on P-521 is refused"),
        ("secp256k1", "on secp256k1 is refused"),
        ("explicit-curve", "explicit parameters"),
        ("compressed-point", "not uncompressed"),
        ("dsa", "a DSA key"),
        ("ed448", "kind Ed448"),
        ("rsa-pss", "limited to RSASSA-PSS"),
    ] {
        assert!(matches!(read(name), Err(CsrError::Key(_))), "{name}: {:?}", read(name));
        assert!(refusal(name).contains(words), "{name}: {}", refusal(name));
    }
}

#[test]
fn a_request_not_signed_with_its_own_key_is_refused() {
    assert_eq!(read("other-signature"), Err(CsrError::Signature(BadSignature)));
    let key = KeyPair::generate().unwrap();
    let mut der = request(&key, |_| {});
    let last = der.len() - 1;
    der[last] ^= 1;
    assert_eq!(Request::from_pem_or_der(&der), Err(CsrError::Signature(BadSignature)));
}

#[test]
fn a_point_beside_its_curve_is_refused() {
    let key = KeyPair::generate().unwrap();
    let mut der = request(&key, |_| {});
    let spki = key.subject_public_key_info();
    let at = der.windows(spki.len()).position(|window| window == spki).unwrap() + spki.len() - 1;
    der[at] ^= 1;
    assert_eq!(Request::from_pem_or_der(&der), Err(CsrError::Signature(BadSignature)));
}

#[test]
fn broken_and_unusual_signature_algorithms_are_refused() {
    assert_eq!(read("sha1"), Err(CsrError::Algorithm(UnsupportedAlgorithm::BrokenDigest("SHA-1"))));
    assert_eq!(read("pss-signature"), Err(CsrError::Algorithm(UnsupportedAlgorithm::Pss)));
}

#[test]
fn asking_to_be_a_ca_is_refused() {
    assert_eq!(read("ca-true"), Err(CsrError::AsksForCa));
    assert_eq!(read("key-cert-sign"), Err(CsrError::AsksForCertSign));
}

#[test]
fn asking_to_be_a_ca_in_a_second_or_foreign_attribute_is_refused() {
    let key = KeyPair::generate().unwrap();
    let ask = |out: &mut Vec<u8>, kind: &[u8], ca: bool| {
        encode::sequence(out, |out| {
            encode::oid(out, kind);
            encode::nested(out, tag::SET, |out| {
                encode::sequence(out, |out| {
                    extension(out, oid::BASIC_CONSTRAINTS, false, |out| {
                        encode::sequence(out, |out| {
                            if ca {
                                encode::boolean_true(out)
                            }
                        });
                    });
                });
            });
        });
    };
    for second in [oid::EXTENSION_REQUEST, oid::MICROSOFT_EXTENSIONS] {
        let der = request(&key, |out| {
            ask(out, oid::EXTENSION_REQUEST, false);
            ask(out, second, true);
        });
        assert_eq!(Request::from_pem_or_der(&der), Err(CsrError::AsksForCa));
    }
}

#[test]
fn whatever_else_is_asked_for_is_ignored_and_named() {
    assert_eq!(
        read("wishes").unwrap().ignored,
        [
            "subject CN=root, O=system:masters",
            "extension subjectAltName",
            "extension extKeyUsage",
            "extension basicConstraints",
            "extension subjectKeyIdentifier",
            "extension 1.2.3.4",
        ]
    );
    assert_eq!(read("multi-valued-rdn").unwrap().ignored, ["subject CN=alice+O=system:masters"]);
    assert_eq!(read("challenge-password").unwrap().ignored[1], "attribute challengePassword");
    assert_eq!(read("newline").unwrap().ignored, ["subject CN=alice\\nX-Remote-Group: system:masters\\u{1b}[2J"]);
}

#[test]
fn what_is_named_is_bounded() {
    let key = KeyPair::generate().unwrap();
    let der = request(&key, |out| {
        for _ in 0..1000 {
            encode::sequence(out, |out| {
                encode::oid(out, oid::CHALLENGE_PASSWORD);
                encode::nested(out, tag::SET, |out| encode::utf8(out, "x"));
            });
        }
    });
    let ignored = Request::from_pem_or_der(&der).unwrap().ignored;
    assert_eq!((ignored.len(), ignored[32].as_str()), (33, "and 968 more"));
}

#[test]
fn a_private_key_sent_instead_is_refused_and_not_repeated() {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let openssl = crate::x509::openssl::OpenSsl::new();
    openssl.file("key.pem", key.serialize_pem());
    openssl.run("ec -in key.pem -outform DER -out sec1.der");
    openssl.run("pkcs8 -in key.pem -topk8 -outform DER -passout pass:p -out encrypted.der");
    for sent in [
        key.serialize_pem().into_bytes(),
        format!("{csr}{}", key.serialize_pem()).into_bytes(),
        b"-----BEGIN RSA PRIVATE KEY-----\nMIIE".to_vec(),
        key.serialize_der(),
        openssl.read("sec1.der"),
        openssl.read("encrypted.der"),
        pem::write(Label::Request, &key.serialize_der()).into_bytes(),
    ] {
        let refusal = Request::from_pem_or_der(&sent).unwrap_err();
        assert_eq!(refusal, CsrError::PrivateKey);
        assert!(refusal.to_string().len() < 200);
    }
}

#[test]
fn what_is_not_one_request_is_refused() {
    let one = fixture("p256");
    assert_eq!(Request::from_pem_or_der(&one.repeat(2)), Err(CsrError::Pem(PemError::Several(2))));
    assert_eq!(Request::from_pem_or_der(&vec![0x30; MOST_OCTETS + 1]), Err(CsrError::TooLarge(MOST_OCTETS + 1)));
    let der = request(&KeyPair::generate().unwrap(), |_| {});
    let other_version = request_of_version(1, &KeyPair::generate().unwrap(), |_| {});
    assert!(matches!(Request::from_pem_or_der(&other_version), Err(CsrError::Malformed(_))));
    let trailing = [der.as_slice(), &[0]].concat();
    assert!(matches!(Request::from_pem_or_der(&trailing), Err(CsrError::Malformed(_))));
    let trailing = pem::write(Label::Request, &trailing);
    assert!(matches!(Request::from_pem_or_der(trailing.as_bytes()), Err(CsrError::Malformed(_))));
    for text in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(matches!(Request::from_pem_or_der(text.as_bytes()), Err(CsrError::Pem(_))), "{text}");
    }
}

proptest! {
    #[test]
    fn no_request_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..300, flip in 1u8..=255) {
        let _ = Request::from_pem_or_der(&bytes);
        let mut der = pem::read(Label::Request, &fixture("wishes")).unwrap();
        let at = at % der.len();
        der[at] ^= flip;
        prop_assert!(Request::from_pem_or_der(&der).is_err(), "one octet changed and still accepted");
    }
}
