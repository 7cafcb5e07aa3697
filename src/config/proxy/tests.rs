use super::*;

fn read_text(text: &str) -> Result<Settings, Mistakes> {
    read(Path::new("/etc/portcullis/proxy.toml"), text, [])
}

#[test]
fn the_example_is_right() {
    let settings = read_text(include_str!("../../../config/proxy.toml")).unwrap();
    assert_eq!(settings.freshness, Freshness { bound: DEFAULT_BOUND, mode: Mode::Strict });
    assert_eq!(settings.identity, Identity::Impersonation);
    assert!(matches!(settings.upstream.credential, Credential::Token(_)));
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = "
        [listen]
        oldest_tls = '1.1'
        [cluster]
        name = 'Prod!'
        [upstream]
        url = 'https://me:hunter2@api'
        key = '/k'
        [freshness]
        bound = '1h'
        mod = 'strict'
    ";
    let lines = read_text(text).unwrap_err().lines;
    let starts: Vec<_> = lines.iter().map(|line| line.split(", found").next().unwrap()).collect();
    assert_eq!(
        starts,
        [
            "listen.oldest_tls: wanted 1.3 or 1.2",
            "cluster.name: wanted a cluster name of 1 to 40 of a-z 0-9 -, neither starting nor ending with -",
            "upstream.url: wanted an address such as https://host:7443",
            "upstream.ca: wanted the file with the CA of the API server's certificate",
            "upstream.certificate: wanted the certificate of upstream.key",
            "freshness.bound: wanted a length of time from 2s to 10m",
            "freshness.mod: there is no such key; the nearest is freshness.mode",
        ]
    );
    assert!(!lines.concat().contains("hunter2"));
}

#[test]
fn a_proxy_has_one_credential_upstream() {
    let both = "[cluster]\nname='c'\n[upstream]\nurl='https://a'\nca='c'\ntoken_file='t'\ncertificate='c'\nkey='k'\n";
    assert_eq!(
        read_text(both).unwrap_err().lines,
        ["upstream: wanted either token_file, or certificate and key, found both"]
    );
    let pair = both.replace("token_file='t'\n", "");
    assert!(matches!(read_text(&pair).unwrap().upstream.credential, Credential::Certificate { .. }));
}

#[test]
fn an_api_server_that_is_to_believe_the_proxy_is_shown_a_certificate() {
    let text =
        "[cluster]\nname='c'\n[upstream]\nurl='https://a'\nca='c'\ntoken_file='t'\n[identity]\nmode='request-header'\n";
    let lines = read_text(text).unwrap_err().lines;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("identity.mode: request-header wanted upstream.certificate and upstream.key, found"));
    let certificate = text.replace("token_file='t'", "certificate='c'\nkey='k'");
    assert_eq!(read_text(&certificate).unwrap().identity, Identity::RequestHeader);
    let impersonation = text.replace("request-header", "impersonation");
    assert_eq!(read_text(&impersonation).unwrap().identity, Identity::Impersonation);
}
