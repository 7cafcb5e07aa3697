//! step-ca, with the CA of the bench and one provisioner, whose key signs a token for each wish.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench that cannot go on has failed")]

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis::ident::Serial;
use portcullis::world::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::openssl::OpenSsl;
use super::service::{self, Connection, Service};

/// A running one, and a connection to it that is kept.
pub(crate) struct Step {
    pub(crate) service: Service,
    connection: Connection,
    key: EcdsaKeyPair,
}

impl Step {
    /// Starts one with `ca.pem`, `ca.key` and `root.pem` of a folder; `settings` are added to its own.
    pub(crate) fn start(openssl: &OpenSsl, root: &[u8], settings: &Value) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = key.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": "ES256", "kid": KEY });
        let port = service::port();
        let mut all = json!({
            "root": "root.pem", "crt": "ca.pem", "key": "ca.key", "address": format!("127.0.0.1:{port}"),
            "dnsNames": ["localhost"], "logger": { "format": "text" },
            "authority": { "provisioners": [{ "type": "JWK", "name": NAME, "key": jwk }] },
        });
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let name = format!("step-{port}.json");
        openssl.file(&name, all.to_string());
        let service = Service::start(Command::new("step-ca").arg(name), openssl.folder(), port, "Serving HTTPS on");
        let connection = service.connect_securely(root);
        Self { service, connection, key }
    }

    /// A certificate in PEM for a request whose name this is.
    pub(crate) fn sign(&mut self, request: &str, name: &str) -> String {
        let answer = self.ask("/1.0/sign", &json!({ "csr": request, "ott": self.token("/1.0/sign", name) }));
        answer["crt"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Revokes what has this number, whether it was ever issued or not.
    pub(crate) fn revoke(&mut self, serial: &Serial) {
        let number = decimal(serial);
        let token = self.token("/1.0/revoke", &number);
        let wish = json!({ "serial": number, "ott": token, "reasonCode": 1, "passive": true });
        let answer = self.ask("/1.0/revoke", &wish);
        assert_eq!(answer["status"], "ok", "{answer}");
    }

    /// Its list, in DER.
    pub(crate) fn list(&mut self) -> Vec<u8> {
        self.connection.ask("GET /1.0/crl HTTP/1.1", "text/plain", b"")
    }

    fn ask(&mut self, path: &str, wish: &Value) -> Value {
        let wish = wish.to_string();
        let answer = self.connection.ask(&format!("POST {path} HTTP/1.1"), "application/json", wish.as_bytes());
        serde_json::from_slice(&answer).unwrap()
    }

    /// What allows one wish for something with this name (a JWT, RFC 7519).
    fn token(&self, path: &str, name: &str) -> String {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let now = SystemClock.now().unix_milliseconds() / 1000;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let head = json!({ "alg": "ES256", "kid": KEY, "typ": "JWT" });
        let claims = json!({
            "iss": NAME, "aud": format!("https://localhost{path}"), "sub": name, "jti": number.to_string(),
            "iat": now, "nbf": now, "exp": now + 300,
        });
        let signed = [head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

/// The provisioner and its key.
const NAME: &str = "bench";
const KEY: &str = "bench-1";

/// A number of 20 octets in digits, as step-ca and cfssl want it.
pub(crate) fn decimal(serial: &Serial) -> String {
    let mut limbs: Vec<u64> =
        serial.octets().chunks(4).map(|octets| u64::from(u32::from_be_bytes(octets.try_into().unwrap()))).collect();
    let mut groups = Vec::new();
    while limbs.iter().any(|limb| *limb != 0) {
        let mut rest = 0;
        for limb in &mut limbs {
            let whole = (rest << 32) | *limb;
            (*limb, rest) = (whole / GROUP, whole % GROUP);
        }
        groups.push(format!("{rest:09}"));
    }
    groups.reverse();
    groups.concat().trim_start_matches('0').to_owned()
}

/// Nine digits at a time.
const GROUP: u64 = 1_000_000_000;
