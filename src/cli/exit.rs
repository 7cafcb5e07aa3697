//! How a command ends: its exit status, and the words for a failure.

use std::fmt;
use std::process::ExitCode;

use crate::api::wire;

/// A command that did what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done.
    Done,
    /// Durable, but at least one proxy has not confirmed it.
    NotYetEnforced,
}

/// A command that did not.
#[derive(Debug)]
pub(super) enum Failure {
    /// Asked wrongly; nothing was done.
    Usage(String),
    /// The authority refused, in its words; nothing was done.
    Refused(Box<wire::Problem>),
    /// Something else went wrong; nothing was done.
    Failed(String),
    /// A change was sent and no answer came: it may have been made or not.
    Unanswered(String),
}

impl Failure {
    pub(super) fn usage(words: impl fmt::Display) -> Self {
        Self::Usage(words.to_string())
    }

    pub(super) fn failed(words: impl fmt::Display) -> Self {
        Self::Failed(words.to_string())
    }

    /// Whether the change that was asked for may have been made all the same.
    pub(super) const fn may_have_happened(&self) -> bool {
        match self {
            Self::Usage(_) | Self::Failed(_) => false,
            Self::Unanswered(_) => true,
            // 500 and above: the authority itself may not know (`outcome_unknown`).
            Self::Refused(problem) => problem.status >= 500,
        }
    }

    /// The same failure with more to know at its end.
    pub(super) fn adding(self, more: &str) -> Self {
        match self {
            Self::Usage(words) => Self::Usage(format!("{words}\n{more}")),
            Self::Failed(words) => Self::Failed(format!("{words}\n{more}")),
            Self::Unanswered(words) => Self::Unanswered(format!("{words}\n{more}")),
            Self::Refused(mut problem) => {
                problem.detail = format!("{}\n{more}", problem.detail);
                Self::Refused(problem)
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(words) => write!(f, "error: {words}\nFor help: portcullis help"),
            Self::Failed(words) | Self::Unanswered(words) => write!(f, "error: {words}"),
            Self::Refused(problem) if problem.detail.is_empty() => {
                write!(f, "error: refused: {} ({})", problem.title, problem.status)
            }
            Self::Refused(problem) => write!(f, "error: {}", problem.detail),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(format!("{error:#}"))
    }
}

/// The exit status.
pub(super) fn code(ended: &Result<Exit, Failure>) -> ExitCode {
    ExitCode::from(number(ended))
}

const fn number(ended: &Result<Exit, Failure>) -> u8 {
    match ended {
        Ok(Exit::Done) => 0,
        Err(Failure::Refused(_) | Failure::Failed(_) | Failure::Unanswered(_)) => 1,
        Err(Failure::Usage(_)) => 2,
        Ok(Exit::NotYetEnforced) => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16) -> Failure {
        let (kind, title) = ("urn:portcullis:problem:conflict".to_owned(), "conflict".to_owned());
        let detail = "wanted x, found y".to_owned();
        Failure::Refused(Box::new(wire::Problem { kind, title, status, code: "conflict".to_owned(), detail }))
    }

    #[test]
    fn each_ending_has_its_exit_status() {
        assert_eq!(number(&Ok(Exit::Done)), 0);
        assert_eq!(number(&Err(refused(409))), 1);
        assert_eq!(number(&Err(Failure::failed("x"))), 1);
        assert_eq!(number(&Err(Failure::usage("x"))), 2);
        assert_eq!(number(&Ok(Exit::NotYetEnforced)), 3);
    }

    #[test]
    fn a_refusal_is_told_in_the_authoritys_words() {
        assert_eq!(refused(409).to_string(), "error: wanted x, found y");
        assert!(!refused(409).may_have_happened());
        assert!(refused(503).may_have_happened());
    }
}
