//! Private keys that other software wrote, unencrypted: PKCS #8, PKCS #1 (RFC 8017 §A.1.2) and SEC 1 (RFC 5915).

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair};
use rcgen::KeyPair;
use rustls_pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroizing;

use super::public_key::{PublicKey, WeakKey};

/// Why a key was not read; never repeats it.
#[derive(Debug, thiserror::Error)]
pub enum BadKey {
    /// No block, or several.
    #[error("wanted one private key in PEM, found {0}")]
    Count(usize),
    /// Not PEM at all, or damaged.
    #[error("wanted a private key in PEM, found text that is not PEM or is damaged")]
    Unreadable,
    /// Under a passphrase.
    #[error("the key is under a passphrase: decrypt it on the way, with `openssl pkey -in FILE` and --ca-key -")]
    Encrypted,
    /// A kind of block that is no key we know.
    #[error("wanted PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY, found {0}")]
    Label(String),
    /// A key of another kind, or no key.
    #[error("wanted an RSA key of 2048 to 4096 bits, P-256, P-384 or Ed25519, found another key or none")]
    Kind,
    /// A key that is weak.
    #[error(transparent)]
    Weak(#[from] WeakKey),
}

/// Reads the one private key in a text; parameters beside it, as openssl writes them for EC, are passed over.
pub fn read(text: &[u8]) -> Result<KeyPair, BadKey> {
    let blocks = pem::parse_many(text).map_err(|_| BadKey::Unreadable)?;
    let mut keys: Vec<_> = blocks.into_iter().filter(|block| block.tag() != "EC PARAMETERS").collect();
    let count = keys.len();
    let (1, Some(block)) = (count, keys.pop()) else { return Err(BadKey::Count(count)) };
    let label = block.tag().to_owned();
    // The header of the encryption of old (RFC 1421 §4.6.1.1).
    let is_encrypted = label == "ENCRYPTED PRIVATE KEY" || block.headers().get("Proc-Type").is_some();
    let der = Zeroizing::new(block.into_contents());
    if is_encrypted {
        return Err(BadKey::Encrypted);
    }
    let pkcs8 = match label.as_str() {
        "PRIVATE KEY" => der,
        "RSA PRIVATE KEY" => {
            let pair = rsa::KeyPair::from_der(&der).map_err(|_| BadKey::Kind)?;
            let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| BadKey::Kind)?;
            Zeroizing::new(pkcs8.as_ref().to_vec())
        }
        "EC PRIVATE KEY" => {
            let curves = [&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1_SIGNING];
            let mut pairs = curves.into_iter().filter_map(|curve| EcdsaKeyPair::from_private_key_der(curve, &der).ok());
            let pkcs8 = pairs.next().and_then(|pair| pair.to_pkcs8v1().ok()).ok_or(BadKey::Kind)?;
            Zeroizing::new(pkcs8.as_ref().to_vec())
        }
        _ => return Err(BadKey::Label(label)),
    };
    let pair = KeyPair::try_from(&PrivatePkcs8KeyDer::from(pkcs8.as_slice())).map_err(|_| BadKey::Kind)?;
    PublicKey::of(&pair).map_err(|_| BadKey::Kind)?.kind()?;
    Ok(pair)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::openssl::OpenSsl;

    /// What openssl writes to a file with these arguments.
    fn written(arguments: &str) -> Vec<u8> {
        let openssl = OpenSsl::new();
        openssl.run(&format!("{arguments} -out key.pem"));
        openssl.read("key.pem")
    }

    #[test]
    fn keys_as_openssl_and_kubeadm_write_them_are_read_and_give_pkcs8() {
        let pkcs1 = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048";
        let openssl = OpenSsl::new();
        openssl.file("pkcs8.pem", written(pkcs1)).run("rsa -in pkcs8.pem -traditional -out pkcs1.pem");
        let sec1 = written("ecparam -name prime256v1 -genkey");
        let p384 = written("ecparam -name secp384r1 -genkey -noout");
        let ed25519 = written("genpkey -algorithm ED25519");
        for text in [openssl.read("pkcs8.pem"), openssl.read("pkcs1.pem"), sec1, p384, ed25519] {
            let pair = read(&text).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text)));
            let again = KeyPair::try_from(&PrivatePkcs8KeyDer::from(pair.serialized_der())).unwrap();
            assert_eq!(PublicKey::of(&pair).unwrap(), PublicKey::of(&again).unwrap(), "what is stored is the same key");
            openssl.file("key.pem", &text).run("pkey -in key.pem -pubout -outform DER -out public.der");
            assert_eq!(PublicKey::of(&pair).unwrap().spki(), openssl.read("public.der"));
        }
    }

    #[test]
    fn what_is_no_such_key_is_refused_by_name() {
        let encrypted = written("genpkey -algorithm ED25519 -aes256 -pass pass:x");
        let openssl = OpenSsl::new();
        openssl.file("plain.pem", written("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048"));
        openssl.run("rsa -in plain.pem -traditional -aes256 -passout pass:x -out old.pem");
        for text in [encrypted, openssl.read("old.pem")] {
            assert!(matches!(read(&text), Err(BadKey::Encrypted)), "{:?}", read(&text).err());
        }
        let short = written("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024");
        assert!(matches!(read(&short), Err(BadKey::Weak(_) | BadKey::Kind)));
        assert!(matches!(read(&written("genpkey -algorithm ED448")), Err(BadKey::Kind)));
        assert!(matches!(read(b"hello"), Err(BadKey::Count(0) | BadKey::Unreadable)));
        let twice = written("genpkey -algorithm ED25519").repeat(2);
        assert!(matches!(read(&twice), Err(BadKey::Count(2))));
        let certificate = include_bytes!("../../certs/certificate/kubeadm-ca.pem");
        assert!(matches!(read(certificate), Err(BadKey::Label(_))));
    }
}
