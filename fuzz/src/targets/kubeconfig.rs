//! `kubeconfig --merge`: somebody's kubeconfig takes in ours.

use portcullis::cli::kubeconfig::document::Document;
use serde_json::Value;

/// A merged kubeconfig still parses, has what was merged, and keeps every entry of others in its place, as well as
/// everything else that was in the file.
pub(crate) fn target(octets: &[u8]) {
    let Ok(mut document) = Document::read(octets) else { return };
    let before: Option<Value> = std::str::from_utf8(octets).ok().and_then(|text| serde_saphyr::from_str(text).ok());
    let ours = Document::read(OURS.as_bytes()).expect("ours");
    let Ok(merged) = document.merge(&ours) else { return };
    let Ok(text) = document.text() else { return };
    let after: Value = serde_saphyr::from_str(&text).expect("a merged kubeconfig is YAML");
    assert_eq!(merged.context, "ana@prod");
    assert!(names(&after, "users").contains(&"ana@prod") && names(&after, "contexts").contains(&"ana@prod"));
    // A reader that is less patient, for a key that is twice say, has nothing to compare with.
    let Some(before) = before else { return };
    for section in ["clusters", "contexts", "users"] {
        let theirs = |value: &Value| -> Vec<Value> {
            let all = value[section].as_array().cloned().unwrap_or_default();
            all.into_iter().filter(|entry| !matches!(entry["name"].as_str(), Some("ana@prod" | "prod"))).collect()
        };
        assert_eq!(theirs(&before), theirs(&after), "{section}");
    }
    for (key, value) in before.as_object().into_iter().flatten() {
        let is_section = matches!(key.as_str(), "clusters" | "contexts" | "users");
        let set_if_empty = matches!(key.as_str(), "current-context" | "kind" | "apiVersion");
        assert!(
            is_section || set_if_empty && value != &after[key] && !value.is_string() || value == &after[key],
            "{key}"
        );
    }
}

fn names<'a>(value: &'a Value, section: &str) -> Vec<&'a str> {
    value[section].as_array().into_iter().flatten().filter_map(|entry| entry["name"].as_str()).collect()
}

const OURS: &str = "apiVersion: v1
kind: Config
clusters:
- name: prod
  cluster:
    server: https://prod.example.com:7444
    certificate-authority-data: Q0E=
users:
- name: ana@prod
  user:
    client-certificate-data: Q0VSVA==
    client-key-data: S0VZ
contexts:
- name: ana@prod
  context:
    cluster: prod
    user: ana@prod
current-context: ana@prod
";
