//! A kubeconfig as text and as value, edited in both, so that each checks the other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::lines;
use super::node::Node;
use crate::cli::exit::Failure;
use crate::cli::output;
use crate::secret::Secret;

/// A kubeconfig that is being changed.
pub struct Document {
    text: Option<Zeroizing<String>>,
    value: Node,
}

/// A user's credential in a kubeconfig.
pub(in crate::cli) struct Credential {
    /// The user entry's name.
    pub(in crate::cli) user: String,
    /// The certificate and what is behind it, in PEM.
    pub(in crate::cli) certificate: String,
    /// Its key in PEM, if it is in the file.
    pub(in crate::cli) key: Option<Secret<String>>,
    /// The CA of the cluster in PEM, if it is in the file.
    pub(in crate::cli) ca: Option<String>,
}

/// What was done to a kubeconfig besides adding to it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// The context that is ours.
    pub context: String,
    /// The cluster entry's name, where it is not the cluster's own because that is somebody else's.
    pub renamed_cluster: Option<String>,
    /// Whether comments were lost, as the file is in a form that can only be written anew.
    pub rewritten: bool,
}

impl Document {
    /// Reads a kubeconfig; errors do not repeat its content.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "wanted a kubeconfig, found something that is not text")?;
        let value: Node = serde_saphyr::from_str(text).map_err(|error| {
            let line = error.location().map(|at| format!(" at line {}", at.line())).unwrap_or_default();
            format!("wanted a kubeconfig in YAML, found something else{line}")
        })?;
        let kind = value.get("kind").and_then(Node::text).unwrap_or("Config");
        if !matches!(value, Node::Map(_)) || kind != "Config" {
            return Err("wanted a kubeconfig (kind: Config), found other YAML".to_owned());
        }
        for section in ["clusters", "contexts", "users"] {
            if !matches!(value.get(section), None | Some(Node::Null | Node::List(_))) {
                return Err(format!("wanted a kubeconfig with a list of {section}, found something else under it"));
            }
        }
        Ok(Self { text: Some(Zeroizing::new(text.to_owned())), value })
    }

    /// The text: as it was but for what was changed.
    pub fn text(&self) -> Result<Zeroizing<String>, String> {
        if let Some(text) = self.text.as_ref().filter(|_| self.is_faithful()) {
            return Ok(text.clone());
        }
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        let text = serde_saphyr::to_string_with_options(&self.value, options).map(Zeroizing::new);
        let text = text.map_err(|error| format!("the kubeconfig cannot be written: {error}"))?;
        // What cannot be read back as what was meant must not replace anything.
        match serde_saphyr::from_str::<Node>(&text) {
            Ok(back) if back == self.value => Ok(text),
            _ => Err("the kubeconfig holds something that cannot be written back; nothing was changed".to_owned()),
        }
    }

    /// The value as JSON, which kubectl reads too.
    pub(in crate::cli) fn json(&self) -> Result<String, Failure> {
        output::json(&self.value)
    }

    /// Takes in another kubeconfig's only cluster, user and context; `current-context` and everything else stays.
    pub fn merge(&mut self, newer: &Self) -> Result<Merged, String> {
        let only = |section: &str| match newer.entries(section) {
            [entry] => Ok(entry.clone()),
            _ => Err(format!("wanted one entry under {section} in the new kubeconfig")),
        };
        let (mut cluster, user, mut context) = (only("clusters")?, only("users")?, only("contexts")?);
        let name = context.name().unwrap_or_default().to_owned();
        let mut merged = Merged { context: name.clone(), ..Merged::default() };
        if !self.may_replace_cluster(&cluster, &name) {
            // The cluster's name is taken by an entry of somebody else's: theirs stays, ours gets the context's name.
            cluster.set("name", Node::Text(name.clone()));
            if let Some(mut inner) = context.get("context").cloned() {
                inner.set("cluster", Node::Text(name.clone()));
                context.set("context", inner);
            }
            merged.renamed_cluster = Some(name);
        }
        self.put("clusters", cluster);
        self.put("users", user);
        self.put("contexts", context);
        merged.rewritten = !self.is_faithful();
        Ok(merged)
    }

    /// The credential in it: that of the context `chosen`, otherwise the only user's or the current context's.
    pub(in crate::cli) fn credential(&self, chosen: Option<&str>) -> Result<Credential, String> {
        let current = chosen.or_else(|| self.value.get("current-context").and_then(Node::text));
        let context = match self.entries("contexts") {
            [only] if chosen.is_none() => Some(only),
            several => several.iter().find(|entry| entry.name().is_some() && entry.name() == current),
        };
        if let Some(chosen) = chosen.filter(|_| context.is_none()) {
            return Err(format!("wanted the context {chosen} in the kubeconfig, found none of that name"));
        }
        let context = context.and_then(|entry| entry.get("context"));
        let named = |kind: &str| context.and_then(|context| context.get(kind)).and_then(Node::text);
        let user = match self.entries("users") {
            [only] if chosen.is_none() => only,
            [] => return Err("wanted a user in the kubeconfig, found none".to_owned()),
            several => several
                .iter()
                .find(|entry| entry.name().is_some() && entry.name() == named("user"))
                .ok_or("wanted one user in the kubeconfig, or a current-context that names one, found several users; choose with --context NAME")?,
        };
        let name = user.name().unwrap_or_default().to_owned();
        let cluster = self.entries("clusters").iter().find(|entry| entry.name() == named("cluster"));
        let ca =
            cluster.and_then(|entry| entry.get("cluster")).and_then(|inner| data(inner, "certificate-authority-data"));
        let inner = user.get("user");
        let certificate = inner.and_then(|inner| data(inner, "client-certificate-data")).ok_or_else(|| match inner
            .and_then(|inner| inner.get("client-certificate"))
            .and_then(Node::text)
        {
            Some(file) => format!("the user {name} has its certificate in another file: name that one, {file}"),
            None => format!("wanted client-certificate-data of the user {name}, found none"),
        })?;
        let key = inner.and_then(|inner| data(inner, "client-key-data")).map(Secret::new);
        Ok(Credential { user: name, certificate, key, ca })
    }

    /// Gives a user another certificate and key.
    pub(in crate::cli) fn set_credential(&mut self, user: &str, certificate: &str, key: &Secret<String>) {
        let Some(mut entry) = self.entries("users").iter().find(|entry| entry.name() == Some(user)).cloned() else {
            return;
        };
        let mut inner = entry.get("user").cloned().unwrap_or(Node::Map(Vec::new()));
        inner.set("client-certificate-data", Node::Text(STANDARD.encode(certificate)));
        inner.set("client-key-data", Node::Text(STANDARD.encode(key.expose())));
        entry.set("user", inner);
        self.put("users", entry);
    }

    /// The same context points to it already, or it is the same proxy.
    fn may_replace_cluster(&self, newer: &Node, context: &str) -> bool {
        let Some(there) = self.entries("clusters").iter().find(|entry| entry.name() == newer.name()) else {
            return true;
        };
        let server = |entry: &Node| entry.get("cluster").and_then(|inner| inner.get("server")).cloned();
        let ours = self.entries("contexts").iter().find(|entry| entry.name() == Some(context));
        let pointed_to = ours.and_then(|entry| entry.get("context")).and_then(|inner| inner.get("cluster"));
        server(there) == server(newer) || pointed_to.and_then(Node::text) == newer.name()
    }

    fn entries(&self, section: &str) -> &[Node] {
        self.value.get(section).map(Node::items).unwrap_or_default()
    }

    fn put(&mut self, section: &str, entry: Node) {
        let mut entries = self.entries(section).to_vec();
        let place = entries.iter().position(|there| there.name() == entry.name());
        let edited = self.text.as_deref().and_then(|text| lines::put(text, section, place, &entry));
        self.text = edited.map(Zeroizing::new);
        match place.and_then(|place| entries.get_mut(place)) {
            Some(there) => *there = entry,
            None => entries.push(entry),
        }
        self.value.set(section, Node::List(entries));
    }

    fn is_faithful(&self) -> bool {
        let read = self.text.as_deref().map(|text| serde_saphyr::from_str::<Node>(text));
        matches!(read, Some(Ok(read)) if read == self.value)
    }
}

/// Base64 over PEM, as kubeconfigs embed files.
fn data(entry: &Node, key: &str) -> Option<String> {
    let text: String = entry.get(key)?.text()?.split_whitespace().collect();
    String::from_utf8(STANDARD.decode(text).ok()?).ok()
}
