//! The proxy between a client and an API server, all of them in this process.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::client::TlsStream;

use super::answers::{Endless, Watched, echo, switch};
use crate::ident::Fingerprint;
use crate::kube::identity::Mode;
use crate::net::fixtures::{HandClock, Leaf, NOW, TestCa};
use crate::net::listen::{self, BoxFuture, Handler, Peer, Stream};
use crate::net::stop::{self, Stop, Stopper};
use crate::net::tls::{self, ClientAnchors, Serving, Versions, client_config, server_config};
use crate::net::{self, dial, http1};
use crate::observe::Metrics;
use crate::proxy::settings::{Credential, Settings, Upstream};
use crate::proxy::{Parts, Proxy, Remote};
use crate::secret::Secret;
use crate::standing::{Cut, CutKey, Revision};
use crate::status::{Change, Credential as Recorded, Statuses};
use crate::world::Timestamp;
use crate::x509::reason::Reason;

/// Nothing here takes longer unless it hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct World {
    pub(super) proxy: Proxy,
    pub(super) statuses: Arc<Statuses>,
    pub(super) clock: Arc<HandClock>,
    pub(super) metrics: Metrics,
    pub(super) seen: Arc<Seen>,
    ca: TestCa,
    servers: TestCa,
    port: u16,
    api: u16,
    revision: Mutex<Revision>,
    _stopper: Stopper,
}

/// What the API server saw.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) requests: Mutex<Vec<(String, HeaderMap)>>,
    /// For each request the number of the connection it came on.
    pub(super) carriers: Mutex<Vec<usize>>,
    /// How much was handed over of endless answers, in octets.
    pub(super) flooded: AtomicUsize,
    /// For each upload that ended: whether it was whole.
    pub(super) uploads: watch::Sender<Vec<bool>>,
    /// Connections taken on, and open.
    taken: AtomicUsize,
    pub(super) open: watch::Sender<usize>,
}

impl World {
    pub(super) async fn new() -> Self {
        let servers = TestCa::new("server CA");
        let anchor = servers.der.clone();
        Self::behind(servers, anchor, Credential::Token(Secret::new("proxy-token".to_owned()))).await
    }

    /// One whose API server speaks HTTP/1.1, and one whose speaks HTTP/2.
    pub(super) async fn each() -> [Self; 2] {
        [Self::new().await, Self::with(true, |_| {}).await]
    }

    /// One with settings of its own, before an API server that speaks HTTP/2 or not.
    pub(super) async fn with(is_http2: bool, change: impl FnOnce(&mut Settings)) -> Self {
        let (servers, clock, seen) = (TestCa::new("server CA"), HandClock::at(NOW), Arc::default());
        let (port, stopper) = api_server(&servers, &clock, &seen, is_http2).await;
        let upstream = Upstream::new(
            &format!("https://127.0.0.1:{port}"),
            vec![servers.der.clone()],
            Credential::Token(Secret::new("proxy-token".to_owned())),
        );
        Self::start(servers, clock, seen, upstream.unwrap(), stopper, change).await
    }

    /// One before an API server of the test's own at this port, with a certificate of `servers`.
    pub(super) async fn before(servers: TestCa, port: u16) -> Self {
        let anchors = vec![servers.der.clone()];
        let credential = Credential::Token(Secret::new("proxy-token".to_owned()));
        let upstream = Upstream::new(&format!("https://127.0.0.1:{port}"), anchors, credential).unwrap();
        Self::start(servers, HandClock::at(NOW), Arc::default(), upstream, stop::channel().0, |_| {}).await
    }

    /// A proxy that verifies its API server with `anchor` and opens it with `credential`.
    pub(super) async fn behind(servers: TestCa, anchor: CertificateDer<'static>, credential: Credential) -> Self {
        let (clock, seen) = (HandClock::at(NOW), Arc::default());
        let (port, stopper) = api_server(&servers, &clock, &seen, false).await;
        let upstream = Upstream::new(&format!("https://127.0.0.1:{port}"), vec![anchor], credential);
        Self::start(servers, clock, seen, upstream.unwrap(), stopper, |_| {}).await
    }

