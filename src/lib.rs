//! Portcullis: the certificate authority that hands out per-user kubeconfigs, and the gate that drops the moment one
//! is revoked.
//!
//! The modules are listed in import order: a module names only modules above it (`tests/architecture.rs`).

pub mod world;
pub mod ident;
pub mod secret;
pub mod x509;
