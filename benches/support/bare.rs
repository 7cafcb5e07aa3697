//! The arithmetic that nobody can do without, with the library that the authority uses, and nothing around it.
#![allow(dead_code, reason = "each bench uses another part of this")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::hint::black_box;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, UnparsedPublicKey};
use portcullis::x509::pem::{self, Label};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

use super::pairs::worked;

/// What of a request takes arithmetic.
pub(crate) struct Bare {
    key: Vec<u8>,
    pub(crate) signed: Vec<u8>,
    signature: Vec<u8>,
}

impl Bare {
    /// That of a request in PEM.
    pub(crate) fn of(request: &str) -> Self {
        let der = pem::read(Label::Request, request.as_bytes()).unwrap();
        let (_, parsed) = X509CertificationRequest::from_der(&der).unwrap();
        let about = &parsed.certification_request_info;
        Self {
            key: about.subject_pki.subject_public_key.data.to_vec(),
            signed: about.raw.to_vec(),
            signature: parsed.signature_value.data.to_vec(),
        }
    }
}

/// The time for one of them: its signature is verified, and one made.
pub(crate) fn verify_and_sign(all: &[Bare]) -> Duration {
    let (key, random) = (EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(), SystemRandom::new());
    let one = |bare: &Bare| {
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &bare.key);
        public.verify(&bare.signed, &bare.signature).unwrap();
        black_box(key.sign(&random, &bare.signed).unwrap());
    };
    worked(|| all.iter().for_each(one)) / u32::try_from(all.len()).unwrap()
}

/// The time for one signature of so many over as many octets as an OCSP answer for one certificate signs, about.
pub(crate) fn sign(times: u32) -> Duration {
    let (key, random) = (EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(), SystemRandom::new());
    let message = [0x5a; 256];
    let one = |_| {
        black_box(key.sign(&random, &message).unwrap());
    };
    worked(|| (0..times).for_each(one)) / times
}
