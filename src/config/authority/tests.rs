use super::*;

fn read_with(text: &str, environment: &[(&str, &str)]) -> Result<Settings, Mistakes> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    read(Path::new("/etc/portcullis/authority.toml"), text, environment)
}

const SMALLEST: &str = "[public]\nurl = 'http://crl.example'\n[ca]\npassphrase_file = 'passphrase'\n";

#[test]
fn little_has_to_be_said() {
    let settings = read_with(SMALLEST, &[]).unwrap();
    assert_eq!(settings.api_url.to_string(), "https://127.0.0.1:7443");
    assert_eq!(settings.public.port(), 7080);
    assert_eq!(settings.store_dir, Path::new("/var/lib/portcullis/store"));
    assert_eq!(settings.passphrase.file, Path::new("/etc/portcullis/passphrase"));
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = "
        [listen]
        api = '0.0.0.0:7443'
        public = 7080
        [public]
        url = 'https://crl.example'
        [log]
        level = 'loud'
        formt = 'json'
        [limits]
        api_connections = 0
    ";
    let lines = read_with(text, &[("PORTCULLIS_STORE_DIRR", "/x")]).unwrap_err().lines;
    assert_eq!(
        lines,
        [
            "listen.public: wanted a text in quotes, found the number 7080",
            "api.url: wanted an address that others reach, such as https://authority.example.com:7443, as listen.api is every address of this host",
            "public.url: wanted an address such as http://host:7080, found \"https://crl.example\"",
            "ca.passphrase_file: wanted the file with the passphrase of the CA keys, or systemd's LoadCredential=passphrase:…, found neither",
            "log.level: wanted error, warn, info, debug or trace, found \"loud\"",
            "limits.api_connections: wanted a number from 1 to 100000, found the number 0",
            "log.formt: there is no such key; the nearest is log.format",
            "PORTCULLIS_STORE_DIRR (from the environment): there is no such variable; the nearest is PORTCULLIS_STORE_DIR",
        ]
    );
}

#[test]
fn the_passphrase_may_come_from_systemd() {
    let settings = read_with("[public]\nurl = 'http://a'\n", &[("CREDENTIALS_DIRECTORY", "/run/credentials/p")]);
    assert_eq!(settings.unwrap().passphrase.file, Path::new("/run/credentials/p/passphrase"));
    let settings = read_with(SMALLEST, &[("CREDENTIALS_DIRECTORY", "/run/credentials/p")]);
    assert_eq!(settings.unwrap().passphrase.file, Path::new("/etc/portcullis/passphrase"));
}

#[test]
fn the_environment_wins_and_is_named_when_wrong() {
    let settings = read_with(SMALLEST, &[("PORTCULLIS_LISTEN_API", "127.0.0.2:1")]).unwrap();
    assert_eq!(settings.api_url.to_string(), "https://127.0.0.2:1");
    let lines = read_with(SMALLEST, &[("PORTCULLIS_LISTEN_API", "here")]).unwrap_err().lines;
    assert_eq!(
        lines,
        [
            "listen.api (from PORTCULLIS_LISTEN_API): wanted an IP address and a port such as 127.0.0.1:7443, found \"here\""
        ]
    );
}

#[test]
fn two_listeners_on_one_address_are_a_mistake() {
    let text = format!("{SMALLEST}[listen]\nhealth = '127.0.0.1:7080'\n");
    let lines = read_with(&text, &[]).unwrap_err().lines;
    assert_eq!(lines, ["listen.health: wanted another address than listen.public, found 127.0.0.1:7080 for both"]);
}

#[test]
fn the_example_states_the_defaults() {
    let example = include_str!("../../../config/authority.toml");
    let settings = read_with(example, &[]).unwrap();
    let smallest = format!(
        "[public]\nurl = '{}'\n[ca]\npassphrase_file = '{}'\n[api]\nurl = '{}'\n",
        settings.public_url,
        settings.passphrase.file.display(),
        settings.api_url
    );
    assert_eq!(settings, read_with(&smallest, &[]).unwrap());
}
