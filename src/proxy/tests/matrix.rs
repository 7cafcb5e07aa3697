//! Every header that says who somebody is or where a request came from, in every spelling, over every road, in both
//! modes: it is refused as designed, or the API server gets our own words exactly once and the client's nowhere.

use http::HeaderMap;

use super::client2::{Came, Raw};
use super::world::World;
use crate::kube::identity::Mode;
use crate::net::fixtures::Leaf;

/// What must never arrive.
const PLANTED: &str = "planted-by-the-client";

/// What becomes of a header by design.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// For the proxy alone: 400.
    Remote,
    /// 403, or passed on where the API server believes the proxy's `X-Remote-*`.
    Impersonation,
    /// Removed, and the client is told.
    Authorization,
    /// Removed.
    Road,
}

const NAMES: [(&str, Kind); 20] = [
    ("X-Remote-User", Kind::Remote),
    ("X-Remote-Group", Kind::Remote),
    ("X-Remote-Uid", Kind::Remote),
    ("X-Remote-Extra-Scopes", Kind::Remote),
    ("X-Remote-Extra-Authentication.Kubernetes.Io%2FCredential-Id", Kind::Remote),
    ("X-Remote-Us%65r", Kind::Remote),
    ("Impersonate-User", Kind::Impersonation),
    ("Impersonate-Group", Kind::Impersonation),
    ("Impersonate-Uid", Kind::Impersonation),
    ("Impersonate-Extra-Scopes", Kind::Impersonation),
    ("Impersonate-Extra-Authentication.Kubernetes.Io%2fCredential-Id", Kind::Impersonation),
    ("Authorization", Kind::Authorization),
    ("Proxy-Authorization", Kind::Road),
    ("X-Forwarded-For", Kind::Road),
    ("X-Forwarded-Proto", Kind::Road),
    ("X-Forwarded-Us%65r", Kind::Road),
    ("Forwarded", Kind::Road),
    ("X-Real-IP", Kind::Road),
    ("X-Client-Cert", Kind::Road),
    ("Audit-ID", Kind::Road),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Lower,
    Upper,
    Mixed,
    Underscore,
    Twice,
    /// Named in `Connection` as well.
    Nominated,
    Trailer,
    SpaceBeforeColon,
    Folded,
    Nul,
    Umlaut,
}

const FORMS: [Form; 11] = [
    Form::Lower,
    Form::Upper,
    Form::Mixed,
    Form::Underscore,
    Form::Twice,
    Form::Nominated,
    Form::Trailer,
    Form::SpaceBeforeColon,
    Form::Folded,
    Form::Nul,
    Form::Umlaut,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Road {
    Http1,
    Http2,
    Spdy,
    WebSocket,
}

const ROADS: [Road; 4] = [Road::Http1, Road::Http2, Road::Spdy, Road::WebSocket];

/// What must come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// This answer, and the API server saw nothing, or nothing that looked whole.
    Refused(u16),
    /// Not HTTP/2 at all: no answer.
    Unspeakable,
    /// On its way, without the client's words.
    Cleaned,
    /// On its way, with them: the API server says whether the user may.
    Passed,
}

fn wanted(kind: Kind, form: Form, road: Road, mode: Mode) -> Wanted {
    match (form, road) {
        (Form::Upper | Form::Mixed | Form::Nominated, Road::Http2) => return Wanted::Unspeakable,
        (Form::SpaceBeforeColon | Form::Folded | Form::Nul | Form::Umlaut, Road::Http2) => return Wanted::Unspeakable,
        (Form::SpaceBeforeColon | Form::Folded | Form::Nul | Form::Umlaut, _) => return Wanted::Refused(400),
        _ => {}
    }
    match (kind, form, mode) {
        // Whatever it would be as a header, in a trailer it breaks the request.
        (Kind::Remote | Kind::Impersonation, Form::Trailer, _) | (Kind::Remote, _, _) => Wanted::Refused(400),
        (Kind::Impersonation, _, Mode::Impersonation) => Wanted::Refused(403),
        (Kind::Impersonation, Form::Nominated, Mode::RequestHeader) => Wanted::Refused(400),
        (Kind::Impersonation, _, Mode::RequestHeader) => Wanted::Passed,
        (Kind::Authorization | Kind::Road, _, _) => Wanted::Cleaned,
    }
}

