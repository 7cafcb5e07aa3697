//! OCSP requests, from a POST's body and a GET's path.

use portcullis::x509::ocsp::request::{Request, decode_get_path};

/// Whatever is to be echoed stands in the request as it came, byte for byte.
pub(crate) fn target(octets: &[u8]) {
    let Ok(request) = Request::from_der(octets) else { return };
    let holds = |part: &[u8]| octets.windows(part.len()).any(|window| window == part);
    assert!(!request.cert_ids.is_empty());
    assert!(request.cert_ids.iter().all(|asked| holds(&asked.der)));
    assert!(request.nonce.is_none_or(|nonce| holds(nonce.der()) && nonce.der().len() <= 131));
}

/// A path means the same however much of it is escaped.
pub(crate) fn get_target(octets: &[u8]) {
    let Ok(path) = std::str::from_utf8(octets) else { return };
    let Ok(decoded) = decode_get_path(path) else { return };
    target(&decoded);
    let mut escaped = String::new();
    let mut rest = path.bytes();
    while let Some(octet) = rest.next() {
        match octet {
            b'%' => escaped.extend(['%'].into_iter().chain(rest.by_ref().take(2).map(char::from))),
            octet => escaped.push_str(&format!("%{octet:02X}")),
        }
    }
    if let Ok(again) = decode_get_path(&escaped) {
        assert_eq!(decoded, again);
    } else {
        assert!(escaped.len() > 4 * 16 * 1024, "refused only for its length");
    }
}
