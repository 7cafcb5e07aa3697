//! Private keys under a passphrase: EncryptedPrivateKeyInfo (RFC 5958 §3) with PBES2 (RFC 8018 §6.2),
//! PBKDF2-HMAC-SHA256 and AES-256-CBC, as `openssl pkcs8` reads and writes it.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{AES_256, DecryptionContext, EncryptionContext};
use aws_lc_rs::cipher::{PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::pbkdf2;
use zeroize::Zeroizing;

use super::Malformed;
use super::decode::Reader;
use super::encode::{self, tag};
use super::oid;
use super::pem::{self, Label, PemError};
use crate::secret::Secret;
use crate::world::{self, Entropy, NoEntropy};

/// Rounds of PBKDF2-HMAC-SHA256 by default: about a third of a second (OWASP's recommendation since 2023).
pub const DEFAULT_ITERATIONS: NonZeroU32 = NonZeroU32::new(600_000).expect("not zero");

/// Most rounds that are worked through when reading: some five seconds.
pub const MOST_ITERATIONS: u32 = 10_000_000;

/// Why a key was not encrypted or not decrypted.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The passphrase does not fit.
    #[error("the passphrase is wrong, or the key file is damaged")]
    WrongPassphrase,
    /// Not one PEM block with the label ENCRYPTED PRIVATE KEY.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// Not an EncryptedPrivateKeyInfo.
    #[error("wanted an encrypted PKCS #8 key: {0}")]
    Malformed(#[from] Malformed),
    /// Another way of encryption.
    #[error(
        "wanted a key encrypted with PBES2, PBKDF2-HMAC-SHA256 and AES-256-CBC; \
         re-encrypt it with: openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256"
    )]
    Scheme,
    /// So many rounds that reading it would keep the machine busy.
    #[error("wanted at most {MOST_ITERATIONS} rounds of PBKDF2, found {0}")]
    Iterations(u32),
    /// No chance, no encryption.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    /// The cipher failed, which it has no reason to.
    #[error("the cipher failed")]
    Cipher,
}

/// Encrypts a PKCS #8 key under a passphrase; gives PEM.
///
/// `iterations` is [`DEFAULT_ITERATIONS`] outside tests.
pub fn encrypt(
    pkcs8: &Secret<Vec<u8>>,
    passphrase: &Secret<String>,
    iterations: NonZeroU32,
    entropy: &dyn Entropy,
) -> Result<String, KeyError> {
    let salt: [u8; 16] = world::random(entropy)?;
    let iv: [u8; 16] = world::random(entropy)?;
    let key = derive(passphrase, &salt, iterations)?;
    let cipher = PaddedBlockEncryptingKey::cbc_pkcs7(key).map_err(|_| KeyError::Cipher)?;
    // Encrypted in place; the capacity keeps the plain text from being left behind by a reallocation.
    let mut octets = Zeroizing::new(Vec::with_capacity(pkcs8.expose().len() + 16));
    octets.extend_from_slice(pkcs8.expose());
    let context = EncryptionContext::Iv128((&iv).into());
    cipher.less_safe_encrypt(&mut *octets, context).map_err(|_| KeyError::Cipher)?;

    let mut der = Vec::with_capacity(octets.len() + 128);
    encode::sequence(&mut der, |out| {
        write_scheme(out, &salt, iterations, &iv);
        encode::octet_string(out, &octets);
    });
    Ok(pem::write(Label::EncryptedPrivateKey, &der))
}

