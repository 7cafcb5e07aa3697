//! How the authority is, and its metrics.

use crate::access::Permission;
use crate::api::Api;
use crate::api::routes::{Call, Reply};
use crate::api::wire;
use crate::ca::look::ListClusters;
use crate::command::Rejected;

/// `GET /v1/status`.
pub fn show(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    api.engine.may(&call.actor, Permission::StatusRead)?;
    let clusters = api.engine.ask(&call.actor, &ListClusters)?.outcome;
    let end = api.engine.store().end();
    let status = wire::AuthorityStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: end.to_string(),
        statuses: api.statuses.revision().map_or_else(|stale| stale.to_string(), |revision| revision.to_string()),
        timeline: hex::encode(api.engine.store().timeline().0),
        certificates: u64::try_from(api.statuses.count()).unwrap_or(u64::MAX),
        clusters: clusters.iter().map(|view| view.cluster.name.to_string()).collect(),
        problems: api.problems(),
    };
    Reply::of(&status, end)
}

/// `GET /metrics`.
pub fn metrics(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    api.engine.may(&call.actor, Permission::MetricsRead)?;
    let end = api.engine.store().end();
    Ok(Reply { is_created: false, body: api.measure(&call.actor)?.into_bytes(), revision: end })
}

impl Api {
    /// Why the authority is not ready; empty when it is.
    pub fn problems(&self) -> Vec<String> {
        let store = self.engine.store().health().err().map(|error| error.to_string());
        let statuses = self.statuses.revision().err().map(|stale| stale.to_string());
        store.into_iter().chain(statuses).collect()
    }
}
