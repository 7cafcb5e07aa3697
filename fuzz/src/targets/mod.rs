//! Everything that reads foreign bytes, each with what must hold whatever the bytes are.
//!
//! A target is a function of bytes that panics when its property is broken. The fuzzer calls them with bytes of its own
//! making (`main.rs`), the product's suite with every file of the corpora (`tests/corpora.rs`).

mod certificate;
mod config;
mod crl;
mod csr;
mod feed;
mod head;
mod journal;
mod kubeconfig;
mod ocsp;
mod pem;

/// Panics when what must hold does not.
type Target = fn(&[u8]);

/// The name of each target, which is also its corpus' folder, and the target.
pub(crate) const ALL: [(&str, Target); 11] = [
    ("certificate", certificate::target),
    ("config", config::target),
    ("crl", crl::target),
    ("csr", csr::target),
    ("feed", feed::target),
    ("head", head::target),
    ("journal", journal::target),
    ("kubeconfig", kubeconfig::target),
    ("ocsp", ocsp::target),
    ("ocsp-get", ocsp::get_target),
    ("pem", pem::target),
];
