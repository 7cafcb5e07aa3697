//! Revoking, locking, unlocking.

use std::sync::Arc;
use std::time::Duration;

use super::certificates::{own_cluster, recorded_body};
use crate::api::Api;
use crate::api::routes::{Call, Reply};
use crate::api::wire;
use crate::command::{Code, Rejected};
use crate::ident::{AnyId, ClusterName};
use crate::journal::IdentityKind;
use crate::ledger::credentials::Reference;
use crate::ledger::cuts::Why;
use crate::ledger::rows::Recorded;
use crate::proxy::{Enforced, NotEnforced};
use crate::revocation::preview::{Affected, Preview};
use crate::revocation::wish::{Known, Lock, Revoke, Target, Unlock};
use crate::standing::Revision;
use crate::status::Status;
use crate::x509::reason::Reason;

/// A revocation that was asked for, checked.
struct Asked {
    request: wire::RevokeRequest,
    target: Target,
    cluster: Option<ClusterName>,
}

/// `POST /v1/revocations`: commits, waits until every proxy enforces it, and tells what was hit.
pub async fn revoke(api: Arc<Api>, call: Arc<Call>) -> Result<Reply, Rejected> {
    let asked = Arc::new(Asked::read(&call)?);
    if asked.request.dry_run {
        return blocking(move || preview(&api, &call, &asked)).await;
    }
    let committed = {
        let (api, call, asked) = (Arc::clone(&api), Arc::clone(&call), Arc::clone(&asked));
        blocking(move || commit(&api, &call, &asked)).await?
    };
    let proxies = if asked.request.no_wait { Vec::new() } else { enforce(&api, &asked, committed.revision).await };
    blocking(move || tell(&api, &call, &asked, &committed, proxies)).await
}

struct Committed {
    revision: Revision,
    known: Known,
    /// What it was about just before, where that could be told.
    before: Option<Affected>,
}

impl Asked {
    fn read(call: &Call) -> Result<Self, Rejected> {
        let request: wire::RevokeRequest = call.read()?;
        let target = match request.target.kind.as_str() {
            "user" => Target::User(request.target.id.parse()?),
            "agency" => Target::Agency(request.target.id.parse()?),
            "certificate" => Target::Certificate(request.target.id.parse::<Reference>()?),
            other => {
                return Err(Rejected::invalid(format!(
                    "target.kind: wanted user, agency or certificate, found \"{}\"",
                    other.escape_debug()
                )));
            }
        };
        let named = request.cluster.as_deref().map(str::parse).transpose()?;
        // Whoever comes with a cluster's certificate is themselves on that cluster only.
        let cluster = match target {
            Target::Certificate(_) if named.is_some() => {
                return Err(Rejected::invalid("cluster: a certificate is for one cluster anyway: leave it out"));
            }
            Target::Certificate(_) => None,
            Target::User(_) | Target::Agency(_) => named.or_else(|| own_cluster(&call.actor)),
        };
        if request.comment.as_ref().is_some_and(|comment| comment.chars().count() > 500) {
            return Err(Rejected::invalid("comment: wanted at most 500 characters"));
        }
        Ok(Self { request, target, cluster })
    }

    fn why(&self) -> Result<Why, Rejected> {
        let reason = self.request.reason.as_deref().map(str::parse::<Reason>).transpose();
        let reason = reason.map_err(|error| Rejected::invalid(format!("reason: {error}")))?;
        let comment = self.request.comment.as_ref().filter(|comment| !comment.is_empty()).cloned();
        Ok(Why { reason: reason.unwrap_or(Reason::Unspecified), comment })
    }
}

fn commit(api: &Api, call: &Call, asked: &Asked) -> Result<Committed, Rejected> {
    let command = Revoke {
        target: asked.target.clone(),
        cluster: asked.cluster.clone(),
        why: asked.why()?,
        lock: asked.request.lock,
        force: asked.request.force,
    };
    // Whoever revokes themselves can ask no more once it is done.
    let before = affected(api, call, asked).ok();
    let done = api.run(call, &command)?;
    Ok(Committed { revision: done.revision, known: done.outcome.known, before })
}

