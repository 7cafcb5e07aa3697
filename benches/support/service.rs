//! Programs of others that listen on loopback, and questions to them over HTTP.
#![allow(dead_code, reason = "each bench uses another part of this")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench that cannot go on has failed")]

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A running one; killed when dropped.
pub(crate) struct Service {
    child: Child,
    port: u16,
}

/// A connection to one.
pub(crate) struct Connection(BufReader<Box<dyn Stream>>);

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// How long one may take to listen, or to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A port that was free a moment ago.
pub(crate) fn port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

impl Service {
    /// Starts it in a folder and waits until it says so. Nobody knocks: `openssl ocsp` answers nobody any more once
    /// somebody has hung up without a question.
    pub(crate) fn start(command: &mut Command, folder: &Path, port: u16, ready: &str) -> Self {
        let log = folder.join(format!("said-{port}"));
        let said = File::create(&log).unwrap();
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let service = Self { child: command.spawn().unwrap(), port };
        let until = Instant::now() + PATIENCE;
        loop {
            let said = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
            if said.contains(ready) {
                break;
            }
            assert!(Instant::now() < until, "it does not listen: {said}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        service
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as it wants to be ended.
    pub(crate) fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::to(self.port)
    }

    /// A connection with TLS to `localhost`, below this root.
    pub(crate) fn connect_securely(&self, root: &[u8]) -> Connection {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(root)).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        Connection(BufReader::new(Box::new(StreamOwned::new(session, dial(self.port)))))
    }
}

/// One that says that it is about to listen may not do so yet.
fn dial(port: u16) -> TcpStream {
    let until = Instant::now() + PATIENCE;
    let stream = loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && Instant::now() < until => {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            stream => break stream.unwrap(),
        }
    };
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

impl Drop for Service {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Connection {
    pub(crate) fn to(port: u16) -> Self {
        Self(BufReader::new(Box::new(dial(port))))
    }

    /// The body of the answer to a request with these words at its beginning, such as `POST / HTTP/1.0`.
    pub(crate) fn ask(&mut self, first: &str, media_type: &str, body: &[u8]) -> Vec<u8> {
        let (host, length) = ("Host: localhost", body.len());
        let head = format!("{first}\r\n{host}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n");
        self.0.get_mut().write_all(&[head.as_bytes(), body].concat()).unwrap();
        self.0.get_mut().flush().unwrap();
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            chunked |= line == "transfer-encoding: chunked";
            if line.is_empty() {
                break;
            }
        }
        let mut answer = Vec::new();
        if !chunked {
            self.read(length, &mut answer);
            return answer;
        }
        loop {
            let length = usize::from_str_radix(&self.line(), 16).unwrap();
            self.read(length, &mut answer);
            assert_eq!(self.line(), "");
            if length == 0 {
                return answer;
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "it ended within the answer");
        line.trim_end().to_owned()
    }

    fn read(&mut self, length: usize, into: &mut Vec<u8>) {
        let start = into.len();
        into.resize(start + length, 0);
        self.0.read_exact(&mut into[start..]).unwrap();
    }
}