#[tokio::test]
async fn by_impersonation_before_an_api_server_on_http1() {
    every_header(Mode::Impersonation, false).await;
}

#[tokio::test]
async fn by_impersonation_before_an_api_server_on_http2() {
    every_header(Mode::Impersonation, true).await;
}

#[tokio::test]
async fn by_request_header_before_an_api_server_on_http1() {
    every_header(Mode::RequestHeader, false).await;
}

#[tokio::test]
async fn by_request_header_before_an_api_server_on_http2() {
    every_header(Mode::RequestHeader, true).await;
}

async fn every_header(mode: Mode, is_http2: bool) {
    let world = World::with(is_http2, |settings| settings.identity = mode).await;
    let alice = world.issue("alice");
    let mut tried = 0;
    for (name, kind) in NAMES {
        for form in FORMS {
            for road in ROADS {
                if form == Form::Trailer && matches!(road, Road::Spdy | Road::WebSocket) {
                    // A wish for another protocol has no body, and so no trailers.
                    continue;
                }
                let shown = format!("{name}, {form:?}, {road:?}, {mode:?}");
                tried += 1;
                let case = Case { name, form, road, number: tried };
                one(&world, &alice, &case, (wanted(kind, form, road, mode), kind, mode), &shown).await;
            }
        }
    }
    assert_eq!(tried, 20 * (11 * 4 - 2));
}

struct Case {
    name: &'static str,
    form: Form,
    road: Road,
    /// In a header of its own, because a request that is refused late may arrive after its answer.
    number: usize,
}

async fn one(world: &World, alice: &Leaf, case: &Case, (wanted, kind, mode): (Wanted, Kind, Mode), shown: &str) {
    let Case { form, road, number, .. } = *case;
    world.seen.uploads.send_replace(Vec::new());
    let (status, head) = match road {
        Road::Http2 => (over_http2(world, alice, case).await, String::new()),
        Road::Http1 | Road::Spdy | Road::WebSocket => over_http1(world, alice, case).await,
    };
    let is_this = |(what, headers): &&(String, HeaderMap)| {
        what == "trailers" || headers.get("x-case").is_some_and(|case| case == number.to_string().as_str())
    };
    let asked: Vec<_> = world.seen.requests.lock().unwrap().iter().filter(is_this).cloned().collect();
    let arrived = asked.iter().any(|(_, headers)| format!("{headers:?}").contains(PLANTED));
    let is_passed = if matches!(road, Road::Http1 | Road::Http2) { 200 } else { 101 };
    match wanted {
        Wanted::Refused(code) => assert_eq!(status, Some(code), "{shown}"),
        Wanted::Unspeakable => assert_eq!(status, None, "{shown}"),
        Wanted::Cleaned | Wanted::Passed => {
            assert_eq!(status, Some(is_passed), "{shown}");
            assert_eq!(asked.len(), 1, "{shown}");
            must_have_our_set(&asked[0].1, alice, mode, shown);
        }
    }
    assert_eq!(arrived, wanted == Wanted::Passed, "{shown}: {asked:?}");
    if !matches!(wanted, Wanted::Cleaned | Wanted::Passed) {
        // Where a trailer is refused, the head may have gone out before it; the request was never whole.
        assert!(asked.is_empty() || form == Form::Trailer, "{shown}: {asked:?}");
        assert!(!world.seen.uploads.borrow().contains(&true), "{shown}");
    }
    let is_told = head.to_lowercase().contains("\r\nwarning: 299");
    let is_to_be_told = kind == Kind::Authorization && wanted == Wanted::Cleaned && form != Form::Trailer;
    assert!(road == Road::Http2 || is_told == is_to_be_told, "{shown}: {head}");
}