/// Waits for every proxy at once.
async fn enforce(api: &Api, asked: &Asked, revision: Revision) -> Vec<wire::ProxyEnforcement> {
    let patience = asked.request.wait_ms.map_or(PATIENCE, Duration::from_millis).min(LONGEST_WAIT);
    let mut waiting = tokio::task::JoinSet::new();
    for (name, proxy) in api.proxies.all() {
        waiting.spawn(async move {
            let enforced = proxy.enforced(revision, patience).await;
            enforcement(name, enforced, patience)
        });
    }
    let mut proxies = waiting.join_all().await;
    proxies.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    proxies
}

fn enforcement(name: String, enforced: Result<Enforced, NotEnforced>, patience: Duration) -> wire::ProxyEnforcement {
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    match enforced {
        Ok(Enforced { closed, after }) => wire::ProxyEnforcement {
            name,
            state: "confirmed".to_owned(),
            after_ms: milliseconds(after),
            closed,
            reason: None,
            bound_ms: None,
        },
        Err(not_enforced) => wire::ProxyEnforcement {
            name,
            state: "unconfirmed".to_owned(),
            after_ms: milliseconds(patience),
            closed: 0,
            reason: Some(not_enforced.to_string()),
            bound_ms: None,
        },
    }
}

/// Counts what this very revocation ended.
fn tell(
    api: &Api,
    call: &Call,
    asked: &Asked,
    committed: &Committed,
    proxies: Vec<wire::ProxyEnforcement>,
) -> Result<Reply, Rejected> {
    // Asked again, as something may have been issued between the question and the commit.
    let affected = affected(api, call, asked).ok().or_else(|| committed.before.clone());
    let now = api.engine.world().clock.now();
    let (mut certificates, mut expired) = (0_u64, 0_u64);
    for Recorded { row, .. } in affected.iter().flat_map(|affected| &affected.hit) {
        let status = api.statuses.status(&row.fingerprint, now);
        if matches!(status, Ok(Status::Revoked(cut)) if cut.revision == committed.revision) {
            *(if row.not_after < now { &mut expired } else { &mut certificates }) += 1;
        }
    }
    let answer = wire::RevokeAnswer {
        revision: committed.revision.to_string(),
        target: asked.request.target.clone(),
        already: certificates == 0 && expired == 0 && affected.is_some(),
        expired,
        certificates,
        tokens: 0,
        proxies,
        meaning: meaning(asked, &committed.known, true),
    };
    Reply::of(&answer, committed.revision)
}

fn preview(api: &Api, call: &Call, asked: &Asked) -> Result<Reply, Rejected> {
    let affected = affected(api, call, asked)?;
    let standing = |rows: &[Recorded]| -> Vec<Recorded> {
        let now = api.engine.world().clock.now();
        let status = |recorded: &Recorded| api.statuses.status(&recorded.row.fingerprint, now);
        rows.iter().filter(|row| matches!(status(row), Ok(Status::Good | Status::Locked(_)))).cloned().collect()
    };
    let hit = standing(&affected.hit);
    let now = api.engine.world().clock.now();
    let is_expired = |recorded: &&Recorded| {
        matches!(api.statuses.status(&recorded.row.fingerprint, now), Ok(Status::Expired { .. }))
    };
    let sample: Result<Vec<_>, _> = hit.iter().take(SAMPLE).map(|row| recorded_body(api, row)).collect();
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let can_return = !asked.request.lock && !affected.is_locked && !standing(&affected.spared).is_empty();
    let answer = wire::RevokePreview {
        target: asked.request.target.clone(),
        known: match affected.known {
            Known::Present(_) => "present",
            Known::Deleted(..) => "deleted",
            Known::Never => "unknown",
        }
        .to_owned(),
        certificates: count(hit.len()),
        expired: count(affected.hit.iter().filter(is_expired).count()),
        tokens: 0,
        sample: sample?,
        can_return,
        meaning: meaning(asked, &affected.known, false),
    };
    Reply::of(&answer, api.engine.store().end())
}

