//! Connections to the API server that carry one credential's requests, shared by that credential's connections to the
//! proxy: they are made when they are first needed, close when the last of those has ended, and all at once when the
//! credential dies.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioTimer;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::ident::Fingerprint;
use crate::net::within::Within;

use super::relay::Upload;
use super::upstream::{DIAL_TIME, Upstream, UpstreamError, Wire};

/// Every credential's connections to one API server.
#[derive(Debug)]
pub(super) struct Pools {
    upstream: Arc<Upstream>,
    shared: Mutex<BTreeMap<Fingerprint, Shared>>,
}

#[derive(Debug)]
struct Shared {
    pool: Arc<Pool>,
    lanes: usize,
}

impl Pools {
    pub(super) fn new(upstream: Upstream) -> Self {
        Self { upstream: Arc::new(upstream), shared: Mutex::default() }
    }

    pub(super) const fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// One more connection of this credential's.
    pub(super) fn enter(&self, credential: Fingerprint) -> Arc<Pool> {
        let mut shared = self.lock();
        let one = shared
            .entry(credential)
            .or_insert_with(|| Shared { pool: Arc::new(Pool::new(Arc::clone(&self.upstream))), lanes: 0 });
        one.lanes += 1;
        Arc::clone(&one.pool)
    }

    /// One connection less; whether the pool is to be closed because nobody is left. A pool that was given up is nobody's.
    pub(super) fn leave(&self, credential: &Fingerprint, pool: &Arc<Pool>) -> bool {
        let mut shared = self.lock();
        let Some(one) = shared.get_mut(credential).filter(|one| Arc::ptr_eq(&one.pool, pool)) else {
            return false;
        };
        one.lanes = one.lanes.saturating_sub(1);
        let is_last = one.lanes == 0;
        if is_last {
            shared.remove(credential);
        }
        is_last
    }

