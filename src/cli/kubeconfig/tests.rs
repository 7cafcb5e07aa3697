use super::document::{Document, Merged};

const OURS: &str = "\
apiVersion: v1
kind: Config
clusters:
- name: prod
  cluster:
    server: https://prod.example:7444
    certificate-authority-data: Y2E=
users:
- name: ana@prod
  user:
    client-certificate-data: bmV3
    client-key-data: bmV3a2V5
contexts:
- name: ana@prod
  context:
    cluster: prod
    user: ana@prod
current-context: ana@prod
";

const THEIRS: &str = "\
# my clusters
apiVersion: v1
kind: Config
preferences: {colors: true}   # keep
x-mine:
  - 0x1F
  - yes
current-context: home
clusters:
  # at home
  - cluster: {server: https://10.0.0.1, insecure-skip-tls-verify: true}
    name: home

  - name: work
    cluster:
      server: https://work
users:
  - name: me
    user:
      exec:
        apiVersion: client.authentication.k8s.io/v1
        args: [-x, \"--y\"]
        command: login
contexts:
  - context:
      cluster: home
      user: me
      namespace: 'default'
    name: home
";

fn read(text: &str) -> Document {
    Document::read(text.as_bytes()).unwrap()
}

fn merged_into(text: &str, newer: &str) -> (String, Merged) {
    let mut document = read(text);
    let merged = document.merge(&read(newer)).unwrap();
    (document.text().unwrap().to_string(), merged)
}

#[test]
fn merging_keeps_every_line_that_was_there() {
    let (text, merged) = merged_into(THEIRS, OURS);
    let mut lines = text.lines();
    for line in THEIRS.lines() {
        assert!(lines.any(|found| found == line), "{line} is missing or moved in:\n{text}");
    }
    assert_eq!(merged, Merged { context: "ana@prod".to_owned(), ..Merged::default() });
    assert!(text.contains("\n  - name: ana@prod\n    user:\n      client-certificate-data: bmV3\n"), "{text}");
    assert!(text.contains("current-context: home\n") && !text.contains("current-context: ana"), "{text}");
}

#[test]
fn merging_twice_replaces_our_entries_and_nothing_else() {
    let (once, _) = merged_into(THEIRS, OURS);
    let (twice, _) = merged_into(&once, OURS);
    assert_eq!(once, twice);
    let (renewed, merged) = merged_into(&once, &OURS.replace("bmV3\n", "bmV3ZXI=\n").replace("7444", "7445"));
    assert_eq!(renewed, once.replace("bmV3\n", "bmV3ZXI=\n").replace("7444", "7445"));
    assert_eq!(merged.renamed_cluster, None);
}

#[test]
fn a_cluster_of_somebody_elses_with_the_same_name_stays() {
    let theirs = THEIRS.replace("name: work", "name: prod");
    let (text, merged) = merged_into(&theirs, OURS);
    assert_eq!(merged.renamed_cluster.as_deref(), Some("ana@prod"));
    assert!(text.contains("server: https://work\n"), "{text}");
    let (again, _) = merged_into(&text, OURS);
    assert_eq!(again, text);
}

#[test]
fn what_kubectl_writes_is_merged_into() {
    let theirs = "apiVersion: v1\nclusters:\n- cluster:\n    server: https://a\n  name: a\ncontexts: null\ncurrent-context: \"\"\nkind: Config\nusers: []\n";
    let (text, merged) = merged_into(theirs, OURS);
    assert!(!merged.rewritten);
    assert!(
        text.starts_with("apiVersion: v1\nclusters:\n- cluster:\n    server: https://a\n  name: a\n- name: prod\n"),
        "{text}"
    );
    assert!(text.contains("\ncontexts:\n- name: ana@prod\n"), "{text}");
}

#[test]
fn forms_that_only_a_parser_knows_are_written_anew_with_the_same_content() {
    let json = r#"{"apiVersion":"v1","kind":"Config","clusters":[{"name":"a","cluster":{"server":"https://a"}}],"users":[],"contexts":[],"x":{"b":1,"a":[true,null,1.5,"1"]}}"#;
    let (text, merged) = merged_into(json, OURS);
    assert!(merged.rewritten);
    let back: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(back["x"], serde_json::json!({"b": 1, "a": [true, null, 1.5, "1"]}));
    assert_eq!(back["clusters"][0]["name"], "a");
    assert_eq!(back["clusters"][1]["name"], "prod");
    assert!(text.find("\"b\"").or(text.find("b: 1")) < text.find("a:\n").or(text.len().into()), "{text}");
}

#[test]
fn sections_that_are_missing_are_added() {
    for theirs in ["apiVersion: v1\nkind: Config", "kind: Config\nusers:\n", "# nothing\nkind: Config\n\n"] {
        let (text, merged) = merged_into(theirs, OURS);
        assert!(!merged.rewritten, "{text}");
        assert_eq!(read(&text).credential(None).unwrap().user, "ana@prod");
    }
}

#[test]
fn what_is_no_kubeconfig_is_refused_without_repeating_it() {
    for text in
        ["kind: Secret\npassword: hunter2\n", "- hunter2\n", "hunter2: [", "clusters: hunter2\n", "a: 1\na: hunter2\n"]
    {
        let error = Document::read(text.as_bytes()).err();
        assert!(error.as_ref().is_some_and(|error| !error.contains("hunter2")), "{text}: {error:?}");
    }
}

#[test]
fn the_credential_is_the_only_users_or_the_current_contexts() {
    let credential = read(OURS).credential(None).unwrap();
    assert_eq!((credential.user.as_str(), credential.certificate.as_str()), ("ana@prod", "new"));
    assert_eq!(credential.key.unwrap().expose(), "newkey");
    assert_eq!(credential.ca.as_deref(), Some("ca"));
    let (both, _) = merged_into(THEIRS, OURS);
    assert!(read(&both).credential(None).is_err_and(|error| error.contains("me")));
    assert_eq!(read(&both).credential(Some("ana@prod")).unwrap().user, "ana@prod");
    assert!(read(&both).credential(Some("gone")).is_err_and(|error| error.contains("gone")));
    let ours = both.replace("current-context: home", "current-context: ana@prod");
    assert_eq!(read(&ours).credential(None).unwrap().user, "ana@prod");
    let none = both.replace("current-context: home", "current-context: gone");
    assert!(read(&none).credential(None).is_err_and(|error| error.contains("current-context")));
    let elsewhere = OURS.replace("client-certificate-data: bmV3", "client-certificate: /a/b.crt");
    assert!(read(&elsewhere).credential(None).is_err_and(|error| error.contains("/a/b.crt")));
}

#[test]
fn a_renewed_credential_changes_two_lines() {
    let (both, _) = merged_into(THEIRS, OURS);
    let mut document = read(&both);
    document.set_credential("ana@prod", "newer", &crate::secret::Secret::new("newerkey".to_owned()));
    let text = document.text().unwrap();
    let changed = both.lines().zip(text.lines()).filter(|(old, new)| old != new).count();
    assert_eq!((changed, both.lines().count()), (2, text.lines().count()));
}

#[test]
fn names_cannot_smuggle_keys_into_the_file() {
    let answer = crate::cli::issue::tests::answer("ana");
    let key = crate::secret::Secret::new("k".to_owned());
    for (id, cluster, server) in [
        ("x\n    exec:\n      command: sh", "prod", "https://a"),
        ("ana", "prod\n- name: x", "https://a"),
        ("ana", "prod", "https://a\n    insecure-skip-tls-verify: true"),
    ] {
        let mut answer = answer.clone();
        answer.certificate.id = id.to_owned();
        answer.certificate.cluster = Some(cluster.to_owned());
        answer.server = Some(server.to_owned());
        assert!(super::command::fresh(&answer, &key).is_err(), "{id} {cluster} {server}");
    }
    assert!(super::command::fresh(&answer, &key).is_ok());
}
