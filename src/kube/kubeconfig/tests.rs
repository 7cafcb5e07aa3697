use super::*;

fn alice() -> Kubeconfig {
    let certificates = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".repeat(30);
    Kubeconfig::of(&Access {
        cluster: &"prod".parse().unwrap(),
        server: "https://localhost:7444",
        certificate_authority: "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n",
        id: &"alice".parse().unwrap(),
        certificates: &certificates,
        key: &Secret::new("KEY".to_owned()),
    })
}

#[test]
fn a_users_file_is_block_yaml_that_reads_back() {
    let config = alice();
    let text = config.to_yaml();
    assert!(text.expose().starts_with("apiVersion: v1\nkind: Config\nclusters:\n"), "{}", text.expose());
    assert!(!text.expose().contains('{'), "{}", text.expose());
    assert!(text.expose().contains("current-context: alice@prod\n"));
    assert!(text.expose().contains("client-key-data: S0VZ\n"));
    assert_eq!(Kubeconfig::parse(text.expose()).unwrap(), config);
    assert_eq!(config.current_user(), Some("alice@prod"));
    assert!(config.certificates_of("alice@prod").unwrap().starts_with("-----BEGIN"));
}

#[test]
fn merging_keeps_what_others_put_there() {
    let theirs = "apiVersion: v1
kind: Config
preferences: {colors: true}
clusters:
- name: other
  cluster: {server: https://other, insecure-skip-tls-verify: true, extensions: [{name: x, extension: {n: 1.5, on: off}}]}
- name: prod
  cluster: {server: https://old}
users:
- name: other
  user:
    exec: {command: plugin, args: ['true', '007', ''], env: null}
contexts: null
current-context: other
";
    let mut config = Kubeconfig::parse(theirs).unwrap();
    config.merge(alice());
    let merged = Kubeconfig::parse(config.to_yaml().expose()).unwrap();
    assert_eq!(merged, config);
    assert_eq!(merged.current_context(), "alice@prod");
    assert_eq!(merged.contexts().collect::<Vec<_>>(), ["alice@prod"]);
    assert_eq!(merged.clusters.len(), 2);
    assert_eq!(merged.clusters[1].fields["cluster"]["server"], "https://localhost:7444");
    assert_eq!(merged.users[0].fields["user"]["exec"]["args"], serde_json::json!(["true", "007", ""]));
    assert_eq!(merged.other["preferences"]["colors"], true);
}

#[test]
fn debug_output_shows_no_key() {
    assert!(!format!("{:?}", alice()).contains("S0VZ"));
}

#[test]
fn what_is_no_kubeconfig_is_refused_without_repeating_it() {
    assert_eq!(Kubeconfig::parse(" \n").unwrap().contexts().count(), 0);
    let refused = Kubeconfig::parse("clusters: s3cr3t").unwrap_err().to_string();
    assert!(!refused.contains("s3cr3t"), "{refused}");
    let refused = Kubeconfig::parse("kind: Pod\napiVersion: v1").unwrap_err().to_string();
    assert!(refused.contains("found kind Pod"), "{refused}");
}
