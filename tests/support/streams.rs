//! What a user may have open at a proxy, one of each: each is seen to move, and each says how it ended.
#![allow(dead_code, reason = "each story uses another part of this")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;

use super::gate::{Gate, Leaf, PATIENCE};
use super::recorder::{Recorder, line};

/// Watches on the one connection with HTTP/2.
pub(crate) const WATCHES: usize = 10;
/// Connections that a user of each kind has.
pub(crate) const CONNECTIONS: u64 = 7;

/// Everything that one user has open.
pub(crate) struct Everything {
    whose: String,
    idle: TlsStream<TcpStream>,
    watch: Watch,
    watches: Watches,
    tunnels: [TlsStream<TcpStream>; 2],
    upload: TlsStream<TcpStream>,
    upload_http2: Upload,
    pieces: usize,
}

/// How long after a moment each stream of a user was seen to end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) last: Duration,
}

impl Everything {
    pub(crate) async fn open(gate: &Gate, leaf: &Leaf, whose: &str) -> Self {
        let mut idle = gate.connect(leaf, false).await;
        ask(&mut idle).await;
        Self {
            whose: whose.to_owned(),
            idle,
            watch: Watch::open(gate, leaf).await,
            watches: Watches::open(gate, leaf, WATCHES).await,
            tunnels: [tunnel(gate, leaf, SPDY).await, tunnel(gate, leaf, WEBSOCKET).await],
            upload: upload(gate, leaf).await,
            upload_http2: Upload::open(gate, leaf).await,
            pieces: 0,
        }
    }

    /// Has every stream pass something; gives the moment before the first did.
    pub(crate) async fn move_each(&mut self, recorder: &Recorder) -> Instant {
        let start = Instant::now();
        let number = recorder.tick();
        self.watch.until(number).await;
        self.watches.until(number).await;
        for tunnel in &mut self.tunnels {
            tunnel.write_all(b"\x82\x02ls").await.unwrap();
            let mut echoed = [0; 4];
            tokio::time::timeout(PATIENCE, tunnel.read_exact(&mut echoed)).await.unwrap().unwrap();
        }
        self.upload.write_all(b"5\r\npiece\r\n").await.unwrap();
        self.upload_http2.body.send_data(Bytes::from_static(b"piece"), false).unwrap();
        self.pieces += 2;
        let wanted = self.pieces * 5;
        recorder.until(&self.whose, |streams| streams.uploaded == wanted).await;
        ask(&mut self.idle).await;
        start
    }

    /// Waits until every stream has ended as it must when it is cut.
    pub(crate) async fn ends(self, since: Instant) -> Ended {
        let (rest, _) = rest(self.idle).await;
        assert_eq!(rest, "", "an idle connection");
        must_be_told(&self.watch.rest().await, "a watch");
        for words in self.watches.ends().await {
            must_be_told(&words, "a watch on HTTP/2");
        }
        for tunnel in self.tunnels {
            rest_in_octets(tunnel).await;
        }
        let (words, _) = self::rest(self.upload).await;
        assert!(!words.contains(" 200 "), "an upload: {words}");
        self.upload_http2.must_fail().await;
        Ended { last: since.elapsed() }
    }
}

