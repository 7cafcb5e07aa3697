//! A key that is made here for somebody else: written down, handed over, and never signed with here.
//!
//! What signs here is an [`rcgen::KeyPair`], which is read back from its PKCS #8 to be one; a key that is only handed
//! over needs that as little as it needs a second opinion on what the library has just made.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::Malformed;
use super::public_key::PublicKey;
use crate::secret::Secret;

/// Both halves of an ECDSA key on P-256, made a moment ago.
#[derive(Debug)]
pub struct FreshKey {
    /// The private key as PKCS #8 version 1 (RFC 5208 §5), the public key inside (RFC 5915 §3).
    pub private: Secret<Vec<u8>>,
    /// The public key.
    pub public: PublicKey,
}

/// Why no key was made: the library's generator failed, or what it made is no key on P-256.
#[derive(Debug, thiserror::Error)]
pub enum NotMade {
    /// The library gives no reason.
    #[error("the generator of keys failed")]
    Failed(#[from] Unspecified),
    /// The public key is not what it must be.
    #[error("the generator of keys made an unreadable one: {0}")]
    Unreadable(#[from] Malformed),
}

impl FreshKey {
    /// Makes a key; the library takes the chance for it from its own generator.
    pub fn make() -> Result<Self, NotMade> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
        let public = PublicKey::of_p256_point(pair.public_key().as_ref())?;
        Ok(Self { private: Secret::new(pair.to_pkcs8v1()?.as_ref().to_vec()), public })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::openssl::OpenSsl;
    use crate::x509::pem;
    use crate::x509::public_key::Kind;
    use crate::x509::signing_key;

    #[test]
    fn openssl_reads_the_private_key_and_finds_the_public_key_that_was_said() {
        let openssl = OpenSsl::new();
        let FreshKey { private, public } = FreshKey::make().unwrap();
        openssl.file("key.pem", pem::write_private_key(&private).expose());
        assert!(openssl.run("pkey -in key.pem -check -noout").contains("Key is valid"));
        openssl.run("pkey -in key.pem -pubout -outform DER -out public.der");
        assert_eq!(public.spki(), openssl.read("public.der"));
        assert_eq!(public.kind(), Ok(Kind::P256));
    }

    #[test]
    fn a_key_is_written_as_one_that_signs_is() {
        let FreshKey { private, public } = FreshKey::make().unwrap();
        let pair = signing_key::read(pem::write_private_key(&private).expose().as_bytes()).unwrap();
        assert_eq!(pair.serialized_der(), private.expose());
        assert_eq!(PublicKey::of(&pair).unwrap(), public);
    }

    #[test]
    fn no_two_keys_are_the_same_and_none_is_shown() {
        let [one, other] = [(); 2].map(|()| FreshKey::make().unwrap());
        assert_ne!(one.public, other.public);
        assert_ne!(one.private.expose(), other.private.expose());
        assert!(format!("{one:?}").contains("[secret]"));
    }
}
