//! What ended long ago leaves the index. The journal keeps all of it.
//!
//! Nothing that is forgotten can come to life: what is not on the record is refused, and public keys stay known, so that
//! none is certified again.

use std::time::Duration;

use crate::access::{Permission, Permit, Scope};
use crate::command::{Command, Rejected};
use crate::directory::identities::Made;
use crate::ident::Fingerprint;
use crate::journal::{Event, Forgotten};
use crate::ledger::credentials;
use crate::ledger::rows::{CertificateRole, CertificateRow};
use crate::store::txn::Txn;
use crate::world::{Moment, Timestamp};

/// How long a certificate stays on the record after its end: longer than any list that names it (RFC 5280 §3.3).
pub const KEPT_AFTER_END: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// How many certificates one commit forgets: each is up to six rows.
pub const FORGOTTEN_AT_ONCE: usize = 40;

/// Whether a certificate that ended then may be forgotten now.
pub fn is_forgettable(not_after: Timestamp, now: Timestamp) -> bool {
    not_after.after(KEPT_AFTER_END) < now
}

/// Forgets certificates, as far as they ended long ago; of the rest nothing is touched. At most
/// [`FORGOTTEN_AT_ONCE`].
#[derive(Clone, Debug)]
pub struct Forget(pub Vec<Fingerprint>);

impl Command for Forget {
    type Outcome = Made;

    fn permission(&self) -> Permission {
        Permission::AuthorityUpkeep
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Made, Rejected> {
        let mut forgotten = Vec::new();
        for fingerprint in self.0.iter().take(FORGOTTEN_AT_ONCE) {
            let Some(row) = txn.peek::<CertificateRow>(fingerprint)?.map(|row| row.value) else { continue };
            // Chains are built with the certificates of authorities, however old.
            if row.role == CertificateRole::Authority || !is_forgettable(row.not_after, moment.now) {
                continue;
            }
            credentials::forget(txn, &row);
            forgotten.push(Forgotten { issuer: row.issuer, serial: row.serial, fingerprint: row.fingerprint });
        }
        if !forgotten.is_empty() {
            txn.record(Event::CertificatesForgotten { certificates: forgotten });
        }
        Ok(Made)
    }
}
