//! What the openssl command takes for what the authority does: a certificate from a request, a CRL, an OCSP answer.
//!
//! In turns in the same run; what counts is time on a core, by the kernel's count of hundredths for what has ended. openssl
//! pays for a process each time and reads its files, as its users do; the authority is in the process of the bench.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the figures")]

#[path = "support/authority.rs"]
mod authority;
#[path = "support/openssl.rs"]
mod openssl;
#[path = "support/pairs.rs"]
mod pairs;
#[path = "support/revoked.rs"]
mod revoked;
mod support;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::ident::Serial;
use portcullis::publish::ocsp::Responders;
use portcullis::world::SystemClock;
use portcullis::x509::csr::Request;
use portcullis::x509::pem::{self, Label};
use rcgen::{CertificateParams, KeyPair};

use authority::Authority;
use openssl::OpenSsl;
use pairs::{Pairs, median, worked};
use revoked::serial;

/// Certificates, and answers, in one turn of openssl's.
const EACH: u32 = 50;
/// Lists of so many entries, and how often each is made.
const LISTS: [(u64, usize); 3] = [(10_000, 10), (100_000, 5), (1_000_000, 1)];

fn main() {
    if support::case().is_none() {
        return;
    }
    let authority = Authority::new();
    let openssl = OpenSsl::new();
    let issuer = authority.issuer();
    openssl.file("ca.pem", pem::write(Label::Certificate, issuer.certificate.der()));
    openssl.file("ca.key", issuer.key.serialize_pem()).file("chain.pem", authority.chain());
    certificates(&authority, &openssl);
    answers(&authority, &openssl);
    for (size, times) in LISTS {
        list(&openssl, size, times);
    }
}

fn certificates(authority: &Authority, openssl: &OpenSsl) {
    let request =
        || CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    openssl.file("user.csr", request());
    openssl.file("user.ext", "keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n");
    let arguments = "x509 -req -in user.csr -CA ca.pem -CAkey ca.key -days 30 -extfile user.ext -out user.pem";
    let pairs = Pairs::measure(
        || ended(|| (0..EACH).for_each(|_| drop(openssl.run(arguments)))) / EACH,
        || {
            let requests: Vec<String> = (0..EACH).map(|_| request()).collect();
            let issue = |request: &String| {
                authority.issue(Request::from_pem_or_der(request.as_bytes()).unwrap().public_key);
            };
            worked(|| requests.iter().for_each(issue)) / EACH
        },
    );
    assert!(openssl.run("verify -CAfile chain.pem -purpose sslclient user.pem").contains("user.pem: OK"));
    tell("a certificate (`openssl x509 -req`)", &pairs);
}

fn answers(authority: &Authority, openssl: &OpenSsl) {
    let row = authority.issue(authority::fresh());
    let (statuses, roll) = (Arc::clone(&authority.statuses), Arc::clone(&authority.roll));
    statuses.wait_for(authority.engine.store().end(), Duration::from_secs(10)).unwrap();
    let responders = Responders::new(Arc::clone(&authority.engine), authority.authorities.clone(), statuses, roll);
    responders.renew().unwrap();
    openssl.file("user.pem", pem::write(Label::Certificate, &row.der));
    openssl.run("ocsp -issuer ca.pem -cert user.pem -reqout question.der");
    let question = openssl.read("question.der");
    openssl.file("index.txt", format!("V\t301122040000Z\t\t{}\tunknown\t/CN=alice\n", hexadecimal(&row.serial)));
    let responder = Responder::start(openssl);
    let mut last = [Vec::new(), Vec::new()];
    let [theirs, ours] = &mut last;
    let pairs = Pairs::measure(
        || {
            let before = support::on_core(responder.child.id());
            (0..EACH).for_each(|_| *theirs = responder.ask(&question));
            (support::on_core(responder.child.id()) - before) / EACH
        },
        || worked(|| (0..EACH).for_each(|_| *ours = responders.answer(&question, &SystemClock).der.to_vec())) / EACH,
    );
    for answer in &last {
        openssl.file("answer.der", answer);
        let said = openssl.run("ocsp -reqin question.der -respin answer.der -CAfile chain.pem");
        assert!(said.contains("Response verify OK") && !said.contains("nonce"), "{said}");
    }
    tell("an OCSP answer (`openssl ocsp -port`, a connection each; ours without HTTP)", &pairs);
}

