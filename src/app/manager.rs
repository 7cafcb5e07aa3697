//! The service manager: it is told how we are, and may have opened our sockets before we ran.
//!
//! Sockets that it holds stay open while we are started again, and whoever connects meanwhile waits instead of being
//! refused. Without a manager nothing is told and every socket is our own.

use std::io;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net as unix;
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use rustix::time::{ClockId, clock_gettime};
use tokio::net::TcpListener;

use super::{AppError, Doing};
use crate::config::manager::Manager;
use crate::net::listen;
use crate::net::stop::Stop;

/// Tells the manager how we are (sd_notify(3)).
#[derive(Debug)]
pub struct Notifier(Option<(unix::UnixDatagram, unix::SocketAddr)>);

impl Notifier {
    /// One that tells whoever asked to be told.
    pub fn new(manager: &Manager) -> Result<Arc<Self>, AppError> {
        let Some(name) = &manager.notify else { return Ok(Arc::new(Self(None))) };
        let address = match name.strip_prefix('@') {
            Some(name) => unix::SocketAddr::from_abstract_name(name),
            None => unix::SocketAddr::from_pathname(name),
        };
        let socket = || -> io::Result<_> {
            let socket = unix::UnixDatagram::unbound()?;
            // A manager that does not read must not keep us waiting.
            socket.set_nonblocking(true)?;
            Ok((socket, address?))
        };
        Ok(Arc::new(Self(Some(socket().doing("reading NOTIFY_SOCKET")?))))
    }

    /// Everything is served.
    pub fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// How we are, in words.
    pub fn status(&self, status: &str) {
        self.say(&format!("STATUS={}", one_line(status)));
    }

    /// The configuration is read again; [`ready`](Self::ready) says that it is done.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    }

    /// We were asked to stop.
    pub fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// Shows that we are alive, twice as often as the manager wants to see it, until `stop`: a runtime whose threads are
    /// all stuck does not.
    pub async fn stay_alive(self: Arc<Self>, within: Duration, mut stop: Stop) {
        loop {
            self.say("WATCHDOG=1");
            tokio::select! {
                () = stop.stopped() => return,
                () = tokio::time::sleep(within / 2) => {}
            }
        }
    }

    fn say(&self, words: &str) {
        let Some((socket, address)) = &self.0 else { return };
        if let Err(error) = socket.send_to_addr(words.as_bytes(), address) {
            tracing::warn!(%error, "the service manager was not told how we are");
        }
    }
}

/// What follows a line's end would be read as another wish.
fn one_line(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The sockets that the manager has opened, by name.
pub struct Sockets {
    given: ListenFd,
    names: Vec<String>,
}

impl Sockets {
    /// Those that are ours.
    pub fn given(manager: &Manager) -> Result<Self, AppError> {
        let given = ListenFd::from_env();
        if given.len() == 0 {
            return Ok(Self { given, names: Vec::new() });
        }
        if given.len() != manager.sockets.len() {
            let (sockets, names) = (given.len(), manager.sockets.len());
            return Err(AppError::new(
                "taking the service manager's sockets",
                format!("wanted a name for each (FileDescriptorName=), found {sockets} sockets and {names} names"),
            ));
        }
        Ok(Self { given, names: manager.sockets.clone() })
    }

    /// The socket of this name, else one of our own at `address`.
    pub async fn listener(&mut self, name: &str, address: SocketAddr) -> Result<TcpListener, AppError> {
        match self.take(name)? {
            Some(listener) => Ok(listener),
            None => listen::bind(address).await.doing(format_args!("listening on {address}")),
        }
    }

    /// The same where none may be wanted.
    pub async fn optional(&mut self, name: &str, address: Option<SocketAddr>) -> Result<Option<TcpListener>, AppError> {
        match (self.take(name)?, address) {
            (Some(listener), _) => Ok(Some(listener)),
            (None, Some(address)) => self.listener(name, address).await.map(Some),
            (None, None) => Ok(None),
        }
    }

    /// What is left would never be served, and whoever connects there would wait for ever.
    pub fn must_be_used_up(self, wanted: &str) -> Result<(), AppError> {
        match self.names.iter().find(|name| !name.is_empty()) {
            None => Ok(()),
            Some(name) => Err(AppError::new(
                "taking the service manager's sockets",
                format!("wanted sockets called {wanted} (FileDescriptorName=), found one called {name:?}"),
            )),
        }
    }

    fn take(&mut self, name: &str) -> Result<Option<TcpListener>, AppError> {
        let Some(place) = self.names.iter().position(|given| given == name) else { return Ok(None) };
        let doing = || format!("taking the service manager's socket {name}");
        if let Some(taken) = self.names.get_mut(place) {
            taken.clear();
        }
        let Some(listener) = self.given.take_tcp_listener(place).doing(doing())? else { return Ok(None) };
        listener.set_nonblocking(true).doing(doing())?;
        TcpListener::from_std(listener).map(Some).doing(doing())
    }
}