/// Who the user is, what opens the API server, where it came from: each exactly as the proxy says it.
fn must_have_our_set(headers: &HeaderMap, alice: &Leaf, mode: Mode, shown: &str) {
    let id = crate::ident::Fingerprint::of(&alice.chain[0]).to_string();
    let (ours, credential) = match mode {
        Mode::Impersonation => ("impersonate", "impersonate-extra-authentication.kubernetes.io%2fcredential-id"),
        Mode::RequestHeader => ("x-remote", "x-remote-extra-authentication.kubernetes.io%2fcredential-id"),
    };
    let set = [
        (format!("{ours}-user"), "alice"),
        (format!("{ours}-group"), "dev"),
        (credential.to_owned(), &*id),
        ("authorization".to_owned(), "Bearer proxy-token"),
        ("x-forwarded-for".to_owned(), "127.0.0.1"),
        ("x-forwarded-proto".to_owned(), "https"),
    ];
    for (name, value) in &set {
        assert_eq!(headers.get_all(name).iter().collect::<Vec<_>>(), [value], "{shown}: {name}");
    }
    let claims = |name: &&str| name.starts_with("x-remote") || name.starts_with("x_remote") || name.contains("forward");
    for name in headers.keys().map(http::HeaderName::as_str).filter(claims) {
        assert!(set.iter().any(|(one, _)| one == name), "{shown}: {name}");
    }
}

/// The name as it is spelt, and the value.
fn spelt(name: &str, form: Form) -> (String, String) {
    let value = PLANTED.to_owned();
    match form {
        Form::Lower | Form::Nominated | Form::Trailer => (name.to_lowercase(), value),
        Form::Upper => (name.to_uppercase(), value),
        Form::Mixed => {
            let odd =
                |(at, c): (usize, char)| if at % 2 == 1 { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
            (name.chars().enumerate().map(odd).collect(), value)
        }
        Form::Underscore => (name.to_lowercase().replace('-', "_"), value),
        Form::Twice => (name.to_lowercase(), value),
        Form::SpaceBeforeColon => (format!("{} ", name.to_lowercase()), value),
        Form::Folded => (name.to_lowercase(), format!("a\r\n {value}")),
        Form::Nul => (name.to_lowercase(), format!("{value}\0")),
        Form::Umlaut => (format!("{}ü", name.to_lowercase()), value),
    }
}

async fn over_http1(world: &World, alice: &Leaf, case: &Case) -> (Option<u16>, String) {
    let Case { form, road, number, .. } = *case;
    let (name, value) = spelt(case.name, form);
    let mut lines = format!("{name}: {value}\r\n");
    let mut tokens = String::new();
    match form {
        Form::Twice => lines = lines.repeat(2),
        Form::Nominated => tokens = format!(", {name}"),
        _ => {}
    }
    let host = format!("Host: localhost\r\nX-Case: {number}");
    let request = match (road, form) {
        (_, Form::Trailer) => format!(
            "POST /upload HTTP/1.1\r\n{host}\r\nTransfer-Encoding: chunked\r\nTrailer: {name}\r\n\r\n\
            4\r\nhalf\r\n0\r\n{lines}\r\n"
        ),
        (Road::Spdy, _) => {
            format!("POST /exec HTTP/1.1\r\n{host}\r\nConnection: Upgrade{tokens}\r\nUpgrade: SPDY/3.1\r\n{lines}\r\n")
        }
        (Road::WebSocket, _) => format!(
            "GET /exec HTTP/1.1\r\n{host}\r\nConnection: Upgrade{tokens}\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
        ),
        (Road::Http1 | Road::Http2, _) => {
            format!("GET /api HTTP/1.1\r\n{host}\r\nConnection: keep-alive{tokens}\r\n{lines}\r\n")
        }
    };
    let mut client = world.connect(Some(alice)).await;
    client.send(&request).await;
    let head = client.read_until("\r\n\r\n").await;
    (head.split(' ').nth(1).and_then(|code| code.parse().ok()), head)
}

async fn over_http2(world: &World, alice: &Leaf, case: &Case) -> Option<u16> {
    let (name, value) = spelt(case.name, case.form);
    let number = case.number.to_string();
    let number: (&[u8], &[u8]) = (b"x-case", number.as_bytes());
    let line = (name.as_bytes(), value.as_bytes());
    let mut raw = Raw::connect(world, alice).await;
    match case.form {
        Form::Twice => raw.request(&[number, line, line], &[]).await,
        Form::Nominated => raw.request(&[number, (b"connection", name.as_bytes()), line], &[]).await,
        Form::Trailer => raw.request(&[number, (b"trailer", name.as_bytes())], &[line]).await,
        _ => raw.request(&[number, line], &[]).await,
    }
    match raw.came().await {
        Came::Answer(status, _) => Some(status),
        Came::Reset | Came::End => None,
    }
}