/// `openssl ca -gencrl` over an index of so many revoked certificates.
fn list(openssl: &OpenSsl, size: u64, times: usize) {
    let mut index = String::new();
    for number in 0..size {
        let serial = hexadecimal(&serial(number));
        writeln!(index, "R\t301122040000Z\t261122040000Z,keyCompromise\t{serial}\tunknown\t/CN=user-{number}").unwrap();
    }
    openssl.file("index.txt", index).file("number", "01\n");
    openssl.file(
        "ca.cnf",
        "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\ncrlnumber=number\ncertificate=ca.pem\nprivate_key=ca.key\n\
         default_md=sha256\ndefault_crl_hours=72\nunique_subject=no\n",
    );
    let make = || ended(|| drop(openssl.run("ca -config ca.cnf -gencrl -out list.crl"))).as_secs_f64() * 1e3;
    let all: Vec<f64> = (0..times).map(|_| make()).collect();
    assert!(openssl.run("crl -in list.crl -CAfile chain.pem -noout").contains("verify OK"));
    println!(
        "a CRL of {size} entries (`openssl ca -gencrl`), {times} times: {:.0} ms; {}",
        median(&all),
        support::load()
    );
}

fn tell(name: &str, pairs: &Pairs) {
    let [times, least, most] = pairs.share();
    println!(
        "{name}: openssl {:.3} ms, the authority {:.4} ms: {times:.1} times as long ({least:.1} to {most:.1}); {}",
        pairs.limit() * 1e3,
        pairs.product() * 1e3,
        support::load(),
    );
}

fn hexadecimal(serial: &Serial) -> String {
    hex::encode_upper(serial.octets())
}

/// The time on a core of the processes that were started and ended meanwhile (proc(5), `cutime` and `cstime`).
fn ended(what: impl FnOnce()) -> Duration {
    let count = || -> u64 {
        let text = fs::read_to_string("/proc/self/stat").unwrap();
        let (_, fields) = text.rsplit_once(") ").unwrap();
        fields.split(' ').skip(13).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
    };
    let before = count();
    what();
    Duration::from_millis((count() - before) * 10)
}

/// `openssl ocsp` as a server; killed when dropped.
struct Responder {
    child: Child,
    port: u16,
}

impl Responder {
    fn start(openssl: &OpenSsl) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut command = Command::new("openssl");
        command.args(["ocsp", "-port", &port.to_string()]);
        command.args("-index index.txt -rsigner ca.pem -rkey ca.key -CA ca.pem -nmin 10".split(' '));
        let said = File::create(openssl.path("said")).unwrap();
        command.current_dir(openssl.folder()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let responder = Self { child: command.spawn().unwrap(), port };
        let until = Instant::now() + Duration::from_secs(10);
        // It answers nobody any more once somebody has hung up without a question, so nobody knocks.
        while !String::from_utf8_lossy(&openssl.read("said")).contains("waiting for OCSP client") {
            assert!(Instant::now() < until, "openssl does not listen");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        responder
    }

    /// The body of its answer.
    fn ask(&self, question: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let kind = "Content-Type: application/ocsp-request";
        let head = format!("POST / HTTP/1.0\r\n{kind}\r\nContent-Length: {}\r\n\r\n", question.len());
        stream.write_all(&[head.as_bytes(), question].concat()).unwrap();
        // It closes a connection only when it takes the next one.
        let mut stream = BufReader::new(stream);
        let (mut line, mut length) = (String::new(), 0);
        while line.trim_end() != "" || length == 0 {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            line.clear();
            assert_ne!(stream.read_line(&mut line).unwrap(), 0, "it ended within the head");
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).unwrap();
        answer
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
