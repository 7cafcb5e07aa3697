//! Waiting until every proxy enforces a revocation, and telling truly how far each is.
//!
//! The set to wait for is computed after the commit is durable: every proxy inside this process, and every process of
//! a proxy that ever followed and may still serve on what it knew, whether it is connected or its proxy was removed.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::api::wire::ProxyEnforcement;
use crate::api::{Api, Embedded};
use crate::ident::ClusterName;
use crate::proxy::{Enforced, NotEnforced};
use crate::publish::feed::State;
use crate::publish::feed::instance::Enforcement;
use crate::standing::Revision;

/// Whose proxies are waited for.
#[derive(Clone, Copy, Debug)]
pub enum Of<'c> {
    /// Every cluster's: a revocation, which is told to all of them.
    All,
    /// One cluster's.
    Cluster(&'c ClusterName),
}

impl Of<'_> {
    fn has(self, cluster: &ClusterName) -> bool {
        match self {
            Self::All => true,
            Self::Cluster(only) => only == cluster,
        }
    }

    fn states(self, api: &Api, revision: Revision) -> Vec<State> {
        api.feed.states(revision).into_iter().filter(|state| self.has(&state.row.cluster)).collect()
    }
}

/// Waits until each is confirmed or fenced, for `patience` at most; by default the longest time until the last is
/// fenced, and a little more.
pub async fn wait(api: &Api, of: Of<'_>, revision: Revision, patience: Option<Duration>) -> Vec<ProxyEnforcement> {
    let start = Instant::now();
    let patience = patience.unwrap_or_else(|| longest_bound(&of.states(api, revision)).saturating_add(MORE));
    let deadline = start + patience.min(LONGEST_WAIT);
    let mut waiting = JoinSet::new();
    for Embedded { name, proxy, .. } in api.proxies.all().into_iter().filter(|embedded| of.has(&embedded.cluster)) {
        waiting.spawn(async move {
            let enforced = proxy.enforced(revision, deadline.saturating_duration_since(start)).await;
            embedded(name, enforced, start)
        });
    }
    let mut proxies = followers(api, of, revision, start, deadline).await;
    proxies.extend(waiting.join_all().await);
    proxies.sort_by(|a, b| a.name.cmp(&b.name));
    proxies
}

async fn followers(
    api: &Api,
    of: Of<'_>,
    revision: Revision,
    start: Instant,
    deadline: Instant,
) -> Vec<ProxyEnforcement> {
    let mut moved = api.feed.subscribe();
    // Each is told as it was when it was settled, not as it is when the last one is.
    let mut settled: BTreeMap<[u8; 16], ProxyEnforcement> = BTreeMap::new();
    loop {
        moved.mark_unchanged();
        let states = of.states(api, revision);
        let open: Vec<&State> = states.iter().filter(|state| !settled.contains_key(&state.instance)).collect();
        let is_over = Instant::now() >= deadline;
        let mut next_fence = deadline;
        let mut is_waiting = false;
        let mut now_settled = Vec::new();
        for state in open {
            match &state.enforcement {
                Enforcement::Unconfirmed { bound } if !is_over => {
                    next_fence = next_fence.min(Instant::now() + *bound);
                    is_waiting = true;
                }
                _ => now_settled.push((state.instance, told(state, start))),
            }
        }
        settled.extend(now_settled);
        if !is_waiting {
            return settled.into_values().collect();
        }
        // Over or moved: looked at again either way.
        let _ = timeout_at(next_fence, moved.changed()).await;
    }
}

fn told(state: &State, start: Instant) -> ProxyEnforcement {
    let of_many = format!("process {}", hex::encode(state.instance).get(..8).unwrap_or_default());
    let (word, closed, reason, bound) = match &state.enforcement {
        Enforcement::Confirmed { closed } => ("confirmed", *closed, None, None),
        Enforcement::Fenced if state.is_connected => ("fenced", 0, None, None),
        Enforcement::Fenced => ("fenced", 0, Some(format!("{of_many} is away and refuses everybody by now")), None),
        Enforcement::Unconfirmed { bound } => {
            let away = if state.is_connected { "is connected and has not confirmed" } else { "is away" };
            let heard = format!("{of_many} {away}, last heard {} s ago", state.heard.as_secs());
            ("unconfirmed", 0, Some(heard), Some(milliseconds(*bound)))
        }
    };
    ProxyEnforcement {
        name: state.row.proxy.to_string(),
        state: word.to_owned(),
        after_ms: milliseconds(start.elapsed()),
        closed,
        reason,
        bound_ms: bound,
    }
}

fn embedded(name: String, enforced: Result<Enforced, NotEnforced>, start: Instant) -> ProxyEnforcement {
    match enforced {
        Ok(Enforced { closed, after }) => ProxyEnforcement {
            name,
            state: "confirmed".to_owned(),
            after_ms: milliseconds(after),
            closed,
            reason: None,
            bound_ms: None,
        },
        Err(not_enforced) => ProxyEnforcement {
            name,
            state: "unconfirmed".to_owned(),
            after_ms: milliseconds(start.elapsed()),
            closed: 0,
            reason: Some(not_enforced.to_string()),
            bound_ms: None,
        },
    }
}

fn longest_bound(states: &[State]) -> Duration {
    let bounds = states.iter().map(|state| match state.enforcement {
        Enforcement::Unconfirmed { bound } => bound,
        Enforcement::Confirmed { .. } | Enforcement::Fenced => Duration::ZERO,
    });
    bounds.max().unwrap_or_default()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What a proxy inside this process may take, and what a confirmation takes to arrive.
const MORE: Duration = Duration::from_secs(2);

/// The longest it can be made to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 60);
