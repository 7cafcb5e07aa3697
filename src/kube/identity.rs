//! Headers that say on whose behalf a request is made.
//!
//! The proxy alone may say so. What a client sends under such a name is refused or removed, never passed on unseen: a
//! header that is merely dropped makes the request run as the proxy itself.

use crate::ident::Fingerprint;

/// How the proxy tells the API server who the user is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// `Impersonate-*`, checked by the API server against what the proxy's account may impersonate.
    #[default]
    Impersonation,
    /// `X-Remote-*`, believed by an API server that trusts the proxy's certificate as a front proxy.
    RequestHeader,
}

/// Who a request is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    user: String,
    groups: Vec<String>,
    credential: Fingerprint,
}

/// A name that a header cannot carry unchanged, so that the API server might read another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("wanted {what} that a header carries unchanged: not empty, no control characters, no space at either end")]
pub struct Unsendable {
    what: &'static str,
}

impl Identity {
    /// The user, the groups in the certificate's order, and the certificate.
    pub fn new(
        user: impl Into<String>,
        groups: impl IntoIterator<Item = String>,
        credential: Fingerprint,
    ) -> Result<Self, Unsendable> {
        let (user, groups): (String, Vec<String>) = (user.into(), groups.into_iter().collect());
        if !is_sendable(&user) {
            return Err(Unsendable { what: "a user name" });
        }
        if !groups.iter().all(|group| is_sendable(group)) {
            return Err(Unsendable { what: "group names" });
        }
        Ok(Self { user, groups, credential })
    }

    /// The user's name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The groups, without those that Kubernetes adds by itself.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Names (lower case) and values, one header for each group; to be inserted after everything else is done.
    pub fn headers(&self, mode: Mode) -> Vec<(&'static str, String)> {
        let (user, group, credential) = match mode {
            Mode::Impersonation => ("impersonate-user", "impersonate-group", IMPERSONATE_CREDENTIAL),
            Mode::RequestHeader => ("x-remote-user", "x-remote-group", REMOTE_CREDENTIAL),
        };
        let mut headers = vec![(user, self.user.clone())];
        headers.extend(self.groups.iter().map(|name| (group, name.clone())));
        headers.push((credential, self.credential.to_string()));
        headers
    }
}

/// What becomes of a header or trailer that a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// Nothing to do with identity: passed on.
    Pass,
    /// The request is malformed: 400.
    BadRequest,
    /// The request asks for what may not be: 403.
    Forbidden,
    /// Removed, and the client is told.
    RemoveAndWarn,
    /// Removed; where it has a place, the proxy's own is inserted.
    Remove,
}

/// Judges a header by its name, in any case, with `_` read as `-` as some servers do.
pub fn treatment(name: &str, mode: Mode) -> Treatment {
    let name = folded(name);
    if name.starts_with("x-remote-") {
        return Treatment::BadRequest;
    }
    if name.starts_with("impersonate-") {
        return match mode {
            Mode::Impersonation => Treatment::Forbidden,
            // The API server checks whether the user may.
            Mode::RequestHeader => Treatment::Pass,
        };
    }
    if name == "authorization" {
        return Treatment::RemoveAndWarn;
    }
    let removed = REMOVED.contains(&name.as_str()) || name.starts_with("x-forwarded-");
    if removed { Treatment::Remove } else { Treatment::Pass }
}

/// A header's name as it is compared: lower case, `_` as `-`.
pub fn folded(name: &str) -> String {
    name.chars().map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn is_sendable(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && !name.chars().any(char::is_control)
}

/// The key `authentication.kubernetes.io/credential-id`, escaped for a header's name.
const IMPERSONATE_CREDENTIAL: &str = "impersonate-extra-authentication.kubernetes.io%2fcredential-id";
const REMOTE_CREDENTIAL: &str = "x-remote-extra-authentication.kubernetes.io%2fcredential-id";
const REMOVED: [&str; 5] = ["forwarded", "x-real-ip", "audit-id", "proxy-authorization", "x-client-cert"];

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(user: &str, groups: &[&str]) -> Result<Identity, Unsendable> {
        Identity::new(user, groups.iter().map(|group| (*group).to_owned()), Fingerprint::from_octets([0xab; 32]))
    }

    #[test]
    fn the_user_each_group_and_the_credential_have_a_header() {
        let headers = identity("alice", &["dev", "ops/eu"]).unwrap().headers(Mode::Impersonation);
        let id = format!("X509SHA256={}", "ab".repeat(32));
        let wanted = [
            ("impersonate-user", "alice"),
            ("impersonate-group", "dev"),
            ("impersonate-group", "ops/eu"),
            ("impersonate-extra-authentication.kubernetes.io%2fcredential-id", id.as_str()),
        ];
        assert_eq!(headers.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn a_name_that_a_header_would_change_is_not_sent() {
        for bad in ["", " alice", "alice ", "a\r\nX-Remote-User: root", "a\0"] {
            assert!(identity(bad, &[]).is_err(), "{bad:?}");
            assert!(identity("alice", &[bad]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_clients_word_on_who_it_is_is_never_passed_on() {
        for (name, wanted) in [
            ("X-Remote-User", Treatment::BadRequest),
            ("x_remote_group", Treatment::BadRequest),
            ("X-REMOTE-EXTRA-a%2Fb", Treatment::BadRequest),
            ("Impersonate-User", Treatment::Forbidden),
            ("IMPERSONATE_UID", Treatment::Forbidden),
            ("Authorization", Treatment::RemoveAndWarn),
            ("Proxy-Authorization", Treatment::Remove),
            ("X-Forwarded-For", Treatment::Remove),
            ("x_forwarded_host", Treatment::Remove),
            ("Forwarded", Treatment::Remove),
            ("X-Real-IP", Treatment::Remove),
            ("Audit-ID", Treatment::Remove),
            ("Accept", Treatment::Pass),
        ] {
            assert_eq!(treatment(name, Mode::Impersonation), wanted, "{name}");
        }
        assert_eq!(treatment("Impersonate-User", Mode::RequestHeader), Treatment::Pass);
        assert_eq!(treatment("X-Remote-User", Mode::RequestHeader), Treatment::BadRequest);
    }
}
