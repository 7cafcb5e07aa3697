//! Keys that are made here and never sent, and requests for certificates.

use std::path::Path;

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};

use super::exit::Failure;
use super::files;
use crate::secret::Secret;
use crate::x509::certificate::Certificate;
use crate::x509::csr;
use crate::x509::pem::{self, Label};
use crate::x509::public_key::PublicKey;

/// A key made a moment ago (P-256).
pub(super) struct NewKey {
    pair: KeyPair,
    pem: Secret<String>,
}

impl NewKey {
    /// Makes a key.
    pub(super) fn make() -> Result<Self, Failure> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256);
        let pair = pair.map_err(|error| Failure::failed(format!("cannot make a key: {error}")))?;
        let pem = pem::write_private_key(&Secret::new(pair.serialize_der()));
        Ok(Self { pair, pem })
    }

    /// The key in PEM (PKCS #8).
    pub(super) const fn pem(&self) -> &Secret<String> {
        &self.pem
    }

    /// A request for a certificate in PEM; without a subject, as whose certificate it becomes is not for it to say.
    pub(super) fn request(&self) -> Result<String, Failure> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&self.pair).and_then(|request| request.pem());
        request.map_err(|error| Failure::failed(format!("cannot make a request: {error}")))
    }

    /// Whether this certificate (in PEM) is for this key.
    pub(super) fn fits(&self, certificate: &str) -> bool {
        let der = pem::read(Label::Certificate, certificate.as_bytes()).ok();
        let certificate = der.and_then(|der| Certificate::from_der(&der).ok());
        certificate.zip(PublicKey::of(&self.pair).ok()).is_some_and(|(found, wanted)| found.public_key == wanted)
    }
}

/// Reads somebody's request, in PEM or DER; gives PEM. A private key is refused here and goes nowhere.
pub(super) fn read_request(path: &Path) -> Result<String, Failure> {
    let bytes = files::read(path)?;
    let wrong = |error: &dyn std::fmt::Display| Failure::failed(format!("{}: {error}", path.display()));
    csr::Request::from_pem_or_der(&bytes).map_err(|error| wrong(&error))?;
    if !bytes.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return Ok(pem::write(Label::Request, &bytes));
    }
    let der = pem::read(Label::Request, &bytes).map_err(|error| wrong(&error))?;
    Ok(pem::write(Label::Request, &der))
}

const BEGIN: &[u8] = b"-----BEGIN ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_nothing_but_its_key() {
        let key = NewKey::make().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r");
        let text = key.request().unwrap();
        std::fs::write(&path, &text).unwrap();
        assert_eq!(read_request(&path).unwrap().trim(), text.replace('\r', "").trim());
        let request = csr::Request::from_pem_or_der(text.as_bytes()).unwrap();
        assert_eq!(request.public_key, PublicKey::of(&key.pair).unwrap());
        assert!(!text.contains("PRIVATE"));
    }

    #[test]
    fn a_private_key_in_place_of_a_request_goes_nowhere() {
        let key = NewKey::make().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r");
        for text in [key.pem().expose().clone(), format!("{}{}", key.request().unwrap(), key.pem().expose())] {
            std::fs::write(&path, text).unwrap();
            let error = read_request(&path).unwrap_err().to_string();
            assert!(error.contains("private key"), "{error}");
        }
    }
}
