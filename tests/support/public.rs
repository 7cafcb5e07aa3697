//! The public listener, asked with curl as any relying party asks it.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::run::run;
use super::{Demo, PATIENCE};

/// An answer over HTTP, its body in a file.
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The headers, one a line, names in lower case.
    headers: String,
    /// The body.
    pub(crate) body: PathBuf,
}

impl Answer {
    /// The value of a header; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.lines().find_map(|line| line.split_once(':').filter(|(key, _)| *key == name));
        found.map(|(_, value)| value.trim()).unwrap_or_default()
    }

    /// Which revision it reflects.
    pub(crate) fn revision(&self) -> Revision {
        Revision::read(self.header("portcullis-revision"))
    }
}

/// A revision as it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Revision {
    /// The era.
    pub(crate) era: u64,
    /// The commit's place in it.
    pub(crate) number: u64,
}

impl Revision {
    /// Reads `era-number`.
    #[track_caller]
    pub(crate) fn read(text: &str) -> Self {
        let parts = text.split_once('-').and_then(|(era, number)| Some((era.parse().ok()?, number.parse().ok()?)));
        let (era, number) = parts.unwrap_or_else(|| panic!("wanted era-revision, found {text:?}"));
        Self { era, number }
    }
}

impl Demo {
    /// Asks `http://<public listener><path>`; `name` is the file for the body.
    #[track_caller]
    pub(crate) fn get(&self, path: &str, name: &str, options: &[&str]) -> Answer {
        self.fetch(&format!("http://{}{path}", self.address("public")), name, options)
    }

    /// The same anywhere.
    #[track_caller]
    pub(crate) fn fetch(&self, url: &str, name: &str, options: &[&str]) -> Answer {
        let (body, headers) = (self.file(name), self.file(&format!("{name}.headers")));
        let mut curl = self.program("curl");
        curl.args(["-sS", "--noproxy", "*", "--max-time", "20", "-w", "%{http_code}", "-D"]);
        curl.arg(&headers).arg("-o").arg(&body).args(options).arg(url);
        let status = run(&mut curl).ok().out.trim().parse().expect("curl's status");
        let headers = std::fs::read_to_string(headers).expect("curl's headers");
        let lower = |line: &str| match line.split_once(':') {
            Some((name, value)) => format!("{}:{value}\n", name.to_lowercase()),
            None => format!("{line}\n"),
        };
        Answer { status, headers: headers.lines().map(lower).collect(), body }
    }

    /// The list of an issuer as soon as it reflects `revision`: it is published a moment after what it tells.
    #[track_caller]
    pub(crate) fn list_beyond(&self, issuer: &str, revision: Revision, name: &str) -> Answer {
        let until = Instant::now() + PATIENCE;
        loop {
            let list = self.get(&format!("/crl/{issuer}.crl"), name, &[]);
            assert_eq!(list.status, 200, "the list of {issuer}");
            if list.revision() > revision {
                return list;
            }
            assert!(Instant::now() < until, "no list of {issuer} reflects {revision:?} after {PATIENCE:?}");
        }
    }
}

/// The CA certificates that the product publishes, in PEM.
pub(crate) struct Authorities {
    /// The root.
    pub(crate) root: PathBuf,
    /// The infrastructure CA.
    pub(crate) infra: PathBuf,
    /// The issuing CA of the demo cluster.
    pub(crate) demo: PathBuf,
    /// The root and the issuing CA in one file.
    pub(crate) chain: PathBuf,
}

impl Demo {
    /// Fetches every CA certificate.
    pub(crate) fn authorities(&self) -> Authorities {
        let [root, infra, demo] = ["root", "infra", "demo-1"].map(|name| {
            let answer = self.get(&format!("/ca/{name}.crt"), &format!("{name}.der"), &[]);
            assert_eq!((answer.status, answer.header("content-type")), (200, "application/pkix-cert"));
            let pem = self.file(&format!("{name}.pem"));
            let said = self.openssl([
                "x509".as_ref(),
                "-inform".as_ref(),
                "DER".as_ref(),
                "-in".as_ref(),
                answer.body.as_os_str(),
            ]);
            std::fs::write(&pem, said.ok().out).expect("a file of the test");
            pem
        });
        let read = |path| std::fs::read_to_string(path).expect("a certificate");
        let chain = self.write("chain.pem", read(&root) + &read(&demo));
        Authorities { root, infra, demo, chain }
    }

    /// A list in PEM beside the one in DER.
    pub(crate) fn list_pem(&self, list: &Answer) -> PathBuf {
        let pem = list.body.with_extension("pem");
        let mut openssl = self.program("openssl");
        openssl.args(["crl", "-inform", "DER", "-in"]).arg(&list.body).arg("-out").arg(&pem);
        run(&mut openssl).ok();
        pem
    }

    /// The path of an OCSP request over GET (RFC 6960 §A.1) for a certificate; no nonce.
    pub(crate) fn ocsp_path(&self, issuer: &Path, certificate: &Path) -> String {
        use base64::Engine as _;
        let request = self.file("request.der");
        let mut openssl = self.program("openssl");
        openssl.args(["ocsp", "-no_nonce", "-issuer"]).arg(issuer).arg("-cert").arg(certificate);
        run(openssl.arg("-reqout").arg(&request)).ok();
        let text = base64::engine::general_purpose::STANDARD.encode(std::fs::read(request).expect("a request"));
        format!("/ocsp/{}", text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"))
    }
}
