use proptest::prelude::*;
use rcgen::KeyPair;

use super::*;
use crate::x509::certificate::Certificate;
use crate::x509::openssl::OpenSsl;
use crate::x509::pem::{self, Label};

/// 2026-11-22T04:00:00Z.
const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_320_000);

fn fields(ca: &Certificate) -> ToBeSigned {
    ToBeSigned {
        issuer: ca.subject_der.clone(),
        authority_key_id: ca.extensions.subject_key_id.clone().unwrap(),
        number: vec![0, 0x6a, 0, 0, 0, 0, 0, 0, 0, 7],
        this_update: NOW,
        next_update: NOW.after(std::time::Duration::from_secs(72 * 3600)),
    }
}

fn ca() -> (KeyPair, Certificate) {
    let key = KeyPair::generate().unwrap();
    let ca = crate::x509::certificate::tests::ca(&key);
    (key, ca)
}

fn entry(number: u8, reason: Option<Reason>) -> Entry {
    Entry { serial: Serial::from_random([number; 20]), revoked_at: NOW, reason }
}

fn openssl_text(ca: &Certificate, crl: &[u8]) -> String {
    let openssl = OpenSsl::new();
    openssl.file("ca.pem", pem::write(Label::Certificate, ca.der())).file("list.crl", crl);
    openssl.run("crl -in list.crl -inform DER -CAfile ca.pem -noout -text")
}