/// Decrypts what [`encrypt`] or `openssl pkcs8 -topk8` wrote; gives the PKCS #8 key in DER.
pub fn decrypt(text: &[u8], passphrase: &Secret<String>) -> Result<Secret<Vec<u8>>, KeyError> {
    let der = pem::read(Label::EncryptedPrivateKey, text)?;
    let mut fields = Reader::of_sequence(&der)?;
    let scheme = Scheme::read(fields.sequence()?)?;
    let mut octets = Zeroizing::new(fields.octet_string()?.to_vec());
    fields.end()?;
    let key = derive(passphrase, scheme.salt, scheme.iterations)?;
    let cipher = PaddedBlockDecryptingKey::cbc_pkcs7(key).map_err(|_| KeyError::Cipher)?;
    let context = DecryptionContext::Iv128((&scheme.iv).into());
    let plain = cipher.decrypt(&mut octets, context).map_err(|_| KeyError::WrongPassphrase)?;
    // One wrong passphrase in 256 leaves a valid padding; then the content gives it away.
    if !looks_like_pkcs8(plain) {
        return Err(KeyError::WrongPassphrase);
    }
    Ok(Secret::new(plain.to_vec()))
}

struct Scheme<'a> {
    salt: &'a [u8],
    iterations: NonZeroU32,
    iv: [u8; 16],
}

impl<'a> Scheme<'a> {
    fn read(mut scheme: Reader<'a>) -> Result<Self, KeyError> {
        expect(scheme.oid()?, oid::PBES2)?;
        let mut parameters = scheme.sequence()?;
        let mut derivation = parameters.sequence()?;
        let mut encryption = parameters.sequence()?;
        expect(derivation.oid()?, oid::PBKDF2)?;
        let mut pbkdf2 = derivation.sequence()?;
        let salt = pbkdf2.octet_string()?;
        let iterations = pbkdf2.small_integer()?;
        if iterations > MOST_ITERATIONS {
            return Err(KeyError::Iterations(iterations));
        }
        let iterations = NonZeroU32::new(iterations).ok_or(Malformed::wanted("at least one round of PBKDF2"))?;
        pbkdf2.optional(tag::INTEGER)?;
        // Absent means HMAC-SHA-1 (RFC 8018 appendix A.2).
        let mut digest = pbkdf2.sequence().map_err(|_| KeyError::Scheme)?;
        expect(digest.oid()?, oid::HMAC_SHA256)?;
        expect(encryption.oid()?, oid::AES256_CBC)?;
        let iv = encryption.octet_string()?;
        let iv = iv.try_into().map_err(|_| Malformed::wanted("an initialisation vector of 16 octets"))?;
        Ok(Self { salt, iterations, iv })
    }
}

fn expect(found: &[u8], wanted: &[u8]) -> Result<(), KeyError> {
    if found == wanted { Ok(()) } else { Err(KeyError::Scheme) }
}

fn write_scheme(out: &mut Vec<u8>, salt: &[u8], iterations: NonZeroU32, iv: &[u8]) {
    encode::sequence(out, |out| {
        encode::oid(out, oid::PBES2);
        encode::sequence(out, |out| {
            encode::sequence(out, |out| {
                encode::oid(out, oid::PBKDF2);
                encode::sequence(out, |out| {
                    encode::octet_string(out, salt);
                    encode::unsigned(out, &iterations.get().to_be_bytes());
                    encode::sequence(out, |out| {
                        encode::oid(out, oid::HMAC_SHA256);
                        encode::primitive(out, tag::NULL, &[]);
                    });
                });
            });
            encode::sequence(out, |out| {
                encode::oid(out, oid::AES256_CBC);
                encode::octet_string(out, iv);
            });
        });
    });
}

fn derive(passphrase: &Secret<String>, salt: &[u8], iterations: NonZeroU32) -> Result<UnboundCipherKey, KeyError> {
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, passphrase.expose().as_bytes(), &mut *key);
    UnboundCipherKey::new(&AES_256, &*key).map_err(|_| KeyError::Cipher)
}

/// RFC 5958 §2: a SEQUENCE of a version (0 or 1), an algorithm and an OCTET STRING.
fn looks_like_pkcs8(plain: &[u8]) -> bool {
    let Ok(mut fields) = Reader::of_sequence(plain) else { return false };
    matches!(fields.small_integer(), Ok(0 | 1)) && fields.sequence().is_ok() && fields.octet_string().is_ok()
}

#[cfg(test)]
mod tests;
