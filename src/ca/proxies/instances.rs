//! The processes of proxies: on the record before they are served, so that a revocation waits for each of them, also
//! after the authority was started anew.

use serde::{Deserialize, Serialize};

use super::join::following;
use super::rows::InstanceRow;
use crate::access::{Permission, Permit, Scope};
use crate::command::{Code, Command, Query, Rejected};
use crate::ident::ClusterName;
use crate::journal::Event;
use crate::status::frames::{Incident, ProxyHello};
use crate::status::freshness::Mode;
use crate::store::txn::Txn;
use crate::world::Moment;

/// Has a process of a proxy followed from now on, on the terms of its hello.
#[derive(Clone, Debug)]
pub struct Follow(pub ProxyHello);

/// A change was made.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Made;

impl Command for Follow {
    type Outcome = InstanceRow;

    fn permission(&self) -> Permission {
        Permission::ProxyFollow
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Cluster(self.0.cluster.clone()))
    }

    fn decide(&self, permit: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<InstanceRow, Rejected> {
        let proxy = following(permit, txn)?;
        let ProxyHello { instance, bound, mode, cut_time, .. } = self.0.clone();
        if bound > LONGEST_BOUND || cut_time > LONGEST_BOUND {
            return Err(Rejected::invalid(format!(
                "a proxy's bound is at most {} s, found {} s",
                LONGEST_BOUND.as_secs(),
                bound.max(cut_time).as_secs()
            )));
        }
        let known = txn.get::<InstanceRow>(&instance)?;
        if let Some(known) = &known
            && known.value.proxy != proxy.name
        {
            return Err(Rejected::new(Code::Forbidden, "this process is one of another proxy"));
        }
        let (proxy, cluster, since) = (proxy.name, proxy.cluster, moment.now);
        let row = InstanceRow { instance, proxy: proxy.clone(), cluster, bound, mode, cut_time, since };
        // Written also where only its coming is new: whoever takes a process off the record that was gone must see it.
        txn.put(&instance, &row)?;
        // A proxy that cannot come back would have to refuse everybody.
        txn.use_reserve();
        if known.is_none_or(|known| InstanceRow { since, ..known.value } != row) {
            txn.record(Event::ProxyFollows {
                proxy,
                instance,
                bound_ms: u64::try_from(bound.as_millis()).unwrap_or(u64::MAX),
                is_best_effort: mode == Mode::BestEffort,
            });
        }
        Ok(row)
    }
}

/// Notes that a process is gone and that what it knew is too old to be served; not if it has come back since.
#[derive(Clone, Debug)]
pub struct Forget(pub InstanceRow);

impl Command for Forget {
    type Outcome = Made;

    fn permission(&self) -> Permission {
        Permission::AuthorityUpkeep
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, _: &Moment<'_>) -> Result<Made, Rejected> {
        let instance = self.0.instance;
        if let Some(row) = txn.get::<InstanceRow>(&instance)?.filter(|row| row.value == self.0) {
            txn.delete::<InstanceRow>(&instance);
            txn.record(Event::ProxyGone { proxy: row.value.proxy, instance });
        }
        Ok(Made)
    }
}

/// Every process that a revocation has to wait for.
#[derive(Clone, Copy, Debug)]
pub struct ListInstances;

impl Query for ListInstances {
    type Answer = Vec<InstanceRow>;

    fn permission(&self) -> Permission {
        Permission::AuthorityUpkeep
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn answer(&self, _: &Permit, txn: &mut Txn<'_>, _: &Moment<'_>) -> Result<Self::Answer, Rejected> {
        Ok(txn.scan_all::<InstanceRow>(&[])?.into_iter().map(|row| row.value).collect())
    }
}

/// Puts on the record what a proxy tells of.
#[derive(Clone, Debug)]
pub struct Report {
    /// The proxy's cluster.
    pub cluster: ClusterName,
    /// What happened.
    pub incidents: Vec<Incident>,
}

impl Command for Report {
    type Outcome = Made;

    fn permission(&self) -> Permission {
        Permission::ProxyFollow
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Cluster(self.cluster.clone()))
    }

    fn decide(&self, permit: &Permit, txn: &mut Txn<'_>, _: &Moment<'_>) -> Result<Made, Rejected> {
        let proxy = following(permit, txn)?.name;
        for incident in self.incidents.iter().take(MOST_INCIDENTS) {
            txn.record(Event::ProxyReported { proxy: proxy.clone(), incident: incident.clone() });
        }
        Ok(Made)
    }
}

/// The longest bound a proxy may have; beyond it a revocation would stay without effect for too long.
pub const LONGEST_BOUND: std::time::Duration = std::time::Duration::from_secs(600);

/// Incidents in one entry.
const MOST_INCIDENTS: usize = 100;
