//! A certificate that a proxy does not know: perhaps it was issued a moment ago.

use super::join::proxy;
use crate::api::Api;
use crate::api::routes::{Call, Reply};
use crate::ca::proxies::look::LookUp;
use crate::command::Rejected;
use crate::status::Credential;

/// `GET /v1/proxies/credentials/{fingerprint}`: what the feed will say of it, or 404.
pub fn look_up(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    let cluster = proxy(call)?.cluster.clone();
    let fingerprint = call.parameter("fingerprint").parse()?;
    let done = api.engine.ask(&call.actor, &LookUp { cluster, fingerprint })?;
    let recorded = done.outcome.ok_or_else(|| Rejected::not_found("such certificate on the record"))?;
    let credential = Credential {
        key: recorded.row.fingerprint.short(),
        issued: recorded.revision,
        not_after: recorded.row.not_after,
        cut_keys: recorded.row.cut_keys,
    };
    Reply::of(&credential, done.revision)
}
