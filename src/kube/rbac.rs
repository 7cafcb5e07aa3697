//! What the proxy's account may do at the API server: say for whom a request is, and nothing else.
//!
//! Three objects for `kubectl apply`: a ClusterRole, its binding, and the account where that is a service account.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::ident::GroupName;

/// The rights that the proxy needs for impersonation.
#[derive(Debug, Clone)]
pub struct ProxyAccess {
    role: RoleName,
    account: Account,
    groups: Vec<GroupName>,
}

/// Who the proxy is at the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// A service account, whose token is in `upstream.token_file`.
    Service(ServiceAccount),
    /// A user, whose certificate is in `upstream.certificate`.
    User(UserName),
}

/// `NAMESPACE/NAME` of a service account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    namespace: String,
    name: String,
}

/// The name of a user as the API server's authenticators give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserName(String);

/// The name of a ClusterRole and of its binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleName(String);

/// A name that the API server would refuse, or that stands for something else there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("wanted {wanted}, found \"{found}\"")]
pub struct InvalidName {
    wanted: &'static str,
    found: String,
}

impl ProxyAccess {
    /// A role for `account` that may carry these groups; their order and repetitions mean nothing.
    pub fn new(role: RoleName, account: Account, groups: impl IntoIterator<Item = GroupName>) -> Self {
        let mut groups: Vec<GroupName> = groups.into_iter().collect();
        groups.sort_unstable();
        groups.dedup();
        Self { role, account, groups }
    }

    /// The groups that may be carried, sorted.
    pub fn groups(&self) -> &[GroupName] {
        &self.groups
    }

    /// The objects, in the order to create them.
    pub fn objects(&self) -> Vec<Value> {
        let role = json!({
            "apiVersion": RBAC,
            "kind": "ClusterRole",
            "metadata": {"name": self.role.0},
            "rules": self.rules(),
        });
        let binding = json!({
            "apiVersion": RBAC,
            "kind": "ClusterRoleBinding",
            "metadata": {"name": self.role.0},
            "roleRef": {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": self.role.0},
            "subjects": [self.account.subject()],
        });
        self.account.object().into_iter().chain([role, binding]).collect()
    }

    fn rules(&self) -> Vec<Value> {
        // Service accounts are a resource of their own to this verb, and are not given.
        let users = json!({"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]});
        let credential = json!({"apiGroups": [AUTHENTICATION], "resources": [CREDENTIAL], "verbs": ["impersonate"]});
        let mut rules = vec![users, credential];
        // An empty list of names would mean every group, system:masters among them.
        if !self.groups.is_empty() {
            rules.push(json!({
                "apiGroups": [""],
                "resources": ["groups"],
                "resourceNames": self.groups,
                "verbs": ["impersonate"],
            }));
        }
        rules
    }
}

impl Account {
    /// The object to create for it; a user needs none.
    fn object(&self) -> Option<Value> {
        match self {
            Self::Service(ServiceAccount { namespace, name }) => Some(json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": name, "namespace": namespace},
            })),
            Self::User(_) => None,
        }
    }

    fn subject(&self) -> Value {
        match self {
            Self::Service(ServiceAccount { namespace, name }) => {
                json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
            }
            Self::User(UserName(name)) => json!({"apiGroup": RBAC_GROUP, "kind": "User", "name": name}),
        }
    }
}

impl ServiceAccount {
    /// Its namespace, which must exist.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its name there.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for ServiceAccount {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wanted = "NAMESPACE/NAME of a service account, in lower-case letters, digits and -";
        let refused = || InvalidName { wanted, found: text.to_owned() };
        let (namespace, name) = text.split_once('/').ok_or_else(refused)?;
        // RFC 1123 §2.1: a label for the namespace, labels with dots between them for the account.
        let fits = is_label(namespace) && name.len() <= 253 && name.split('.').all(is_label);
        if fits { Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() }) } else { Err(refused()) }
    }
}

impl FromStr for UserName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wanted = "the name of a user; for a service account there is --service-account";
        let fits = !text.trim().is_empty()
            && !text.chars().any(char::is_control)
            && !text.starts_with("system:serviceaccount:");
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidName { wanted, found: text.to_owned() }) }
    }
}