    /// Whoever comes next gets a pool of their own: this one is about to be closed.
    pub(super) fn give_up(&self, credential: &Fingerprint, pool: &Arc<Pool>) {
        let mut shared = self.lock();
        if shared.get(credential).is_some_and(|one| Arc::ptr_eq(&one.pool, pool)) {
            shared.remove(credential);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Fingerprint, Shared>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One credential's connections.
#[derive(Debug)]
pub(super) struct Pool {
    upstream: Arc<Upstream>,
    /// `None` once closed.
    open: Mutex<Option<Open>>,
    /// Held while a connection is made, so that those who ask together share it; with what came of the last attempt if
    /// it failed.
    making: tokio::sync::Mutex<Option<(Instant, String)>>,
    /// The API server was last found to speak HTTP/1.1, where there is nothing to share.
    is_http1: AtomicBool,
    /// All connections are closed.
    closed: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Open {
    /// What drives the connections, and owns their sockets.
    drivers: JoinSet<()>,
    /// On HTTP/2, many exchanges each.
    roads: Vec<Road>,
    /// On HTTP/1.1, with no exchange at this moment.
    idle: Vec<http1::SendRequest<Upload>>,
}

#[derive(Debug)]
struct Road {
    sender: http2::SendRequest<Upload>,
    /// How many streams the API server allows, and we ourselves.
    most: watch::Receiver<usize>,
    used: Arc<AtomicUsize>,
}

/// A place for one exchange.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) way: Way,
    pub(super) hold: Hold,
}

/// What carries the exchange.
#[derive(Debug)]
pub(super) enum Way {
    Http1(http1::SendRequest<Upload>),
    Http2(http2::SendRequest<Upload>),
}

/// Held for as long as an exchange lasts.
#[derive(Debug, Clone)]
pub(super) struct Hold {
    pool: Arc<Pool>,
    _stream: Option<Arc<Stream>>,
}

/// One stream in use.
#[derive(Debug)]
struct Stream(Arc<AtomicUsize>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Hold {
    /// Gives a connection back whose exchange has come to its end.
    pub(super) fn give_back(&self, sender: http1::SendRequest<Upload>) {
        if let Some(open) = self.pool.lock().as_mut()
            && open.idle.len() < MOST_IDLE
        {
            open.idle.push(sender);
        }
    }
}

impl Pool {
    fn new(upstream: Arc<Upstream>) -> Self {
        Self {
            upstream,
            open: Mutex::new(Some(Open::default())),
            making: tokio::sync::Mutex::default(),
            is_http1: AtomicBool::new(false),
            closed: watch::Sender::new(false),
        }
    }

    /// A place on a connection that has one, else on a new one.
    pub(super) async fn place(self: &Arc<Self>) -> Result<Place, UpstreamError> {
        if let Some(place) = self.find().await? {
            return Ok(place);
        }
        if self.is_http1.load(Ordering::Relaxed) {
            return self.make().await;
        }
        let asked = Instant::now();
        let mut last = self.making.lock().await;
        if let Some(place) = self.find().await? {
            return Ok(place);
        }
        match &*last {
            // It was tried while this one waited; trying for each in turn would take as many times the time.
            Some((at, failure)) if *at >= asked => return Err(UpstreamError::NotReached(failure.clone())),
            _ => {}
        }
        let made = self.make().await;
        *last = made.as_ref().err().map(|error| (Instant::now(), error.to_string()));
        made
    }

    async fn find(self: &Arc<Self>) -> Result<Option<Place>, UpstreamError> {
        loop {
            let mut sender = {
                let mut open = self.lock();
                let open = open.as_mut().ok_or(UpstreamError::Closed)?;
                if let Some(place) = self.find_stream(open) {
                    return Ok(Some(place));
                }
                open.idle.retain(|sender| !sender.is_closed());
                let ready = open.idle.iter().position(http1::SendRequest::is_ready);
                match ready.map(|at| open.idle.swap_remove(at)).or_else(|| open.idle.pop()) {
                    Some(sender) => sender,
                    None => return Ok(None),
                }
            };
            // Its answer has come to an end; what it was asked may still be on its way.
            if matches!(tokio::time::timeout(READY_TIME, sender.ready()).await, Ok(Ok(()))) {
                let hold = Hold { pool: Arc::clone(self), _stream: None };
                return Ok(Some(Place { way: Way::Http1(sender), hold }));
            }
        }
    }

    fn find_stream(self: &Arc<Self>, open: &mut Open) -> Option<Place> {
        open.roads.retain(|road| !road.sender.is_closed());
        let mut is_spare = false;
        // One without streams is enough to keep.
        open.roads.retain(|road| road.used.load(Ordering::Relaxed) > 0 || !std::mem::replace(&mut is_spare, true));
        let road = open.roads.iter().find(|road| road.used.load(Ordering::Relaxed) < *road.most.borrow())?;
        Some(self.place_on(road))
    }

    fn place_on(self: &Arc<Self>, road: &Road) -> Place {
        road.used.fetch_add(1, Ordering::Relaxed);
        let stream = Arc::new(Stream(Arc::clone(&road.used)));
        let hold = Hold { pool: Arc::clone(self), _stream: Some(stream) };
        Place { way: Way::Http2(road.sender.clone()), hold }
    }

    async fn make(self: &Arc<Self>) -> Result<Place, UpstreamError> {
        let (wire, is_http2) = self.upstream.dial_either().await?;
        self.is_http1.store(!is_http2, Ordering::Relaxed);
        if is_http2 { self.make_road(wire).await } else { self.make_way(wire).await }
    }

    async fn make_way(self: &Arc<Self>, wire: Wire) -> Result<Place, UpstreamError> {
        let (sender, connection) = http1::Builder::new().handshake(wire).await?;
        self.drive(connection)?;
        Ok(Place { way: Way::Http1(sender), hold: Hold { pool: Arc::clone(self), _stream: None } })
    }

    async fn make_road(self: &Arc<Self>, wire: Wire) -> Result<Place, UpstreamError> {
        let within = Within::default();
        let mut tasks = within.tasks();
        let (sender, connection) = http2::Builder::new(within)
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(STREAM_WINDOW * MOST_STREAMS)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(HEADERS_SIZE)
            // Until the API server has said how many it allows.
            .initial_max_send_streams(0)
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PONG_WITHIN)
            .keep_alive_while_idle(true)
            .handshake(wire)
            .await?;
        let (allows, mut most) = watch::channel(0);
        self.drive(async move {
            let (mut asking, mut ended) = (Some(Box::pin(connection)), Ok(()));
            std::future::poll_fn(|cx| {
                loop {
                    let left = tasks.poll(cx);
                    let Some(connection) = &mut asking else {
                        return left;
                    };
                    let allowed = connection.current_max_send_streams().min(MOST_STREAMS as usize);
                    allows.send_if_modified(|most| std::mem::replace(most, allowed) != allowed);
                    if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                        // Nothing more is asked, and the socket closes behind the last answer; held on to, it would not.
                        (asking, ended) = (None, result);
                    } else if !tasks.has_new() {
                        return Poll::Pending;
                    }
                }
            })
            .await;
            ended
        })?;
        let allowed = tokio::time::timeout(DIAL_TIME, most.wait_for(|most| *most > 0)).await;
        allowed.map_err(|_| UpstreamError::NoStreams)?.map_err(|_| UpstreamError::NoStreams)?;
        let road = Road { sender, most, used: Arc::default() };
        let place = self.place_on(&road);
        self.lock().as_mut().ok_or(UpstreamError::Closed)?.roads.push(road);
        Ok(place)
    }

    fn drive<F>(&self, connection: F) -> Result<(), UpstreamError>
    where
        F: Future<Output = hyper::Result<()>> + Send + 'static,
    {
        let mut open = self.lock();
        let drivers = &mut open.as_mut().ok_or(UpstreamError::Closed)?.drivers;
        while drivers.try_join_next().is_some() {}
        drivers.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to the API server ended");
            }
        });
        Ok(())
    }

    /// Closes every connection for good; returns once their sockets are closed, whoever else is at it. What was being
    /// sent is left without its end.
    pub(super) async fn close(&self) {
        let taken = self.lock().take();
        let Some(Open { mut drivers, roads, idle }) = taken else {
            let mut closed = self.closed.subscribe();
            let _ = closed.wait_for(|closed| *closed).await;
            return;
        };
        // Said also if this future is dropped, which drops the drivers with it.
        let _said = Closed(&self.closed);
        drivers.shutdown().await;
        drop((roads, idle));
    }

    /// Closes every connection soon, where nobody can wait for it.
    pub(super) fn abandon(&self) {
        let taken = self.lock().take();
        if taken.is_some() {
            drop(taken);
            self.closed.send_replace(true);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Closed<'a>(&'a watch::Sender<bool>);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

/// Fewer than the 100 that old API servers allow: the 81st watch gets a connection of its own instead of hanging.
const MOST_STREAMS: u32 = 80;
/// What the API server may send on one stream before the client has read it; the connection's window is this for every
/// stream, so that a client that does not read one stream leaves room for the others: 20 MiB at worst.
const STREAM_WINDOW: u32 = 256 * 1024;
/// What is held of one request that the API server does not read, in octets.
const SEND_BUFFER: usize = 64 * 1024;
/// What Go's servers send at most by default is 1 MiB; an API server's answers have a few hundred octets.
const HEADERS_SIZE: u32 = 64 * 1024;
/// Connections on HTTP/1.1 that are kept for later: kubectl asks for a handful of things at once.
const MOST_IDLE: usize = 8;
/// How long the end of the previous exchange is waited for before another connection is taken instead.
const READY_TIME: Duration = Duration::from_secs(1);
/// As client-go does, which notices within this that its API server is gone.
const PING_AFTER: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(15);
