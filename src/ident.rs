//! Checked names: a value that exists is valid.
//!
//! Raw text becomes one of these types at the edge, once.
//! Every refusal says what was wanted, what was found and the way out, and never repeats control characters.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Why a name was refused; the text is fit for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidName(String);

impl InvalidName {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

checked_text! {
    /// The ID of a user or of an agency: the CN of its certificates.
    ///
    /// 1–64 of `a-z 0-9 . _ @ + -`, starting with a letter or digit.
    IdentityId, check_identity
}

checked_text! {
    /// Any ID that may be revoked, known or not: 1–256 bytes of printable text.
    ///
    /// Wider than [`IdentityId`], because what was imported or issued elsewhere must be revocable too.
    AnyId, check_any_id
}

checked_text! {
    /// A group: an O of a certificate, and a group that Kubernetes sees.
    ///
    /// 1–64 characters in NFC, without control, bidirectional or invisible characters; never `system:…`.
    GroupName, check_group
}

checked_text! {
    /// A cluster: a DNS label of at most 40 characters (RFC 1123 §2.1).
    ClusterName, check_cluster
}

checked_text! {
    /// An issuing certificate authority: `<cluster>-<generation>`, `root` or `infra`, as in the CRL's address.
    IssuerName, check_issuer
}

checked_text! {
    /// A proxy: a DNS label of at most 63 characters (RFC 1123 §2.1).
    ProxyName, check_proxy
}

impl From<&IdentityId> for AnyId {
    fn from(id: &IdentityId) -> Self {
        Self(id.0.clone())
    }
}

impl IssuerName {
    /// The issuer of a cluster's generation, counted from 1.
    pub fn of_cluster(cluster: &ClusterName, generation: u32) -> Self {
        Self(format!("{cluster}-{generation}"))
    }

    /// The root CA.
    pub fn root() -> Self {
        Self("root".to_owned())
    }

    /// The infrastructure CA, which signs servers, proxies and management certificates.
    pub fn infra() -> Self {
        Self("infra".to_owned())
    }
}

/// A certificate's serial number: 20 octets, positive (RFC 5280 §4.1.2.2).
///
/// Printed as 40 lower-case hex digits; read in either case, with or without colons, shorter ones padded on the left.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Serial([u8; 20]);

impl Serial {
    /// A serial from random octets.
    ///
    /// The top bit is cleared, so that the number is positive, and the next one set, so that it is always 20 octets
    /// long: 158 random bits remain.
    pub fn from_random(mut octets: [u8; 20]) -> Self {
        octets[0] = octets[0] & 0x7f | 0x40;
        Self(octets)
    }

    /// A serial from the content of a DER INTEGER: big endian, possibly shorter or with a leading zero.
    ///
    /// `None` for zero, for negative numbers and for more than 20 octets.
    pub fn from_integer(content: &[u8]) -> Option<Self> {
        if content.first().is_none_or(|first| first & 0x80 != 0) {
            return None;
        }
        let significant = content.iter().position(|octet| *octet != 0)?;
        let significant = content.get(significant..)?;
        let start = 20usize.checked_sub(significant.len())?;
        let mut octets = [0; 20];
        octets.get_mut(start..)?.copy_from_slice(significant);
        Some(Self(octets))
    }

    /// All 20 octets, big endian.
    pub const fn octets(&self) -> &[u8; 20] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Serial {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wanted = || InvalidName::new("wanted a serial number: 1 to 40 hex digits, colons allowed");
        let digits: String = text.trim().chars().filter(|c| *c != ':').collect();
        let digits = format!("{digits:0>40}").to_ascii_lowercase();
        let octets: [u8; 20] = hex::decode(&digits).ok().and_then(|o| o.try_into().ok()).ok_or_else(wanted)?;
        if octets[0] & 0x80 != 0 || octets == [0; 20] {
            return Err(InvalidName::new("wanted a positive serial number of at most 20 octets"));
        }
        Ok(Self(octets))
    }
}

/// The SHA-256 of a certificate's DER.
///
/// Printed as Kubernetes writes a credential id: `X509SHA256=` and 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub fn of(der: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
        let mut octets = [0; 32];
        octets.copy_from_slice(digest.as_ref());
        Self(octets)
    }

    /// A fingerprint from its 32 octets.
    pub const fn from_octets(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// All 32 octets.
    pub const fn octets(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its first half.
    pub fn short(&self) -> ShortFingerprint {
        let mut octets = [0; 16];
        octets.copy_from_slice(self.0.split_at(16).0);
        ShortFingerprint(octets)
    }
}

/// The first half of a certificate's SHA-256.
///
/// 128 bits tell recorded certificates apart, and take half the room where there are millions: one that collides with
/// another on purpose would have to be signed by us first, and its serial number is drawn by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShortFingerprint(pub [u8; 16]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{CREDENTIAL_ID}{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads `X509SHA256=` followed by 64 hex digits, colons allowed.
impl FromStr for Fingerprint {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wanted = || InvalidName::new("wanted X509SHA256= and 64 hex digits, as Kubernetes logs a credential id");
        let digits = text.trim().strip_prefix(CREDENTIAL_ID).ok_or_else(wanted)?;
        let digits: String = digits.chars().filter(|c| *c != ':').collect();
        let octets = hex::decode(digits).ok().and_then(|o| o.try_into().ok()).ok_or_else(wanted)?;
        Ok(Self(octets))
    }
}

/// Whether Kubernetes keeps this name for itself: `system:…`, compared after NFKC and case folding.
///
/// Groups such as `system:masters` cannot be denied by any authorizer, so nothing like them is ever issued.
pub fn is_reserved_by_kubernetes(name: &str) -> bool {
    if name.is_ascii() {
        // Its own NFKC, and folded by lower case alone: a start reads such names by the million.
        return begins_with_system(name.chars().map(|c| c.to_ascii_lowercase()));
    }
    begins_with_system(folded(name).chars())
}