fn must_be_told(words: &str, what: &str) {
    assert!(words.contains(r#"{"type":"ERROR","object":{"kind":"Status""#), "{what}: {words:?}");
    assert!(words.trim_end().ends_with("\"code\":401}}"), "{what}: {words:?}");
}

/// A watch on HTTP/1.1.
pub(crate) struct Watch {
    stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

impl Watch {
    pub(crate) async fn open(gate: &Gate, leaf: &Leaf) -> Self {
        let mut stream = gate.connect(leaf, false).await;
        stream.write_all(b"GET /watch?watch=true HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut watch = Self { stream, read: Vec::new() };
        watch.read_up_to("\r\n\r\n").await;
        watch.read.clear();
        watch
    }

    pub(crate) async fn until(&mut self, number: u64) {
        self.read_up_to(&format!("{}\r\n", line(number))).await;
    }

    async fn read_up_to(&mut self, end: &str) {
        while !self.read.ends_with(end.as_bytes()) {
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await.unwrap().unwrap();
            assert!(read > 0, "wanted {end:?}, found {:?}", String::from_utf8_lossy(&self.read));
        }
    }

    /// What has come altogether, without the marks of its chunks.
    pub(crate) fn lines(&self) -> String {
        let text = String::from_utf8_lossy(&self.read);
        text.lines().filter(|line| line.starts_with('{')).map(|line| format!("{line}\n")).collect()
    }

    async fn rest(self) -> String {
        let (rest, is_clean) = rest(self.stream).await;
        assert!(!is_clean && !rest.contains("0\r\n\r\n"), "a cut must not look like an end: {rest:?}");
        rest
    }
}

/// Watches on one connection with HTTP/2.
pub(crate) struct Watches {
    streams: Vec<h2::RecvStream>,
    read: Vec<String>,
    _sender: h2::client::SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Watches {
    pub(crate) async fn open(gate: &Gate, leaf: &Leaf, count: usize) -> Self {
        let (mut sender, connection) = http2(gate, leaf).await;
        let mut streams = Vec::new();
        for _ in 0..count {
            let (response, _) = sender.send_request(get("/watch?watch=true"), true).unwrap();
            let response = tokio::time::timeout(PATIENCE, response).await.unwrap().unwrap();
            assert_eq!(response.status(), 200);
            streams.push(response.into_body());
            sender = sender.ready().await.unwrap();
        }
        Self { read: vec![String::new(); count], streams, _sender: sender, connection }
    }

    pub(crate) async fn until(&mut self, number: u64) {
        for (stream, read) in self.streams.iter_mut().zip(&mut self.read) {
            while !read.ends_with(&line(number)) {
                let piece = tokio::time::timeout(PATIENCE, stream.data()).await.unwrap().unwrap().unwrap();
                stream.flow_control().release_capacity(piece.len()).unwrap();
                read.push_str(std::str::from_utf8(&piece).unwrap());
            }
        }
    }

    /// What has come on each.
    pub(crate) fn lines(&self) -> &[String] {
        &self.read
    }

    pub(crate) async fn ends(self) -> Vec<String> {
        let mut words = Vec::new();
        for mut stream in self.streams {
            let mut read = String::new();
            let error = loop {
                match tokio::time::timeout(PATIENCE, stream.data()).await.unwrap() {
                    Some(Ok(piece)) => read.push_str(std::str::from_utf8(&piece).unwrap()),
                    Some(Err(error)) => break error,
                    None => panic!("a cut must not look like an end: {read:?}"),
                }
            };
            assert!(error.is_reset() || error.is_go_away() || error.is_io(), "{error:?}");
            words.push(read);
        }
        // Well or not: it has ended.
        let _ = tokio::time::timeout(PATIENCE, self.connection).await.unwrap().unwrap();
        words
    }
}

/// An upload on a connection with HTTP/2 of its own.
struct Upload {
    response: h2::client::ResponseFuture,
    body: h2::SendStream<Bytes>,
    _sender: h2::client::SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Upload {
    async fn open(gate: &Gate, leaf: &Leaf) -> Self {
        let (mut sender, connection) = http2(gate, leaf).await;
        let mut request = get("/upload");
        *request.method_mut() = Method::POST;
        let (response, body) = sender.send_request(request, false).unwrap();
        Self { response, body, _sender: sender, connection }
    }

    async fn must_fail(self) {
        let answer = tokio::time::timeout(PATIENCE, self.response).await.unwrap();
        assert!(answer.is_err(), "{answer:?}");
        let _ = tokio::time::timeout(PATIENCE, self.connection).await.unwrap().unwrap();
    }
}

async fn http2(gate: &Gate, leaf: &Leaf) -> (h2::client::SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let mut builder = h2::client::Builder::new();
    let stream = gate.connect(leaf, true).await;
    let (sender, connection) = builder.initial_connection_window_size(1 << 24).handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    (sender.ready().await.unwrap(), connection)
}

fn get(path: &str) -> Request<()> {
    Request::builder().uri(format!("https://localhost{path}")).body(()).unwrap()
}

async fn ask(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(b"GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\nok") {
        assert!(tokio::time::timeout(PATIENCE, stream.read_buf(&mut read)).await.unwrap().unwrap() > 0);
    }
}

async fn tunnel(gate: &Gate, leaf: &Leaf, request: &str) -> TlsStream<TcpStream> {
    let mut stream = gate.connect(leaf, false).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert!(tokio::time::timeout(PATIENCE, stream.read_buf(&mut head)).await.unwrap().unwrap() > 0);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream
}

async fn upload(gate: &Gate, leaf: &Leaf) -> TlsStream<TcpStream> {
    let mut stream = gate.connect(leaf, false).await;
    let head = b"POST /upload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head).await.unwrap();
    stream
}

async fn rest(stream: TlsStream<TcpStream>) -> (String, bool) {
    let (read, is_clean) = rest_in_octets(stream).await;
    (String::from_utf8_lossy(&read).into_owned(), is_clean)
}

/// What comes until the end of the connection, and whether TLS was ended in its own terms.
async fn rest_in_octets(mut stream: TlsStream<TcpStream>) -> (Vec<u8>, bool) {
    let mut read = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut read)).await.unwrap();
    (read, ended.is_ok())
}

pub(crate) const SPDY: &str =
    "POST /exec HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n";
pub(crate) const WEBSOCKET: &str = "GET /exec HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