#[test]
fn a_list_is_verified_and_shown_by_openssl() {
    let (key, ca) = ca();
    let entries = [entry(1, Some(Reason::KeyCompromise)), entry(2, None), entry(3, Some(Reason::Unspecified))];
    let text = openssl_text(&ca, &fields(&ca).sign_entries(&entries, &key).unwrap());
    for expected in [
        "verify OK",
        "Version 2 (0x1)",
        "Last Update: Nov 22 04:00:00 2026 GMT",
        "Next Update: Nov 25 04:00:00 2026 GMT",
        // 0x6a0000000000000007
        "X509v3 CRL Number: \n                1955354871813212471303\n",
        "Serial Number: 4101010101010101010101010101010101010101",
        "Key Compromise",
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    assert!(!text.contains("Unspecified"), "{text}");
    assert!(!text.contains("critical"), "{text}");
}

#[test]
fn an_empty_list_has_no_list_of_entries() {
    let (key, ca) = ca();
    let crl = fields(&ca).sign_entries(&[], &key).unwrap();
    assert!(openssl_text(&ca, &crl).contains("No Revoked Certificates"));
    assert!(Crl::from_der(&crl).unwrap().entries.is_empty());
    assert!(!crl.windows(3).any(|octets| octets == [0x30, 0, 0xa0]), "an empty SEQUENCE before the extensions");
}

#[test]
fn openssl_refuses_a_certificate_that_is_on_the_list() {
    let (key, ca) = ca();
    let leaf = crate::x509::certificate::tests::client(&ca, &key, &key);
    let der = leaf.encode().sign(&key).unwrap();
    let openssl = OpenSsl::new();
    openssl.file("ca.pem", pem::write(Label::Certificate, ca.der()));
    openssl.file("leaf.pem", pem::write(Label::Certificate, &der));
    let revoked = Entry { serial: leaf.serial, revoked_at: NOW, reason: Some(Reason::Superseded) };
    for (entries, accepted) in [(vec![], true), (vec![revoked], false)] {
        let crl = fields(&ca).sign_entries(&entries, &key).unwrap();
        openssl.file("list.pem", pem::write(Label::Crl, &crl));
        let verify = "verify -x509_strict -attime 1795320001 -crl_check -CRLfile list.pem -CAfile ca.pem leaf.pem";
        assert_eq!(openssl.attempt(verify).0, accepted);
    }
}

#[test]
fn chunks_make_the_same_list_as_entries() {
    let (key, ca) = ca();
    let entries: Vec<Entry> = (0..200).map(|number| entry(number, Some(Reason::Superseded))).collect();
    let chunks: Vec<Vec<u8>> = entries
        .chunks(64)
        .map(|chunk| {
            let mut out = Vec::new();
            chunk.iter().for_each(|entry| encode_entry(entry, &mut out));
            out
        })
        .collect();
    let crl = Crl::from_der(&fields(&ca).sign(&chunks, &key).unwrap()).unwrap();
    assert_eq!(crl.entries, entries);
    assert_eq!(crl.verify(&ca.public_key), Ok(()));
    assert_eq!(crl.verify(&PublicKey::of(&KeyPair::generate().unwrap()).unwrap()), Err(BadSignature));
}

#[test]
fn a_short_serial_is_written_in_its_shortest_form() {
    let entry = Entry { serial: "80".parse().unwrap(), revoked_at: NOW, reason: None };
    let mut out = Vec::new();
    encode_entry(&entry, &mut out);
    assert_eq!(out[..6], [0x30, 19, 2, 2, 0, 0x80]);
}

#[test]
fn a_partial_or_delta_list_is_not_taken_for_a_whole_one() {
    let (key, ca) = ca();
    let algorithm = Algorithm::of(&key).unwrap();
    for kind in [27u8, 28] {
        let mut tbs = Vec::new();
        encode::sequence(&mut tbs, |out| {
            out.extend(fields(&ca).head(algorithm, 0));
            encode::nested(out, tag::context_constructed(0), |out| {
                encode::sequence(out, |out| {
                    extensions::extension(out, &[0x55, 0x1d, kind], true, |out| encode::unsigned(out, &[1]));
                });
            });
        });
        assert!(Crl::from_der(&signature::sign(&tbs, algorithm, &key).unwrap()).is_err());
    }
}

#[test]
fn a_list_whose_issuer_is_no_name_is_refused() {
    let (key, ca) = ca();
    let of = |issuer: &[u8]| ToBeSigned { issuer: issuer.to_vec(), ..fields(&ca) }.sign_entries(&[], &key).unwrap();
    assert!(Crl::from_der(&of(&ca.subject_der)).is_ok());
    assert!(Crl::from_der(&of(&[0x30, 0x02, 0x13, 0x00])).is_err());
}

#[test]
fn a_list_whose_algorithm_has_no_identifier_is_refused() {
    let (key, ca) = ca();
    let list = fields(&ca).sign_entries(&[], &key).unwrap();
    assert!(Crl::from_der(&list).is_ok());
    // ecdsa-with-SHA256, inside and outside.
    let oid = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    let mut other = list.clone();
    for place in 0..list.len() - oid.len() {
        if list[place..].starts_with(&oid) {
            other[place] = 0x04;
        }
    }
    assert_ne!(other, list);
    assert!(Crl::from_der(&other).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_list_is_read_back_and_exactly_as_long_as_needed(count in 0usize..12, seed in any::<u8>(), number in proptest::collection::vec(1u8..0x80, 1..20)) {
        let (key, ca) = ca();
        let entries: Vec<Entry> = (0..count)
            .map(|n| entry(u8::try_from(n).unwrap(), Reason::ALL.get(usize::from(seed) % 8).copied().filter(|r| *r != Reason::Unspecified)))
            .collect();
        let fields = ToBeSigned { number: number.clone(), ..fields(&ca) };
        let crl = Crl::from_der(&fields.sign_entries(&entries, &key).unwrap()).unwrap();
        prop_assert_eq!(&crl.entries, &entries);
        prop_assert_eq!(crl.number, Some(number));
        prop_assert_eq!(crl.authority_key_id, Some(fields.authority_key_id));
        prop_assert_eq!((crl.this_update, crl.next_update), (fields.this_update, Some(fields.next_update)));
    }
}

#[test]
fn a_list_by_openssl_is_read_and_a_foreign_reason_is_no_reason() {
    let read = |name| std::fs::read(format!("{}/certs/{name}.pem", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let crl = Crl::from_der(&pem::read(Label::Crl, &read("crl/openssl")).unwrap()).unwrap();
    let ca = pem::read(Label::Certificate, &read("certificate/kubeadm-ca")).unwrap();
    let ca = Certificate::from_der(&ca).unwrap();
    assert_eq!(crl.verify(&ca.public_key), Ok(()));
    assert_eq!((&crl.issuer, crl.number), (&ca.subject_der, Some(vec![0x10, 0])));
    assert_eq!(crl.authority_key_id, ca.extensions.subject_key_id);
    let entries: Vec<_> = crl.entries.iter().map(|entry| (entry.serial.to_string(), entry.reason)).collect();
    let serial = |tail: &str| format!("{tail:0>40}");
    assert_eq!(entries, [(serial("0a"), Some(Reason::KeyCompromise)), (serial("0b"), None), (serial("80ff"), None)]);
}
