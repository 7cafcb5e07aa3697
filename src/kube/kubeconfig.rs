//! The file that kubectl reads (`v1`, kind `Config`): made for a user, or merged into what is there.
//!
//! Fields that are not ours to know are kept as they are.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::ident::{ClusterName, IdentityId};
use crate::secret::Secret;

/// A kubeconfig. Its debug output shows the names of its entries only, because users hold secrets of many kinds.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Kubeconfig {
    #[serde(rename = "apiVersion", default = "version")]
    api_version: String,
    #[serde(default = "kind")]
    kind: String,
    #[serde(default, deserialize_with = "null_as_default")]
    clusters: Vec<Named>,
    #[serde(default, deserialize_with = "null_as_default")]
    users: Vec<Named>,
    #[serde(default, deserialize_with = "null_as_default")]
    contexts: Vec<Named>,
    #[serde(rename = "current-context", default, deserialize_with = "null_as_default")]
    current_context: String,
    #[serde(flatten)]
    other: Fields,
}

/// A cluster, user or context: its name, and under the kind's own key whatever belongs to it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Named {
    name: String,
    #[serde(flatten)]
    fields: Fields,
}

type Fields = BTreeMap<String, Value>;

/// What goes into a user's kubeconfig.
#[derive(Debug)]
pub struct Access<'a> {
    /// The cluster; names the cluster entry.
    pub cluster: &'a ClusterName,
    /// The proxy's address, such as `https://localhost:7444`.
    pub server: &'a str,
    /// The CA (PEM) that the proxy's server certificate is verified with.
    pub certificate_authority: &'a str,
    /// The user; names, with the cluster, the user and the context: `ID@C`.
    pub id: &'a IdentityId,
    /// The user's certificate and its issuing CA (PEM), leaf first.
    pub certificates: &'a str,
    /// The private key (PKCS #8, PEM).
    pub key: &'a Secret<String>,
}

/// Text that is no kubeconfig.
#[derive(Debug, thiserror::Error)]
pub enum InvalidKubeconfig {
    /// Not YAML of this shape; where, but nothing of the content, which may be secret.
    #[error("wanted a kubeconfig in YAML or JSON, found something else{}", .line.map(|line| format!(" at line {line}")).unwrap_or_default())]
    Syntax {
        /// The line, counted from 1, where reading stopped.
        line: Option<u64>,
    },
    /// YAML of another kind.
    #[error("wanted a kubeconfig of kind Config, version v1; found kind {kind}, version {api_version}")]
    Kind {
        /// The kind found.
        kind: String,
        /// The version found.
        api_version: String,
    },
    /// Larger than any kubeconfig.
    #[error("wanted a kubeconfig of at most {MOST_OCTETS} octets, found {0}")]
    Size(usize),
}

impl Kubeconfig {
    /// The kubeconfig of one user on one cluster, with the context `ID@C` selected.
    pub fn of(access: &Access<'_>) -> Self {
        let name = format!("{}@{}", access.id, access.cluster);
        let data = |pem: &str| Value::String(STANDARD.encode(pem));
        let cluster = fields([
            ("server", Value::String(access.server.to_owned())),
            ("certificate-authority-data", data(access.certificate_authority)),
        ]);
        let user = fields([
            ("client-certificate-data", data(access.certificates)),
            ("client-key-data", data(access.key.expose())),
        ]);
        let context =
            fields([("cluster", Value::String(access.cluster.to_string())), ("user", Value::String(name.clone()))]);
        Self {
            api_version: version(),
            kind: kind(),
            clusters: vec![Named::new(access.cluster.as_str(), "cluster", cluster)],
            users: vec![Named::new(&name, "user", user)],
            contexts: vec![Named::new(&name, "context", context)],
            current_context: name,
            other: Fields::new(),
        }
    }

    /// Reads a kubeconfig; an empty text is an empty one, as for kubectl.
    pub fn parse(text: &str) -> Result<Self, InvalidKubeconfig> {
        if text.len() > MOST_OCTETS {
            return Err(InvalidKubeconfig::Size(text.len()));
        }
        let text = if text.trim().is_empty() { "{}" } else { text };
        // YAML 1.2: only `true` and `false` are booleans, so that a field called `n` or `on` stays what it is.
        let options = serde_saphyr::options! { strict_booleans: true };
        let read: Self = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| InvalidKubeconfig::Syntax { line: error.location().map(|at| at.line()) })?;
        if read.kind != kind() || read.api_version != version() {
            return Err(InvalidKubeconfig::Kind { kind: read.kind, api_version: read.api_version });
        }
        Ok(read)
    }

    /// The file's text, in block YAML.
    pub fn to_yaml(&self) -> Secret<String> {
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        let text = serde_saphyr::to_string_with_options(self, options);
        #[expect(clippy::expect_used, reason = "values that were read from YAML or built from text can be written")]
        Secret::new(text.expect("plain values serialise"))
    }

    /// Takes in `newer`: entries of the same name are replaced, all others kept, and its context is selected.
    pub fn merge(&mut self, newer: Self) {
        replace_or_add(&mut self.clusters, newer.clusters);
        replace_or_add(&mut self.users, newer.users);
        replace_or_add(&mut self.contexts, newer.contexts);
        if !newer.current_context.is_empty() {
            self.current_context = newer.current_context;
        }
        self.other.extend(newer.other);
    }

    /// The selected context; empty when none is.
    pub fn current_context(&self) -> &str {
        &self.current_context
    }

    /// The names of all contexts, in the file's order.
    pub fn contexts(&self) -> impl Iterator<Item = &str> {
        self.contexts.iter().map(|context| context.name.as_str())
    }

    /// The PEM text of a user's embedded client certificate and the chain behind it, if it has any.
    pub fn certificates_of(&self, user: &str) -> Option<String> {
        let user = self.users.iter().find(|entry| entry.name == user)?;
        let data = user.fields.get("user")?.get("client-certificate-data")?.as_str()?;
        String::from_utf8(STANDARD.decode(data).ok()?).ok()
    }

    /// The user that the selected context names.
    pub fn current_user(&self) -> Option<&str> {
        let context = self.contexts.iter().find(|context| context.name == self.current_context)?;
        context.fields.get("context")?.get("user")?.as_str()
    }
}

impl fmt::Debug for Kubeconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contexts: Vec<_> = self.contexts().collect();
        f.debug_struct("Kubeconfig").field("contexts", &contexts).finish_non_exhaustive()
    }
}

impl Named {
    fn new(name: &str, kind: &str, value: Value) -> Self {
        Self { name: name.to_owned(), fields: Fields::from([(kind.to_owned(), value)]) }
    }
}

fn fields<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn replace_or_add(entries: &mut Vec<Named>, newer: Vec<Named>) {
    for entry in newer {
        match entries.iter_mut().find(|known| known.name == entry.name) {
            Some(known) => *known = entry,
            None => entries.push(entry),
        }
    }
}

fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn version() -> String {
    "v1".to_owned()
}

fn kind() -> String {
    "Config".to_owned()
}

/// A kubeconfig of a thousand clusters is some 5 MB.
const MOST_OCTETS: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests;