    /// One whose answers come from elsewhere.
    pub(super) async fn remote(statuses: Arc<Statuses>, remote: Remote) -> Self {
        let (servers, clock, seen) = (TestCa::new("server CA"), HandClock::at(NOW), Arc::default());
        let (port, stopper) = api_server(&servers, &clock, &seen, false).await;
        let credential = Credential::Token(Secret::new("proxy-token".to_owned()));
        let upstream = Upstream::new(&format!("https://127.0.0.1:{port}"), vec![servers.der.clone()], credential);
        Self::start_on(statuses, remote, servers, clock, seen, upstream.unwrap(), stopper, |_| {}).await
    }

    async fn start(
        servers: TestCa,
        clock: Arc<HandClock>,
        seen: Arc<Seen>,
        upstream: Upstream,
        stopper: Stopper,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let statuses = Arc::new(Statuses::empty());
        Self::start_on(statuses, Remote::default(), servers, clock, seen, upstream, stopper, change).await
    }

    #[expect(clippy::too_many_arguments, reason = "each is one thing that a test may want otherwise")]
    async fn start_on(
        statuses: Arc<Statuses>,
        remote: Remote,
        servers: TestCa,
        clock: Arc<HandClock>,
        seen: Arc<Seen>,
        upstream: Upstream,
        _stopper: Stopper,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let (ca, api) = (TestCa::new("issuing CA"), upstream.port);
        let leaf = servers.server();
        let listener = listen::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let metrics = Metrics::new();
        let parts = Parts {
            listener,
            serving: &Serving::new(leaf.chain.clone(), leaf.key()).unwrap(),
            anchors: &ClientAnchors::new(std::slice::from_ref(&ca.der)).unwrap(),
            statuses: Arc::clone(&statuses),
            clock: Arc::clone(&clock) as _,
            metrics: &metrics,
            remote,
        };
        let mut settings = Settings::new("prod".parse().unwrap(), upstream);
        settings.listen.grace = Duration::from_millis(300);
        change(&mut settings);
        let proxy = Proxy::start(parts, settings).unwrap();
        let revision = Mutex::new(Revision { era: 1, number: 0 });
        let world = Self { proxy, statuses, clock, metrics, seen, ca, servers, port, api, revision, _stopper };
        world.tell([]);
        world
    }

    /// Has the proxy speak to the same API server with another token, and in another way.
    pub(super) fn stand_before(&self, token: &str, mode: Mode) {
        let credential = Credential::Token(Secret::new(token.to_owned()));
        let url = format!("https://127.0.0.1:{}", self.api);
        let upstream = Upstream::new(&url, vec![self.servers.der.clone()], credential).unwrap();
        self.proxy.stand_before(&upstream, mode).unwrap();
    }

    /// Applies facts as one commit and announces it.
    pub(super) fn tell(&self, changes: impl IntoIterator<Item = Change>) -> Revision {
        let revision = self.next();
        self.statuses.apply(changes);
        self.statuses.reached(revision);
        revision
    }

    fn next(&self) -> Revision {
        let mut revision = self.revision.lock().unwrap();
        *revision = revision.next();
        *revision
    }

    /// A certificate that is valid for an hour, not recorded.
    pub(super) fn sign(&self, id: &str) -> Leaf {
        self.ca.client(id, "dev", NOW.after(Duration::from_secs(3600)))
    }

    /// A certificate that is valid for an hour, on the record.
    pub(super) fn issue(&self, id: &str) -> Leaf {
        let leaf = self.sign(id);
        self.record(&leaf, id, NOW.after(Duration::from_secs(3600)));
        leaf
    }

    pub(super) fn record(&self, leaf: &Leaf, id: &str, not_after: Timestamp) {
        let issued = self.next();
        self.tell([Change::Recorded(Recorded {
            key: Fingerprint::of(&leaf.chain[0]).short(),
            issued,
            not_after,
            cut_keys: vec![CutKey::Identity(id.parse().unwrap())],
        })]);
    }

