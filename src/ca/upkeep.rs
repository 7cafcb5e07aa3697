//! The certificates that the product itself needs: servers and OCSP responders.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::authorities::{must_be_recorded, must_sign};
use super::keys::Keyring;
use super::sign::{self, Holding};
use super::template::{INFRASTRUCTURE_LIFETIME, Places, RESPONDER_LIFETIME, Wanted};
use crate::access::{Permission, Permit, Scope};
use crate::command::{Command, Rejected};
use crate::directory::identities::Made;
use crate::ident::IssuerName;
use crate::journal::Event;
use crate::ledger::credentials;
use crate::ledger::rows::{CertificateRole, CertificateRow};
use crate::store::txn::Txn;
use crate::world::{Moment, Timestamp};
use crate::x509::name::Subject;
use crate::x509::public_key::PublicKey;

/// Issues a certificate to a part of the product.
#[derive(Debug)]
pub struct Equip {
    /// What it is for.
    pub equipment: Equipment,
    /// The part's key.
    pub public_key: PublicKey,
    /// The authorities.
    pub keyring: Arc<Keyring>,
    /// Where relying parties look things up.
    pub places: Places,
}

/// What a part of the product needs a certificate for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Equipment {
    /// To serve TLS under these names and addresses.
    Server {
        /// What the server is called, in its CN and role.
        title: String,
        /// Its DNS names and addresses.
        names: Vec<String>,
    },
    /// To answer OCSP for an authority.
    Responder(IssuerName),
}

/// A certificate of the product's own is on the record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Equipped {
    /// Its record.
    pub row: CertificateRow,
    /// The certificate of its issuer.
    pub issuer_der: Vec<u8>,
}

impl Command for Equip {
    type Outcome = Equipped;

    fn permission(&self) -> Permission {
        Permission::AuthorityUpkeep
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Equipped, Rejected> {
        let issuer = match &self.equipment {
            Equipment::Server { .. } => IssuerName::infra(),
            Equipment::Responder(issuer) => issuer.clone(),
        };
        match self.equipment {
            Equipment::Server { .. } => must_sign(txn, &issuer)?,
            // That everything it signed is revoked must be said for as long as somebody asks.
            Equipment::Responder(_) => must_be_recorded(txn, &issuer)?,
        }
        let issuer = self.keyring.issuer(&issuer)?;
        let signed = sign::sign(&self.wanted(), &issuer, &self.places, Holding::default(), moment)?;
        credentials::record_own(txn, signed.key_hash, &signed.row)?;
        Ok(Equipped { row: signed.row, issuer_der: issuer.certificate.der().to_vec() })
    }
}

/// Accepts the clock as it is, though the record has entries of a later time.
#[derive(Clone, Copy, Debug)]
pub struct AcceptClock {
    /// The newest time on the record.
    pub newest: Timestamp,
}

impl Command for AcceptClock {
    type Outcome = Made;

    fn permission(&self) -> Permission {
        Permission::AuthorityUpkeep
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, _: &Moment<'_>) -> Result<Made, Rejected> {
        txn.record(Event::ClockAccepted { newest: self.newest });
        txn.hurry();
        Ok(Made)
    }
}

impl Equip {
    fn wanted(&self) -> Wanted {
        let (role, title, names, lifetime) = match &self.equipment {
            Equipment::Server { title, names } => {
                (CertificateRole::Server, title.clone(), names.clone(), INFRASTRUCTURE_LIFETIME)
            }
            Equipment::Responder(issuer) => (
                CertificateRole::Ocsp,
                format!("Portcullis OCSP responder of {issuer}"),
                Vec::new(),
                RESPONDER_LIFETIME,
            ),
        };
        Wanted { role, subject: Subject::common_name(title), public_key: self.public_key.clone(), names, lifetime }
    }
}
