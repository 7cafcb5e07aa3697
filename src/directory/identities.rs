//! The wishes about users and agencies: add, edit, delete.

use serde::{Deserialize, Serialize};

use super::admins;
use super::membership::{self, MAX_GROUPS};
use super::rows::{DeletedRow, IdentityRow, RoleBindingRow};
use crate::access::{Permission, Permit, Role, Scope};
use crate::command::{Code, Command, Rejected};
use crate::ident::{AnyId, GroupName, IdentityId};
use crate::journal::{Cause, Event, IdentityKind};
use crate::ledger::cuts::{self, Why};
use crate::standing::CutKey;
use crate::store::txn::Txn;
use crate::world::Moment;
use crate::x509::reason::Reason;

/// Adds a user or an agency.
#[derive(Clone, Debug)]
pub struct AddIdentity {
    /// Its ID.
    pub id: IdentityId,
    /// What it is.
    pub kind: IdentityKind,
    /// The groups it is in.
    pub groups: Vec<GroupName>,
    /// The agency a user is in.
    pub agency: Option<IdentityId>,
    /// The role it has.
    pub role: Option<Role>,
    /// Use an ID that was deleted before.
    pub reuse: bool,
}

/// A change of the directory was made.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Made;

impl Command for AddIdentity {
    type Outcome = Made;

    fn permission(&self) -> Permission {
        // Whoever may add users may not for that reason make admins.
        if self.role.is_some() { Permission::RoleWrite } else { Permission::IdentityWrite }
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Made, Rejected> {
        let id = &self.id;
        if let Some(present) = txn.get::<IdentityRow>(id)? {
            return Err(Rejected::new(
                Code::AlreadyExists,
                format!("{id} is there already: {}", with_article(present.value.kind)),
            ));
        }
        if let Some(deleted) = txn.get::<DeletedRow>(&AnyId::from(id))? {
            if !self.reuse {
                let DeletedRow { kind, at, .. } = deleted.value;
                return Err(Rejected::new(
                    Code::AlreadyExists,
                    format!("the {kind} {id} was deleted at {at}: --reuse gives the ID to somebody new"),
                ));
            }
            txn.delete::<DeletedRow>(&AnyId::from(id));
        }
        if self.kind == IdentityKind::Agency && self.agency.is_some() {
            return Err(Rejected::invalid("an agency is not in an agency"));
        }
        txn.put(id, &IdentityRow { id: id.clone(), kind: self.kind, added: moment.now })?;
        txn.record(Event::IdentityAdded { id: id.clone(), kind: self.kind });
        check_group_count(self.groups.len())?;
        for group in &self.groups {
            membership::join_group(txn, id, group)?;
        }
        if let Some(agency) = &self.agency {
            membership::join_agency(txn, id, agency)?;
        }
        if let Some(role) = self.role {
            admins::grant(txn, id, role)?;
        }
        Ok(Made)
    }
}

/// Changes what is named of a user or an agency, and nothing else.
#[derive(Clone, Debug)]
pub struct EditIdentity {
    /// Its ID.
    pub id: IdentityId,
    /// What it must be.
    pub kind: IdentityKind,
    /// Groups to join.
    pub add_groups: Vec<GroupName>,
    /// Groups to leave.
    pub remove_groups: Vec<GroupName>,
    /// Where to move a user.
    pub agency: AgencyChange,
    /// A role to grant.
    pub add_role: Option<Role>,
    /// A role to withdraw.
    pub remove_role: Option<Role>,
    /// Even from the last admin.
    pub force: bool,
}

/// What becomes of a user's agency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgencyChange {
    /// Nothing.
    Stay,
    /// Into this one, out of any other.
    Join(IdentityId),
    /// Out of any.
    Leave,
}

impl Command for EditIdentity {
    type Outcome = Made;

