//! Proxies as people see them: inviting, listing, removing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::api::Api;
use crate::api::routes::{Call, Reply};
use crate::api::wire;
use crate::ca::proxies::join::Invite;
use crate::ca::proxies::look::ListProxies;
use crate::ca::proxies::remove::Remove;
use crate::command::{Code, Rejected};
use crate::ident::{ClusterName, Fingerprint, ProxyName};
use crate::publish::feed::State;
use crate::publish::feed::instance::Enforcement;
use crate::status::freshness::Mode;
use crate::world::random;

/// `POST /v1/proxies/tokens`: a token with which one proxy may join, shown once.
pub fn invite(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    let request: wire::InviteRequest = call.read()?;
    let cluster: ClusterName = request.cluster.parse()?;
    let proxy: ProxyName = match &request.name {
        Some(name) => name.parse()?,
        None => format!("{cluster}-{}", hex::encode(random::<3>(&*api.engine.world().entropy)?)).parse()?,
    };
    let secret_hash: Option<[u8; 32]> =
        hex::decode(&request.secret_hash).ok().and_then(|octets| octets.try_into().ok());
    let secret_hash = secret_hash
        .ok_or_else(|| Rejected::invalid("secret_hash: wanted the SHA-256 of a secret that you made, in hex"))?;
    let done = api.run(call, &Invite { proxy, cluster, secret_hash })?;
    let invited = done.outcome;
    let answer = wire::Invited {
        proxy: invited.proxy.to_string(),
        cluster: invited.cluster.to_string(),
        expires: invited.expires.to_string(),
        ca_sha256: api.infra_hash()?,
    };
    Reply::created(&answer, done.revision)
}

/// The token of whoever shows a secret, as it is on the record.
pub fn token_of(secret: &str) -> Result<[u8; 32], Rejected> {
    let octets = URL_SAFE_NO_PAD.decode(secret).ok().filter(|octets| octets.len() == 32);
    let octets = octets.ok_or_else(|| Rejected::new(Code::Unauthenticated, "this is not the secret of a token"))?;
    Ok(*Fingerprint::of(&octets).octets())
}

/// `GET /v1/proxies`.
pub fn list(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    let done = api.engine.ask(&call.actor, &ListProxies)?;
    let states = api.feed.states(done.revision);
    let mut items: Vec<wire::Proxy> = api.proxies.all().into_iter().map(embedded).collect();
    for row in &done.outcome {
        let its: Vec<&State> = states.iter().filter(|state| state.row.proxy == row.name).collect();
        let processes: Vec<wire::ProxyProcess> = its.iter().copied().map(process).collect();
        let removed = || wire::Proxy {
            name: row.name.to_string(),
            cluster: row.cluster.to_string(),
            state: if row.is_removed { "removed" } else { state(&its) }.to_owned(),
            joined: Some(row.joined.to_string()),
            processes,
        };
        // What was removed and can serve nobody any more is history.
        if !row.is_removed || !its.is_empty() {
            items.push(removed());
        }
    }
    items.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Reply::of(&wire::Page { items, next: None }, done.revision)
}

/// `DELETE /v1/proxies/{name}`.
pub fn remove(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    let name: ProxyName = call.parameter("name").parse()?;
    let done = api.run(call, &Remove(name.clone()))?;
    api.feed.recall();
    let count = done.outcome.certificates;
    let meaning = format!(
        "{name} follows no more: {count} certificates of it are revoked. It may serve on what it knew until its bound \
         is over; revocations wait for it until then"
    );
    Reply::of(&wire::Changed { revision: done.revision.to_string(), meaning }, done.revision)
}

fn embedded(found: crate::api::Embedded) -> wire::Proxy {
    wire::Proxy {
        name: found.name,
        cluster: found.cluster.to_string(),
        state: "current".to_owned(),
        joined: None,
        processes: Vec::new(),
    }
}

fn state(its: &[&State]) -> &'static str {
    let connected: Vec<_> = its.iter().filter(|state| state.is_connected).collect();
    if connected.is_empty() {
        return if its.is_empty() { "never seen" } else { "disconnected" };
    }
    // Within a second it asks, is told, and confirms; only what takes longer is worth a word.
    let is_behind = |state: &&&State| match state.enforcement {
        Enforcement::Unconfirmed { bound } => bound + A_MOMENT < state.row.mode.longest(state.row.bound),
        Enforcement::Confirmed { .. } | Enforcement::Fenced => false,
    };
    if !connected.iter().any(is_behind) { "current" } else { "behind" }
}

fn process(state: &State) -> wire::ProxyProcess {
    let milliseconds = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    wire::ProxyProcess {
        instance: hex::encode(state.instance),
        connected: state.is_connected,
        confirmed: state.confirmed.map(|revision| revision.to_string()),
        heard_ms: milliseconds(state.heard),
        bound_ms: milliseconds(state.row.bound),
        mode: match state.row.mode {
            Mode::Strict => "strict",
            Mode::BestEffort => "best-effort",
        }
        .to_owned(),
        since: state.row.since.to_string(),
    }
}

/// A ping, its answer and the confirmation, three times.
const A_MOMENT: std::time::Duration = std::time::Duration::from_secs(3);