    pub(super) fn sign_reserved(&self, id: &str, group: &str) -> Leaf {
        self.ca.client(id, group, NOW.after(Duration::from_secs(3600)))
    }

    /// The fact that revokes an identity, not yet told.
    pub(super) fn cut_off(&self, id: &str) -> Change {
        let mut revision = *self.revision.lock().unwrap();
        revision = revision.next();
        Change::CutOff(CutKey::Identity(id.parse().unwrap()), Cut { revision, at: NOW, reason: Reason::Unspecified })
    }

    pub(super) fn revoke(&self, id: &str) -> Revision {
        let cut = self.cut_off(id);
        self.tell([cut])
    }

    pub(super) async fn connect(&self, leaf: Option<&Leaf>) -> Client {
        let config = client_config(std::slice::from_ref(&self.servers.der), leaf.and_then(Leaf::identity)).unwrap();
        Client(dial::connect("127.0.0.1", self.port, config, "localhost", PATIENCE).await.unwrap())
    }

    /// A connection of this client's that agreed on HTTP/2.
    pub(super) async fn connect_http2(&self, leaf: Option<&Leaf>) -> TlsStream<TcpStream> {
        let config = client_config(std::slice::from_ref(&self.servers.der), leaf.and_then(Leaf::identity)).unwrap();
        let config = tls::asking_for_http2(&config);
        let stream = dial::connect("127.0.0.1", self.port, config, "localhost", PATIENCE).await.unwrap();
        assert!(tls::is_http2(stream.get_ref().1));
        stream
    }

    pub(super) async fn ask(&self, leaf: &Leaf, request: &str) -> Reply {
        let mut client = self.connect(Some(leaf)).await;
        client.send(request).await;
        client.reply().await
    }

    /// How many requests reached the API server.
    pub(super) fn requests(&self) -> usize {
        self.seen.requests.lock().unwrap().len()
    }

