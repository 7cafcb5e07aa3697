//! The wish that a proxy follow no more.

use serde::{Deserialize, Serialize};

use super::rows::ProxyRow;
use crate::access::{Permission, Permit, Scope};
use crate::command::{Command, Rejected};
use crate::ident::ProxyName;
use crate::journal::Event;
use crate::ledger::credentials;
use crate::ledger::cuts::{self, Why};
use crate::ledger::rows::CertificateRole;
use crate::store::txn::Txn;
use crate::world::Moment;

/// Removes a proxy: its certificates are revoked, and it follows no more. What it knows it may serve on until its
/// bound is over, so revocations go on waiting for its processes.
#[derive(Clone, Debug)]
pub struct Remove(pub ProxyName);

/// A proxy was removed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Removed {
    /// How many of its certificates were revoked.
    pub certificates: u64,
}

impl Command for Remove {
    type Outcome = Removed;

    fn permission(&self) -> Permission {
        Permission::ProxyWrite
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Removed, Rejected> {
        let name = &self.0;
        let row = txn.get::<ProxyRow>(name)?.filter(|row| !row.value.is_removed);
        let Some(row) = row else { return Err(Rejected::not_found(format_args!("proxy {name}"))) };
        // Renewing asserts this row: none is issued between what is found here and the commit.
        txn.put(name, &ProxyRow { is_removed: true, ..row.value })?;
        let mut certificates = 0;
        for found in credentials::of_holder(txn, name.as_str())? {
            let is_its = matches!(found.value.role, CertificateRole::Proxy | CertificateRole::Server);
            // What ended by itself needs no end; a commit has room for some eighty.
            if is_its && found.value.not_after >= moment.now {
                cuts::revoke(txn, moment, found.value.fingerprint, found.value.serial, &Why::default())?;
                certificates += 1;
            }
        }
        txn.record(Event::ProxyRemoved { proxy: name.clone() });
        Ok(Removed { certificates })
    }
}
