//! The questions about users, agencies and groups.

use super::membership;
use super::rows::{GroupRow, IdentityRow};
use super::{admins, identities};
use crate::access::{Permission, Permit, Role, Scope};
use crate::command::{Query, Rejected};
use crate::ident::{AnyId, ClusterName, GroupName, IdentityId};
use crate::journal::IdentityKind;
use crate::ledger::rows::LockRow;
use crate::store::txn::Txn;
use crate::world::{Moment, Timestamp};

/// What is known of a user or an agency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityView {
    /// Its ID.
    pub id: IdentityId,
    /// What it is.
    pub kind: IdentityKind,
    /// Since when it has existed.
    pub added: Timestamp,
    /// Its groups, sorted.
    pub groups: Vec<GroupName>,
    /// The agency it is in.
    pub agency: Option<IdentityId>,
    /// Its roles.
    pub roles: Vec<Role>,
    /// Where it is locked; `None` is everywhere.
    pub locked: Vec<Option<ClusterName>>,
    /// Whether one of these locks was set by a restore, for an admin to look.
    pub locked_by_restore: bool,
    /// The users in this agency, only when one is shown.
    pub members: Vec<IdentityId>,
}

/// Until when which number of admins can get in, unless somebody renews.
#[derive(Clone, Copy, Debug)]
pub struct WatchAdmins;

/// How many can, and until when, without saying who.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminsUntil {
    /// Admins with a management certificate that stands.
    pub count: usize,
    /// When the first of them is left without one; none where there is none.
    pub soonest: Option<Timestamp>,
}

impl Query for WatchAdmins {
    type Answer = AdminsUntil;

    fn permission(&self) -> Permission {
        Permission::MetricsRead
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn answer(&self, _: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<AdminsUntil, Rejected> {
        let ends = admins::ends(txn, moment.now)?;
        Ok(AdminsUntil { count: ends.len(), soonest: ends.values().min().copied() })
    }
}

/// Shows one user or agency.
#[derive(Clone, Debug)]
pub struct ShowIdentity {
    /// Its ID.
    pub id: IdentityId,
    /// What it must be.
    pub kind: IdentityKind,
}

impl Query for ShowIdentity {
    type Answer = IdentityView;

    fn permission(&self) -> Permission {
        Permission::IdentityRead
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Identity(self.id.clone()))
    }

    fn answer(&self, _: &Permit, txn: &mut Txn<'_>, _: &Moment<'_>) -> Result<IdentityView, Rejected> {
        let row = identities::present(txn, &self.id, self.kind)?;
        let mut view = view(txn, row)?;
        if self.kind == IdentityKind::Agency {
            view.members = membership::members_of_agency(txn, &self.id)?;
        }
        Ok(view)
    }
}

/// Lists users or agencies by ID.
#[derive(Clone, Debug)]
pub struct ListIdentities {
    /// Which.
    pub kind: IdentityKind,
    /// Only those after this ID.
    pub after: Option<IdentityId>,
    /// At most this many.
    pub limit: usize,
}

impl Query for ListIdentities {
    type Answer = Vec<IdentityView>;

    fn permission(&self) -> Permission {
        Permission::IdentityList
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn answer(&self, _: &Permit, txn: &mut Txn<'_>, _: &Moment<'_>) -> Result<Vec<IdentityView>, Rejected> {
        let mut views = Vec::new();
        let mut after = self.after.clone();
        while views.len() < self.limit {
            let rows = txn.scan::<IdentityRow>(&[], after.as_ref(), PAGE)?;
            let Some(last) = rows.last() else { break };
            after = Some(last.value.id.clone());
            let room = self.limit.saturating_sub(views.len());
            for row in rows.into_iter().filter(|row| row.value.kind == self.kind).take(room) {
                views.push(view(txn, row.value)?);
            }
        }
        Ok(views)
    }
}

/// A group and who is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// Its name.
    pub name: GroupName,
    /// Its members, sorted.
    pub members: Vec<IdentityId>,
}

/// Shows one group, or lists them all.
#[derive(Clone, Debug)]
pub struct LookAtGroups {
    /// Only this one.
    pub name: Option<GroupName>,
    /// Only those after this one.
    pub after: Option<GroupName>,
    /// At most this many.
    pub limit: usize,
}

impl Query for LookAtGroups {
    type Answer = Vec<GroupView>;

    fn permission(&self) -> Permission {
        Permission::GroupRead
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn answer(&self, _: &Permit, txn: &mut Txn<'_>, _: &Moment<'_>) -> Result<Vec<GroupView>, Rejected> {
        let rows = match &self.name {
            Some(name) => {
                let row = txn.get::<GroupRow>(name)?;
                vec![row.ok_or_else(|| Rejected::not_found(format_args!("group {name}")))?]
            }
            None => txn.scan::<GroupRow>(&[], self.after.as_ref(), self.limit)?,
        };
        let view = |row: GroupRow, txn: &mut Txn<'_>| {
            Ok(GroupView { members: membership::members_of_group(txn, &row.name)?, name: row.name })
        };
        rows.into_iter().map(|row| view(row.value, txn)).collect()
    }
}

fn view(txn: &mut Txn<'_>, row: IdentityRow) -> Result<IdentityView, Rejected> {
    let IdentityRow { id, kind, added } = row;
    let locks = txn.scan_all::<LockRow>(&[AnyId::from(&id).as_str().as_bytes()])?;
    Ok(IdentityView {
        groups: membership::groups_of(txn, &id)?,
        agency: membership::agency_of(txn, &id)?,
        roles: admins::grants_of(txn, &id)?.roles,
        locked_by_restore: locks.iter().any(|lock| lock.value.by_restore),
        locked: locks.into_iter().map(|lock| lock.value.cluster).collect(),
        members: Vec::new(),
        id,
        kind,
        added,
    })
}

/// Rows read at once.
const PAGE: usize = 500;
