//! Whether the API server believes the proxy about who a request is for.
//!
//! Where it does not, nothing looks wrong: every user's requests run as the proxy's own account. An API server passes
//! over `X-Remote-*` beside a certificate that is no front proxy's, and whatever stands on the way may drop
//! `Impersonate-*`. So it is asked who it takes a user for that cannot exist, before users are let in.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use crate::ident::Fingerprint;
use crate::kube::identity::Identity;
use crate::net::{dial, tls};

use super::settings::{Credential, Settings};

/// Why the API server must be taken for one that does not believe the proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// It took the request for somebody else's: whatever users ask would run as that.
    #[error(
        "the API server took a request of {NOBODY} for one of {taken_for}: it does not look at what the proxy says; look \
         at [identity] and [upstream] in the settings"
    )]
    Ignored {
        /// The user it saw.
        taken_for: String,
    },
    /// It does not know the proxy's own credential.
    #[error("the API server refused the proxy's own credential; look at [upstream] in the settings")]
    Refused,
    /// It gave no answer that says who it saw; it may be asked again.
    #[error("the API server did not say who it takes users for: {0}")]
    Unanswered(String),
}

/// Asks the API server of these settings, at most ten seconds long; nothing is changed there.
pub async fn ask(settings: &Settings) -> Result<(), Doubt> {
    let asked = tokio::time::timeout(ANSWER_TIME, exchange(settings)).await;
    let silent = || Doubt::Unanswered(format!("no answer within {} s", ANSWER_TIME.as_secs()));
    let (status, body) = asked.map_err(|_| silent())?.map_err(|error| Doubt::Unanswered(error.to_string()))?;
    judge(status, &body)
}

async fn exchange(settings: &Settings) -> Result<(StatusCode, Bytes), Box<dyn Error + Send + Sync>> {
    let upstream = &settings.upstream;
    let (identity, token) = match &upstream.credential {
        Credential::Token(token) => (None, Some(token.expose().clone())),
        Credential::TokenFile(path) => (None, Some(tokio::fs::read_to_string(path).await?)),
        Credential::Certificate(chain, key) => (Some((chain.clone(), key.clone_key())), None),
    };
    let config = tls::client_config(&upstream.anchors, identity)?;
    let stream = dial::connect(&upstream.host, upstream.port, config, &upstream.host, ANSWER_TIME).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let mut request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
        .header(header::HOST, upstream.authority.as_str())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close");
    if let Some(token) = token {
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.trim()))?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    // In no group, with a certificate that is nobody's.
    let nobody = Identity::new(NOBODY, [], Fingerprint::from_octets([0; 32]))?;
    for (name, value) in nobody.headers(settings.identity) {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Bytes::from(review.to_string())))?;
    let answering = async move {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await?;
        Ok((status, body.to_bytes()))
    };
    let (answer, _) = tokio::join!(answering, connection);
    answer
}

/// What an answer says about whom the API server saw.
fn judge(status: StatusCode, body: &[u8]) -> Result<(), Doubt> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |at: &str| answer.pointer(at).and_then(Value::as_str).unwrap_or_default();
    if status == StatusCode::UNAUTHORIZED {
        return Err(Doubt::Refused);
    }
    // Whoever narrowed the users that may be named has an API server that looks at the name.
    if status == StatusCode::FORBIDDEN && text("/message").contains("cannot impersonate") {
        return Ok(());
    }
    let user = text("/status/userInfo/username");
    if !status.is_success() || user.is_empty() {
        let message = text("/message").chars().filter(|c| !c.is_control()).take(300).collect::<String>();
        return Err(Doubt::Unanswered(format!("{status} {message}")));
    }
    let groups = answer.pointer("/status/userInfo/groups").and_then(Value::as_array);
    let mut groups = groups.into_iter().flatten().filter_map(Value::as_str);
    if user == NOBODY && groups.all(|group| group == "system:authenticated") {
        return Ok(());
    }
    Err(Doubt::Ignored { taken_for: user.chars().filter(|c| !c.is_control()).take(300).collect() })
}

/// IDs have no colon, and names that Kubernetes keeps begin with `system:`.
const NOBODY: &str = "portcullis:nobody";
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// A review is below 1 KiB.
const MOST_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &Value) -> Result<(), Doubt> {
        judge(StatusCode::from_u16(status).unwrap(), body.to_string().as_bytes())
    }

    fn review(user: &str, groups: &[&str]) -> Value {
        json!({"status": {"userInfo": {"username": user, "groups": groups}}})
    }

    #[test]
    fn an_api_server_that_sees_the_user_it_is_told_of_believes_the_proxy() {
        assert_eq!(judged(201, &review(NOBODY, &["system:authenticated"])), Ok(()));
        let words = "users \"portcullis:nobody\" is forbidden: User \"p\" cannot impersonate resource \"users\"";
        assert_eq!(judged(403, &json!({"message": words})), Ok(()));
    }

    #[test]
    fn an_api_server_that_sees_the_proxy_or_more_than_it_is_told_does_not() {
        let taken_for = |user: &str| Err(Doubt::Ignored { taken_for: user.to_owned() });
        assert_eq!(judged(201, &review("admin", &["system:authenticated"])), taken_for("admin"));
        assert_eq!(judged(201, &review(NOBODY, &["system:masters"])), taken_for(NOBODY));
        assert_eq!(judged(401, &json!({})), Err(Doubt::Refused));
        for (status, body) in [(403, json!({"message": "no"})), (404, json!({})), (200, json!({})), (502, json!("x"))] {
            assert!(matches!(judged(status, &body), Err(Doubt::Unanswered(_))), "{status} {body}");
        }
    }
}
