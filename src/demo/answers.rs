//! What the demo API server says, in Kubernetes' own shapes.

use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};

/// Where `kubectl auth whoami` posts to.
pub(super) const SELF_SUBJECT_REVIEWS: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// The fixed document at a path: version and discovery.
pub(super) fn document(path: &str) -> Option<Value> {
    let group_version = json!({"groupVersion": "authentication.k8s.io/v1", "version": "v1"});
    match path {
        "/version" => Some(json!({
            "major": "1", "minor": "34", "gitVersion": "v1.34.0+portcullis-demo", "gitCommit": "", "gitTreeState": "",
            "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
        })),
        "/api" => Some(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        "/api/v1" => Some(json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": []})),
        "/apis" => Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [{
            "name": "authentication.k8s.io", "versions": [group_version], "preferredVersion": group_version,
        }]})),
        "/apis/authentication.k8s.io/v1" => Some(json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "authentication.k8s.io/v1",
            "resources": [{"name": "selfsubjectreviews", "singularName": "selfsubjectreview", "namespaced": false,
                "kind": "SelfSubjectReview", "verbs": ["create"]}],
        })),
        _ => None,
    }
}

/// Who the request is made for, read from its impersonation headers as an API server reads them.
pub(super) fn self_subject_review(headers: &HeaderMap) -> Value {
    let user = headers.get("impersonate-user").map_or("portcullis-demo-proxy".to_owned(), text);
    let mut groups: Vec<String> = headers.get_all("impersonate-group").iter().map(text).collect();
    groups.push("system:authenticated".to_owned());
    let mut extra = Map::new();
    for name in headers.keys() {
        if let Some(key) = name.as_str().strip_prefix("impersonate-extra-") {
            let values: Vec<String> = headers.get_all(name).iter().map(text).collect();
            extra.insert(percent_decoded(key), values.into());
        }
    }
    json!({
        "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {"creationTimestamp": null},
        "status": {"userInfo": {"username": user, "groups": groups, "extra": extra}},
    })
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// `%2f` as `/`; what is not two hex digits stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let octet =
            after.get(..2).and_then(|digits| hex::decode(digits).ok()).and_then(|octets| octets.first().copied());
        match (first, octet) {
            (b'%', Some(octet)) => {
                decoded.push(octet);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_says_what_the_impersonation_headers_say() {
        let mut headers = HeaderMap::new();
        headers.insert("impersonate-user", HeaderValue::from_static("alice"));
        headers.append("impersonate-group", HeaderValue::from_static("dev"));
        headers.append("impersonate-group", HeaderValue::from_static("ops"));
        let key = "impersonate-extra-authentication.kubernetes.io%2fcredential-id";
        headers.insert(key, HeaderValue::from_static("X509SHA256=00"));
        let info = &self_subject_review(&headers)["status"]["userInfo"];
        assert_eq!(info["username"], "alice");
        assert_eq!(info["groups"], json!(["dev", "ops", "system:authenticated"]));
        assert_eq!(info["extra"]["authentication.kubernetes.io/credential-id"], json!(["X509SHA256=00"]));
    }

    #[test]
    fn what_is_no_escape_stays_as_it_is() {
        assert_eq!(percent_decoded("a%2Fb%zz%2"), "a/b%zz%2");
    }
}
