use super::*;

fn refusal<T: FromStr<Err = InvalidName>>(text: &str) -> String {
    match text.parse::<T>() {
        Ok(_) => panic!("{text:?} was accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn ordinary_ids_are_accepted() {
    for id in ["alice", "a", "0", "bob.smith@example.com", "ci+nightly", "x_y-z", &"a".repeat(64)] {
        assert!(id.parse::<IdentityId>().is_ok(), "{id}");
    }
}

#[test]
fn an_upper_case_id_is_refused_with_its_lower_case_form() {
    assert!(refusal::<IdentityId>("Alice").contains("use alice instead"));
}

#[test]
fn ids_that_could_deceive_are_refused() {
    let long = "a".repeat(300);
    for id in
        ["", " alice", "alice ", "-rf", "../x", "a/b", "alice\n", "alice\0", "аlice", "ali\u{200b}ce", "größe", &long]
    {
        assert!(id.parse::<IdentityId>().is_err(), "{id:?}");
    }
    assert!(!refusal::<IdentityId>("a\x1b[31mb").contains('\x1b'));
}

proptest::proptest! {
    #[test]
    fn ascii_names_are_judged_as_if_they_were_folded(name in "[ -~\t\r\n]{0,2}([sS] ?[yY]\t?[sS][tT][eE]\n?[mM]:?)?[ -~\t]{0,6}") {
        proptest::prop_assert_eq!(is_reserved_by_kubernetes(&name), begins_with_system(folded(&name).chars()));
    }
}

#[test]
fn names_that_kubernetes_keeps_are_refused_in_every_disguise() {
    for group in
        ["system:masters", "System:Masters", "SYSTEM:nodes", "ｓystem:masters", "ſystem:masters", "system：masters"]
    {
        assert!(is_reserved_by_kubernetes(group), "{group}");
        assert!(refusal::<GroupName>(group).contains("Kubernetes keeps"), "{group}");
    }
    for group in [" system:masters", "sys\u{200b}tem:masters"] {
        assert!(group.parse::<GroupName>().is_err(), "{group:?}");
    }
    assert!(refusal::<IdentityId>("system:admin").contains("Kubernetes keeps"));
    assert!("ecosystem:masters".parse::<GroupName>().is_ok());
}

#[test]
fn groups_may_hold_commas_and_letters_of_any_script() {
    for group in ["dev", "a,b", "größe", "a=b+c", "開発", "team one"] {
        assert!(group.parse::<GroupName>().is_ok(), "{group}");
    }
}

#[test]
fn groups_that_could_deceive_are_refused() {
    for group in ["", "a\nb", "a\u{202e}b", "gro\u{0308}ße", " dev", &"x".repeat(65)] {
        assert!(group.parse::<GroupName>().is_err(), "{group:?}");
    }
    assert!(refusal::<GroupName>("gro\u{0308}ße").contains("größe"));
}

#[test]
fn clusters_are_dns_labels_and_never_our_own_authorities() {
    assert!("prod-eu-1".parse::<ClusterName>().is_ok());
    for name in ["", "Prod", "-a", "a-", "a.b", "root", "infra", &"a".repeat(41)] {
        assert!(name.parse::<ClusterName>().is_err(), "{name}");
    }
}

#[test]
fn issuers_name_a_generation() {
    for name in ["root", "infra", "demo-1", "a-b-12"] {
        assert!(name.parse::<IssuerName>().is_ok(), "{name}");
    }
    for name in ["demo", "demo-0", "demo-x", "root-1", "-1", "../x-1"] {
        assert!(name.parse::<IssuerName>().is_err(), "{name}");
    }
}

#[test]
fn serials_are_read_in_every_usual_spelling_and_printed_in_one() {
    let serial: Serial = "0A:FF".parse().expect("valid");
    assert_eq!(serial.to_string(), format!("{:0>40}", "aff"));
    assert_eq!(Serial::from_integer(&[0, 0x0a, 0xff]), Some(serial));
    for text in ["", "0", "xyz", &"f".repeat(40), &"1".repeat(41)] {
        assert!(text.parse::<Serial>().is_err(), "{text}");
    }
}

#[test]
fn serial_integers_outside_rfc_5280_are_refused() {
    assert_eq!(Serial::from_integer(&[]), None);
    assert_eq!(Serial::from_integer(&[0]), None);
    assert_eq!(Serial::from_integer(&[0x80]), None);
    assert_eq!(Serial::from_integer(&[1; 21]), None);
    assert!(Serial::from_random([0xff; 20]).octets()[0] < 0x80);
}

#[test]
fn fingerprints_read_what_kubernetes_logs() {
    let fingerprint = Fingerprint::of(b"certificate");
    assert_eq!(fingerprint.to_string().parse::<Fingerprint>(), Ok(fingerprint));
    assert!("deadbeef".parse::<Fingerprint>().is_err());
}
