//! A request's head, as it goes through the proxy to the API server.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Version};
use portcullis::ident::Fingerprint;
use portcullis::kube::identity::{Identity, Mode, Treatment, folded, treatment};
use portcullis::proxy::headers::{Protocol, check_form, prepare};

/// The first line is `METHOD target`, each further one `name: value`; the first octet chooses how the API server is told
/// who the user is, the version, and what else than HTTP is asked for.
///
/// Whatever a client sends, the head that goes on names our user, in our words, once; carries no credential and nothing
/// that concerns one connection alone; and what a client says of impersonation is passed on whole or refused.
pub(crate) fn target(octets: &[u8]) {
    let Some((choice, text)) = octets.split_first() else { return };
    let Some(request) = request(text, if choice & 1 == 0 { Version::HTTP_11 } else { Version::HTTP_2 }) else { return };
    if check_form(&request).is_err() {
        return;
    }
    let mode = if choice & 2 == 0 { Mode::Impersonation } else { Mode::RequestHeader };
    let protocol = [None, Some(Protocol::WebSocket), Some(Protocol::Spdy), None][usize::from(choice >> 2 & 3)];
    let groups = ["dev".to_owned(), "größe".to_owned()];
    let identity = Identity::new("ana", groups, Fingerprint::from_octets([0xab; 32])).expect("an identity");
    let mut head = request.headers().clone();
    if prepare(&mut head, protocol, mode, &identity, [127, 0, 0, 1].into()).is_err() {
        return;
    }
    let ours = identity.headers(mode);
    let says_who = |name: &str| name.starts_with("impersonate-") || name.starts_with("x-remote-");
    let passed = |name: &str| mode == Mode::RequestHeader && name.starts_with("impersonate-");
    let mut said: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, value) in &head {
        let name = folded(name.as_str());
        assert!(!FORBIDDEN.contains(&name.as_str()), "{name}");
        if says_who(&name) && !passed(&name) {
            said.push((name, value.as_bytes().to_vec()));
        } else if !INSERTED.contains(&name.as_str()) {
            assert_eq!(treatment(&name, mode), Treatment::Pass, "{name}");
        }
    }
    let mut wanted: Vec<_> = ours.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect();
    said.sort();
    wanted.sort();
    assert_eq!(said, wanted);
    assert_eq!(head.get_all("x-forwarded-for").iter().collect::<Vec<_>>(), ["127.0.0.1"]);
    assert_eq!(impersonation(&head, &passed), impersonation(request.headers(), &passed));
}

fn request(text: &[u8], version: Version) -> Option<Request<()>> {
    let mut lines = text.split(|octet| *octet == b'\n').take(64);
    let mut first = lines.next()?.split(|octet| *octet == b' ');
    let (method, target) = (first.next()?, first.next()?);
    let mut request = Request::builder().method(method).uri(target).version(version).body(()).ok()?;
    for line in lines {
        let Some(colon) = line.iter().skip(1).position(|octet| *octet == b':') else { continue };
        let (name, value) = line.split_at(colon + 1);
        let name = HeaderName::from_bytes(name.trim_ascii()).ok()?;
        let value = HeaderValue::from_bytes(value.get(1..)?.trim_ascii()).ok()?;
        request.headers_mut().append(name, value);
    }
    Some(request)
}

fn impersonation(head: &HeaderMap, passed: &impl Fn(&str) -> bool) -> Vec<(String, Vec<u8>)> {
    let of = head.iter().filter(|(name, _)| passed(&folded(name.as_str())));
    let mut found: Vec<_> = of.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    found.sort();
    found
}

/// A client's credentials, and what concerns one connection alone (RFC 9110 §7.6.1).
const FORBIDDEN: [&str; 11] = [
    "authorization",
    "proxy-authorization",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
];

/// What the proxy says itself.
const INSERTED: [&str; 2] = ["x-forwarded-for", "x-forwarded-proto"];
