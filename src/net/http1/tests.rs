use std::convert::Infallible;
use std::net::Ipv4Addr;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Empty as NoBody;
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::net::listen::{self, BoxFuture, Handler, Peer};
use crate::net::stop::{self, Stopper};

/// Answers everything with 204.
struct Empty(Limits);

impl Handler for Empty {
    fn handle(self: Arc<Self>, stream: Stream, _: Peer, stop: Stop) -> BoxFuture {
        Box::pin(async move {
            let service = service_fn(|_| async {
                let mut response = Response::new(NoBody::<Bytes>::new());
                *response.status_mut() = StatusCode::NO_CONTENT;
                Ok::<_, Infallible>(response)
            });
            serve(stream, service, self.0.clone(), stop).await;
        })
    }
}

async fn plain(limits: Limits) -> (TcpStream, Stopper, JoinHandle<()>) {
    start(Arc::new(Empty(limits))).await
}

async fn start(handler: Arc<dyn Handler>) -> (TcpStream, Stopper, JoinHandle<()>) {
    let listener = listen::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stopper, stop) = stop::channel();
    let serving = tokio::spawn(listen::serve_plain(listener, handler, listen::Limits::default(), stop));
    (TcpStream::connect(address).await.unwrap(), stopper, serving)
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_head_that_takes_too_long_ends_the_connection_and_an_idle_one_may_wait() {
    let limits = Limits { head_time: Duration::from_millis(100), ..Limits::default() };
    let (mut slow, _stopper, _) = plain(limits.clone()).await;
    slow.write_all(b"GET / HTTP/1.1\r\nHost: a").await.unwrap();
    assert!(matches!(slow.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    let (mut idle, _stopper, _) = plain(limits).await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(read_head(&mut idle).await.starts_with("HTTP/1.1 204"));
    // Three times the head's time without a word: still open.
    let waited = tokio::time::timeout(Duration::from_millis(300), idle.read(&mut [0; 1])).await;
    assert!(waited.is_err());
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET").await.unwrap();
    assert!(read_head(&mut idle).await.starts_with("HTTP/1.1 204"));
}

#[tokio::test]
async fn too_many_headers_are_refused() {
    let (mut stream, _stopper, _) = plain(Limits::default()).await;
    let many: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    stream.write_all(format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn stopping_ends_idle_connections_and_returns() {
    let (mut stream, stopper, serving) = plain(Limits::default()).await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_head(&mut stream).await;
    stopper.stop();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    serving.await.unwrap();
}

/// Agrees to whatever is asked for, and gives back what comes.
struct Parrot(Limits);

impl Handler for Parrot {
    fn handle(self: Arc<Self>, stream: Stream, _: Peer, stop: Stop) -> BoxFuture {
        Box::pin(async move {
            let service = service_fn(|_| async {
                let mut response = Response::new(NoBody::<Bytes>::new());
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                Ok::<_, Infallible>(response)
            });
            let mut switched = serve(stream, service, self.0.clone(), stop).await.unwrap();
            switched.stream.write_all(&switched.early).await.unwrap();
            let (mut reads, mut writes) = tokio::io::split(switched.stream);
            let _ = tokio::io::copy(&mut reads, &mut writes).await;
        })
    }
}

#[tokio::test]
async fn no_limit_applies_once_another_protocol_is_spoken() {
    let limits =
        Limits { head_time: Duration::from_millis(100), idle_time: Duration::from_millis(100), ..Limits::default() };
    let (mut stream, _stopper, _) = start(Arc::new(Parrot(limits))).await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nearly").await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101"));
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"early");
    // Three times either limit without a word, after half a word: still open.
    stream.write_all(b"l").await.unwrap();
    stream.read_exact(&mut [0; 1]).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), stream.read(&mut [0; 1])).await.is_err());
    stream.write_all(b"ate").await.unwrap();
    stream.read_exact(&mut [0; 3]).await.unwrap();
}
