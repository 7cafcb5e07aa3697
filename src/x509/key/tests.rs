use super::*;
use crate::x509::openssl::OpenSsl;

/// Counts up: predictable on purpose.
#[derive(Debug)]
struct Counting;
impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
        buffer.iter_mut().zip(1..).for_each(|(octet, number)| *octet = number);
        Ok(())
    }
}

const FEW: NonZeroU32 = NonZeroU32::new(10).unwrap();

fn passphrase(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn key() -> Secret<Vec<u8>> {
    Secret::new(rcgen::KeyPair::generate().unwrap().serialize_der())
}

#[test]
fn openssl_reads_an_encrypted_key_and_we_read_openssl() {
    let key = key();
    let openssl = OpenSsl::new();
    openssl.file("key.pem", encrypt(&key, &passphrase("correct horse"), FEW, &Counting).unwrap());
    openssl.file("pass", "correct horse");
    openssl.run("pkcs8 -in key.pem -passin file:pass -topk8 -nocrypt -outform DER -out plain.der");
    assert_eq!(&openssl.read("plain.der"), key.expose());
    openssl.run("pkcs8 -in plain.der -inform DER -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -iter 100 -passout file:pass -out theirs.pem");
    let read = decrypt(&openssl.read("theirs.pem"), &passphrase("correct horse")).unwrap();
    assert_eq!(read.expose(), key.expose());
}

#[test]
fn a_wrong_passphrase_is_told_as_such() {
    let text = encrypt(&key(), &passphrase("right"), FEW, &Counting).unwrap();
    // Enough tries to meet a padding that is valid by chance.
    for attempt in 0..600 {
        let wrong = decrypt(text.as_bytes(), &passphrase(&format!("wrong {attempt}")));
        assert!(matches!(wrong, Err(KeyError::WrongPassphrase)), "{wrong:?}");
    }
    assert!(decrypt(text.as_bytes(), &passphrase("right")).is_ok());
}

#[test]
fn a_key_that_would_take_hours_to_open_is_refused() {
    let text = encrypt(&key(), &passphrase("p"), FEW, &Counting).unwrap();
    let mut der = pem::read(Label::EncryptedPrivateKey, text.as_bytes()).unwrap();
    let mut scheme = Vec::new();
    write_scheme(&mut scheme, &[1; 16], NonZeroU32::new(MOST_ITERATIONS + 1).unwrap(), &[1; 16]);
    der.clear();
    encode::sequence(&mut der, |out| {
        out.extend_from_slice(&scheme);
        encode::octet_string(out, &[0; 32]);
    });
    let text = pem::write(Label::EncryptedPrivateKey, &der);
    assert!(matches!(decrypt(text.as_bytes(), &passphrase("p")), Err(KeyError::Iterations(10_000_001))));
}

#[test]
fn another_scheme_is_refused_with_the_command_that_mends_it() {
    let openssl = OpenSsl::new();
    openssl.file("plain.der", key().expose()).file("pass", "p");
    openssl.run("pkcs8 -in plain.der -inform DER -topk8 -v2 aes-128-cbc -iter 100 -passout file:pass -out k.pem");
    let refusal = decrypt(&openssl.read("k.pem"), &passphrase("p")).unwrap_err().to_string();
    assert!(refusal.contains("openssl pkcs8 -topk8"), "{refusal}");
}
