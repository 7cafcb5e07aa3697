//! The proxy's own certificates: renewed at two thirds of their life, while connections go on.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::joined::{Joined, Validities};
use crate::app::{AppError, Doing};
use crate::net::stop::Stop;
use crate::net::tls::Serving;
use crate::observe::Metrics;
use crate::proxy::authority::Authority;
use crate::world::World;

/// Tells when the certificates end.
pub(super) struct Ends(Family<Purpose, Gauge>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Purpose {
    purpose: &'static str,
}

impl Ends {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let help = "When one of the proxy's own certificates ends, in Unix seconds";
        Self(metrics.gauges("proxy_certificate_not_after_timestamp_seconds", help))
    }

    fn tell(&self, of: &Validities) {
        for (name, (_, until)) in [("following", of.following), ("serving", of.serving)] {
            self.0.get_or_create(&Purpose { purpose: name }).set(until.unix_seconds());
        }
    }
}

/// What is renewed, and who uses it.
pub(super) struct Renewal {
    pub(super) joined: Joined,
    pub(super) ends: Ends,
    pub(super) authority: Arc<Authority>,
    pub(super) serving: Arc<Serving>,
    pub(super) world: World,
}

impl Renewal {
    /// Looks every minute until `stop`.
    pub(super) async fn run(mut self, mut stop: Stop) {
        loop {
            match self.joined.validities() {
                Ok(validities) => {
                    self.ends.tell(&validities);
                    if self.world.clock.now() >= validities.due()
                        && let Err(error) = self.renew().await
                    {
                        tracing::error!(%error, "the proxy's certificates were not renewed; it is tried again in a minute");
                    }
                }
                Err(error) => tracing::error!(%error, "the proxy's certificates cannot be read"),
            }
            tokio::select! {
                () = stop.stopped() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn renew(&mut self) -> Result<(), AppError> {
        self.joined.renew(&self.authority).await?;
        self.authority.replace(&*self.joined.client()?);
        let (chain, key) = self.joined.serving()?;
        self.serving.replace(chain, key).doing("using the proxy's new certificate")?;
        self.ends.tell(&self.joined.validities()?);
        tracing::info!("renewed the proxy's certificates");
        Ok(())
    }
}

/// How often it is looked whether certificates are due.
const LOOK: Duration = Duration::from_secs(60);
