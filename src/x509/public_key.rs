//! Public keys (SubjectPublicKeyInfo): their kind, their strength, their identifier, and what they verify.
//!
//! The kind comes from the key itself, never from a signature beside it: OpenSSL signs with SHA-256 by default,
//! whatever the curve.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};

use super::Malformed;
use super::decode::Reader;
use super::encode::{self, tag};
use super::oid;
use super::signature::Algorithm;

/// A public key, exactly as its SubjectPublicKeyInfo says it (RFC 5280 §4.1.2.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    spki: Vec<u8>,
    /// Where the octets of the BIT STRING begin; they reach to the end.
    key_at: usize,
    kind: Result<Kind, WeakKey>,
}

/// The kinds of key that are strong enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA of 2048 to 4096 bits with exponent 65537.
    Rsa {
        /// Bits of the modulus.
        bits: usize,
    },
}

/// Why a key is not accepted; each says what would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WeakKey {
    /// An RSA modulus below 2048 or above 4096 bits.
    #[error("an RSA key of {bits} bits is refused; wanted 2048 to 4096 bits, or better P-256")]
    RsaSize {
        /// Bits of the modulus.
        bits: usize,
    },
    /// An RSA exponent other than 65537.
    #[error("an RSA key with the exponent {exponent} is refused; wanted 65537")]
    RsaExponent {
        /// The exponent in decimal, or its size.
        exponent: String,
    },
    /// An RSA modulus that is even, hence no product of two odd primes.
    #[error("an RSA key with an even modulus is refused; make a new key")]
    RsaEvenModulus,
    /// A modulus with the mark of a faulty generator, from which it can be factored (ROCA, CVE-2017-15361).
    #[error("an RSA key made by a faulty chip (CVE-2017-15361) is refused; make a new key in software")]
    RsaFaultyGenerator,
    /// A named curve other than the two.
    #[error("an elliptic curve key on {curve} is refused; wanted P-256 or P-384")]
    Curve {
        /// The curve's name or object identifier.
        curve: String,
    },
    /// A curve spelled out instead of named (RFC 5480 §2.1.1 forbids it; CVE-2020-0601 used it).
    #[error("an elliptic curve key with explicit parameters is refused; wanted the named curve P-256 or P-384")]
    ExplicitCurve,
    /// A point that is not written uncompressed.
    #[error("an elliptic curve key whose point is not uncompressed is refused; write the point uncompressed")]
    Point,
    /// DSA.
    #[error("a DSA key is refused; wanted P-256, P-384, Ed25519 or RSA of 2048 to 4096 bits")]
    Dsa,
    /// A key that is bound to RSASSA-PSS.
    #[error("an RSA key limited to RSASSA-PSS is refused; wanted a plain RSA key, P-256, P-384 or Ed25519")]
    RsaPss,
    /// Anything else.
    #[error("a key of kind {kind} is refused; wanted P-256, P-384, Ed25519 or RSA of 2048 to 4096 bits")]
    Other {
        /// The algorithm's name or object identifier.
        kind: String,
    },
}

/// A signature that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify under this key")]
pub struct BadSignature;

/// A key identifier: the leftmost 160 bits of the SHA-256 of the public key's octets (RFC 7093 §2, method 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 20]);

impl KeyId {
    /// All 20 octets.
    pub const fn octets(&self) -> &[u8; 20] {
        &self.0
    }
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo. A key that is weak or of an unknown kind is read too; [`kind`](Self::kind) says so.
    pub fn from_spki(spki: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Reader::of_sequence(spki)?;
        let mut algorithm = fields.sequence()?;
        let key = fields.bit_string()?;
        fields.end()?;
        let kind = kind(&mut algorithm, key)?;
        Ok(Self { spki: spki.to_vec(), key_at: spki.len() - key.len(), kind })
    }

    /// The public key of a signing key.
    pub fn of(key: &impl rcgen::PublicKeyData) -> Result<Self, Malformed> {
        Self::from_spki(&key.subject_public_key_info())
    }

