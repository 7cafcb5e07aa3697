//! Portcullis: the certificate authority that hands out per-user kubeconfigs, and the gate that drops the moment one
//! is revoked.
//!
//! The modules are listed in import order: a module names only modules above it (`tests/architecture.rs`).

pub mod world;
pub mod ident;
pub mod secret;
pub mod disk;
pub mod observe;
pub mod x509;
pub mod kube;
pub mod standing;
pub mod status;
pub mod access;
pub mod journal;
pub mod store;
pub mod command;
pub mod follow;
pub mod ledger;
pub mod directory;
pub mod engine;
pub mod ca;
pub mod revocation;
pub mod publish;
pub mod net;
pub mod proxy;
pub mod api;
pub mod demo;
pub mod config;
pub mod app;
pub mod cli;
