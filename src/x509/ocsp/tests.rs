use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use proptest::prelude::*;
use rcgen::KeyPair;

use super::issuer::IssuerHashes;
use super::request::{HashAlgorithm, MOST_CERT_IDS, Request, decode_get_path};
use super::response::{CertStatus, ErrorResponse, Responder, Single};
use crate::world::Timestamp;
use crate::x509::certificate::Certificate;
use crate::x509::certificate::tests::{ca, client};
use crate::x509::encode::{self, tag};
use crate::x509::extensions::{ExtendedKeyUsage, extension};
use crate::x509::oid;
use crate::x509::openssl::OpenSsl;
use crate::x509::pem::{self, Label};
use crate::x509::reason::Reason;

/// 2026-11-22T04:00:01Z.
const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_320_001);

/// A CA, a leaf of it, a delegated responder, and openssl with `ca.pem` and `leaf.pem`.
struct World {
    ca: Certificate,
    leaf: Certificate,
    responder: Responder,
    responder_key: KeyPair,
    openssl: OpenSsl,
}

fn world() -> World {
    let [ca_key, leaf_key, responder_key] = [(); 3].map(|()| KeyPair::generate().unwrap());
    let ca = ca(&ca_key);
    let leaf = client(&ca, &ca_key, &leaf_key).encode().sign(&ca_key).unwrap();
    let mut fields = client(&ca, &ca_key, &responder_key);
    fields.extensions.extended_key_usage = vec![ExtendedKeyUsage::OcspSigning];
    fields.extensions.ocsp_no_check = true;
    let responder = Certificate::from_der(&fields.encode().sign(&ca_key).unwrap()).unwrap();
    let openssl = OpenSsl::new();
    openssl.file("ca.pem", pem::write(Label::Certificate, ca.der()));
    openssl.file("leaf.pem", pem::write(Label::Certificate, &leaf));
    let leaf = Certificate::from_der(&leaf).unwrap();
    World { ca, leaf, responder: Responder::new(&responder), responder_key, openssl }
}

impl World {
    fn ask(&self, options: &str) -> Request {
        self.openssl.run(&format!("ocsp -issuer ca.pem {options} -cert leaf.pem -reqout req.der"));
        Request::from_der(&self.openssl.read("req.der")).unwrap()
    }

    /// What openssl makes of our answer to the request in `req.der`.
    fn answered(&self, request: &Request, status: CertStatus) -> String {
        let singles: Vec<_> = request
            .cert_ids
            .iter()
            .map(|cert_id| Single {
                cert_id,
                status,
                this_update: NOW,
                next_update: NOW.after(std::time::Duration::from_secs(600)),
            })
            .collect();
        let answer = self.responder.sign(&singles, request.nonce.as_ref(), NOW, &self.responder_key).unwrap();
        self.openssl.file("resp.der", answer);
        self.openssl.run("ocsp -reqin req.der -respin resp.der -CAfile ca.pem -attime 1795320002 -resp_text")
    }
}

#[test]
fn openssl_verifies_good_revoked_and_unknown_answers_with_its_nonce() {
    let world = world();
    let request = world.ask("");
    assert!(request.nonce.is_some());
    let revoked = |reason| CertStatus::Revoked { at: NOW, reason };
    for (status, expected) in [
        (CertStatus::Good, "Cert Status: good"),
        (revoked(Some(Reason::KeyCompromise)), "Revocation Reason: keyCompromise"),
        (revoked(Some(Reason::Unspecified)), "Cert Status: revoked"),
        (CertStatus::Unknown, "Cert Status: unknown"),
    ] {
        let text = world.answered(&request, status);
        assert!(text.contains("Response verify OK") && text.contains(expected), "{expected} is not in {text}");
        assert!(!text.contains("WARNING") && !text.contains("Nonce Verify error"), "{text}");
        assert!(!text.contains("unspecified"), "{text}");
    }
}

#[test]
fn an_issuer_is_recognised_by_sha_1_and_by_sha_256() {
    let world = world();
    let hashes = IssuerHashes::of(&world.ca);
    for (option, hash) in [("-sha1", HashAlgorithm::Sha1), ("-sha256", HashAlgorithm::Sha256)] {
        let request = world.ask(option);
        let [id] = request.cert_ids.as_slice() else { panic!() };
        assert_eq!((id.hash, id.serial), (hash, world.leaf.serial));
        assert!(hashes.matches(id));
        assert!(!IssuerHashes::of(&world.leaf).matches(id));
        assert!(world.answered(&request, CertStatus::Good).contains("Cert Status: good"));
    }
    let request = world.ask("-sha384");
    assert_eq!(request.cert_ids[0].hash, HashAlgorithm::Other);
    assert!(!hashes.matches(&request.cert_ids[0]));
}