impl FromStr for RoleName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wanted = "a name for a ClusterRole, without / and %, and none of Kubernetes' own (system:…)";
        // The API server takes any segment of a path that stands for itself.
        let fits = !text.is_empty()
            && text.len() <= 253
            && !matches!(text, "." | "..")
            && !text.contains(['/', '%'])
            && !text.chars().any(|c| c.is_control() || c.is_whitespace())
            && !text.starts_with("system:");
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidName { wanted, found: text.to_owned() }) }
    }
}

fn is_label(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(allowed) && !text.starts_with('-') && !text.ends_with('-')
}

const RBAC: &str = "rbac.authorization.k8s.io/v1";
const RBAC_GROUP: &str = "rbac.authorization.k8s.io";
const AUTHENTICATION: &str = "authentication.k8s.io";
/// The key that the API server itself uses for a certificate's fingerprint, as a resource of [`AUTHENTICATION`].
const CREDENTIAL: &str = "userextras/authentication.kubernetes.io/credential-id";

#[cfg(test)]
mod tests {
    use super::*;

    fn access(groups: &[&str]) -> ProxyAccess {
        let account = Account::Service("portcullis/proxy".parse().unwrap());
        ProxyAccess::new("proxy".parse().unwrap(), account, groups.iter().map(|group| group.parse().unwrap()))
    }

    /// Every resource that a role gives, with the names it is given for; nothing but `impersonate` is given.
    fn given(access: &ProxyAccess) -> Vec<(String, Value)> {
        let objects = access.objects();
        let role = objects.iter().find(|object| object["kind"] == "ClusterRole").unwrap();
        let rules = role["rules"].as_array().unwrap().iter();
        rules
            .map(|rule| {
                assert_eq!(rule["verbs"], json!(["impersonate"]), "{rule}");
                assert!(rule["nonResourceURLs"].is_null(), "{rule}");
                assert_eq!(rule["resources"].as_array().unwrap().len(), 1, "{rule}");
                (rule["resources"][0].as_str().unwrap().to_owned(), rule["resourceNames"].clone())
            })
            .collect()
    }

    #[test]
    fn an_account_may_say_for_whom_a_request_is_and_nothing_else() {
        let given = given(&access(&["ops", "dev", "ops"]));
        let wanted = [
            ("users", Value::Null),
            ("userextras/authentication.kubernetes.io/credential-id", Value::Null),
            ("groups", json!(["dev", "ops"])),
        ];
        assert_eq!(given, wanted.map(|(resource, names)| (resource.to_owned(), names)));
    }

    #[test]
    fn without_groups_there_is_no_rule_about_groups() {
        assert!(given(&access(&[])).iter().all(|(resource, _)| resource != "groups"));
    }

    #[test]
    fn a_service_account_is_made_and_a_user_is_only_bound() {
        let kinds = |account: Account| {
            let objects = ProxyAccess::new("p".parse().unwrap(), account, []).objects();
            let subject = objects.last().unwrap()["subjects"][0].clone();
            (objects.iter().map(|object| object["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), subject)
        };
        let (found, subject) = kinds(Account::Service("a/b".parse().unwrap()));
        assert_eq!(found, ["ServiceAccount", "ClusterRole", "ClusterRoleBinding"]);
        assert_eq!(subject, json!({"kind": "ServiceAccount", "name": "b", "namespace": "a"}));
        let (found, subject) = kinds(Account::User("portcullis-proxy".parse().unwrap()));
        assert_eq!(found, ["ClusterRole", "ClusterRoleBinding"]);
        assert_eq!(subject, json!({"apiGroup": RBAC_GROUP, "kind": "User", "name": "portcullis-proxy"}));
    }

    #[test]
    fn names_that_the_api_server_refuses_or_reads_otherwise_are_refused() {
        for bad in ["", "a", "/a", "a/", "A/b", "a/b/c", "-a/b", "a/b..c", "a_b/c", &format!("{}/b", "a".repeat(64))] {
            assert!(bad.parse::<ServiceAccount>().is_err(), "{bad}");
        }
        assert_eq!("a-1/b.c".parse::<ServiceAccount>().unwrap().to_string(), "a-1/b.c");
        for bad in ["", " ", "a\nb", "system:serviceaccount:a:b"] {
            assert!(bad.parse::<UserName>().is_err(), "{bad:?}");
        }
        for bad in ["", ".", "..", "a/b", "a%b", "a b", "system:node"] {
            assert!(bad.parse::<RoleName>().is_err(), "{bad:?}");
        }
    }
}
