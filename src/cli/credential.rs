//! Credentials as people name them: a serial number, a fingerprint, or a file that holds one.

use std::path::Path;

use pem::Pem;
use zeroize::Zeroizing;

use super::exit::Failure;
use super::files;
use super::kubeconfig::document::Document;
use crate::config::profile::Profile;
use crate::ident::{Fingerprint, Serial};
use crate::secret::Secret;
use crate::x509::pem::{self as x509_pem, Label};

/// A file with a credential.
pub(super) enum Held {
    /// A kubeconfig, and the credential in it.
    Kubeconfig(Box<Document>, super::kubeconfig::document::Credential),
    /// A profile.
    Profile(Profile),
    /// PEM: certificates, and a key if there is one.
    Pem {
        /// The certificates, leaf first.
        certificate: String,
        /// The key.
        key: Option<Secret<String>>,
    },
}

impl Held {
    /// Finds out what a file holds; `context` chooses within a kubeconfig.
    pub(super) fn read(path: &Path, bytes: &[u8], context: Option<&str>) -> Result<Self, Failure> {
        let wrong = |error: String| Failure::failed(format!("{}: {error}", path.display()));
        if let Some(profile) = std::str::from_utf8(bytes).ok().and_then(|text| Profile::from_toml(text).ok()) {
            return Ok(Self::Profile(profile));
        }
        if bytes.starts_with(b"-----BEGIN ") || bytes.windows(12).any(|window| window == b"\n-----BEGIN ") {
            return from_pem(bytes).map_err(wrong);
        }
        let document = Document::read(bytes).map_err(|_| {
            wrong("wanted a certificate in PEM, a kubeconfig or a profile, found something else".to_owned())
        })?;
        let credential = document.credential(context).map_err(wrong)?;
        Ok(Self::Kubeconfig(Box::new(document), credential))
    }

    /// The certificates in PEM, leaf first.
    pub(super) fn certificate(&self) -> &str {
        match self {
            Self::Kubeconfig(_, credential) => &credential.certificate,
            Self::Profile(profile) => &profile.certificate,
            Self::Pem { certificate, .. } => certificate,
        }
    }

    /// The first certificate's DER.
    pub(super) fn leaf(&self) -> Result<Vec<u8>, Failure> {
        let all = x509_pem::read_all(Label::Certificate, self.certificate().as_bytes()).map_err(Failure::failed)?;
        all.into_iter().next().ok_or_else(|| Failure::failed("wanted a certificate, found none"))
    }
}

/// The name under which the authority knows a credential: a serial number or `X509SHA256=…`.
pub(super) fn named(text: &str) -> Result<String, Failure> {
    if text.starts_with("X509SHA256=") {
        return Ok(text.parse::<Fingerprint>().map_err(Failure::usage)?.to_string());
    }
    if let Ok(serial) = text.parse::<Serial>() {
        return Ok(serial.to_string());
    }
    let path = Path::new(text);
    if !path.exists() {
        return Err(Failure::usage(format!(
            "wanted a serial number of 40 hex digits, X509SHA256=…, or a file that is there, found {text:?}"
        )));
    }
    let held = Held::read(path, &files::read(path)?, None)?;
    Ok(Fingerprint::of(&held.leaf()?).to_string())
}

fn from_pem(bytes: &[u8]) -> Result<Held, String> {
    let blocks: Vec<Pem> = pem::parse_many(bytes).map_err(|_| "wanted PEM, found damaged PEM")?;
    let mut certificates = Vec::new();
    let mut key = None;
    for block in blocks {
        match block.tag() {
            "CERTIFICATE" => certificates.push(block.into_contents()),
            "PRIVATE KEY" => {
                let der = Secret::new(block.into_contents());
                if key.replace(x509_pem::write_private_key(&der)).is_some() {
                    return Err("wanted one private key, found several".to_owned());
                }
            }
            other if other.ends_with("PRIVATE KEY") => {
                let other = other.to_owned();
                drop(Zeroizing::new(block.into_contents()));
                return Err(format!(
                    "wanted a private key as PKCS #8, found {other}; convert it with: openssl pkcs8 -topk8 -nodes"
                ));
            }
            _ => {}
        }
    }
    if certificates.is_empty() {
        return Err("wanted a certificate in PEM, found none".to_owned());
    }
    let certificate = x509_pem::write_certificates(certificates.iter().map(Vec::as_slice));
    Ok(Held::Pem { certificate, key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_and_fingerprints_are_read_as_people_paste_them() {
        let serial = "4A:".repeat(19) + "4A";
        assert_eq!(named(&serial).unwrap(), "4a".repeat(20));
        let fingerprint = format!("X509SHA256={}", "AB".repeat(32));
        assert_eq!(named(&fingerprint).unwrap(), format!("X509SHA256={}", "ab".repeat(32)));
        for text in ["X509SHA256=12", "no-such-file.pem"] {
            assert!(matches!(named(text), Err(Failure::Usage(_))), "{text}");
        }
    }

    #[test]
    fn a_file_stands_for_the_first_certificate_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.pem");
        let text = x509_pem::write_certificates([b"leaf".as_slice(), b"issuer"]);
        std::fs::write(&path, format!("subject=ana\n{}{text}", x509_pem::write(Label::PrivateKey, b"k"))).unwrap();
        assert_eq!(named(path.to_str().unwrap()).unwrap(), Fingerprint::of(b"leaf").to_string());
    }

    #[test]
    fn a_file_with_something_else_is_refused_without_repeating_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let sec1 = pem::encode(&Pem::new("EC PRIVATE KEY", b"hunter2".as_slice()));
        for text in ["password: hunter2\n", "hunter2", &sec1, "", "- hunter2"] {
            std::fs::write(&path, text).unwrap();
            let error = named(path.to_str().unwrap()).unwrap_err().to_string();
            assert!(!error.contains("hunter2") && error.contains("wanted"), "{error}");
        }
    }
}
