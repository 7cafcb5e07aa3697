//! PEM (RFC 7468): base64 in lines of 64 between two labelled rules.

use pem::{EncodeConfig, LineEnding, Pem};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// What a PEM block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// A certificate.
    Certificate,
    /// A certificate signing request.
    Request,
    /// A certificate revocation list.
    Crl,
    /// A list that is to be signed where the key is: a TBSCertList (RFC 5280 §5.1.2).
    UnsignedCrl,
    /// A private key as PKCS #8.
    PrivateKey,
    /// A private key as PKCS #8 under a passphrase.
    EncryptedPrivateKey,
}

impl Label {
    /// The text between `BEGIN` and the dashes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "CERTIFICATE",
            Self::Request => "CERTIFICATE REQUEST",
            Self::Crl => "X509 CRL",
            Self::UnsignedCrl => "PORTCULLIS UNSIGNED CRL",
            Self::PrivateKey => "PRIVATE KEY",
            Self::EncryptedPrivateKey => "ENCRYPTED PRIVATE KEY",
        }
    }
}

/// Why no block could be taken from a text; never repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// No PEM, or damaged PEM.
    #[error("wanted PEM with the label {wanted}, found text that is not PEM or is damaged")]
    Unreadable {
        /// The label that was wanted.
        wanted: &'static str,
    },
    /// PEM of another kind.
    #[error("wanted PEM with the label {wanted}, found {found}")]
    OtherLabel {
        /// The label that was wanted.
        wanted: &'static str,
        /// What is there instead.
        found: &'static str,
    },
    /// More than one block where one is wanted.
    #[error("wanted one PEM block, found {0}")]
    Several(usize),
    /// More blocks than anyone needs.
    #[error("wanted at most {MOST_BLOCKS} PEM blocks, found {0}")]
    TooMany(usize),
}

/// Writes one block.
pub fn write(label: Label, der: &[u8]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new(label.as_str(), der), config)
}

/// Writes certificates one after the other, the leaf first by custom.
pub fn write_certificates<'a>(certificates: impl IntoIterator<Item = &'a [u8]>) -> String {
    certificates.into_iter().map(|der| write(Label::Certificate, der)).collect()
}

/// Writes an unencrypted private key (PKCS #8).
pub fn write_private_key(pkcs8: &Secret<Vec<u8>>) -> Secret<String> {
    Secret::new(write(Label::PrivateKey, pkcs8.expose()))
}

/// Reads the one block in a text, which must have this label; gives its DER.
pub fn read(label: Label, text: &[u8]) -> Result<Vec<u8>, PemError> {
    let mut blocks = read_all(label, text)?;
    match (blocks.len(), blocks.pop()) {
        (1, Some(block)) => Ok(block),
        (count, _) => Err(PemError::Several(count)),
    }
}

/// Reads every block in a text, at least one, all of which must have this label; gives their DER.
///
/// A text holds at most 64 blocks, so that nobody is kept busy with ten thousand of them.
pub fn read_all(label: Label, text: &[u8]) -> Result<Vec<Vec<u8>>, PemError> {
    let wanted = label.as_str();
    let count = count_blocks(text);
    if count > MOST_BLOCKS {
        return Err(PemError::TooMany(count));
    }
    let blocks = pem::parse_many(text).map_err(|_| PemError::Unreadable { wanted })?;
    if count == 0 || blocks.len() != count {
        return Err(PemError::Unreadable { wanted });
    }
    blocks.into_iter().map(|block| contents(block, label)).collect()
}

/// Reads the one unencrypted private key (PKCS #8) in a text.
pub fn read_private_key(text: &[u8]) -> Result<Secret<Vec<u8>>, PemError> {
    read(Label::PrivateKey, text).map(Secret::new)
}

/// Whether the text holds a private key of any kind.
pub(super) fn holds_private_key(text: &[u8]) -> bool {
    find(text, b"PRIVATE KEY-----").is_some()
}

/// How many blocks begin in the text.
pub(super) fn count_blocks(mut text: &[u8]) -> usize {
    let mut count = 0;
    while let Some(at) = find(text, BEGIN) {
        count += 1;
        text = text.get(at + BEGIN.len()..).unwrap_or_default();
    }
    count
}

fn find<const LENGTH: usize>(text: &[u8], wanted: &[u8; LENGTH]) -> Option<usize> {
    // The first octet alone rules most places out, at half the time.
    text.windows(LENGTH).position(|window| window.first() == wanted.first() && window == wanted)
}

fn contents(block: Pem, label: Label) -> Result<Vec<u8>, PemError> {
    let same = block.tag() == label.as_str();
    // Microsoft's and old OpenSSL's spelling (RFC 7468 §7).
    let old_request = label == Label::Request && block.tag() == "NEW CERTIFICATE REQUEST";
    if same || old_request {
        return Ok(block.into_contents());
    }
    let found = if block.tag().ends_with("PRIVATE KEY") { "a private key" } else { "another label" };
    drop(Zeroizing::new(block.into_contents()));
    Err(PemError::OtherLabel { wanted: label.as_str(), found })
}

const BEGIN: &[u8; 11] = b"-----BEGIN ";
/// More than any chain or bundle that we read; a system's trust store is none.
const MOST_BLOCKS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_back_and_lines_are_64_long() {
        let text = write_certificates([[7; 100].as_slice(), &[8; 3]]);
        assert_eq!(text.lines().nth(1).unwrap().len(), 64);
        assert!(!text.contains('\r'));
        assert_eq!(read_all(Label::Certificate, text.as_bytes()).unwrap(), [vec![7; 100], vec![8; 3]]);
        assert_eq!(read(Label::Certificate, text.as_bytes()), Err(PemError::Several(2)));
    }

    #[test]
    fn a_private_key_in_the_wrong_place_is_not_repeated() {
        let text = write(Label::PrivateKey, b"secret");
        let refusal = read(Label::Certificate, text.as_bytes()).unwrap_err().to_string();
        assert_eq!(refusal, "wanted PEM with the label CERTIFICATE, found a private key");
    }

    #[test]
    fn damaged_and_empty_texts_are_refused() {
        let unreadable = Err(PemError::Unreadable { wanted: "CERTIFICATE" });
        let whole = write(Label::Certificate, &[7; 100]);
        for text in ["", "hello", &whole[..60], &whole.replace("END", "ENT"), &whole.replace("Bwc", "B!!c")] {
            assert_eq!(read(Label::Certificate, text.as_bytes()), unreadable, "{text}");
        }
        assert_eq!(read(Label::Certificate, whole.repeat(65).as_bytes()), Err(PemError::TooMany(65)));
    }
}
