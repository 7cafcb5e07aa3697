//! What a proxy hands in after a restore: facts of the time after the backup, which we have lost.
//!
//! It is believed in what it knows to be dead or locked, and in nothing else: a proxy that lies can keep people out, for
//! as long as nobody has looked, and let nobody in.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::follow::Upstream;
use crate::access::{Actor, ProxyHolder};
use crate::api::Api;
use crate::api::management::revocations::blocking;
use crate::command::{Code, Rejected};
use crate::journal::{Cause, Witness};
use crate::revocation::reimport::{RestoredTo, Told, take_over};
use crate::standing::Revision;
use crate::status::Change;
use crate::status::frames::Up;

/// The oldest place that our journal was ever put back to.
pub(super) async fn restored_to(api: &Arc<Api>, holder: &ProxyHolder) -> Result<Option<Revision>, String> {
    let (api, holder) = (Arc::clone(api), holder.clone());
    let query = RestoredTo(holder.cluster.clone());
    let found = blocking(move || Ok(api.engine.ask(&Actor::Proxy(holder), &query)?.outcome)).await;
    found.map_err(|rejected| rejected.detail)
}

/// Takes everything in and puts on the record what is not there; the statuses have it when this returns.
pub(super) async fn receive(api: &Arc<Api>, holder: &ProxyHolder, up: &mut Upstream) -> Result<(), String> {
    let mut told = Vec::new();
    loop {
        let known = match timeout(PATIENCE, up.next()).await {
            Ok(frame) => frame?,
            Err(_) => return Err("it did not say what it knows".to_owned()),
        };
        let Some(Up::Known(known)) = known else {
            return Err("wanted what it knows of the time after the backup".to_owned());
        };
        for fact in known.facts {
            told.push(read(fact)?);
        }
        if told.len() > MOST_FACTS {
            return Err(format!("it handed in more than {MOST_FACTS} facts"));
        }
        if known.is_last {
            break;
        }
    }
    let (api, holder) = (Arc::clone(api), holder.clone());
    let taken = blocking(move || {
        let (name, cluster) = (holder.name.clone(), holder.cluster.clone());
        let witness = Witness::Proxy(name.clone());
        let taken = take_over(&api.engine, &Actor::Proxy(holder), &witness, Some(&cluster), &told)?;
        if !taken.is_empty() {
            let (cut_offs, revocations, locked) = (taken.cut_offs, taken.revocations, taken.locked.join(", "));
            tracing::warn!(proxy = %name, cut_offs, revocations, locked, "a proxy knew what the restore had lost");
        }
        let end = api.engine.store().end();
        api.statuses.wait_for(end, PATIENCE).map_err(|stale| Rejected::new(Code::Unavailable, stale.to_string()))
    });
    taken.await.map_err(|rejected| rejected.detail)
}

fn read(fact: Change) -> Result<Told, String> {
    match fact {
        Change::CutOff(key, cut) => Ok(Told::CutOff(key, cut, Cause::TakenOver)),
        Change::Revoked(key, cut) => Ok(Told::Revoked(key, cut)),
        Change::Locked(lock) => Ok(Told::Locked(lock)),
        Change::Recorded(_) | Change::Unlocked(_) => Err("it handed in something that would let people in".to_owned()),
    }
}

/// How long it may take to send a page, and the statuses to take in what came of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// More than are ever revoked between a backup and its restore; some 200 octets each.
const MOST_FACTS: usize = 500_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::ShortFingerprint;
    use crate::standing::{Cut, CutKey};
    use crate::status::{Credential, Lock, LockKey};
    use crate::world::Timestamp;
    use crate::x509::reason::Reason;

    #[test]
    fn a_proxy_is_believed_in_what_keeps_people_out_and_in_nothing_else() {
        let (at, revision) = (Timestamp::from_unix_seconds(1), Revision { era: 1, number: 2 });
        let key = LockKey { id: "alice".parse().unwrap(), cluster: None };
        let cut = Cut { revision, at, reason: Reason::Unspecified };
        let fingerprint = ShortFingerprint([1; 16]);
        let cut_keys = vec![CutKey::Identity("alice".parse().unwrap())];
        for fact in [
            Change::CutOff(cut_keys[0].clone(), cut.clone()),
            Change::Revoked(fingerprint, cut),
            Change::Locked(Lock { key: key.clone(), at, revision }),
        ] {
            assert!(read(fact.clone()).is_ok(), "{fact:?}");
        }
        let credential = Credential { key: fingerprint, issued: revision, not_after: at, cut_keys };
        for fact in [Change::Recorded(credential), Change::Unlocked(key)] {
            assert!(read(fact.clone()).is_err(), "{fact:?}");
        }
    }
}
