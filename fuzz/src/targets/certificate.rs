//! Certificates that clients show, and who they say their holder is.

use portcullis::kube::identity::{Identity, Mode};
use portcullis::x509::certificate::Certificate;
use portcullis::x509::shape;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What passes the gate of the proxy, another parser reads too, with the same serial number, name and groups; and the
/// identity made of it says exactly these to the API server.
pub(crate) fn target(octets: &[u8]) {
    let Ok(ours) = Certificate::from_der(octets) else { return };
    assert_eq!(ours.der(), octets);
    if shape::check(&ours).is_err() {
        return;
    }
    let (left, theirs) = X509Certificate::from_der(octets).expect("another parser reads it");
    assert!(left.is_empty());
    assert_eq!(
        ours.serial.map(|serial| serial.to_string().trim_start_matches('0').to_owned()),
        Some({
            let digits: String = theirs.raw_serial().iter().map(|octet| format!("{octet:02x}")).collect();
            digits.trim_start_matches('0').to_owned()
        })
    );
    let texts = |found: Vec<&str>| found.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let subject = theirs.subject();
    let names: Vec<&str> = subject.iter_common_name().map(|name| name.as_str().expect("text")).collect();
    let groups: Vec<&str> = subject.iter_organization().map(|name| name.as_str().expect("text")).collect();
    assert_eq!((ours.subject.common_names(), ours.subject.organizations()), (names.clone(), groups.clone()));
    assert_eq!(names.len(), 1, "one name is one identity");
    if let Ok(identity) = Identity::new(names[0], texts(groups.clone()), ours.fingerprint()) {
        let headers = identity.headers(Mode::Impersonation);
        let of = |wanted: &str| {
            headers.iter().filter(|(name, _)| *name == wanted).map(|(_, value)| value.as_str()).collect::<Vec<_>>()
        };
        assert_eq!((of("impersonate-user"), of("impersonate-group")), (names, groups));
    }
}
