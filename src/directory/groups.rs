//! The wish to delete a group.

use super::identities::Made;
use super::rows::GroupRow;
use crate::access::{Permission, Permit, Scope};
use crate::command::{Command, Rejected};
use crate::ident::GroupName;
use crate::journal::{Cause, Event};
use crate::ledger::cuts::{self, Why};
use crate::standing::CutKey;
use crate::store::txn::Txn;
use crate::world::Moment;
use crate::x509::reason::Reason;

/// Deletes a group: one cut-off ends every credential that carries it, and nobody is in it any more.
#[derive(Clone, Debug)]
pub struct DeleteGroup {
    /// Its name.
    pub name: GroupName,
}

impl Command for DeleteGroup {
    type Outcome = Made;

    fn permission(&self) -> Permission {
        Permission::GroupWrite
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Made, Rejected> {
        if txn.get::<GroupRow>(&self.name)?.is_none() {
            return Err(Rejected::not_found(format_args!("group {}", self.name)));
        }
        txn.delete::<GroupRow>(&self.name);
        txn.record(Event::GroupDeleted { group: self.name.clone() });
        let why = Why { reason: Reason::PrivilegeWithdrawn, comment: None };
        cuts::cut_off(txn, moment, CutKey::Group(self.name.clone()), Cause::Deleted, &why)?;
        Ok(Made)
    }
}