    fn permission(&self) -> Permission {
        let roles = self.add_role.is_some() || self.remove_role.is_some();
        if roles { Permission::RoleWrite } else { Permission::IdentityWrite }
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Made, Rejected> {
        let id = &self.id;
        let row = present(txn, id, self.kind)?;
        // Written again unchanged, so that an issuance that has read it runs again with the new memberships.
        txn.put(id, &row)?;
        for group in &self.remove_groups {
            membership::leave_group(txn, moment, id, group)?;
        }
        let kept = membership::groups_of(txn, id)?;
        let added = self.add_groups.iter().filter(|group| !kept.contains(group)).count();
        check_group_count(kept.len().saturating_add(added))?;
        for group in &self.add_groups {
            membership::join_group(txn, id, group)?;
        }
        match &self.agency {
            AgencyChange::Stay => {}
            _ if self.kind == IdentityKind::Agency => {
                return Err(Rejected::invalid("an agency is not in an agency"));
            }
            AgencyChange::Join(agency) => self.move_to(txn, moment, Some(agency))?,
            AgencyChange::Leave => self.move_to(txn, moment, None)?,
        }
        if let Some(role) = self.remove_role {
            admins::withdraw(txn, moment.now, id, role, self.force)?;
        }
        if let Some(role) = self.add_role {
            admins::grant(txn, id, role)?;
        }
        Ok(Made)
    }
}

impl EditIdentity {
    /// Moving kills what the user holds, so it could shut the last admin out like a revocation.
    fn move_to(&self, txn: &mut Txn<'_>, moment: &Moment<'_>, agency: Option<&IdentityId>) -> Result<(), Rejected> {
        if membership::agency_of(txn, &self.id)?.as_ref() != agency {
            admins::must_remain(txn, moment.now, &[CutKey::Identity(AnyId::from(&self.id))], self.force)?;
        }
        membership::move_to(txn, moment, &self.id, agency)
    }
}

/// Deletes a user or an agency: what it holds is dead, and so is what is held under it; its ID stays known.
#[derive(Clone, Debug)]
pub struct DeleteIdentity {
    /// Its ID.
    pub id: IdentityId,
    /// What it must be.
    pub kind: IdentityKind,
    /// Even the last admin.
    pub force: bool,
}

impl Command for DeleteIdentity {
    type Outcome = Made;

    fn permission(&self) -> Permission {
        Permission::IdentityWrite
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Made, Rejected> {
        let id = &self.id;
        present(txn, id, self.kind)?;
        let cut = [CutKey::Identity(AnyId::from(id)), CutKey::Agency(AnyId::from(id))];
        admins::must_remain(txn, moment.now, &cut, self.force)?;
        membership::forget_all(txn, id)?;
        if txn.get::<RoleBindingRow>(id)?.is_some() {
            admins::forget(txn, id)?;
        }
        txn.delete::<IdentityRow>(id);
        let deleted = DeletedRow { id: id.clone(), kind: self.kind, at: moment.now };
        txn.put(&AnyId::from(id), &deleted)?;
        txn.record(Event::IdentityDeleted { id: id.clone(), kind: self.kind });
        let why = Why { reason: Reason::CessationOfOperation, comment: None };
        let [identity, agency] = cut;
        cuts::cut_off(txn, moment, identity, Cause::Deleted, &why)?;
        if self.kind == IdentityKind::Agency {
            cuts::cut_off(txn, moment, agency, Cause::Deleted, &why)?;
        }
        Ok(Made)
    }
}

/// The identity, if it exists and is of this kind; asserts it.
pub fn present(txn: &mut Txn<'_>, id: &IdentityId, kind: IdentityKind) -> Result<IdentityRow, Rejected> {
    match txn.get::<IdentityRow>(id)? {
        Some(row) if row.value.kind == kind => Ok(row.value),
        _ => Err(Rejected::not_found(format_args!("{kind} {id}"))),
    }
}

fn check_group_count(count: usize) -> Result<(), Rejected> {
    if count > MAX_GROUPS {
        return Err(Rejected::invalid(format!(
            "an identity is in at most {MAX_GROUPS} groups, this would make {count}"
        )));
    }
    Ok(())
}

const fn with_article(kind: IdentityKind) -> &'static str {
    match kind {
        IdentityKind::User => "a user",
        IdentityKind::Agency => "an agency",
    }
}
