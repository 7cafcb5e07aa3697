//! Taking the root's key off the host, and bringing it back.
//!
//! The key leaves as the file that it is, under the passphrase. It is on the record before the file is removed, and read
//! back where it went before that: an interruption leaves it in both places, never in none.

use crate::access::{Permission, Permit, Scope};
use crate::command::{Code, Command, Rejected};
use crate::directory::identities::Made;
use crate::ident::IssuerName;
use crate::journal::Event;
use crate::store::txn::Txn;
use crate::world::Moment;

use super::authorities;
use super::rows::AuthorityRow;

/// States where the root's key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Off the host.
    Detach,
    /// Back.
    Attach,
}

impl Command for Move {
    type Outcome = Made;

    fn permission(&self) -> Permission {
        Permission::AuthorityUpkeep
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, _: &Moment<'_>) -> Result<Made, Rejected> {
        let issuer = IssuerName::root();
        let row = authorities::present(txn, &issuer)?;
        let is_detached = *self == Self::Detach;
        if row.is_detached == is_detached {
            let where_it_is = if is_detached { "was taken off this host before" } else { "is on this host" };
            return Err(Rejected::new(Code::Conflict, format!("the root's key {where_it_is}")));
        }
        txn.put(&issuer, &AuthorityRow { is_detached, ..row })?;
        txn.record(match self {
            Self::Detach => Event::AuthorityDetached { issuer },
            Self::Attach => Event::AuthorityAttached { issuer },
        });
        Ok(Made)
    }
}
