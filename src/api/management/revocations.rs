//! Revoking, locking, unlocking.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::authorities;
use super::certificates::{own_cluster, recorded_body};
use super::enforcement::{self, Of};
use super::meaning::meaning;
use crate::access::{Actor, Part};
use crate::api::Api;
use crate::api::routes::{Call, Reply};
use crate::api::wire;
use crate::command::{Code, Rejected};
use crate::ident::{AnyId, ClusterName, IssuerName};
use crate::journal::IdentityKind;
use crate::ledger::credentials::Reference;
use crate::ledger::cuts::Why;
use crate::ledger::rows::Recorded;
use crate::revocation::preview::{Affected, Certificates, Preview};
use crate::revocation::wish::{Known, Lock, Revoke, Target, Unlock};
use crate::standing::Revision;
use crate::status::Status;
use crate::x509::reason::Reason;

/// A revocation that was asked for, checked.
pub(super) struct Asked {
    pub(super) request: wire::RevokeRequest,
    pub(super) target: Target,
    pub(super) cluster: Option<ClusterName>,
}

/// `POST /v1/revocations`: commits, waits until every proxy enforces it, and tells what was hit.
pub async fn revoke(api: Arc<Api>, call: Arc<Call>) -> Result<Reply, Rejected> {
    let began = Instant::now();
    let asked = Arc::new(Asked::read(&call)?);
    if asked.request.dry_run {
        return blocking(move || preview(&api, &call, &asked)).await;
    }
    let committed = {
        let (api, call, asked) = (Arc::clone(&api), Arc::clone(&call), Arc::clone(&asked));
        blocking(move || commit(&api, &call, &asked)).await?
    };
    let proxies = if asked.request.no_wait {
        Vec::new()
    } else {
        let patience = asked.request.wait_ms.map(Duration::from_millis);
        enforcement::wait(&api, Of::All, committed.revision, patience).await
    };
    if !asked.request.no_wait {
        api.measures.revoked(began.elapsed());
    }
    blocking(move || tell(&api, &asked, &committed, proxies)).await
}

struct Committed {
    revision: Revision,
    known: Known,
}

