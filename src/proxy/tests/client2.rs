//! A client that speaks HTTP/2, at the level of streams and at the level of octets.

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;

use super::world::{PATIENCE, World};
use crate::net::fixtures::Leaf;

pub(super) struct Http2 {
    pub(super) sender: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// A response that is still being read.
pub(super) struct Reading(pub(super) RecvStream);

impl Http2 {
    pub(super) async fn connect(world: &World, leaf: Option<&Leaf>) -> Self {
        let stream = world.connect_http2(leaf).await;
        // As every client has it: one stream that is not read leaves room for the others.
        let (sender, connection) =
            h2::client::Builder::new().initial_connection_window_size(1 << 24).handshake(stream).await.unwrap();
        Self { sender, connection: tokio::spawn(connection) }
    }

    pub(super) async fn send(
        &mut self,
        request: Request<()>,
        has_no_body: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut sender = self.sender.clone().ready().await.unwrap();
        sender.send_request(request, has_no_body).unwrap()
    }

    pub(super) async fn ask(&mut self, request: Request<()>) -> Answer {
        let (response, _) = self.send(request, true).await;
        answer(response).await
    }

    pub(super) async fn get(&mut self, path: &str) -> Answer {
        self.ask(request(Method::GET, path)).await
    }

    /// Asks for something that does not end.
    pub(super) async fn open(&mut self, path: &str) -> Reading {
        let (response, _) = self.send(request(Method::GET, path), true).await;
        let response = tokio::time::timeout(PATIENCE, response).await.unwrap().unwrap();
        assert_eq!(response.status(), 200);
        Reading(response.into_body())
    }

    /// Waits for the end of the connection; whether the proxy said GOAWAY.
    pub(super) async fn end(mut self) -> bool {
        let ended = tokio::time::timeout(PATIENCE, &mut self.connection).await.unwrap().unwrap();
        let refused = match self.sender.ready().await {
            Ok(_) => panic!("the connection has ended"),
            Err(error) => error,
        };
        refused.is_go_away() || ended.is_err_and(|error| error.is_go_away())
    }
}

pub(super) async fn answer(response: ResponseFuture) -> Answer {
    let response = tokio::time::timeout(PATIENCE, response).await.unwrap().unwrap();
    let (head, body) = response.into_parts();
    let (body, error) = Reading(body).rest().await;
    assert!(error.is_none(), "{error:?} after {body}");
    Answer { status: head.status.as_u16(), headers: head.headers, body }
}

pub(super) fn request(method: Method, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("https://localhost{path}")).body(()).unwrap()
}

impl Reading {
    /// Reads up to and with `end`.
    pub(super) async fn until(&mut self, end: &str) -> String {
        let mut read = String::new();
        while !read.ends_with(end) {
            let piece = tokio::time::timeout(PATIENCE, self.0.data()).await.unwrap().expect("more").unwrap();
            self.0.flow_control().release_capacity(piece.len()).unwrap();
            read.push_str(std::str::from_utf8(&piece).unwrap());
        }
        read
    }

    /// Reads to the end; with an error where it was no clean one.
    pub(super) async fn rest(mut self) -> (String, Option<h2::Error>) {
        let mut read = Vec::new();
        while let Some(piece) = tokio::time::timeout(PATIENCE, self.0.data()).await.unwrap() {
            match piece {
                Ok(piece) => {
                    self.0.flow_control().release_capacity(piece.len()).unwrap();
                    read.extend_from_slice(&piece);
                }
                Err(error) => return (String::from_utf8_lossy(&read).into_owned(), Some(error)),
            }
        }
        (String::from_utf8(read).unwrap(), None)
    }
}

/// A client that writes frames itself, and so may write what no library would.
pub(super) struct Raw(pub(super) TlsStream<TcpStream>);

/// What came back on a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// A status and a body.
    Answer(u16, String),
    Reset,
    /// GOAWAY with an error, or the end of the connection.
    End,
}

