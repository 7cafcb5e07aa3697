use std::time::Duration;

use rcgen::KeyPair;

use super::*;
use crate::ca::sign::sign_self;
use crate::ca::template::{self, Places, ROOT_LIFETIME};
use crate::ident::{IssuerName, Serial};
use crate::world::{Moment, SystemEntropy, Timestamp};
use crate::x509::certificate::Certificate;
use crate::x509::certificate::to_be_signed::ToBeSigned;
use crate::x509::extensions::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages};
use crate::x509::name::Subject;
use crate::x509::public_key::PublicKey;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

fn moment() -> Moment<'static> {
    Moment { now: NOW, entropy: &SystemEntropy }
}

fn wanted(role: CertificateRole, name: &str, key: &KeyPair, lifetime: Duration) -> Wanted {
    Wanted {
        role,
        subject: Subject::common_name(name),
        public_key: PublicKey::of(key).unwrap(),
        names: Vec::new(),
        lifetime,
    }
}

fn issuer() -> Issuer {
    let key = KeyPair::generate().unwrap();
    let root = wanted(CertificateRole::Authority, "root", &key, ROOT_LIFETIME);
    let signed = sign_self(&IssuerName::root(), &root, None, &key, &moment()).unwrap();
    Issuer { name: IssuerName::root(), certificate: Certificate::from_der(&signed.row.der).unwrap(), key }
}

fn places() -> Places {
    Places { public_url: "http://127.0.0.1:7080".to_owned() }
}

/// What is said of a user's certificate after `spoil` had its way with it.
fn said(spoil: impl FnOnce(&mut ToBeSigned, &Issuer)) -> String {
    said_of(CertificateRole::User, spoil)
}

fn said_of(role: CertificateRole, spoil: impl FnOnce(&mut ToBeSigned, &Issuer)) -> String {
    let (issuer, key) = (issuer(), KeyPair::generate().unwrap());
    let mut wanted = wanted(role, "alice", &key, template::USER_LIFETIME);
    wanted.subject.organizations = vec!["a".to_owned(), "b".to_owned()];
    let mut certificate = template::fill(&wanted, &issuer, &places(), &moment()).unwrap();
    spoil(&mut certificate, &issuer);
    match lint(&certificate.encode(), &wanted, Some(&issuer)) {
        Ok(_) => "nothing".to_owned(),
        Err(rejected) => rejected.detail,
    }
}

#[test]
fn what_the_templates_make_breaks_no_rule() {
    for role in [
        CertificateRole::User,
        CertificateRole::Management,
        CertificateRole::Server,
        CertificateRole::Proxy,
        CertificateRole::Ocsp,
        CertificateRole::Authority,
    ] {
        assert_eq!(said_of(role, |_, _| {}), "nothing", "{role:?}");
    }
}

#[test]
fn each_broken_rule_is_named_and_nothing_is_signed() {
    let subject = |name: &str, groups: &[&str]| {
        let organizations = groups.iter().map(|group| (*group).to_owned()).collect();
        Subject { common_name: name.to_owned(), organizations, organizational_unit: None }.to_der()
    };
    type Spoil = Box<dyn FnOnce(&mut ToBeSigned, &Issuer)>;
    let cases: Vec<(&str, Spoil)> = vec![
        ("20 octets", Box::new(|c, _| c.serial = "0a".parse::<Serial>().unwrap())),
        ("ends after it begins", Box::new(|c, _| c.not_after = c.not_before)),
        ("not valid for longer", Box::new(|c, _| c.not_before = NOW.before(Duration::from_secs(3600)))),
        ("one CN that was wanted", Box::new(move |c, _| c.subject = subject("bob", &["a", "b"]))),
        ("an O for each group", Box::new(move |c, _| c.subject = subject("alice", &["a"]))),
        ("an O for each group", Box::new(move |c, _| c.subject = subject("alice", &["a", "b", "system:masters"]))),
        ("only an authority is a CA", {
            Box::new(|c, _| c.extensions.basic_constraints = Some(BasicConstraints::Ca { path_len: None }))
        }),
        ("basicConstraints", Box::new(|c, _| c.extensions.basic_constraints = None)),
        ("keyUsage", Box::new(|c, _| c.extensions.key_usage = None)),
        ("signs certificates", {
            let both = KeyUsages::of(&[KeyUsage::DigitalSignature, KeyUsage::KeyCertSign]);
            Box::new(move |c, _| c.extensions.key_usage = Some(both))
        }),
        ("for clients only", Box::new(|c, _| c.extensions.extended_key_usage.clear())),
        ("for clients only", { Box::new(|c, _| c.extensions.extended_key_usage.push(ExtendedKeyUsage::ServerAuth)) }),
        ("the key that was wanted", {
            let other = PublicKey::of(&KeyPair::generate().unwrap()).unwrap();
            Box::new(move |c, _| c.spki = other.spki().to_vec())
        }),
        ("subjectKeyIdentifier", Box::new(|c, _| c.extensions.subject_key_id = Some(vec![1; 20]))),
        ("authorityKeyIdentifier", Box::new(|c, _| c.extensions.authority_key_id = Some(vec![1; 20]))),
        ("names its issuer", Box::new(move |c, _| c.issuer = Subject::common_name("somebody").to_der())),
    ];
    for (rule, spoil) in cases {
        let said = said(spoil);
        assert!(said.contains(rule), "wanted {rule:?}, found {said:?}");
    }
}

