//! Wishes: to change something ([`Command`]) or to know something ([`Query`]), and how they are refused.
//!
//! A wish states the permission and the scope it needs, and decides synchronously inside a transaction. It may run more
//! than once, when what it read has moved, and touches nothing but its transaction.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::access::{Permission, Permit, Scope};
use crate::store::txn::Txn;
use crate::store::{CommitError, StoreError};
use crate::world::{Moment, NoEntropy};

/// A wish to change something.
pub trait Command {
    /// What the wisher is told; kept for repeated requests, so it never holds a secret.
    type Outcome: Serialize + DeserializeOwned;

    /// What the actor must be allowed to do.
    fn permission(&self) -> Permission;

    /// What it is about; may read, and may find that there is no such thing.
    fn scope(&self, txn: &mut Txn<'_>) -> Result<Scope, Rejected>;

    /// Reads, decides and writes.
    fn decide(&self, permit: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Self::Outcome, Rejected>;
}

/// A wish to know something.
pub trait Query {
    /// What is known.
    type Answer;

    /// What the actor must be allowed to see.
    fn permission(&self) -> Permission;

    /// What it is about; may read, and may find that there is no such thing.
    fn scope(&self, txn: &mut Txn<'_>) -> Result<Scope, Rejected>;

    /// Reads.
    fn answer(&self, permit: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Self::Answer, Rejected>;
}

/// A wish was not fulfilled, and nothing has changed (but see [`Code::OutcomeUnknown`]).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Rejected {
    /// What kind of refusal it is.
    pub code: Code,
    /// What was wanted, what was found, the way out; fit for whoever asked.
    pub detail: String,
}

/// The closed list of refusals; its words are part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request is not what it should be.
    Invalid,
    /// The path has no such method.
    MethodNotAllowed,
    /// More than is read.
    TooLarge,
    /// No credential, or one that does not stand.
    Unauthenticated,
    /// The actor never has this right.
    Forbidden,
    /// There is no such thing, or it is not yours.
    NotFound,
    /// There already is one.
    AlreadyExists,
    /// The identity is locked.
    Locked,
    /// A certificate signing request was refused.
    RequestRefused,
    /// The public key was certified before.
    KeyReused,
    /// A named safety stands in the way; `--force` overrides it.
    LastAdmin,
    /// The idempotency key was used for another request.
    IdempotencyMismatch,
    /// What the two sides know cannot both be so.
    Conflict,
    /// Too much at once; try again.
    Busy,
    /// The disk is full.
    DiskFull,
    /// The change may or may not have been made.
    OutcomeUnknown,
    /// The authority cannot do this at present.
    Unavailable,
    /// A fault of ours.
    Internal,
}

impl Code {
    /// Every kind of refusal.
    pub const ALL: [Self; 18] = [
        Self::Invalid,
        Self::MethodNotAllowed,
        Self::TooLarge,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::AlreadyExists,
        Self::Locked,
        Self::RequestRefused,
        Self::KeyReused,
        Self::LastAdmin,
        Self::IdempotencyMismatch,
        Self::Conflict,
        Self::Busy,
        Self::DiskFull,
        Self::OutcomeUnknown,
        Self::Unavailable,
        Self::Internal,
    ];
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "invalid",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TooLarge => "too_large",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Locked => "locked",
            Self::RequestRefused => "request_refused",
            Self::KeyReused => "key_reused",
            Self::LastAdmin => "last_admin",
            Self::IdempotencyMismatch => "idempotency_mismatch",
            Self::Conflict => "conflict",
            Self::Busy => "busy",
            Self::DiskFull => "disk_full",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        })
    }
}

impl Rejected {
    /// A refusal of this kind.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// The request is not what it should be.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::Invalid, detail)
    }

    /// There is no such thing, told to whoever may know.
    pub fn not_found(what: impl fmt::Display) -> Self {
        Self::new(Code::NotFound, format!("there is no {what}"))
    }

    /// The same words for what does not exist and for what is not the actor's.
    pub fn not_yours() -> Self {
        Self::new(Code::NotFound, "there is no such thing here, or it is not yours")
    }
}

impl From<StoreError> for Rejected {
    fn from(error: StoreError) -> Self {
        Self::new(Code::Unavailable, error.0)
    }
}

impl From<NoEntropy> for Rejected {
    fn from(error: NoEntropy) -> Self {
        Self::new(Code::Unavailable, error.to_string())
    }
}

impl From<CommitError> for Rejected {
    fn from(error: CommitError) -> Self {
        let code = match error {
            CommitError::Conflict => Code::Busy,
            CommitError::Full => Code::DiskFull,
            CommitError::TooLarge => Code::Invalid,
            CommitError::Unavailable(_) => Code::Unavailable,
            CommitError::OutcomeUnknown(_) => Code::OutcomeUnknown,
        };
        Self::new(code, error.to_string())
    }
}