impl Asked {
    fn read(call: &Call) -> Result<Self, Rejected> {
        let request: wire::RevokeRequest = call.read()?;
        let target = match request.target.kind.as_str() {
            "user" => Target::User(request.target.id.parse()?),
            "agency" => Target::Agency(request.target.id.parse()?),
            "certificate" => Target::Certificate(request.target.id.parse::<Reference>()?),
            "authority" => Target::Authority(request.target.id.parse()?),
            other => {
                return Err(Rejected::invalid(format!(
                    "target.kind: wanted user, agency, certificate or authority, found \"{}\"",
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
            Target::Authority(_) if named.is_some() => {
                return Err(Rejected::invalid("cluster: an issuing CA is for one cluster anyway: leave it out"));
            }
            Target::Certificate(_) | Target::Authority(_) => None,
            Target::User(_) | Target::Agency(_) => named.or_else(|| own_cluster(&call.actor)),
        };
        let is_fit = |comment: &String| comment.chars().count() <= 500 && !comment.chars().any(char::is_control);
        if !request.comment.as_ref().is_none_or(is_fit) {
            return Err(Rejected::invalid("comment: wanted at most 500 characters on one line"));
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
    let done = api.run(call, &command)?;
    if matches!(asked.target, Target::Authority(_)) {
        // What the others signed is listed anew by itself; the root's list is not, as hardly anything ever changes it.
        api.lists.publish_root();
    }
    Ok(Committed { revision: done.revision, known: done.outcome.known })
}

/// Counts what this very revocation ended.
fn tell(
    api: &Api,
    asked: &Asked,
    committed: &Committed,
    proxies: Vec<wire::ProxyEnforcement>,
) -> Result<Reply, Rejected> {
    // The commit was authorised; whoever has just revoked themselves could no longer ask what they have ended.
    let affected = affected(api, &Actor::System(Part::Publisher), asked)?;
    let now = api.engine.world().clock.now();
    let counted = affected.certificates.map(|certificates| {
        let (mut standing, mut expired) = (0_u64, 0_u64);
        for Recorded { row, .. } in &certificates.hit {
            let status = api.statuses.status(&row.fingerprint, now);
            if matches!(status, Ok(Status::Revoked(cut)) if cut.revision == committed.revision) {
                *(if row.not_after < now { &mut expired } else { &mut standing }) += 1;
            }
        }
        (standing, expired)
    });
    let ended = match &asked.target {
        Target::Authority(issuer) => Some(authorities::ended(api, issuer, committed.revision)),
        Target::User(_) | Target::Agency(_) | Target::Certificate(_) => counted,
    };
    let nobody = proxies.is_empty() && !asked.request.no_wait;
    let unenforced = if nobody { " No proxy follows this authority: only CRL and OCSP tell of it." } else { "" };
    let answer = wire::RevokeAnswer {
        revision: committed.revision.to_string(),
        target: asked.request.target.clone(),
        already: ended == Some((0, 0)),
        expired: ended.map(|(_, expired)| expired),
        certificates: ended.map(|(standing, _)| standing),
        tokens: 0,
        proxies,
        meaning: meaning(api, asked, &committed.known, true)? + unenforced,
    };
    Reply::of(&answer, committed.revision)
}

fn preview(api: &Api, call: &Call, asked: &Asked) -> Result<Reply, Rejected> {
    let affected = affected(api, &call.actor, asked)?;
    if let Target::Authority(issuer) = &asked.target {
        return preview_authority(api, &call.actor, asked, issuer);
    }
    let standing = |rows: &[Recorded]| -> Vec<Recorded> {
        let now = api.engine.world().clock.now();
        let status = |recorded: &Recorded| api.statuses.status(&recorded.row.fingerprint, now);
        rows.iter().filter(|row| matches!(status(row), Ok(Status::Good | Status::Locked(_)))).cloned().collect()
    };
    let certificates = affected.certificates.unwrap_or(Certificates { hit: Vec::new(), spared: Vec::new() });
    let is_read = affected.known != Known::Unread;
    let hit = standing(&certificates.hit);
    let now = api.engine.world().clock.now();
    let is_expired = |recorded: &&Recorded| {
        matches!(api.statuses.status(&recorded.row.fingerprint, now), Ok(Status::Expired { .. }))
    };
    let sample: Result<Vec<_>, _> = hit.iter().take(SAMPLE).map(|row| recorded_body(api, row)).collect();
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let can_return = !asked.request.lock && !affected.is_locked && !standing(&certificates.spared).is_empty();
    let answer = wire::RevokePreview {
        target: asked.request.target.clone(),
        known: match affected.known {
            Known::Present(_) => "present",
            Known::Deleted(..) => "deleted",
            Known::Never => "unknown",
            Known::Unread => "unread",
            Known::Authority => "present",
        }
        .to_owned(),
        certificates: is_read.then(|| count(hit.len())),
        expired: is_read.then(|| count(certificates.hit.iter().filter(is_expired).count())),
        tokens: 0,
        sample: sample?,
        can_return,
        meaning: meaning(api, asked, &affected.known, false)?,
    };
    Reply::of(&answer, api.engine.store().end())
}

fn preview_authority(api: &Api, actor: &Actor, asked: &Asked, issuer: &IssuerName) -> Result<Reply, Rejected> {
    let signed = authorities::signed(api, actor, issuer, SAMPLE)?;
    let sample: Result<Vec<_>, _> = signed.sample.iter().map(|row| recorded_body(api, row)).collect();
    let answer = wire::RevokePreview {
        target: asked.request.target.clone(),
        known: "present".to_owned(),
        certificates: Some(signed.standing),
        expired: Some(signed.expired),
        tokens: 0,
        sample: sample?,
        can_return: false,
        meaning: meaning(api, asked, &Known::Authority, false)?,
    };
    Reply::of(&answer, api.engine.store().end())
}

fn affected(api: &Api, actor: &Actor, asked: &Asked) -> Result<Affected, Rejected> {
    let query = Preview { target: asked.target.clone(), cluster: asked.cluster.clone() };
    Ok(api.engine.ask(actor, &query)?.outcome)
}

/// `POST /v1/users/{id}/lock` and `POST /v1/agencies/{id}/lock`.
pub fn lock(api: &Api, call: &Call, kind: IdentityKind) -> Result<Reply, Rejected> {
    let (id, cluster) = locked(call)?;
    let done = api.run(call, &Lock { id: id.clone(), kind, cluster })?;
    let meaning = if done.outcome.0 {
        format!("{id} is locked: proxies refuse it, and nothing is issued until it is unlocked")
    } else {
        format!("{id} was locked already")
    };
    Reply::of(&wire::Changed { revision: done.revision.to_string(), meaning }, done.revision)
}

/// `POST /v1/users/{id}/unlock` and `POST /v1/agencies/{id}/unlock`.
pub fn unlock(api: &Api, call: &Call, kind: IdentityKind) -> Result<Reply, Rejected> {
    let (id, cluster) = locked(call)?;
    let done = api.run(call, &Unlock { id: id.clone(), kind, cluster })?;
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

/// Certificates shown in a preview.
const SAMPLE: usize = 20;