#[test]
fn a_certificate_may_not_outlive_its_issuer() {
    let (mut issuer, key) = (issuer(), KeyPair::generate().unwrap());
    let wanted = wanted(CertificateRole::User, "alice", &key, template::USER_LIFETIME);
    let certificate = template::fill(&wanted, &issuer, &places(), &moment()).unwrap();
    issuer.certificate.not_after = NOW;
    let said = lint(&certificate.encode(), &wanted, Some(&issuer)).unwrap_err();
    assert!(said.detail.contains("ends no later than its issuer"), "{said}");
}

#[test]
fn an_infrastructure_certificate_names_its_role() {
    let said = said_of(CertificateRole::Management, |certificate, _| certificate.extensions.subject_alt_names.clear());
    assert!(said.contains("names its role"), "{said}");
}

#[test]
fn the_key_of_an_authority_is_never_certified_again() {
    let issuer = issuer();
    let wanted = wanted(CertificateRole::User, "alice", &issuer.key, template::USER_LIFETIME);
    let certificate = template::fill(&wanted, &issuer, &places(), &moment()).unwrap();
    let said = lint(&certificate.encode(), &wanted, Some(&issuer)).unwrap_err();
    assert!(said.detail.contains("its key is not its issuer's"), "{said}");
}

#[test]
fn nothing_is_issued_by_an_authority_that_has_expired() {
    let (mut issuer, key) = (issuer(), KeyPair::generate().unwrap());
    issuer.certificate.not_after = NOW.before(Duration::from_secs(1));
    let wanted = wanted(CertificateRole::User, "alice", &key, template::USER_LIFETIME);
    let refused = template::fill(&wanted, &issuer, &places(), &moment()).unwrap_err();
    assert!(refused.detail.contains("expired"), "{refused}");
}

#[test]
fn a_certificate_of_a_minute_ends_at_second_fifty_nine() {
    let (issuer, key) = (issuer(), KeyPair::generate().unwrap());
    let wanted = wanted(CertificateRole::User, "alice", &key, Duration::from_secs(60));
    let certificate = template::fill(&wanted, &issuer, &places(), &moment()).unwrap();
    assert_eq!(certificate.not_after, NOW.after(Duration::from_secs(59)));
    assert_eq!(certificate.not_before, NOW.before(Duration::from_secs(300)));
}

#[test]
fn a_name_that_kubernetes_keeps_is_not_signed_even_when_it_was_wanted() {
    let (issuer, key) = (issuer(), KeyPair::generate().unwrap());
    let mut wanted = wanted(CertificateRole::User, "alice", &key, template::USER_LIFETIME);
    wanted.subject.organizations = vec!["system:masters".to_owned()];
    let certificate = template::fill(&wanted, &issuer, &places(), &moment()).unwrap();
    let said = lint(&certificate.encode(), &wanted, Some(&issuer)).unwrap_err();
    assert!(said.detail.contains("system:"), "{said}");
}
