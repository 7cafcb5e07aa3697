use super::*;

fn profile() -> Profile {
    Profile {
        server: ServiceUrl::https("https://127.0.0.1:7443").unwrap(),
        ca: "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".to_owned(),
        certificate: "-----BEGIN CERTIFICATE-----\nAQ==\n-----END CERTIFICATE-----\n".to_owned(),
        key: Secret::new("-----BEGIN PRIVATE KEY-----\nAg==\n-----END PRIVATE KEY-----\n".to_owned()),
    }
}

fn written(mode: u32) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.toml");
    std::fs::write(&path, profile().to_toml().expose()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    (folder, path)
}

#[test]
fn a_profile_is_read_back_as_it_was_written() {
    let (_folder, path) = written(0o600);
    let read = Profile::read(&path).unwrap();
    assert_eq!((read.server, read.ca, read.certificate), (profile().server, profile().ca, profile().certificate));
    assert_eq!(read.key.expose(), profile().key.expose());
}

#[test]
fn a_profile_that_others_may_read_is_refused_with_the_command_to_mend_it() {
    for mode in [0o644, 0o640, 0o604, 0o660] {
        let (_folder, path) = written(mode);
        let error = Profile::read(&path).unwrap_err().to_string();
        assert!(error.ends_with(&format!("chmod 600 {}", path.display())), "{error}");
    }
}

#[test]
fn a_missing_profile_says_how_to_get_one() {
    let error = Profile::read(Path::new("/nonexistent/p.toml")).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/p.toml") && error.contains("--management"), "{error}");
}

#[test]
fn an_unknown_or_damaged_key_is_refused_without_showing_the_private_key() {
    let text = profile().to_toml();
    for (from, to) in
        [("server =", "serve ="), ("key = '''", "key = ''"), ("https://", "http://"), ("BEGIN PRIV", "BEGIN")]
    {
        let error = Profile::from_toml(&text.expose().replace(from, to)).err();
        assert!(error.as_ref().is_some_and(|error| !error.contains("Ag==")), "{to}: {error:?}");
    }
}

#[test]
fn names_stay_in_the_folder_of_profiles() {
    let home = Some(Path::new("/home/ana"));
    let located = Profile::locate("work", None, home).unwrap();
    assert_eq!(located, Path::new("/home/ana/.config/portcullis/profiles/work.toml"));
    assert_eq!(Profile::locate("./work", None, home).unwrap(), Path::new("./work"));
    assert_eq!(Profile::locate("work.toml", None, home).unwrap(), Path::new("work.toml"));
    for name in ["", "..", ".hidden", "a b", "a\nb"] {
        assert!(matches!(Profile::locate(name, None, home), Err(NoProfile::Name(_))), "{name:?}");
    }
    assert!(matches!(Profile::locate("work", None, None), Err(NoProfile::NoHome)));
}

#[test]
fn nothing_in_a_certificate_can_add_a_line_to_the_profile() {
    let ca = format!("{}'''\nserver = 'https://evil'\n\"\"\"\r", profile().ca);
    let profile = Profile { ca, ..profile() };
    let read = Profile::from_toml(profile.to_toml().expose()).unwrap();
    assert_eq!((read.server, read.ca), (profile.server, profile.ca));
}
