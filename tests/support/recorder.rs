//! An API server that writes down what it sees of every stream. It has nothing of the product's but certificates.
//!
//! * `GET /watch/WHOSE?watch=true`: a line for each [`Recorder::tick`] from the next one on, until the client goes
//! * `POST /upload/WHOSE`: reads to the end, and notes whether there was one
//! * anything with `Upgrade`: switches, and gives back what comes
//! * anything else: `ok`
#![allow(dead_code, reason = "each story uses another part of this")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::gate::Ca;

/// The API server and what it has seen.
pub(crate) struct Recorder {
    pub(crate) port: u16,
    pub(crate) seen: Arc<Seen>,
}

#[derive(Debug, Default)]
pub(crate) struct Seen {
    ticks: watch::Sender<u64>,
    /// By whose they are; changes whenever something does.
    streams: watch::Sender<BTreeMap<String, Streams>>,
}

/// What one user has here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Streams {
    /// Watches, uploads and tunnels that have not ended.
    pub(crate) open: usize,
    /// Octets of uploads that have come.
    pub(crate) uploaded: usize,
    /// For each upload that ended: whether it was whole.
    pub(crate) uploads: Vec<bool>,
    /// Connections that a request of theirs came on and that are open.
    pub(crate) connections: usize,
}

impl Recorder {
    pub(crate) async fn start(ca: &Ca, is_http2: bool) -> Self {
        let leaf = ca.server();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(leaf.chain.clone(), leaf.key())
            .unwrap();
        config.alpn_protocols = if is_http2 { vec![b"h2".to_vec()] } else { Vec::new() };
        config.alpn_protocols.push(b"http/1.1".to_vec());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (port, seen) = (listener.local_addr().unwrap().port(), Arc::new(Seen::default()));
        let server = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(serve(acceptor.clone(), stream, Arc::clone(&server)));
            }
        });
        Self { port, seen }
    }

    /// One more line on every watch; gives its number.
    pub(crate) fn tick(&self) -> u64 {
        self.seen.ticks.send_modify(|ticks| *ticks += 1);
        *self.seen.ticks.borrow()
    }

    /// Waits until what one user has here is as wanted.
    pub(crate) async fn until(&self, whose: &str, wanted: impl Fn(&Streams) -> bool) -> Streams {
        let mut streams = self.seen.streams.subscribe();
        let found = streams.wait_for(|streams| streams.get(whose).is_some_and(&wanted));
        let found = tokio::time::timeout(super::gate::PATIENCE, found).await;
        match found {
            Ok(found) => found.unwrap()[whose].clone(),
            Err(_) => panic!("{whose} has {:?}", self.seen.streams.borrow().get(whose)),
        }
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, seen: Arc<Seen>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let owner = Arc::new(Mutex::new(None));
    let (server, noted) = (Arc::clone(&seen), Arc::clone(&owner));
    let service = service_fn(move |request| answer(Arc::clone(&server), Arc::clone(&noted), request));
    // How it ends is seen at its streams.
    if is_http2 {
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    } else {
        let builder = hyper::server::conn::http1::Builder::new();
        let _ = builder.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    }
    let owner: Option<String> = owner.lock().unwrap().take();
    if let Some(whose) = owner {
        seen.change(&whose, |streams| streams.connections -= 1);
    }
}

async fn answer(
    seen: Arc<Seen>,
    owner: Arc<Mutex<Option<String>>>,
    mut request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let whose = request.headers()["impersonate-user"].to_str().unwrap().to_owned();
    let first = owner.lock().unwrap().replace(whose.clone());
    match first {
        None => seen.change(&whose, |streams| streams.connections += 1),
        Some(first) => assert_eq!(first, whose, "two users on one connection"),
    }
    if let Some(protocol) = request.headers().get(header::UPGRADE).cloned() {
        let upgraded = hyper::upgrade::on(&mut request);
        let open = Open::new(&seen, &whose);
        tokio::spawn(async move {
            let _open = open;
            if let Ok(upgraded) = upgraded.await {
                echo(TokioIo::new(upgraded)).await;
            }
        });
        let mut response = Response::new(full(""));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
        response.headers_mut().insert(header::UPGRADE, protocol);
        return Ok(response);
    }
    let path = request.uri().path().to_owned();
    if path.starts_with("/watch") {
        let lines = Lines { open: Open::new(&seen, &whose), ticks: seen.ticks.subscribe(), sent: *seen.ticks.borrow() };
        let mut response = Response::new(lines.into_body().boxed());
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        return Ok(response);
    }
    if path.starts_with("/upload") {
        read(Open::new(&seen, &whose), request.into_body()).await;
    }
    Ok(Response::new(full("ok")))
}

fn full(text: &'static str) -> BoxBody<Bytes, Infallible> {
    Full::from(text).boxed()
}

async fn read(open: Open, mut body: Incoming) {
    // Dropped halfway, as hyper does with a connection that ends: not whole.
    let mut upload = Upload { open, is_whole: false };
    loop {
        match body.frame().await {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                upload.open.seen.change(&upload.open.whose, |streams| streams.uploaded += length);
            }
            Some(Err(_)) => return,
            None => {
                upload.is_whole = true;
                return;
            }
        }
    }
}

async fn echo(mut stream: TokioIo<hyper::upgrade::Upgraded>) {
    let mut octets = Vec::new();
    while matches!(stream.read_buf(&mut octets).await, Ok(length) if length > 0) {
        if stream.write_all(&octets).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        octets.clear();
    }
}

impl Seen {
    fn change(&self, whose: &str, change: impl FnOnce(&mut Streams)) {
        self.streams.send_modify(|streams| change(streams.entry(whose.to_owned()).or_default()));
    }
}

/// Something of a user's that is open; noted as ended when dropped.
struct Open {
    seen: Arc<Seen>,
    whose: String,
}

impl Open {
    fn new(seen: &Arc<Seen>, whose: &str) -> Self {
        seen.change(whose, |streams| streams.open += 1);
        Self { seen: Arc::clone(seen), whose: whose.to_owned() }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.seen.change(&self.whose, |streams| streams.open -= 1);
    }
}

struct Upload {
    open: Open,
    is_whole: bool,
}

impl Drop for Upload {
    fn drop(&mut self) {
        let is_whole = self.is_whole;
        self.open.seen.change(&self.open.whose, |streams| streams.uploads.push(is_whole));
    }
}

/// A line for every tick, none left out.
struct Lines {
    open: Open,
    ticks: watch::Receiver<u64>,
    sent: u64,
}

impl Lines {
    fn into_body(self) -> impl Body<Data = Bytes, Error = Infallible> + Send + Sync + 'static {
        let next = futures_util::stream::unfold(self, |mut lines| async move {
            let sent = lines.sent;
            let _ = lines.ticks.wait_for(|ticks| *ticks > sent).await;
            lines.sent += 1;
            Some((line(lines.sent), lines))
        });
        Streamed(Mutex::new(Box::pin(next)))
    }
}

/// As a watch has it.
pub(crate) fn line(number: u64) -> String {
    format!("{{\"type\":\"ADDED\",\"object\":{{\"number\":{number}}}}}\n")
}

type Next = Pin<Box<dyn futures_util::Stream<Item = String> + Send>>;

struct Streamed(Mutex<Next>);

impl Body for Streamed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.0.lock().unwrap().as_mut().poll_next(cx);
        next.map(|line| line.map(|line| Ok(Frame::data(line.into()))))
    }
}