fn affected(api: &Api, call: &Call, asked: &Asked) -> Result<Affected, Rejected> {
    let query = Preview { target: asked.target.clone(), cluster: asked.cluster.clone() };
    Ok(api.engine.ask(&call.actor, &query)?.outcome)
}

/// What it means, in a sentence or two.
fn meaning(asked: &Asked, known: &Known, is_done: bool) -> String {
    let id = &asked.request.target.id;
    let on = asked.cluster.as_ref().map_or(String::new(), |cluster| format!(" on {cluster}"));
    let verb = if is_done { "has ended" } else { "would end" };
    let ended = match (&asked.target, known) {
        (Target::Certificate(_), _) => format!("This {verb} that certificate and what was obtained with it."),
        (Target::User(_), Known::Present(IdentityKind::Agency)) => {
            format!("{id} is an agency: this {verb} its own credentials{on}, not those of its members.")
        }
        (Target::Agency(_), Known::Present(IdentityKind::User)) => {
            format!("{id} is a user, not an agency: this {verb} every credential of that user{on}.")
        }
        (Target::User(_), Known::Present(_)) => format!("This {verb} every credential of {id}{on}."),
        (Target::Agency(_), Known::Present(_)) => {
            format!("This {verb} every credential of {id} and of its members{on}.")
        }
        (_, Known::Deleted(kind, at)) => {
            format!("The {kind} {id} was deleted at {at}: this {verb} whatever was issued to it before{on}.")
        }
        (_, Known::Never) => format!(
            "{id} was never seen here: nothing was issued to it, and whatever is imported for it later is refused."
        ),
    };
    let afterwards = match (asked.request.lock, known) {
        (true, _) => " It is locked: nothing new is issued until it is unlocked.",
        (false, Known::Present(_)) => " A new credential issued afterwards works.",
        (false, Known::Deleted(..) | Known::Never) => "",
    };
    ended + afterwards
}

/// `POST /v1/users/{id}/lock` and `POST /v1/agencies/{id}/lock`.
pub fn lock(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    let (id, cluster) = locked(call)?;
    let done = api.run(call, &Lock { id: id.clone(), cluster })?;
    let meaning = if done.outcome.0 {
        format!("{id} is locked: proxies refuse it, and nothing is issued until it is unlocked")
    } else {
        format!("{id} was locked already")
    };
    Reply::of(&wire::Changed { revision: done.revision.to_string(), meaning }, done.revision)
}

/// `POST /v1/users/{id}/unlock` and `POST /v1/agencies/{id}/unlock`.
pub fn unlock(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    let (id, cluster) = locked(call)?;
    let done = api.run(call, &Unlock { id: id.clone(), cluster })?;
    let meaning = if done.outcome.0 {
        format!("{id} is unlocked: credentials that still stand work again")
    } else {
        format!("{id} was not locked")
    };
    Reply::of(&wire::Changed { revision: done.revision.to_string(), meaning }, done.revision)
}

fn locked(call: &Call) -> Result<(AnyId, Option<ClusterName>), Rejected> {
    let request: wire::LockRequest = call.read()?;
    let cluster = request.cluster.as_deref().map(str::parse).transpose()?;
    Ok((call.parameter("id").parse()?, cluster))
}

/// Runs what blocks on a thread that may; it goes on when the client hangs up.
pub(in crate::api) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Rejected> + Send + 'static,
) -> Result<T, Rejected> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Rejected::new(Code::Internal, format!("a handler failed: {error}"))),
    }
}

/// How long a revocation waits for proxies in this process when nothing is said.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest it can be made to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Certificates shown in a preview.
const SAMPLE: usize = 20;