impl Raw {
    pub(super) async fn connect(world: &World, leaf: &Leaf) -> Self {
        let mut stream = world.connect_http2(Some(leaf)).await;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut raw = Self(stream);
        raw.frame(SETTINGS, 0, 0, &[]).await;
        raw
    }

    pub(super) async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.0.write_all(&frame).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// A request with these header lines behind the pseudo headers of a GET, or of a POST with a body and these trailers.
    pub(super) async fn request(&mut self, lines: &[(&[u8], &[u8])], trailers: &[(&[u8], &[u8])]) {
        let method: &[u8] = if trailers.is_empty() { b"GET" } else { b"POST" };
        let pseudo: [(&[u8], &[u8]); 4] =
            [(b":method", method), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", b"/api")];
        let head = block(pseudo.iter().chain(lines));
        if trailers.is_empty() {
            self.frame(HEADERS, END_HEADERS | END_STREAM, 1, &head).await;
            return;
        }
        self.frame(HEADERS, END_HEADERS, 1, &head).await;
        self.frame(DATA, 0, 1, b"half").await;
        self.frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(trailers)).await;
    }

    /// Asks for something, as stream 1.
    pub(super) async fn get(&mut self, path: &[u8]) {
        let pseudo: [(&[u8], &[u8]); 4] =
            [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", path)];
        self.frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&pseudo)).await;
    }

    /// Reads up to a frame of this kind.
    pub(super) async fn until(&mut self, kind: u8) {
        let reading = async {
            loop {
                let mut head = [0; 9];
                self.0.read_exact(&mut head).await.unwrap();
                let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
                self.0.read_exact(&mut vec![0; length]).await.unwrap();
                if head[3] == kind {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap();
    }

    /// Reads frames until stream 1 or the connection has ended.
    pub(super) async fn came(&mut self) -> Came {
        let (mut status, mut body) = (0, Vec::new());
        loop {
            let mut head = [0; 9];
            if tokio::time::timeout(PATIENCE, self.0.read_exact(&mut head)).await.unwrap().is_err() {
                return Came::End;
            }
            let mut payload = vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
            if tokio::time::timeout(PATIENCE, self.0.read_exact(&mut payload)).await.unwrap().is_err() {
                return Came::End;
            }
            match (head[3], head[8]) {
                (HEADERS, 1) => status = status_of(&payload),
                (DATA, 1) => body.extend_from_slice(&payload),
                (RST_STREAM, 1) => return Came::Reset,
                (GOAWAY, _) if payload[7] != 0 => return Came::End,
                _ => {}
            }
            if matches!((head[3], head[8]), (HEADERS | DATA, 1)) && head[4] & END_STREAM != 0 {
                return Came::Answer(status, String::from_utf8(body).unwrap());
            }
        }
    }
}

/// RFC 7541 §6.2.2, literal without indexing, nothing compressed.
pub(super) fn block<'a>(lines: impl IntoIterator<Item = &'a (&'a [u8], &'a [u8])>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in lines {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text);
        }
    }
    block
}

/// RFC 7541 appendix A: the proxy's encoder begins with the status, by index or as a literal under the index of one.
fn status_of(block: &[u8]) -> u16 {
    match block[0] {
        0x88 => 200,
        0x8c => 400,
        0x48 | 0x08 => {
            let (length, text) = (block[1], &block[2..]);
            assert_eq!(length & 0x80, 0x80, "compressed by h2's encoder");
            huffman_digits(&text[..usize::from(length & 0x7f)])
        }
        other => panic!("a status at index {other:#x}"),
    }
}

/// RFC 7541 appendix B, of which a status needs the digits: five bits for 0, 1 and 2, six for the others.
fn huffman_digits(octets: &[u8]) -> u16 {
    let bits: Vec<u8> = octets.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1)).collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let take = |count: usize| bits[at..at + count].iter().fold(0_u16, |sum, bit| sum << 1 | u16::from(*bit));
        let (digit, length) = if take(5) <= 2 { (take(5), 5) } else { (take(6) - 0x19 + 3, 6) };
        number = number * 10 + digit;
        at += length;
    }
    number
}

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const GOAWAY: u8 = 7;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
