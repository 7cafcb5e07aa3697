//! Programs of others that listen on loopback, and questions to them over HTTP.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench that cannot go on has failed")]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running one; killed when dropped.
pub(crate) struct Service {
    child: Child,
    port: u16,
}

/// A connection to one.
pub(crate) struct Connection(BufReader<TcpStream>);

/// A port that was free a moment ago.
pub(crate) fn port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

impl Service {
    /// Starts it in a folder and waits until it says so. Nobody knocks: `openssl ocsp` answers nobody any more once
    /// somebody has hung up without a question.
    pub(crate) fn start(command: &mut Command, folder: &Path, port: u16, ready: &str) -> Self {
        let said = File::create(folder.join("said")).unwrap();
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let service = Self { child: command.spawn().unwrap(), port };
        let until = Instant::now() + Duration::from_secs(10);
        while !String::from_utf8_lossy(&fs::read(folder.join("said")).unwrap()).contains(ready) {
            assert!(Instant::now() < until, "it does not listen");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        service
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn connect(&self) -> Connection {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Connection(BufReader::new(stream))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Connection {
    /// The body of the answer to a request with these words at its beginning, such as `POST / HTTP/1.0`.
    pub(crate) fn ask(&mut self, first: &str, media_type: &str, body: &[u8]) -> Vec<u8> {
        let (host, length) = ("Host: localhost", body.len());
        let head = format!("{first}\r\n{host}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n");
        self.0.get_mut().write_all(&[head.as_bytes(), body].concat()).unwrap();
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            line.clear();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "it ended within the head");
        }
        let mut answer = vec![0; length];
        self.0.read_exact(&mut answer).unwrap();
        answer
    }
}
