//! What is due from time to time: CRLs at once when something is cut off and every hour, responders and server
//! certificates before they end.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::serving::Served;
use crate::access::{Actor, Part};
use crate::api::Api;
use crate::ca::proxies::instances::Forget;
use crate::ca::retention::{self, FORGOTTEN_AT_ONCE, is_forgettable};
use crate::command::Rejected;
use crate::net::stop::Stop;
use crate::publish::crl::INTERVAL;
use crate::publish::kept::{Answers, Kept};
use crate::standing::Revision;
use crate::world::{SystemTicks, Ticks};

/// Publishes every list anew when something is cut off, and every hour; what could not be written to the folder is
/// written once it can be.
pub(super) async fn publish(api: Arc<Api>, mut stop: Stop) {
    let mut cuts = api.roll.subscribe();
    // The first lists were published before anything was served, as far as that was possible.
    let mut next = Instant::now() + if api.lists.is_complete() { INTERVAL } else { RETRY };
    loop {
        let due = tokio::select! {
            () = stop.stopped() => return,
            changed = cuts.changed() => match changed {
                Ok(()) => Due::Issuing,
                Err(_) => return,
            },
            () = tokio::time::sleep_until(next) => Due::All,
            () = tokio::time::sleep(RETRY), if api.lists.has_unwritten() => Due::Written,
        };
        let lists = Arc::clone(&api.lists);
        let publish = move || match due {
            Due::All => lists.publish_all(),
            Due::Issuing => lists.publish_issuing(),
            Due::Written => {
                lists.write_again();
                Ok(())
            }
        };
        let pause = match spawn_blocking(publish).await {
            Ok(Ok(())) if matches!(due, Due::Written) => continue,
            Ok(Ok(())) => INTERVAL,
            Ok(Err(error)) => {
                tracing::error!(%error, "the CRLs were not published");
                RETRY
            }
            Err(error) => {
                tracing::error!(%error, "publishing the CRLs failed");
                RETRY
            }
        };
        next = Instant::now() + pause;
    }
}

/// Renews responders and server certificates when they are due, and forgets answers nobody will ask for again.
pub(super) async fn renew(api: Arc<Api>, served: Vec<Arc<Served>>, mut stop: Stop) {
    loop {
        tokio::select! {
            () = stop.stopped() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let (api, served) = (Arc::clone(&api), served.clone());
        let renewed = spawn_blocking(move || {
            // First what does not wait for the index.
            api.responders.renew().map_err(|error| error.to_string())?;
            served.iter().try_for_each(|served| {
                served.renew_if_due(&api.engine, &api.authorities).map_err(|error| error.to_string())
            })?;
            api.engine.forget_answers().map_err(|error| error.to_string())
        });
        match renewed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(error, "a certificate of our own was not renewed"),
            Err(error) => tracing::error!(%error, "renewing certificates of our own failed"),
        }
    }
}

/// Takes processes of proxies off the record once they are gone and can serve nobody on what they knew.
pub(super) async fn forget(api: Arc<Api>, mut stop: Stop) {
    loop {
        tokio::select! {
            () = stop.stopped() => return,
            () = tokio::time::sleep(FORGET) => {}
        }
        for row in api.feed.gone() {
            let instance = row.instance;
            let engine = Arc::clone(&api.engine);
            let actor = Actor::System(Part::Upkeep);
            match spawn_blocking(move || engine.run(&actor, &Forget(row))).await {
                Ok(Ok(_)) => api.feed.forget(instance),
                Ok(Err(error)) => tracing::warn!(%error, "a proxy's process that is gone stays on the record"),
                Err(error) => tracing::error!(%error, "forgetting a proxy's process failed"),
            }
        }
    }
}