fn folded(name: &str) -> String {
    caseless::default_case_fold_str(&name.nfkc().collect::<String>()).nfkc().collect()
}

fn begins_with_system(folded: impl Iterator<Item = char>) -> bool {
    let visible = folded.filter(|c| !is_invisible(*c) && !c.is_whitespace());
    visible.take(RESERVED.len()).eq(RESERVED.chars())
}

/// What Kubernetes keeps for itself begins like this.
const RESERVED: &str = "system:";

fn check_identity(text: &str) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Err(InvalidName::new("wanted an ID of 1 to 64 characters, found an empty one"));
    }
    if text.chars().count() > 64 {
        return Err(InvalidName::new(format!("wanted an ID of 1 to 64 characters, found {}", text.chars().count())));
    }
    if is_reserved_by_kubernetes(text) {
        return Err(InvalidName::new(format!(
            "the ID {} is refused: Kubernetes keeps names that begin with system: for itself",
            shown(text)
        )));
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._@+-".contains(c);
    let lower = text.to_ascii_lowercase();
    if lower != text && lower.chars().all(allowed) {
        return Err(InvalidName::new(format!("IDs are lower case: use {lower} instead of {text}")));
    }
    if let Some(found) = text.chars().find(|c| !allowed(*c)) {
        return Err(InvalidName::new(format!(
            "wanted an ID of a-z 0-9 . _ @ + -, found {} in {}",
            shown_char(found),
            shown(text)
        )));
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(InvalidName::new(format!("an ID starts with a letter or digit, found {}", shown(text))));
    }
    Ok(())
}

fn check_any_id(text: &str) -> Result<(), InvalidName> {
    if text.is_empty() || text.len() > 256 {
        return Err(InvalidName::new(format!("wanted an ID of 1 to 256 bytes, found {}", text.len())));
    }
    match text.chars().find(|c| c.is_control() || is_invisible(*c)) {
        Some(found) => {
            Err(InvalidName::new(format!("wanted an ID of printable characters, found {}", shown_char(found))))
        }
        None => Ok(()),
    }
}

fn check_group(text: &str) -> Result<(), InvalidName> {
    let length = text.chars().count();
    if length == 0 || length > 64 {
        return Err(InvalidName::new(format!("wanted a group of 1 to 64 characters, found {length}")));
    }
    if let Some(found) = text.chars().find(|c| c.is_control() || is_invisible(*c)) {
        return Err(InvalidName::new(format!(
            "wanted a group of visible characters, found {} in {}",
            shown_char(found),
            shown(text)
        )));
    }
    if text.trim() != text {
        return Err(InvalidName::new(format!("a group neither starts nor ends with a space, found {}", shown(text))));
    }
    if is_reserved_by_kubernetes(text) {
        return Err(InvalidName::new(format!(
            "the group {} is refused: Kubernetes keeps groups that begin with system: for itself, and no authorizer can deny system:masters",
            shown(text)
        )));
    }
    if !is_nfc(text) {
        let composed: String = text.nfc().collect();
        return Err(InvalidName::new(format!("wanted a group in Unicode's composed form (NFC): use {composed}")));
    }
    Ok(())
}

fn check_cluster(text: &str) -> Result<(), InvalidName> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let bounded = (1..=40).contains(&text.len());
    if !bounded || !text.chars().all(allowed) || text.starts_with('-') || text.ends_with('-') {
        return Err(InvalidName::new(format!(
            "wanted a cluster name of 1 to 40 of a-z 0-9 -, neither starting nor ending with -, found {}",
            shown(text)
        )));
    }
    if matches!(text, "root" | "infra") {
        return Err(InvalidName::new(format!(
            "{text} is the name of one of our own authorities: name the cluster otherwise"
        )));
    }
    Ok(())
}

fn check_proxy(text: &str) -> Result<(), InvalidName> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let bounded = (1..=63).contains(&text.len());
    if !bounded || !text.chars().all(allowed) || text.starts_with('-') || text.ends_with('-') {
        return Err(InvalidName::new(format!(
            "wanted a proxy's name of 1 to 63 of a-z 0-9 -, neither starting nor ending with -, found {}",
            shown(text)
        )));
    }
    Ok(())
}

fn check_issuer(text: &str) -> Result<(), InvalidName> {
    if matches!(text, "root" | "infra") {
        return Ok(());
    }
    let generation = text.rsplit_once('-').filter(|(cluster, _)| check_cluster(cluster).is_ok());
    match generation.map(|(_, generation)| generation.parse::<u32>()) {
        Some(Ok(number)) if number > 0 => Ok(()),
        _ => Err(InvalidName::new(format!("wanted an issuer such as root, infra or prod-1, found {}", shown(text)))),
    }
}

/// Characters that a person cannot see, or that reorder what they see: bidirectional controls, zero-width ones,
/// variation selectors, tags and private use.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{e0fff}'
        | '\u{f0000}'..='\u{10ffff}')
}

/// At most 70 characters of what was found, in quotes, escaped so that a terminal or log line survives it.
fn shown(text: &str) -> String {
    let head: String = text.chars().take(70).collect();
    let tail = if text.chars().nth(70).is_some() { "…" } else { "" };
    format!("\"{}{tail}\"", head.escape_debug())
}

fn shown_char(c: char) -> String {
    if c.is_control() || is_invisible(c) || c.is_whitespace() {
        format!("U+{:04X}", u32::from(c))
    } else {
        format!("'{c}'")
    }
}

const CREDENTIAL_ID: &str = "X509SHA256=";

#[cfg(test)]
mod tests;