#[test]
fn a_request_without_a_nonce_is_answered_without() {
    let world = world();
    let request = world.ask("-no_nonce");
    assert_eq!(request.nonce, None);
    assert!(!world.answered(&request, CertStatus::Good).contains("Nonce"));
}

#[test]
fn errors_are_what_openssl_expects() {
    let openssl = OpenSsl::new();
    for (error, text) in [
        (ErrorResponse::MalformedRequest, "malformedrequest"),
        (ErrorResponse::InternalError, "internalerror"),
        (ErrorResponse::TryLater, "trylater"),
        (ErrorResponse::Unauthorized, "unauthorized"),
    ] {
        openssl.file("resp.der", error.der());
        let (_, output) = openssl.attempt("ocsp -respin resp.der -noverify");
        assert!(output.contains(text), "{text} is not in {output}");
    }
}

/// A request with `count` questions and a nonce of so many octets.
fn request(count: usize, nonce: Option<usize>) -> Vec<u8> {
    let mut out = Vec::new();
    encode::sequence(&mut out, |out| {
        encode::sequence(out, |out| {
            encode::sequence(out, |out| (0..count).for_each(|_| encode::sequence(out, write_cert_id)));
            if let Some(octets) = nonce {
                encode::nested(out, tag::context_constructed(2), |out| {
                    encode::sequence(out, |out| {
                        extension(out, oid::OCSP_NONCE, false, |out| encode::octet_string(out, &vec![1; octets]));
                    });
                });
            }
        });
    });
    out
}

fn write_cert_id(out: &mut Vec<u8>) {
    encode::sequence(out, |out| {
        encode::sequence(out, |out| {
            encode::oid(out, oid::SHA1);
            encode::primitive(out, tag::NULL, &[]);
        });
        encode::octet_string(out, &[1; 20]);
        encode::octet_string(out, &[2; 20]);
        encode::unsigned(out, &[9]);
    });
}

#[test]
fn a_nonce_has_1_to_128_octets() {
    for (octets, accepted) in [(0, false), (1, true), (32, true), (128, true), (129, false), (4096, false)] {
        assert_eq!(Request::from_der(&request(1, Some(octets))).is_ok(), accepted, "{octets}");
    }
}

#[test]
fn at_most_16_certificates_are_asked_about_in_16_kib() {
    assert_eq!(Request::from_der(&request(MOST_CERT_IDS, None)).unwrap().cert_ids.len(), 16);
    assert!(Request::from_der(&request(0, None)).is_err());
    assert!(Request::from_der(&request(MOST_CERT_IDS + 1, None)).is_err());
    assert!(Request::from_der(&request(10_000, None)).is_err());
}

#[test]
fn trailing_data_behind_a_request_is_refused() {
    let der = request(1, None);
    assert!(Request::from_der(&der).is_ok());
    assert!(Request::from_der(&[der.as_slice(), &[0]].concat()).is_err());
}

#[test]
fn a_get_path_is_read_with_and_without_escapes_and_padding() {
    let der = [0xfb, 0xff, 0xbf, 0x3e, 0x01];
    let plain = STANDARD.encode(der);
    assert!(plain.contains('/') && plain.contains('+') && plain.ends_with('='), "{plain}");
    let escaped = plain.replace('/', "%2F").replace('+', "%2b").replace('=', "%3D");
    for path in [plain, escaped, STANDARD_NO_PAD.encode(der)] {
        assert_eq!(decode_get_path(&path).unwrap(), der, "{path}");
    }
    for path in ["%", "%2", "%zz", "a b", "../..", "%252F", "ü", &"A".repeat(70_000)] {
        assert!(decode_get_path(path).is_err());
    }
}

proptest! {
    #[test]
    fn no_request_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..120, flip in any::<u8>()) {
        let _ = Request::from_der(&bytes);
        let mut damaged = request(1, Some(8));
        let at = at % damaged.len();
        damaged[at] ^= flip;
        let _ = Request::from_der(&damaged);
        let _ = decode_get_path(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn every_get_path_is_decoded(der in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(decode_get_path(&STANDARD.encode(&der)), Ok(der));
    }
}
