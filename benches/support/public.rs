//! The public listener on a thread of its own, and one like it that knows a single answer.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use portcullis::api::public::Public;
use portcullis::net::http1;
use portcullis::net::listen::{self, BoxFuture, Handler, Limits, Peer, Stream};
use portcullis::net::stop::{self, Stop, Stopper};
use portcullis::publish::crl::Lists;
use portcullis::publish::ocsp::Responders;
use portcullis::world::SystemClock;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::authority::Authority;
use super::threads::Thread;

/// What the public listener of an authority serves, and the folder of its lists, which goes when it is dropped.
pub(crate) fn of(authority: &Authority, responders: Responders) -> (Arc<Public>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (statuses, roll) = (Arc::clone(&authority.statuses), Arc::clone(&authority.roll));
    let keyring = Arc::clone(&authority.authorities.keyring);
    let engine = Arc::clone(&authority.engine);
    let lists = Lists::new(engine, Arc::clone(&keyring), Arc::clone(&statuses), roll, folder.path()).unwrap();
    let (lists, responders, clock) = (Arc::new(lists), Arc::new(responders), Arc::new(SystemClock));
    (Arc::new(Public { lists, responders, keyring, statuses, clock }), folder)
}

/// Serves on a free port until the second part is dropped.
pub(crate) fn serve(server: &Thread, handler: Arc<dyn Handler>) -> (u16, Stopper) {
    let (stopper, stop) = stop::channel();
    let port = server.run(async move {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(listen::serve_plain(listener, handler, Limits::default(), stop));
        port
    });
    (port, stopper)
}

/// Knows one answer.
#[derive(Debug)]
pub(crate) struct Bare(pub(crate) Bytes);

impl Handler for Bare {
    fn handle(self: Arc<Self>, stream: Stream, _: Peer, stop: Stop) -> BoxFuture {
        Box::pin(async move {
            let service = service_fn(move |_: Request<Incoming>| {
                let body = self.0.clone();
                async move { Ok::<_, Infallible>(Response::new(Full::new(body))) }
            });
            http1::serve(stream, service, http1::Limits::default(), stop).await;
        })
    }
}
