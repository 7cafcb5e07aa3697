//! Portcullis: the certificate authority that hands out per-user kubeconfigs, and the gate that drops the moment
//! one is revoked.
//!
//! Kubernetes accepts client certificates and cannot revoke one. Here a revocation is one fact in a journal, "what
//! was issued to this identity before now is dead", and a proxy in front of the API server asks for every
//! connection, every request and every open stream whether the certificate still stands.
//!
//! # In one line
//!
//! Wish, permit, decision, commit, fact; then everyone is told. Everything left of the commit may refuse;
//! everything right of it may only follow.
//!
//! ```text
//!  who asks             may it? what changes?         it is so       everyone is told
//!  api ┐                  access  directory
//!      ├ Actor, Command ─▶ engine ─▶ ca  revocation ─▶ commit ─▶ journal ─▶ publish ─▶ status ─▶ proxy
//!  app ┘                  └───── one transaction ──────┘                         └─▶ CRL, OCSP
//! ```
//!
//! # A tour
//!
//! **Deciding.** [`access::authorise`] is the one place that says yes; it gives a [`access::Permit`], which nothing
//! else can build. A wish is a [`command::Command`]: it reads and writes through a [`store::txn::Txn`], which
//! remembers what was read, absence too, and asserts it at commit. [`engine::Engine`] runs it, and again when
//! something it read has moved. It gets time and chance from [`world`], as arguments, and does no other input or
//! output.
//!
//! **Standing.** [`standing`] is the rule, pure: a credential lists its cut keys and is dead iff it is revoked
//! itself or one of them was cut off after its record was made. [`ledger`] reads and writes these facts inside a
//! transaction, [`ca`] records what it issues with them, [`revocation`] writes one cut-off however much that ends.
//!
//! **Following.** A commit is one [`journal::Entry`] at one [`standing::Revision`], the only clock that orders
//! facts. [`follow`] reads entries in order; [`publish`] turns them into [`status::Statuses`], the one answer for a
//! credential, and into CRLs and OCSP. [`proxy`] knows `Statuses` and nothing of where they come from.
//!
//! **Around it.** [`x509`] and [`kube`] are formats: bytes in, values out. [`store::local`] is the disk: the
//! journal is the truth, the index can be thrown away. [`net`] bounds what every listener takes on, [`api`] turns
//! requests into wishes, [`app`] puts the parts together, [`cli`] is what is typed.
//!
//! The modules are listed in import order: a module names only modules above it (`tests/architecture.rs`).
//! `ARCHITECTURE.md` has the invariants, what is absent on purpose, and an issuance and a revocation step by step.

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