    /// The key at this point of P-256, written uncompressed (RFC 5480 §2.2).
    pub(super) fn of_p256_point(point: &[u8]) -> Result<Self, Malformed> {
        let mut spki = Vec::with_capacity(P256_OCTETS);
        encode::sequence(&mut spki, |out| {
            encode::sequence(out, |out| {
                encode::oid(out, oid::EC_PUBLIC_KEY);
                encode::oid(out, oid::P256);
            });
            encode::bit_string(out, point);
        });
        Self::from_spki(&spki)
    }

    /// The raw SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The content of the BIT STRING.
    pub fn octets(&self) -> &[u8] {
        self.spki.get(self.key_at..).unwrap_or_default()
    }

    /// The key's kind, or why it is not accepted.
    pub fn kind(&self) -> Result<Kind, WeakKey> {
        self.kind.clone()
    }

    /// The identifier that certificates carry as subjectKeyIdentifier.
    pub fn id(&self) -> KeyId {
        let digest = digest::digest(&digest::SHA256, self.octets());
        let mut id = [0; 20];
        id.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        KeyId(id)
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let verification = self.verification(algorithm).ok_or(BadSignature)?;
        UnparsedPublicKey::new(verification, self.octets()).verify(message, signature).map_err(|_| BadSignature)
    }

    fn verification(&self, algorithm: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
        Some(match (self.kind.as_ref().ok()?, algorithm) {
            (Kind::P256, Algorithm::EcdsaSha256) => &ECDSA_P256_SHA256_ASN1,
            (Kind::P256, Algorithm::EcdsaSha384) => &ECDSA_P256_SHA384_ASN1,
            (Kind::P256, Algorithm::EcdsaSha512) => &ECDSA_P256_SHA512_ASN1,
            (Kind::P384, Algorithm::EcdsaSha256) => &ECDSA_P384_SHA256_ASN1,
            (Kind::P384, Algorithm::EcdsaSha384) => &ECDSA_P384_SHA384_ASN1,
            (Kind::P384, Algorithm::EcdsaSha512) => &ECDSA_P384_SHA512_ASN1,
            (Kind::Ed25519, Algorithm::Ed25519) => &ED25519,
            (Kind::Rsa { .. }, Algorithm::RsaSha256) => &RSA_PKCS1_2048_8192_SHA256,
            (Kind::Rsa { .. }, Algorithm::RsaSha384) => &RSA_PKCS1_2048_8192_SHA384,
            (Kind::Rsa { .. }, Algorithm::RsaSha512) => &RSA_PKCS1_2048_8192_SHA512,
            _ => return None,
        })
    }
}

fn kind(algorithm: &mut Reader<'_>, key: &[u8]) -> Result<Result<Kind, WeakKey>, Malformed> {
    match algorithm.oid()? {
        oid::EC_PUBLIC_KEY => curve(algorithm, key),
        oid::RSA => rsa(algorithm, key),
        oid::ED25519 if algorithm.is_empty() && key.len() == 32 => Ok(Ok(Kind::Ed25519)),
        oid::ED25519 => Err(Malformed::wanted("an Ed25519 key of 32 octets without parameters")),
        oid::DSA => Ok(Err(WeakKey::Dsa)),
        oid::RSA_PSS => Ok(Err(WeakKey::RsaPss)),
        other => Ok(Err(WeakKey::Other { kind: oid::shown(other) })),
    }
}

fn curve(algorithm: &mut Reader<'_>, key: &[u8]) -> Result<Result<Kind, WeakKey>, Malformed> {
    if !algorithm.next_is(tag::OID) {
        return Ok(Err(WeakKey::ExplicitCurve));
    }
    let (kind, coordinate) = match algorithm.oid()? {
        oid::P256 => (Kind::P256, 32),
        oid::P384 => (Kind::P384, 48),
        other => return Ok(Err(WeakKey::Curve { curve: oid::shown(other) })),
    };
    // RFC 5480 §2.2: 04, then both coordinates.
    Ok(if key.len() == 1 + 2 * coordinate && key.first() == Some(&4) { Ok(kind) } else { Err(WeakKey::Point) })
}

