//! What is due from time to time: CRLs at once when something is cut off and every hour, responders and server
//! certificates before they end.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::serving::Served;
use crate::access::{Actor, Part};
use crate::api::Api;
use crate::ca::proxies::instances::Forget;
use crate::net::stop::Stop;
use crate::publish::crl::INTERVAL;

/// Publishes every list anew when something is cut off, and every hour.
pub(super) async fn publish(api: Arc<Api>, mut stop: Stop) {
    let mut cuts = api.roll.subscribe();
    // The first lists were published before anything was served, though perhaps not written.
    let mut pause = if api.lists.has_failed() { RETRY } else { INTERVAL };
    loop {
        let is_due = tokio::select! {
            () = stop.stopped() => return,
            changed = cuts.changed() => match changed {
                Ok(()) => false,
                Err(_) => return,
            },
            () = tokio::time::sleep(pause) => true,
        };
        let lists = Arc::clone(&api.lists);
        let publish = move || if is_due { lists.publish_all() } else { lists.publish_issuing() };
        pause = match spawn_blocking(publish).await {
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
            api.engine.forget_answers().map_err(|error| error.to_string())?;
            api.responders.renew().map_err(|error| error.to_string())?;
            served.iter().try_for_each(|served| {
                served.renew_if_due(&api.engine, &api.authorities).map_err(|error| error.to_string())
            })
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

/// How often it is looked whether a proxy's process is gone.
const FORGET: Duration = Duration::from_secs(5);

/// How soon a failed publication is tried again.
const RETRY: Duration = Duration::from_secs(5);
