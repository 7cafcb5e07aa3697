//! Configurations, and the profile of whoever uses the command line.

use std::path::Path;

use portcullis::config::{authority, duration, profile::Profile, proxy, url::ServiceUrl};

/// A file and, behind a zero octet, the environment as `NAME=value` lines.
///
/// What is refused says why in lines that a terminal can show. What is accepted as a length of time, an address or a
/// profile reads back as what it was.
pub(crate) fn target(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let (file, environment) = text.split_once('\0').unwrap_or((text, ""));
    let variables = || {
        environment
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let path = Path::new("/etc/portcullis/x.toml");
    for refused in [authority::read(path, file, variables()).err(), proxy::read(path, file, variables()).err()] {
        let Some(mistakes) = refused else { continue };
        let said = mistakes.to_string();
        assert!(said.lines().count() >= 2, "{said:?}");
    }
    if let Ok(read) = Profile::from_toml(file) {
        let again = Profile::from_toml(read.to_toml().expose()).expect("what we wrote");
        // But for what is behind the last line of a text.
        let texts = |profile: &Profile| {
            [&profile.ca, &profile.certificate, profile.key.expose()].map(|text| text.trim_end().to_owned())
        };
        assert_eq!(again.server, read.server);
        assert_eq!(texts(&again), texts(&read));
    }
    for word in file.split(['"', '\n']) {
        if let Ok(read) = duration::parse(word) {
            assert_eq!(duration::parse(&duration::show(read)), Ok(read));
        }
        for reader in [ServiceUrl::https, ServiceUrl::http] {
            if let Ok(read) = reader(word) {
                assert_eq!(reader(&read.to_string()).expect("what we wrote"), read);
            }
        }
    }
}
