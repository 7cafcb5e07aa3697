//! `Status`, the body with which Kubernetes refuses (`meta/v1`).

use serde::Serialize;

/// A refusal in Kubernetes' words; kubectl shows its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status code.
    pub code: u16,
    /// What programs branch on.
    pub reason: Reason,
    /// What people read: since when, and what to do.
    pub message: String,
}

/// The reasons used here, a part of Kubernetes' own list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// 401: no credential that stands; a plugin is asked for a new one.
    Unauthorized,
    /// 400.
    BadRequest,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 405.
    MethodNotAllowed,
    /// 500 and 501: nothing on the list says more.
    InternalError,
    /// 502 and 503.
    ServiceUnavailable,
}

impl Failure {
    /// A refusal with one of the codes of [`Reason`].
    pub fn new(code: u16, reason: Reason, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into() }
    }

    /// The body in JSON, without a line end.
    pub fn to_json(&self) -> String {
        json(&self.wire())
    }

    /// The event with which a watch in JSON is told that it ends: one line, with its end.
    pub fn to_watch_event(&self) -> String {
        let mut line = json(&Event { r#type: "ERROR", object: self.wire() });
        line.push('\n');
        line
    }

    fn wire(&self) -> Wire<'_> {
        Wire {
            kind: "Status",
            api_version: "v1",
            metadata: Metadata {},
            status: "Failure",
            message: &self.message,
            reason: self.reason.as_str(),
            code: self.code,
        }
    }
}

impl Reason {
    /// As it is written in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "Unauthorized",
            Self::BadRequest => "BadRequest",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::InternalError => "InternalError",
            Self::ServiceUnavailable => "ServiceUnavailable",
        }
    }
}

#[expect(clippy::expect_used, reason = "text and numbers under fixed names always have a form in JSON")]
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("text and numbers serialise")
}

#[derive(Serialize)]
struct Event<'a> {
    r#type: &'static str,
    object: Wire<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Metadata,
    status: &'static str,
    message: &'a str,
    reason: &'static str,
    code: u16,
}

#[derive(Serialize)]
struct Metadata {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_as_kubernetes_writes_it() {
        let failure = Failure::new(401, Reason::Unauthorized, "certificate \"x\" revoked");
        assert_eq!(
            failure.to_json(),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"certificate \"x\" revoked","reason":"Unauthorized","code":401}"#
        );
    }

    #[test]
    fn a_watch_is_ended_by_one_line() {
        let line = Failure::new(401, Reason::Unauthorized, "two\nlines").to_watch_event();
        assert!(line.starts_with(r#"{"type":"ERROR","object":{"kind":"Status","#));
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.ends_with("}}\n"));
    }
}