    /// Waits until this many requests have reached the API server.
    pub(super) async fn until_requests(&self, wanted: usize) {
        let arriving = async {
            while self.requests() < wanted {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, arriving).await.unwrap();
    }

    pub(super) fn last_headers(&self) -> HeaderMap {
        self.seen.requests.lock().unwrap().last().unwrap().1.clone()
    }

    /// Waits until the API server has this many connections.
    pub(super) async fn upstream_connections(&self, wanted: usize) {
        let mut open = self.seen.open.subscribe();
        tokio::time::timeout(PATIENCE, open.wait_for(|open| *open == wanted)).await.unwrap().unwrap();
    }

    pub(super) fn metric(&self, line: &str) -> bool {
        self.metrics.to_text().lines().any(|found| found == line)
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    pub(super) const fn server_ca(&self) -> &TestCa {
        &self.servers
    }
}

/// A client at the level of octets.
pub(super) struct Client(pub(super) TlsStream<TcpStream>);

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Client {
    pub(super) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    pub(super) async fn get(&mut self, path: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        self.reply().await
    }

    /// Reads up to and with `end`.
    pub(super) async fn read_until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        let reading = async {
            while !read.ends_with(end.as_bytes()) {
                match self.0.read_u8().await {
                    Ok(octet) => read.push(octet),
                    Err(error) => panic!("wanted {end:?}, found {:?} and {error}", String::from_utf8_lossy(&read)),
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap();
        String::from_utf8(read).unwrap()
    }

    /// Reads a response with a length.
    pub(super) async fn reply(&mut self) -> Reply {
        let head = self.read_until("\r\n\r\n").await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        tokio::time::timeout(PATIENCE, self.0.read_exact(&mut body)).await.unwrap().unwrap();
        Reply { status, head, body: String::from_utf8(body).unwrap() }
    }

    pub(super) async fn read(&mut self, length: usize) -> Vec<u8> {
        let mut read = vec![0; length];
        tokio::time::timeout(PATIENCE, self.0.read_exact(&mut read)).await.unwrap().unwrap();
        read
    }

    /// Reads to the end of the connection, clean or not; gives what came and whether it was a clean end of TLS.
    pub(super) async fn rest(&mut self) -> (String, bool) {
        let (read, clean) = self.rest_in_octets().await;
        (String::from_utf8_lossy(&read).into_owned(), clean)
    }

    pub(super) async fn rest_in_octets(&mut self) -> (Vec<u8>, bool) {
        let mut read = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut read)).await.unwrap();
        (read, ended.is_ok())
    }
}

async fn api_server(ca: &TestCa, clock: &Arc<HandClock>, seen: &Arc<Seen>, is_http2: bool) -> (u16, Stopper) {
    let leaf = ca.server();
    let serving = Serving::new(leaf.chain.clone(), leaf.key()).unwrap();
    let config = server_config(&serving, None, Versions::Tls13, Arc::clone(clock) as _).unwrap();
    let config = if is_http2 { tls::offering_http2(&config) } else { config };
    let listener = listen::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stopper, stop) = stop::channel();
    let handler = Arc::new(ApiServer(Arc::clone(seen)));
    tokio::spawn(listen::serve(listener, config, handler, listen::Limits::default(), stop));
    (port, stopper)
}

struct ApiServer(Arc<Seen>);

impl Handler for ApiServer {
    fn handle(self: Arc<Self>, stream: Stream, _: Peer, stop: Stop) -> BoxFuture {
        Box::pin(async move {
            self.0.open.send_modify(|open| *open += 1);
            let number = self.0.taken.fetch_add(1, Ordering::Relaxed);
            let server = Arc::clone(&self);
            let service = service_fn(move |request| Arc::clone(&server).answer(number, request));
            if let Some(switched) = net::http::serve(stream, service, http1::Limits::default(), stop).await {
                echo(switched).await;
            }
            self.0.open.send_modify(|open| *open -= 1);
        })
    }
}

impl ApiServer {
    async fn answer(
        self: Arc<Self>,
        number: usize,
        request: Request<Incoming>,
    ) -> std::io::Result<Response<Either<Full<Bytes>, Endless>>> {
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().unwrap().to_string();
        self.0.carriers.lock().unwrap().push(number);
        let protocol = head.headers.get(header::UPGRADE).cloned();
        let offered = head.headers.get(header::SEC_WEBSOCKET_PROTOCOL).cloned();
        self.0.requests.lock().unwrap().push((format!("{} {target}", head.method), head.headers));
        if target == "/stall" {
            let _unread = body;
            return std::future::pending().await;
        }
        let body = Watched { body, seen: Arc::clone(&self.0), is_upload: target == "/upload", told: false };
        let body = body.collect().await;
        if let Some(trailers) = body.as_ref().ok().and_then(|body| body.trailers()) {
            self.0.requests.lock().unwrap().push(("trailers".to_owned(), trailers.clone()));
        }
        let whole = body.is_ok();
        let mut response = match target.as_str() {
            "/watch?watch=true" => Response::new(Either::Right(Endless::new("{\"type\":\"ADDED\"}\n", false))),
            "/log" => Response::new(Either::Right(Endless::new("a line\n", false))),
            "/flood" => {
                let body = Endless::counted("0123456789abcdef", &self.0);
                Response::new(Either::Right(body))
            }
            "/exec" | "/confused" => switch(protocol.filter(|_| target == "/exec"), offered),
            "/large" => Response::new(Either::Left(Full::from("0123456789abcdef".repeat(1 << 18)))),
            "/vanish" => return Err(std::io::Error::other("gone without an answer")),
            _ if target.starts_with("/status/") => {
                let mut response = Response::new(Either::Left(Full::from("as you see")));
                *response.status_mut() = target.trim_start_matches("/status/").parse().unwrap();
                response
            }
            "/redirect" => {
                let mut response = Response::new(Either::Left(Full::from("")));
                *response.status_mut() = http::StatusCode::FOUND;
                response.headers_mut().insert(header::LOCATION, header::HeaderValue::from_static("/elsewhere"));
                response
            }
            _ => Response::new(Either::Left(Full::from(if whole { "whole" } else { "broken" }))),
        };
        let kind = if target == "/log" { "text/plain" } else { "application/json" };
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        Ok(response)
    }
}