/// RFC 3279 §2.3.1: parameters NULL, key a SEQUENCE of modulus and exponent.
fn rsa(algorithm: &mut Reader<'_>, key: &[u8]) -> Result<Result<Kind, WeakKey>, Malformed> {
    algorithm.content(tag::NULL, "NULL parameters of an RSA key")?;
    let mut numbers = Reader::of_sequence(key)?;
    let modulus = numbers.integer()?;
    let exponent = numbers.integer()?;
    numbers.end()?;
    if modulus.first().is_some_and(|first| first & 0x80 != 0) {
        return Err(Malformed::wanted("a positive modulus"));
    }
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
    if exponent != EXPONENT {
        return Ok(Err(WeakKey::RsaExponent { exponent: shown_exponent(exponent) }));
    }
    if !(2048..=4096).contains(&bits) {
        return Ok(Err(WeakKey::RsaSize { bits }));
    }
    if modulus.last().is_some_and(|last| last & 1 == 0) {
        return Ok(Err(WeakKey::RsaEvenModulus));
    }
    if has_faulty_generators_mark(modulus) {
        return Ok(Err(WeakKey::RsaFaultyGenerator));
    }
    Ok(Ok(Kind::Rsa { bits }))
}

/// Whether the modulus is a power of 65537 modulo each of the first odd primes, as ROCA's primes make it.
///
/// For a modulus of random primes the chance of that is below 2⁻²⁷.
fn has_faulty_generators_mark(modulus: &[u8]) -> bool {
    SMALL_PRIMES.iter().all(|prime| {
        let remainder = modulus.iter().fold(0, |sum, octet| (sum << 8 | u32::from(*octet)) % prime);
        let mut power = 1;
        loop {
            if power == remainder {
                return true;
            }
            power = power * (65_537 % prime) % prime;
            if power == 1 {
                return false;
            }
        }
    })
}

fn shown_exponent(octets: &[u8]) -> String {
    match octets {
        [0x80..=0xff, ..] => "of a negative number".to_owned(),
        _ if octets.len() > 8 => format!("of {} bits", octets.len() * 8),
        _ => octets.iter().fold(0u64, |sum, octet| sum << 8 | u64::from(*octet)).to_string(),
    }
}

/// What the SubjectPublicKeyInfo of a key on P-256 takes.
const P256_OCTETS: usize = 91;

/// 65537, the one exponent in use (NIST SP 800-56B §6.2 allows larger ones; nobody makes them).
const EXPONENT: &[u8] = &[1, 0, 1];

/// The odd primes whose product divides the step of every faulty generator.
const SMALL_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// 65537 to this power, big endian.
    fn power(exponent: usize) -> Vec<u8> {
        let mut digits = vec![1u8];
        for _ in 0..exponent {
            let mut carry = 0;
            digits.extend([0, 0, 0]);
            for digit in &mut digits {
                carry += u64::from(*digit) * 65_537;
                *digit = u8::try_from(carry & 0xff).unwrap();
                carry >>= 8;
            }
        }
        digits.into_iter().rev().skip_while(|digit| *digit == 0).collect()
    }

    #[test]
    fn a_modulus_of_the_faulty_chips_is_recognised() {
        let marked = power(128);
        assert!(has_faulty_generators_mark(&marked));
        let other: Vec<u8> =
            marked.iter().enumerate().map(|(at, octet)| if at == 9 { octet ^ 2 } else { *octet }).collect();
        assert!(!has_faulty_generators_mark(&other));
    }

    #[test]
    fn a_point_in_the_hybrid_form_is_refused() {
        let mut spki = rcgen::PublicKeyData::subject_public_key_info(&rcgen::KeyPair::generate().unwrap());
        let form = spki.len() - 65;
        assert_eq!(spki[form], 4);
        spki[form] = 6;
        assert_eq!(PublicKey::from_spki(&spki).unwrap().kind(), Err(WeakKey::Point));
    }

    #[test]
    fn a_key_with_trailing_data_or_a_damaged_frame_is_malformed() {
        let spki = rcgen::PublicKeyData::subject_public_key_info(&rcgen::KeyPair::generate().unwrap());
        assert!(PublicKey::from_spki(&spki).is_ok());
        assert!(PublicKey::from_spki(&[spki.as_slice(), &[0]].concat()).is_err());
        assert!(PublicKey::from_spki(&spki[..spki.len() - 1]).is_err());
    }
}