/// Takes what ended long ago off the record, every hour.
///
/// A clock that is wrong must not make the record forget what is alive: nothing is forgotten before the wall clock has
/// gone for a day as the machine's own clocks have.
pub(super) async fn forget_ended(api: Arc<Api>, mut stop: Stop) {
    let mut steady = (api.engine.world().clock.now(), SystemTicks.uptime());
    loop {
        tokio::select! {
            () = stop.stopped() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let (now, ticks) = (api.engine.world().clock.now(), SystemTicks.uptime());
        let (by_wall, by_ticks) = (now.since(steady.0), ticks.longest_since(steady.1));
        if by_wall.abs_diff(by_ticks) > MOST_DRIFT {
            steady = (now, ticks);
        }
        if by_ticks < STEADY || by_wall.abs_diff(by_ticks) > MOST_DRIFT {
            continue;
        }
        let api = Arc::clone(&api);
        match spawn_blocking(move || forget_all(&api)).await {
            Ok(Ok(0)) => {}
            Ok(Ok(count)) => tracing::info!(count, "certificates that ended long ago left the index"),
            Ok(Err(error)) => tracing::warn!(%error, "what ended long ago stays on the record for now"),
            Err(error) => tracing::error!(%error, "forgetting what ended long ago failed"),
        }
    }
}

/// How many certificates left.
fn forget_all(api: &Api) -> Result<usize, Rejected> {
    let now = api.engine.world().clock.now();
    let mut count = 0_usize;
    for issuer in api.roll.issuers() {
        let mut after = None;
        loop {
            let page = api.roll.page(&issuer, after, PAGE);
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            let ended = page.iter().filter(|(_, member)| is_forgettable(member.not_after, now));
            let ended: Vec<_> = ended.map(|(_, member)| member.fingerprint).collect();
            for some in ended.chunks(FORGOTTEN_AT_ONCE) {
                api.engine.run(&Actor::System(Part::Upkeep), &retention::Forget(some.to_vec()))?;
                count = count.saturating_add(some.len());
            }
        }
    }
    Ok(count)
}

/// How many certificates are looked at in one go.
const PAGE: usize = 4096;

/// For how long the clock must have gone steadily.
const STEADY: Duration = Duration::from_secs(24 * 60 * 60);

/// How far it may have gone apart from the machine's own clocks meanwhile.
const MOST_DRIFT: Duration = Duration::from_secs(60 * 60);

/// Says how far the index is while it is away.
pub(super) async fn tell_index(api: Arc<Api>, mut stop: Stop) {
    let mut was_away = false;
    loop {
        let health = api.engine.store().health();
        match &health {
            Ok(()) if was_away => tracing::info!("the index is ready: everything is served again"),
            Ok(()) => {}
            Err(away) => tracing::warn!("{away}"),
        }
        was_away = health.is_err();
        tokio::select! {
            () = stop.stopped() => return,
            () = tokio::time::sleep(TELL) => {}
        }
    }
}

/// How often it is said how far the index is.
const TELL: Duration = Duration::from_secs(2);

/// Writes the answers down when the next start would have much to read, and at the end.
pub(super) async fn keep(api: Arc<Api>, kept: Arc<Kept>, mut stop: Stop) {
    let mut last = Revision::IMPORTED;
    loop {
        let is_last = tokio::select! {
            () = stop.stopped() => true,
            () = tokio::time::sleep(KEEP) => false,
        };
        let Ok(reached) = api.statuses.reached_revision() else { return };
        let behind = reached.number.saturating_sub(last.number);
        let known = u64::try_from(api.statuses.count()).unwrap_or(u64::MAX);
        if behind > 0 && (is_last || behind > MOST_BEHIND.max(known / 10)) {
            let (api, kept) = (Arc::clone(&api), Arc::clone(&kept));
            let timeline = api.engine.store().timeline();
            let write = move || {
                let newest = api.engine.newest().get();
                let answers = Answers { timeline, statuses: &api.statuses, roll: &api.roll, newest };
                kept.write(&answers, api.engine.world().clock.now())
            };
            match spawn_blocking(write).await {
                Ok(Ok(cursor)) => last = cursor,
                // Without it the next start reads more of the journal, nothing else.
                Ok(Err(error)) => tracing::warn!(%error, "the answers were not written down for the next start"),
                Err(error) => tracing::error!(%error, "writing the answers down failed"),
            }
        }
        if is_last {
            return;
        }
    }
}

/// How often it is looked whether the answers should be written down.
const KEEP: Duration = Duration::from_secs(5);

/// How many commits a start may have to read before the answers are written down, unless they are many more.
const MOST_BEHIND: u64 = 20_000;

/// How often it is looked whether a proxy's process is gone.
const FORGET: Duration = Duration::from_secs(5);

/// Which lists are due.
#[derive(Clone, Copy)]
enum Due {
    All,
    Issuing,
    Written,
}

/// How soon a failed publication is tried again.
const RETRY: Duration = Duration::from_secs(5);
